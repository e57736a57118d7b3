//! The node that owns a call is killed: the call goes on.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{
    GONE, TAKEOVER, assert_not_busy, assert_reaches, checker::History, expect_back, move_to, nodes, rounds::repeat,
    talk,
};
use crate::support::{TestClient, TestCluster, moves::participant};

fn about(call: &str) -> Value {
    json!({"callId": call})
}

/// alice, at node 0 which owns the call, rings bob at node 1; then her node dies and she comes back at node 1.
async fn orphaned_ring(cluster: &mut TestCluster, history: &History) -> (TestClient, TestClient, String) {
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let call = history.start(&alice, &["bob"]).await;
    bob.expect_of("call:incoming", &call).await;
    cluster.node_mut(0).kill();
    let alice = alice.resume(cluster.node(1)).await;
    (alice, bob, call)
}

#[tokio::test]
async fn a_ringing_call_whose_owner_dies_is_accepted_from_another_node() {
    repeat(1, async |history, _| {
        let mut cluster = nodes(2).start().await;
        let (alice, bob, call) = orphaned_ring(&mut cluster, history).await;
        history.must(&bob, "call:accept", about(&call)).await;
        let accepted = |e: &Value| e["callId"] == *call;
        alice.expect_within(TAKEOVER, "call:accepted", accepted).await;
        alice.negotiate(&bob, &call).await;
        history.must(&alice, "call:end", about(&call)).await;
        bob.expect_end(&call, "completed").await;
        alice.expect_end(&call, "completed").await;
        history.check(&cluster, &[&alice, &bob]).await;
    })
    .await;
}

#[tokio::test]
async fn a_ringing_call_whose_owner_dies_is_cancelled_by_its_caller_from_another_node() {
    repeat(1, async |history, _| {
        let mut cluster = nodes(2).start().await;
        let (alice, bob, call) = orphaned_ring(&mut cluster, history).await;
        history.must(&alice, "call:cancel", about(&call)).await;
        bob.expect_end_within(TAKEOVER, &call, "cancelled").await;
        alice.expect_end(&call, "cancelled").await;
        assert_not_busy(history, &alice, &bob).await;
        history.check(&cluster, &[&alice, &bob]).await;
    })
    .await;
}

#[tokio::test]
async fn a_ringing_call_whose_owner_dies_is_missed_on_time() {
    repeat(1, async |history, _| {
        let mut cluster = nodes(2).set("CARILLON_RING_TIMEOUT_SECS", 7).start().await;
        let began = Instant::now();
        let (alice, bob, call) = orphaned_ring(&mut cluster, history).await;
        let missed = alice.expect_within(TAKEOVER, "call:missed", |e| e["callId"] == *call).await;
        let after = missed.at - began;
        assert!(after >= Duration::from_millis(6900), "missed {after:?} after the start, too early");
        assert!(after <= Duration::from_millis(8500), "missed {after:?} after the start, too late");
        for side in [&alice, &bob] {
            side.expect_end(&call, "no_answer").await;
        }
        history.check(&cluster, &[&alice, &bob]).await;
    })
    .await;
}

/// The owner of the call dies; both clients are on other nodes and lose nothing but the signals under way.
async fn the_owner_dies_under_both(
    mut cluster: TestCluster,
    history: &History,
    talking: [TestClient; 2],
    call: String,
) {
    let [alice, bob] = talking;
    // What they heard of alice's move.
    alice.discard_pending();
    bob.discard_pending();
    cluster.node_mut(0).kill();
    let killed = Instant::now();
    for side in [&alice, &bob] {
        let told = side.expect_within(TAKEOVER, "call:renegotiate", |e| e["callId"] == *call).await;
        assert!(told.data["epoch"].as_u64() > Some(1), "{}", told.data);
        history.recovered(told.at - killed);
    }
    assert_reaches(history, &alice, &bob, &call, true).await;
    assert_reaches(history, &bob, &alice, &call, true).await;
    // Nobody was away: nobody is taken to have been, also when the new owner has stopped waiting for nodes to speak up.
    alice.expect_none("call:participant_reconnecting", Duration::from_secs(5)).await;
    bob.expect_none("call:participant_reconnecting", Duration::ZERO).await;
    history.must(&alice, "call:end", about(&call)).await;
    for side in [&alice, &bob] {
        side.expect_end(&call, "completed").await;
    }
    assert_not_busy(history, &bob, &alice).await;
    history.check(&cluster, &[&alice, &bob]).await;
}

