//! Making a connection, waiting before the next attempt, and knowing whether all is well.
//!
//! Owns the timeouts, and what loss and return look like in detail (for `debug`: a node says it once, as a degraded mode). It must never give up, nor log a URL. It survives a
//! Redis that is away for any time, refuses, or accepts and stays silent.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Client, ErrorKind, IntoConnectionInfo, ProtocolVersion, PushInfo, PushKind, RedisError,
    RedisResult, aio::MultiplexedConnection,
};
use tokio::sync::{Notify, watch};

use crate::{
    clock,
    cluster::bus::{BusFault, BusHealth},
};

/// For connecting, TLS and the greeting together. Shorter fails on a busy Redis far away; longer delays the return after a
/// silent one, since an attempt made while it is silent must first run out.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// After this without an answer the peer counts as silent. Shorter breaks connections when Redis forks or runs a slow
/// command; longer lets messages vanish into a dead connection for longer.
pub(super) const REPLY_TIMEOUT: Duration = Duration::from_millis(1800);
/// How often a connection is asked whether it is there. Together with [`REPLY_TIMEOUT`] this is how late silence is seen:
/// within three seconds.
pub(super) const PING_INTERVAL: Duration = Duration::from_secs(1);
/// The first wait before another attempt. Less only heats a Redis that is just restarting.
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
/// The longest wait. More is needless downtime; less, and a large cluster storms a Redis that is coming back.
const LONGEST_BACKOFF: Duration = Duration::from_secs(1);

/// A client for the URL that speaks RESP3, whatever the URL says.
pub(super) fn client(url: &str) -> RedisResult<Client> {
    let info = url.into_connection_info()?;
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    Client::open(info.set_redis_settings(settings))
}

/// How every connection to Redis is set up.
pub(super) fn connection_config() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT_TIMEOUT)).set_response_timeout(Some(REPLY_TIMEOUT))
}

/// A connection, and a notice of its end.
pub(super) struct Connected {
    pub(super) connection: MultiplexedConnection,
    pub(super) closed: Arc<Notify>,
}

/// Connects once. `on_push` is called as soon as something was read, on the task that reads: nothing piles up in between.
pub(super) async fn connect(
    client: &Client,
    on_push: impl Fn(PushInfo) + Send + Sync + 'static,
) -> Result<Connected, Broken> {
    let closed = Arc::new(Notify::new());
    let tell = closed.clone();
    let config = connection_config().set_push_sender(move |push: PushInfo| {
        if push.kind == PushKind::Disconnection {
            tell.notify_one();
        } else {
            on_push(push);
        }
        Ok::<(), ()>(())
    });
    match client.get_multiplexed_async_connection_with_config(&config).await {
        Ok(connection) => Ok(Connected { connection, closed }),
        Err(error) => {
            Err(Broken { fault: refusal(&error).unwrap_or(BusFault::Unreachable), detail: error.to_string() })
        }
    }
}

/// Whether the peer still answers.
pub(super) async fn ping(connection: &mut MultiplexedConnection) -> RedisResult<()> {
    redis::cmd("PING").query_async::<redis::Value>(connection).await.map(drop)
}

/// Why a connection came to its end.
pub(super) struct Broken {
    pub(super) fault: BusFault,
    pub(super) detail: String,
}

impl Broken {
    pub(super) fn closed_by_peer() -> Self {
        Self { fault: BusFault::Lost, detail: "closed by the peer".to_owned() }
    }
}

impl From<RedisError> for Broken {
    fn from(error: RedisError) -> Self {
        let fault = if error.is_timeout() { BusFault::Silent } else { refusal(&error).unwrap_or(BusFault::Lost) };
        Self { fault, detail: error.to_string() }
    }
}

fn refusal(error: &RedisError) -> Option<BusFault> {
    let refused = matches!(
        error.kind(),
        ErrorKind::AuthenticationFailed | ErrorKind::Server(_) | ErrorKind::Extension | ErrorKind::RESP3NotSupported
    );
    refused.then_some(BusFault::Refused)
}

/// The wait before the next attempt: doubles up to a second, spread at random so that nodes do not come all at once.
pub(super) struct Backoff(Duration);

impl Backoff {
    pub(super) fn new() -> Self {
        Self(FIRST_BACKOFF)
    }

    pub(super) fn reset(&mut self) {
        self.0 = FIRST_BACKOFF;
    }

    /// Between half of the present wait and all of it.
    pub(super) fn next(&mut self) -> Duration {
        let wait = self.0.mul_f64(rand::random_range(0.5..=1.0));
        self.0 = (self.0 * 2).min(LONGEST_BACKOFF);
        wait
    }
}

/// The two connections that must stand for the bus to be up.
#[derive(Clone, Copy)]
pub(super) enum Link {
    Publisher,
    Subscriber,
}

/// The health of both links as one.
pub(super) struct Links {
    faults: Mutex<[Option<BusFault>; 2]>,
    health: watch::Sender<BusHealth>,
}

impl Links {
    pub(super) fn new() -> Self {
        let health = BusHealth::Down { since: clock::monotonic(), fault: BusFault::Starting };
        Self { faults: Mutex::new([Some(BusFault::Starting); 2]), health: watch::Sender::new(health) }
    }

    pub(super) fn health(&self) -> BusHealth {
        *self.health.borrow()
    }

    pub(super) fn watch(&self) -> watch::Receiver<BusHealth> {
        self.health.subscribe()
    }

    pub(super) fn on_up(&self, link: Link) {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        faults[link as usize] = None;
        if faults.iter().any(Option::is_some) {
            return;
        }
        let before = self.health.send_replace(BusHealth::Up);
        match before {
            BusHealth::Up => {}
            BusHealth::Down { fault: BusFault::Starting, .. } => tracing::info!(bus = "redis", "bus connected"),
            BusHealth::Down { since, .. } => {
                let down_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
                tracing::debug!(bus = "redis", down_ms, "bus connection regained");
            }
        }
    }

    pub(super) fn on_broken(&self, link: Link, broken: &Broken) {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        faults[link as usize] = Some(broken.fault);
        let since = match self.health() {
            BusHealth::Down { since, fault } => {
                if fault == BusFault::Starting && broken.fault != BusFault::Closed {
                    let (fault, error) = (broken.fault.as_str(), &broken.detail);
                    tracing::debug!(bus = "redis", fault, %error, "bus cannot be reached, trying on");
                }
                since
            }
            BusHealth::Up => {
                if broken.fault != BusFault::Closed {
                    let (fault, error) = (broken.fault.as_str(), &broken.detail);
                    tracing::debug!(bus = "redis", fault, %error, "bus connection lost");
                }
                clock::monotonic()
            }
        };
        self.health.send_replace(BusHealth::Down { since, fault: broken.fault });
    }
}
