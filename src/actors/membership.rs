//! This node's lease, which nodes live, and how far their calls have come.
//!
//! Owns the answer to "may this node act as owner now?" and to "is that node gone?". It never calls a node gone that it
//! could not ask about, and never acts as owner past its lease: by its own monotonic clock, from before the renewal was
//! asked for, so the database's clock cannot have run further.

use std::{
    collections::HashSet,
    sync::{
        Arc, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use rand::seq::SliceRandom;

use super::{
    Node, NodeHandle,
    call::NodesGone,
    degraded::Dependency,
    messages::ToNode,
    user::{CompareOne, StillHere},
};
use crate::{
    clock,
    domain::{CallId, NodeId, Timestamp},
    store::{BATCH_POSITIONS, NodeInfo, NodeLoad, StoreError},
};

/// How often the owner of calls tells the other nodes how far they have come. A lost last message is noticed after at
/// most so long.
const DIGEST_EVERY: Duration = Duration::from_secs(2);
/// For how long after a change a call is in the digest. A few digests may be lost too.
const DIGEST_FOR: Duration = Duration::from_secs(10);
/// How long after nodes are gone their calls are asked for that no other has taken over. Shorter, and every call of a
/// large node is asked for at once; longer, and people look at a call that is over.
const ORPHANS_AFTER: Duration = Duration::from_secs(2);
/// Calls of dead owners that are claimed at once: what the store's connections have to do, and a little more.
const ADOPT_AT_ONCE: usize = 16;
/// How soon after a failure the lease is renewed again. Longer than a moment, or a database that comes back is flooded;
/// as long as [`super::degraded::HOLD`], and nodes that live are taken for dead when it is back.
const RENEW_AGAIN: Duration = Duration::from_millis(500);
/// How long the database may take to say which nodes live, before it counts as silent. Less, and a slow disk is an outage;
/// more, and an outage is seen late.
const LOOK_PATIENCE: Duration = Duration::from_secs(3);
/// Calls in one digest message.
const DIGEST_CALLS: usize = 500;

/// How often a node asks the time when it is entered: the first answer waits for a connection and says little.
const CLOCK_QUESTIONS: usize = 3;
/// From which difference between this machine's clock and the database's on it is told. Less is what slow answers and
/// drift make of good clocks.
const WORTH_A_WORD_MILLIS: u64 = 1000;

/// What a node knows of itself and the others.
pub struct Membership {
    started: Instant,
    /// Until when this node may act as owner, in milliseconds after `started`.
    lease_until: AtomicU64,
    /// How often the lease was lost.
    lost: AtomicU64,
    live: RwLock<Arc<HashSet<NodeId>>>,
    /// Nodes that lived and do so no more. A node that is new here is neither.
    gone: RwLock<HashSet<NodeId>>,
    /// Other nodes that live and say that their bus is down.
    deaf: RwLock<HashSet<NodeId>>,
    /// The same as `!deaf.is_empty()`: asked for every signal to another node.
    any_deaf: AtomicBool,
}

impl Default for Membership {
    fn default() -> Self {
        Self {
            started: clock::monotonic(),
            lease_until: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            live: RwLock::default(),
            gone: RwLock::default(),
            deaf: RwLock::default(),
            any_deaf: AtomicBool::new(false),
        }
    }
}

impl Membership {
    fn now(&self) -> u64 {
        u64::try_from(clock::monotonic().duration_since(self.started).as_millis()).unwrap_or(u64::MAX)
    }

    fn nanos(&self) -> u64 {
        u64::try_from(clock::monotonic().duration_since(self.started).as_nanos()).unwrap_or(u64::MAX)
    }

    /// How often the lease ran out before it was renewed.
    pub fn times_lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// The lease was extended by `lease`, asked for at `asked` (see [`Membership::now`]).
    fn extend(&self, asked: u64, lease: Duration) {
        let until = asked + u64::try_from(lease.as_millis()).unwrap_or(u64::MAX / 2);
        self.lease_until.store(until, Ordering::Release);
    }

    /// Whether this node may act as owner.
    pub fn may_own(&self) -> bool {
        self.now() < self.lease_until.load(Ordering::Acquire)
    }

    /// Which of the node's leases this is. What was claimed or begun under an earlier one may belong to others by now.
    pub(super) fn term(&self) -> u64 {
        self.lost.load(Ordering::Acquire)
    }

    /// The nodes that lived when last asked.
    pub fn live(&self) -> Arc<HashSet<NodeId>> {
        self.live.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Whether the node is known to have lived and to do so no more.
    pub fn is_gone(&self, node: &NodeId) -> bool {
        self.gone.read().unwrap_or_else(std::sync::PoisonError::into_inner).contains(node)
    }

    /// Whether the node lives and has said that its bus is down.
    pub fn is_deaf(&self, node: &NodeId) -> bool {
        self.any_deaf() && self.deaf.read().unwrap_or_else(std::sync::PoisonError::into_inner).contains(node)
    }

    /// Whether any other living node has said so.
    pub fn any_deaf(&self) -> bool {
        self.any_deaf.load(Ordering::Acquire)
    }

    /// Returns those that were not when last asked.
    fn set_deaf(&self, now: HashSet<NodeId>) -> HashSet<NodeId> {
        let mut deaf = self.deaf.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let new = now.difference(&deaf).cloned().collect();
        self.any_deaf.store(!now.is_empty(), Ordering::Release);
        *deaf = now;
        new
    }

    fn set_live(&self, live: HashSet<NodeId>) {
        let mut gone = self.gone.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        gone.extend(self.live().iter().cloned());
        gone.retain(|node| !live.contains(node));
        drop(gone);
        *self.live.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(live);
    }
}

impl Node {
    /// Whether `node` is not known to be gone.
    pub(super) fn is_live(&self, node: &NodeId) -> bool {
        let live = self.membership.live();
        // While nobody can be asked, one that came since the last look lives as far as is known.
        let unknown = || self.degraded.is_without(Dependency::Database) && !self.membership.is_gone(node);
        live.is_empty() || live.contains(node) || unknown()
    }

    /// Enters the node and takes its first lease, with its clock set.
    pub async fn enter(&self, lease: Duration, info: &NodeInfo) -> Result<(), crate::store::StoreError> {
        for _ in 0..CLOCK_QUESTIONS {
            let asked = clock::now();
            self.set_clock(self.store.clock().await?, asked);
        }
        let asked = self.membership.now();
        self.store.register_node(&self.id, lease, info).await?;
        self.membership.extend(asked, lease);
        Ok(())
    }

    /// A message of this node to itself is back.
    pub(super) fn on_echo(&self, sent_nanos: u64) {
        self.metrics.bus_trips.took(Duration::from_nanos(self.membership.nanos().saturating_sub(sent_nanos)));
    }

    /// What the node says of itself to the others.
    fn load(&self) -> NodeLoad {
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        NodeLoad {
            sessions: count(self.directory.session_count()),
            sockets: self.sockets.load(Ordering::Relaxed),
            calls: count(self.directory.call_count()),
            draining: self.is_draining(),
            degraded: self.degraded.losses().iter().map(|(lost, _)| lost.as_str().to_owned()).collect(),
        }
    }

    /// Sets this node's clock by the database's, which all nodes go by: that said `theirs` after it was `asked` here.
    fn set_clock(&self, theirs: Timestamp, asked: Timestamp) {
        let moved = clock::follow(theirs, asked, clock::now());
        if moved.unsigned_abs() >= WORTH_A_WORD_MILLIS {
            tracing::warn!(
                node.id = %self.id, moved_ms = moved, "this machine's clock is not the database's, which is gone by"
            );
        }
    }
}

/// Renews the node's lease, three times in its length, until the node ends.
pub async fn keep_lease(node: NodeHandle, lease: Duration, info: NodeInfo) {
    let mut turns = tokio::time::interval(lease.mul_f64(0.3));
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // The lease had run out, and what was lost with it is not known yet.
    let mut returning = false;
    loop {
        turns.tick().await;
        let (asked, asked_at) = (node.membership.now(), clock::now());
        let renewed = match returning {
            true => Ok(None),
            false => node.store.renew_lease(&node.id, lease, &node.load()).await,
        };
        let outcome = match renewed {
            Ok(Some(theirs)) => {
                node.membership.extend(asked, lease);
                node.set_clock(theirs, asked_at);
                Ok(())
            }
            Ok(None) => {
                let outcome = return_with(&node, lease, &info).await;
                returning = outcome.is_err();
                if outcome.is_ok() {
                    say_still_here(&node);
                }
                outcome
            }
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            tracing::debug!(
                node.id = %node.id, %error, owner = node.membership.may_own(), "the lease could not be renewed"
            );
            // Soon again: when the database is back, others must not take this node for dead.
            turns.reset_after(RENEW_AGAIN.min(turns.period()));
        }
    }
}

/// Owners elsewhere may have taken the devices here for gone.
fn say_still_here(node: &NodeHandle) {
    let told = node.clone();
    node.spawn(async move {
        // Others find this node among the living at their next look; told before it, they would forget again.
        tokio::time::sleep(DIGEST_EVERY).await;
        for user in told.directory.all_users() {
            // `do_send`: an actor that is gone has no devices here.
            user.do_send(StillHere);
        }
    });
}

/// The lease had run out. From the moment the node is entered anew nobody takes anything more from it: what others have
/// taken until then is let go, and the rest (all of it, when nobody else could reach the database either) goes on.
async fn return_with(node: &NodeHandle, lease: Duration, info: &NodeInfo) -> Result<(), StoreError> {
    let asked = node.membership.now();
    node.store.register_node(&node.id, lease, info).await?;
    // Before they are listed: an actor that is listed later is told by who lists it (`Node::start_call`).
    node.membership.lost.fetch_add(1, Ordering::AcqRel);
    let held = node.directory.owned_calls();
    let mut lost = 0;
    for calls in held.chunks(BATCH_POSITIONS) {
        let ids: Vec<CallId> = calls.iter().map(|(call, _)| call.clone()).collect();
        let positions = node.store.positions_of(&ids).await?;
        for (call, epoch) in calls {
            let same = |now: u64| epoch.is_none_or(|epoch| epoch == now);
            let still_ours = positions.get(call).is_some_and(|at| at.owner == node.id && same(at.epoch));
            if !still_ours && let Some(actor) = node.directory.call(call) {
                lost += 1;
                // `do_send`: an actor that is gone has let go already.
                actor.do_send(super::call::LetGo);
            }
        }
    }
    tracing::warn!(node.id = %node.id, calls = held.len(), lost, "the lease had run out; entered anew");
    node.membership.extend(asked, lease);
    Ok(())
}

/// Watches which nodes live and tells them how far this node's calls have come, until the node ends.
pub async fn watch(node: NodeHandle) {
    let mut turns = tokio::time::interval(DIGEST_EVERY / 2);
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut turn = 0u32;
    loop {
        turns.tick().await;
        look(&node).await;
        send_echo(&node);
        turn = turn.wrapping_add(1);
        if turn.is_multiple_of(2) {
            send_digest(&node);
        }
    }
}

async fn look(node: &NodeHandle) {
    let nodes = match tokio::time::timeout(LOOK_PATIENCE, node.store.live_nodes()).await {
        Ok(Ok(nodes)) => nodes,
        // Not asked is not gone.
        Ok(Err(error)) => {
            tracing::debug!(node.id = %node.id, %error, "could not ask which nodes live");
            let fault = match error {
                StoreError::Overloaded => return,
                StoreError::Unavailable { .. } => "unreachable",
                _ => "refused",
            };
            node.degraded.observe(Dependency::Database, Some(fault));
            return;
        }
        Err(_) => {
            node.degraded.observe(Dependency::Database, Some("silent"));
            return;
        }
    };
    let fault = (!node.store.health().is_up()).then_some("unreachable");
    node.degraded.observe(Dependency::Database, fault);
    let deaf = nodes.iter().filter(|other| !other.bus_up && other.id != node.id).map(|other| other.id.clone());
    let deaf = node.membership.set_deaf(deaf.collect());
    if !deaf.is_empty() {
        // They will not hear the answer's question or not be heard: whoever waits for them is told now.
        node.asks.retain(|_, waiting| !deaf.contains(&waiting.of));
    }
    let mut live: HashSet<NodeId> = nodes.into_iter().map(|live| live.id).collect();
    if node.degraded.is_without(Dependency::Database) {
        // Nobody could renew a lease: that one has run out says nothing until everybody has had the time to.
        live.extend(node.membership.live().iter().cloned());
    }
    let gone: HashSet<NodeId> =
        node.membership.live().iter().filter(|known| !live.contains(*known) && **known != node.id).cloned().collect();
    node.membership.set_live(live);
    if gone.is_empty() {
        return;
    }
    let names: Vec<&str> = gone.iter().map(|node| node.as_str()).collect();
    tracing::warn!(node.id = %node.id, gone = names.join(" "), "nodes are gone");
    // They will not answer: whoever waits for them looks for the call's new owner at once.
    node.asks.retain(|_, waiting| !gone.contains(&waiting.of));
    for call in node.directory.all_calls() {
        // `do_send`: a call whose actor died is rebuilt, and asks where everybody is.
        call.do_send(NodesGone);
    }
    let orphans = node.directory.followed_of(&gone);
    if orphans.is_empty() {
        return;
    }
    if !node.is_draining() {
        let heir = node.clone();
        node.spawn(async move { adopt(&heir, orphans).await });
    }
    let here = node.clone();
    node.spawn(async move {
        tokio::time::sleep(ORPHANS_AFTER.mul_f64(rand::random_range(0.75..1.25))).await;
        compare_orphans(&here, &gone);
    });
}

/// A call that ended with its owner, before that could tell anybody, is nobody's to take over: its people are told by
/// their own nodes, which ask how far it has come.
fn compare_orphans(node: &NodeHandle, gone: &HashSet<NodeId>) {
    let gone: HashSet<NodeId> = gone.iter().filter(|other| node.membership.is_gone(other)).cloned().collect();
    for call in node.directory.followed_of(&gone) {
        for addr in node.directory.followers(&call).iter().filter_map(|user| node.directory.user(user)) {
            // `do_send`: an actor that is gone is followed by one that reads everything anew.
            addr.do_send(CompareOne(call.clone()));
        }
    }
}

/// Takes over calls of dead owners that people here are in: here is where their next owner is best, and nobody need
/// wait for the sweeper.
async fn adopt(node: &NodeHandle, mut calls: Vec<CallId>) {
    // Nodes that both have people in a call do not all begin with the same one.
    calls.shuffle(&mut rand::rng());
    let reviving = calls.into_iter().map(|call| {
        let node = node.clone();
        // What could not be claimed now, the sweeper finds.
        async move {
            node.revive(&call).await;
        }
    });
    futures_util::stream::iter(reviving).buffer_unordered(ADOPT_AT_ONCE).collect::<()>().await;
}

/// Measures the bus, and Redis with it: by one clock, since two machines' differ by more than a message takes.
fn send_echo(node: &NodeHandle) {
    let sent_nanos = node.membership.nanos();
    // A bus that is down is told of elsewhere.
    let _ = node.tell_node(&node.id, &ToNode::Echo { sent_nanos }, &[]);
}

fn send_digest(node: &NodeHandle) {
    let positions = node.directory.positions_since(clock::now() - DIGEST_FOR);
    for calls in positions.chunks(DIGEST_CALLS) {
        for other in node.membership.live().iter().filter(|other| **other != node.id) {
            if let Err(refusal) = node.tell_node(other, &ToNode::Digest { calls: calls.to_vec() }, &[]) {
                tracing::debug!(node.id = %other, error = %refusal.message, "digest not published");
            }
        }
    }
}
