//! The rows of `invitations` that events lead to: one for each time that somebody is rung, and how it was answered.

use crate::domain::{Call, DeviceId, Event, Recorded, Timestamp, UserId};

/// How a ring ended, as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InvitationOutcome {
    Pending,
    Accepted,
    Declined,
    Busy,
    /// It ran out.
    Missed,
    /// Withdrawn before it ran out: the call was cancelled, or ended without them.
    Cancelled,
}

impl InvitationOutcome {
    /// The name in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Accepted => "accepted",
            Self::Declined => "declined",
            Self::Busy => "busy",
            Self::Missed => "missed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A ring that begins in this commit, and may end in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Invitation {
    pub user: UserId,
    pub seq: u64,
    pub by: UserId,
    pub at: Timestamp,
    pub deadline: Option<Timestamp>,
    pub outcome: InvitationOutcome,
    pub answered_at: Option<Timestamp>,
    pub device: Option<DeviceId>,
}

/// How a ring of an earlier commit, the user's pending one, ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub user: UserId,
    pub outcome: InvitationOutcome,
    pub at: Timestamp,
    pub device: Option<DeviceId>,
}

/// What `events`, which follow `before`, mean for invitations.
pub(super) fn derive(before: Option<&Call>, events: &[Recorded]) -> (Vec<Invitation>, Vec<Answer>) {
    let mut rings = Rings {
        pending: before.map(|call| call.rung().map(|p| p.user.clone()).collect()).unwrap_or_default(),
        begun: Vec::new(),
        answers: Vec::new(),
    };
    for Recorded { seq, at, event } in events {
        match event {
            Event::Created(created) => {
                for user in &created.callees {
                    rings.begin(user, *seq, &created.initiator, *at, created.ring_deadline);
                }
            }
            Event::Invited { user, by, ring_deadline, .. } => rings.begin(user, *seq, by, *at, Some(*ring_deadline)),
            Event::Accepted { user, device, .. } => rings.end(user, InvitationOutcome::Accepted, *at, Some(device)),
            Event::Declined { user, device, .. } => {
                rings.end(user, InvitationOutcome::Declined, *at, device.as_ref());
            }
            Event::Busy { user, device } => rings.end(user, InvitationOutcome::Busy, *at, device.as_ref()),
            Event::Missed { user } => rings.end(user, InvitationOutcome::Missed, *at, None),
            // Who leaves while they are rung was taken out of the group.
            Event::Left { user, .. } => rings.end(user, InvitationOutcome::Cancelled, *at, None),
            Event::Ended { .. } => rings.end_all(*at),
            _ => {}
        }
    }
    (rings.begun, rings.answers)
}

struct Rings {
    /// Rung since before this commit.
    pending: Vec<UserId>,
    begun: Vec<Invitation>,
    answers: Vec<Answer>,
}

impl Rings {
    fn begin(&mut self, user: &UserId, seq: u64, by: &UserId, at: Timestamp, deadline: Option<Timestamp>) {
        self.begun.push(Invitation {
            user: user.clone(),
            seq,
            by: by.clone(),
            at,
            deadline,
            outcome: InvitationOutcome::Pending,
            answered_at: None,
            device: None,
        });
    }

    fn end(&mut self, user: &UserId, outcome: InvitationOutcome, at: Timestamp, device: Option<&DeviceId>) {
        let begun = self.begun.iter_mut().find(|i| i.user == *user && i.outcome == InvitationOutcome::Pending);
        if let Some(begun) = begun {
            begun.outcome = outcome;
            begun.answered_at = Some(at);
            begun.device = device.cloned();
        } else if let Some(place) = self.pending.iter().position(|u| u == user) {
            let user = self.pending.swap_remove(place);
            self.answers.push(Answer { user, outcome, at, device: device.cloned() });
        }
    }

    fn end_all(&mut self, at: Timestamp) {
        let begun = self.begun.iter().filter(|i| i.outcome == InvitationOutcome::Pending).map(|i| i.user.clone());
        let all: Vec<UserId> = begun.chain(self.pending.iter().cloned()).collect();
        for user in all {
            self.end(&user, InvitationOutcome::Cancelled, at, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{CallStatus, EndReason};

    fn user(name: &str) -> UserId {
        UserId::new(name).unwrap()
    }

    fn recorded(seq: u64, event: Event) -> Recorded {
        Recorded { seq, at: Timestamp::from_millis(1000), event }
    }

    #[test]
    fn a_ring_that_begins_and_ends_in_one_commit_is_one_row() {
        let invited = Event::Invited {
            user: user("bob"),
            by: user("alice"),
            ring_deadline: Timestamp::from_millis(9000),
            transfer: false,
            guest: false,
        };
        let busy = Event::Busy { user: user("bob"), device: None };
        let (begun, answers) = derive(None, &[recorded(4, invited), recorded(5, busy)]);
        assert_eq!(begun.len(), 1);
        assert_eq!((begun[0].seq, begun[0].outcome), (4, InvitationOutcome::Busy));
        assert!(answers.is_empty());
    }

    #[test]
    fn the_end_withdraws_rings_that_nobody_answered() {
        let invited = |name| Event::Invited {
            user: user(name),
            by: user("alice"),
            ring_deadline: Timestamp::from_millis(9000),
            transfer: false,
            guest: false,
        };
        let missed = Event::Missed { user: user("bob") };
        let end = Event::Ended { status: CallStatus::Ended, reason: EndReason::Completed, by: None };
        let events = [invited("bob"), invited("carol"), missed, end];
        let events: Vec<_> = events.into_iter().zip(4..).map(|(event, seq)| recorded(seq, event)).collect();
        let (begun, _) = derive(None, &events);
        let outcomes: Vec<_> = begun.iter().map(|i| i.outcome).collect();
        assert_eq!(outcomes, [InvitationOutcome::Missed, InvitationOutcome::Cancelled]);
    }
}
