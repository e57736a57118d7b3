//! What goes on and what is refused while a dependency is lost, and how that is seen: the table of degraded modes.

mod database;
mod forwarder;
mod metrics;
mod one_node;
mod owner_dies;
mod redis;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{
    faults::checker::History,
    support::{TestClient, TestCluster, inbox::WireError, node::field, process::POLL},
};

/// From the loss of a dependency to the mode, on a busy machine: the PING that is not answered, and a look.
const ENTERED: Duration = Duration::from_secs(12);
/// From its return to the end of the mode: reconnecting, the hold, and a look.
const LEFT: Duration = Duration::from_secs(15);
/// How long an event may take through the database. Two seconds are promised, to a machine that has the time.
const BY_DATABASE: Duration = Duration::from_secs(5);
/// A refusal that takes as long was waited for; what is known to be out of reach is refused at once.
const AT_ONCE: Duration = Duration::from_secs(4);

/// What `/readyz` says of a dependency of a node.
async fn loss(cluster: &TestCluster, node: usize, dependency: &str) -> (u16, Option<Value>) {
    let answer = cluster.http(node).get("/readyz").await;
    let losses = answer.body["degraded"].as_array().unwrap_or_else(|| panic!("no list in {answer:?}"));
    (answer.status, losses.iter().find(|loss| loss["dependency"] == dependency).cloned())
}

/// Waits until a node does without; the status of `/readyz` and what it says.
async fn expect_loss(cluster: &TestCluster, node: usize, dependency: &str) -> (u16, Value) {
    let deadline = Instant::now() + ENTERED;
    loop {
        if let (status, Some(loss)) = loss(cluster, node, dependency).await {
            assert!(loss["since"].is_string() && loss["fault"].is_string(), "{loss}");
            assert_eq!(gauge(cluster, node, &format!("carillon_degraded{{dependency=\"{dependency}\"}}")).await, 1.0);
            return (status, loss);
        }
        assert!(Instant::now() < deadline, "node {node} does not notice\n{}", cluster.node(node).log_tail());
        tokio::time::sleep(POLL).await;
    }
}

/// Waits until a node has everything again, is ready, and has said so once.
async fn expect_whole(cluster: &TestCluster, node: usize, dependency: &str) {
    let deadline = Instant::now() + LEFT;
    while loss(cluster, node, dependency).await != (200, None) {
        let tail = || cluster.node(node).log_tail();
        assert!(Instant::now() < deadline, "node {node} stays without {dependency}\n{}", tail());
        tokio::time::sleep(POLL).await;
    }
    let labels = format!("{{dependency=\"{dependency}\"}}");
    assert_eq!(gauge(cluster, node, &format!("carillon_degraded{labels}")).await, 0.0);
    assert_eq!(gauge(cluster, node, &format!("carillon_degraded_entered_total{labels}")).await, 1.0);
    for message in ["degraded mode entered", "degraded mode left"] {
        let lines = cluster.node(node).logged(message);
        let [line] = &lines[..] else { panic!("one line says {message}: {lines:#?}") };
        assert_eq!(field(line, "dependency"), Some(dependency), "{line}");
        assert!(field(line, "why").is_some_and(|why| !why.is_empty()), "{line}");
    }
}

/// The value of one series.
async fn gauge(cluster: &TestCluster, node: usize, series: &str) -> f64 {
    let answer = cluster.http(node).get("/metrics").await;
    let text = answer.body.as_str().unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or_else(|| panic!("no {series} in {text}"))
}

/// Sends a command that must be refused as retryable, and soon.
async fn assert_refused_at_once(history: &History, client: &TestClient, command: &str, data: Value) {
    let began = Instant::now();
    let answer: Result<Value, WireError> = history.once(client, command, data).await;
    let refused = answer.expect_err("its owner, or the database, cannot be reached");
    assert_eq!((refused.code.as_str(), refused.retryable), ("unavailable", true), "{refused:?}");
    assert!(began.elapsed() < AT_ONCE, "{command} waits {:?}", began.elapsed());
}

/// Waits for these changes of a user's camera, in this order.
async fn expect_changes(client: &TestClient, call: &str, of: &str, changes: &[bool]) {
    let of_user = |e: &Value| e["callId"] == call && e["userId"] == of && e["changes"]["video"].is_boolean();
    for change in changes {
        let told = client.expect_within(BY_DATABASE, "call:participant_updated", of_user).await;
        assert_eq!(told.data["changes"]["video"], *change, "in order: {}", told.data);
    }
}

/// Changes a user's camera.
async fn change(history: &History, client: &TestClient, call: &str, changes: &[bool]) {
    for video in changes {
        history.must(client, "call:media", json!({"callId": call, "video": video})).await;
    }
}
