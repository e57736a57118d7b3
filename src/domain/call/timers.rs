//! Deadlines. They are absolute and part of the state, so whoever owns the call next arms them again.

use super::{Call, CallStatus, EndReason, escalation};
use crate::domain::{Event, ParticipantStatus, Rules, Timestamp};

impl Call {
    /// When the call next needs a [`crate::domain::Command::Tick`]; `None`: not until something happens.
    pub fn next_tick(&self, rules: &Rules) -> Option<Timestamp> {
        let longest = if self.status.is_final() { None } else { self.longest_until(rules) };
        self.next_deadline().into_iter().chain(longest).min()
    }

    /// Until when the call may last: from the second person's coming in, and before that from its creation.
    pub fn longest_until(&self, rules: &Rules) -> Option<Timestamp> {
        rules.max_duration.map(|longest| self.started_at.unwrap_or(self.created_at) + longest)
    }

    /// The earliest deadline of a participant, or of a move to the media server.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let escalation = self.escalation.as_ref().map(|escalation| escalation.deadline);
        self.participants.iter().filter_map(|p| p.deadline).chain(escalation).min()
    }
}

/// What the deadlines that have passed lead to, one event for each.
pub(super) fn due(call: &Call, now: Timestamp, rules: &Rules) -> Vec<Event> {
    if call.longest_until(rules).is_some_and(|deadline| deadline <= now) {
        return vec![Event::Ended { status: CallStatus::Ended, reason: EndReason::MaxDuration, by: None }];
    }
    let overdue = call.participants.iter().filter(|p| p.deadline.is_some_and(|deadline| deadline <= now));
    let mut events: Vec<Event> = overdue
        .filter_map(|p| {
            let user = p.user.clone();
            match p.status {
                ParticipantStatus::Invited | ParticipantStatus::Ringing => Some(Event::Missed { user }),
                // Peer to peer the server cannot see media: silence is no proof that it failed.
                ParticipantStatus::Connecting => Some(Event::Connected { users: vec![user] }),
                ParticipantStatus::Reconnecting => Some(Event::Left { user, reason: EndReason::ConnectionLost }),
                _ => None,
            }
        })
        .collect();
    events.extend(escalation::due(call, now));
    events
}
