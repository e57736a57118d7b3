//! A call goes from a node of one release to one of the other: because its owner died, leaves, or was taken for dead.

use std::time::Duration;

use serde_json::json;

use super::{EITHER, LEAVE, assert_talk, mixed};
use crate::{
    faults::{TAKEOVER, assert_reaches, checker::History, expect_back, talk},
    support::{TestClient, TestCluster, moves::candidate},
};

#[tokio::test]
async fn the_calls_of_a_node_that_dies_are_taken_over_by_the_other_release() {
    for previous in EITHER {
        let history = History::default();
        let mut cluster = mixed(2, [previous]).start().await;
        let (alice, bob, call) = talk(&cluster, 0).await;
        history.include(&call);
        let carol = cluster.connect(0, "carol", "phone").await;
        let dave = cluster.connect(1, "dave", "phone").await;
        let ring = history.start(&carol, &["dave"]).await;
        dave.expect_of("call:incoming", &ring).await;
        for side in [&alice, &bob] {
            assert_reaches(&history, side, if side.user == "alice" { &bob } else { &alice }, &call, true).await;
        }
        cluster.node_mut(0).kill();
        let alice = alice.resume(cluster.node(1)).await;
        let told = bob.expect_within(TAKEOVER, "call:renegotiate", |e| e["callId"] == *call).await;
        assert!(told.data["epoch"].as_u64() > Some(1), "{}", told.data);
        assert_reaches(&history, &alice, &bob, &call, false).await;
        assert_reaches(&history, &bob, &alice, &call, false).await;
        history.must(&dave, "call:accept", json!({"callId": ring})).await;
        let carol = carol.resume(cluster.node(1)).await;
        history.must(&carol, "call:end", json!({"callId": ring})).await;
        dave.expect_end_within(TAKEOVER, &ring, "completed").await;
        // Back to the release that the call came from: a node of it comes up, and this one dies.
        cluster.replace(0).await;
        let alice = alice.resume(cluster.node(0)).await;
        expect_back(&bob, "alice", &call).await;
        cluster.node_mut(1).kill();
        let bob = bob.resume(cluster.node(0)).await;
        assert_reaches(&history, &bob, &alice, &call, true).await;
        history.must(&alice, "call:end", json!({"callId": call})).await;
        for side in [&alice, &bob] {
            side.expect_end_within(TAKEOVER, &call, "completed").await;
        }
        history.check(&cluster, &[&alice, &bob]).await;
    }
}

fn renegotiations(client: &TestClient) -> usize {
    client.history().iter().filter(|received| received.event == "call:renegotiate").count()
}

/// Node 0 leaves and hands its calls to node 1, of the other release: nobody in them is told anything.
async fn leaves(cluster: &mut TestCluster) {
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let call = alice.call_through(&bob).await;
    let carol = cluster.connect(0, "carol", "phone").await;
    let dave = cluster.connect(1, "dave", "phone").await;
    let ring = carol.start(&["dave"]).await;
    dave.expect_of("call:incoming", &ring).await;
    // A device that is away: what it is sent is in the memory of the owner, and goes along.
    let mut erin = cluster.connect(0, "erin", "phone").await;
    let frank = cluster.connect(1, "frank", "phone").await;
    let third = erin.call_through(&frank).await;
    erin.drop_connection().await;
    frank.expect_of("call:participant_reconnecting", &third).await;
    for number in 500..503 {
        frank.signal(&third, "erin", "ice_candidate", candidate(number)).await;
    }
    cluster.node_mut(0).terminate(LEAVE).await;
    assert_eq!(alice.expect_closed(LEAVE).await.code, Some(1012));
    bob.must("call:media", json!({"callId": call, "screen": true})).await;
    dave.act("call:accept", &ring).await;
    let alice = alice.resume(cluster.node(1)).await;
    expect_back(&bob, "alice", &call).await;
    assert_talk(&alice, &bob, &call).await;
    let erin = erin.resume(cluster.node(1)).await;
    for number in 500..503 {
        let this = candidate(number);
        erin.expect("call:signal", |s| s["callId"] == *third && s["payload"] == this).await;
    }
    let carol = carol.resume(cluster.node(1)).await;
    carol.negotiate(&dave, &ring).await;
    for (one, other, call) in [(&alice, &bob, &call), (&carol, &dave, &ring), (&erin, &frank, &third)] {
        one.act("call:end", call).await;
        for side in [one, other] {
            side.expect_end(call, "completed").await;
            assert_eq!(renegotiations(side), 0, "{} is told to renegotiate", side.user);
        }
    }
    assert_eq!(cluster.node(1).logged("call handed over").len(), 3, "{}", cluster.node(1).log_tail());
    cluster.assert_no_takeovers();
}

#[tokio::test]
async fn a_node_that_leaves_hands_its_calls_to_the_other_release_and_nothing_is_lost() {
    for previous in EITHER {
        // A lease that outlasts the test: no call changes its owner because a lease ran out.
        let mut cluster = mixed(2, [previous]).set("CARILLON_NODE_LEASE_SECS", 60).start().await;
        leaves(&mut cluster).await;
    }
}

#[tokio::test]
async fn an_owner_that_was_taken_for_dead_is_fenced_by_the_epoch_of_the_other_release() {
    for previous in EITHER {
        let history = History::default();
        let cluster = mixed(2, [previous]).start().await;
        let alice = cluster.connect(0, "alice", "phone").await;
        let near = cluster.connect(0, "bob", "near").await;
        let far = cluster.connect(1, "bob", "far").await;
        let call = history.start(&alice, &["bob"]).await;
        for device in [&near, &far] {
            device.expect_of("call:incoming", &call).await;
        }
        let about = json!({"callId": call});
        cluster.node(0).freeze().await;
        let asked = history.once(&near, "call:accept", about.clone());
        let woken = async {
            history.must(&far, "call:accept", about.clone()).await;
            cluster.node(0).signal(libc::SIGCONT);
        };
        let (accepted, ()) = tokio::join!(asked, woken);
        assert!(accepted.is_err(), "the sleeper's accept comes too late: {accepted:?}");
        alice.expect_within(TAKEOVER, "call:accepted", |e| e["callId"] == *call && e["deviceId"] == "far").await;
        near.expect_within(TAKEOVER, "call:accepted_elsewhere", |e| e["callId"] == *call).await;
        assert_reaches(&history, &far, &alice, &call, true).await;
        history.must(&alice, "call:end", about).await;
        for device in [&alice, &near, &far] {
            device.expect_end_within(TAKEOVER + Duration::from_secs(5), &call, "completed").await;
        }
        history.check(&cluster, &[&alice, &near, &far]).await;
    }
}
