//! Three nodes of the last release are replaced by this one, one after another, and the other way round, while
//! `carillon load` holds calls through it all.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{LEAVE, mixed};
use crate::{
    load::Holding,
    support::{
        TestCluster,
        node::{Release, command},
    },
};

const NODES: usize = 3;
/// Between the arrival of a node and the leave of the next: who was sent away is back somewhere.
const PAUSE: Duration = Duration::from_secs(3);

/// Each node is told to stop, and one of this release takes its place at the same address.
async fn roll(cluster: &mut TestCluster, to: Release) {
    let mut slowest = Duration::ZERO;
    for number in 0..NODES {
        let address = cluster.node(number).address;
        let began = Instant::now();
        let status = cluster.node_mut(number).terminate(LEAVE).await;
        slowest = slowest.max(began.elapsed());
        assert!(status.success(), "it leaves in good order: {status}\n{}", cluster.node(number).log_tail());
        cluster.set_on(number, "CARILLON_LISTEN", address);
        cluster.set_release(number, to);
        cluster.replace(number).await;
        tokio::time::sleep(PAUSE).await;
    }
    println!("to {to:?}: the slowest node left in {:.1} s", slowest.as_secs_f64());
}

/// Begins with nodes of one release and ends with nodes of the other, with calls that last through it.
async fn under_load(from: Release, to: Release) {
    let previous: Vec<usize> = if from == Release::Previous { (0..NODES).collect() } else { Vec::new() };
    let mut cluster = mixed(NODES, previous).start().await;
    let targets: Vec<String> = (0..NODES).map(|number| cluster.node(number).ws_url()).collect();
    let arguments = ["--pairs", "8", "--every", "300ms", "--idle", "3", "--patience", "60s"];
    let mut holding = Holding::at(&targets.join(","), &cluster, &arguments);
    if to == Release::This {
        let mut migrate = command(&["migrate"], cluster.settings());
        let output = tokio::task::spawn_blocking(move || migrate.output().expect("run it")).await.expect("it ends");
        assert!(output.status.success(), "{output:?}");
    }
    holding.next_phase();
    roll(&mut cluster, to).await;
    holding.next_phase();
    tokio::time::sleep(PAUSE).await;
    let (code, report) = tokio::task::spawn_blocking(move || holding.end()).await.expect("it ends");
    let rolling = &report["phases"][1];
    println!("{from:?} to {to:?}: {rolling}");
    assert_eq!(
        (code, &report["passed"], &report["callsEnded"]),
        (Some(0), &Value::Bool(true), &Value::from(8)),
        "{report}"
    );
    assert!(report["findings"].as_object().is_some_and(|found| found.values().all(|count| *count == 0)), "{report}");
    assert!(rolling["connectionsLost"].as_u64() >= Some(16), "every socket was sent away: {report}");
}

#[tokio::test]
async fn a_rolling_upgrade_under_load_drops_no_call_and_every_command_comes_through() {
    under_load(Release::Previous, Release::This).await;
}

#[tokio::test]
async fn rolling_back_to_the_last_release_under_load_drops_no_call_and_every_command_comes_through() {
    under_load(Release::This, Release::Previous).await;
}
