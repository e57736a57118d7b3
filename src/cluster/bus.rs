//! The bus between nodes: what it promises, whoever carries it.
//!
//! Owns the contract that [`super::bus_memory`] and [`super::bus_redis`] both keep, and that one conformance suite checks.
//! It must never look into a message, wait inside a publish, or pretend that a message arrived: delivery is at most once,
//! in order per sender and channel. It survives the loss of Redis by saying so ([`BusHealth`], [`BusError::Unavailable`],
//! [`Inbox::on_resubscribed`]); what was lost meanwhile is found again by comparing, which is the caller's business.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use async_trait::async_trait;
use bytes::Bytes;

use crate::domain::ids::{NodeId, UserId};

/// The longest message, in bytes. Signals are at most 64 KiB and snapshots a few times that; much more would let one
/// message hold up everything behind it on the connection, less would refuse a snapshot of a large call.
pub const MAX_MESSAGE_BYTES: usize = 1024 * 1024;

/// What the bus calls when something arrives.
///
/// Called on the bus's own thread, one call at a time and in order, so it must return at once: hand over and go. Nothing
/// else arrives while it runs. Messages may share a buffer (of up to 64 KiB, or of one larger message) with others that came
/// with them: whoever keeps one for long copies it. A panic is caught and logged, and costs that one message.
pub trait Inbox: Send + Sync + 'static {
    /// Something was sent to this node's channel, perhaps by this node itself.
    fn on_node_message(&self, message: Bytes);
    /// Another node sent something to a user this node is subscribed to.
    fn on_user_message(&self, user: &UserId, message: Bytes);
    /// The connection was lost (or not there at first) and all that was wanted is subscribed again: messages may have been
    /// missed, now is the time to compare.
    fn on_resubscribed(&self);
}

/// Why the bus did not take something. None of these says that nobody received it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// The bounded queue is full: the message was dropped, and waiting longer is the caller's choice.
    #[error("the bus is overloaded")]
    Overloaded,
    /// There is no connection, or it broke before the answer came.
    #[error("the bus is unavailable")]
    Unavailable,
    /// The message is longer than [`MAX_MESSAGE_BYTES`].
    #[error("the message is too large for the bus")]
    TooLarge,
}

/// What kind of trouble keeps the bus down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BusFault {
    /// The first connection is being made.
    Starting,
    /// No connection can be made: refused, no such host, no answer in time.
    Unreachable,
    /// The server answers, but not as wanted: credentials, permissions, still loading.
    Refused,
    /// The connection was closed.
    Lost,
    /// The connection stands, but the peer no longer answers.
    Silent,
    /// The bus was shut down.
    Closed,
}

impl BusFault {
    /// The name used in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::Lost => "lost",
            Self::Silent => "silent",
            Self::Closed => "closed",
        }
    }
}

/// Whether other nodes can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BusHealth {
    /// Connected and subscribed.
    Up,
    /// Not so, since when and why.
    Down {
        /// When it went down, by the monotonic clock.
        since: Instant,
        /// What was seen last.
        fault: BusFault,
    },
}

impl BusHealth {
    /// True when [`BusHealth::Up`].
    pub fn is_up(self) -> bool {
        matches!(self, Self::Up)
    }
}

/// How much may wait to be sent (to be delivered, in-process) before [`BusError::Overloaded`].
#[derive(Debug, Clone, Copy)]
pub struct BusLimits {
    /// Messages. Each slot costs about 100 bytes when used.
    pub messages: usize,
    /// Bytes of messages, with a fixed sum of 128 added for each.
    pub bytes: usize,
}

impl Default for BusLimits {
    /// 16,384 messages or 16 MiB: about a tenth of a second of what one connection carries. Less would refuse bursts (a node
    /// that died and whose calls all move), more would only make what is late later.
    fn default() -> Self {
        Self { messages: 16_384, bytes: 16 * 1024 * 1024 }
    }
}

/// What waits to be sent (to be delivered, in-process), and how much may.
#[derive(Debug, Clone, Copy)]
pub struct Backlog {
    pub messages: usize,
    /// With the fixed sum for each, see [`BusLimits::bytes`].
    pub bytes: usize,
    pub limits: BusLimits,
}

