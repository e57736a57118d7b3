//! An event of the domain as one user is told it.
//!
//! All devices of a user get the same `seq` and `prev`; what they are told may differ by device: the one that accepted
//! hears `call:accepted`, the others `call:accepted_elsewhere`.

use serde::{Deserialize, Serialize};

use super::{
    CallObject, Frame,
    call_object::{Escalating, ParticipantObject, RecordingObject},
    frame::Writer,
};
use crate::domain::{Call, CallId, CallMode, DeviceId, Event, Recorded, RecordingStatus, Role, Timestamp, UserId};

/// One event for one user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    pub seq: u64,
    pub prev: u64,
    /// For every device, but for the one in `at_device`.
    pub frame: Frame,
    /// What one device is told instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_device: Option<(DeviceId, Frame)>,
    /// The user begins to be rung by this event.
    #[serde(default)]
    pub rings: bool,
    /// The event asks one device into the call's room: its node adds `media` for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pass: Option<RoomPass>,
}

/// Names the device that may come into the call's room. Not secret: the token is made where the device is connected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomPass {
    pub call: CallId,
    pub mode: CallMode,
    pub role: Role,
    pub device: DeviceId,
}

impl RoomPass {
    /// For the device that the user is in the call with; `None`: they have no business in a room now, or there is none.
    pub fn of(call: &Call, user: &UserId) -> Option<Self> {
        let p = call.participant(user).filter(|_| call.admits_to_room(user))?;
        Some(Self { call: call.id.clone(), mode: call.mode, role: p.role, device: p.device.clone()? })
    }
}

impl Item {
    /// What this device is told.
    pub fn for_device(&self, device: &DeviceId) -> &Frame {
        match &self.at_device {
            Some((special, frame)) if special == device => frame,
            _ => &self.frame,
        }
    }
}

/// Renders `recorded`, which has just been applied to `call`, for one user.
pub fn item(call: &Call, recorded: &Recorded, user: &UserId, prev: u64) -> Item {
    let rings = match &recorded.event {
        Event::Created(created) => created.callees.contains(user),
        Event::Invited { user: invitee, .. } => invitee == user,
        _ => false,
    };
    let head = Head { call, recorded, prev };
    let (frame, at_device) = match &recorded.event {
        Event::Accepted { user: subject, device, .. } if subject == user => {
            (head.elsewhere("call:accepted_elsewhere", device), Some((device.clone(), head.frame(Some(user)))))
        }
        Event::Moved { user: subject, device } if subject == user => {
            (head.elsewhere("call:accepted_elsewhere", device), Some((device.clone(), head.frame(Some(user)))))
        }
        Event::Declined { user: subject, device: Some(device), .. } if subject == user => {
            (head.elsewhere("call:declined_elsewhere", device), Some((device.clone(), head.frame(Some(user)))))
        }
        _ => (head.frame(Some(user)), None),
    };
    let asks_in = matches!(recorded.event, Event::Escalating { .. } | Event::RoomOpened {});
    let pass = if asks_in { RoomPass::of(call, user) } else { None };
    Item { seq: recorded.seq, prev, frame, at_device, rings, pass }
}

/// Renders `recorded` for the members of the group who take no part in the call.
pub fn item_for_group(call: &Call, recorded: &Recorded, prev: u64) -> Item {
    let frame = Head { call, recorded, prev }.frame(None);
    Item { seq: recorded.seq, prev, frame, at_device: None, rings: false, pass: None }
}

/// The whole call at once, for whom history cannot be replayed.
pub fn snapshot(call: &Call, now: Timestamp) -> Frame {
    let mut out = Writer::with_capacity(1024);
    out.raw("{\"event\":\"call:state\",\"data\":{\"callId\":").value(&call.id);
    out.field("seq", &call.seq).field("prev", &0).field("status", &call.status).field("snapshot", &true);
    out.field("call", &CallObject::new(call, now)).raw("}}");
    out.done()
}

/// The owner of the call has changed, and signals under way were lost.
pub fn renegotiate(call: &CallId, epoch: u64) -> Frame {
    let mut out = Writer::with_capacity(96);
    out.raw("{\"event\":\"call:renegotiate\",\"data\":{\"callId\":").value(call).field("epoch", &epoch).raw("}}");
    out.done()
}

/// A relayed signal. `payload` is JSON and copied as it came.
#[derive(Debug, Clone, Copy)]
pub struct Signal<'a> {
    pub call: &'a Call,
    pub from: &'a UserId,
    pub from_device: &'a DeviceId,
    pub kind: &'a str,
    pub payload: &'a str,
    pub sig: u64,
    pub epoch: u64,
}

