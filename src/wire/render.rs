//! An event of the domain as one user is told it.
//!
//! All devices of a user get the same `seq` and `prev`; what they are told may differ by device: the one that accepted
//! hears `call:accepted`, the others `call:accepted_elsewhere`.

use serde::{Deserialize, Serialize};

use super::{
    CallObject, Frame,
    call_object::{Escalating, ParticipantObject, RecordingObject},
    events::{self, Changes, EventData},
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
        Event::Accepted { user: subject, device, .. } if subject == user => (
            head.event(&events::CallAcceptedElsewhere { device_id: device }),
            Some((device.clone(), head.frame(Some(user)))),
        ),
        Event::Moved { user: subject, device } if subject == user => (
            head.event(&events::CallAcceptedElsewhere { device_id: device }),
            Some((device.clone(), head.frame(Some(user)))),
        ),
        Event::Declined { user: subject, device: Some(device), .. } if subject == user => (
            head.event(&events::CallDeclinedElsewhere { device_id: device }),
            Some((device.clone(), head.frame(Some(user)))),
        ),
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
    let head = events::Head { call_id: &call.id, seq: call.seq, prev: 0, at: None };
    let data = events::CallSnapshot { status: call.status, snapshot: true, call: CallObject::new(call, now) };
    let mut out = Writer::with_capacity(1024);
    out.raw("{\"event\":\"call:state\",\"data\":").object(&head, &data).raw("}");
    out.done()
}