/// Counters since the start, for metrics. All are messages unless said otherwise.
#[derive(Debug, Default)]
pub struct BusStats {
    /// Handed to Redis and answered by it; in-process: put into the queues of receivers.
    pub published: AtomicU64,
    /// Given to the [`Inbox`].
    pub received: AtomicU64,
    /// Refused with [`BusError::Overloaded`].
    pub dropped_overload: AtomicU64,
    /// Frames (of one or more messages) of a version this node does not know.
    pub dropped_unknown_version: AtomicU64,
    /// Frames that could not be read to their end.
    pub dropped_malformed: AtomicU64,
    /// Frames of this node's own that came back to it.
    pub dropped_own: AtomicU64,
    /// Accepted, then lost with a connection or refused by the server.
    pub lost: AtomicU64,
    /// Times that everything was subscribed again.
    pub reconnects: AtomicU64,
    /// Writes to Redis; `published / batches` is how well batching works.
    pub batches: AtomicU64,
    /// Panics of the [`Inbox`].
    pub inbox_panics: AtomicU64,
}

impl BusStats {
    pub(super) fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }
}

/// A way to reach other nodes. Cheap calls from any thread.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Sends to one node's channel. Never waits; `Ok` means it is queued, and no more than that.
    fn publish_to_node(&self, node: &NodeId, message: Bytes) -> Result<(), BusError>;

    /// Sends to every other node subscribed to the user; not to this one. Never waits.
    fn publish_to_user(&self, user: &UserId, message: Bytes) -> Result<(), BusError>;

    /// The same, and tells to how many other nodes it went. `0` is certain: no other node was subscribed. More is no
    /// receipt: a node may be gone without Redis knowing yet.
    async fn publish_to_user_counted(&self, user: &UserId, message: Bytes) -> Result<u64, BusError>;

    /// Subscribes this node to a user and resolves when that is confirmed. Subscribing twice is subscribing once. Calls made
    /// together share one round trip.
    ///
    /// On [`BusError::Unavailable`] the wish stays, until [`Bus::unsubscribe_user`]: the user is subscribed with all others
    /// once the connection is back, before [`Inbox::on_resubscribed`].
    async fn subscribe_user(&self, user: &UserId) -> Result<(), BusError>;

    /// Takes the subscription back. No message for the user is begun to be delivered after this returns.
    fn unsubscribe_user(&self, user: &UserId);

    /// For each user: is any node, this one included, subscribed?
    async fn online(&self, users: &[UserId]) -> Result<Vec<bool>, BusError>;

    /// For each node: does it listen? A node listens to its own channel only after it is subscribed to all its users: of
    /// those who do, [`Bus::online`] has heard.
    async fn listening(&self, nodes: &[NodeId]) -> Result<Vec<bool>, BusError>;

    /// What carries it, by the name that OpenTelemetry has for such systems (`messaging.system`).
    fn system(&self) -> &'static str;

    /// How it stands now.
    fn health(&self) -> BusHealth;

    /// The counters.
    fn stats(&self) -> &BusStats;

    /// What waits now.
    fn backlog(&self) -> Backlog;

    /// Sends what is waiting (for at most a second), then ends for good. Later calls are [`BusError::Unavailable`].
    async fn shutdown(&self);
}

/// An inbox whose panics stay with it: the bus's thread serves everybody.
pub(super) struct GuardedInbox {
    inbox: Arc<dyn Inbox>,
    stats: Arc<BusStats>,
}

impl GuardedInbox {
    pub(super) fn new(inbox: Arc<dyn Inbox>, stats: Arc<BusStats>) -> Self {
        Self { inbox, stats }
    }

    pub(super) fn on_node_message(&self, message: Bytes) {
        BusStats::add(&self.stats.received, 1);
        self.guard(|inbox| inbox.on_node_message(message));
    }

    pub(super) fn on_user_message(&self, user: &UserId, message: Bytes) {
        BusStats::add(&self.stats.received, 1);
        self.guard(|inbox| inbox.on_user_message(user, message));
    }

    pub(super) fn on_resubscribed(&self) {
        self.guard(|inbox| inbox.on_resubscribed());
    }

    fn guard(&self, call: impl FnOnce(&dyn Inbox)) {
        if catch_unwind(AssertUnwindSafe(|| call(&*self.inbox))).is_err() {
            BusStats::add(&self.stats.inbox_panics, 1);
            tracing::error!("a message from another node made this one panic; it is dropped");
        }
    }
}
