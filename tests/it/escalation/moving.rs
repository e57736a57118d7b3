//! Moving there, make before break: by request, by a third, and what becomes of it when it cannot.

use serde_json::json;

use super::{PATIENCE, asked_in, come_in, come_to_the_door, expect, in_a_group, told, until_room};
use crate::support::{
    TestCluster,
    cluster::ClusterBuilder,
    livekit::{self, Instance},
    moves::{assert_code, candidate, participant},
};

async fn moves_on_request(builder: ClusterBuilder, livekit: &Instance) {
    let cluster = builder.with_livekit(livekit).start().await;
    let (alice, bob) = (cluster.connect(0, "alice", "phone").await, cluster.connect(1, "bob", "phone").await);
    let tablet = cluster.connect(1, "bob", "tablet").await;
    let call = alice.call_through(&bob).await;
    assert_eq!(bob.act("call:token", &call).await["media"]["token"], json!(null), "nothing to come into yet");

    let asked = bob.act("call:escalate", &call).await;
    assert_eq!((&asked["call"]["mode"], &asked["call"]["escalating"]["by"]), (&json!("p2p"), &json!("bob")), "{asked}");
    let begins = alice.expect("call:state", |e| e["escalating"].is_object()).await;
    assert_eq!(begins["escalating"]["cause"], "requested", "{begins}");
    let (of_alice, of_bob) = (asked_in(&alice, &call).await, asked_in(&bob, &call).await);
    assert_ne!(of_alice["token"], of_bob["token"], "each has a token of their own");
    assert_eq!(of_bob["url"], json!(livekit.url()));
    let elsewhere = tablet.expect_of("call:escalating", &call).await;
    assert_eq!(elsewhere["media"], json!(null), "only the device in the call is asked in: {elsewhere}");
    until_room(livekit, &call, true).await;

    let _one = come_in(&cluster, 0, livekit, &call, &alice, &of_alice).await;
    // Peer to peer as before, until everybody is there.
    alice.signal(&call, "bob", "ice_candidate", candidate(7)).await;
    bob.expect("call:signal", |s| s["payload"] == candidate(7)).await;
    assert_eq!(alice.get(&call).await["mode"], "p2p");
    let _two = come_in(&cluster, 1, livekit, &call, &bob, &of_bob).await;
    for side in [&alice, &bob] {
        assert_eq!(expect(side, "call:escalated", &call).await["mode"], "sfu");
        let media = side.act("call:token", &call).await["media"].clone();
        assert!(media["mode"] == "sfu" && media["token"].is_string(), "{media}");
    }
    let now = alice.get(&call).await;
    assert_eq!((&now["mode"], &now["escalating"]), (&json!("sfu"), &json!(null)), "{now}");
    assert_eq!(alice.act("call:escalate", &call).await["call"]["mode"], "sfu", "it is there");
    alice.act("call:end", &call).await;
    bob.expect_end(&call, "completed").await;
    until_room(livekit, &call, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_moves_to_the_media_server_on_request_and_its_room_is_closed_with_it() {
    let Some(program) = livekit::program() else { return };
    let livekit = Instance::start(program).await;
    moves_on_request(TestCluster::embedded(), &livekit).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_across_two_nodes_moves_to_the_media_server_on_request() {
    let Some(program) = livekit::program() else { return };
    let livekit = Instance::start(program).await;
    moves_on_request(TestCluster::two_nodes(), &livekit).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_third_who_joins_moves_the_call_and_talks_by_the_room() {
    let Some(program) = livekit::program() else { return };
    let livekit = Instance::start(program).await;
    let cluster = TestCluster::two_nodes().with_livekit(&livekit).start().await;
    let (alice, bob, call) = in_a_group(&cluster).await;
    let carol = cluster.connect(1, "carol", "phone").await;
    carol.act("call:join", &call).await;
    let mut there = Vec::new();
    for (node, client) in [(1, &carol), (0, &alice), (1, &bob)] {
        let media = asked_in(client, &call).await;
        there.push(come_in(&cluster, node, &livekit, &call, client, &media).await);
    }
    for client in [&alice, &bob, &carol] {
        expect(client, "call:escalated", &call).await;
        client.expect("call:state", |e| e["connected"] == json!(["carol"])).await;
    }
    assert_eq!(participant(&alice.get(&call).await, "carol")["status"], "joined");
    alice.act("call:end", &call).await;
    until_room(&livekit, &call, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_somebody_does_not_come_along_with_stays_as_it_was() {
    let Some(program) = livekit::program() else { return };
    let livekit = Instance::start(program).await;
    let settings = TestCluster::two_nodes().with_livekit(&livekit);
    let cluster = settings.set("CARILLON_ESCALATION_TIMEOUT_SECS", 3).start().await;
    let (alice, bob) = (cluster.connect(0, "alice", "phone").await, cluster.connect(1, "bob", "phone").await);
    let call = alice.call_through(&bob).await;
    alice.act("call:escalate", &call).await;
    let media = asked_in(&alice, &call).await;
    let alone = come_in(&cluster, 0, &livekit, &call, &alice, &media).await;
    // bob comes to the door, and his media never flow.
    let media = asked_in(&bob, &call).await;
    let _door = come_to_the_door(&livekit, &media).await;
    for side in [&alice, &bob] {
        let aborted = expect(side, "call:escalation_aborted", &call).await;
        assert_eq!((&aborted["reason"], &aborted["mode"]), (&json!("not_connected"), &json!("p2p")), "{aborted}");
    }
    assert!(alone.closed(PATIENCE).await, "the room is closed");
    until_room(&livekit, &call, false).await;
    let now = bob.get(&call).await;
    assert_eq!((&now["mode"], &now["status"]), (&json!("p2p"), &json!("active")), "{now}");
    bob.signal(&call, "alice", "ice_candidate", candidate(8)).await;
    alice.expect("call:signal", |s| s["payload"] == candidate(8)).await;
    assert_code(&bob.refused("call:escalate", json!({"callId": call})).await, &["media_unavailable"]);
    bob.act("call:leave", &call).await;
    alice.expect_end(&call, "completed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_in_the_middle_does_not_hold_up_the_others() {
    let Some(program) = livekit::program() else { return };
    let livekit = Instance::start(program).await;
    let cluster = TestCluster::embedded().with_livekit(&livekit).start().await;
    let (alice, bob, call) = in_a_group(&cluster).await;
    let carol = cluster.connect(1, "carol", "phone").await;
    carol.act("call:join", &call).await;
    let mut there = Vec::new();
    for client in [&alice, &bob] {
        let media = asked_in(client, &call).await;
        there.push(come_in(&cluster, 0, &livekit, &call, client, &media).await);
    }
    carol.act("call:leave", &call).await;
    for client in [&alice, &bob] {
        expect(client, "call:escalated", &call).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_away_when_it_began_is_asked_in_when_they_are_back_on_another_node() {
    let Some(program) = livekit::program() else { return };
    let livekit = Instance::start(program).await;
    let cluster = TestCluster::two_nodes().with_livekit(&livekit).start().await;
    let (alice, mut bob) = (cluster.connect(0, "alice", "phone").await, cluster.connect(1, "bob", "phone").await);
    let call = alice.call_through(&bob).await;
    bob.drop_connection().await;
    alice.expect_of("call:participant_reconnecting", &call).await;
    alice.act("call:escalate", &call).await;
    let media = asked_in(&alice, &call).await;
    let _one = come_in(&cluster, 0, &livekit, &call, &alice, &media).await;
    let bob = bob.resume(cluster.node(0)).await;
    let media = asked_in(&bob, &call).await;
    // And one who has nothing gets the whole call, and the way into the room with it.
    let synced = bob.must("call:sync", json!({"callId": call, "seq": 0})).await;
    let whole = &synced["events"][0]["data"];
    assert!(whole["snapshot"] == true && whole["call"]["escalating"].is_object(), "{synced}");
    assert!(whole["media"]["token"].is_string() && whole["media"]["mode"] == "p2p", "{synced}");
    let _two = come_in(&cluster, 1, &livekit, &call, &bob, &media).await;
    for side in [&alice, &bob] {
        expect(side, "call:escalated", &call).await;
    }
    // What was missed is told again without a way in to who has none any more.
    let seq = bob.order().seq(&call).unwrap();
    alice.must("call:end", json!({"callId": call})).await;
    bob.expect_end(&call, "completed").await;
    let again = bob.must("call:sync", json!({"callId": call, "seq": 3})).await;
    let events = again["events"].as_array().unwrap();
    assert!(seq > 3 && events.iter().any(|e| e["event"] == "call:escalating"), "{again}");
    assert!(events.iter().all(|e| e["data"]["media"].is_null()), "the call is over: {again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_starts_on_the_media_server_is_active_with_two_in_the_room() {
    let Some(program) = livekit::program() else { return };
    let livekit = Instance::start(program).await;
    let cluster = TestCluster::two_nodes().with_livekit(&livekit).start().await;
    let (alice, bob) = (cluster.connect(0, "alice", "phone").await, cluster.connect(1, "bob", "phone").await);
    let started = alice.must("call:start", json!({"calleeIds": ["bob"], "mode": "sfu"})).await;
    let call = crate::support::moves::id_of(&started);
    assert_eq!(started["call"]["mode"], "sfu");
    // The room is there before its starter hears of it.
    let one = come_in(&cluster, 1, &livekit, &call, &alice, &started["media"]).await;
    bob.expect_of("call:incoming", &call).await;
    assert_code(&bob.refused("call:token", json!({"callId": call})).await, &["not_participant"]);
    let accepted = bob.act("call:accept", &call).await;
    assert_eq!(accepted["call"]["status"], "connecting");
    let two = come_in(&cluster, 0, &livekit, &call, &bob, &accepted["media"]).await;
    for side in [&alice, &bob] {
        side.expect_within(PATIENCE, "call:state", |e| e["callId"] == call && e["status"] == "active").await;
    }
    // LiveKit's word that somebody is gone is not the call's.
    told(&cluster, 0, &livekit, "participant_left", &call, "bob").await;
    assert_eq!(participant(&alice.get(&call).await, "bob")["status"], "joined");
    bob.act("call:end", &call).await;
    alice.expect_end(&call, "completed").await;
    assert!(one.closed(PATIENCE).await && two.closed(PATIENCE).await, "the room is closed");
    until_room(&livekit, &call, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_moves_by_rest_too() {
    let Some(program) = livekit::program() else { return };
    let livekit = Instance::start(program).await;
    let cluster = TestCluster::embedded().with_livekit(&livekit).start().await;
    let (alice, bob) = (cluster.connect(0, "alice", "phone").await, cluster.connect(0, "bob", "phone").await);
    let call = alice.call_through(&bob).await;
    let answer = cluster.rest(0, "bob").at("phone").must("call:escalate", json!({"callId": call})).await;
    assert_eq!(answer["call"]["escalating"]["by"], "bob", "{answer}");
    asked_in(&alice, &call).await;
    asked_in(&bob, &call).await;
    alice.act("call:end", &call).await;
    until_room(&livekit, &call, false).await;
}
