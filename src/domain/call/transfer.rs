//! Holding a call and handing one's part in it to somebody else.
//!
//! A transfer is blind: the third person is rung while the two go on talking, and takes the place of who asked when they
//! accept. When they decline, are busy or do not answer, the call goes on as it was.

use super::{Call, decide::Decision};
use crate::domain::{Event, Participant, Rejection, Rules, Timestamp, UserId};

/// A transfer under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// Who goes when it succeeds.
    pub by: UserId,
    /// Who is rung for it.
    pub to: UserId,
}

/// `me` is engaged in a call that goes on.
pub(super) fn transfer(call: &Call, now: Timestamp, rules: &Rules, me: &Participant, to: &UserId) -> Decision {
    if call.is_group {
        return Err(Rejection::WrongState("only a call of two can be transferred"));
    }
    if call.started_at.is_none() {
        return Err(Rejection::WrongState("nobody has accepted it yet"));
    }
    match &call.transfer {
        Some(under_way) if under_way.by == me.user && under_way.to == *to => return Ok(vec![]),
        Some(_) => return Err(Rejection::WrongState("a transfer is under way")),
        None => {}
    }
    if call.participant(to).is_some_and(|p| !p.status.is_final()) {
        return Err(Rejection::Invalid("toUserId is in the call"));
    }
    let ring_deadline = now + rules.ring_timeout;
    Ok(vec![Event::Invited { user: to.clone(), by: me.user.clone(), ring_deadline, transfer: true, guest: false }])
}

/// What follows from this user's accepting, if they were rung for a transfer.
pub(super) fn completed(call: &Call, user: &UserId) -> Option<Event> {
    let transfer = call.transfer.as_ref().filter(|transfer| transfer.to == *user)?;
    Some(Event::Transferred { by: transfer.by.clone(), to: transfer.to.clone() })
}

/// Holding, or resuming.
pub(super) fn hold(call: &Call, me: &Participant, held: bool) -> Decision {
    if call.started_at.is_none() {
        return Err(Rejection::WrongState("nobody has accepted it yet"));
    }
    let user = me.user.clone();
    Ok(match (me.held, held) {
        (false, true) => vec![Event::Held { user }],
        (true, false) => vec![Event::Resumed { user }],
        _ => vec![],
    })
}
