//! The edge: sessions from hello to close, and refusals that leave them standing.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{
    Connect, Refused, TestClient, TestCluster,
    client::PATIENCE,
    inbox::WireError,
    moves::{assert_code, sdp},
};

const QUIET: Duration = Duration::from_millis(300);

/// The largest frame the protocol allows.
const MAX_FRAME: usize = 128 * 1024;

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The refusal in the `error` event that answers what has no id.
async fn error_event(client: &TestClient) -> WireError {
    WireError::from_json(&client.expect("error", |_| true).await["error"])
}

#[tokio::test]
async fn a_hello_in_the_first_frame_is_answered_with_the_session() {
    let cluster = TestCluster::embedded().start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let welcome = &alice.welcome;
    assert_eq!((&welcome["userId"], &welcome["deviceId"]), (&json!("alice"), &json!("phone")), "{welcome}");
    for text in ["sessionId", "nodeId", "serverTime"] {
        assert!(welcome[text].is_string(), "{text}: {welcome}");
    }
    assert!(welcome["pingIntervalSecs"].as_u64() > Some(0), "{welcome}");
    assert_eq!(welcome["activeCalls"], json!([]), "{welcome}");
    let nameless = Connect::to(cluster.node(0), "alice", "").silent().go().await.unwrap();
    let token = cluster.token("alice");
    let welcome = nameless.must("session:hello", json!({"token": token})).await;
    assert!(!welcome["deviceId"].as_str().unwrap().is_empty(), "a device id is made: {welcome}");
}

#[tokio::test]
async fn a_token_in_the_header_needs_no_hello() {
    let cluster = TestCluster::embedded().start().await;
    let alice = Connect::to(cluster.node(0), "alice", "phone").by_header().silent().go().await.unwrap();
    let welcome = alice.expect("session:welcome", |_| true).await;
    assert_eq!(welcome["userId"], "alice", "{welcome}");
    alice.assert_alive().await;
    // A hello sent nevertheless is answered and names the device.
    let named = Connect::to(cluster.node(0), "alice", "laptop").by_header().go().await.unwrap();
    assert_eq!(named.welcome["deviceId"], "laptop", "{}", named.welcome);
}

#[tokio::test]
async fn who_says_no_hello_within_five_seconds_is_closed_with_4001() {
    let cluster = TestCluster::embedded().start().await;
    let start = Instant::now();
    let silent = Connect::to(cluster.node(0), "alice", "phone").silent().go().await.unwrap();
    let closed = silent.expect_closed(Duration::from_secs(10)).await;
    assert_eq!(closed.code, Some(4001), "{closed:?}");
    assert_eq!(closed.reason["code"], "unauthenticated", "{closed:?}");
    let waited = start.elapsed();
    assert!(waited > Duration::from_secs(4) && waited < Duration::from_secs(8), "after {waited:?}");
}

#[tokio::test]
async fn a_command_before_the_hello_is_refused() {
    let cluster = TestCluster::embedded().start().await;
    let stranger = Connect::to(cluster.node(0), "alice", "phone").silent().go().await.unwrap();
    let refused = stranger.refused("call:start", json!({"calleeIds": ["bob"]})).await;
    assert_code(&refused, &["unauthenticated"]);
}

