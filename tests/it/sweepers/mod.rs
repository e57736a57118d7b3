//! Sweepers on real processes: each with a prey made real, on one node and on several, on schedule and by hand.
//!
//! What timers and nodes do by themselves is taken away by fail points: an owner that forgets its timers, a node that does
//! not tell that a device is gone.

#![cfg(feature = "failpoints")]

mod by_hand;
mod housekeeping;
mod left_behind;
mod runbook;
mod stale;
mod takeover;
mod words;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::support::{
    TestClient, TestCluster,
    cluster::ClusterBuilder,
    node::{command, field},
};

/// Until what is past its time is swept on a busy machine: the margin, a look, two probes.
const SWEPT: Duration = Duration::from_secs(60);
/// An owner that forgets every timer of its calls.
const NO_TIMERS: (&str, &str) = ("FAILPOINTS", "call-arm-timer=return");

/// A call of alice's that rings bob past its deadline, and that its owner forgets; no sweeper comes by schedule.
async fn a_forgotten_ring(cluster: ClusterBuilder) -> (TestCluster, TestClient, TestClient, String) {
    let cluster = cluster
        .set(NO_TIMERS.0, NO_TIMERS.1)
        .set("CARILLON_RING_TIMEOUT_SECS", 1)
        .set("CARILLON_SWEEP_INTERVAL_SECS", 3600)
        .start()
        .await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let call = alice.start(&["bob"]).await;
    bob.expect_of("call:incoming", &call).await;
    (cluster, alice, bob, call)
}

/// What `carillon sweep` printed, and how it ended.
#[derive(Debug)]
pub struct Swept {
    pub code: i32,
    /// The actions.
    pub lines: Vec<String>,
    pub summary: String,
    errors: String,
}

impl Swept {
    /// Whether it ended like this, as far as this says: `done; found 1, acted 1, failed 0`, `failed: why; found …`.
    pub fn ended(&self, as_wanted: &str) -> bool {
        let said = fields(&self.summary);
        let of = |name: &str| said.get(name).cloned().unwrap_or_default();
        let note = said.get("note").map(|note| format!(": {note}")).unwrap_or_default();
        let [outcome, found, acted, failed] = ["outcome", "found", "acted", "failed"].map(of);
        format!("{outcome}{note}; found {found}, acted {acted}, failed {failed}").starts_with(as_wanted)
    }
}

/// `carillon sweep` beside the cluster.
pub async fn carillon_sweep(cluster: &TestCluster, arguments: &[&str]) -> Swept {
    let arguments: Vec<&str> = std::iter::once("sweep").chain(arguments.iter().copied()).collect();
    let mut command = command(&arguments, cluster.settings());
    let output = tokio::task::spawn_blocking(move || command.output().expect("run carillon sweep")).await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut lines: Vec<String> = text(&output.stdout).lines().map(str::to_owned).collect();
    let summary = lines.pop().unwrap_or_default();
    Swept { code: output.status.code().expect("it exits"), lines, summary, errors: text(&output.stderr) }
}

/// The fields of a line that `carillon sweep` printed.
fn fields(line: &str) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    let mut rest = line.trim();
    while let Some((name, value)) = rest.split_once('=') {
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => value.split_once(' ').unwrap_or((value, "")),
        };
        fields.insert(name.to_owned(), value.to_owned());
        rest = after.trim_start();
    }
    fields
}

/// Sweeps by hand until a run is as wanted.
pub async fn sweep_until(cluster: &TestCluster, arguments: &[&str], is: impl Fn(&Swept) -> bool) -> Swept {
    let deadline = Instant::now() + SWEPT;
    loop {
        let swept = carillon_sweep(cluster, arguments).await;
        if is(&swept) {
            return swept;
        }
        assert!(Instant::now() < deadline, "{arguments:?} never comes to that: {swept:?}");
    }
}

/// A number in a log line.
fn number(line: &Value, name: &str) -> Option<u64> {
    line.get("fields").and_then(|fields| fields.get(name)).or_else(|| line.get(name))?.as_u64()
}

/// The log lines of a sweeper's actions, on all nodes.
fn actions(cluster: &TestCluster, sweeper: &str) -> Vec<Value> {
    logged(cluster, "swept", sweeper)
}

/// Log lines with this message that are about this sweeper, on all nodes.
fn logged(cluster: &TestCluster, message: &str, sweeper: &str) -> Vec<Value> {
    let lines = (0..cluster.size()).flat_map(|number| cluster.node(number).logged(message));
    lines.filter(|line| field(line, "sweep") == Some(sweeper)).collect()
}

/// Asserts that one action on this call was done, that its line says all there is to say, and that it is on record in
/// the same words.
fn assert_done_once(cluster: &TestCluster, sweeper: &str, what: &str, call: &str) {
    let done: Vec<Value> = actions(cluster, sweeper)
        .into_iter()
        .filter(|line| field(line, "outcome") == Some("done") && field(line, "call.id") == Some(call))
        .collect();
    assert_eq!(done.len(), 1, "{done:?}");
    assert_eq!(field(&done[0], "what"), Some(what));
    assert!(field(&done[0], "why").is_some_and(|why| !why.is_empty()), "{done:?}");
    assert!(number(&done[0], "age_secs").is_some(), "{done:?}");
    let Some(database) = cluster.database() else { return };
    let rows = database.sql(&format!(
        "SELECT a.what, a.why, r.sweeper, r.node FROM sweep_actions a JOIN sweep_runs r ON r.id = a.run \
         WHERE a.call_id = '{call}' AND a.outcome = 'done' AND r.sweeper = '{sweeper}'"
    ));
    let logged = ["what", "why", "sweep", "node.id"].map(|name| field(&done[0], name).map(str::to_owned));
    assert_eq!(rows, [logged.to_vec()]);
}
