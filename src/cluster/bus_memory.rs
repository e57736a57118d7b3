//! The bus within one process: the real mode of a single node, and several nodes in one process for tests.
//!
//! Owns who is subscribed to what. It must never call an inbox on the thread of a publisher: as with Redis, each node's
//! messages arrive on a thread of their own, so that code that works here works there. It survives a node that does not
//! keep up by refusing what does not fit into that node's queue.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    thread,
    time::Instant,
};

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    bus::{Backlog, Bus, BusError, BusFault, BusHealth, BusLimits, BusStats, GuardedInbox, Inbox, MAX_MESSAGE_BYTES},
    outbox::{Outbox, Outlet, Waiting, outbox},
};
use crate::{
    clock,
    domain::ids::{NodeId, UserId},
};

/// What the nodes of one process share. Clones are the same hub.
#[derive(Clone, Default)]
pub struct MemoryHub(Arc<RwLock<Members>>);

#[derive(Default)]
struct Members {
    nodes: HashMap<NodeId, Arc<Outbox<Delivery>>>,
    subscribers: HashMap<UserId, Vec<NodeId>>,
}

struct Delivery {
    /// `None` for the node's own channel.
    user: Option<UserId>,
    message: Bytes,
}

impl Waiting for Delivery {
    fn len(&self) -> usize {
        self.message.len()
    }
}

impl MemoryHub {
    /// A hub without nodes.
    pub fn new() -> Self {
        Self::default()
    }

    fn read(&self) -> RwLockReadGuard<'_, Members> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Members> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_subscribed(&self, user: &UserId, node: &NodeId) -> bool {
        self.read().subscribers.get(user).is_some_and(|nodes| nodes.contains(node))
    }
}

/// One node's place at a [`MemoryHub`]. Dropping it leaves the hub.
pub struct MemoryBus {
    hub: MemoryHub,
    node: NodeId,
    stats: Arc<BusStats>,
    closed_at: RwLock<Option<Instant>>,
}

impl MemoryBus {
    /// Joins the hub and starts the thread that delivers. A node of the same name that was there is replaced.
    pub fn join(hub: &MemoryHub, node: NodeId, limits: BusLimits, inbox: Arc<dyn Inbox>) -> std::io::Result<Self> {
        let stats = Arc::new(BusStats::default());
        let inbox = GuardedInbox::new(inbox, stats.clone());
        let (queue, outlet) = outbox(limits);
        let (hub_of_thread, name) = (hub.clone(), node.clone());
        thread::Builder::new()
            .name("bus".to_owned())
            .spawn(move || deliver_until_left(&hub_of_thread, &name, outlet, &inbox))?;
        hub.write().nodes.insert(node.clone(), Arc::new(queue));
        Ok(Self { hub: hub.clone(), node, stats, closed_at: RwLock::new(None) })
    }

    fn ensure_open(&self) -> Result<(), BusError> {
        if self.health().is_up() { Ok(()) } else { Err(BusError::Unavailable) }
    }

    fn leave(&self) {
        let mut closed_at = self.closed_at.write().unwrap_or_else(PoisonError::into_inner);
        if closed_at.replace(clock::monotonic()).is_some() {
            return;
        }
        let mut members = self.hub.write();
        // The queue goes with the last reference, and with it, once it is empty, the thread.
        members.nodes.remove(&self.node);
        members.subscribers.retain(|_, nodes| {
            nodes.retain(|node| *node != self.node);
            !nodes.is_empty()
        });
    }

    fn push(&self, queue: &Outbox<Delivery>, delivery: Delivery) -> Result<(), BusError> {
        let outcome = queue.push(delivery);
        match outcome {
            Ok(()) => BusStats::add(&self.stats.published, 1),
            Err(BusError::Overloaded) => BusStats::add(&self.stats.dropped_overload, 1),
            Err(_) => {}
        }
        outcome
    }

