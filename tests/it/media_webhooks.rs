//! LiveKit's webhooks: what is believed, and that it is acted on once.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use livekit_api::access_token::{AccessToken, VideoGrants};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::{TestCluster, cluster::ClusterBuilder, http::Answer, livekit::API_KEY};

const SECRET: &str = "canary-livekit-secret-of-32-bytes";
const PATH: &str = "/api/v1/livekit/webhook";

fn with_key(builder: ClusterBuilder) -> ClusterBuilder {
    // Nobody listens there: these tests need LiveKit's key only.
    let builder = builder.set("LIVEKIT_URL", "ws://127.0.0.1:9").set("LIVEKIT_API_KEY", API_KEY);
    builder.set("LIVEKIT_API_SECRET", SECRET).forbidding(SECRET)
}

/// An event as LiveKit tells it, but for its id and time.
pub fn event(kind: &str, call: &str, user: Option<&str>) -> Value {
    let mut event = json!({"event": kind, "room": {"sid": "RM_x", "name": call}});
    if let Some(user) = user {
        event["participant"] = json!({"sid": "PA_x", "identity": format!("{user}#phone"), "state": "ACTIVE"});
    }
    event
}

fn now() -> i64 {
    carillon::clock::now().as_millis() / 1000
}

fn stamped(mut event: Value, id: &str, at: i64) -> String {
    event["id"] = json!(id);
    // Whole numbers of 64 bits are text in the JSON of protocol buffers.
    event["createdAt"] = json!(at.to_string());
    event.to_string()
}

fn hash(body: &str) -> String {
    STANDARD.encode(Sha256::digest(body))
}

fn token(key: &str, secret: &str, sha256: &str) -> String {
    AccessToken::with_api_key(key, secret).with_ttl(Duration::from_secs(300)).with_sha256(sha256).to_jwt().unwrap()
}

async fn post(cluster: &TestCluster, node: usize, body: &str, token: &str) -> Answer {
    try_post(cluster, node, body, token).await.expect("the node answers")
}

async fn try_post(cluster: &TestCluster, node: usize, body: &str, token: &str) -> Result<Answer, reqwest::Error> {
    let address = format!("http://{}{PATH}", cluster.node(node).address);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.post(address).header("content-type", "application/webhook+json").body(body.to_owned());
    let response = request.header("authorization", token).send().await?;
    let status = response.status().as_u16();
    let text = response.text().await?;
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Ok(Answer { status, content_type: String::new(), location: None, body })
}

/// A good webhook, signed with this secret.
pub async fn tell(cluster: &TestCluster, node: usize, secret: &str, id: &str, event: Value) -> Answer {
    let body = stamped(event, id, now());
    post(cluster, node, &body, &token(API_KEY, secret, &hash(&body))).await
}

/// The same to a node that may die of it; whether it has answered.
pub async fn tell_to_death(cluster: &TestCluster, node: usize, secret: &str, id: &str, event: Value) -> bool {
    let body = stamped(event, id, now());
    try_post(cluster, node, &body, &token(API_KEY, secret, &hash(&body))).await.is_ok()
}

