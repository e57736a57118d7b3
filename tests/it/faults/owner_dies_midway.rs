//! The node that owns a call is killed between two of the call's states: nobody has come yet, somebody is away, only one
//! of two is there.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{GONE, TAKEOVER, assert_reaches, checker::History, expect_back, move_to, nodes, rounds::repeat, talk};
use crate::support::{
    TestClient, TestCluster,
    moves::{id_of, is_in},
};

fn about(call: &str) -> Value {
    json!({"callId": call})
}

/// Ends a call of two and compares.
async fn finish(history: &History, cluster: &TestCluster, call: &str, sides: [&TestClient; 2]) {
    history.must(sides[0], "call:end", about(call)).await;
    for side in sides {
        side.expect_end_within(TAKEOVER, call, "completed").await;
    }
    history.check(cluster, &sides).await;
}

#[tokio::test]
async fn a_ringing_call_whose_owner_dies_is_accepted_when_nobody_was_on_its_node() {
    repeat(1, async |history, _| {
        let mut cluster = nodes(3).start().await;
        let alice = cluster.connect(0, "alice", "phone").await;
        let bob = cluster.connect(1, "bob", "phone").await;
        let call = history.start(&alice, &["bob"]).await;
        bob.expect_of("call:incoming", &call).await;
        let alice = alice.resume(cluster.node(2)).await;
        cluster.node_mut(0).kill();
        history.must(&bob, "call:accept", about(&call)).await;
        alice.expect_within(TAKEOVER, "call:accepted", |e| e["callId"] == *call).await;
        alice.negotiate(&bob, &call).await;
        finish(history, &cluster, &call, [&alice, &bob]).await;
    })
    .await;
}

#[tokio::test]
async fn a_connecting_call_goes_on_when_its_owner_dies_with_one_of_the_two() {
    repeat(1, async |history, _| {
        let mut cluster = nodes(2).set("CARILLON_RECONNECT_GRACE_SECS", 15).start().await;
        let alice = cluster.connect(0, "alice", "phone").await;
        let bob = cluster.connect(1, "bob", "phone").await;
        let call = history.start(&alice, &["bob"]).await;
        bob.expect_of("call:incoming", &call).await;
        history.must(&bob, "call:accept", about(&call)).await;
        alice.expect_of("call:accepted", &call).await;
        cluster.node_mut(0).kill();
        let alice = alice.resume(cluster.node(1)).await;
        bob.expect_within(TAKEOVER, "call:renegotiate", |e| e["callId"] == *call).await;
        assert_reaches(history, &alice, &bob, &call, true).await;
        alice.negotiate(&bob, &call).await;
        finish(history, &cluster, &call, [&alice, &bob]).await;
    })
    .await;
}

/// alice waits in a group's call that nobody has joined; its owner dies; bob joins.
async fn a_waiting_call(history: &History, alice_at: usize) {
    let mut cluster = nodes(3).set("CARILLON_RECONNECT_GRACE_SECS", 15).start().await;
    cluster.group("team", &["alice", "bob", "carol"]).await;
    let mut alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let call = id_of(&alice.start_group("team", false).await);
    history.include(&call);
    bob.expect_of("call:created", &call).await;
    if alice_at != 0 {
        alice = alice.resume(cluster.node(alice_at)).await;
    }
    assert_eq!(alice.get(&call).await["status"], "waiting");
    cluster.node_mut(0).kill();
    if alice_at == 0 {
        alice = alice.resume(cluster.node(2)).await;
    }
    history.must(&bob, "call:join", about(&call)).await;
    alice.expect_within(TAKEOVER, "call:participant_joined", |e| e["userId"] == "bob").await;
    assert_reaches(history, &alice, &bob, &call, true).await;
    assert_reaches(history, &bob, &alice, &call, true).await;
    // The group still has this call and no other.
    let carol = cluster.connect(1, "carol", "phone").await;
    let joined = history.must(&carol, "call:start", json!({"groupId": "team", "ring": false})).await;
    assert_eq!(id_of(&joined), call, "one call of a group at a time");
    // Nobody is taken for gone later.
    bob.expect_none_where("call:participant_reconnecting", Duration::from_secs(5), |e| e["userId"] == "alice").await;
    let seen = alice.get(&call).await;
    assert!(["alice", "bob", "carol"].iter().all(|user| is_in(&seen, user)), "{seen}");
    history.must(&alice, "call:end", about(&call)).await;
    for side in [&alice, &bob, &carol] {
        side.expect_end_within(TAKEOVER, &call, "completed").await;
    }
    history.check(&cluster, &[&alice, &bob, &carol]).await;
}

#[tokio::test]
async fn a_waiting_group_call_goes_on_when_its_owner_dies_with_who_waits() {
    repeat(1, async |history, _| a_waiting_call(history, 0).await).await;
}

#[tokio::test]
async fn a_waiting_group_call_goes_on_when_its_owner_dies_and_nobody_was_there() {
    repeat(1, async |history, _| a_waiting_call(history, 2).await).await;
}

#[tokio::test]
async fn who_is_away_when_the_owner_dies_comes_back_to_the_next_owner() {
    repeat(1, async |history, _| {
        let mut cluster = nodes(3).set("CARILLON_RECONNECT_GRACE_SECS", 15).start().await;
        let (mut alice, bob, call) = talk(&cluster, 2).await;
        history.include(&call);
        alice.drop_connection().await;
        bob.expect_of("call:participant_reconnecting", &call).await;
        cluster.node_mut(0).kill();
        bob.expect_within(TAKEOVER, "call:renegotiate", |e| e["callId"] == *call).await;
        let alice = alice.resume(cluster.node(1)).await;
        expect_back(&bob, "alice", &call).await;
        assert_reaches(history, &alice, &bob, &call, true).await;
        finish(history, &cluster, &call, [&alice, &bob]).await;
    })
    .await;
}

#[tokio::test]
async fn who_is_away_when_the_owner_dies_and_stays_away_has_left_when_the_grace_is_over() {
    repeat(1, async |history, _| {
        let grace = Duration::from_secs(8);
        let mut cluster = nodes(3).set("CARILLON_RECONNECT_GRACE_SECS", grace.as_secs()).start().await;
        let (alice, bob, call) = talk(&cluster, 2).await;
        history.include(&call);
        // Again where the owner is, and then nowhere.
        let mut alice = move_to(&cluster, 0, alice, &bob, &call).await;
        alice.drop_connection().await;
        let away = Instant::now();
        bob.expect_of("call:participant_reconnecting", &call).await;
        cluster.node_mut(0).kill();
        let left = bob.expect_within(GONE, "call:participant_left", |e| e["userId"] == "alice").await;
        let after = left.at - away;
        assert!(after >= grace - Duration::from_millis(200), "left after {after:?}, before the grace was over");
        bob.expect_end(&call, "connection_lost").await;
        let alice = alice.resume(cluster.node(1)).await;
        alice.expect_end(&call, "connection_lost").await;
        history.check(&cluster, &[&alice, &bob]).await;
    })
    .await;
}
