//! A node that is told to stop: its calls go on elsewhere, and nobody in them notices more than a new connection.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::faults::{expect_back, move_to};
use crate::support::{
    TestClient, TestCluster,
    client::{Connect, Refused},
    cluster::ClusterBuilder,
    moves::{assert_code, candidate, participant},
    redis,
};

/// How long a node may take to leave on a machine that is busy with other tests. It is asked to take 10 s at most.
const LEAVE: Duration = Duration::from_secs(25);
/// How long a node that is gone may go unnoticed, and its calls without an owner.
const TAKEOVER: Duration = Duration::from_secs(10);

fn nodes(count: usize) -> ClusterBuilder {
    // A lease that outlasts every test: no call that changes its owner does so because a lease ran out.
    TestCluster::of(count).set("CARILLON_NODE_LEASE_SECS", 60)
}

/// The number of calls that a node took from one that left, by its log.
fn handed_to(cluster: &TestCluster, number: usize) -> usize {
    cluster.node(number).logged("call handed over").len()
}

fn renegotiations(client: &TestClient) -> usize {
    client.history().iter().filter(|received| received.event == "call:renegotiate").count()
}

/// Asserts that signals pass both ways.
async fn assert_talk(one: &TestClient, other: &TestClient, call: &str) {
    for (from, to) in [(one, other), (other, one)] {
        from.signal(call, &to.user, "ice_candidate", candidate(77)).await;
        to.expect("call:signal", |s| s["callId"] == call && s["payload"] == candidate(77)).await;
    }
}

#[tokio::test]
async fn a_node_that_leaves_hands_its_calls_over_and_nobody_is_told_to_renegotiate() {
    let mut cluster = nodes(2).start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let call = alice.call_through(&bob).await;
    cluster.node_mut(0).terminate(LEAVE).await;
    assert_eq!(alice.expect_closed(LEAVE).await.code, Some(1012));
    // At once: no lease has to run out first.
    bob.must("call:media", json!({"callId": call, "screen": true})).await;
    let alice = alice.resume(cluster.node(1)).await;
    expect_back(&bob, "alice", &call).await;
    assert_talk(&alice, &bob, &call).await;
    alice.act("call:end", &call).await;
    bob.expect_end(&call, "completed").await;
    alice.expect_end(&call, "completed").await;
    assert_eq!(handed_to(&cluster, 1), 1, "{}", cluster.node(1).log_tail());
    cluster.assert_no_takeovers();
    assert_eq!((renegotiations(&alice), renegotiations(&bob)), (0, 0));
}

#[tokio::test]
async fn a_call_goes_to_the_node_where_its_people_are() {
    let mut cluster = nodes(4).start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(2, "bob", "phone").await;
    let call = alice.call_through(&bob).await;
    let alice = move_to(&cluster, 2, alice, &bob, &call).await;
    cluster.node_mut(0).terminate(LEAVE).await;
    assert_talk(&alice, &bob, &call).await;
    assert_eq!((1..4).map(|number| handed_to(&cluster, number)).collect::<Vec<_>>(), [0, 1, 0]);
}

#[tokio::test]
async fn signals_in_a_stream_all_arrive_once_and_in_order_while_the_owner_leaves() {
    let cluster = nodes(3).start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(2, "bob", "phone").await;
    let call = alice.call_through(&bob).await;
    let alice = move_to(&cluster, 1, alice, &bob, &call).await;
    a_stream_while_the_owner_leaves(cluster, &alice, &bob, &call, (400, Duration::from_millis(5))).await;
}

#[cfg(feature = "failpoints")]
#[tokio::test]
async fn signals_in_a_stream_all_arrive_once_and_in_order_though_the_call_is_taken_later_than_its_owner_waits() {
    let late = "handed-before-take=1*sleep(2600)->off";
    let cluster = nodes(2).set_on(1, "FAILPOINTS", late).start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let call = alice.call_through(&bob).await;
    // Past the 2 s that the owner waits, and not past the taking, when alice is sent away.
    a_stream_while_the_owner_leaves(cluster, &alice, &bob, &call, (80, Duration::from_millis(30))).await;
}

async fn a_stream_while_the_owner_leaves(
    mut cluster: TestCluster,
    alice: &TestClient,
    bob: &TestClient,
    call: &str,
    (count, gap): (u64, Duration),
) {
    let sending = async {
        for number in 1000..1000 + count {
            alice.cast(
                "call:signal",
                json!({"callId": call, "type": "ice_candidate", "to": "bob", "payload": candidate(number)}),
            );
            tokio::time::sleep(gap).await;
        }
    };
    let leaving = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        cluster.node_mut(0).terminate(LEAVE).await;
    };
    tokio::join!(sending, leaving);
    for number in 1000..1000 + count {
        let this = candidate(number);
        bob.expect("call:signal", |s| s["callId"] == call && s["payload"] == this).await;
    }
    let signals: Vec<Value> = bob.history().into_iter().filter(|r| r.event == "call:signal").map(|r| r.data).collect();
    let of_stream = |s: &&Value| (1000..1000 + count).any(|number| s["payload"] == candidate(number));
    assert_eq!(signals.iter().filter(of_stream).count() as u64, count, "each once");
    let numbers: Vec<u64> = signals.iter().filter_map(|s| s["sig"].as_u64()).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
    assert!(!alice.history().iter().any(|r| r.event == "error"), "{:?}", alice.history());
    cluster.assert_no_takeovers();
}

