//! Calls whose owner is gone, and who sweeps in a cluster: one node at a time, another when that one dies.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{SWEPT, actions, carillon_sweep, logged, number};
use crate::support::{TestCluster, node::field, process::POLL};

#[tokio::test]
async fn calls_of_a_node_that_died_are_taken_over_once_each_and_the_lines_say_since_when() {
    let mut cluster = TestCluster::of(3).set("CARILLON_NODE_LEASE_SECS", 2).start().await;
    let mut calls = Vec::new();
    let mut callees = Vec::new();
    for pair in 0..6 {
        let caller = cluster.connect(0, &format!("caller-{pair}"), "phone").await;
        // The calls of people who went with the node all wait for the sweeper: nobody else asks for them.
        let callee = cluster.connect(pair % 3, &format!("callee-{pair}"), "phone").await;
        calls.push(caller.call_through(&callee).await);
        callees.push(callee);
    }
    cluster.node_mut(0).kill();
    for (pair, (callee, call)) in callees.iter().zip(&calls).enumerate() {
        if pair % 3 > 0 {
            callee.expect_within(SWEPT, "call:renegotiate", |e| e["callId"] == **call).await;
        }
    }
    calls.sort();
    let deadline = Instant::now() + SWEPT;
    loop {
        let lines = (1..3).flat_map(|node| cluster.node(node).logged("call taken over"));
        let mut taken: Vec<String> = lines.filter_map(|line| field(&line, "call.id").map(str::to_owned)).collect();
        taken.sort();
        if taken == calls {
            break;
        }
        assert!(taken.len() < calls.len() && Instant::now() < deadline, "each once: {taken:?} of {calls:?}");
        tokio::time::sleep(POLL * 10).await;
    }
    let done = actions(&cluster, "takeover");
    assert!(!done.is_empty(), "none was the sweeper's");
    for line in &done {
        assert_eq!(field(line, "what"), Some("take_over"), "{line}");
        assert!(number(line, "age_secs").is_some_and(|age| age < 60), "{line}");
    }
}

#[tokio::test]
async fn each_sweeper_has_one_runner_among_three_nodes_and_its_quiet_runs_are_few_rows() {
    let began = Instant::now();
    let cluster = TestCluster::of(3).set("CARILLON_SWEEP_INTERVAL_SECS", 1).start().await;
    let runs = |sweeper| logged(&cluster, "sweep found nothing", sweeper).len();
    let sweepers = ["stale_ringing", "stale_connecting", "max_duration", "left_behind", "takeover"];
    let deadline = Instant::now() + SWEPT;
    while sweepers.iter().any(|sweeper| runs(sweeper) < 6) {
        assert!(Instant::now() < deadline, "{:?}", sweepers.map(runs));
        tokio::time::sleep(POLL * 10).await;
    }
    let counts = sweepers.map(runs);
    // At least three quarters of the interval apart: three nodes, each for itself, would have run three times as often.
    let most = began.elapsed().as_secs_f64() / 0.75 + 1.0;
    assert!(counts.iter().all(|count| *count as f64 <= most), "more than {most} runs: {counts:?}");
    let rows = cluster.database().unwrap().sql("SELECT count(*), max(runs) FROM sweep_runs");
    let count: u64 = rows[0][0].as_deref().unwrap().parse().unwrap();
    let most = 3 * carillon::actors::sweepers::NAMES.len() as u64;
    assert!(count <= most, "a row for each node and sweeper at most: {count}");
}

#[tokio::test]
async fn a_sweeper_whose_node_dies_in_the_middle_is_run_by_another() {
    let mut cluster = TestCluster::two_nodes()
        .set("CARILLON_NODE_LEASE_SECS", 2)
        .set("CARILLON_SWEEP_INTERVAL_SECS", 3600)
        .set("FAILPOINTS", "user-tell-lost=return")
        .start()
        .await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let mut bob = cluster.connect(1, "bob", "phone").await;
    alice.call_through(&bob).await;
    bob.drop_connection().await;
    let sql = |sql: &str| cluster.database().unwrap().sql(sql);
    sql("UPDATE participants SET joined_at = joined_at - interval '1 hour'");
    // Between its two probes it has five seconds to die in.
    let (swept, holder) = tokio::join!(carillon_sweep(&cluster, &["left_behind", "--dry-run"]), async {
        let running = "SELECT node FROM sweep_runs WHERE sweeper = 'left_behind' AND finished_at IS NULL";
        loop {
            if let Some(row) = sql(running).first() {
                let holder = row[0].clone().unwrap();
                let number = (0..2).find(|n| {
                    cluster.node(*n).logged("listening").iter().any(|line| field(line, "node.id") == Some(&*holder))
                });
                let number = number.expect("one of the nodes");
                cluster.node(number).signal(libc::SIGKILL);
                return number;
            }
            tokio::time::sleep(POLL).await;
        }
    });
    cluster.node_mut(holder).kill();
    assert!(swept.code == 1 && swept.errors.contains("died while it ran left_behind"), "{swept:?}");
    let again = super::sweep_until(&cluster, &["left_behind", "--dry-run"], |swept| swept.ended("done")).await;
    let mut nodes: BTreeMap<String, u32> = BTreeMap::new();
    for row in cluster.database().unwrap().sql("SELECT node FROM sweep_runs WHERE sweeper = 'left_behind' AND by_hand")
    {
        *nodes.entry(row[0].clone().unwrap()).or_default() += 1;
    }
    assert_eq!(nodes.len(), 2, "{again:?}");
}

#[tokio::test]
async fn without_a_node_nobody_takes_the_request_and_nothing_is_left_of_it() {
    let mut cluster = TestCluster::of(1).start().await;
    cluster.node_mut(0).terminate(Duration::from_secs(30)).await;
    let swept = carillon_sweep(&cluster, &["takeover"]).await;
    assert!(swept.code == 1 && swept.errors.contains("no node took it"), "{swept:?}");
    assert_eq!(cluster.database().unwrap().sql("SELECT count(*) FROM sweep_requests"), [[Some("0".to_owned())]]);
}

/// Not part of the suite: `cargo test --release --features failpoints -- --ignored --nocapture five_hundred`.
#[tokio::test]
#[ignore = "a measurement"]
async fn five_hundred_calls_are_taken_over_in_about_a_second() {
    let mut cluster = TestCluster::two_nodes().set("CARILLON_NODE_LEASE_SECS", 2).start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    for callee in 0..500 {
        let start = json!({"calleeIds": [format!("nobody-{callee}")], "type": "audio", "ringTimeoutSecs": 600});
        alice.must("call:start", start).await;
    }
    cluster.node_mut(0).kill();
    let died = Instant::now();
    let taken = || logged(&cluster, "swept", "takeover").len();
    while taken() < 500 {
        assert!(died.elapsed() < SWEPT, "{} taken over", taken());
        tokio::time::sleep(POLL).await;
    }
    println!("all within {:?} of the death", died.elapsed());
    for line in logged(&cluster, "sweep finished", "takeover") {
        println!("{line}");
    }
}
