//! `carillon load` against real nodes: it measures what it says, and says what went wrong.

use std::{
    io::{BufRead, BufReader, Read},
    process::Stdio,
};

use serde_json::{Value, json};

use crate::support::{TestCluster, node::command, process};

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

/// For what takes seconds at most on an idle machine.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

/// The load in the mode `hold` against these nodes, as a process that goes on while the test does something to them.
pub struct Holding {
    child: std::process::Child,
    said: std::io::Lines<std::io::BufReader<std::process::ChildStderr>>,
}

impl Holding {
    /// Waits until the calls are set up.
    fn start(cluster: &TestCluster, arguments: &[&str]) -> Self {
        let targets: Vec<String> = (0..cluster.size()).map(|number| cluster.node(number).ws_url()).collect();
        Self::at(&targets.join(","), cluster, arguments)
    }

    /// The same with addresses of one's own, such as that of a balancer.
    pub fn at(targets: &str, cluster: &TestCluster, arguments: &[&str]) -> Self {
        let mut all = vec!["load", "--mode", "hold", "--json", "--target", targets, "--duration", "10m"];
        all.extend(arguments);
        let secret = ("CARILLON_JWT_SECRET".to_owned(), cluster.realm().jwt_secret.clone());
        let mut child = command(&all, &[secret]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut holding = Self { child, said };
        holding.wait_for("holding");
        holding
    }

    fn wait_for(&mut self, beginning: &str) {
        let mut heard = Vec::new();
        for line in self.said.by_ref() {
            let line = line.unwrap();
            if line.starts_with(beginning) {
                return;
            }
            heard.push(line);
        }
        panic!("the load ended without {beginning:?}: {heard:?}");
    }

    fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.child.id()).unwrap();
        // SAFETY: a signal to a child that has not been waited for.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
    }

    pub fn next_phase(&mut self) {
        self.signal(libc::SIGUSR1);
        self.wait_for("phase");
    }

    /// Lets it end its calls; its exit code and its report.
    pub fn end(mut self) -> (Option<i32>, Value) {
        self.signal(libc::SIGINT);
        let mut report = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut report).unwrap();
        let code = self.child.wait().unwrap().code();
        (code, serde_json::from_str(&report).unwrap_or_else(|error| panic!("{error} in {report:?}")))
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub async fn wait_until(what: &str, reached: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !reached() {
        assert!(begun.elapsed() < LIMIT, "{what}: not within {LIMIT:?}");
        tokio::time::sleep(process::POLL).await;
    }
}

#[tokio::test]
async fn held_calls_survive_a_node_that_is_killed_and_the_report_says_who_noticed() {
    let mut cluster = TestCluster::two_nodes().set("CARILLON_NODE_LEASE_SECS", 2).start().await;
    let mut holding =
        Holding::start(&cluster, &["--pairs", "6", "--every", "200ms", "--idle", "2", "--patience", "60s"]);
    holding.next_phase();
    cluster.node_mut(0).kill();
    let owners = "SELECT DISTINCT owner_node FROM calls WHERE open";
    wait_until("all calls are taken over", || cluster.database().unwrap().sql(owners).len() == 1).await;
    holding.next_phase();
    let (code, report) = holding.end();
    assert_eq!(code, Some(0), "{report}");
    assert_eq!((&report["passed"], &report["callsEnded"]), (&Value::Bool(true), &Value::from(6)), "{report}");
    let counts = report["findings"].as_object().unwrap();
    assert!(counts.len() == 7 && counts.values().all(|count| *count == 0), "{report}");
    let [first, second, third] = &report["phases"].as_array().unwrap()[..] else { panic!("{report}") };
    let number = |value: &Value| value.as_u64().unwrap();
    // Two nodes: each call has a side on the one that died; and so has one idle connection.
    assert_eq!(number(&second["connectionsLost"]), 6, "{report}");
    assert_eq!(number(&second["idleLost"]), 1, "{report}");
    // A command that was on its way when the phase began, and was lost, counts to the phase before.
    let both = |count: fn(&Value) -> u64| count(first) + count(second);
    assert_eq!(both(|phase| phase["callsAffected"].as_u64().unwrap_or(0)), 6, "{report}");
    assert!(both(|phase| phase["interruptionMs"]["count"].as_u64().unwrap_or(0)) >= 6, "{report}");
    assert_eq!(number(&second["reconnectMs"]["count"]), 6, "{report}");
    for phase in [first, third] {
        assert_eq!(number(&phase["connectionsLost"]), 0, "{report}");
    }
}

#[tokio::test]
async fn a_call_that_somebody_else_ends_is_lost_and_the_load_fails() {
    let cluster = TestCluster::embedded().start().await;
    let holding = Holding::start(&cluster, &["--pairs", "2", "--every", "100ms"]);
    let stranger = cluster.connect(0, "load-0-1-b", "another-device").await;
    stranger.must("call:end", json!({"callId": stranger.welcome["activeCalls"][0]["callId"]})).await;
    let (code, report) = holding.end();
    assert_eq!(
        (code, &report["passed"], &report["callsEnded"]),
        (Some(1), &Value::Bool(false), &Value::from(1)),
        "{report}"
    );
    assert_eq!(report["findings"]["callsLost"], 1, "{report}");
    assert!(report["told"][0].as_str().unwrap().contains("ended: completed"), "{report}");
}
