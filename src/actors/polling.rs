//! Life without the bus: what cannot come over it is looked up in the database.
//!
//! Owns the degraded mode of Redis: it begins when this node's bus is down, or that of a node that lives (each says so in its
//! row of `nodes`), and ends by itself. While it lasts, how far the calls have come that concern users of this node is
//! read every [`POLL_EVERY`], in statements of bounded size; a user's actor that is behind, or does not know a call that
//! rings them, reads what it lacks from the store. Nothing is read while all is well. Never changes a call. A ring that
//! begins and ends between two looks is not seen.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use super::{
    NodeHandle,
    degraded::{Change, Dependency},
    user::Stands,
};
use crate::{
    clock,
    cluster::bus::{BusFault, BusHealth},
    domain::{CallId, UserId},
    store::{BATCH_POSITIONS, Position, StoreError},
};

/// How often the state of the bus is looked at, which costs nothing. It is how late the mode begins.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Between two looks into the database. A node hears that another's bus is down after at most a second; with this, and
/// the time to read, an event is there within two. Less is load on a database that has all of it then.
const POLL_EVERY: Duration = Duration::from_millis(600);
/// How often the row says again that the bus is down: it may have been forgotten while the lease had run out.
const SAY_AGAIN: Duration = Duration::from_secs(2);
/// How long that may take. Longer, and a database that hangs keeps the node from seeing what else is lost.
const SAY_PATIENCE: Duration = Duration::from_secs(1);
/// What is seen when this node's bus is there and another's is not.
const OTHERS: &str = "other_node";

/// Runs until the node ends.
pub async fn run(node: NodeHandle) {
    let mut turns = tokio::time::interval(LOOK_EVERY);
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut was_up = true;
    let mut said = Said { up: Some(true), at: clock::monotonic() };
    let mut next_poll = clock::monotonic();
    loop {
        turns.tick().await;
        if !node.store.health().is_up() {
            node.degraded.observe(Dependency::Database, Some("unreachable"));
        }
        let health = node.bus_health();
        if matches!(health, BusHealth::Down { fault: BusFault::Closed, .. }) {
            return;
        }
        if was_up && !health.is_up() {
            // What was asked of other nodes is not answered any more: who waits is told at once.
            node.asks.clear();
        }
        was_up = health.is_up();
        say(&node, health.is_up(), &mut said).await;
        let fault = match health {
            BusHealth::Down { fault, .. } => Some(fault.as_str()),
            BusHealth::Up => node.membership.any_deaf().then_some(OTHERS),
        };
        let change = node.degraded.observe(Dependency::Redis, fault);
        let last = change == Some(Change::Left);
        let due = node.degraded.is_without(Dependency::Redis) && clock::monotonic() >= next_poll;
        if !due && !last {
            continue;
        }
        let began = clock::monotonic();
        if let Err(error) = poll(&node).await {
            tracing::debug!(node.id = %node.id, %error, "the database could not be asked for missed events");
        }
        // At most half of the time is spent on it, however many users there are.
        let wait = POLL_EVERY.mul_f64(rand::random_range(0.8..1.2)).max(began.elapsed());
        next_poll = clock::monotonic() + wait;
    }
}

/// What the node's row says; `up` is not known after a try that failed.
struct Said {
    up: Option<bool>,
    at: Instant,
}

/// Lets the other nodes know whether they hear from this one.
async fn say(node: &NodeHandle, up: bool, said: &mut Said) {
    let now = clock::monotonic();
    if said.up == Some(up) && (up || now.duration_since(said.at) < SAY_AGAIN) {
        return;
    }
    match tokio::time::timeout(SAY_PATIENCE, node.store.set_bus_up(&node.id, up)).await {
        Ok(Ok(())) => *said = Said { up: Some(up), at: now },
        _ => {
            said.up = None;
            tracing::debug!(node.id = %node.id, "others could not be told whether the bus is up");
        }
    }
}

/// Tells the users' actors how far their calls have come.
async fn poll(node: &NodeHandle) -> Result<(), StoreError> {
    node.metrics.polls.inc();
    let mut tell: HashSet<(CallId, UserId)> = HashSet::new();
    let mut positions: HashMap<CallId, Position> = HashMap::new();
    for users in node.directory.all_user_ids().chunks(BATCH_POSITIONS) {
        for (user, call, position) in node.store.open_positions_of(users).await? {
            tell.insert((call.clone(), user));
            positions.insert(call, position);
        }
    }
    let followed = node.directory.all_followed();
    let others: Vec<CallId> =
        followed.iter().filter(|(call, _)| !positions.contains_key(call)).map(|(call, _)| call.clone()).collect();
    for calls in others.chunks(BATCH_POSITIONS) {
        positions.extend(node.store.positions_of(calls).await?);
    }
    tell.extend(followed.into_iter().flat_map(|(call, users)| users.into_iter().map(move |user| (call.clone(), user))));
    let bus_is_down = !node.bus_health().is_up();
    // Everybody is heard again: what was lost until then is looked for everywhere, until the mode ends.
    let all = bus_is_down || !node.membership.any_deaf();
    for (call, user) in tell {
        let Some(at) = positions.get(&call) else { continue };
        // What happens here is told here.
        let silent = at.owner != node.id && (all || node.membership.is_deaf(&at.owner));
        if !silent {
            continue;
        }
        if let Some(addr) = node.directory.user(&user) {
            let Position { owner, epoch, seq, open } = at.clone();
            // `do_send`: told again at the next look.
            addr.do_send(Stands { call, owner, epoch, seq, open });
        }
    }
    Ok(())
}
