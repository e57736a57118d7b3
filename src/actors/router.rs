//! From a call's id to its actor, wherever it is: here, on another node, or nowhere yet.
//!
//! Owns the search, the retry after an actor's death, and the rebuilding from the store. Never decides anything about a
//! call. Survives an actor that panicked: whoever was waiting finds its reply dropped, and the call is built anew.

use std::{future::Future, pin::Pin, sync::Arc};

use actix::Addr;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{
    Answer, Ask, Caller, Node,
    call::{CallActor, LetGo},
    messages::{Request, ToNode},
    node::{ASK_TIMEOUT, Waiting},
    spans,
};
use crate::{
    clock,
    domain::{Call, CallId, NodeId, Rejection},
    store::{ClaimOutcome, Prospect, StoreError, is_keyed},
    trace::{self, Span},
    wire::{ErrorCode, Refusal},
};

/// How often a command is tried at actors that die under it. One death is a fault; three of the same command are the
/// command's.
const ATTEMPTS: usize = 3;
/// How often a question may be passed on between nodes that each take another for the owner.
const MAX_HOPS: u8 = 2;

type Outcome = Result<Answer, Refusal>;
pub(super) type BoxedOutcome = Pin<Box<dyn Future<Output = Outcome> + Send>>;

pub(super) enum Place {
    Here(Addr<CallActor>),
    There(NodeId),
}

impl Node {
    /// Asks a call something. What is sent now (before the first await) arrives in the order of the calls to this
    /// function, so a client's commands to one call keep their order.
    pub fn ask(self: &Arc<Self>, call: &CallId, caller: Caller, ask: Ask) -> BoxedOutcome {
        let command = if let Ask::Keyed { key, .. } = &ask { key.command } else { Uuid::now_v7() };
        let node = self.clone();
        let call = call.clone();
        if let Some(addr) = self.directory.call(&call) {
            let sent = send(&addr, command, caller.clone(), ask.clone());
            return Box::pin(async move {
                match receive(sent).await {
                    Some(outcome) => outcome,
                    // It stays listed until it is rebuilt: should that fail now, the look after dead actors does it.
                    None => node.ask_again(&call, command, caller, ask).await,
                }
            });
        }
        if let Some(owner) = self.directory.owner(&call).filter(|owner| *owner != self.id && self.is_live(owner)) {
            if let Err(unreachable) = self.reach(&owner) {
                return Box::pin(async move { node.read_call(&call, Some(&caller), ask, unreachable).await });
            }
            let sent = self.ask_node(&owner, &call, command, caller.clone(), ask.clone(), 0);
            return Box::pin(async move {
                match node.answer_of(sent).await {
                    Some(outcome) => outcome,
                    None => node.ask_again(&call, command, caller, ask).await,
                }
            });
        }
        Box::pin(async move { node.ask_hop(&call, command, caller, ask, 0).await })
    }

    /// Asks after whoever was asked first has died.
    async fn ask_again(self: &Arc<Self>, call: &CallId, command: Uuid, caller: Caller, ask: Ask) -> Outcome {
        match self.answer_of_committed(call, command).await? {
            Some(answer) => Ok(answer),
            None => self.ask_hop(call, command, caller, ask, 0).await,
        }
    }

    /// Asks for another node, or after the quick ways have failed.
    pub(super) async fn ask_hop(
        self: &Arc<Self>,
        call: &CallId,
        command: Uuid,
        caller: Caller,
        ask: Ask,
        hops: u8,
    ) -> Outcome {
        for attempt in 0..ATTEMPTS {
            match self.locate(call).await? {
                Place::Here(addr) => {
                    if let Some(outcome) = receive(send(&addr, command, caller.clone(), ask.clone())).await {
                        return outcome;
                    }
                    tracing::warn!(call.id = %call, node.id = %self.id, attempt, "call actor died; rebuilding it");
                }
                Place::There(owner) if hops < MAX_HOPS => {
                    if let Err(unreachable) = self.reach(&owner) {
                        return self.read_call(call, Some(&caller), ask, unreachable).await;
                    }
                    let sent = self.ask_node(&owner, call, command, caller.clone(), ask.clone(), hops + 1);
                    if let Some(outcome) = self.answer_of(sent).await {
                        return outcome;
                    }
                    tracing::info!(call.id = %call, node.id = %self.id, owner.id = %owner, attempt, "the call's owner died; asking for the next");
                }
                Place::There(_) => break,
            }
            // The command may have been committed before who was asked died.
            if let Some(answer) = self.answer_of_committed(call, command).await? {
                return Ok(answer);
            }
        }
        Err(Refusal::unavailable("the call's owner cannot be reached"))
    }

