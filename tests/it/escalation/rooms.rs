//! Who may be in a room, and how long the room lasts.

use std::time::Duration;

use serde_json::{Value, json};

use super::{PATIENCE, come_to_the_door, told, until_in_room, until_room};
use crate::support::{
    TestClient, TestCluster,
    livekit::{self, Instance, Joined},
    moves::id_of,
    proxy::{Mode, Proxy},
};

/// alice, bob and carol in a group's call on the media server, all in its room; and what each was given to come in with.
async fn three_in_a_room(cluster: &TestCluster, livekit: &Instance) -> (String, Vec<(TestClient, Value, Joined)>) {
    cluster.group("team", &["alice", "bob", "carol"]).await;
    let mut there = Vec::new();
    let mut call = String::new();
    for (node, name) in ["alice", "bob", "carol"].into_iter().enumerate() {
        let client = cluster.connect(node, name, "phone").await;
        let reply = if node == 0 {
            client.must("call:start", json!({"groupId": "team", "ring": false, "mode": "sfu"})).await
        } else {
            client.act("call:join", &call).await
        };
        call = id_of(&reply);
        let joined = super::come_in(cluster, 0, livekit, &call, &client, &reply["media"]).await;
        there.push((client, reply["media"].clone(), joined));
    }
    until_in_room(livekit, &call, &["alice", "bob", "carol"]).await;
    (call, there)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_kicked_is_out_of_the_room_and_the_token_they_have_does_not_keep_them_there() {
    let Some(program) = livekit::program() else { return };
    let livekit = Instance::start(program).await;
    let cluster = TestCluster::two_nodes().with_livekit(&livekit).start().await;
    let (call, mut there) = three_in_a_room(&cluster, &livekit).await;
    let (bob, token, joined) = there.remove(1);
    let alice = &there[0].0;
    alice.must("call:kick", json!({"callId": call, "userId": "bob"})).await;
    assert!(joined.closed(PATIENCE).await, "bob is put out of the room");
    until_in_room(&livekit, &call, &["alice", "carol"]).await;
    assert_eq!(bob.refused("call:token", json!({"callId": call})).await.code, "not_participant");

    // Back with the token he has, and LiveKit says so.
    let again = come_to_the_door(&livekit, &token).await;
    told(&cluster, 1, &livekit, "participant_joined", &call, "bob").await;
    assert!(again.closed(PATIENCE).await, "bob is put out again");
    // And once more, with the webhook lost: a look into the room finds him.
    let again = come_to_the_door(&livekit, &token).await;
    assert!(again.closed(PATIENCE).await, "bob is put out again");
    until_in_room(&livekit, &call, &["alice", "carol"]).await;
    // The events that asked him in are not told again with another token.
    let events = bob.must("call:sync", json!({"callId": call, "seq": 1})).await;
    assert!(!events.to_string().contains("\"token\""), "{events}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_is_out_of_the_room_too() {
    let Some(program) = livekit::program() else { return };
    let livekit = Instance::start(program).await;
    let cluster = TestCluster::embedded().with_livekit(&livekit).start().await;
    let (call, mut there) = three_in_a_room(&cluster, &livekit).await;
    let (carol, _, joined) = there.remove(2);
    carol.act("call:leave", &call).await;
    assert!(joined.closed(PATIENCE).await);
    until_in_room(&livekit, &call, &["alice", "bob"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_is_closed_also_when_livekit_was_away_as_the_call_ended() {
    let Some(program) = livekit::program() else { return };
    let livekit = Instance::start(program).await;
    let link = Proxy::start(livekit.port(), 11);
    let url = format!("ws://127.0.0.1:{}", link.port());
    let cluster = TestCluster::embedded().with_livekit_at(&livekit, &url).start().await;
    let (call, there) = three_in_a_room(&cluster, &livekit).await;
    link.set(Mode::Refuse);
    let (alice, _, _) = &there[0];
    alice.act("call:end", &call).await;
    // Long enough for the first tries to be in vain.
    tokio::time::sleep(Duration::from_secs(3)).await;
    until_room(&livekit, &call, true).await;
    link.mend();
    until_room(&livekit, &call, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_that_livekit_has_lost_is_opened_again_while_the_call_goes_on() {
    let Some(program) = livekit::program() else { return };
    let livekit = Instance::start(program).await;
    let cluster = TestCluster::embedded().with_livekit(&livekit).start().await;
    let (call, _there) = three_in_a_room(&cluster, &livekit).await;
    livekit.media().close_room(&livekit::call_id(&call)).await.unwrap();
    until_room(&livekit, &call, false).await;
    until_room(&livekit, &call, true).await;
}
