//! Deadlines. They are absolute and part of the state, so whoever owns the call next arms them again.

use super::{Call, EndReason};
use crate::domain::{Event, ParticipantStatus, Timestamp};

impl Call {
    /// When the call next needs a [`crate::domain::Command::Tick`]; `None`: not until something happens.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.participants.iter().filter_map(|p| p.deadline).min()
    }
}

/// What the deadlines that have passed lead to, one event for each.
pub(super) fn due(call: &Call, now: Timestamp) -> Vec<Event> {
    let overdue = call.participants.iter().filter(|p| p.deadline.is_some_and(|deadline| deadline <= now));
    overdue
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
        .collect()
}
