//! Calls over REST: every command, how refusals look, and what becomes of a device that acts without a session.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    scenarios::On,
    support::{
        TestCluster,
        moves::{id_of, is_in, participant, sdp},
    },
};

/// Longer than an owner waits for the session of a device, and the grace after it, on a busy machine.
const GONE: Duration = Duration::from_secs(20);

async fn a_whole_call(on: On) {
    let cluster = on.cluster().start().await;
    let alice = cluster.rest(0, "alice").at("phone");
    let bob = cluster.rest(1, "bob").at("phone");
    let listening = [cluster.connect(1, "alice", "phone").await, cluster.connect(0, "bob", "phone").await];
    let started =
        alice.send("call:start", None, json!({"calleeIds": ["bob"], "type": "video", "metadata": {"a": 1}})).await;
    assert_eq!(started.status, 201, "{started:?}");
    let call = id_of(&started.body);
    assert_eq!(started.location.as_deref(), Some(format!("/api/v1/calls/{call}").as_str()));
    assert_eq!(started.content_type, "application/json");
    assert_eq!(started.body["media"]["mode"], "p2p", "{started:?}");
    assert_eq!(started.body["listen"], json!({"url": "/ws", "protocol": "carillon.v1"}), "{started:?}");
    listening[1].expect_of("call:incoming", &call).await;
    let about = || json!({"callId": call});
    assert_eq!(bob.must("call:ringing", about()).await, json!({}));
    listening[0].expect_of("call:ringing", &call).await;
    let accepted = bob.must("call:accept", about()).await;
    assert!(is_in(&accepted["call"], "bob") && accepted["media"].is_object(), "{accepted}");
    listening[0].expect_of("call:accepted", &call).await;
    for (from, to, at, kind) in [(&alice, "bob", 1, "offer"), (&bob, "alice", 0, "answer")] {
        let signal = json!({"callId": call, "to": to, "type": kind, "payload": sdp(kind)});
        assert_eq!(from.must("call:signal", signal).await, json!({}));
        let heard = listening[at].expect("call:signal", |s| s["callId"] == *call && s["type"] == kind).await;
        assert_eq!(heard["payload"], sdp(kind));
    }
    listening[0].expect("call:state", |s| s["callId"] == *call && s["status"] == "active").await;
    assert_eq!(alice.must("call:media", json!({"callId": call, "video": true})).await, json!({}));
    assert!(bob.must("call:token", about()).await["media"].is_object());
    let invited = alice.must("call:invite", json!({"callId": call, "userIds": ["carol"]})).await;
    assert_eq!(participant(&invited["call"], "carol")["status"], "invited", "{invited}");
    let seen = bob.must("call:get", about()).await;
    assert_eq!(participant(&seen["call"], "alice")["video"], true, "{seen}");
    let people = bob.request("GET", &format!("/api/v1/calls/{call}/participants"), None).await;
    assert_eq!(people.body["participants"], seen["call"]["participants"]);
    assert_eq!(bob.must("call:leave", about()).await, json!({}));
    assert_eq!(alice.must("call:end", json!({"callId": call, "reason": "completed"})).await, json!({}));
    listening[0].expect_end(&call, "completed").await;
}

async fn calls_that_end_early(on: On) {
    let cluster = on.cluster().start().await;
    let (alice, bob) = (cluster.rest(0, "alice"), cluster.rest(1, "bob"));
    for (who, command, reason) in
        [(&bob, "call:decline", "declined"), (&bob, "call:busy", "busy"), (&alice, "call:cancel", "cancelled")]
    {
        let call = id_of(&alice.must("call:start", json!({"calleeIds": ["bob"]})).await);
        who.must(command, json!({"callId": call})).await;
        let seen = alice.must("call:get", json!({"callId": call})).await;
        assert_eq!(seen["call"]["endReason"], reason, "{seen}");
    }
}

#[tokio::test]
async fn a_whole_call_is_made_by_rest_on_one_node() {
    a_whole_call(On::Embedded).await;
}

