//! Service keys: several, shown once, revoked within seconds on every node, made at the command line too.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{TestCluster, http::Answer, node::command};

/// A node remembers a key for two seconds; the rest is for a busy machine.
const REVOKED_WITHIN: Duration = Duration::from_secs(20);
const GROUPS: &str = "/api/v1/groups";

async fn groups_with(cluster: &TestCluster, node: usize, key: &str) -> Answer {
    cluster.http(node).request("GET", GROUPS, Some(key), None).await.expect("the node answers")
}

async fn make(cluster: &TestCluster, body: Value) -> (String, String) {
    let made = cluster.http(0).service("POST", "/api/v1/service-keys", Some(body)).await;
    assert_eq!(made.status, 201, "{made:?}");
    let text = |field: &str| made.body[field].as_str().expect("text").to_owned();
    let key = text("key");
    cluster.realm().canaries.forbid(&key);
    (text("id"), key)
}

async fn until_refused(cluster: &TestCluster, node: usize, key: &str) {
    let begun = Instant::now();
    loop {
        let answer = groups_with(cluster, node, key).await;
        if answer.status == 401 {
            assert_eq!(answer.code(), "unauthenticated", "{answer:?}");
            return;
        }
        assert!(begun.elapsed() < REVOKED_WITHIN, "node {node} still takes the key: {answer:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn life_of_a_key(cluster: TestCluster) {
    let last = cluster.size() - 1;
    let (id, key) = make(&cluster, json!({"name": "billing"})).await;
    let (_, second) = make(&cluster, json!({"name": "billing"})).await;
    assert!(key.starts_with("csk_") && key.len() >= 4 + 43 && key != second);
    for node in 0..cluster.size() {
        assert_eq!(groups_with(&cluster, node, &key).await.status, 200);
    }
    let listed = cluster.http(last).request("GET", "/api/v1/service-keys", Some(&key), None).await.unwrap();
    assert_eq!(listed.status, 200, "{listed:?}");
    let keys = listed.body["keys"].as_array().unwrap();
    let ours = keys.iter().find(|known| known["id"] == *id).expect("it is listed");
    assert!(ours["name"] == "billing" && ours["createdAt"].is_string() && ours["lastUsedAt"].is_string(), "{ours}");
    assert!(!listed.body.to_string().contains("csk_"), "no key is shown again");

    let path = format!("/api/v1/service-keys/{id}");
    for _ in 0..2 {
        assert_eq!(cluster.http(last).service("DELETE", &path, None).await.status, 204);
    }
    for node in 0..cluster.size() {
        until_refused(&cluster, node, &key).await;
        assert_eq!(groups_with(&cluster, node, &second).await.status, 200, "the others stay good");
    }
    let unknown = cluster.http(0).service("DELETE", "/api/v1/service-keys/nonsense", None).await;
    assert_eq!((unknown.status, unknown.code()), (404, "not_found"), "{unknown:?}");
    let made_up = format!("csk_{}", "0".repeat(64));
    assert_eq!(groups_with(&cluster, 0, &made_up).await.status, 401);
    assert_eq!(groups_with(&cluster, 0, &second[..second.len() - 1]).await.status, 401);
}

#[tokio::test]
async fn a_key_is_shown_once_and_useless_soon_after_it_is_revoked_on_sqlite() {
    life_of_a_key(TestCluster::embedded().start().await).await;
}

#[tokio::test]
async fn a_key_that_one_node_revokes_is_useless_on_every_node_within_seconds() {
    life_of_a_key(TestCluster::two_nodes().start().await).await;
}

#[tokio::test]
async fn a_key_expires_and_one_that_is_asked_for_wrongly_is_not_made() {
    let cluster = TestCluster::embedded().start().await;
    let soon = chrono::Utc::now() + chrono::TimeDelta::seconds(5);
    let (_, key) = make(&cluster, json!({"name": "short", "expiresAt": soon.to_rfc3339()})).await;
    assert_eq!(groups_with(&cluster, 0, &key).await.status, 200);
    until_refused(&cluster, 0, &key).await;
    let http = cluster.http(0);
    for body in [
        json!({}),
        json!({"name": " "}),
        json!({"name": "n".repeat(101)}),
        json!({"name": "late", "expiresAt": "2020-01-01T00:00:00Z"}),
        json!({"name": "late", "expiresAt": "tomorrow"}),
    ] {
        let refused = http.service("POST", "/api/v1/service-keys", Some(body)).await;
        assert_eq!((refused.status, refused.code()), (400, "invalid"), "{refused:?}");
    }
}

#[tokio::test]
async fn a_key_asked_for_twice_under_one_idempotency_key_is_made_once() {
    let cluster = TestCluster::embedded().start().await;
    let bootstrap = cluster.realm().service_key.clone();
    let http = cluster.http(0);
    let body = Some(json!({"name": "once"}));
    let ask = || http.request_keyed("POST", "/api/v1/service-keys", Some(&bootstrap), Some("k1"), body.clone());
    let first = ask().await.unwrap();
    assert_eq!(first.status, 201, "{}", first.status);
    cluster.realm().canaries.forbid(first.body["key"].as_str().unwrap());
    let second = ask().await.unwrap();
    assert_eq!((second.status, second.code()), (409, "conflict"), "{second:?}");
    let listed = http.service("GET", "/api/v1/service-keys", None).await;
    assert_eq!(listed.body["keys"].as_array().unwrap().len(), 1, "{listed:?}");
}

fn carillon(cluster: &TestCluster, arguments: &[&str]) -> (i32, String) {
    let arguments: Vec<&str> = ["service-key"].iter().chain(arguments).copied().collect();
    let output = command(&arguments, cluster.settings()).output().expect("carillon runs");
    (output.status.code().unwrap_or(-1), String::from_utf8(output.stdout).unwrap().trim().to_owned())
}

async fn by_hand(cluster: TestCluster) {
    let (code, key) = carillon(&cluster, &["create", "by hand", "--expires-in", "1h"]);
    assert_eq!(code, 0);
    cluster.realm().canaries.forbid(&key);
    assert_eq!(groups_with(&cluster, 0, &key).await.status, 200);
    let (code, list) = carillon(&cluster, &["list"]);
    assert!(
        code == 0 && list.contains("by hand") && list.contains("good, expires 2") && !list.contains("csk_"),
        "{list}"
    );
    let id = list.split_whitespace().next().unwrap();
    assert_eq!(carillon(&cluster, &["revoke", id]).0, 0);
    until_refused(&cluster, 0, &key).await;
    assert!(carillon(&cluster, &["list"]).1.contains("revoked 2"));
    assert_eq!(carillon(&cluster, &["revoke", "00000000-0000-7000-8000-000000000000"]).0, 1);
    assert_eq!(carillon(&cluster, &["create", ""]).0, 2);
}

#[tokio::test]
async fn keys_are_made_listed_and_revoked_at_the_command_line_on_sqlite() {
    by_hand(TestCluster::embedded().start().await).await;
}

#[tokio::test]
async fn keys_are_made_listed_and_revoked_at_the_command_line_on_postgres() {
    by_hand(TestCluster::two_nodes().start().await).await;
}
