//! The bus on Redis pub/sub.
//!
//! Owns one thread with two connections of its own (one sends, one listens) and a small pool for commands, so that nothing
//! depends on who calls. It must never keep anything in Redis: losing all of it costs latency, not calls. It survives
//! Redis being killed, restarted empty, paused or cutting connections; see `publisher` and `subscriber` for how.

mod link;
mod publisher;
mod registry;
mod subscriber;

use std::{
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use deadpool_redis::{Manager, Pool, Runtime};
use redis::aio::MultiplexedConnection;
use tokio::{
    runtime::{Builder, Handle},
    sync::{oneshot, watch},
    time::timeout,
};

use self::{
    link::{Broken, CONNECT_TIMEOUT, Link, Links, REPLY_TIMEOUT},
    publisher::{Outgoing, Target},
    registry::{Registry, Subscribing},
};
use super::{
    bus::{Backlog, Bus, BusError, BusFault, BusHealth, BusLimits, BusStats, GuardedInbox, Inbox},
    frame::FrameHeader,
    outbox::{Outbox, outbox},
};
use crate::{
    domain::ids::{NodeId, UserId},
    secret::Secret,
};

/// Connections for commands. They are few and short; more would only wait at Redis instead of here.
const POOL_SIZE: usize = 4;
/// Channels in one PUBSUB NUMSUB; see the same bound on SUBSCRIBE.
const CHANNELS_PER_QUESTION: usize = 1000;
/// How long a shutdown waits for the thread: the flush's second and a little.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(1500);

/// What a [`RedisBus`] needs to know.
#[derive(Debug, Clone)]
pub struct RedisBusConfig {
    /// `redis://` or `rediss://` (TLS, checked against the public roots).
    pub url: Secret,
    /// Separates clusters that share one Redis. Databases (`/1`) do not: pub/sub ignores them.
    pub cluster: String,
    /// This node; must differ from every other node that runs.
    pub node: NodeId,
    /// Bounds of the queue of what is to be sent.
    pub limits: BusLimits,
}

/// Why a bus cannot even be begun. A Redis that is away is no reason: that is [`BusHealth::Down`].
#[derive(Debug, thiserror::Error)]
pub enum RedisBusError {
    /// The text is not shown, it may hold a password.
    #[error("the Redis URL cannot be understood: {0}")]
    Url(String),
    /// The operating system gave no thread or event loop.
    #[error("the bus thread cannot be started: {0}")]
    Thread(#[from] std::io::Error),
}

/// One node's bus. Dropping it closes it.
pub struct RedisBus {
    shared: Arc<Shared>,
    outbox: Outbox<Outgoing>,
    pool: Pool,
    /// Of the bus's thread: pooled connections must not live on the event loop of whoever asked first.
    runtime: Handle,
    ended: watch::Receiver<()>,
}

/// What the calling threads and the bus's own tasks share.
struct Shared {
    channels: Channels,
    header: FrameHeader,
    registry: Registry,
    links: Links,
    inbox: GuardedInbox,
    stats: Arc<BusStats>,
    /// Whether messages are taken: from the start, and then while the publisher is connected.
    open: AtomicBool,
    /// Set by the first PUBLISH that the server refuses; a missing permission would fill the log.
    refusal_logged: AtomicBool,
    closing: watch::Sender<bool>,
    /// The listening connection and its number, once everything is subscribed on it.
    listener: Mutex<Option<(u64, MultiplexedConnection)>>,
}

impl Shared {
    fn open(&self) {
        self.open.store(!*self.closing.borrow(), Ordering::Release);
    }

    fn refuse(&self) {
        self.open.store(false, Ordering::Release);
    }

    fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// Resolves when the bus is to close.
    async fn closed(&self) {
        let _ = self.closing.subscribe().wait_for(|closing| *closing).await;
    }

    fn set_listener(&self, listener: Option<(u64, MultiplexedConnection)>) {
        *self.listener.lock().unwrap_or_else(PoisonError::into_inner) = listener;
    }

    /// The listening connection, if it is still the one of this number.
    fn listener(&self, number: u64) -> Option<MultiplexedConnection> {
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        listener.as_ref().filter(|(current, _)| *current == number).map(|(_, connection)| connection.clone())
    }
}

/// The names of channels.
struct Channels {
    own: String,
    node_prefix: String,
    user_prefix: String,
}

impl Channels {
    fn new(cluster: &str, node: &NodeId) -> Self {
        let node_prefix = format!("carillon:{cluster}:node:");
        Self { own: format!("{node_prefix}{node}"), node_prefix, user_prefix: format!("carillon:{cluster}:user:") }
    }

    fn of_user(&self, user: &UserId) -> String {
        [self.user_prefix.as_str(), user.as_str()].concat()
    }

    /// Writes the target's channel over `name`.
    fn write(&self, target: &Target, name: &mut String) {
        let (prefix, id) = match target {
            Target::Node(node) => (&self.node_prefix, node.as_str()),
            Target::User(user) => (&self.user_prefix, user.as_str()),
        };
        name.clear();
        name.push_str(prefix);
        name.push_str(id);
    }
}

impl RedisBus {
    /// Starts the thread, which connects on its own; [`RedisBus::wait_until_up`] tells when it has.
    pub fn start(config: RedisBusConfig, inbox: Arc<dyn Inbox>) -> Result<Self, RedisBusError> {
        let unreadable = |error: redis::RedisError| RedisBusError::Url(format!("{:?}", error.kind()));
        let client = link::client(config.url.reveal()).map_err(unreadable)?;
        let manager = Manager::new_with_config(client.get_connection_info().clone(), link::connection_config())
            .map_err(unreadable)?;
        let pool = Pool::builder(manager)
            .max_size(POOL_SIZE)
            .create_timeout(Some(CONNECT_TIMEOUT))
            .wait_timeout(Some(CONNECT_TIMEOUT))
            .recycle_timeout(Some(CONNECT_TIMEOUT))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| RedisBusError::Thread(std::io::Error::other(error)))?;

        let stats = Arc::new(BusStats::default());
        let shared = Arc::new(Shared {
            channels: Channels::new(&config.cluster, &config.node),
            header: FrameHeader::new(&config.node),
            registry: Registry::new(),
            links: Links::new(),
            inbox: GuardedInbox::new(inbox, stats.clone()),
            stats,
            open: AtomicBool::new(true),
            refusal_logged: AtomicBool::new(false),
            closing: watch::Sender::new(false),
            listener: Mutex::new(None),
        });
        let (outbox, outlet) = outbox(config.limits);
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (alive, ended) = watch::channel(());
        let of_thread = shared.clone();
        thread::Builder::new().name("bus".to_owned()).spawn(move || {
            let publisher = publisher::run(of_thread.clone(), client.clone(), outlet);
            let subscriber = subscriber::run(of_thread.clone(), client);
            runtime.block_on(async { tokio::join!(publisher, subscriber) });
            of_thread.set_listener(None);
            of_thread.registry.on_lost();
            let closed = Broken { fault: BusFault::Closed, detail: String::new() };
            of_thread.links.on_broken(Link::Publisher, &closed);
            of_thread.links.on_broken(Link::Subscriber, &closed);
            drop(runtime);
            drop(alive);
        })?;
        Ok(Self { shared, outbox, pool, runtime: handle, ended })
    }

    /// Waits until everything stands; false when it does not within the time.
    pub async fn wait_until_up(&self, within: Duration) -> bool {
        let mut health = self.shared.links.watch();
        timeout(within, health.wait_for(|health| health.is_up())).await.is_ok_and(|seen| seen.is_ok())
    }

    /// The health, to be told of changes.
    pub fn watch_health(&self) -> watch::Receiver<BusHealth> {
        self.shared.links.watch()
    }

    fn push(&self, outgoing: Outgoing) -> Result<(), BusError> {
        if !self.shared.is_open() {
            return Err(BusError::Unavailable);
        }
        let outcome = self.outbox.push(outgoing);
        if outcome == Err(BusError::Overloaded) {
            BusStats::add(&self.shared.stats.dropped_overload, 1);
        }
        outcome
    }

    /// For each channel: does anybody listen?
    async fn subscribed(&self, channels: Vec<String>) -> Result<Vec<bool>, BusError> {
        if channels.is_empty() {
            return Ok(Vec::new());
        }
        // Known to be away: no caller waits for a timeout to hear it.
        if !self.health().is_up() {
            return Err(BusError::Unavailable);
        }
        let pool = self.pool.clone();
        let asked = self.on_bus_thread(timeout(REPLY_TIMEOUT, ask_subscribers(pool, channels)));
        asked.await.and_then(Result::ok).flatten().ok_or(BusError::Unavailable)
    }

    /// Whether the listening connection of this number still answers: then it was there all the time until now.
    async fn still_listens(&self, number: u64) -> bool {
        match self.shared.listener(number) {
            Some(mut connection) => self.on_bus_thread(async move { link::ping(&mut connection).await.is_ok() }).await,
            None => Some(false),
        }
        .unwrap_or(false)
    }

    /// Runs on the bus's thread; `None` when that has ended.
    async fn on_bus_thread<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Option<T> {
        self.runtime.spawn(work).await.ok()
    }
}

#[async_trait]
impl Bus for RedisBus {
    fn publish_to_node(&self, node: &NodeId, message: Bytes) -> Result<(), BusError> {
        self.push(Outgoing { target: Target::Node(node.clone()), message, counted: None })
    }

    fn publish_to_user(&self, user: &UserId, message: Bytes) -> Result<(), BusError> {
        self.push(Outgoing { target: Target::User(user.clone()), message, counted: None })
    }

    async fn publish_to_user_counted(&self, user: &UserId, message: Bytes) -> Result<u64, BusError> {
        let listening = self.shared.registry.confirmed_on(user);
        let (answer, count) = oneshot::channel();
        self.push(Outgoing { target: Target::User(user.clone()), message, counted: Some(answer) })?;
        let count = count.await.map_err(|_| BusError::Unavailable)?;
        // Redis counted this node too, if it was subscribed all the while. To be sure of "nobody else" it must be known
        // that it was: the server may have dropped the listening connection without our having noticed yet.
        let Some(number) = listening.filter(|_| count > 0) else { return Ok(count) };
        if self.shared.registry.confirmed_on(user) != Some(number) {
            return Ok(count);
        }
        if count == 1 && !self.still_listens(number).await {
            return Ok(count);
        }
        Ok(count - 1)
    }

    async fn subscribe_user(&self, user: &UserId) -> Result<(), BusError> {
        match self.shared.registry.want(user) {
            Subscribing::Confirmed => Ok(()),
            Subscribing::Wait(confirmed) => confirmed.await.map_err(|_| BusError::Unavailable),
            Subscribing::Noted => Err(BusError::Unavailable),
        }
    }

    fn unsubscribe_user(&self, user: &UserId) {
        self.shared.registry.drop_wish(user);
    }

    async fn online(&self, users: &[UserId]) -> Result<Vec<bool>, BusError> {
        self.subscribed(users.iter().map(|user| self.shared.channels.of_user(user)).collect()).await
    }

    async fn listening(&self, nodes: &[NodeId]) -> Result<Vec<bool>, BusError> {
        let prefix = &self.shared.channels.node_prefix;
        self.subscribed(nodes.iter().map(|node| format!("{prefix}{node}")).collect()).await
    }

    fn system(&self) -> &'static str {
        "redis"
    }

    fn health(&self) -> BusHealth {
        self.shared.links.health()
    }

    fn stats(&self) -> &BusStats {
        &self.shared.stats
    }

    fn backlog(&self) -> Backlog {
        self.outbox.backlog()
    }

    async fn shutdown(&self) {
        self.shared.closing.send_replace(true);
        // The other end is never written to, only dropped.
        let _ = timeout(SHUTDOWN_TIMEOUT, self.ended.clone().changed()).await;
    }
}

impl Drop for RedisBus {
    fn drop(&mut self) {
        self.shared.closing.send_replace(true);
    }
}

async fn ask_subscribers(pool: Pool, channels: Vec<String>) -> Option<Vec<bool>> {
    let mut connection = pool.get().await.ok()?;
    let mut online = Vec::with_capacity(channels.len());
    for channels in channels.chunks(CHANNELS_PER_QUESTION) {
        let mut question = redis::cmd("PUBSUB");
        question.arg("NUMSUB").arg(channels);
        let counts: Vec<(Vec<u8>, u64)> = question.query_async(&mut connection).await.ok()?;
        online.extend(counts.iter().map(|(_, subscribers)| *subscribers > 0));
    }
    (online.len() == channels.len()).then_some(online)
}