/// How many were answered so, on all nodes.
async fn counted(cluster: &TestCluster, outcome: &str) -> f64 {
    let series = format!("carillon_livekit_webhooks_total{{outcome=\"{outcome}\"}}");
    let mut sum = 0.0;
    for node in 0..cluster.size() {
        sum += cluster.http(node).metric(&series).await.unwrap_or_default();
    }
    sum
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_livekit_did_not_sign_just_so_and_just_now_is_refused() {
    let cluster = with_key(TestCluster::embedded()).start().await;
    let started = || event("room_started", "c1", None);
    let body = stamped(started(), "e1", now());
    let good = token(API_KEY, SECRET, &hash(&body));
    let tampered = body.replace("c1", "c2");
    let expired = {
        // The verifier allows a minute for clocks that differ.
        let claims = json!({"iss": API_KEY, "exp": now() - 120, "nbf": now() - 600, "sha256": hash(&body)});
        let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
        jsonwebtoken::encode(&jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256), &claims, &key).unwrap()
    };
    let unsigned = format!("{}.", {
        use base64::engine::general_purpose::URL_SAFE_NO_PAD;
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let claims = json!({"iss": API_KEY, "exp": now() + 300, "sha256": hash(&body)});
        format!("{}.{}", part(json!({"alg": "none", "typ": "JWT"})), part(claims))
    });
    let clients = {
        let grants = VideoGrants { room_join: true, room: "c1".into(), ..VideoGrants::default() };
        AccessToken::with_api_key(API_KEY, SECRET).with_identity("alice#phone").with_grants(grants).to_jwt().unwrap()
    };
    let empty_secret = {
        let claims = json!({"iss": API_KEY, "exp": now() + 300, "nbf": now(), "sha256": hash(&body)});
        let key = jsonwebtoken::EncodingKey::from_secret(b"");
        jsonwebtoken::encode(&jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256), &claims, &key).unwrap()
    };
    for (what, body, token) in [
        ("no token", &body, ""),
        ("no token of ours", &body, "x.y.z"),
        ("another secret", &body, &token(API_KEY, "another-secret-of-thirty-two-bytes", &hash(&body))),
        ("an empty secret", &body, &empty_secret),
        ("no signature", &body, &unsigned),
        ("another key", &body, &token("another-key", SECRET, &hash(&body))),
        ("another body's hash", &tampered, &good),
        ("no hash", &body, &token(API_KEY, SECRET, "")),
        ("a participant's own token", &body, &clients),
        ("a token that has expired", &body, &expired),
    ] {
        let answer = post(&cluster, 0, body, token).await;
        assert_eq!((answer.status, answer.code()), (401, "unauthenticated"), "{what}: {answer:?}");
    }
    for (what, at) in [("an old event", now() - 3600), ("an event of the future", now() + 3600)] {
        let body = stamped(started(), "e2", at);
        let answer = post(&cluster, 0, &body, &token(API_KEY, SECRET, &hash(&body))).await;
        assert_eq!((answer.status, answer.code()), (400, "invalid"), "{what}: {answer:?}");
    }
    for body in
        ["[]".to_owned(), "{".to_owned(), stamped(started(), "", now()), stamped(started(), &"x".repeat(200), now())]
    {
        let answer = post(&cluster, 0, &body, &token(API_KEY, SECRET, &hash(&body))).await;
        assert_eq!((answer.status, answer.code()), (400, "invalid"), "{body}: {answer:?}");
    }
    let large = format!("{body}{}", " ".repeat(300 * 1024));
    let answer = post(&cluster, 0, &large, &token(API_KEY, SECRET, &hash(&large))).await;
    assert_eq!(answer.status, 413, "{answer:?}");
    assert_eq!(counted(&cluster, "taken").await, 0.0, "nothing was believed");

    assert_eq!(post(&cluster, 0, &body, &good).await.status, 200, "and this one is good");
    assert_eq!(counted(&cluster, "taken").await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_taken_in_once_in_the_whole_cluster() {
    let cluster = with_key(TestCluster::two_nodes()).start().await;
    for round in 0..3 {
        for node in [0, 1] {
            let told = tell(&cluster, node, SECRET, "same", event("room_started", "c1", None)).await;
            assert_eq!(told.status, 200, "{round}: {told:?}");
        }
    }
    assert_eq!((counted(&cluster, "taken").await, counted(&cluster, "repeated").await), (1.0, 5.0));
    let kept = cluster.database().unwrap().sql("SELECT id FROM livekit_events");
    assert_eq!(kept, [[Some("same".to_owned())]]);
    // Both at once: one of them wins.
    let (one, two) = tokio::join!(
        tell(&cluster, 0, SECRET, "race", event("room_started", "c1", None)),
        tell(&cluster, 1, SECRET, "race", event("room_started", "c1", None))
    );
    assert_eq!((one.status, two.status), (200, 200));
    assert_eq!(counted(&cluster, "taken").await, 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_in_any_order_and_about_anything_do_no_harm() {
    let cluster = with_key(TestCluster::embedded()).start().await;
    let (alice, bob) = (cluster.connect(0, "alice", "phone").await, cluster.connect(0, "bob", "phone").await);
    let call = alice.call_through(&bob).await;
    let kinds = [
        "room_finished",
        "participant_left",
        "track_unpublished",
        "track_published",
        "participant_joined",
        "room_started",
    ];
    for (n, kind) in kinds.into_iter().enumerate() {
        let told = tell(&cluster, 0, SECRET, &format!("e{n}"), event(kind, &call, Some("alice"))).await;
        assert_eq!(told.status, 200, "{kind}: {told:?}");
    }
    for (n, odd) in [
        json!({"event": "agent_job_started"}),
        json!({"event": "something_new", "room": {"name": "c"}, "newField": {"a": [1]}}),
        event("participant_joined", "no/call", Some("alice")),
        event("participant_joined", "unknown-call", Some("mallory")),
        json!({"event": "participant_joined", "room": {"name": call}, "participant": {"identity": "EG_recorder"}}),
    ]
    .into_iter()
    .enumerate()
    {
        let told = tell(&cluster, 0, SECRET, &format!("odd{n}"), odd.clone()).await;
        assert_eq!(told.status, 200, "{odd}: {told:?}");
    }
    let now = alice.get(&call).await;
    assert_eq!((&now["status"], &now["mode"]), (&json!("active"), &json!("p2p")), "{now}");
    alice.act("call:end", &call).await;
    bob.expect_end(&call, "completed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_cannot_be_acted_on_now_is_asked_for_again() {
    let cluster = with_key(TestCluster::embedded()).start().await;
    let (alice, bob) = (cluster.connect(0, "alice", "phone").await, cluster.connect(0, "bob", "phone").await);
    let call = alice.call_through(&bob).await;
    // Mallory must be put out of the room, and LiveKit is away.
    for _ in 0..2 {
        let told = tell(&cluster, 0, SECRET, "stranger", event("participant_joined", &call, Some("mallory"))).await;
        assert_eq!((told.status, told.code()), (503, "unavailable"), "{told:?}");
    }
    assert_eq!((counted(&cluster, "later").await, counted(&cluster, "repeated").await), (2.0, 0.0));
    alice.act("call:end", &call).await;
    bob.expect_end(&call, "completed").await;
}