#[tokio::test]
async fn a_bad_token_is_refused_by_frame_and_by_header() {
    let cluster = TestCluster::embedded().start().await;
    let realm = cluster.realm();
    let soon = now() + 3600;
    let foreign = {
        let key = jsonwebtoken::EncodingKey::from_secret(b"another secret");
        let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
        jsonwebtoken::encode(&header, &json!({"sub": "alice", "exp": soon}), &key).unwrap()
    };
    let bad = [
        ("no token at all", "garbage".to_owned()),
        ("signed by another", foreign),
        ("without sub", realm.token_with(&json!({"exp": soon}))),
        ("without exp", realm.token_with(&json!({"sub": "alice"}))),
        ("exp as a string", realm.token_with(&json!({"sub": "alice", "exp": soon.to_string()}))),
        ("not yet", realm.token_with(&json!({"sub": "alice", "exp": soon + 7200, "nbf": soon}))),
        ("an empty user", realm.token_with(&json!({"sub": "", "exp": soon}))),
        ("a user of 129 characters", realm.token_with(&json!({"sub": "u".repeat(129), "exp": soon}))),
    ];
    for (what, token) in bad {
        match Connect::to(cluster.node(0), "alice", "phone").token(&token).go().await {
            Err(Refused::Hello(error, Some(closed))) => {
                assert_eq!(error.code, "unauthenticated", "{what}: {error:?}");
                assert_eq!(closed.code, Some(4001), "{what}: {closed:?}");
            }
            other => panic!("{what}: {:?}", other.err()),
        }
        match Connect::to(cluster.node(0), "alice", "phone").token(&token).by_header().silent().go().await {
            Err(Refused::Upgrade(status)) => assert_eq!(status, 401, "{what}"),
            other => panic!("{what} by header: {:?}", other.err()),
        }
    }
}

#[tokio::test]
async fn an_expired_token_is_refused_as_such() {
    let cluster = TestCluster::embedded().start().await;
    let expired = cluster.realm().token_with(&json!({"sub": "alice", "exp": now() - 3600}));
    match Connect::to(cluster.node(0), "alice", "phone").token(&expired).go().await {
        Err(Refused::Hello(error, Some(closed))) => {
            assert_eq!((error.code.as_str(), closed.code), ("token_expired", Some(4002)), "{closed:?}");
        }
        other => panic!("{:?}", other.err()),
    }
}