#[tokio::test]
async fn signals_for_a_device_that_is_away_are_kept_by_the_next_owner() {
    let mut cluster = nodes(2).start().await;
    let alice = cluster.connect(1, "alice", "phone").await;
    let mut bob = cluster.connect(0, "bob", "phone").await;
    // Owned by node 0: whoever calls, calls from there.
    let call = bob.call_through(&alice).await;
    bob.drop_connection().await;
    alice.expect_of("call:participant_reconnecting", &call).await;
    for number in 500..503 {
        let payload = candidate(number);
        alice
            .must("call:signal", json!({"callId": call, "type": "ice_candidate", "to": "bob", "payload": payload}))
            .await;
    }
    cluster.node_mut(0).terminate(LEAVE).await;
    let bob = bob.resume(cluster.node(1)).await;
    for number in 500..503 {
        let this = candidate(number);
        bob.expect("call:signal", |s| s["callId"] == *call && s["payload"] == this).await;
    }
    assert_eq!(handed_to(&cluster, 1), 1);
    assert_eq!(renegotiations(&bob), 0);
}

#[tokio::test]
async fn a_ringing_call_that_is_handed_over_is_answered_and_another_is_missed_on_time() {
    let mut cluster = nodes(3).set("CARILLON_RING_TIMEOUT_SECS", 12).start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let carol = cluster.connect(0, "carol", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let dave = cluster.connect(2, "dave", "phone").await;
    let began = Instant::now();
    let (first, second) = (alice.start(&["bob"]).await, carol.start(&["dave"]).await);
    bob.expect_of("call:incoming", &first).await;
    dave.expect_of("call:incoming", &second).await;
    cluster.node_mut(0).terminate(LEAVE).await;
    bob.act("call:accept", &first).await;
    let alice = alice.resume(cluster.node(1)).await;
    let call = alice.get(&first).await;
    assert!(crate::support::moves::is_in(&call, "bob"), "{call}");
    let missed = dave.expect_within(LEAVE, "call:missed", |e| e["callId"] == *second).await;
    let after = missed.at - began;
    assert!(after >= Duration::from_millis(11_900), "missed {after:?} after the start, too early");
    cluster.assert_no_takeovers();
}

#[tokio::test]
async fn a_node_that_leaves_is_alive_and_not_ready_and_takes_nothing_new() {
    let mut cluster = nodes(2).start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    // A client that never answers a Close keeps the node for as long as it has patience.
    let stubborn = cluster.connect(0, "stubborn", "phone").await;
    stubborn.stop_reading();
    let http = cluster.http(0);
    assert_eq!(http.status("/readyz").await, Some(200));
    let call = alice.call_through(&bob).await;
    let node = cluster.node_mut(0);
    node.signal(libc::SIGTERM);
    let told = Instant::now();
    let mut seen = Vec::new();
    while let Some(ready) = http.status("/readyz").await {
        seen.push((ready, http.status("/livez").await));
        if ready == 503
            && !seen.iter().any(|(ready, _)| *ready == 0)
            && let Err(Refused::Upgrade(status)) = Connect::to(cluster.node(0), "late", "phone").go().await
        {
            seen.push((0, Some(status)));
        }
        assert!(told.elapsed() < LEAVE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(seen.contains(&(503, Some(200))), "{seen:?}");
    assert!(seen.contains(&(0, Some(503))), "a new socket is refused: {seen:?}");
    cluster.node_mut(0).terminate(LEAVE).await;
    bob.must("call:media", json!({"callId": call, "screen": true})).await;
}

#[tokio::test]
async fn nodes_that_all_leave_at_once_leave_their_calls_to_the_next() {
    let mut cluster = nodes(2).start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let call = alice.call_through(&bob).await;
    for number in 0..2 {
        cluster.node(number).signal(libc::SIGTERM);
    }
    for number in 0..2 {
        cluster.node_mut(number).terminate(LEAVE).await;
    }
    let next = cluster.add_node().await;
    let alice = alice.resume(cluster.node(next)).await;
    let bob = bob.resume(cluster.node(next)).await;
    assert_talk(&alice, &bob, &call).await;
    let now = alice.get(&call).await;
    assert_eq!(participant(&now, "bob")["status"], "joined", "{now}");
}

#[tokio::test]
async fn without_redis_a_node_leaves_all_the_same_and_its_calls_are_taken_over() {
    let own = std::sync::Arc::new(redis::Instance::start());
    let mut cluster = nodes(2).on_redis(own.clone()).start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let call = alice.call_through(&bob).await;
    own.kill();
    cluster.node_mut(0).terminate(LEAVE).await;
    own.start_again();
    let alice = alice.resume(cluster.node(1)).await;
    let deadline = Instant::now() + TAKEOVER;
    loop {
        match alice.call("call:media", json!({"callId": call, "screen": true})).await {
            Ok(_) => break,
            Err(error) => assert_code(&error, &["unavailable"]),
        }
        assert!(Instant::now() < deadline, "the call has no owner: {}", cluster.node(1).log_tail());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    bob.expect("call:participant_updated", |e| e["callId"] == *call && e["changes"]["screen"] == true).await;
}
