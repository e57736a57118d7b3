//! Whether a user has anything to do with a call, found out before the call is looked for.
//!
//! Owns the rule that what one may not see answers as what is not there, in the same time: whoever the node does not
//! know to be told of the call costs one statement, the same in both cases, and no owner is asked, no call claimed and no
//! history read for them. Must never decide about a call: who passes here is still judged by the call itself. Survives a
//! database that is away by letting everybody pass: then the call's owner says what may be said.

use std::sync::Arc;

use dashmap::DashSet;

use super::{Ask, Caller, Node, degraded::Dependency, messages::SignalRequest, router::BoxedOutcome};
use crate::{
    domain::{CallId, Rejection, UserId},
    wire::Refusal,
};

/// How many were found lately to have to do with a call that is not on this node. More is memory, some hundred bytes
/// each; with fewer those who act by REST alone are looked up again for each request.
const MOST_REMEMBERED: usize = 16_384;

/// Who was found to have something to do with which call. May be out of date: the call judges.
#[derive(Default)]
pub(super) struct Acquainted(DashSet<(CallId, UserId)>);

impl Acquainted {
    fn knows(&self, call: &CallId, user: &UserId) -> bool {
        self.0.contains(&(call.clone(), user.clone()))
    }

    fn remember(&self, call: &CallId, user: &UserId) {
        if self.0.len() >= MOST_REMEMBERED {
            self.0.clear();
        }
        self.0.insert((call.clone(), user.clone()));
    }
}

impl Node {
    /// As [`Node::ask`], for a user who may have nothing to do with the call. What is sent now keeps its order.
    pub fn ask_for(self: &Arc<Self>, call: &CallId, caller: Caller, ask: Ask) -> BoxedOutcome {
        if self.is_at_hand(call, &caller.user) {
            return self.ask(call, caller, ask);
        }
        let (node, call) = (self.clone(), call.clone());
        Box::pin(async move {
            // Asked within the turn, so that what one user asks at once is sent in its order; answered outside of it.
            let asked = node.in_turn(&call, async {
                if node.has_standing(&call, &caller.user).await {
                    Ok(node.ask(&call, caller, ask))
                } else {
                    Err(Refusal::from(Rejection::NotFound))
                }
            });
            asked.await?.await
        })
    }

    /// The call's actor is here and sees for itself; or its owner is known, and that the user is told of it.
    pub(super) fn is_at_hand(&self, call: &CallId, user: &UserId) -> bool {
        self.directory.call(call).is_some()
            || (self.directory.owner(call).is_some()
                && (self.directory.follows(call, user) || self.acquainted.knows(call, user)))
    }

    async fn has_standing(&self, call: &CallId, user: &UserId) -> bool {
        if self.acquainted.knows(call, user) || self.degraded.is_away(Dependency::Database) {
            return true;
        }
        match self.store.standing(call, user).await {
            Ok(standing) if standing.is_none() => false,
            Ok(_) => {
                self.acquainted.remember(call, user);
                true
            }
            Err(_) => true,
        }
    }

    /// Relays a signal of somebody of whom it is not known whether they have anything to do with the call.
    pub(super) fn signal_if_known(self: &Arc<Self>, request: SignalRequest) {
        let node = self.clone();
        self.spawn(async move {
            let known = node.in_turn(&request.call, node.has_standing(&request.call, &request.from)).await;
            if known {
                return node.signal_known(request);
            }
            node.settle(&request.receipt, Err(Rejection::NotFound.into()));
        });
    }

    /// Refuses a stranger's signal to a call of this node, not sooner than if there were no such call.
    pub(super) fn refuse_signal(self: &Arc<Self>, request: SignalRequest) {
        let node = self.clone();
        self.spawn(async move {
            // What it says is known; only the time it takes matters.
            let _ = node.store.standing(&request.call, &request.from).await;
            node.settle(&request.receipt, Err(Rejection::NotFound.into()));
        });
    }
}