    /// The answer to a command that the store says was carried out: the call as it is now.
    async fn answer_of_committed(self: &Arc<Self>, call: &CallId, command: Uuid) -> Result<Option<Answer>, Refusal> {
        // The first answer to a command with a key is found by whoever carries it out, now as any other time.
        if is_keyed(command) || self.store.command_outcome(command).await?.is_none() {
            return Ok(None);
        }
        match self.locate(call).await? {
            Place::Here(addr) => Ok(receive(get(&addr)).await.transpose()?),
            Place::There(owner) => match self.reach(&owner) {
                Ok(()) => Ok(None),
                Err(unreachable) => self.read_call(call, None, Ask::Get, unreachable).await.map(Some),
            },
        }
    }

    fn ask_node(
        self: &Arc<Self>,
        owner: &NodeId,
        call: &CallId,
        command: Uuid,
        caller: Caller,
        ask: Ask,
        hops: u8,
    ) -> Result<(u64, oneshot::Receiver<Outcome>), Refusal> {
        let span = spans::ask_owner(self, owner, call);
        let _within = trace::enter(span.context_or_current());
        let (id, answer) = self.expect_answer_within(owner, span);
        let body = ToNode::Ask { id, command, call: call.clone(), caller, ask, hops };
        match self.tell_node(owner, &body, &[]) {
            Ok(()) => Ok((id, answer)),
            Err(refusal) => {
                self.asks.remove(&id);
                Err(refusal)
            }
        }
    }

    /// A question to a node that is about to be sent.
    pub(super) fn expect_answer(&self, of: &NodeId) -> (u64, oneshot::Receiver<Outcome>) {
        self.expect_answer_within(of, Span::none())
    }

    /// The same; the span ends with the wait, however that ends.
    fn expect_answer_within(&self, of: &NodeId, span: Span) -> (u64, oneshot::Receiver<Outcome>) {
        let id = self.next_ask();
        let (reply, answer) = oneshot::channel();
        self.asks.insert(id, Waiting { of: of.clone(), reply, span });
        (id, answer)
    }

    /// `None`: the node asked is gone.
    pub(super) async fn answer_of(
        self: &Arc<Self>,
        sent: Result<(u64, oneshot::Receiver<Outcome>), Refusal>,
    ) -> Option<Outcome> {
        let (id, answer) = match sent {
            Ok(sent) => sent,
            Err(refusal) => return Some(Err(refusal)),
        };
        let asked = clock::monotonic();
        if let Ok(answer) = tokio::time::timeout(ASK_TIMEOUT, answer).await {
            self.metrics.asks.took(asked.elapsed());
            return answer.ok();
        }
        self.asks.remove(&id);
        Some(Err(Refusal::unavailable("the call's owner did not answer in time")))
    }

    /// Makes sure that a call whose actor died here is owned again, so that its timers run. `false`: it is to be tried
    /// again.
    pub(super) async fn revive(self: &Arc<Self>, call: &CallId) -> bool {
        let Err(refusal) = self.locate(call).await else { return true };
        tracing::warn!(call.id = %call, node.id = %self.id, error = %refusal.message, "call not rebuilt");
        !refusal.retryable
    }

    /// Makes sure that a call whose owner is gone has one. `false`: it has another by now.
    pub(super) async fn take_over(self: &Arc<Self>, call: &CallId) -> Result<bool, Refusal> {
        Ok(matches!(self.locate(call).await?, Place::Here(_)))
    }

    pub(super) async fn locate(self: &Arc<Self>, call: &CallId) -> Result<Place, Refusal> {
        if let Some(addr) = self.directory.call(call) {
            return Ok(Place::Here(addr));
        }
        self.in_turn(call, self.place(call)).await
    }

    /// Runs `work` while nothing else on this node looks for, claims, rebuilds or begins this call. Without it two
    /// actors of one call could come to be: one of them would be fenced, and those who ask it hear of the past.
    pub(super) async fn in_turn<T>(&self, call: &CallId, work: impl Future<Output = T>) -> T {
        let turn = self.placing.entry(call.clone()).or_default().clone();
        let guard = turn.lock().await;
        let outcome = work.await;
        drop(guard);
        self.placing.remove_if(call, |_, listed| Arc::ptr_eq(listed, &turn) && Arc::strong_count(listed) <= 2);
        outcome
    }