/// The owner of the call has changed, and signals under way were lost.
pub fn renegotiate(call: &CallId, epoch: u64) -> Frame {
    Frame::of(&events::CallRenegotiate { call_id: call, epoch })
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
    fn head(&self) -> events::Head<'_> {
        events::Head { call_id: &self.call.id, seq: self.recorded.seq, prev: self.prev, at: Some(self.recorded.at) }
    }

    fn event<E: EventData>(&self, data: &E) -> Frame {
        let mut out = Writer::with_capacity(256);
        out.raw("{\"event\":\"").raw(E::NAME).raw("\",\"data\":").object(&self.head(), data).raw("}");
        out.done()
    }

    fn call_object(&self) -> CallObject<'_> {
        CallObject::new(self.call, self.recorded.at)
    }

    fn updated<'e>(&self, user_id: &'e UserId, changes: Changes<'e>, by: Option<&'e UserId>) -> Frame {
        self.event(&events::ParticipantUpdated { user_id, changes, by })
    }

    fn frame(&self, to: Option<&UserId>) -> Frame {
        let status = self.call.status;
        match &self.recorded.event {
            Event::Created(created) if Some(&created.initiator) == to => {
                self.event(&events::CallOpened { status, call: self.call_object() })
            }
            Event::Created(created) if to.is_some_and(|to| created.callees.contains(to)) => {
                self.event(&events::CallIncoming {
                    from: &created.initiator,
                    ring_deadline: created.ring_deadline,
                    offer: created.offer.as_ref(),
                    call: self.call_object(),
                })
            }
            Event::Created(_) => self.event(&events::CallCreated { call: self.call_object() }),
            Event::Invited { user, by, ring_deadline, .. } if Some(user) == to => self.event(&events::CallIncoming {
                from: by,
                ring_deadline: Some(*ring_deadline),
                offer: None,
                call: self.call_object(),
            }),
            Event::Invited { user: user_id, by, ring_deadline, transfer, .. } => {
                let (ring_deadline, transfer) = (*ring_deadline, transfer.then_some(true));
                self.event(&events::ParticipantInvited { user_id, by, ring_deadline, transfer })
            }
            Event::Ringing { user: user_id, .. } => {
                let participant = self.call.participant(user_id);
                let devices = participant.map(|p| p.ringing_devices.as_slice()).unwrap_or_default();
                self.event(&events::CallRinging { user_id, devices })
            }
            Event::Unreachable { user: user_id } => self.event(&events::CallUnreachable { user_id }),
            Event::Accepted { user: user_id, device: device_id, answer, .. } => {
                self.event(&events::CallAccepted { user_id, device_id, answer: answer.as_ref() })
            }
            Event::Declined { user: user_id, device, reason } => {
                let (device_id, reason) = (device.as_ref(), reason.as_deref());
                self.event(&events::CallDeclined { user_id, device_id, reason })
            }
            Event::Busy { user: user_id, .. } => self.event(&events::CallBusy { user_id }),
            Event::Missed { user: user_id } => self.event(&events::CallMissed { user_id }),
            Event::Joined { user: user_id, device: device_id, .. } => {
                let participant = self.call.participant(user_id);
                let participant = participant.map(|p| ParticipantObject::new(p, self.recorded.at));
                self.event(&events::ParticipantJoined { user_id, device_id, participant })
            }
            Event::Moved { user, device } => {
                self.updated(user, Changes { device_id: Some(device), ..Changes::default() }, None)
            }
            Event::Connected { users: connected } => self.event(&events::CallConnected { status, connected }),
            Event::MediaChanged { user, audio, video, screen } => {
                let changes = Changes { audio: *audio, video: *video, screen: *screen, ..Changes::default() };
                self.updated(user, changes, None)
            }
            Event::Reconnecting { user: user_id, deadline } => {
                self.event(&events::ParticipantReconnecting { user_id, deadline: *deadline })
            }
            Event::Reconnected { user, device, .. } => {
                let status = self.call.participant(user).map(|p| p.status);
                self.updated(user, Changes { status, device_id: Some(device), ..Changes::default() }, None)
            }
            Event::Left { user: user_id, reason } => self.event(&events::ParticipantLeft { user_id, reason: *reason }),
            Event::RoleChanged { user, role, by } => {
                self.updated(user, Changes { role: Some(*role), ..Changes::default() }, by.as_ref())
            }
            Event::Kicked { user: user_id, by } => self.event(&events::CallKicked { user_id, by }),
            Event::MuteRequested { users: user_ids, track, by } => {
                self.event(&events::MuteRequested { user_ids, track: *track, by })
            }
            Event::LockChanged { locked, lobby, by } => {
                self.event(&events::CallLockChanged { status, locked: *locked, lobby: *lobby, by })
            }
            Event::LobbyWaiting { user: user_id, .. } => self.event(&events::LobbyWaiting { user_id }),
            Event::Admitted { user: user_id, by } => self.event(&events::CallAdmitted { user_id, by }),
            Event::Denied { user: user_id, by } => self.event(&events::CallDenied { user_id, by }),
            Event::HandRaised { user: user_id, raised } => self.event(&events::HandRaised { user_id, raised: *raised }),
            Event::Held { user: user_id } => self.event(&events::CallHeld { user_id }),
            Event::Resumed { user: user_id } => self.event(&events::CallResumed { user_id }),
            Event::Transferred { by: user_id, to: to_user_id } => {
                self.event(&events::CallTransferred { user_id, to_user_id })
            }
            Event::RecordingStarted { recording: recording_id, options, by } => self.event(&events::RecordingStarted {
                recording_id,
                by,
                status: RecordingStatus::Starting,
                layout: options.layout,
                audio_only: options.audio_only,
            }),
            Event::RecordingStopped { recording: recording_id, by, reason } => {
                let (by, reason, status) = (by.as_ref(), reason.as_deref(), RecordingStatus::Processing);
                self.event(&events::RecordingStopped { recording_id, by, status, reason })
            }
            Event::RecordingChanged { recording: recording_id, status: status @ RecordingStatus::Failed, reason } => {
                let (reason, status) = (reason.as_deref(), *status);
                self.event(&events::RecordingStopped { recording_id, by: None, status, reason })
            }
            Event::RecordingChanged { .. } => {
                let recording = self.call.recording.as_ref().map(RecordingObject::of);
                self.event(&events::RecordingMoved { status, recording })
            }
            Event::Escalating { .. } | Event::RoomOpened {} => match &self.call.escalation {
                Some(escalation) if escalation.open => self.event(&events::CallEscalating {
                    cause: escalation.cause,
                    by: escalation.by.as_ref(),
                    deadline: escalation.deadline,
                    media: None,
                }),
                escalation => {
                    let escalating = escalation.as_ref().map(Escalating::of);
                    self.event(&events::CallMoving { status, escalating })
                }
            },
            Event::RoomJoined { user } | Event::RoomLeft { user } => {
                let there = matches!(self.recorded.event, Event::RoomJoined { .. });
                self.updated(user, Changes { in_room: Some(there), ..Changes::default() }, None)
            }
            Event::Escalated {} => self.event(&events::CallEscalated { mode: &self.call.mode, status }),
            Event::EscalationAborted { reason, not_before } => self.event(&events::EscalationAborted {
                reason: *reason,
                not_before: *not_before,
                mode: &self.call.mode,
                status,
            }),
            Event::Cancelled { by } => self.event(&events::CallCancelled { by }),
            Event::Ended { status, reason, by } => self.event(&events::CallEnded {
                reason: *reason,
                by: by.as_ref(),
                status: *status,
                duration_secs: self.call.duration(self.recorded.at).as_secs(),
            }),
        }
    }
}
