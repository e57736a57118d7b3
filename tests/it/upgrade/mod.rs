//! Nodes of the last release and of this one in one cluster: what an upgrade, node by node, looks like in the middle.
//!
//! The binary of the last release is built by `tests/previous/build` (the step `previous` of `tests/run`). Where a version
//! has no say in what is tested, either order of the two is run by the same scenario.

mod expanding;
mod migrating;
mod newer;
mod owners;
mod pairs;
mod rolling;
mod sharing;
mod vocabulary;

use std::time::Duration;

use serde_json::Value;

use crate::{
    faults::nodes,
    support::{TestClient, cluster::ClusterBuilder, moves::candidate, node::Release},
};

/// From SIGTERM to the end of the process, on a machine that is busy with other tests.
const LEAVE: Duration = Duration::from_secs(25);
/// Both orders of two nodes: which of them is of the last release.
const EITHER: [usize; 2] = [0, 1];

/// Nodes that notice a death soon, these of the last release. Who comes back late is not given up.
fn mixed(count: usize, previous: impl IntoIterator<Item = usize>) -> ClusterBuilder {
    nodes(count).previous(previous).set("CARILLON_RECONNECT_GRACE_SECS", 15)
}

/// The version that a binary says it is of.
fn version_of(release: Release) -> String {
    let output = std::process::Command::new(release.program()).arg("--version").output().expect("run the binary");
    let said = String::from_utf8(output.stdout).expect("text");
    said.split(' ').nth(1).unwrap_or_else(|| panic!("no version in {said:?}")).to_owned()
}

/// Asserts that signals pass both ways.
async fn assert_talk(one: &TestClient, other: &TestClient, call: &str) {
    for (number, (from, to)) in (700..).zip([(one, other), (other, one)]) {
        from.signal(call, &to.user, "ice_candidate", candidate(number)).await;
        to.expect("call:signal", |s| s["callId"] == call && s["payload"] == candidate(number)).await;
    }
}

/// Asserts that every field of `old` stands in `new` too, with the same value: a later version may say more.
#[track_caller]
fn assert_says_as_much(new: &Value, old: &Value) {
    match (new, old) {
        (Value::Object(new_fields), Value::Object(fields)) => {
            for (name, value) in fields {
                let said = new_fields.get(name).unwrap_or_else(|| panic!("no {name} in {new}, as in {old}"));
                assert_says_as_much(said, value);
            }
        }
        (Value::Array(new_items), Value::Array(items)) => {
            assert_eq!(new_items.len(), items.len(), "{new} is not {old}");
            new_items.iter().zip(items).for_each(|(new, old)| assert_says_as_much(new, old));
        }
        _ => assert_eq!(new, old),
    }
}

#[tokio::test]
async fn the_two_releases_are_two_and_each_node_says_which_it_is() {
    let (this, previous) = (version_of(Release::This), version_of(Release::Previous));
    assert_eq!(this, env!("CARGO_PKG_VERSION"));
    assert_ne!(this, previous, "a release begins with a new version in Cargo.toml, see docs/upgrades.md");
    let cluster = mixed(2, [0]).start().await;
    let rows = cluster.database().expect("a database").sql("SELECT version FROM nodes ORDER BY version");
    let mut versions: Vec<String> = rows.into_iter().filter_map(|mut row| row.swap_remove(0)).collect();
    versions.iter_mut().for_each(|said| said.truncate(said.find(' ').unwrap_or(said.len())));
    let mut wanted = [previous, this];
    wanted.sort();
    assert_eq!(versions, wanted);
}
