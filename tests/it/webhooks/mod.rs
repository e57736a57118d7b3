//! Webhooks: what the application's backend is told, in which order, signed how, and what happens when it does not listen.

mod addresses;
#[cfg(feature = "failpoints")]
mod crashes;
mod failing;
mod guide;
pub mod receiver;
mod rest;
mod sweeping;
mod telling;

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{TestCluster, cluster::ClusterBuilder, http::Answer};
use receiver::{Receiver, Reply};

/// What must come, comes within it, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Nodes that may post to this machine, and try three times, soon.
pub fn telling(builder: ClusterBuilder) -> ClusterBuilder {
    builder.set("CARILLON_WEBHOOK_ALLOW_PRIVATE", "true").set("CARILLON_WEBHOOK_RETRY_SECS", "1,1")
}

/// A webhook that was made.
pub struct Hook {
    pub id: String,
    pub secret: String,
}

/// Makes a webhook for an endpoint.
pub async fn hook(cluster: &TestCluster, receiver: &Receiver, events: &[&str]) -> Hook {
    hook_at(cluster, &receiver.url(), events).await
}

pub async fn hook_at(cluster: &TestCluster, url: &str, events: &[&str]) -> Hook {
    let made = post(cluster, "/api/v1/webhooks", json!({"url": url, "events": events})).await;
    assert_eq!(made.status, 201, "{made:?}");
    let secret = made.body["secret"].as_str().unwrap().to_owned();
    cluster.realm().canaries.forbid(&secret);
    // Every node has looked by then which webhooks there are.
    if cluster.size() > 1 {
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    Hook { id: made.body["webhookId"].as_str().unwrap().to_owned(), secret }
}

async fn post(cluster: &TestCluster, path: &str, body: Value) -> Answer {
    cluster.http(0).service("POST", path, Some(body)).await
}

async fn get(cluster: &TestCluster, path: &str) -> Value {
    let answer = cluster.http(0).service("GET", path, None).await;
    assert!(answer.ok(), "{path}: {answer:?}");
    answer.body
}

/// The deliveries of a webhook, newest first.
pub async fn deliveries(cluster: &TestCluster, hook: &Hook, state: &str) -> Vec<Value> {
    let page = get(cluster, &format!("/api/v1/webhooks/{}/deliveries?limit=200{state}", hook.id)).await;
    page["deliveries"].as_array().unwrap().clone()
}

/// Waits for a delivery like this.
pub async fn expect_delivery(cluster: &TestCluster, hook: &Hook, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let all = deliveries(cluster, hook, "").await;
        if let Some(found) = all.iter().find(|delivery| is(delivery)) {
            return found.clone();
        }
        assert!(tokio::time::Instant::now() < deadline, "no delivery is {what}: {all:#?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Sends a test; the delivery's id.
pub async fn try_hook(cluster: &TestCluster, hook: &Hook) -> String {
    let answer = post(cluster, &format!("/api/v1/webhooks/{}/test", hook.id), json!({})).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    answer.body["deliveryId"].as_str().unwrap().to_owned()
}