#[tokio::test]
async fn an_active_call_goes_on_when_its_owner_dies_and_both_clients_are_on_other_nodes() {
    repeat(1, async |history, _| {
        let cluster = nodes(3).start().await;
        let (alice, bob, call) = talk(&cluster, 2).await;
        history.include(&call);
        the_owner_dies_under_both(cluster, history, [alice, bob], call).await;
    })
    .await;
}

/// What was on its way to a connection that breaks may be lost with it.
#[tokio::test]
async fn who_loses_the_connection_after_the_owner_has_died_is_told_again_that_signals_are_lost() {
    repeat(1, async |history, _| {
        let mut cluster = nodes(3).start().await;
        let (alice, mut bob, call) = talk(&cluster, 2).await;
        history.include(&call);
        cluster.node_mut(0).kill();
        for side in [&alice, &bob] {
            side.expect_within(TAKEOVER, "call:renegotiate", |e| e["callId"] == *call).await;
        }
        bob.drop_connection().await;
        alice.expect_of("call:participant_reconnecting", &call).await;
        let bob = bob.resume(cluster.node(2)).await;
        bob.expect_of("call:renegotiate", &call).await;
        assert_reaches(history, &alice, &bob, &call, true).await;
        history.must(&alice, "call:end", about(&call)).await;
        for side in [&alice, &bob] {
            side.expect_end(&call, "completed").await;
        }
        history.check(&cluster, &[&alice, &bob]).await;
    })
    .await;
}

#[tokio::test]
async fn a_connecting_call_goes_on_when_its_owner_dies_and_both_clients_are_on_other_nodes() {
    repeat(1, async |history, _| {
        let cluster = nodes(3).start().await;
        let alice = cluster.connect(0, "alice", "phone").await;
        let bob = cluster.connect(1, "bob", "phone").await;
        let call = history.start(&alice, &["bob"]).await;
        bob.expect_of("call:incoming", &call).await;
        history.must(&bob, "call:accept", about(&call)).await;
        alice.expect_of("call:accepted", &call).await;
        let alice = move_to(&cluster, 2, alice, &bob, &call).await;
        the_owner_dies_under_both(cluster, history, [alice, bob], call).await;
    })
    .await;
}

#[tokio::test]
async fn who_was_on_the_dead_owner_and_stays_away_has_lost_the_connection_and_is_not_busy() {
    repeat(1, async |history, _| {
        let mut cluster = nodes(2).start().await;
        let (alice, bob, call) = talk(&cluster, 0).await;
        history.include(&call);
        cluster.node_mut(0).kill();
        let of_alice = |e: &Value| e["callId"] == *call && e["userId"] == "alice";
        bob.expect_within(GONE, "call:participant_reconnecting", of_alice).await;
        let left = bob.expect_within(GONE, "call:participant_left", of_alice).await;
        assert_eq!(left.data["reason"], "connection_lost", "{}", left.data);
        bob.expect_end(&call, "connection_lost").await;
        // Who comes back later learns what became of it, and can be called.
        let alice = alice.resume(cluster.node(1)).await;
        alice.expect_end(&call, "connection_lost").await;
        assert_eq!(alice.welcome["activeCalls"], json!([]), "{}", alice.welcome);
        assert_not_busy(history, &bob, &alice).await;
        history.check(&cluster, &[&alice, &bob]).await;
    })
    .await;
}

