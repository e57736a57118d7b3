//! What the application's backend is told of: which events, and what of each.
//!
//! Pure: what has happened to a call becomes notices, one table of which is [`notices`]. Must never hold an offer, an
//! answer, a candidate, metadata or a token: a notice goes out of the house, and is stored until it has gone.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, schema::Type},
};

use super::{Call, Event, Participant, Recorded, Recording, RecordingStatus, Timestamp, UserId, call::wire_names};

wire_names!(
    /// What happened.
    WebhookEvent {
        CallStarted = "call.started",
        /// Somebody is rung: one for each of them. What a push to a phone is made of.
        CallRinging = "call.ringing",
        CallAccepted = "call.accepted",
        /// Media of these people works.
        CallConnected = "call.connected",
        CallDeclined = "call.declined",
        CallBusy = "call.busy",
        /// Somebody's ring ran out.
        CallMissed = "call.missed",
        CallCancelled = "call.cancelled",
        CallParticipantJoined = "call.participant_joined",
        CallParticipantLeft = "call.participant_left",
        /// The call is on the media server.
        CallEscalated = "call.escalated",
        CallEnded = "call.ended",
        RecordingStarted = "recording.started",
        RecordingStopped = "recording.stopped",
        /// Its file is there.
        RecordingReady = "recording.ready",
        RecordingFailed = "recording.failed",
        /// Nothing: somebody tries whether a webhook works.
        WebhookTest = "webhook.test",
    }
);

impl WebhookEvent {
    /// All that may be asked for.
    pub const ON_REQUEST: [Self; 16] = [
        Self::CallStarted,
        Self::CallRinging,
        Self::CallAccepted,
        Self::CallConnected,
        Self::CallDeclined,
        Self::CallBusy,
        Self::CallMissed,
        Self::CallCancelled,
        Self::CallParticipantJoined,
        Self::CallParticipantLeft,
        Self::CallEscalated,
        Self::CallEnded,
        Self::RecordingStarted,
        Self::RecordingStopped,
        Self::RecordingReady,
        Self::RecordingFailed,
    ];
}

/// Every event, now and later.
pub const EVERYTHING: &str = "*";

/// Which events somebody wants to hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventFilter {
    All,
    Of(Vec<WebhookEvent>),
}

impl EventFilter {
    /// Names of events, or [`EVERYTHING`]. `Err`: the one that is neither.
    pub fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, &'a str> {
        let mut events = Vec::new();
        let mut all = true;
        for name in names {
            if name == EVERYTHING {
                return Ok(Self::All);
            }
            all = false;
            let event =
                WebhookEvent::parse(name).filter(|event| WebhookEvent::ON_REQUEST.contains(event)).ok_or(name)?;
            if !events.contains(&event) {
                events.push(event);
            }
        }
        Ok(if all { Self::All } else { Self::Of(events) })
    }

    /// Whether it lets this event through. A test always is.
    pub fn wants(&self, event: WebhookEvent) -> bool {
        match self {
            Self::All => true,
            Self::Of(events) => event == WebhookEvent::WebhookTest || events.contains(&event),
        }
    }

    /// As [`EventFilter::parse`] reads them.
    pub fn names(&self) -> Vec<&'static str> {
        match self {
            Self::All => vec![EVERYTHING],
            Self::Of(events) => events.iter().map(|event| event.as_str()).collect(),
        }
    }
}

/// Something that the backend is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    pub event: WebhookEvent,
    pub at: Timestamp,
    /// Its place among those of the call. Those of one place are told beside each other.
    pub pos: u64,
    /// Whom a ring is for.
    pub rings: Option<UserId>,
    /// From then on it is of no use to anybody.
    pub expires_at: Option<Timestamp>,
    /// JSON, an object.
    pub data: String,
}

