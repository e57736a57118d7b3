//! Looking at a call without its owner: as it stands in the store.
//!
//! For a call whose owner lives and cannot be reached. Must never change anything, nor tell a stranger more than the
//! owner would: the rules are those of `call/asks.rs`. What is read is true (an acknowledged command is in the store), and
//! lacks the signals, which only the owner's memory has.

use super::{
    Answer, Ask, Caller, Node,
    call::{History, Known, membership},
    messages::Attached,
};
use crate::{
    domain::{Call, CallId, Rejection},
    store::Viewer,
    wire::{ErrorCode, Refusal},
};

/// Whether the store has the answer too.
pub(super) const fn is_readable(ask: &Ask) -> bool {
    matches!(ask, Ask::Get | Ask::Sync(_) | Ask::Attach { .. })
}

impl Node {
    /// Answers what [`is_readable`]; anything else is refused as `unreachable` says. `caller`: `None` for the node itself.
    pub(super) async fn read_call(
        &self,
        call: &CallId,
        caller: Option<&Caller>,
        ask: Ask,
        unreachable: Refusal,
    ) -> Result<Answer, Refusal> {
        if !is_readable(&ask) {
            return Err(unreachable);
        }
        let stored = match caller {
            Some(caller) => self.store.load_call_for(&Viewer::from(&caller.user), call).await?,
            None => self.store.load_call(call).await?,
        };
        let stored = stored.ok_or(Rejection::NotFound)?;
        let Some(state) = Call::rebuild(call.clone(), &stored.history) else {
            return Err(Refusal::new(ErrorCode::Internal, "the call cannot be rebuilt"));
        };
        let (epoch, owner) = (stored.epoch, stored.owner);
        let history = History::of(stored.history);
        let known = Known { call: &state, history: &history, epoch, owner: &owner };
        let Some(caller) = caller else { return Ok(Answer::Call(known.call_object())) };
        let asked_for = membership::asked_for(&state, &caller.user, &ask);
        let members = match state.group.as_ref().filter(|_| !asked_for.is_empty()) {
            Some(group) => self.store.members_among(group, &asked_for).await?.len() == asked_for.len(),
            None => false,
        };
        membership::admits(&state, &caller.user, &ask, members)?;
        Ok(match ask {
            Ask::Sync(since) => Answer::Missed(known.missed(&caller.user, Some(since))),
            Ask::Attach { resume } => {
                let missed = known.missed_by_device(&caller.user, resume);
                Answer::Attached(Box::new(Attached { call: known.call_object(), missed, owner_knows: false }))
            }
            _ => Answer::Call(known.call_object()),
        })
    }
}
