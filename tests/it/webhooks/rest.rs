//! The life of a webhook over REST, and who may do what about it.

use serde_json::{Value, json};

use super::{get, hook, post, receiver::Receiver, telling, try_hook};
use crate::support::TestCluster;

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_made_seen_changed_and_deleted_and_its_secret_is_seen_once() {
    let cluster = TestCluster::embedded().start().await;
    let http = cluster.http(0);
    let secret = "whsec_c2l4dGVlbiBieXRlcyBhbmQgbW9yZSBvZiB0aGVt";
    cluster.realm().canaries.forbid(secret);
    let body = json!({"url": "https://hooks.example/x", "events": ["call.ringing", "call.ended"], "description": "push", "secret": secret});
    let made = post(&cluster, "/api/v1/webhooks", body.clone()).await;
    assert_eq!((made.status, &made.body["secret"]), (201, &json!(secret)), "{made:?}");
    let id = made.body["webhookId"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/webhooks/{id}");
    let seen = get(&cluster, &path).await;
    assert_eq!(seen["events"], json!(["call.ringing", "call.ended"]));
    assert!(!seen.to_string().contains("whsec_") && seen["enabled"] == true && seen["description"] == "push");
    assert_eq!(get(&cluster, "/api/v1/webhooks").await["webhooks"], json!([seen]));
    let changed = http.service("PATCH", &path, Some(json!({"events": ["*"], "description": null}))).await;
    assert_eq!((&changed.body["events"], changed.body.get("description")), (&json!(["*"]), None), "{changed:?}");
    assert_eq!(changed.body["url"], json!("https://hooks.example/x"));
    for (body, says) in [
        (json!({}), "url is missing"),
        (json!({"url": "https://x.example/", "events": ["call.sung"]}), "events must be"),
        (json!({"url": "https://x.example/", "events": ["webhook.test"]}), "events must be"),
        (json!({"url": "https://x.example/", "secret": "too short"}), "secret must be"),
        (json!({"url": "https://x.example/", "description": "x".repeat(201)}), "description must have"),
    ] {
        let refused = post(&cluster, "/api/v1/webhooks", body.clone()).await;
        assert_eq!((refused.status, refused.code()), (400, "invalid"), "{body}");
        assert!(refused.body["detail"].as_str().unwrap().starts_with(says), "{body}: {refused:?}");
    }
    for _ in 0..2 {
        assert_eq!(http.service("DELETE", &path, None).await.status, 204);
    }
    assert_eq!(http.service("GET", &path, None).await.status, 404);
    for (method, rest) in [("PATCH", ""), ("POST", "/secret"), ("POST", "/test"), ("GET", "/deliveries")] {
        let body = (method != "GET").then(|| json!({}));
        let gone = http.service(method, &format!("{path}{rest}"), body).await;
        assert_eq!((gone.status, gone.code()), (404, "not_found"), "{method} {rest}");
    }
    let log = get(&cluster, "/api/v1/admin/audit?limit=200").await;
    let of = |action: &str| {
        let is = |e: &&Value| e["action"] == action && e["target"] == json!({"kind": "webhook", "id": id});
        log["entries"].as_array().unwrap().iter().filter(is).count()
    };
    let counted = ["webhook.create", "webhook.update", "webhook.delete", "webhook.rotate_secret"].map(of);
    assert_eq!(counted, [1, 2, 2, 1], "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_is_asked_for_twice_under_a_key_is_made_once() {
    let cluster = TestCluster::embedded().start().await;
    let (http, key) = (cluster.http(0), cluster.realm().service_key.clone());
    let ask = async |body: Value| {
        http.request_keyed("POST", "/api/v1/webhooks", Some(&key), Some("one"), Some(body)).await.unwrap()
    };
    let first = ask(json!({"url": "https://x.example/"})).await;
    cluster.realm().canaries.forbid(first.body["secret"].as_str().unwrap());
    let second = ask(json!({"url": "https://x.example/"})).await;
    assert_eq!((first.status, second.status), (201, 201));
    assert_eq!(first.body, second.body);
    let other = ask(json!({"url": "https://y.example/"})).await;
    assert_eq!((other.status, other.code()), (409, "conflict"));
    assert_eq!(get(&cluster, "/api/v1/webhooks").await["webhooks"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_fifty_webhooks_at_most() {
    let cluster = TestCluster::embedded().start().await;
    for number in 0..50 {
        let made = post(&cluster, "/api/v1/webhooks", json!({"url": format!("https://x.example/{number}")})).await;
        assert_eq!(made.status, 201, "{number}");
    }
    let refused = post(&cluster, "/api/v1/webhooks", json!({"url": "https://x.example/more"})).await;
    assert_eq!((refused.status, refused.code()), (409, "conflict"));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_new_secret_the_old_one_signs_too() {
    let (cluster, receiver) = (telling(TestCluster::embedded()).start().await, Receiver::start().await);
    let hook = hook(&cluster, &receiver, &[]).await;
    let rotated = post(&cluster, &format!("/api/v1/webhooks/{}/secret", hook.id), json!({})).await;
    assert_eq!(rotated.status, 200, "{rotated:?}");
    let secret = rotated.body["secret"].as_str().unwrap();
    cluster.realm().canaries.forbid(secret);
    assert_ne!(secret, hook.secret);
    let seen = get(&cluster, &format!("/api/v1/webhooks/{}", hook.id)).await;
    assert_eq!(seen["oldSecretUntil"], rotated.body["oldSecretUntil"]);
    // The node knows by the next look.
    let deadline = tokio::time::Instant::now() + super::PATIENCE;
    loop {
        let id = try_hook(&cluster, &hook).await;
        let received = receiver.expect("test", |received| received.id() == id).await;
        assert!(received.is_signed_by(&hook.secret), "{received:?}");
        if received.is_signed_by(secret) {
            assert_eq!(received.headers["webhook-signature"].split(' ').count(), 2);
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "the new secret does not sign");
    }
    for wanted in [200, 200, 409] {
        let again = post(&cluster, &format!("/api/v1/webhooks/{}/secret", hook.id), json!({})).await;
        if let Some(secret) = again.body["secret"].as_str() {
            cluster.realm().canaries.forbid(secret);
        }
        assert_eq!(again.status, wanted, "{again:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_looks_and_handles_dead_letters_and_changes_nothing_else() {
    let cluster = TestCluster::embedded().start().await;
    let http = cluster.http(0);
    let made = post(&cluster, "/api/v1/webhooks", json!({"url": "https://x.example/"})).await;
    let id = made.body["webhookId"].as_str().unwrap();
    let admin = cluster.realm().token_with(&json!({"sub": "ann", "exp": 4_000_000_000_u64, "role": "admin"}));
    let user = cluster.token("bob");
    let path = format!("/api/v1/webhooks/{id}");
    let nothing = uuid::Uuid::now_v7();
    for (method, path, by_admin) in [
        ("GET", "/api/v1/webhooks".to_owned(), 200),
        ("GET", path.clone(), 200),
        ("GET", format!("{path}/deliveries"), 200),
        ("GET", "/api/v1/admin/dead-letters".to_owned(), 200),
        ("POST", format!("/api/v1/admin/dead-letters/{nothing}/replay"), 404),
        ("DELETE", format!("/api/v1/admin/dead-letters/{nothing}"), 204),
        ("POST", "/api/v1/webhooks".to_owned(), 401),
        ("PATCH", path.clone(), 401),
        ("POST", format!("{path}/secret"), 401),
        ("POST", format!("{path}/test"), 401),
        ("POST", format!("{path}/deliveries/{nothing}/replay"), 401),
        ("DELETE", path.clone(), 401),
    ] {
        let said = http.request(method, &path, Some(&admin), None).await.unwrap();
        assert_eq!(said.status, by_admin, "{method} {path}: {said:?}");
        let said = http.request(method, &path, Some(&user), None).await.unwrap();
        assert!(matches!(said.status, 401 | 403), "{method} {path}: {said:?}");
        assert_eq!(http.request(method, &path, None, None).await.unwrap().status, 401, "{method} {path}");
    }
}
