//! Redis is lost for all: hangs, or is killed and comes back empty.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{BY_DATABASE, assert_refused_at_once, change, expect_changes, expect_loss, expect_whole, gauge, loss};
use crate::{
    faults::{assert_reaches, checker::History, expect_back, nodes, talk},
    support::{TestClient, TestCluster, client::call_of, moves::sdp, redis::Instance},
};

/// Nobody who reconnects while Redis is away may be given up in these tests.
const GRACE_SECS: u64 = 60;

async fn on_own_redis() -> (TestCluster, Arc<Instance>) {
    let redis = Arc::new(tokio::task::spawn_blocking(Instance::start).await.expect("start Redis"));
    let cluster = nodes(2).set("CARILLON_RECONNECT_GRACE_SECS", GRACE_SECS).on_redis(redis.clone());
    (cluster.start().await, redis)
}

/// A whole call between two of one node, with nothing refused.
async fn call_on_one_node(history: &History, caller: &TestClient, callee: &TestClient) {
    let call = history.start(caller, &[&callee.user]).await;
    callee.expect_of("call:incoming", &call).await;
    history.once(callee, "call:accept", json!({"callId": call})).await.expect("the owner is at hand");
    caller.expect_of("call:accepted", &call).await;
    caller.negotiate(callee, &call).await;
    for (side, other) in [(caller, callee), (callee, caller)] {
        let media = json!({"callId": call, "screen": true});
        history.once(side, "call:media", media).await.expect("the owner is at hand");
        other.expect("call:participant_updated", |e| e["callId"] == *call && e["userId"] == *side.user).await;
    }
    history.once(callee, "call:end", json!({"callId": call})).await.expect("the owner is at hand");
    for side in [caller, callee] {
        side.expect_end(&call, "completed").await;
    }
}

/// The state events that a user is told who has each of these; none where it is a snapshot.
async fn synced(client: &TestClient, call: &str) -> Vec<Vec<Value>> {
    let mut told = Vec::new();
    for seq in 1..=3 {
        let reply = client.must("call:sync", json!({"callId": call, "seq": seq})).await;
        let events = reply["events"].as_array().expect("a list").clone();
        assert!(events.iter().all(|e| e["data"]["snapshot"] != true), "these are few: {events:?}");
        told.push(events.into_iter().filter(|e| e["event"] != "call:signal").collect());
    }
    told
}

async fn life_goes_on_without_redis(going: impl FnOnce(&Instance), coming: impl FnOnce(&Instance)) {
    let (cluster, redis) = on_own_redis().await;
    let history = History::default();
    let (alice, bob, call) = talk(&cluster, 0).await;
    let carol = cluster.connect(1, "carol", "phone").await;
    let [dave, erin] = [cluster.connect(0, "dave", "phone").await, cluster.connect(0, "erin", "phone").await];
    let [frank, mut gina] = [cluster.connect(0, "frank", "phone").await, cluster.connect(0, "gina", "phone").await];
    let moving = frank.call_through(&gina).await;
    for call in [&call, &moving] {
        history.include(call);
    }
    let from_owner = synced(&bob, &call).await;

    going(&redis);
    for node in 0..2 {
        let (status, _) = expect_loss(&cluster, node, "redis").await;
        assert_eq!(status, 200, "the node takes calls");
        assert_eq!(gauge(&cluster, node, "carillon_bus_up").await, 0.0);
    }
    // Events and rings reach the other node.
    change(&history, &alice, &call, &[true, false, true]).await;
    expect_changes(&bob, &call, "alice", &[true, false, true]).await;
    let ring = history.start(&dave, &["carol"]).await;
    let rung = carol.expect_within(BY_DATABASE, "call:incoming", |e| call_of(e) == Some(&ring)).await;
    assert_eq!(rung.data["from"], "dave", "{}", rung.data);
    // So does the end of a call that rang there.
    let given_up = history.start(&erin, &["carol"]).await;
    carol.expect_within(BY_DATABASE, "call:incoming", |e| call_of(e) == Some(&given_up)).await;
    history.must(&erin, "call:cancel", json!({"callId": given_up})).await;
    carol.expect_end_within(BY_DATABASE, &given_up, "cancelled").await;
    // Who asks a remote owner is answered from the store, or refused at once.
    let seen = bob.get(&call).await;
    assert_eq!(seen["status"], "active", "{seen}");
    for (owner, store) in from_owner.iter().zip(&synced(&bob, &call).await) {
        let (same, since) = store.split_at(owner.len());
        assert_eq!((same, since.len()), (&owner[..], 3), "the store says what the owner said, and what happened since");
    }
    assert_refused_at_once(&history, &bob, "call:media", json!({"callId": call, "screen": true})).await;
    assert_refused_at_once(&history, &carol, "call:accept", json!({"callId": ring})).await;
    let signal = json!({"callId": call, "to": "alice", "type": "offer", "payload": sdp("offer")});
    assert_refused_at_once(&history, &bob, "call:signal", signal).await;
    let strange = carol.refused("call:get", json!({"callId": call})).await;
    assert_eq!(strange.code, "not_found", "{strange:?}");
    call_on_one_node(&history, &dave, &erin).await;
    // Who comes back at the other node gets what they missed, and what follows.
    gina.drop_connection().await;
    frank.expect_of("call:participant_reconnecting", &moving).await;
    change(&history, &frank, &moving, &[true, false]).await;
    let gina = gina.resume(cluster.node(1)).await;
    assert_eq!(gina.welcome["activeCalls"][0]["callId"], *moving, "{}", gina.welcome);
    expect_changes(&gina, &moving, "frank", &[true, false]).await;
    change(&history, &frank, &moving, &[true]).await;
    expect_changes(&gina, &moving, "frank", &[true]).await;

    coming(&redis);
    for node in 0..2 {
        expect_whole(&cluster, node, "redis").await;
    }
    expect_back(&frank, "gina", &moving).await;
    history.must(&carol, "call:accept", json!({"callId": ring})).await;
    for (near, far, call) in [(&alice, &bob, &call), (&frank, &gina, &moving), (&dave, &carol, &ring)] {
        assert_reaches(&history, near, far, call, true).await;
        assert_reaches(&history, far, near, call, true).await;
        history.must(far, "call:end", json!({"callId": call})).await;
        for side in [near, far] {
            side.expect_end(call, "completed").await;
        }
    }
    history.check(&cluster, &[&alice, &bob, &carol, &dave, &erin, &frank, &gina]).await;
    cluster.assert_no_takeovers();
    let polls = gauge(&cluster, 1, "carillon_database_polls_total").await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(gauge(&cluster, 1, "carillon_database_polls_total").await, polls, "all is well: nothing is looked up");
}