#[tokio::test]
async fn a_token_in_the_query_string_is_not_accepted() {
    let cluster = TestCluster::embedded().start().await;
    for name in ["token", "access_token", "auth"] {
        let path = format!("/ws?{name}={}", cluster.token("alice"));
        match Connect::to(cluster.node(0), "alice", "phone").path(&path).silent().go().await {
            Ok(client) => {
                assert_code(&client.refused("presence:get", json!({"userIds": ["bob"]})).await, &["unauthenticated"]);
            }
            Err(Refused::Upgrade(status)) => assert!((400..500).contains(&status), "{status}"),
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_session_is_told_before_its_token_ends_and_ends_with_it() {
    let cluster = TestCluster::embedded().start().await;
    let start = Instant::now();
    // Its end is less than 60 s away: the warning comes at once.
    let alice = Connect::to(cluster.node(0), "alice", "phone").token_ttl(Duration::from_secs(4)).go().await.unwrap();
    let expiring = alice.expect("session:expiring", |_| true).await;
    assert!(expiring["expiresAt"].is_string(), "{expiring}");
    // The warning of this one lies in the near future.
    let bob = Connect::to(cluster.node(0), "bob", "phone").token_ttl(Duration::from_secs(63)).go().await.unwrap();
    bob.expect_none("session:expiring", QUIET).await;
    bob.expect("session:expiring", |_| true).await;
    let closed = alice.expect_closed(Duration::from_secs(10)).await;
    assert_eq!(closed.code, Some(4002), "{closed:?}");
    assert_eq!(closed.reason["code"], "token_expired", "{closed:?}");
    assert!(start.elapsed() > Duration::from_secs(2), "not before its time: {:?}", start.elapsed());
}

#[tokio::test]
async fn a_refreshed_session_outlives_its_first_token() {
    let cluster = TestCluster::embedded().start().await;
    let alice = Connect::to(cluster.node(0), "alice", "phone").token_ttl(Duration::from_secs(3)).go().await.unwrap();
    let other = alice.refused("session:refresh", json!({"token": cluster.token("mallory")})).await;
    assert_code(&other, &["forbidden", "unauthenticated"]);
    let garbage = alice.refused("session:refresh", json!({"token": "garbage"})).await;
    assert_code(&garbage, &["unauthenticated"]);
    alice.must("session:refresh", json!({"token": cluster.token("alice")})).await;
    // Past the end of the first token, with whatever skew a server may grant a second one.
    tokio::time::sleep(Duration::from_secs(6)).await;
    alice.assert_alive().await;
}

#[tokio::test]
async fn a_second_session_of_the_same_device_replaces_the_first() {
    let cluster = TestCluster::two_nodes().start().await;
    let first = cluster.connect(0, "alice", "phone").await;
    let second = cluster.connect(0, "alice", "phone").await;
    let closed = first.expect_closed(PATIENCE).await;
    assert_eq!(closed.code, Some(4003), "{closed:?}");
    second.assert_alive().await;
    let elsewhere = cluster.connect(1, "alice", "phone").await;
    let closed = second.expect_closed(PATIENCE).await;
    assert_eq!(closed.code, Some(4003), "also on another node: {closed:?}");
    let laptop = cluster.connect(1, "alice", "laptop").await;
    elsewhere.assert_alive().await;
    laptop.assert_alive().await;
}

#[tokio::test]
async fn a_replaced_session_does_not_drop_its_user_out_of_the_call() {
    let cluster = TestCluster::two_nodes().set("CARILLON_RECONNECT_GRACE_SECS", 1).start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let call = alice.call_through(&bob).await;
    let again = Connect::to(cluster.node(0), "bob", "phone").resuming(bob.order()).go().await.unwrap();
    assert_eq!(bob.expect_closed(PATIENCE).await.code, Some(4003));
    alice.expect_none("call:participant_left", Duration::from_secs(2)).await;
    again.act("call:end", &call).await;
    alice.expect_end(&call, "completed").await;
}

#[tokio::test]
async fn a_frame_over_128_kib_ends_the_session_with_4009_and_one_of_just_that_does_not() {
    let cluster = TestCluster::embedded().start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let frame = |length: usize| {
        let empty = json!({"event": "presence:get", "data": {"userIds": ["bob"], "padding": ""}}).to_string();
        empty.replace("\"\"", &format!("\"{}\"", "x".repeat(length - empty.len())))
    };
    assert_eq!(frame(MAX_FRAME).len(), MAX_FRAME);
    alice.send_text(frame(MAX_FRAME));
    alice.assert_alive().await;
    alice.send_text(frame(MAX_FRAME + 1));
    let closed = alice.expect_closed(PATIENCE).await;
    assert_eq!(closed.code, Some(4009), "{closed:?}");
}

#[tokio::test]
async fn a_message_in_fragments_over_128_kib_ends_the_session_with_4009() {
    use tokio_tungstenite::tungstenite::protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    };
    let cluster = TestCluster::embedded().start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    for number in 0..5 {
        let opcode = OpCode::Data(if number == 0 { Data::Text } else { Data::Continue });
        alice.send_raw(Message::Frame(Frame::message(vec![b'x'; 32 * 1024], opcode, number == 4)));
    }
    let closed = alice.expect_closed(PATIENCE).await;
    assert_eq!(closed.code, Some(4009), "{closed:?}");
}

#[tokio::test]
async fn frames_that_are_no_command_are_refused_with_a_code_and_the_session_survives() {
    let cluster = TestCluster::embedded().start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let long_id = json!({"id": "i".repeat(65), "event": "presence:get", "data": {"userIds": ["bob"]}}).to_string();
    let deep = format!("{{\"event\":\"call:start\",\"data\":{}1{}}}", "[".repeat(5000), "]".repeat(5000));
    let frames = [
        ("bad JSON", "{\"id\":"),
        ("no JSON", "hello"),
        ("nothing", ""),
        ("JSON that is no object", "[1,2,3]"),
        ("no event", "{\"id\":null}"),
        ("an event that is no string", "{\"event\":7}"),
        ("an id that is no string", "{\"id\":7,\"event\":\"presence:get\",\"data\":{\"userIds\":[\"bob\"]}}"),
        ("an id of 65 characters", &long_id),
        ("a hundred levels and more", &deep),
        ("an unknown command without an id", "{\"event\":\"call:teleport\",\"data\":{}}"),
    ];
    for (what, frame) in frames {
        alice.send_text(frame);
        let error = error_event(&alice).await;
        assert_eq!(error.code, "invalid", "{what}: {error:?}");
        alice.assert_alive().await;
    }
}

#[tokio::test]
async fn wrong_types_are_refused_with_a_code_and_the_session_survives() {
    let cluster = TestCluster::embedded().start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let too_many: Vec<String> = (0..101).map(|n| format!("u{n}")).collect();
    let commands = [
        ("call:start", json!({})),
        ("call:start", json!({"calleeIds": "bob"})),
        ("call:start", json!({"calleeIds": []})),
        ("call:start", json!({"calleeIds": [7]})),
        ("call:start", json!({"calleeIds": [""]})),
        ("call:start", json!({"calleeIds": ["x".repeat(129)]})),
        ("call:start", json!({"calleeIds": ["a\u{0}b"]})),
        ("call:start", json!({"calleeIds": ["alice"]})),
        ("call:start", json!({"calleeIds": ["bob"], "type": "smoke_signals"})),
        ("call:start", json!({"calleeIds": ["bob"], "callId": "a/b"})),
        ("call:start", json!({"calleeIds": ["bob"], "callId": 7})),
        ("call:start", json!({"calleeIds": ["bob"], "ringTimeoutSecs": -1})),
        ("call:start", json!({"calleeIds": ["bob"], "ringTimeoutSecs": 1e300})),
        ("call:start", json!({"calleeIds": ["bob"], "metadata": [1]})),
        ("call:start", json!("bob")),
        ("call:start", Value::Null),
        ("call:accept", json!({})),
        ("call:accept", json!({"callId": null})),
        ("call:accept", json!({"callId": ["a"]})),
        ("call:media", json!({"callId": "c", "audio": "yes"})),
        ("call:signal", json!({"callId": "c", "type": "offer"})),
        ("call:sync", json!({"callId": "c", "seq": "one"})),
        ("presence:get", json!({"userIds": too_many})),
        ("session:refresh", json!({"token": 7})),
    ];
    for (command, data) in commands {
        let error = alice.refused(command, data.clone()).await;
        assert_eq!(error.code, "invalid", "{command} {data}: {error:?}");
    }
    let metadata = json!({"calleeIds": ["bob"], "metadata": {"m": "x".repeat(9000)}});
    assert_code(&alice.refused("call:start", metadata).await, &["too_large", "invalid"]);
    alice.assert_alive().await;
}

#[tokio::test]
async fn unknown_commands_are_refused_with_a_code_and_the_session_survives() {
    let cluster = TestCluster::embedded().start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    // Events are no commands.
    for command in ["call:teleport", "call:incoming", "call:accepted", "CALL:START", "", "call:held", "call:kicked"] {
        let error = alice.refused(command, json!({"callId": "c", "userId": "bob"})).await;
        assert_eq!(error.code, "invalid", "{command}: {error:?}");
    }
    alice.assert_alive().await;
}

#[tokio::test]
async fn a_command_about_somebody_elses_call_finds_nothing() {
    let cluster = TestCluster::two_nodes().start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let call = alice.call_through(&bob).await;
    let ringing = cluster.connect(0, "carol", "phone").await.start(&["dave"]).await;
    for number in [0, 1] {
        let mallory = cluster.connect(number, "mallory", "phone").await;
        for call in [&call, &ringing, &"no-such-call".to_owned()] {
            let about = json!({"callId": call});
            for command in ["call:accept", "call:decline", "call:busy", "call:ringing", "call:cancel", "call:join"] {
                assert_eq!(mallory.refused(command, about.clone()).await.code, "not_found", "{command}");
            }
            for command in ["call:leave", "call:end", "call:get"] {
                assert_eq!(mallory.refused(command, about.clone()).await.code, "not_found", "{command}");
            }
            let commands = [
                ("call:media", json!({"callId": call, "audio": false})),
                ("call:invite", json!({"callId": call, "userIds": ["eve"]})),
                ("call:sync", json!({"callId": call, "seq": 0})),
                ("call:signal", json!({"callId": call, "to": "bob", "type": "offer", "payload": sdp("offer")})),
            ];
            for (command, data) in commands {
                assert_eq!(mallory.refused(command, data).await.code, "not_found", "{command}");
            }
        }
        mallory.assert_alive().await;
        assert!(mallory.history().is_empty(), "hears nothing of it: {:?}", mallory.history());
    }
    bob.expect_none("call:signal", QUIET).await;
    assert_eq!(alice.get(&call).await["status"], "active");
}

#[tokio::test]
async fn a_signal_to_somebody_who_is_not_in_the_call_is_refused() {
    let cluster = TestCluster::two_nodes().start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let eve = cluster.connect(1, "eve", "phone").await;
    let call = alice.call_through(&bob).await;
    for to in ["eve", "nobody"] {
        let signal = json!({"callId": call, "to": to, "type": "offer", "payload": sdp("offer")});
        assert_code(&alice.refused("call:signal", signal).await, &["not_participant"]);
    }
    eve.expect_none("call:signal", QUIET).await;
    let unknown_kind = json!({"callId": call, "to": "bob", "type": "smoke", "payload": {}});
    assert_code(&alice.refused("call:signal", unknown_kind).await, &["invalid"]);
    alice.assert_alive().await;
}

#[tokio::test]
async fn a_payload_over_64_kib_is_too_large_and_the_session_survives() {
    let cluster = TestCluster::embedded().start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(0, "bob", "phone").await;
    let call = alice.call_through(&bob).await;
    let signal = |bytes: usize| {
        let payload = json!({"sdp": "s".repeat(bytes)});
        json!({"callId": call, "to": "bob", "type": "offer", "payload": payload})
    };
    alice.must("call:signal", signal(60 * 1024)).await;
    bob.expect_of("call:signal", &call).await;
    assert_code(&alice.refused("call:signal", signal(66 * 1024)).await, &["too_large"]);
    bob.expect_none("call:signal", QUIET).await;
    alice.assert_alive().await;
}

#[tokio::test]
async fn a_close_is_answered_and_the_connection_ended_every_time() {
    let cluster = TestCluster::embedded().start().await;
    let node = cluster.node(0);
    let closing = (0..40).map(|n| async move {
        let client = TestClient::connect(node, "alice", &format!("device {n}")).await;
        client.send_raw(Message::Ping(b"anybody there?".as_slice().into()));
        client.assert_alive().await;
        let start = Instant::now();
        // Like a browser, the client leaves it to the server to end the connection.
        let closed = client.close().await;
        assert!(closed.code.is_none() || closed.code == Some(1000), "{closed:?}");
        start.elapsed()
    });
    let times = futures_util::future::join_all(closing).await;
    println!("the slowest of 40 took {:?}", times.iter().max());
}

#[tokio::test]
async fn a_node_that_is_told_to_stop_sends_its_clients_away_with_a_hint() {
    let mut cluster = TestCluster::two_nodes().set("CARILLON_DRAIN_SECS", 2).start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    cluster.node_mut(0).terminate(Duration::from_secs(15)).await;
    let closed = alice.expect_closed(PATIENCE).await;
    assert!([Some(1001), Some(1012)].contains(&closed.code), "{closed:?}");
    assert!(closed.reason["retryAfterMs"].is_u64(), "{closed:?}");
    alice.resume(cluster.node(1)).await.assert_alive().await;
}

#[tokio::test]
async fn presence_tells_who_has_a_session_anywhere_in_the_cluster() {
    let cluster = TestCluster::two_nodes().start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let _bob = cluster.connect(1, "bob", "phone").await;
    let reply = alice.must("presence:get", json!({"userIds": ["alice", "bob", "nobody"]})).await;
    let mut online: Vec<&str> = reply["online"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    online.sort_unstable();
    assert_eq!(online, ["alice", "bob"], "{reply}");
}

#[tokio::test]
async fn the_probes_answer_without_credentials_and_unknown_paths_do_not() {
    let cluster = TestCluster::embedded().start().await;
    let http = cluster.http(0);
    assert_eq!(http.get("/livez").await.status, 200);
    assert_eq!(http.get("/readyz").await.status, 200);
    assert_eq!(http.get("/no/such/path").await.status, 404);
    let plain = http.get("/ws").await;
    assert!((400..500).contains(&plain.status), "a plain GET is no WebSocket: {plain:?}");
}
