//! A node on PostgreSQL against its OpenAPI document: schemathesis sends what fits the document and what does not, alone
//! and in chains, and complains about every answer that is not in it.

use std::{process::Command, time::Duration};

use serde_json::json;

use super::{folder, python_tool};
use crate::support::{
    TestCluster,
    process::{self, Process},
};

/// Far more than it takes: it sends a given number of requests.
const LIMIT: Duration = Duration::from_secs(600);

/// Calls that ring alice, as schemathesis.toml names them.
const RINGING: [&str; 5] =
    ["rings-to-accept", "rings-to-alert", "rings-to-decline", "rings-to-join", "rings-to-refuse"];

#[tokio::test]
async fn a_node_answers_as_its_openapi_document_says() {
    let settings = TestCluster::of(1).set("RUST_LOG", "warn,carillon=info").set("CARILLON_BUSY_POLICY", "call_waiting");
    let cluster = settings.start().await;
    // Whom the requests may meet: members of a group, somebody who can be reached, and calls that ring.
    cluster.group("team", &["alice", "bob"]).await;
    let bob = cluster.connect(0, "bob", "phone").await;
    // The device that requests act as, so that calls taken up by them are not taken for lost.
    let alice = cluster.connect(0, "alice", "rest").await;
    for call in RINGING {
        bob.must("call:start", json!({"callId": call, "calleeIds": ["alice"], "ringTimeoutSecs": 600})).await;
    }
    let output = process::new_folder("schemathesis");
    let log = output.join("log");
    let address = cluster.node(0).address;
    let mut command = Command::new(python_tool("schemathesis"));
    command.arg("--config-file").arg(folder().join("schemathesis.toml"));
    command.args(["run", "--checks", "all", "--warnings", "off", "--no-color"]);
    command.arg(format!("http://{address}/api/v1/openapi.json")).current_dir(&output);
    command.env("TOKEN", cluster.token("alice")).env("SERVICE_KEY", &cluster.realm().service_key);
    let mut running = Process::spawn("schemathesis", command, &log, libc::SIGTERM);
    let status = running.exit(LIMIT).await;
    let said = std::fs::read_to_string(&log).unwrap_or_default();
    assert!(status.is_some_and(|status| status.success()), "{status:?}\n{said}");
    println!("{said}");
    assert_eq!(cluster.http(0).status("/readyz").await, Some(200));
    // What the two were told meanwhile is looked at as they go.
    drop((alice, bob));
}