#[tokio::test]
async fn who_was_on_the_dead_owner_and_comes_back_on_another_node_at_once_goes_on_talking() {
    repeat(1, async |history, _| {
        let mut cluster = nodes(2).start().await;
        let (alice, bob, call) = talk(&cluster, 0).await;
        history.include(&call);
        cluster.node_mut(0).kill();
        // Before anybody has taken the call over.
        let alice = alice.resume(cluster.node(1)).await;
        assert_reaches(history, &bob, &alice, &call, true).await;
        // Longer than the new owner waits for nodes to speak up, and the grace after it; and she need do nothing for it.
        bob.expect_none("call:participant_left", Duration::from_secs(8)).await;
        assert_eq!(participant(&bob.get(&call).await, "alice")["status"], "joined");
        assert_reaches(history, &alice, &bob, &call, true).await;
        history.must(&alice, "call:end", about(&call)).await;
        for side in [&alice, &bob] {
            side.expect_end(&call, "completed").await;
        }
        history.check(&cluster, &[&alice, &bob]).await;
    })
    .await;
}

#[tokio::test]
async fn who_was_on_the_dead_owner_and_comes_back_within_the_grace_goes_on_talking() {
    repeat(1, async |history, _| {
        let mut cluster = nodes(2).set("CARILLON_RECONNECT_GRACE_SECS", 15).start().await;
        let (alice, bob, call) = talk(&cluster, 0).await;
        history.include(&call);
        cluster.node_mut(0).kill();
        let of_alice = |e: &Value| e["callId"] == *call && e["userId"] == "alice";
        bob.expect_within(GONE, "call:participant_reconnecting", of_alice).await;
        let alice = alice.resume(cluster.node(1)).await;
        expect_back(&bob, "alice", &call).await;
        assert_reaches(history, &alice, &bob, &call, true).await;
        history.must(&bob, "call:end", about(&call)).await;
        for side in [&alice, &bob] {
            side.expect_end(&call, "completed").await;
        }
        history.check(&cluster, &[&alice, &bob]).await;
    })
    .await;
}

#[tokio::test]
async fn the_owner_marks_who_was_on_a_dead_node_as_reconnecting() {
    repeat(1, async |history, _| {
        let mut cluster = nodes(2).start().await;
        let (alice, bob, call) = talk(&cluster, 0).await;
        history.include(&call);
        cluster.node_mut(1).kill();
        let of_bob = |e: &Value| e["callId"] == *call && e["userId"] == "bob";
        alice.expect_within(TAKEOVER, "call:participant_reconnecting", of_bob).await;
        let bob = bob.resume(cluster.node(0)).await;
        expect_back(&alice, "bob", &call).await;
        assert_reaches(history, &alice, &bob, &call, true).await;
        cluster.assert_no_takeovers();
        history.must(&bob, "call:end", about(&call)).await;
        for side in [&alice, &bob] {
            side.expect_end(&call, "completed").await;
        }
        history.check(&cluster, &[&alice, &bob]).await;
    })
    .await;
}

#[tokio::test]
async fn who_comes_back_before_the_dead_owners_lease_has_run_out_is_told_at_once_where_things_stand() {
    // A lease far longer than anybody would wait.
    let mut cluster = TestCluster::two_nodes().set("CARILLON_NODE_LEASE_SECS", 60).start().await;
    let (mut alice, mut bob, call) = talk(&cluster, 0).await;
    bob.drop_connection().await;
    alice.expect_of("call:participant_reconnecting", &call).await;
    alice.must("call:media", json!({"callId": call, "screen": true})).await;
    cluster.node_mut(0).kill();
    alice = alice.resume(cluster.node(1)).await;
    let bob = bob.resume(cluster.node(1)).await;
    assert_eq!(alice.welcome["activeCalls"][0]["callId"], *call, "{}", alice.welcome);
    let told = |e: &Value| e["callId"] == *call && e["userId"] == "alice" && e["changes"]["screen"] == true;
    bob.expect("call:participant_updated", told).await;
}
