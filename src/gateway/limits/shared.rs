//! The counting of all nodes together, in Redis.
//!
//! Owns one connection and the keys `CLUSTER:limit:KIND:HASH`, each of which expires when it is paid off. Whoever is let
//! through by this node's own cells is charged here afterwards, in batches, and the answer, what the whole cluster let
//! through, raises the cell. So nobody ever waits for Redis, and what N nodes can let through too much is bounded: each
//! its own burst within a round trip, once, and it is paid back. Without Redis each node goes by its own cells, which
//! are the same algorithm; what was not charged by then never is.

use std::{collections::HashMap, sync::Arc, time::Duration};

use redis::{AsyncConnectionConfig, Client, RedisResult, aio::MultiplexedConnection};
use tokio::sync::mpsc;

use super::{Limits, cells::Key, rules::Kind};
use crate::secret::Secret;

/// Charges that wait for the next batch. Fewer, and a burst of commands is not told to the others; more is only memory.
const MAX_WAITING: usize = 8192;
/// Charges of one batch. Larger ones let Redis's other clients wait.
const BATCH: usize = 256;
/// For connecting and for an answer. Longer, and what piles up meanwhile is told too late to matter; shorter fails on a
/// Redis far away.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two attempts to connect, and half of it more at random.
const RETRY: Duration = Duration::from_secs(1);

/// Adds a cost to a TAT that is kept in Redis's own time. KEYS: the cell; ARGV: the cost, and the most that is
/// remembered, both in microseconds. Returns what is owed afterwards, in microseconds.
const CHARGE: &str = "
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local tat = math.max(tonumber(redis.call('GET', KEYS[1]) or '0') or 0, now) + tonumber(ARGV[1])
tat = math.min(tat, now + tonumber(ARGV[2]))
redis.call('SET', KEYS[1], string.format('%.0f', tat), 'PX', math.ceil((tat - now) / 1000))
return tat - now";

/// Something was let through here.
pub(super) struct Charge {
    pub(super) kind: Kind,
    pub(super) key: Key,
    pub(super) cost: u64,
    pub(super) most_owed: u64,
}

/// Where charges go, and where they come out.
pub(super) fn channel() -> (mpsc::Sender<Charge>, mpsc::Receiver<Charge>) {
    mpsc::channel(MAX_WAITING)
}

/// Carries the charges to Redis until the node ends.
pub(super) async fn run(limits: Arc<Limits>, mut charges: mpsc::Receiver<Charge>, url: Secret, cluster: String) {
    let Ok(client) = Client::open(url.reveal()) else {
        // The bus has refused the same address by then.
        tracing::error!("rate limits are this node's alone: the address of Redis cannot be understood");
        return;
    };
    let mut waiting = Vec::with_capacity(BATCH);
    loop {
        match connect(&client).await {
            Ok((mut connection, script)) => {
                tracing::debug!("rate limits are shared");
                // What waited meanwhile is past.
                while charges.try_recv().is_ok() {}
                let broken = loop {
                    waiting.clear();
                    if charges.recv_many(&mut waiting, BATCH).await == 0 {
                        return;
                    }
                    if let Err(error) = settle(&limits, &mut connection, &script, &cluster, &waiting).await {
                        break error;
                    }
                };
                tracing::debug!(error = %broken, "rate limits are this node's alone for now");
            }
            Err(error) => tracing::trace!(%error, "rate limits cannot be shared yet"),
        }
        tokio::time::sleep(RETRY.mul_f64(rand::random_range(1.0..=1.5))).await;
    }
}

async fn connect(client: &Client) -> RedisResult<(MultiplexedConnection, String)> {
    let config =
        AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE)).set_response_timeout(Some(PATIENCE));
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    let script = redis::cmd("SCRIPT").arg("LOAD").arg(CHARGE).query_async(&mut connection).await?;
    Ok((connection, script))
}

async fn settle(
    limits: &Limits,
    connection: &mut MultiplexedConnection,
    script: &str,
    cluster: &str,
    charges: &[Charge],
) -> RedisResult<()> {
    let mut sums: HashMap<Key, Charge> = HashMap::with_capacity(charges.len());
    for &Charge { kind, key, cost, most_owed } in charges {
        sums.entry(key).or_insert(Charge { kind, key, cost: 0, most_owed }).cost += cost;
    }
    let sums: Vec<Charge> = sums.into_values().collect();
    let mut batch = redis::Pipeline::with_capacity(sums.len());
    for Charge { kind, key, cost, most_owed } in &sums {
        batch.cmd("EVALSHA").arg(script).arg(1);
        batch.arg(format!("{cluster}:limit:{}:{key:032x}", kind.as_str())).arg(*cost).arg(*most_owed);
    }
    // A script that Redis has forgotten is an error like others: it is given anew with the next connection.
    let owed: Vec<i64> = batch.query_async(connection).await?;
    for (charge, owed) in sums.iter().zip(owed) {
        limits.on_settled(charge.key, u64::try_from(owed).unwrap_or(0));
    }
    Ok(())
}
