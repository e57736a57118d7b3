//! Who is sent an event. Pure, so that a rebuilt call numbers everybody's `prev` as the call it was rebuilt from.

use super::Call;
use crate::domain::{Event, GroupId, Recorded, UserId};

/// One user who is sent an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    pub user: UserId,
    /// The `seq` of the event before it that this user was sent; 0: none.
    pub prev: u64,
}

/// Everybody who is sent one event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Audience {
    pub users: Vec<Heard>,
    /// The members of this group, but for those in `users`, with their `prev`.
    pub group: Option<(GroupId, u64)>,
}

impl Audience {
    /// The audience of `recorded`, which has just been applied to `call`; marks it as sent.
    ///
    /// Who is in the call hears everything, and so does whom the event happened to. What concerns all who were ever
    /// asked (that it opened, was cancelled, ended) goes to all of them, and to the group.
    pub(super) fn of(call: &mut Call, recorded: &Recorded) -> Self {
        let event = &recorded.event;
        let to_all = matches!(event, Event::Created(_) | Event::Cancelled { .. } | Event::Ended { .. });
        let to_group = matches!(event, Event::Created(_) | Event::Ended { .. });
        let subject = event.subject();
        let users = call
            .participants
            .iter_mut()
            .filter(|p| to_all || p.status.is_engaged() || subject == Some(&p.user))
            .map(|p| Heard { user: p.user.clone(), prev: std::mem::replace(&mut p.last_seq, recorded.seq) })
            .collect();
        let group = call
            .group
            .clone()
            .filter(|_| to_group)
            .map(|group| (group, std::mem::replace(&mut call.group_seq, recorded.seq)));
        Self { users, group }
    }
}
