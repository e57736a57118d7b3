//! Commands over their limit, by socket and by REST.

use std::time::Duration;

use serde_json::json;

use super::{ask, assert_limited, passes};
use crate::support::TestCluster;

const PATIENT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn starts_over_the_limit_are_refused_over_both_ways_with_when_to_try_again() {
    let cluster = TestCluster::embedded().set("CARILLON_RATE_LIMITS", "start=3/60m").start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    for _ in 0..3 {
        alice.start(&["nobody"]).await;
    }
    assert_limited(&alice.refused("call:start", json!({"calleeIds": ["nobody"]})).await);
    // Another device is the same user, and so is REST.
    let laptop = cluster.connect(0, "alice", "laptop").await;
    assert_limited(&laptop.refused("call:start", json!({"calleeIds": ["nobody"]})).await);
    let bearer = format!("Bearer {}", cluster.token("alice"));
    let body = json!({"calleeIds": ["nobody"]});
    let answer = ask(&cluster, "POST", "/api/v1/calls", &[("authorization", &bearer)], Some(body)).await;
    answer.assert_limited();
    assert!(answer.header("retry-after").parse::<u64>().unwrap() > 60, "one in twenty minutes");
    // Other commands and other users go on.
    alice.assert_alive().await;
    cluster.connect(0, "bob", "phone").await.start(&["nobody"]).await;
    let metrics = cluster.http(0).get("/metrics").await;
    assert!(metrics.body.as_str().unwrap().contains("carillon_rate_limited_total{kind=\"start\"} 3"), "{metrics:?}");
}

#[tokio::test]
async fn reads_and_writes_over_rest_have_limits_of_their_own() {
    let cluster = TestCluster::embedded().set("CARILLON_RATE_LIMITS", "read=2/60m,write=3/60m").start().await;
    let bearer = format!("Bearer {}", cluster.token("alice"));
    let headers = [("authorization", bearer.as_str())];
    for _ in 0..2 {
        assert_eq!(ask(&cluster, "GET", "/api/v1/calls/none", &headers, None).await.status, 404);
    }
    ask(&cluster, "GET", "/api/v1/calls/none", &headers, None).await.assert_limited();
    for _ in 0..3 {
        assert_eq!(ask(&cluster, "POST", "/api/v1/calls/none/leave", &headers, None).await.status, 404);
    }
    ask(&cluster, "POST", "/api/v1/calls/none/leave", &headers, None).await.assert_limited();
}

#[tokio::test]
async fn a_session_that_goes_on_in_spite_of_refusals_is_closed_with_4029() {
    let cluster = TestCluster::embedded().set("CARILLON_RATE_LIMITS", "command=5/60m,flood=20/60m").start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(0, "bob", "phone").await;
    for _ in 0..100 {
        alice.cast("presence:get", json!({"userIds": ["bob"]}));
    }
    let closed = alice.expect_closed(PATIENT).await;
    assert_eq!((closed.code, &closed.reason["code"]), (Some(4029), &json!("rate_limited")), "{closed:?}");
    assert!(closed.reason["retryAfterMs"].as_u64() > Some(0), "{closed:?}");
    bob.assert_alive().await;
}

#[tokio::test]
async fn frames_that_are_none_and_pings_count_to_a_flood() {
    let cluster = TestCluster::embedded().set("CARILLON_RATE_LIMITS", "flood=20/60m").start().await;
    let garbage = cluster.connect(0, "alice", "garbage").await;
    let pinging = cluster.connect(0, "alice", "pinging").await;
    for _ in 0..100 {
        garbage.send_text("garbage");
        pinging.send_raw(tokio_tungstenite::tungstenite::Message::Ping("x".into()));
    }
    assert_eq!(garbage.expect_closed(PATIENT).await.code, Some(4029));
    assert_eq!(pinging.expect_closed(PATIENT).await.code, Some(4029));
}

#[tokio::test]
async fn signals_are_limited_for_each_session_by_itself() {
    let cluster = TestCluster::embedded().set("CARILLON_RATE_LIMITS", "signal=10/60m").start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(0, "bob", "phone").await;
    let call = alice.call_through(&bob).await;
    let signal = |to: &str| json!({"callId": call, "to": to, "type": "ice_candidate", "payload": {"candidate": "x"}});
    // Each has sent one: the offer, the answer.
    for _ in 0..9 {
        alice.must("call:signal", signal("bob")).await;
    }
    assert_limited(&alice.refused("call:signal", signal("bob")).await);
    for _ in 0..9 {
        bob.must("call:signal", signal("alice")).await;
    }
    alice.act("call:end", &call).await;
    bob.expect_end(&call, "completed").await;
}

#[tokio::test]
async fn by_default_an_honest_call_is_not_limited_and_a_flood_of_starts_is() {
    let cluster = TestCluster::embedded().set("CARILLON_RATE_LIMITS", "on").start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(0, "bob", "phone").await;
    let call = alice.call_through(&bob).await;
    for _ in 0..100 {
        alice.signal(&call, "bob", "ice_candidate", json!({"candidate": "x"})).await;
    }
    alice.act("call:end", &call).await;
    bob.expect_end(&call, "completed").await;
    let start = json!({"calleeIds": ["nobody"]});
    for _ in 0..200 {
        alice.cast("call:start", start.clone());
    }
    let refused = alice.expect("error", |data| data["error"]["code"] == "rate_limited").await;
    assert_eq!(refused["event"], "call:start", "{refused}");
}

#[tokio::test]
async fn off_limits_nothing() {
    let cluster = TestCluster::embedded().set("CARILLON_RATE_LIMITS", "off").start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    for _ in 0..60 {
        alice.start(&["nobody"]).await;
    }
    for _ in 0..400 {
        assert!(passes(&alice).await);
    }
    alice.close().await;
}
