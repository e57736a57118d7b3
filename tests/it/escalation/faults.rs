//! What breaks in the middle of a move: LiveKit, the node that owns the call, a node that is told to stop.

use std::time::Duration;

use serde_json::json;

use super::{PATIENCE, asked_in, come_in, expect, until_room};
use crate::support::{
    TestClient, TestCluster,
    cluster::ClusterBuilder,
    livekit::{self, Instance},
    moves::candidate,
    proxy::{Mode, Proxy},
};

/// Of a node that is told to stop, on a busy machine.
const LEAVE: Duration = Duration::from_secs(25);

fn nodes(livekit: &Instance) -> ClusterBuilder {
    // A takeover on a busy machine takes a part of the time that a move has.
    let settings = TestCluster::of(3).with_livekit(livekit).set("CARILLON_NODE_LEASE_SECS", 2);
    settings.set("CARILLON_ESCALATION_TIMEOUT_SECS", 60).set("CARILLON_RECONNECT_GRACE_SECS", 60)
}

/// alice on node 0, which owns the call, and bob on node 1, on their way; alice is in the room already.
struct OnTheWay {
    alice: TestClient,
    bob: TestClient,
    call: String,
    of_bob: serde_json::Value,
    _in_room: livekit::Joined,
}

async fn on_the_way(cluster: &TestCluster, livekit: &Instance) -> OnTheWay {
    let (alice, bob) = (cluster.connect(0, "alice", "phone").await, cluster.connect(1, "bob", "phone").await);
    let call = alice.call_through(&bob).await;
    bob.act("call:escalate", &call).await;
    let (of_alice, of_bob) = (asked_in(&alice, &call).await, asked_in(&bob, &call).await);
    let in_room = come_in(cluster, 0, livekit, &call, &alice, &of_alice).await;
    let seen = |e: &serde_json::Value| e["userId"] == "alice" && e["changes"]["inRoom"] == true;
    bob.expect_within(PATIENCE, "call:participant_updated", seen).await;
    OnTheWay { alice, bob, call, of_bob, _in_room: in_room }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_whose_owner_dies_is_finished_by_the_next() {
    let Some(program) = livekit::program() else { return };
    let livekit = Instance::start(program).await;
    let mut cluster = nodes(&livekit).start().await;
    let OnTheWay { alice, bob, call, of_bob, _in_room } = on_the_way(&cluster, &livekit).await;
    cluster.node_mut(0).kill();
    let alice = alice.resume(cluster.node(2)).await;
    bob.expect_within(PATIENCE, "call:renegotiate", |e| e["callId"] == *call).await;
    let _two = come_in(&cluster, 1, &livekit, &call, &bob, &of_bob).await;
    for side in [&alice, &bob] {
        expect(side, "call:escalated", &call).await;
    }
    assert_eq!(bob.get(&call).await["mode"], "sfu");
    bob.act("call:end", &call).await;
    alice.expect_end(&call, "completed").await;
    until_room(&livekit, &call, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_whose_owner_dies_and_that_nobody_follows_is_given_up_by_the_next() {
    let Some(program) = livekit::program() else { return };
    let livekit = Instance::start(program).await;
    let mut cluster = nodes(&livekit).set("CARILLON_ESCALATION_TIMEOUT_SECS", 12).start().await;
    let OnTheWay { alice, bob, call, .. } = on_the_way(&cluster, &livekit).await;
    cluster.node_mut(0).kill();
    let alice = alice.resume(cluster.node(2)).await;
    for side in [&alice, &bob] {
        assert_eq!(expect(side, "call:escalation_aborted", &call).await["reason"], "not_connected");
    }
    assert_eq!(bob.get(&call).await["mode"], "p2p");
    until_room(&livekit, &call, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_goes_on_when_its_owner_is_told_to_stop() {
    let Some(program) = livekit::program() else { return };
    let livekit = Instance::start(program).await;
    let mut cluster = nodes(&livekit).set("CARILLON_NODE_LEASE_SECS", 60).start().await;
    let OnTheWay { alice, bob, call, of_bob, _in_room } = on_the_way(&cluster, &livekit).await;
    cluster.node_mut(0).terminate(LEAVE).await;
    let alice = alice.resume(cluster.node(2)).await;
    let _two = come_in(&cluster, 2, &livekit, &call, &bob, &of_bob).await;
    for side in [&alice, &bob] {
        expect(side, "call:escalated", &call).await;
    }
    cluster.assert_no_takeovers();
    alice.act("call:end", &call).await;
    until_room(&livekit, &call, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_is_given_up_while_livekit_is_away_and_the_call_goes_on() {
    let Some(program) = livekit::program() else { return };
    let livekit = Instance::start(program).await;
    for mode in [Mode::Refuse, Mode::Stall] {
        let link = Proxy::start(livekit.port(), 5);
        let url = format!("ws://127.0.0.1:{}", link.port());
        let cluster = TestCluster::embedded().with_livekit_at(&livekit, &url).start().await;
        let (alice, bob) = (cluster.connect(0, "alice", "phone").await, cluster.connect(0, "bob", "phone").await);
        let call = alice.call_through(&bob).await;
        link.set(mode);
        match alice.try_act("call:escalate", &call).await {
            Ok(_) => {
                for side in [&alice, &bob] {
                    let aborted = expect(side, "call:escalation_aborted", &call).await;
                    assert_eq!(aborted["reason"], "room_unavailable", "{aborted}");
                    side.expect_none("call:escalating", Duration::ZERO).await;
                }
            }
            // The node has noticed in the moment between.
            Err(refusal) => assert_eq!(refusal.code, "media_unavailable"),
        }
        // From now on it is refused at once, and a third is one more of a mesh.
        assert_eq!(bob.refused("call:escalate", json!({"callId": call})).await.code, "media_unavailable");
        alice.signal(&call, "bob", "ice_candidate", candidate(9)).await;
        bob.expect("call:signal", |s| s["payload"] == candidate(9)).await;
        link.mend();
        alice.act("call:end", &call).await;
        bob.expect_end(&call, "completed").await;
        until_room(&livekit, &call, false).await;
    }
}
