//! The connection that listens.
//!
//! Owns the node's subscriptions at the server. It must never let messages wait in this process: what was read is handed
//! over on the spot. It survives every loss of the connection by connecting again for ever, subscribing to all that is
//! wanted, and only when that is confirmed telling the inbox to compare.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use redis::{Client, PushInfo, PushKind, Value, aio::MultiplexedConnection};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::{
    Shared,
    link::{Backoff, Broken, Connected, Link, PING_INTERVAL, connect, ping},
};
use crate::{
    cluster::{
        bus::BusStats,
        frame::{self, FrameError},
    },
    domain::ids::UserId,
};

/// Channels in one SUBSCRIBE. Fewer, and a node with fifty thousand users takes long to return; more, and Redis serves
/// nobody else while it answers (about 0.3 ms for a thousand).
const CHANNELS_PER_COMMAND: usize = 1000;

/// Serves until the bus closes.
pub(super) async fn run(shared: Arc<Shared>, client: Client) {
    let serial = AtomicU64::new(0);
    let mut backoff = Backoff::new();
    let mut missed = false;
    loop {
        let broken = tokio::select! {
            broken = serve(&shared, &client, &serial, &mut backoff, &mut missed) => broken,
            () = shared.closed() => return,
        };
        missed = true;
        shared.set_listener(None);
        shared.registry.on_lost();
        shared.links.on_broken(Link::Subscriber, &broken);
        tokio::select! {
            () = sleep(backoff.next()) => {}
            () = shared.closed() => return,
        }
    }
}

/// One connection, from its beginning to its end.
async fn serve(
    shared: &Arc<Shared>,
    client: &Client,
    serial: &AtomicU64,
    backoff: &mut Backoff,
    missed: &mut bool,
) -> Broken {
    let receiver = shared.clone();
    let connected = connect(client, move |push| on_push(&receiver, push)).await;
    let Connected { mut connection, closed } = match connected {
        Ok(connected) => connected,
        Err(broken) => return broken,
    };
    let number = serial.fetch_add(1, Ordering::Relaxed) + 1;
    shared.registry.on_connected();
    let subscribed = async {
        settle(shared, &mut connection, number).await?;
        // Last, so that who sees this node listen knows that its users are subscribed.
        connection.subscribe(&shared.channels.own).await
    };
    if let Err(error) = subscribed.await {
        return error.into();
    }
    backoff.reset();
    shared.set_listener(Some((number, connection.clone())));
    shared.links.on_up(Link::Subscriber);
    if std::mem::take(missed) {
        BusStats::add(&shared.stats.reconnects, 1);
        shared.inbox.on_resubscribed();
    }

    let mut pings = interval(PING_INTERVAL);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let outcome = tokio::select! {
            () = closed.notified() => return Broken::closed_by_peer(),
            () = shared.registry.changed.notified() => settle(shared, &mut connection, number).await,
            _ = pings.tick() => ping(&mut connection).await,
        };
        if let Err(error) = outcome {
            return error.into();
        }
    }
}

/// Brings the server's subscriptions in line with the wishes of this moment.
async fn settle(shared: &Shared, connection: &mut MultiplexedConnection, number: u64) -> redis::RedisResult<()> {
    let round = shared.registry.next_round();
    for users in round.subscribe.chunks(CHANNELS_PER_COMMAND) {
        connection.subscribe(channels_of(shared, users)).await?;
        shared.registry.on_subscribed(users, number);
    }
    for users in round.unsubscribe.chunks(CHANNELS_PER_COMMAND) {
        connection.unsubscribe(channels_of(shared, users)).await?;
        shared.registry.on_unsubscribed(users);
    }
    Ok(())
}

fn channels_of(shared: &Shared, users: &[UserId]) -> Vec<String> {
    users.iter().map(|user| shared.channels.of_user(user)).collect()
}

fn on_push(shared: &Shared, push: PushInfo) {
    if push.kind != PushKind::Message {
        return;
    }
    let mut parts = push.data.into_iter();
    let (Some(Value::BulkString(channel)), Some(Value::BulkString(frame))) = (parts.next(), parts.next()) else {
        BusStats::add(&shared.stats.dropped_malformed, 1);
        return;
    };
    if let Err(error) = receive(shared, &channel, frame.into()) {
        let counter = match error {
            FrameError::UnknownVersion => &shared.stats.dropped_unknown_version,
            FrameError::Malformed => &shared.stats.dropped_malformed,
        };
        BusStats::add(counter, 1);
    }
}

fn receive(shared: &Shared, channel: &[u8], frame: Bytes) -> Result<(), FrameError> {
    if channel == shared.channels.own.as_bytes() {
        for message in frame::messages(frame)? {
            shared.inbox.on_node_message(message?);
        }
        return Ok(());
    }
    if shared.header.begins(&frame) {
        BusStats::add(&shared.stats.dropped_own, 1);
        return Ok(());
    }
    let user = channel.strip_prefix(shared.channels.user_prefix.as_bytes()).and_then(|id| str::from_utf8(id).ok());
    // `None`: taken back, and the server has not heard of it yet.
    let Some(user) = user.and_then(|user| shared.registry.wanted(user)) else { return Ok(()) };
    for message in frame::messages(frame)? {
        shared.inbox.on_user_message(&user, message?);
    }
    Ok(())
}
