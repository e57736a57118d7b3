//! Calls that move to the media server, and calls that begin there: with a real livekit-server, or with one that only
//! says what a test tells it to.
//!
//! Here nobody sends media: LiveKit lets a participant in by its signal socket, and calls them joined only when their
//! media could flow. That word is told in its place, by a webhook signed as LiveKit signs them.

mod fake;
mod faults;
mod moving;
mod rooms;

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{
    media_webhooks::{event, tell},
    support::{
        TestClient, TestCluster,
        livekit::{Instance, Joined},
        moves::id_of,
    },
};

/// Until something is so that takes LiveKit and some nodes, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// Waits for an event of this call, on a busy machine.
pub async fn expect(client: &TestClient, event: &str, call: &str) -> Value {
    client.expect_within(PATIENCE, event, |data| data["callId"] == *call).await.data
}

/// Waits until the client is asked into the room; its `media`.
pub async fn asked_in(client: &TestClient, call: &str) -> Value {
    let asked = expect(client, "call:escalating", call).await;
    let media = asked["media"].clone();
    assert_eq!((media["mode"].as_str(), media["room"].as_str()), (Some("p2p"), Some(call)), "{asked}");
    assert!(asked["cause"].is_string() && asked["deadline"].is_string(), "{asked}");
    media
}

/// Opens the signal socket with the token in `media`, as a client does.
pub async fn come_to_the_door(livekit: &Instance, media: &Value) -> Joined {
    let token = media["token"].as_str().unwrap_or_else(|| panic!("no token in {media}"));
    match Joined::join(livekit, token).await {
        Ok(joined) => joined,
        Err(why) => panic!("livekit does not let them in: {why}"),
    }
}

/// Has a node hear that LiveKit has seen this user's phone come, or go.
pub async fn told(cluster: &TestCluster, node: usize, livekit: &Instance, kind: &str, call: &str, user: &str) {
    let id = format!("{:032x}", rand::random::<u128>());
    let told = tell(cluster, node, &livekit.api_secret, &id, event(kind, call, Some(user))).await;
    assert_eq!(told.status, 200, "{told:?}");
}

/// Comes into the room, and a node hears of it.
pub async fn come_in(
    cluster: &TestCluster,
    node: usize,
    livekit: &Instance,
    call: &str,
    client: &TestClient,
    media: &Value,
) -> Joined {
    let joined = come_to_the_door(livekit, media).await;
    told(cluster, node, livekit, "participant_joined", call, &client.user).await;
    joined
}

/// Waits until LiveKit has a room of this name, or has none.
pub async fn until_room(livekit: &Instance, call: &str, wanted: bool) {
    let media = livekit.media();
    let deadline = Instant::now() + 2 * PATIENCE;
    loop {
        let rooms = media.rooms().await.unwrap_or_default();
        let answers = media.probe().await.is_ok();
        if answers && rooms.iter().any(|room| room.name == call) == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "room of {call} wanted: {wanted}; {rooms:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until these users, in order, are in the room.
pub async fn until_in_room(livekit: &Instance, call: &str, wanted: &[&str]) {
    let media = livekit.media();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let present = media.room_participants(&crate::support::livekit::call_id(call)).await.unwrap_or_default();
        let mut users: Vec<&str> = present.iter().map(|p| p.user.as_str()).collect();
        users.sort_unstable();
        if users == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "{users:?} are in the room, wanted {wanted:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// alice and bob in a group's call that grows: alice on node 0, which owns it, bob on node 1.
pub async fn in_a_group(cluster: &TestCluster) -> (TestClient, TestClient, String) {
    cluster.group("team", &["alice", "bob", "carol"]).await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let call = id_of(&alice.start_group("team", false).await);
    bob.act("call:join", &call).await;
    alice.expect_of("call:participant_joined", &call).await;
    alice.negotiate(&bob, &call).await;
    (alice, bob, call)
}