#[tokio::test]
async fn a_whole_call_is_made_by_rest_on_two_nodes() {
    a_whole_call(On::TwoNodes).await;
}

#[tokio::test]
async fn a_call_is_declined_found_busy_or_cancelled_by_rest() {
    calls_that_end_early(On::Embedded).await;
    calls_that_end_early(On::TwoNodes).await;
}

#[tokio::test]
async fn a_group_call_that_is_open_already_is_joined_and_not_created() {
    let cluster = TestCluster::two_nodes().start().await;
    cluster.group("team", &["alice", "bob"]).await;
    let start = || json!({"groupId": "team", "ring": false});
    let first = cluster.rest(0, "alice").send("call:start", None, start()).await;
    let second = cluster.rest(1, "bob").send("call:start", None, start()).await;
    assert_eq!((first.status, second.status), (201, 200));
    assert_eq!(id_of(&first.body), id_of(&second.body));
    assert_eq!(second.location, None);
}

#[tokio::test]
async fn refusals_over_rest_are_problems_with_the_same_codes() {
    let cluster = TestCluster::embedded().start().await;
    let http = cluster.http(0);
    for bearer in [None, Some("wrong"), Some(cluster.realm().service_key.as_str())] {
        let refused = http.request("POST", "/api/v1/calls", bearer, Some(json!({"calleeIds": ["bob"]}))).await.unwrap();
        assert_eq!((refused.status, refused.code()), (401, "unauthenticated"), "{refused:?}");
    }
    let alice = cluster.rest(0, "alice");
    let call = id_of(&alice.must("call:start", json!({"calleeIds": ["bob"]})).await);
    let path = format!("/api/v1/calls/{call}");
    let big = "x".repeat(65 * 1024);
    let signal = |payload: &str| json!({"type": "offer", "payload": payload});
    let cases: Vec<(&str, String, Option<Value>, u16, &str)> = vec![
        ("POST", "/api/v1/calls".into(), Some(json!([])), 400, "invalid"),
        ("POST", "/api/v1/calls".into(), Some(json!({})), 400, "invalid"),
        ("POST", "/api/v1/calls".into(), Some(json!({"calleeIds": ["bob"], "mode": "sfu"})), 503, "media_unavailable"),
        ("GET", "/api/v1/calls/none".into(), None, 404, "not_found"),
        ("GET", "/api/v1/calls/a%20b".into(), None, 400, "invalid"),
        ("POST", format!("{path}/dance"), None, 404, "not_found"),
        ("POST", format!("{path}/accept"), Some(json!({"callId": "another"})), 400, "invalid"),
        ("POST", format!("{path}/accept"), None, 409, "wrong_state"),
        ("POST", format!("{path}/end"), Some(json!({"deviceId": 7})), 400, "invalid"),
        ("POST", format!("{path}/signal"), Some(signal(&big)), 413, "too_large"),
        ("POST", format!("{path}/signal"), Some(signal(&big.repeat(2))), 413, "too_large"),
        (
            "POST",
            format!("{path}/signal"),
            Some(json!({"type": "offer", "payload": 1, "to": "dave"})),
            409,
            "not_participant",
        ),
        ("PATCH", format!("{path}/participants/bob"), Some(json!({"audio": true})), 403, "forbidden"),
        ("PATCH", format!("{path}/participants/me"), Some(json!({"audio": "on"})), 400, "invalid"),
        ("DELETE", path.clone(), None, 405, "invalid"),
    ];
    for (method, path, body, status, code) in cases {
        let refused = alice.request(method, &path, body).await;
        assert_eq!((refused.status, refused.code()), (status, code), "{method} {path}: {refused:?}");
        assert_eq!(refused.content_type, "application/problem+json", "{method} {path}");
    }
    let stranger = cluster.rest(0, "mallory").request("GET", &path, None).await;
    assert_eq!((stranger.status, stranger.code()), (404, "not_found"));
    for key in ["", "a b", "\"open", "\"\""] {
        let token = cluster.token("alice");
        let path = format!("{path}/cancel");
        let refused = http.request_keyed("POST", &path, Some(&token), Some(key), None).await.unwrap();
        assert_eq!((refused.status, refused.code()), (400, "invalid"), "{key:?}");
    }
    // A payload of almost the most that may be fits, with the rest of its body.
    let long = "x".repeat(63 * 1024);
    alice.must("call:signal", json!({"callId": call, "type": "offer", "payload": long})).await;
}

