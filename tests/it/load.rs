//! `carillon load` against real nodes: it measures what it says, and says what went wrong.

use serde_json::Value;

use crate::support::{TestCluster, node::command};

fn load(cluster: &TestCluster, arguments: &[&str]) -> (Option<i32>, Value) {
    let targets: Vec<String> = (0..cluster.size()).map(|number| cluster.node(number).ws_url()).collect();
    let targets = targets.join(",");
    let mut all = vec!["load", "--json", "--target", &targets, "--warm-up", "500ms", "--duration", "2s"];
    all.extend(arguments);
    let secret = ("CARILLON_JWT_SECRET".to_owned(), cluster.realm().jwt_secret.clone());
    let output = command(&all, &[secret]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let report = serde_json::from_str(&said)
        .unwrap_or_else(|error| panic!("{error} in {said:?}; {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code(), report)
}

#[tokio::test]
async fn the_load_drives_whole_calls_across_two_nodes_and_reports_no_errors() {
    let cluster = TestCluster::two_nodes().start().await;
    let (code, report) = load(&cluster, &["--pairs", "4"]);
    assert_eq!((code, &report["errors"]["total"]), (Some(0), &Value::from(0)), "{report}");
    for latency in ["startToIncoming", "acceptToAccepted", "signalOneWay"] {
        let measured = &report["latencyMs"][latency];
        let in_order = ["p50", "p90", "p99", "max"].map(|q| measured[q].as_f64().unwrap_or(f64::NAN));
        assert!(in_order.windows(2).all(|pair| pair[0] <= pair[1]) && in_order[0] > 0.0, "{latency}: {report}");
    }
    let calls = report["calls"]["count"].as_u64().unwrap_or(0);
    assert!(calls > 0 && report["signals"]["count"].as_u64() >= Some(calls * 2), "{report}");
}

#[tokio::test]
async fn the_load_measures_signals_connections_and_idleness_too() {
    let cluster = TestCluster::embedded().start().await;
    for (arguments, counted) in [
        (&["--mode", "signals", "--pairs", "2"][..], "signals"),
        (&["--mode", "connect", "--pairs", "2"][..], "connections"),
    ] {
        let (code, report) = load(&cluster, arguments);
        assert!(code == Some(0) && report[counted]["count"].as_u64() > Some(0), "{report}");
    }
    let (code, report) = load(&cluster, &["--mode", "idle", "--idle", "20", "--pairs", "1"]);
    assert_eq!((code, &report["idle"]), (Some(0), &Value::from(20)), "{report}");
}

#[tokio::test]
async fn calls_that_nobody_takes_are_errors_with_a_code_and_the_load_fails() {
    let cluster =
        TestCluster::embedded().set("CARILLON_JWT_SECRET", "another-secret-than-the-load-has-been-given").start().await;
    let targets = cluster.node(0).ws_url();
    let arguments = ["load", "--json", "--target", &targets, "--warm-up", "0s", "--duration", "1s", "--pairs", "1"];
    let secret = ("CARILLON_JWT_SECRET".to_owned(), "the-secret-that-no-node-here-checks-with".to_owned());
    let output = command(&arguments, &[secret]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}
