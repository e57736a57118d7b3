//! What must hold while nodes, Redis or PostgreSQL die: named scenarios on real processes.
//!
//! Each writes a history of what clients asked for and were told (`checker`), and ends by comparing it with what is
//! stored and what every client has heard, with one line of figures. See `rounds` for how to repeat or lengthen a run.

mod booting;
pub mod checker;
pub mod clocks;
mod cut_off;
mod database_away;
mod dies_at;
mod owner_dies;
mod owner_dies_midway;
mod owner_sleeps;
mod redis_away;
mod roamer;
mod rolling_restart;
mod rounds;
mod signal_replies;
mod slow_links;
mod sockets_cut;

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{TestClient, TestCluster, cluster::ClusterBuilder};

/// The shortest lease that may be set: a dead owner's calls are free after this.
pub const LEASE: Duration = Duration::from_secs(2);
/// How long after its owner's death a call has an owner again: the lease, a look of the sweeper, and a machine that is
/// busy with other tests.
pub const TAKEOVER: Duration = Duration::from_secs(8);
/// How long after a takeover somebody who went with the dead node is seen as gone: what the new owner waits for nodes
/// to speak up, the grace, and the same machine.
const GONE: Duration = Duration::from_secs(20);

/// Nodes that notice a death soon.
pub fn nodes(count: usize) -> ClusterBuilder {
    TestCluster::of(count).set("CARILLON_NODE_LEASE_SECS", LEASE.as_secs()).set("CARILLON_RECONNECT_GRACE_SECS", 3)
}

/// Two who talk: the call is owned by node 0, alice is on `alice_at` and bob on node 1. Every client has seen all.
pub async fn talk(cluster: &TestCluster, alice_at: usize) -> (TestClient, TestClient, String) {
    let mut alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let call = alice.call_through(&bob).await;
    if alice_at != 0 {
        alice = move_to(cluster, alice_at, alice, &bob, &call).await;
    }
    (alice, bob, call)
}

/// Has a device in a call go on at another node.
pub async fn move_to(
    cluster: &TestCluster,
    number: usize,
    mut mover: TestClient,
    other: &TestClient,
    call: &str,
) -> TestClient {
    mover.drop_connection().await;
    other.expect_of("call:participant_reconnecting", call).await;
    let mover = mover.resume(cluster.node(number)).await;
    expect_back(other, &mover.user, call).await;
    mover
}

/// Waits until this client hears that a user's device is back.
pub async fn expect_back(client: &TestClient, user: &str, call: &str) {
    let back = |e: &Value| e["callId"] == call && e["userId"] == user && e["changes"]["deviceId"].is_string();
    client.expect("call:participant_updated", back).await;
}

/// Asserts that this client can reach that one by an event and by a signal.
pub async fn assert_reaches(history: &checker::History, from: &TestClient, to: &TestClient, call: &str, screen: bool) {
    let media = json!({"callId": call, "screen": screen});
    history.must(from, "call:media", media).await;
    let told = |e: &Value| e["callId"] == call && e["userId"] == *from.user && e["changes"]["screen"] == screen;
    to.expect_within(TAKEOVER, "call:participant_updated", told).await;
    from.signal(call, &to.user, "ice_candidate", crate::support::moves::candidate(77)).await;
    to.expect("call:signal", |s| s["callId"] == call && s["from"] == *from.user).await;
}

/// Asserts that a new call from `caller` rings this user: they are not held busy by a call that is over.
async fn assert_not_busy(history: &checker::History, caller: &TestClient, callee: &TestClient) {
    let call = history.start(caller, &[&callee.user]).await;
    callee.expect_of("call:incoming", &call).await;
    caller.expect_none_where("call:busy", Duration::ZERO, |e| e["callId"] == *call).await;
    history.must(caller, "call:cancel", json!({"callId": call})).await;
    callee.expect_of("call:ended", &call).await;
}
