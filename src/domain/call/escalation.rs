//! Moving a peer-to-peer call onto the media server: when it begins, whom it waits for, and when it is given up.
//!
//! Make before break: everybody in the call is asked into the room while the peer connections stand. Once the media
//! server has seen all of them the call is its own, and the clients let go of each other; who cannot get there in time
//! leaves the call as it was. The rules never ask the media server anything: what it has seen, and that a room could not
//! be opened, comes as commands of the system, in any order and more than once.

use std::time::Duration;

use super::{AbortReason, Call, CallMode, CallStatus, EscalationCause};
use crate::domain::{DeviceId, Event, Participant, ParticipantStatus, Rejection, Rules, Timestamp, UserId};

/// How long after a move was given up the next may begin. Shorter, and every one who joins has all the others try again
/// what has just failed; longer, and a call of many is a mesh for longer than its uplinks bear.
pub const ESCALATION_PAUSE: Duration = Duration::from_secs(30);

/// A move to the media server that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Escalation {
    pub cause: EscalationCause,
    /// Who asked for it; `None`: the rules.
    pub by: Option<UserId>,
    /// Until when everybody must be in the room.
    pub deadline: Timestamp,
    /// The room is open, and everybody has been asked in.
    pub open: bool,
}

impl Call {
    /// The media server has to have a room for it: it is there already, or on its way.
    pub fn needs_room(&self) -> bool {
        !self.status.is_final() && (self.mode == CallMode::Sfu || self.escalation.is_some())
    }

    /// Whether the user is asked into the call's room.
    pub fn admits_to_room(&self, user: &UserId) -> bool {
        let opening = self.escalation.as_ref().is_some_and(|escalation| !escalation.open);
        self.needs_room() && !opening && self.is_in(user, ParticipantStatus::is_engaged)
    }
}

/// Begins the move, by adding to `events`; nothing is added when the call is there already or on its way.
///
/// `call`: as it is after `events`. Refused when there is no media server, or the last attempt has failed just now.
pub(super) fn begin(
    call: &Call,
    now: Timestamp,
    rules: &Rules,
    cause: EscalationCause,
    by: Option<&UserId>,
    events: &mut Vec<Event>,
) -> Result<(), Rejection> {
    if call.mode == CallMode::Sfu || call.escalation.is_some() {
        return Ok(());
    }
    if !rules.media_server {
        return Err(Rejection::MediaUnavailable("there is no media server now"));
    }
    if call.no_escalation_before.is_some_and(|until| now < until) {
        return Err(Rejection::MediaUnavailable("the media server could not take the call just now"));
    }
    events.push(Event::Escalating { cause, by: by.cloned(), deadline: now + rules.escalation_timeout });
    Ok(())
}

/// Somebody in the call asks for it.
pub(super) fn requested(call: &Call, now: Timestamp, rules: &Rules, by: &UserId) -> Result<Vec<Event>, Rejection> {
    if call.started_at.is_none() && call.mode == CallMode::P2p {
        return Err(Rejection::WrongState("nobody has accepted it yet"));
    }
    let mut events = Vec::new();
    begin(call, now, rules, EscalationCause::Requested, Some(by), &mut events)?;
    Ok(events)
}

/// The media server has seen this device of the user in the call's room. What matters to nothing is not noted.
pub(super) fn room_joined(call: &Call, user: &UserId, device: &DeviceId) -> Vec<Event> {
    let Some(p) = call.participant(user).filter(|p| p.status.is_engaged() && p.device.as_ref() == Some(device)) else {
        return Vec::new();
    };
    let awaited = call.escalation.is_some() || (call.mode == CallMode::Sfu && call.status != CallStatus::Active);
    let mut events = Vec::new();
    if awaited && !p.in_room {
        events.push(Event::RoomJoined { user: user.clone() });
    }
    if call.mode == CallMode::Sfu && p.status == ParticipantStatus::Connecting && call.status == CallStatus::Active {
        events.push(Event::Connected { users: vec![user.clone()] });
    }
    events
}