/// A device that acts by REST has its session elsewhere: the owner learns where, and finds it gone when that ends.
async fn a_device_with_a_session(on: On) {
    let cluster = on.cluster().set("CARILLON_RECONNECT_GRACE_SECS", 2).start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let mut bob = cluster.connect(1, "bob", "phone").await;
    let call = alice.start(&["bob"]).await;
    bob.expect_of("call:incoming", &call).await;
    cluster.rest(0, "bob").at("phone").must("call:accept", json!({"callId": call})).await;
    bob.expect_of("call:accepted", &call).await;
    alice.negotiate(&bob, &call).await;
    // Longer than the owner waits for a session to show itself.
    alice.expect_none("call:participant_reconnecting", Duration::from_secs(6)).await;
    bob.drop_connection().await;
    let lost = alice.expect_of("call:participant_reconnecting", &call).await;
    assert_eq!(lost["userId"], "bob");
    alice.expect_end_within(GONE, &call, "connection_lost").await;
}

/// Nobody listens at the device that accepted by REST: it counts as gone, and leaves when the grace is over.
async fn a_device_without_a_session(on: On) {
    let cluster = on.cluster().set("CARILLON_RECONNECT_GRACE_SECS", 2).start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    // A session of another device does not count.
    let bob = cluster.connect(1, "bob", "laptop").await;
    let call = alice.start(&["bob"]).await;
    bob.expect_of("call:incoming", &call).await;
    cluster.rest(1, "bob").must("call:accept", json!({"callId": call})).await;
    bob.expect("call:accepted_elsewhere", |e| e["callId"] == *call && e["deviceId"] == "rest").await;
    let lost = alice.expect_within(GONE, "call:participant_reconnecting", |e| e["callId"] == *call).await;
    assert_eq!(lost.data["userId"], "bob");
    alice.expect_end_within(GONE, &call, "connection_lost").await;
}

/// It is in time if its session comes after the command.
async fn a_session_that_comes_later(on: On) {
    let cluster = on.cluster().set("CARILLON_RECONNECT_GRACE_SECS", 2).start().await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let started = cluster.rest(0, "alice").at("tablet").must("call:start", json!({"calleeIds": ["bob"]})).await;
    let call = id_of(&started);
    bob.expect_of("call:incoming", &call).await;
    let alice = cluster.connect(1, "alice", "tablet").await;
    assert_eq!(alice.welcome["activeCalls"][0]["callId"], *call, "{}", alice.welcome);
    bob.act("call:accept", &call).await;
    alice.expect_of("call:accepted", &call).await;
    alice.negotiate(&bob, &call).await;
    bob.expect_none("call:participant_reconnecting", Duration::from_secs(6)).await;
    alice.act("call:end", &call).await;
    bob.expect_end(&call, "completed").await;
}

#[tokio::test]
async fn the_owner_learns_where_the_session_is_of_a_device_that_acts_by_rest() {
    tokio::join!(a_device_with_a_session(On::Embedded), a_device_with_a_session(On::TwoNodes));
}

#[tokio::test]
async fn a_device_that_acts_by_rest_and_has_no_session_does_not_stay_in_the_call() {
    tokio::join!(a_device_without_a_session(On::Embedded), a_device_without_a_session(On::TwoNodes));
}

#[tokio::test]
async fn a_session_may_come_after_the_start_by_rest() {
    tokio::join!(a_session_that_comes_later(On::Embedded), a_session_that_comes_later(On::TwoNodes));
}
