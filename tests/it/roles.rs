//! Roles, lobby, hold and transfer, as clients meet them: over sockets on one node and on two, and over REST.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    scenarios::On,
    support::{
        TestClient, TestCluster,
        moves::{assert_code, candidate, id_of, participant},
    },
};

const SOON: Duration = Duration::from_millis(300);

/// A group call of alice (its host), bob and carol; dave is a member too.
struct Party {
    cluster: TestCluster,
    alice: TestClient,
    bob: TestClient,
    carol: TestClient,
    dave: TestClient,
    call: String,
}

impl Party {
    async fn begin(on: On) -> Self {
        let cluster = on.cluster().start().await;
        cluster.group("team", &["alice", "bob", "carol", "dave"]).await;
        let alice = cluster.connect(0, "alice", "laptop").await;
        let bob = cluster.connect(1, "bob", "phone").await;
        let carol = cluster.connect(0, "carol", "phone").await;
        let dave = cluster.connect(1, "dave", "phone").await;
        let call = id_of(&alice.start_group("team", false).await);
        for client in [&bob, &carol] {
            client.act("call:join", &call).await;
            alice.expect_of("call:participant_joined", &call).await;
        }
        Self { cluster, alice, bob, carol, dave, call }
    }

    fn about(&self, user: &str) -> Value {
        json!({"callId": self.call, "userId": user})
    }
}

async fn moderation(on: On) {
    let party = Party::begin(on).await;
    let Party { alice, bob, carol, call, .. } = &party;
    for command in ["call:kick", "call:admit", "call:deny"] {
        assert_code(&bob.refused(command, party.about("carol")).await, &["forbidden"]);
    }
    assert_code(&party.dave.refused("call:kick", party.about("bob")).await, &["not_participant"]);
    bob.must("call:media", json!({"callId": call, "audio": true})).await;
    alice.must("call:mute", json!({"callId": call, "track": "audio"})).await;
    let asked = bob.expect_of("call:mute_requested", call).await;
    assert_eq!((&asked["userIds"], &asked["track"], &asked["by"]), (&json!(["bob"]), &json!("audio"), &json!("alice")));
    bob.must("call:raise_hand", json!({"callId": call, "raised": true})).await;
    alice.expect("call:hand_raised", |e| e["callId"] == **call && e["userId"] == "bob" && e["raised"] == true).await;

    alice.must("call:kick", party.about("bob")).await;
    for client in [alice, bob, carol] {
        client.expect("call:kicked", |e| e["callId"] == **call && e["userId"] == "bob" && e["by"] == "alice").await;
    }
    let signal = json!({"callId": call, "type": "offer", "payload": {}, "to": "carol"});
    assert_code(&bob.refused("call:signal", signal).await, &["not_participant"]);
    assert_code(&bob.try_act("call:join", call).await.unwrap_err(), &["forbidden"]);
    assert_code(&bob.refused("call:start", json!({"groupId": "team"})).await, &["forbidden"]);
    assert_code(&carol.refused("call:invite", json!({"callId": call, "userIds": ["bob"]})).await, &["forbidden"]);
    alice.must("call:invite", json!({"callId": call, "userIds": ["bob"]})).await;
    bob.expect_of("call:incoming", call).await;
    bob.act("call:accept", call).await;

    alice.must("call:role", json!({"callId": call, "userId": "carol", "role": "cohost"})).await;
    bob.expect("call:participant_updated", |e| e["userId"] == "carol" && e["changes"]["role"] == "cohost").await;
    alice.act("call:leave", call).await;
    let next = |e: &Value| e["userId"] == "carol" && e["changes"]["role"] == "host";
    bob.expect("call:participant_updated", next).await;
    carol.act("call:end", call).await;
    bob.expect_end(call, "completed").await;
}

async fn a_lobby(on: On) {
    let party = Party::begin(on).await;
    let Party { cluster, alice, bob, dave, call, .. } = &party;
    alice.must("call:lock", json!({"callId": call, "locked": true})).await;
    bob.expect("call:state", |e| e["callId"] == **call && e["locked"] == true).await;
    assert_code(&dave.try_act("call:join", call).await.unwrap_err(), &["call_locked"]);
    alice.must("call:lock", json!({"callId": call, "locked": true, "lobby": true})).await;
    assert_eq!(dave.act("call:join", call).await, json!({"lobby": true}));
    assert_eq!(dave.act("call:join", call).await, json!({"lobby": true}), "again");
    alice.expect("call:lobby_waiting", |e| e["callId"] == **call && e["userId"] == "dave").await;
    alice.must("call:deny", party.about("dave")).await;
    dave.expect("call:denied", |e| e["callId"] == **call && e["userId"] == "dave").await;

    assert_eq!(dave.act("call:join", call).await, json!({"lobby": true}));
    alice.must("call:admit", party.about("dave")).await;
    for client in [alice, dave] {
        client.expect("call:admitted", |e| e["callId"] == **call && e["userId"] == "dave").await;
        client.expect("call:participant_joined", |e| e["userId"] == "dave").await;
    }
    dave.signal(call, "alice", "offer", candidate(1)).await;
    alice.expect("call:signal", |s| s["callId"] == **call && s["from"] == "dave").await;

    // Who waits and goes away has given up their place.
    cluster.group("team", &["erin"]).await;
    let mut erin = cluster.connect(1, "erin", "phone").await;
    assert_eq!(erin.must("call:start", json!({"groupId": "team"})).await, json!({"lobby": true}));
    alice.expect("call:lobby_waiting", |e| e["userId"] == "erin").await;
    erin.drop_connection().await;
    alice.expect("call:participant_left", |e| e["userId"] == "erin" && e["reason"] == "connection_lost").await;
}