/// It sees them there no more.
pub(super) fn room_left(call: &Call, user: &UserId, device: &DeviceId) -> Vec<Event> {
    let awaited = call.escalation.is_some() || (call.mode == CallMode::Sfu && call.status != CallStatus::Active);
    let was_there = |p: &Participant| p.in_room && p.device.as_ref() == Some(device);
    let left = awaited && call.participant(user).is_some_and(was_there);
    if left { vec![Event::RoomLeft { user: user.clone() }] } else { vec![] }
}

/// The room is open.
pub(super) fn room_opened(call: &Call) -> Vec<Event> {
    let news = call.escalation.as_ref().is_some_and(|escalation| !escalation.open);
    if news { vec![Event::RoomOpened {}] } else { vec![] }
}

/// The room could not be opened. A call that is on the media server already stays: there it is tried again.
pub(super) fn room_unavailable(call: &Call, now: Timestamp) -> Vec<Event> {
    if call.escalation.is_some() { vec![aborted(AbortReason::RoomUnavailable, now)] } else { vec![] }
}

fn aborted(reason: AbortReason, now: Timestamp) -> Event {
    Event::EscalationAborted { reason, not_before: now + ESCALATION_PAUSE }
}

/// What the deadline of the move leads to: who has lost their connection is not waited for any longer, and finds the
/// call on the media server when they are back.
pub(super) fn due(call: &Call, now: Timestamp) -> Vec<Event> {
    if call.escalation.as_ref().is_none_or(|escalation| escalation.deadline > now) {
        return Vec::new();
    }
    let mut here = call.engaged().filter(|p| p.in_room || p.status != ParticipantStatus::Reconnecting).peekable();
    if here.peek().is_some() && here.all(|p| p.in_room) {
        escalated(call)
    } else {
        vec![aborted(AbortReason::NotConnected, now)]
    }
}

/// The call is the media server's; who waited for media has it.
fn escalated(call: &Call) -> Vec<Event> {
    let mut events = vec![Event::Escalated {}];
    events.extend(connected(call));
    events
}

fn connected(call: &Call) -> Option<Event> {
    let waiting = call.engaged().filter(|p| p.in_room && p.status == ParticipantStatus::Connecting);
    let users: Vec<UserId> = waiting.map(|p| p.user.clone()).collect();
    (!users.is_empty()).then_some(Event::Connected { users })
}

/// What follows by itself from these events, which led to `after`, a call that goes on: with a third in the call it
/// moves, and who comes meanwhile is given time of their own; with everybody in the room it has moved; and with two in
/// the room of a call that began there, media flows.
pub(super) fn follow_up(after: &Call, now: Timestamp, rules: &Rules, events: &[Event]) -> Vec<Event> {
    let came = events.iter().any(|e| matches!(e, Event::Accepted { .. } | Event::Joined { .. } | Event::Moved { .. }));
    if let Some(escalation) = after.escalation.as_ref().filter(|_| came) {
        // Asks the newcomer into the room too; the others know already.
        let (cause, by) = (escalation.cause, escalation.by.clone());
        return vec![Event::Escalating { cause, by, deadline: now + rules.escalation_timeout }];
    }
    if came && after.escalates && rules.media_server && after.engaged().count() > 2 {
        let mut follow = Vec::new();
        // Just after a failure it goes on peer to peer: that is no reason to keep anybody out.
        let _ = begin(after, now, rules, EscalationCause::ThirdParticipant, None, &mut follow);
        return follow;
    }
    if after.escalation.is_some() && after.engaged().all(|p| p.in_room) {
        return escalated(after);
    }
    let starts_there = after.mode == CallMode::Sfu && after.status == CallStatus::Connecting;
    if starts_there && after.engaged().filter(|p| p.in_room).count() >= 2 {
        return connected(after).into_iter().collect();
    }
    Vec::new()
}
