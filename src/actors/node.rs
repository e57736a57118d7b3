//! One node: what its actors share, and how they reach the rest of the cluster.

use std::{
    sync::{
        Arc, OnceLock, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use actix::{Arbiter, ArbiterHandle};
use bytes::Bytes;
use dashmap::DashMap;
use serde::Serialize;
use tokio::sync::{Mutex, Notify, oneshot};

use super::{
    Answer,
    counts::Metrics,
    degraded::{Degraded, Dependency},
    directory::Directory,
    membership::Membership,
    messages::{Delivery, ItemHead, Receipt, SignalDelivery, SignalHead, ToNode, ToUser},
    newer::Beyond,
    standing::Acquainted,
};
use crate::{
    clock,
    cluster::{
        bus::{Bus, BusFault, BusHealth},
        envelope,
    },
    domain::{CallId, NodeId, Rules, UserId, busy::BusyPolicy},
    media::Media,
    store::Store,
    trace::Span,
    wire::{Frame, Refusal},
};

/// How long an answer from another node is waited for, before the asker is told `unavailable`. Less would fail commands
/// during a short stall of the database; more than a client's own patience helps nobody.
pub const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// A node, shared by all of its actors.
pub type NodeHandle = Arc<Node>;

/// What the actors of one node share.
pub struct Node {
    pub id: NodeId,
    pub store: Store,
    pub directory: Directory,
    pub rules: Rules,
    pub busy_policy: BusyPolicy,
    pub membership: Membership,
    /// What the node does without now.
    pub degraded: Degraded,
    pub metrics: Metrics,
    /// The media server, or that there is none.
    pub media: Media,
    /// How long the audit log is kept; unset: for ever.
    pub audit_kept: OnceLock<Duration>,
    /// Open sockets, also those that have not said hello.
    pub sockets: AtomicU64,
    /// How often sweepers run that say nothing else; set when they start.
    pub sweep_interval: OnceLock<Duration>,
    /// The node was asked to leave by other means than a signal.
    pub leave: Notify,
    /// New calls are refused: the node is leaving.
    pub draining: AtomicBool,
    bus: OnceLock<Arc<dyn Bus>>,
    arbiters: RwLock<Vec<ArbiterHandle>>,
    /// Questions to other nodes that wait for an answer. Taken out without one: the node asked is gone.
    pub(super) asks: DashMap<u64, Waiting>,
    next_ask: AtomicU64,
    /// One at a time looks for, claims, rebuilds or begins a call.
    pub(super) placing: DashMap<CallId, Arc<Mutex<()>>>,
    pub(super) acquainted: Acquainted,
    pub(super) beyond: Beyond,
}

/// A question to another node that waits for its answer.
pub(super) struct Waiting {
    pub of: NodeId,
    pub reply: oneshot::Sender<Result<Answer, Refusal>>,
    pub span: Span,
}

impl Waiting {
    /// The answer is here.
    pub(super) fn end(mut self, result: Result<Answer, Refusal>) {
        if let Err(refusal) = &result {
            self.span.fail(refusal.code.as_str());
        }
        drop(self.span);
        // Who asked may have given up meanwhile.
        let _ = self.reply.send(result);
    }
}

impl Node {
    /// A node without bus and arbiters yet; [`Node::join_bus`] and [`Node::add_arbiter`] follow.
    pub fn new(id: NodeId, store: Store, rules: Rules, busy_policy: BusyPolicy, media: Media) -> NodeHandle {
        Arc::new(Self {
            id,
            store,
            directory: Directory::default(),
            rules,
            busy_policy,
            membership: Membership::default(),
            degraded: Degraded::default(),
            metrics: Metrics::default(),
            media,
            audit_kept: OnceLock::new(),
            sockets: AtomicU64::new(0),
            sweep_interval: OnceLock::new(),
            leave: Notify::new(),
            draining: AtomicBool::new(false),
            bus: OnceLock::new(),
            arbiters: RwLock::default(),
            asks: DashMap::new(),
            next_ask: AtomicU64::new(1),
            placing: DashMap::new(),
            acquainted: Acquainted::default(),
            beyond: Beyond::default(),
        })
    }

    /// The rules as they are now: a media server that is away is none. What is under way there goes on.
    pub fn rules_now(&self) -> Rules {
        let media_server = self.rules.media_server && !self.degraded.is_away(Dependency::Livekit);
        Rules { media_server, ..self.rules }
    }

    /// What carries the bus, as traces call it.
    pub(super) fn bus_system(&self) -> &'static str {
        self.bus().map_or("", |bus| bus.system())
    }

    /// Gives the node its bus; the bus's inbox in turn knows the node.
    pub fn join_bus(&self, bus: Arc<dyn Bus>) {
        // A second bus would be a mistake of the start-up code; the first stays.
        let _ = self.bus.set(bus);
    }

    /// The node leaves: it takes no new calls and claims none.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// The bus, once joined.
    pub fn bus(&self) -> Option<&Arc<dyn Bus>> {
        self.bus.get()
    }

    /// Registers a thread that runs actors.
    pub fn add_arbiter(&self, arbiter: ArbiterHandle) {
        self.arbiters.write().unwrap_or_else(std::sync::PoisonError::into_inner).push(arbiter);
    }

    /// Where a new actor runs: on this thread if it runs actors (so that a call sits beside whoever started it),
    /// else on the first that does.
    pub fn arbiter(&self) -> Option<ArbiterHandle> {
        let known = self.arbiters.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        // `Arbiter` of the system itself runs no actors of ours: only registered ones count.
        if CURRENT_RUNS_ACTORS.with(std::cell::Cell::get) {
            return Arbiter::try_current().or_else(|| known.first().cloned());
        }
        known.first().cloned()
    }

    /// Runs a task beside the actors; it ends when the node does.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(arbiter) = self.arbiter() {
            arbiter.spawn(task);
        }
    }

    pub(super) fn next_ask(&self) -> u64 {
        self.next_ask.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether the bus is there.
    pub fn bus_health(&self) -> BusHealth {
        let starting = || BusHealth::Down { since: clock::monotonic(), fault: BusFault::Starting };
        self.bus().map_or_else(starting, |bus| bus.health())
    }

    /// Whether a question to that node can be answered, as far as is known: both must have their bus. `Err` is what
    /// who asks is told, at once rather than after a timeout.
    pub(super) fn reach(&self, node: &NodeId) -> Result<(), Refusal> {
        if !self.bus_health().is_up() {
            return Err(Refusal::unavailable("the bus to the call's owner is down"));
        }
        if self.membership.is_deaf(node) {
            return Err(Refusal::unavailable("the call's owner has lost its bus"));
        }
        Ok(())
    }

    /// Sends to another node. Loss is noticed by whoever waits for an answer.
    pub(super) fn tell_node(&self, to: &NodeId, body: &ToNode, blobs: &[&str]) -> Result<(), Refusal> {
        let message = self.encode(body, blobs)?;
        let bus = self.bus().ok_or_else(|| Refusal::unavailable("the node is starting"))?;
        bus.publish_to_node(to, message).map_err(|e| Refusal::unavailable(e.to_string()))
    }

    fn encode(&self, body: &impl Serialize, blobs: &[&str]) -> Result<Bytes, Refusal> {
        envelope::encode(&self.id, body, blobs)
            .ok_or_else(|| Refusal::new(crate::wire::ErrorCode::Internal, "the message cannot be encoded"))
    }

    /// Sends to every other node with sessions of the user. Loss is noticed by the hole it leaves in `seq`.
    pub(super) fn tell_user(&self, user: &UserId, body: &ToUser, blobs: &[&str]) {
        let Ok(message) = self.encode(body, blobs) else { return };
        if let Some(bus) = self.bus()
            && let Err(error) = bus.publish_to_user(user, message)
        {
            tracing::debug!(user.id = %user, error = %error, "message for a user not published");
        }
    }

    /// Hands events to the user's sessions on this node and, by the bus, to those on others.
    pub(super) fn deliver(&self, user: &UserId, delivery: Arc<Delivery>) {
        let (body, blobs) = encode_delivery(&delivery);
        self.tell_user(user, &body, &blobs);
        self.deliver_here(user, delivery);
    }

    /// As [`Node::deliver`], and says whether any node has a session of the user; `None`: could not be told.
    pub(super) fn deliver_counted(
        &self,
        user: &UserId,
        delivery: Arc<Delivery>,
    ) -> impl Future<Output = Option<bool>> + use<> {
        let here = self.deliver_here(user, delivery.clone());
        let (body, blobs) = encode_delivery(&delivery);
        let sent = self.encode(&body, &blobs).ok().zip(self.bus().cloned());
        let user = user.clone();
        async move {
            let (message, bus) = sent?;
            if is_lost_on_the_way() {
                return Some(here);
            }
            let others = bus.publish_to_user_counted(&user, message).await;
            if here { Some(true) } else { others.ok().map(|nodes| nodes > 0) }
        }
    }

    fn deliver_here(&self, user: &UserId, delivery: Arc<Delivery>) -> bool {
        let addr = self.directory.user(user);
        // `do_send`: a user's actor that is gone has no sessions left to tell, and its mailbox is emptied as fast as
        // this thread runs; the bound on memory is each session's budget behind it.
        addr.map(|addr| addr.do_send(super::user::Deliver(delivery))).is_some()
    }

    /// Tells a user's nodes that a call is this node's now.
    pub(super) fn tell_new_owner(&self, user: &UserId, call: &CallId, epoch: u64, seq: u64, frame: Option<&Frame>) {
        let blobs: Vec<&str> = frame.iter().map(|frame| frame.text()).collect();
        self.tell_user(user, &ToUser::NewOwner { call: call.clone(), epoch, seq }, &blobs);
        if let Some(addr) = self.directory.user(user) {
            // `do_send`: as for events.
            let owner = self.id.clone();
            addr.do_send(super::user::NewOwner { call: call.clone(), epoch, owner, seq, frame: frame.cloned() });
        }
    }

    /// Tells a user, wherever they are connected, something that is no event of a call's state: it may be lost.
    pub(super) fn tell_word(&self, user: &UserId, frame: &Frame) {
        self.tell_user(user, &ToUser::Word {}, &[frame.text()]);
        if let Some(addr) = self.directory.user(user) {
            // `do_send`: as for events.
            addr.do_send(super::user::Word(frame.clone()));
        }
    }

    /// Hands a signal to the user, at the node where their device is if that is known.
    pub(super) fn deliver_signal(&self, user: &UserId, node: Option<&NodeId>, signal: SignalDelivery) {
        let head = || SignalHead {
            call: signal.call.clone(),
            epoch: signal.epoch,
            sig: signal.sig,
            device: signal.device.clone(),
        };
        match node {
            Some(node) if *node != self.id => {
                let body = ToNode::SignalDelivery { user: user.clone(), head: head() };
                if let Err(refusal) = self.tell_node(node, &body, &[signal.frame.text()]) {
                    tracing::debug!(user.id = %user, error = %refusal.message, "signal not published");
                }
                return;
            }
            Some(_) => {}
            None => self.tell_user(user, &ToUser::Signal { head: head() }, &[signal.frame.text()]),
        }
        if let Some(addr) = self.directory.user(user) {
            // `do_send`: as for events.
            addr.do_send(super::user::DeliverSignal(signal));
        }
    }

    /// Tells the sender of a signal what became of it: always if it gave the signal an id, else only a failure.
    pub(super) fn settle(&self, receipt: &Receipt, outcome: Result<(), Refusal>) {
        match receipt {
            Receipt::Here { outbox, id, .. } => match (id, self.counted(outcome)) {
                (Some(id), Ok(())) => outbox.push(Frame::reply_ok(id, "{}")),
                (Some(id), Err(refusal)) => outbox.push(Frame::reply_err(id, &refusal)),
                (None, Ok(())) => {}
                (None, Err(refusal)) => outbox.push(Frame::error_event(Some("call:signal"), &refusal)),
            },
            Receipt::There { node, session, ask } => {
                let body = match (*ask, outcome) {
                    (Some(id), outcome) => ToNode::Answer { id, result: outcome.map(|()| Answer::Done) },
                    (None, Ok(())) => return,
                    (None, Err(refusal)) => ToNode::SignalRefused { session: session.clone(), refusal },
                };
                if let Err(refusal) = self.tell_node(node, &body, &[]) {
                    tracing::debug!(node.id = %node, error = %refusal.message, "outcome of a signal not published");
                }
            }
        }
    }

    /// Counts what became of a signal of a session or a request of this node.
    fn counted(&self, outcome: Result<(), Refusal>) -> Result<(), Refusal> {
        self.metrics.signals.of(&outcome);
        outcome
    }
}

thread_local! {
    static CURRENT_RUNS_ACTORS: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Marks this thread as one whose arbiter runs actors.
pub fn this_thread_runs_actors() {
    CURRENT_RUNS_ACTORS.with(|flag| flag.set(true));
}

/// The tests': a ring that Redis had nobody to hand to.
fn is_lost_on_the_way() -> bool {
    fail::fail_point!("ring-lost", |_| true);
    false
}

fn encode_delivery(delivery: &Delivery) -> (ToUser, Vec<&str>) {
    let mut blobs = Vec::with_capacity(delivery.items.len());
    let items = delivery
        .items
        .iter()
        .map(|item| {
            blobs.push(item.frame.text());
            let device = item.at_device.as_ref().map(|(device, frame)| {
                blobs.push(frame.text());
                device.clone()
            });
            ItemHead { seq: item.seq, prev: item.prev, rings: item.rings, device, pass: item.pass.clone() }
        })
        .collect();
    let body = ToUser::Delivery {
        call: delivery.call.clone(),
        epoch: delivery.epoch,
        items,
        standing: delivery.standing.clone(),
        unlinked: delivery.unlinked,
    };
    (body, blobs)
}
