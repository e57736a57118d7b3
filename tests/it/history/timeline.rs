//! The timeline of a call: why did it end as it did?

use serde_json::{Value, json};

use crate::{
    scenarios::On,
    support::{
        canary,
        moves::{id_of, sdp},
    },
};

async fn a_timeline(on: On) {
    let cluster = on.cluster().start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "laptop").await;
    let start = json!({"calleeIds": ["bob"], "offer": sdp("offer"), "metadata": {"topic": "a secret topic"}});
    let call = id_of(&alice.must("call:start", start).await);
    bob.expect_of("call:incoming", &call).await;
    bob.act("call:ringing", &call).await;
    bob.must("call:accept", json!({"callId": call, "answer": sdp("answer")})).await;
    alice.expect("call:state", |s| s["callId"] == *call && s["status"] == "active").await;
    bob.act("call:leave", &call).await;
    alice.expect_end(&call, "completed").await;
    // On the node that does not own it.
    let path = format!("/api/v1/calls/{call}/timeline");
    let reader = cluster.rest(1, "alice");
    let timeline = reader.request("GET", &path, None).await.body;
    let events = timeline["events"].as_array().unwrap();
    let kinds: Vec<&str> = events.iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["created", "ringing", "accepted", "connected", "left", "ended"], "{timeline}");
    for (n, event) in events.iter().enumerate() {
        assert_eq!(event["seq"], n + 1);
        assert!(event["node"].as_str().unwrap().starts_with("node-"), "{event}");
        assert_eq!(event["epoch"], 1);
        let waited = |n: usize| chrono::DateTime::parse_from_rfc3339(events[n]["at"].as_str().unwrap()).unwrap();
        let since = if n == 0 { 0 } else { (waited(n) - waited(n - 1)).num_milliseconds() };
        assert_eq!(event["sincePreviousMs"], since, "{timeline}");
    }
    assert_eq!((&events[0]["userId"], &events[0]["deviceId"]), (&json!("alice"), &json!("phone")));
    assert_eq!((&events[2]["userId"], &events[2]["deviceId"]), (&json!("bob"), &json!("laptop")));
    assert_eq!((&events[4]["userId"], &events[4]["reason"]), (&json!("bob"), &json!("completed")));
    assert_eq!((&events[5]["status"], &events[5]["by"]), (&json!("ended"), &json!("bob")), "{timeline}");
    let text = timeline.to_string();
    assert!(!text.contains(canary::SDP) && !text.contains("secret topic"), "{text}");
    // In pages.
    let first = reader.request("GET", &format!("{path}?limit=4"), None).await.body;
    assert_eq!((first["events"].as_array().unwrap().len(), &first["nextAfter"]), (4, &json!(4)));
    let second = reader.request("GET", &format!("{path}?after=4&limit=4"), None).await.body;
    assert_eq!((&second["events"], &second["nextAfter"]), (&json!(events[4..]), &Value::Null));
    let past = reader.request("GET", &format!("{path}?after=99"), None).await.body;
    assert_eq!(past["events"], json!([]));
    for query in ["after=-1", "after=x", "limit=0", "limit=501"] {
        let refused = reader.request("GET", &format!("{path}?{query}"), None).await;
        assert_eq!((refused.status, refused.code()), (400, "invalid"), "{query}");
    }
    // To a stranger it is not there; an administrator may read everything.
    for (user, call) in [("mallory", call.as_str()), ("alice", "none")] {
        let refused = cluster.rest(0, user).request("GET", &format!("/api/v1/calls/{call}/timeline"), None).await;
        assert_eq!((refused.status, refused.code()), (404, "not_found"), "{refused:?}");
    }
    let admin = cluster.realm().token_with(&json!({"sub": "root", "exp": 4_000_000_000u64, "role": "admin"}));
    let seen = cluster.http(0).request("GET", &path, Some(&admin), None).await.unwrap();
    assert_eq!(seen.body, timeline);
    let none = cluster.http(0).request("GET", "/api/v1/calls/none/timeline", Some(&admin), None).await.unwrap();
    assert_eq!((none.status, none.code()), (404, "not_found"));
}

#[tokio::test]
async fn a_timeline_tells_what_happened_and_nothing_that_was_said() {
    tokio::join!(a_timeline(On::Embedded), a_timeline(On::TwoNodes));
}
