//! The operator's side of REST: what is seen of nodes, calls, users and sweeps, and what is done to them.

mod acting;
mod draining;
mod looking;
mod sweeping;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{TestCluster, http::Answer};

/// What takes a few renewals of a lease, or a few looks, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request with the service key.
async fn ask(cluster: &TestCluster, number: usize, method: &str, path: &str, body: Option<Value>) -> Answer {
    cluster.http(number).service(method, &format!("/api/v1/admin/{path}"), body).await
}

/// The same that must succeed; its answer.
async fn must(cluster: &TestCluster, number: usize, method: &str, path: &str, body: Option<Value>) -> Value {
    let answer = ask(cluster, number, method, path, body).await;
    assert!(answer.ok(), "{method} {path}: {answer:?}");
    answer.body
}

/// Looks until it is as wanted.
async fn until(cluster: &TestCluster, number: usize, path: &str, is: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = must(cluster, number, "GET", path, None).await;
        if is(&seen) {
            return seen;
        }
        assert!(Instant::now() < deadline, "{path} never comes to that: {seen}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn list<'a>(answer: &'a Value, name: &str) -> &'a Vec<Value> {
    answer[name].as_array().unwrap_or_else(|| panic!("no {name}: {answer}"))
}

/// The id of a node by its number, from 0.
async fn node_id(cluster: &TestCluster, number: usize) -> String {
    let nodes = must(cluster, number, "GET", "nodes", None).await;
    nodes["answeredBy"].as_str().unwrap().to_owned()
}

/// A token of somebody with the role `admin`.
fn admin(cluster: &TestCluster) -> String {
    cluster.realm().token_with(&json!({"sub": "ann", "exp": 4_000_000_000_u64, "role": "admin"}))
}

/// What is on record of one action, the oldest first: its outcome and note.
async fn recorded(cluster: &TestCluster, number: usize, action: &str, target: &str) -> Vec<(String, String)> {
    let log = must(cluster, number, "GET", &format!("audit?action={action}&limit=200"), None).await;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let of_target = list(&log, "entries").iter().filter(|entry| entry["target"]["id"] == target);
    let mut found: Vec<(String, String)> = of_target
        .map(|entry| {
            for field in ["id", "at", "requestId", "nodeId"] {
                assert!(entry[field].is_string(), "{field}: {entry}");
            }
            assert_eq!(entry["actor"]["kind"], "service_key", "{entry}");
            (text(&entry["outcome"]), text(&entry["note"]))
        })
        .collect();
    found.reverse();
    found
}

fn pairs<const N: usize>(wanted: [(&str, &str); N]) -> Vec<(String, String)> {
    wanted.map(|(outcome, note)| (outcome.to_owned(), note.to_owned())).into()
}
