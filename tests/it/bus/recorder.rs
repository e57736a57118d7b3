//! Nodes on a bus, and what each has heard.

use std::{
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use carillon::{
    cluster::{
        bus::{Bus, BusLimits, Inbox},
        bus_memory::{MemoryBus, MemoryHub},
        bus_redis::{RedisBus, RedisBusConfig},
    },
    domain::ids::{NodeId, UserId},
    secret::Secret,
};

use crate::support::redis::Instance as RedisServer;

/// Far more than anything here takes; reached only by a failure.
pub const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    ToNode(Bytes),
    ToUser(UserId, Bytes),
    Resubscribed,
}

#[derive(Default)]
pub struct Recorder {
    heard: Mutex<Vec<Heard>>,
    /// While true, calls do not return: the bus's thread is stuck.
    stuck: Mutex<bool>,
    freed: Condvar,
}

impl Recorder {
    fn note(&self, heard: Heard) {
        self.heard.lock().unwrap().push(heard);
        let _free = self.freed.wait_while(self.stuck.lock().unwrap(), |stuck| *stuck).unwrap();
    }

    pub fn set_stuck(&self, stuck: bool) {
        *self.stuck.lock().unwrap() = stuck;
        self.freed.notify_all();
    }

    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    /// Waits until that many were heard, and gives all.
    pub async fn wait_for(&self, count: usize) -> Vec<Heard> {
        wait_until(&format!("{count} to be heard"), || self.heard.lock().unwrap().len() >= count).await;
        self.heard()
    }

    pub async fn wait_for_one(&self, wanted: &Heard) {
        wait_until(&format!("{wanted:?}"), || self.heard.lock().unwrap().contains(wanted)).await;
    }
}

impl Inbox for Recorder {
    fn on_node_message(&self, message: Bytes) {
        assert_ne!(&message[..], b"panic", "as asked");
        self.note(Heard::ToNode(message));
    }
    fn on_user_message(&self, user: &UserId, message: Bytes) {
        self.note(Heard::ToUser(user.clone(), message));
    }
    fn on_resubscribed(&self) {
        self.note(Heard::Resubscribed);
    }
}

pub async fn wait_until(what: &str, mut reached: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !reached() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// One node; `B` is the kind of bus.
pub struct Node<B: Bus + ?Sized = dyn Bus> {
    pub id: NodeId,
    pub inbox: Arc<Recorder>,
    pub bus: Box<B>,
}

impl<B: Bus + ?Sized> Drop for Node<B> {
    fn drop(&mut self) {
        self.inbox.set_stuck(false);
    }
}

/// Several nodes of one cluster, and what they need to live.
pub struct Nodes {
    pub nodes: Vec<Node>,
    _redis: Option<RedisServer>,
}

/// Makes a cluster of so many nodes with these limits, ready for use.
pub trait Factory {
    fn make(nodes: usize, limits: BusLimits) -> impl Future<Output = Nodes>;
}

pub struct InMemory;

impl Factory for InMemory {
    async fn make(nodes: usize, limits: BusLimits) -> Nodes {
        let hub = MemoryHub::new();
        let node = |n| {
            let (id, inbox) = (node_id(n), Arc::new(Recorder::default()));
            let bus = MemoryBus::join(&hub, id.clone(), limits, inbox.clone()).unwrap();
            Node::<dyn Bus> { id, inbox, bus: Box::new(bus) }
        };
        Nodes { nodes: (0..nodes).map(node).collect(), _redis: None }
    }
}

pub struct OnRedis;

impl Factory for OnRedis {
    async fn make(nodes: usize, limits: BusLimits) -> Nodes {
        let redis = RedisServer::start();
        let mut made: Vec<Node> = Vec::new();
        for n in 0..nodes {
            let (id, inbox) = (node_id(n), Arc::new(Recorder::default()));
            let bus = redis_bus(&redis.url(), &id, limits, inbox.clone());
            assert!(bus.wait_until_up(PATIENCE).await);
            made.push(Node { id, inbox, bus: Box::new(bus) });
        }
        Nodes { nodes: made, _redis: Some(redis) }
    }
}

/// Nodes whose Redis the test plays with.
pub async fn nodes_on(redis: &RedisServer, count: usize) -> Vec<Node<RedisBus>> {
    let mut nodes = Vec::new();
    for n in 0..count {
        let (id, inbox) = (node_id(n), Arc::new(Recorder::default()));
        let bus = Box::new(redis_bus(&redis.url(), &id, BusLimits::default(), inbox.clone()));
        nodes.push(Node { id, inbox, bus });
    }
    for node in &nodes {
        assert!(node.bus.wait_until_up(PATIENCE).await);
    }
    nodes
}

pub fn redis_bus(url: &str, node: &NodeId, limits: BusLimits, inbox: Arc<Recorder>) -> RedisBus {
    let config = RedisBusConfig { url: Secret::new(url), cluster: "test".to_owned(), node: node.clone(), limits };
    RedisBus::start(config, inbox).unwrap()
}

fn node_id(n: usize) -> NodeId {
    NodeId::new(format!("node-{n}")).unwrap()
}

pub fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}
