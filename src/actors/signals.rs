//! Signals on their way to the actor of their call: here, on another node, or after a call that has moved.
//!
//! Must stay cheap: no look into Redis or the database while the owner is known. Nothing here waits for a signal; who
//! gave theirs an id hears what became of it, who did not hears of a failure.

use std::sync::Arc;

use super::{
    Node,
    counts::Full,
    directory::Overloaded,
    messages::{Receipt, RelaySignal, SignalRequest, ToNode},
    router::Place,
};
use crate::{
    domain::{NodeId, SessionId},
    wire::{ErrorCode, Refusal},
};

impl Node {
    /// Relays a signal from a session of this node.
    pub fn signal(self: &Arc<Self>, request: SignalRequest) {
        let Some(request) = self.signal_at_once(request) else { return };
        if self.is_at_hand(&request.call, &request.from) {
            self.signal_known(request);
        } else {
            self.signal_if_known(request);
        }
    }

    /// Relays a signal of somebody who has to do with a call that is not here.
    pub(super) fn signal_known(self: &Arc<Self>, request: SignalRequest) {
        match self.directory.owner(&request.call).filter(|owner| *owner != self.id && self.is_live(owner)) {
            Some(owner) => self.signal_to(&owner, request),
            None => self.signal_when_found(request),
        }
    }

    /// Relays a signal that another node takes this one's call for.
    pub(super) fn signal_from_afar(self: &Arc<Self>, request: SignalRequest) {
        if let Some(request) = self.signal_at_once(request) {
            self.signal_when_found(request);
        }
    }

    /// Hands a signal to the call's actor, or gives it back if there is none here.
    fn signal_at_once(&self, request: SignalRequest) -> Option<SignalRequest> {
        match self.directory.call_for_signal(&request.call) {
            // `do_send`: a signal lost with the call's actor is told by `call:renegotiate` from the next one; what may
            // wait here is bounded by the slots.
            Some(Ok((addr, slot))) => addr.do_send(RelaySignal { request, slot }),
            Some(Err(Overloaded)) => {
                self.metrics.on_full(Full::CallSignals);
                let refusal = Refusal::new(ErrorCode::RateLimited, "too many signals wait for this call");
                self.settle(&request.receipt, Err(refusal));
            }
            None => return Some(request),
        }
        None
    }

    /// Sends a signal after a call that has moved.
    pub(super) fn pass_signal_on(self: &Arc<Self>, owner: &NodeId, request: SignalRequest) {
        let Receipt::There { node, session, ask } = &request.receipt else { return self.signal_to(owner, request) };
        let body = signal_body(&request, session, *ask, Some(node));
        if let Err(refusal) = self.tell_node(owner, &body, &[request.payload.text()]) {
            self.settle(&request.receipt, Err(refusal));
        }
    }

    fn signal_to(self: &Arc<Self>, owner: &NodeId, request: SignalRequest) {
        let Receipt::Here { id, session, .. } = &request.receipt else { return };
        if let Err(unreachable) = self.reach(owner) {
            return self.settle(&request.receipt, Err(unreachable));
        }
        let asked = id.as_ref().map(|_| self.expect_answer(owner));
        let body = signal_body(&request, session, asked.as_ref().map(|(ask, _)| *ask), None);
        let sent = self.tell_node(owner, &body, &[request.payload.text()]);
        match (sent, asked) {
            // Handed on; a refusal by its owner is counted besides, when it comes.
            (Ok(()), None) => self.metrics.signals.count(Ok(())),
            (Ok(()), Some(asked)) => {
                // The sender wants to hear of it, also when the signal or the answer is lost.
                let node = self.clone();
                self.spawn(async move {
                    let gone = || Err(Refusal::unavailable("the call's owner is gone; send it again"));
                    let outcome = node.answer_of(Ok(asked)).await.unwrap_or_else(gone);
                    node.settle(&request.receipt, outcome.map(drop));
                });
            }
            (Err(refusal), asked) => {
                if let Some((ask, _)) = asked {
                    self.asks.remove(&ask);
                }
                self.settle(&request.receipt, Err(refusal));
            }
        }
    }

    fn signal_when_found(self: &Arc<Self>, request: SignalRequest) {
        let node = self.clone();
        self.spawn(async move {
            let from_here = matches!(request.receipt, Receipt::Here { .. });
            let refusal = match node.locate(&request.call).await {
                // Its actor is listed now.
                Ok(Place::Here(_)) => {
                    let Some(given_back) = node.signal_at_once(request) else { return };
                    let refusal = Refusal::unavailable("the call is not ready");
                    return node.settle(&given_back.receipt, Err(refusal));
                }
                Ok(Place::There(owner)) if from_here => return node.signal_to(&owner, request),
                // The call has moved. `hops` are not counted: only its owner's word, from the store, sends it on.
                Ok(Place::There(owner)) if owner != node.id => return node.pass_signal_on(&owner, request),
                Ok(Place::There(_)) => Refusal::unavailable("the call has moved"),
                Err(refusal) => refusal,
            };
            node.settle(&request.receipt, Err(refusal));
        });
    }
}

/// A signal for another node, without its payload. `origin`: the node of its session, if that is not this one.
fn signal_body(request: &SignalRequest, session: &SessionId, ask: Option<u64>, origin: Option<&NodeId>) -> ToNode {
    ToNode::Signal {
        call: request.call.clone(),
        from: request.from.clone(),
        from_device: request.from_device.clone(),
        kind: request.kind,
        to: request.to.clone(),
        to_device: request.to_device.clone(),
        session: session.clone(),
        ask,
        origin: origin.cloned(),
        key: request.key,
    }
}
