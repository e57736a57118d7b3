//! Rooms, tokens and the people in rooms, on a real livekit-server.

use std::time::{Duration, Instant};

use carillon::{
    domain::{DeviceId, Role, UserId},
    media::{Media, MediaError, Permissions, RoomParticipant},
};
use livekit_api::services::room::RoomClient;
use serde_json::{Value, json};

use crate::support::{
    TestCluster,
    livekit::{self, API_KEY, Instance, Joined, call_id},
    process::free_port,
    proxy::{Mode, Proxy},
};

/// Until something is so, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);
/// What a proxy says in place of a server that fails.
pub const ERROR_500: &str = "HTTP/1.1 500 Internal Server Error\r\ncontent-type: text/html\r\ncontent-length: 4\r\n\
                             connection: close\r\n\r\noops";

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

/// Waits until those who are in the room are as wanted.
async fn until_present(media: &Media, call: &str, is: impl Fn(&[RoomParticipant]) -> bool) -> Vec<RoomParticipant> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let present = media.room_participants(&call_id(call)).await.expect("livekit answers");
        if is(&present) {
            return present;
        }
        assert!(Instant::now() < deadline, "{present:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn has_room(media: &Media, call: &str) -> bool {
    media.rooms().await.expect("livekit answers").iter().any(|room| room.name == call)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_is_opened_and_closed_however_often_it_is_asked_for() {
    let Some(program) = livekit::program() else { return };
    let livekit = Instance::start(program).await;
    let media = livekit.media();
    let call = call_id("call-1");
    assert_eq!(media.room_participants(&call).await, Ok(vec![]), "no room, nobody in it");
    for _ in 0..2 {
        assert_eq!(media.open_room(&call, 10).await, Ok(()));
    }
    let rooms = media.rooms().await.unwrap();
    assert_eq!(rooms.len(), 1, "{rooms:?}");
    assert_eq!((rooms[0].name.as_str(), rooms[0].participants), ("call-1", 0));
    let age = carillon::clock::now().since(rooms[0].created_at);
    assert!(age < Duration::from_secs(60), "created {age:?} ago");
    for _ in 0..2 {
        assert_eq!(media.close_room(&call).await, Ok(()));
    }
    assert!(!has_room(&media, "call-1").await);
    let nobody = user("nobody");
    assert_eq!(media.remove(&call, &nobody).await, Ok(()));
    assert_eq!(media.set_permissions(&call, &nobody, Permissions::NONE).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_joins_with_a_token_is_known_by_user_and_device_and_is_removed_everywhere() {
    let Some(program) = livekit::program() else { return };
    let livekit = Instance::start(program).await;
    let media = livekit.media();
    let call = call_id("call-2");
    media.open_room(&call, 10).await.unwrap();
    let (odd, long) = ("o#dd us%er ~ü", "ä".repeat(128));
    let devices = [("alice", "phone"), ("alice", "laptop"), ("bob", "phone"), (odd, "#"), (&long, &long)];
    let mut joined = Vec::new();
    for (name, device) in devices {
        joined.push(Joined::join(&livekit, &livekit.token("call-2", name, device)).await.expect("the token is good"));
    }
    let present = until_present(&media, "call-2", |present| present.len() == devices.len()).await;
    let mut seen: Vec<_> = present.iter().map(|one| (one.user.as_str(), one.device.as_str())).collect();
    seen.sort_unstable();
    let mut wanted = devices.to_vec();
    wanted.sort_unstable();
    assert_eq!(seen, wanted);
    assert!(present.iter().all(|one| !one.publishing));

    // What they may do is changed at every device, while they are there.
    let listen = Permissions { subscribe: true, ..Permissions::NONE };
    assert_eq!(media.set_permissions(&call, &user("alice"), listen).await, Ok(()));
    let rooms = RoomClient::with_api_key(&livekit.url(), API_KEY, &livekit.api_secret);
    let mut may_publish: Vec<(String, bool)> = Vec::new();
    for one in rooms.list_participants("call-2").await.unwrap() {
        may_publish.push((one.identity, one.permission.unwrap().can_publish));
    }
    let of = |identity: &str| may_publish.iter().find(|(name, _)| name == identity).unwrap().1;
    assert!(!of("alice#phone") && !of("alice#laptop") && of("bob#phone"), "{may_publish:?}");
    // Nobody sends anything: there is nothing to mute.
    assert_eq!(media.mute(&call, &user("bob"), carillon::media::TrackKind::Audio, true).await, Ok(()));

    for gone in ["alice", odd, &long] {
        assert_eq!(media.remove(&call, &user(gone)).await, Ok(()));
    }
    let left = until_present(&media, "call-2", |present| present.len() == 1).await;
    assert_eq!(left[0].user.as_str(), "bob");
    let mut joined = joined.into_iter();
    assert!(joined.next().unwrap().closed(PATIENCE).await, "alice's phone has lost its connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_opens_its_own_room_only_and_administers_none() {
    let Some(program) = livekit::program() else { return };
    let livekit = Instance::start(program).await;
    let media = livekit.media();
    for name in ["call-a", "call-b"] {
        media.open_room(&call_id(name), 10).await.unwrap();
    }
    let (device, now) = (DeviceId::new("d").unwrap(), carillon::clock::now());
    let host = media.access_token(&call_id("call-a"), &user("h"), &device, Permissions::of(Role::Host), now).unwrap();
    let token = host.token.reveal();
    // The room stands in the token; a wish for another counts for nothing.
    let _in_a = Joined::join(&livekit, &format!("{token}&room=call-b")).await;
    until_present(&media, "call-a", |present| present.len() == 1).await;
    until_present(&media, "call-b", <[_]>::is_empty).await;

    let as_host = RoomClient::with_token(&livekit.url(), token);
    let refused = [
        as_host.list_rooms(vec![]).await.map(drop).unwrap_err().to_string(),
        as_host.list_participants("call-a").await.map(drop).unwrap_err().to_string(),
        as_host.remove_participant("call-a", "h#d").await.unwrap_err().to_string(),
        as_host.delete_room("call-a").await.unwrap_err().to_string(),
        as_host.create_room("call-c", Default::default()).await.map(drop).unwrap_err().to_string(),
    ];
    assert!(refused.iter().all(|said| said.contains("unauthenticated") || said.contains("permission")), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_does_not_outlive_its_room() {
    let Some(program) = livekit::program() else { return };
    let livekit = Instance::start(program).await;
    let media = livekit.media();
    media.open_room(&call_id("call-3"), 10).await.unwrap();
    let token = livekit.token("call-3", "alice", "phone");
    let alice = Joined::join(&livekit, &token).await.expect("the room is open");
    media.close_room(&call_id("call-3")).await.unwrap();
    assert!(alice.closed(PATIENCE).await, "the room's end is everybody's");
    assert!(Joined::join(&livekit, &token).await.is_err(), "a token makes no room");
    assert!(!has_room(&media, "call-3").await);
}

/// A group's call of three, on one node with this LiveKit; the kicked one is `carol`.
async fn kicked_from(cluster: &TestCluster) -> String {
    cluster.group("team", &["alice", "bob", "carol"]).await;
    let mut call = String::new();
    for name in ["alice", "bob", "carol"] {
        let client = cluster.connect(0, name, "phone").await;
        let reply = client.start_group("team", false).await;
        call = crate::support::moves::id_of(&reply);
    }
    let alice = cluster.connect(0, "alice", "phone").await;
    alice.must("call:kick", json!({"callId": call, "userId": "carol"})).await;
    call
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_kicked_is_put_out_of_the_room_whenever_they_come_back_with_their_token() {
    let Some(program) = livekit::program() else { return };
    let livekit = Instance::start(program).await;
    let settings = TestCluster::embedded().with_livekit(&livekit).set("CARILLON_RECONNECT_GRACE_SECS", 300);
    let cluster = settings.start().await;
    let call = kicked_from(&cluster).await;
    let media = livekit.media();
    media.open_room(&call_id(&call), 10).await.unwrap();
    let (carols, bobs) = (livekit.token(&call, "carol", "phone"), livekit.token(&call, "bob", "phone"));
    let _bob = Joined::join(&livekit, &bobs).await.expect("bob's token is good");
    for round in 0..2 {
        let carol = Joined::join(&livekit, &carols).await.expect("livekit knows of no kick");
        until_present(&media, &call, |present| present.len() == 2).await;
        for name in ["carol", "bob"] {
            // As LiveKit says it once media can flow; of this kind of client it would not say it.
            let event = crate::media_webhooks::event("participant_joined", &call, Some(name));
            let id = format!("joined-{round}-{name}");
            let told = crate::media_webhooks::tell(&cluster, 0, &livekit.api_secret, &id, event).await;
            assert_eq!(told.status, 200, "{told:?}");
        }
        assert!(carol.closed(PATIENCE).await, "carol is out");
        let left = until_present(&media, &call, |present| present.len() == 1).await;
        assert_eq!(left[0].user.as_str(), "bob", "who is in the call stays in the room");
    }
    let refused = cluster.rest(0, "carol").send("call:token", None, json!({"callId": call})).await;
    assert!(refused.body["media"].get("token").is_none(), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_answered_with_500_or_not_at_all_is_unavailable_and_can_be_repeated() {
    let Some(program) = livekit::program() else { return };
    let livekit = Instance::start(program).await;
    let link = Proxy::start(livekit.port(), 3);
    let media = livekit.media_at(&format!("http://127.0.0.1:{}", link.port()));
    let (direct, call) = (livekit.media(), call_id("call-4"));

    for mode in [Mode::Answer(ERROR_500), Mode::Refuse, Mode::Reset] {
        link.set(mode.clone());
        assert_eq!(media.open_room(&call, 10).await, Err(MediaError::Unavailable), "{mode:?}");
        assert_eq!(
            media.room_participants(&call).await,
            Err(MediaError::Unavailable),
            "unknown is not empty: {mode:?}"
        );
        assert!(media.rooms().await.is_err());
    }
    assert!(!has_room(&direct, "call-4").await);

    // It is done, and nobody is told: who asks again finds it done.
    link.set(Mode::HoldAnswers);
    assert_eq!(media.open_room(&call, 10).await, Err(MediaError::Unavailable));
    assert!(has_room(&direct, "call-4").await);
    link.set(Mode::Reset);
    link.mend();
    assert_eq!(media.open_room(&call, 10).await, Ok(()));
    assert_eq!(direct.rooms().await.unwrap().len(), 1, "one room, however often it was asked for");
    link.set(Mode::HoldAnswers);
    assert_eq!(media.close_room(&call).await, Err(MediaError::Unavailable));
    assert!(!has_room(&direct, "call-4").await);
    link.set(Mode::Reset);
    link.mend();
    assert_eq!(media.close_room(&call).await, Ok(()), "closed is closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_to_a_server_that_hangs_wait_for_nobody_else() {
    let Some(program) = livekit::program() else { return };
    let livekit = Instance::start(program).await;
    let link = Proxy::start(livekit.port(), 5);
    let media = livekit.media_at(&format!("http://127.0.0.1:{}", link.port()));
    link.set(Mode::Stall);
    let call = call_id("call-5");
    let asking: Vec<_> = (0..600).map(|_| media.room_participants(&call)).collect();
    let answers =
        tokio::time::timeout(PATIENCE, futures_util::future::join_all(asking)).await.expect("all are answered");
    assert!(answers.iter().all(|answer| *answer == Err(MediaError::Unavailable)));
    link.mend();
    let deadline = Instant::now() + PATIENCE;
    while media.room_participants(&call).await.is_err() {
        assert!(Instant::now() < deadline, "it comes back");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_webhook_about_the_room_of_a_call_that_is_over_closes_it() {
    let Some(program) = livekit::program() else { return };
    let port = free_port();
    let hook = format!("http://127.0.0.1:{port}/api/v1/livekit/webhook");
    let livekit = Instance::prepare(program).telling(hook);
    let settings = TestCluster::embedded().with_livekit(&livekit).set("CARILLON_LISTEN", format!("127.0.0.1:{port}"));
    let cluster = settings.start().await;
    livekit.launch().await;
    let (alice, bob) = (cluster.connect(0, "alice", "phone").await, cluster.connect(0, "bob", "phone").await);
    let (over, open) = (alice.call_through(&bob).await, "not-a-call-of-ours");
    alice.act("call:end", &over).await;
    bob.expect_end(&over, "completed").await;
    let running = alice.call_through(&bob).await;
    let media = livekit.media();
    for name in [&over, &running, open] {
        // The room may be gone before this is answered.
        let _ = media.open_room(&call_id(name), 10).await;
    }
    let deadline = Instant::now() + PATIENCE;
    while has_room(&media, &over).await {
        assert!(Instant::now() < deadline, "the room of the past stays open: {}", livekit.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(has_room(&media, &running).await && has_room(&media, open).await, "the others are left alone");
    let http = cluster.http(0);
    let webhooks =
        async |outcome: &str| http.metric(&format!("carillon_livekit_webhooks_total{{outcome=\"{outcome}\"}}")).await;
    assert!(webhooks("taken").await > Some(0.0));
    assert_eq!(webhooks("refused").await, Some(0.0), "every one of LiveKit's is understood");
    let said: Vec<Value> = cluster.node(0).logged("the room of a call that is over is closed");
    assert_eq!(said.len(), 1, "{said:?}");
}

/// Comes into the room once it is open.
async fn join_soon(livekit: &Instance, token: &str) -> Joined {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match Joined::join(livekit, token).await {
            Ok(joined) => return joined,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The token in a reply about a call on the media server.
fn token_of(cluster: &TestCluster, livekit: &Instance, call: &str, reply: &Value) -> String {
    let media = &reply["media"];
    assert_eq!((&media["mode"], &media["room"]), (&json!("sfu"), &json!(call)), "{media}");
    assert_eq!(media["url"], json!(livekit.url()), "where browsers reach it");
    assert!(media["expiresAt"].is_string() && media["iceServers"].is_array(), "{media}");
    let token = media["token"].as_str().expect("a token").to_owned();
    cluster.realm().canaries.forbid_token(&token);
    token
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_in_a_call_on_the_media_server_has_a_token_and_who_has_left_is_put_out_even_without_webhooks() {
    let Some(program) = livekit::program() else { return };
    let livekit = Instance::start(program).await;
    let settings = TestCluster::embedded().with_livekit(&livekit);
    // People who send no media do not become connected: the call is not to end for that.
    let cluster = settings.set("CARILLON_CONNECT_TIMEOUT_SECS", 1).start().await;
    let (alice, bob) = (cluster.connect(0, "alice", "phone").await, cluster.connect(0, "bob", "phone").await);
    let begun = alice.must("call:start", json!({"calleeIds": ["bob"], "mode": "sfu", "type": "video"})).await;
    let call = crate::support::moves::id_of(&begun);
    let alices = token_of(&cluster, &livekit, &call, &begun);
    bob.expect_of("call:incoming", &call).await;
    assert_eq!(bob.refused("call:token", json!({"callId": call})).await.code, "not_participant", "only rung");
    let bobs = token_of(&cluster, &livekit, &call, &bob.act("call:accept", &call).await);
    token_of(&cluster, &livekit, &call, &bob.act("call:token", &call).await);
    assert!(alices != bobs);

    let (alice_there, bob_there) = (join_soon(&livekit, &alices).await, join_soon(&livekit, &bobs).await);
    let media = livekit.media();
    let present = until_present(&media, &call, |present| present.len() == 2).await;
    let mut identities: Vec<_> = present.iter().map(|one| one.identity.as_str()).collect();
    identities.sort_unstable();
    assert_eq!(identities, ["alice#phone", "bob#phone"]);

    alice.must("call:invite", json!({"callId": call, "userIds": ["carol"]})).await;
    alice.must("call:kick", json!({"callId": call, "userId": "bob"})).await;
    assert!(bob_there.closed(PATIENCE).await, "put out by the kick");
    let again = Joined::join(&livekit, &bobs).await.expect("livekit knows of no kick");
    assert!(again.closed(PATIENCE).await, "put out by the owner's look: nothing was told by webhook");
    until_present(&media, &call, |present| present.len() == 1 && present[0].user.as_str() == "alice").await;

    alice.act("call:end", &call).await;
    alice.expect_of("call:ended", &call).await;
    assert!(alice_there.closed(PATIENCE).await, "the room ends with the call");
    // LiveKit takes it off its list after it has closed it.
    let deadline = Instant::now() + PATIENCE;
    while has_room(&media, &call).await {
        assert!(Instant::now() < deadline, "the room is gone");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