    /// To how many nodes it went. All are tried, also after one had no room.
    fn publish(&self, user: &UserId, message: &Bytes) -> Result<u64, BusError> {
        self.ensure_open()?;
        if message.len() > MAX_MESSAGE_BYTES {
            return Err(BusError::TooLarge);
        }
        let members = self.hub.read();
        let mut outcome = Ok(0);
        let subscribed = members.subscribers.get(user).into_iter().flatten();
        for queue in subscribed.filter(|node| **node != self.node).filter_map(|node| members.nodes.get(node)) {
            let pushed = self.push(queue, Delivery { user: Some(user.clone()), message: message.clone() });
            outcome = outcome.and_then(|count| pushed.map(|()| count + 1));
        }
        outcome
    }
}

fn deliver_until_left(hub: &MemoryHub, node: &NodeId, mut outlet: Outlet<Delivery>, inbox: &GuardedInbox) {
    while let Some(Delivery { user, message }) = outlet.blocking_recv() {
        match user {
            None => inbox.on_node_message(message),
            // Asked again here, because it may have been taken back while the message waited.
            Some(user) if hub.is_subscribed(&user, node) => inbox.on_user_message(&user, message),
            Some(_) => {}
        }
    }
}

#[async_trait]
impl Bus for MemoryBus {
    fn publish_to_node(&self, node: &NodeId, message: Bytes) -> Result<(), BusError> {
        self.ensure_open()?;
        let members = self.hub.read();
        members.nodes.get(node).map_or(Ok(()), |queue| self.push(queue, Delivery { user: None, message }))
    }

    fn publish_to_user(&self, user: &UserId, message: Bytes) -> Result<(), BusError> {
        self.publish(user, &message).map(drop)
    }

    async fn publish_to_user_counted(&self, user: &UserId, message: Bytes) -> Result<u64, BusError> {
        self.publish(user, &message)
    }

    async fn subscribe_user(&self, user: &UserId) -> Result<(), BusError> {
        let mut members = self.hub.write();
        if !members.nodes.contains_key(&self.node) {
            return Err(BusError::Unavailable);
        }
        let nodes = members.subscribers.entry(user.clone()).or_default();
        if !nodes.contains(&self.node) {
            nodes.push(self.node.clone());
        }
        Ok(())
    }

    fn unsubscribe_user(&self, user: &UserId) {
        let mut members = self.hub.write();
        if let Some(nodes) = members.subscribers.get_mut(user) {
            nodes.retain(|node| *node != self.node);
            if nodes.is_empty() {
                members.subscribers.remove(user);
            }
        }
    }

    async fn online(&self, users: &[UserId]) -> Result<Vec<bool>, BusError> {
        self.ensure_open()?;
        let members = self.hub.read();
        Ok(users.iter().map(|user| members.subscribers.contains_key(user)).collect())
    }

    async fn listening(&self, nodes: &[NodeId]) -> Result<Vec<bool>, BusError> {
        self.ensure_open()?;
        let members = self.hub.read();
        Ok(nodes.iter().map(|node| members.nodes.contains_key(node)).collect())
    }

    fn system(&self) -> &'static str {
        "in_process"
    }

    fn health(&self) -> BusHealth {
        match *self.closed_at.read().unwrap_or_else(PoisonError::into_inner) {
            None => BusHealth::Up,
            Some(since) => BusHealth::Down { since, fault: BusFault::Closed },
        }
    }

    fn stats(&self) -> &BusStats {
        &self.stats
    }

    fn backlog(&self) -> Backlog {
        let none = Backlog { messages: 0, bytes: 0, limits: BusLimits { messages: 0, bytes: 0 } };
        self.hub.read().nodes.get(&self.node).map_or(none, |queue| queue.backlog())
    }

    async fn shutdown(&self) {
        self.leave();
    }
}

impl Drop for MemoryBus {
    fn drop(&mut self) {
        self.leave();
    }
}