#[tokio::test]
async fn without_a_redis_that_hangs_events_and_rings_arrive_by_the_database() {
    life_goes_on_without_redis(Instance::pause, Instance::resume).await;
}

#[tokio::test]
async fn without_a_redis_that_was_killed_events_and_rings_arrive_by_the_database() {
    life_goes_on_without_redis(Instance::kill, Instance::start_again).await;
}

#[tokio::test]
async fn a_redis_that_comes_and_goes_is_lost_once() {
    let (cluster, redis) = on_own_redis().await;
    redis.kill();
    expect_loss(&cluster, 0, "redis").await;
    for _ in 0..3 {
        redis.start_again();
        while cluster.http(0).get("/readyz").await.body["bus"] != "up" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        redis.kill();
        while cluster.http(0).get("/readyz").await.body["bus"] == "up" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(loss(&cluster, 0, "redis").await.1.is_some(), "it counts as lost all the while");
    }
    redis.start_again();
    expect_whole(&cluster, 0, "redis").await;
}

#[tokio::test]
async fn a_ring_that_comes_by_the_database_does_not_disturb_who_talks() {
    let (cluster, redis) = on_own_redis().await;
    let history = History::default();
    let (alice, bob, call) = talk(&cluster, 0).await;
    let dave = cluster.connect(0, "dave", "phone").await;
    redis.kill();
    expect_loss(&cluster, 1, "redis").await;
    let ring = history.start(&dave, &["bob"]).await;
    change(&history, &alice, &call, &[true]).await;
    expect_changes(&bob, &call, "alice", &[true]).await;
    bob.expect_none("call:incoming", BY_DATABASE).await;
    redis.start_again();
    dave.expect_within(BY_DATABASE * 2, "call:busy", |e| e["callId"] == *ring && e["userId"] == "bob").await;
    dave.expect_end(&ring, "busy").await;
    for node in 0..2 {
        expect_whole(&cluster, node, "redis").await;
    }
    bob.expect_none_where("call:incoming", Duration::ZERO, |e| call_of(e) == Some(&ring)).await;
}

#[tokio::test]
async fn a_node_that_starts_without_redis_takes_calls_and_is_rung_by_the_database() {
    let (mut cluster, redis) = on_own_redis().await;
    let history = History::default();
    cluster.group("team", &["alice", "bob", "carol"]).await;
    let alice = cluster.connect(0, "alice", "phone").await;
    redis.kill();
    let late = cluster.add_node().await;
    expect_loss(&cluster, late, "redis").await;
    let bob = cluster.connect(late, "bob", "phone").await;
    let ring = history.start(&alice, &["bob"]).await;
    bob.expect_within(BY_DATABASE, "call:incoming", |e| call_of(e) == Some(&ring)).await;
    history.must(&alice, "call:cancel", json!({"callId": ring})).await;
    bob.expect_end_within(BY_DATABASE, &ring, "cancelled").await;
    // Who may look at a call is the same without its owner.
    let reply = alice.must("call:start", json!({"groupId": "team", "ring": false})).await;
    let call = reply["call"]["callId"].as_str().expect("an id");
    assert_eq!(bob.get(call).await["status"], "waiting");
    let stranger = cluster.connect(late, "mallory", "phone").await;
    let refused = stranger.refused("call:get", json!({"callId": call})).await;
    assert_eq!(refused.code, "not_found", "{refused:?}");
    redis.start_again();
    expect_whole(&cluster, late, "redis").await;
    history.must(&bob, "call:join", json!({"callId": call})).await;
    alice.expect_of("call:participant_joined", call).await;
    history.whole_call(&alice, &stranger).await;
}