/// Participants that the end of a call names. More would make the body of a call with a thousand guests a book.
const MOST_NAMED: usize = 100;
/// Places of one event of a call: what [`notices`] makes of one, in order.
const PLACES: u64 = 2;
/// After every event of a call.
const PAST_THE_CALL: u64 = 1 << 62;

struct Data(Map<String, Value>);

impl Data {
    fn of(call: &Call, seq: u64) -> Self {
        Self(Map::new())
            .with("callId", &call.id)
            .with("type", call.call_type)
            .with("mode", call.mode)
            .maybe("groupId", call.group.as_ref())
            .with("initiatorId", &call.initiator)
            .with("seq", seq)
    }

    fn with(mut self, name: &str, value: impl Serialize) -> Self {
        // What has no JSON form is none of what stands here.
        self.0.insert(name.to_owned(), serde_json::to_value(value).unwrap_or_default());
        self
    }

    fn maybe(self, name: &str, value: Option<impl Serialize>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    fn done(self) -> String {
        Value::Object(self.0).to_string()
    }
}

/// A user with the name that their token gives them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Named<'a> {
    user_id: &'a UserId,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

impl<'a> Named<'a> {
    fn of(call: &'a Call, user: &'a UserId) -> Self {
        let name = call.initiator_name.as_deref().filter(|_| call.initiator == *user);
        Self { user_id: user, name }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Stood<'a> {
    user_id: &'a UserId,
    status: &'static str,
}

impl<'a> From<&'a Participant> for Stood<'a> {
    fn from(p: &'a Participant) -> Self {
        Self { user_id: &p.user, status: p.status.as_str() }
    }
}

/// What is told of `events`, which lead from `before` to `after`: the one table of it.
pub fn notices(before: Option<&Call>, after: &Call, events: &[Recorded]) -> Vec<Notice> {
    let mut all = Vec::new();
    let mut running = before.and_then(Call::running_recording).map(|recording| recording.id.clone());
    for Recorded { seq, at, event } in events {
        let data = || Data::of(after, *seq);
        let mut tell = |place: u64, event, data: Data, ring: Option<(&UserId, Timestamp)>| {
            let (rings, expires_at) = ring.map(|(user, until)| (user.clone(), until)).unzip();
            all.push(Notice { event, at: *at, pos: seq * PLACES + place, rings, expires_at, data: data.done() });
        };
        let ring = |user: &UserId, by: &UserId, until: Timestamp| {
            data().with("userId", user).with("from", Named::of(after, by)).with("ringDeadline", until)
        };
        use WebhookEvent as E;
        match event {
            Event::Created(created) => {
                let started = data().with("from", Named::of(after, &created.initiator));
                tell(0, E::CallStarted, started.with("calleeIds", &created.callees), None);
                for user in &created.callees {
                    let Some(until) = created.ring_deadline else { break };
                    tell(1, E::CallRinging, ring(user, &created.initiator, until), Some((user, until)));
                }
            }
            Event::Invited { user, by, ring_deadline, .. } => {
                tell(0, E::CallRinging, ring(user, by, *ring_deadline), Some((user, *ring_deadline)));
            }
            Event::Accepted { user, device, .. } => {
                tell(0, E::CallAccepted, data().with("userId", user).with("deviceId", device), None);
            }
            Event::Connected { users } => tell(0, E::CallConnected, data().with("userIds", users), None),
            Event::Declined { user, device, reason } => {
                let declined = data().with("userId", user).maybe("deviceId", device.as_ref());
                tell(0, E::CallDeclined, declined.maybe("reason", reason.as_ref()), None);
            }
            Event::Busy { user, .. } => tell(0, E::CallBusy, data().with("userId", user), None),
            Event::Missed { user } => tell(0, E::CallMissed, data().with("userId", user), None),
            Event::Joined { user, device, .. } => {
                tell(0, E::CallParticipantJoined, data().with("userId", user).with("deviceId", device), None);
            }
            Event::Left { user, reason } => {
                tell(0, E::CallParticipantLeft, data().with("userId", user).with("reason", reason), None);
            }
            Event::Kicked { user, by } => {
                let left = data().with("userId", user).with("reason", super::EndReason::Kicked).with("by", by);
                tell(0, E::CallParticipantLeft, left, None);
            }
            Event::Transferred { by, to } => {
                let left = data().with("userId", by).with("reason", super::EndReason::Completed);
                tell(0, E::CallParticipantLeft, left.with("transferredTo", to), None);
            }
            Event::Cancelled { by } => {
                let rung = before.into_iter().flat_map(Call::rung).map(|p| &p.user).collect::<Vec<_>>();
                tell(0, E::CallCancelled, data().with("by", by).with("userIds", rung), None);
            }
            Event::Escalated {} => tell(0, E::CallEscalated, data(), None),
            Event::RecordingStarted { recording, by, .. } => {
                running = Some(recording.clone());
                tell(0, E::RecordingStarted, data().with("recordingId", recording).with("by", by), None);
            }
            Event::RecordingStopped { recording, by, .. } => {
                running = None;
                let stopped = data().with("recordingId", recording).maybe("by", by.as_ref());
                tell(0, E::RecordingStopped, stopped, None);
            }
            Event::Ended { status, reason, by } => {
                if let Some(recording) = running.take() {
                    tell(0, E::RecordingStopped, data().with("recordingId", recording), None);
                }
                let people: Vec<Stood> = after.participants.iter().take(MOST_NAMED).map(Stood::from).collect();
                let ended = data().with("status", status).with("reason", reason).maybe("by", by.as_ref());
                let ended = ended.with("durationSecs", after.duration(*at).as_secs()).with("participants", people);
                tell(1, E::CallEnded, ended.with("peakParticipants", after.peak_participants), None);
            }
            // What is left out: how a ring goes on at the callee's devices, media, roles, the lobby, connections that
            // break and come back, steps of a move; and whether a file is there, which its recording tells itself.
            Event::Ringing { .. }
            | Event::Unreachable { .. }
            | Event::Moved { .. }
            | Event::MediaChanged { .. }
            | Event::Reconnecting { .. }
            | Event::Reconnected { .. }
            | Event::RoleChanged { .. }
            | Event::MuteRequested { .. }
            | Event::LockChanged { .. }
            | Event::LobbyWaiting { .. }
            | Event::Admitted { .. }
            | Event::Denied { .. }
            | Event::HandRaised { .. }
            | Event::Held { .. }
            | Event::Resumed { .. }
            | Event::RecordingChanged { .. }
            | Event::Escalating { .. }
            | Event::RoomOpened {}
            | Event::RoomJoined { .. }
            | Event::RoomLeft { .. }
            | Event::EscalationAborted { .. } => {}
        }
    }
    all
}

/// What is told of a recording that has come to its end, whether its call is over or not; `None`: it has not.
pub fn notice_of(recording: &Recording, now: Timestamp) -> Option<Notice> {
    let event = match recording.status {
        RecordingStatus::Ready => WebhookEvent::RecordingReady,
        RecordingStatus::Failed => WebhookEvent::RecordingFailed,
        _ => return None,
    };
    let data = Data(Map::new())
        .with("callId", &recording.call)
        .with("recordingId", &recording.id)
        .with("status", recording.status)
        .maybe("sizeBytes", recording.bytes)
        .maybe("durationSecs", recording.duration.map(|duration| duration.as_secs()))
        .maybe("expiresAt", recording.expires_at)
        .maybe("reason", recording.reason.as_ref());
    Some(Notice { event, at: now, pos: PAST_THE_CALL, rings: None, expires_at: None, data: data.done() })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::{CallId, CallMode, CallType, DeviceId, Rules, Start, call::start};

    fn opening(callees: &[&str]) -> (Call, Vec<Recorded>) {
        let secret = serde_json::from_str(r#"{"canary":"v=0"}"#).unwrap();
        let opening = Start {
            call: CallId::new("c").unwrap(),
            call_type: CallType::Audio,
            mode: CallMode::P2p,
            escalates: false,
            initiator: UserId::new("alice").unwrap(),
            initiator_name: Some("Alice".into()),
            device: DeviceId::new("phone").unwrap(),
            group: None,
            callees: callees.iter().map(|user| UserId::new(user).unwrap()).collect(),
            ring_timeout: Some(Duration::from_secs(30)),
            offer: Some(secret),
            metadata: serde_json::from_str(r#"{"canary":1}"#).unwrap(),
        };
        let at = Timestamp::from_millis(1000);
        let event = start(&opening, at, &Rules::default()).unwrap().remove(0);
        let events = vec![Recorded { seq: 1, at, event }];
        (Call::rebuild(opening.call.clone(), &events).unwrap(), events)
    }

    #[test]
    fn a_start_is_told_and_then_each_ring_until_its_deadline_without_what_is_secret() {
        let (call, events) = opening(&["bob", "carol"]);
        let told = notices(None, &call, &events);
        let kinds: Vec<(&str, u64)> = told.iter().map(|notice| (notice.event.as_str(), notice.pos)).collect();
        assert_eq!(kinds, [("call.started", 2), ("call.ringing", 3), ("call.ringing", 3)]);
        assert_eq!(told[2].rings.as_ref().map(UserId::as_str), Some("carol"));
        assert_eq!(told[2].expires_at, Some(Timestamp::from_millis(31_000)));
        assert!(told[0].expires_at.is_none());
        let ring: Value = serde_json::from_str(&told[1].data).unwrap();
        assert_eq!(ring["from"], serde_json::json!({"userId": "alice", "name": "Alice"}));
        assert!(told.iter().all(|notice| !notice.data.contains("canary")));
    }

    #[test]
    fn an_end_is_the_last_and_a_recording_stops_before_it() {
        let (before, _) = opening(&["bob"]);
        let ended = Event::Ended {
            status: crate::domain::CallStatus::Cancelled,
            reason: crate::domain::EndReason::Cancelled,
            by: None,
        };
        let events = [Event::Cancelled { by: before.initiator.clone() }, ended]
            .into_iter()
            .zip(2..)
            .map(|(event, seq)| Recorded { seq, at: Timestamp::from_millis(2000), event });
        let events: Vec<Recorded> = events.collect();
        let mut after = before.clone();
        for event in &events {
            crate::domain::call::evolve(&mut after, event);
        }
        let told = notices(Some(&before), &after, &events);
        assert_eq!(
            told.iter().map(|notice| notice.event.as_str()).collect::<Vec<_>>(),
            ["call.cancelled", "call.ended"]
        );
        assert!(told[0].data.contains(r#""userIds":["bob"]"#), "{}", told[0].data);
        assert!(told.windows(2).all(|pair| pair[0].pos < pair[1].pos));
    }

    #[test]
    fn a_filter_is_of_known_names_or_of_everything() {
        let parse = |names: &[&'static str]| EventFilter::parse(names.iter().copied());
        assert_eq!(parse(&[]), Ok(EventFilter::All));
        assert_eq!(parse(&["call.ended", "*"]), Ok(EventFilter::All));
        assert_eq!(parse(&["call.ended", "call.sung"]), Err("call.sung"));
        assert_eq!(parse(&["webhook.test"]), Err("webhook.test"), "always comes");
        let two = parse(&["call.ended", "call.missed", "call.ended"]).unwrap();
        assert_eq!(two.names(), ["call.ended", "call.missed"]);
        assert!(two.wants(WebhookEvent::CallMissed) && two.wants(WebhookEvent::WebhookTest));
        assert!(!two.wants(WebhookEvent::CallStarted) && EventFilter::All.wants(WebhookEvent::CallStarted));
    }
}