    /// With the turn to do so: finds the call's actor or owner, claiming and rebuilding it when nobody has it.
    async fn place(self: &Arc<Self>, call: &CallId) -> Result<Place, Refusal> {
        if let Some(addr) = self.directory.call(call) {
            return Ok(Place::Here(addr));
        }
        for _ in 0..ATTEMPTS {
            let term = self.membership.term();
            // Read before it is claimed: a node that cannot read a call must leave it to those that can.
            let (stored, open) = match self.store.prospect(call, &self.id).await? {
                Prospect::NotFound => return Err(Rejection::NotFound.into()),
                Prospect::OwnedBy(owner) => return Ok(Place::There(owner)),
                Prospect::Beyond { seq, kind } => return Err(self.leave_to_newer(call, seq, &kind)),
                Prospect::Ended(stored) => (stored, false),
                Prospect::Free(stored) => (stored, true),
            };
            let history = stored.history;
            let Some(state) = Call::rebuild(call.clone(), &history) else {
                tracing::error!(call.id = %call, events = history.len(), "call cannot be rebuilt from its events");
                return Err(Refusal::new(ErrorCode::Internal, "the call cannot be rebuilt"));
            };
            let epoch = if open {
                if self.is_draining() {
                    return Err(Refusal::unavailable("the node is leaving; try another"));
                }
                // Claimed only as it was read. Else somebody else was quicker, or its last owner still wrote: once more.
                let ClaimOutcome::Claimed { epoch } = self.store.claim(call, state.seq, &self.id).await? else {
                    continue;
                };
                self.metrics.takeovers.inc();
                tracing::info!(call.id = %call, node.id = %self.id, epoch, seq = state.seq, "call taken over");
                epoch
            } else {
                stored.epoch
            };
            let actor = CallActor::rebuilt(self.clone(), state, history, epoch);
            return Ok(Place::Here(self.start_call(actor, term)?));
        }
        Err(Refusal::unavailable("the call goes from hand to hand"))
    }

    /// `term`: under which the call was claimed or begun. If the lease was lost since, the actor lets go at once.
    pub(super) fn start_call(self: &Arc<Self>, actor: CallActor, term: u64) -> Result<Addr<CallActor>, Refusal> {
        let arbiter = self.arbiter().ok_or_else(|| Refusal::unavailable("the node is starting"))?;
        let call = actor.call_id().clone();
        let addr = actix::Actor::start_in_arbiter(&arbiter, |_| actor);
        self.directory.insert_call(call, addr.clone());
        if self.membership.term() != term {
            // Who lost the lease may not have found it listed. `do_send`: its mailbox is new.
            addr.do_send(LetGo);
        }
        Ok(addr)
    }
}

type Sent = oneshot::Receiver<Outcome>;

fn send(addr: &Addr<CallActor>, command: Uuid, caller: Caller, ask: Ask) -> Sent {
    let (reply, answer) = oneshot::channel();
    // `do_send`: an actor that is gone drops the message and with it `reply`, which the asker notices. What may wait is
    // bounded by what each session may have under way, and by the call's own queue.
    let (trace, span) = (trace::current(), Span::none());
    addr.do_send(Request { command, caller: Some(caller), ask, reply, trace, span });
    answer
}

fn get(addr: &Addr<CallActor>) -> Sent {
    let (reply, answer) = oneshot::channel();
    let (trace, span) = (trace::current(), Span::none());
    addr.do_send(Request { command: Uuid::now_v7(), caller: None, ask: Ask::Get, reply, trace, span });
    answer
}

/// `None`: the actor died before it answered.
async fn receive(sent: Sent) -> Option<Outcome> {
    match tokio::time::timeout(ASK_TIMEOUT * 2, sent).await {
        Ok(answer) => answer.ok(),
        Err(_) => Some(Err(Refusal::unavailable("the call did not answer in time"))),
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        if error.is_retryable() {
            Refusal::unavailable("the database is not available")
        } else if matches!(error, StoreError::Unreadable(_)) {
            // Written by a later version, as far as anybody can tell: another node may be able to.
            tracing::warn!(%error, "what is stored cannot be read by this version");
            Refusal::unavailable("this node cannot read what is stored; another may")
        } else {
            tracing::error!(%error, "the store failed");
            Refusal::new(ErrorCode::Internal, "the store failed")
        }
    }
}