async fn a_transfer(on: On) {
    let cluster = on.cluster().start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let carol = cluster.connect(0, "carol", "phone").await;
    let call = alice.call_through(&bob).await;
    bob.act("call:hold", &call).await;
    alice.expect("call:held", |e| e["callId"] == *call && e["userId"] == "bob").await;
    bob.act("call:resume", &call).await;
    alice.expect("call:resumed", |e| e["callId"] == *call && e["userId"] == "bob").await;

    let to = |user: &str| json!({"callId": call, "toUserId": user});
    let asked = bob.must("call:transfer", to("carol")).await;
    assert_eq!(participant(&asked["call"], "carol")["status"], "invited", "{asked}");
    let rung = carol.expect_of("call:incoming", &call).await;
    assert_eq!(rung["from"], "bob", "{rung}");
    alice.expect("call:participant_invited", |e| e["callId"] == *call && e["transfer"] == true).await;
    carol.act("call:decline", &call).await;
    for client in [&alice, &bob] {
        client.expect("call:declined", |e| e["callId"] == *call && e["userId"] == "carol").await;
        client.expect_none("call:ended", SOON).await;
    }
    bob.must("call:transfer", to("carol")).await;
    carol.expect_of("call:incoming", &call).await;
    carol.act("call:accept", &call).await;
    for client in [&alice, &bob, &carol] {
        client.expect("call:transferred", |e| e["userId"] == "bob" && e["toUserId"] == "carol").await;
    }
    alice.signal(&call, "carol", "offer", candidate(2)).await;
    carol.expect("call:signal", |s| s["callId"] == *call && s["from"] == "alice").await;
    let late = json!({"callId": call, "type": "offer", "payload": {}, "to": "alice"});
    assert_code(&bob.refused("call:signal", late).await, &["not_participant"]);
    carol.act("call:end", &call).await;
    alice.expect_end(&call, "completed").await;
}

async fn over_rest(on: On) {
    let party = Party::begin(on).await;
    let Party { cluster, alice, bob, dave, call, .. } = &party;
    let host = cluster.rest(1, "alice").at("laptop");
    let guest = cluster.rest(0, "bob").at("phone");
    let refused = guest.send("call:kick", None, party.about("carol")).await;
    assert_eq!((refused.status, refused.code()), (403, "forbidden"), "{refused:?}");
    let path = |whom: &str| format!("/api/v1/calls/{call}/participants/{whom}");
    let raised = guest.request("PATCH", &path("me"), Some(json!({"handRaised": true, "deviceId": "phone"}))).await;
    assert!(raised.ok(), "{raised:?}");
    alice.expect("call:hand_raised", |e| e["userId"] == "bob" && e["raised"] == true).await;
    for (change, event) in [(json!({"held": true}), "call:held"), (json!({"held": false}), "call:resumed")] {
        assert!(guest.request("PATCH", &path("bob"), Some(change)).await.ok());
        alice.expect(event, |e| e["userId"] == "bob").await;
    }
    let others = guest.request("PATCH", &path("carol"), Some(json!({"held": true}))).await;
    assert_eq!((others.status, others.code()), (403, "forbidden"), "{others:?}");
    let both = guest.request("PATCH", &path("me"), Some(json!({"held": true, "audio": true}))).await;
    assert_eq!((both.status, both.code()), (400, "invalid"), "{both:?}");
    let promoted = host.request("PATCH", &path("bob"), Some(json!({"role": "cohost"}))).await;
    assert!(promoted.ok(), "{promoted:?}");
    bob.expect("call:participant_updated", |e| e["userId"] == "bob" && e["changes"]["role"] == "cohost").await;

    host.must("call:lock", json!({"callId": call, "locked": false, "lobby": true})).await;
    let waiting = cluster.rest(0, "dave").at("phone").must("call:join", json!({"callId": call})).await;
    assert_eq!(waiting, json!({"lobby": true}));
    guest.must("call:admit", party.about("dave")).await;
    dave.expect("call:admitted", |e| e["userId"] == "dave").await;
    guest.must("call:mute", json!({"callId": call, "track": "screen"})).await;
    guest.must("call:kick", party.about("carol")).await;
    party.carol.expect("call:kicked", |e| e["userId"] == "carol" && e["by"] == "bob").await;
    let transferred = host.send("call:transfer", None, json!({"callId": call, "toUserId": "frank"})).await;
    assert_eq!((transferred.status, transferred.code()), (409, "wrong_state"), "{transferred:?}");
}

macro_rules! on_one_and_two_nodes {
    ($($scene:ident => $one:ident, $two:ident;)*) => {$(
        #[tokio::test]
        async fn $one() {
            $scene(On::Embedded).await;
        }

        #[tokio::test]
        async fn $two() {
            $scene(On::TwoNodes).await;
        }
    )*};
}

on_one_and_two_nodes! {
    moderation => a_host_kicks_mutes_and_hands_on_their_part, a_host_kicks_mutes_and_hands_on_their_part_across_nodes;
    a_lobby => who_comes_to_a_lobby_waits_to_be_let_in, who_comes_to_a_lobby_waits_to_be_let_in_across_nodes;
    a_transfer => a_call_is_held_and_transferred, a_call_is_held_and_transferred_across_nodes;
    over_rest => everything_a_host_does_can_be_done_over_rest, everything_a_host_does_can_be_done_over_rest_across_nodes;
}