impl Signal<'_> {
    /// The event `call:signal`.
    pub fn frame(&self) -> Frame {
        let mut out = Writer::with_capacity(160 + self.payload.len());
        out.raw("{\"event\":\"call:signal\",\"data\":{\"callId\":").value(&self.call.id);
        out.field("from", self.from).field("fromDevice", self.from_device).field("type", self.kind);
        out.field("sig", &self.sig).field("epoch", &self.epoch);
        out.raw(",\"payload\":").raw(self.payload).raw("}}");
        out.done()
    }
}

struct Head<'a> {
    call: &'a Call,
    recorded: &'a Recorded,
    prev: u64,
}

impl Head<'_> {
    fn open(&self, name: &str) -> Writer {
        let mut out = Writer::with_capacity(256);
        out.raw("{\"event\":\"").raw(name).raw("\",\"data\":{\"callId\":").value(&self.call.id);
        out.field("seq", &self.recorded.seq).field("prev", &self.prev).field("at", &self.recorded.at);
        out
    }

    fn elsewhere(&self, name: &str, device: &DeviceId) -> Frame {
        let mut out = self.open(name);
        out.field("deviceId", device).raw("}}");
        out.done()
    }

    fn call_object(&self) -> CallObject<'_> {
        CallObject::new(self.call, self.recorded.at)
    }

    fn frame(&self, to: Option<&UserId>) -> Frame {
        let mut out;
        match &self.recorded.event {
            Event::Created(created) if Some(&created.initiator) == to => {
                out = self.open("call:state");
                out.field("status", &self.call.status).field("call", &self.call_object());
            }
            Event::Created(created) if to.is_some_and(|to| created.callees.contains(to)) => {
                out = self.open("call:incoming");
                out.field("from", &created.initiator).optional("ringDeadline", created.ring_deadline.as_ref());
                out.optional("offer", created.offer.as_ref()).field("call", &self.call_object());
            }
            Event::Created(_) => {
                out = self.open("call:created");
                out.field("call", &self.call_object());
            }
            Event::Invited { user, by, ring_deadline, .. } if Some(user) == to => {
                out = self.open("call:incoming");
                out.field("from", by).field("ringDeadline", ring_deadline).field("call", &self.call_object());
            }
            Event::Invited { user, by, ring_deadline, transfer, .. } => {
                out = self.open("call:participant_invited");
                out.field("userId", user).field("by", by).field("ringDeadline", ring_deadline);
                out.optional("transfer", transfer.then_some(&true));
            }
            Event::Ringing { user, .. } => {
                out = self.open("call:ringing");
                let devices = self.call.participant(user).map(|p| p.ringing_devices.as_slice()).unwrap_or_default();
                out.field("userId", user).field("devices", devices);
            }
            Event::Unreachable { user } => {
                out = self.open("call:unreachable");
                out.field("userId", user);
            }
            Event::Accepted { user, device, answer, .. } => {
                out = self.open("call:accepted");
                out.field("userId", user).field("deviceId", device).optional("answer", answer.as_ref());
            }
            Event::Declined { user, device, reason } => {
                out = self.open("call:declined");
                out.field("userId", user).optional("deviceId", device.as_ref()).optional("reason", reason.as_ref());
            }
            Event::Busy { user, .. } => {
                out = self.open("call:busy");
                out.field("userId", user);
            }
            Event::Missed { user } => {
                out = self.open("call:missed");
                out.field("userId", user);
            }
            Event::Joined { user, device, .. } => {
                out = self.open("call:participant_joined");
                out.field("userId", user).field("deviceId", device);
                if let Some(p) = self.call.participant(user) {
                    out.field("participant", &ParticipantObject::new(p, self.recorded.at));
                }
            }
            Event::Moved { user, device } => {
                out = self.open("call:participant_updated");
                out.field("userId", user).raw(",\"changes\":{\"deviceId\":").value(device).raw("}");
            }
            Event::Connected { users } => {
                out = self.open("call:state");
                out.field("status", &self.call.status).field("connected", users);
            }
            Event::MediaChanged { user, audio, video, screen } => {
                out = self.open("call:participant_updated");
                out.field("userId", user)
                    .field("changes", &MediaChanges { audio: *audio, video: *video, screen: *screen });
            }
            Event::Reconnecting { user, deadline } => {
                out = self.open("call:participant_reconnecting");
                out.field("userId", user).field("deadline", deadline);
            }
            Event::Reconnected { user, device, .. } => {
                out = self.open("call:participant_updated");
                out.field("userId", user).raw(",\"changes\":{\"status\":");
                out.value(&self.call.participant(user).map(|p| p.status)).field("deviceId", device).raw("}");
            }
            Event::Left { user, reason } => {
                out = self.open("call:participant_left");
                out.field("userId", user).field("reason", reason);
            }
            Event::RoleChanged { user, role, by } => {
                out = self.open("call:participant_updated");
                out.field("userId", user).raw(",\"changes\":{\"role\":").value(role).raw("}");
                out.optional("by", by.as_ref());
            }
            Event::Kicked { user, by } => {
                out = self.open("call:kicked");
                out.field("userId", user).field("by", by);
            }
            Event::MuteRequested { users, track, by } => {
                out = self.open("call:mute_requested");
                out.field("userIds", users).field("track", track).field("by", by);
            }
            Event::LockChanged { locked, lobby, by } => {
                out = self.open("call:state");
                out.field("status", &self.call.status).field("locked", locked).field("lobby", lobby).field("by", by);
            }
            Event::LobbyWaiting { user, .. } => {
                out = self.open("call:lobby_waiting");
                out.field("userId", user);
            }
            Event::Admitted { user, by } => {
                out = self.open("call:admitted");
                out.field("userId", user).field("by", by);
            }
            Event::Denied { user, by } => {
                out = self.open("call:denied");
                out.field("userId", user).field("by", by);
            }
            Event::HandRaised { user, raised } => {
                out = self.open("call:hand_raised");
                out.field("userId", user).field("raised", raised);
            }
            Event::Held { user } => {
                out = self.open("call:held");
                out.field("userId", user);
            }
            Event::Resumed { user } => {
                out = self.open("call:resumed");
                out.field("userId", user);
            }
            Event::Transferred { by, to } => {
                out = self.open("call:transferred");
                out.field("userId", by).field("toUserId", to);
            }
            Event::RecordingStarted { recording, options, by } => {
                out = self.open("recording:started");
                out.field("recordingId", recording).field("by", by).field("status", &RecordingStatus::Starting);
                out.field("layout", &options.layout).field("audioOnly", &options.audio_only);
            }
            Event::RecordingStopped { recording, by, reason } => {
                out = self.open("recording:stopped");
                out.field("recordingId", recording).optional("by", by.as_ref());
                out.field("status", &RecordingStatus::Processing).optional("reason", reason.as_ref());
            }
            Event::RecordingChanged { recording, status: RecordingStatus::Failed, reason } => {
                out = self.open("recording:stopped");
                out.field("recordingId", recording).field("status", &RecordingStatus::Failed);
                out.optional("reason", reason.as_ref());
            }
            Event::RecordingChanged { .. } => {
                out = self.open("call:state");
                let recording = self.call.recording.as_ref().map(RecordingObject::of);
                out.field("status", &self.call.status).optional("recording", recording.as_ref());
            }
            Event::Escalating { .. } | Event::RoomOpened {} => match &self.call.escalation {
                Some(escalation) if escalation.open => {
                    out = self.open("call:escalating");
                    out.field("cause", &escalation.cause).optional("by", escalation.by.as_ref());
                    out.field("deadline", &escalation.deadline);
                }
                escalation => {
                    out = self.open("call:state");
                    let escalating = escalation.as_ref().map(Escalating::of);
                    out.field("status", &self.call.status).optional("escalating", escalating.as_ref());
                }
            },
            Event::RoomJoined { user } | Event::RoomLeft { user } => {
                let there = matches!(self.recorded.event, Event::RoomJoined { .. });
                out = self.open("call:participant_updated");
                out.field("userId", user).raw(",\"changes\":{\"inRoom\":").value(&there).raw("}");
            }
            Event::Escalated {} => {
                out = self.open("call:escalated");
                out.field("mode", &self.call.mode).field("status", &self.call.status);
            }
            Event::EscalationAborted { reason, not_before } => {
                out = self.open("call:escalation_aborted");
                out.field("reason", reason).field("notBefore", not_before);
                out.field("mode", &self.call.mode).field("status", &self.call.status);
            }
            Event::Cancelled { by } => {
                out = self.open("call:cancelled");
                out.field("by", by);
            }
            Event::Ended { status, reason, by } => {
                out = self.open("call:ended");
                out.field("reason", reason).optional("by", by.as_ref()).field("status", status);
                out.field("durationSecs", &self.call.duration(self.recorded.at).as_secs());
            }
        }
        out.raw("}}");
        out.done()
    }
}

#[derive(Serialize)]
struct MediaChanges {
    #[serde(skip_serializing_if = "Option::is_none")]
    audio: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    video: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    screen: Option<bool>,
}
