//! A collector that is away, slow, hangs or refuses holds nobody up; what it does not take is dropped and counted.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;

use super::{
    Parent,
    collector::{Collector, Mode},
    named,
};
use crate::support::{TestClient, TestCluster, process::POLL};

/// Longer than a node takes to notice that a collector is away, or back.
const PATIENCE: Duration = Duration::from_secs(40);

/// A counter in the metrics of the only node.
async fn counted(cluster: &TestCluster, name: &str) -> f64 {
    cluster.http(0).metric(name).await.unwrap_or_else(|| panic!("no {name}"))
}

async fn until(what: &str, is: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is().await {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(POLL).await;
    }
}

/// So many commands of each client, that each make two spans.
async fn busy(clients: &[TestClient], times: usize) {
    join_all(clients.iter().map(async |client| {
        for _ in 0..times {
            client.assert_alive().await;
        }
    }))
    .await;
}

#[tokio::test]
async fn spans_that_wait_are_sent_when_a_node_is_told_to_stop() {
    let collector = Collector::start().await;
    let mut cluster = TestCluster::embedded().set("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint()).start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let parent = Parent::new();
    parent.must(&alice, "call:start", json!({"calleeIds": ["bob"]})).await;
    assert!(cluster.node_mut(0).terminate(PATIENCE).await.success());
    assert_eq!(named(&collector.spans_of(&parent.trace), "call:start").len(), 1);
    assert_eq!(named(&collector.spans_of(&parent.trace), "commit").len(), 1);
}

#[tokio::test]
async fn while_the_collector_hangs_calls_go_on_and_what_does_not_fit_is_dropped_and_counted() {
    let collector = Collector::start().await;
    collector.set(Mode::Hang);
    let mut cluster = TestCluster::embedded()
        .set("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint())
        .set("OTEL_EXPORTER_OTLP_TIMEOUT", 60_000)
        .start()
        .await;
    let mut clients = Vec::new();
    for n in 0..16 {
        clients.push(cluster.connect(0, &format!("user{n}"), "phone").await);
    }
    busy(&clients, 1).await;
    collector.expect_requests(1).await;
    // 8192 spans wait at most, and 512 are on their way.
    while counted(&cluster, "carillon_trace_spans_dropped_total").await == 0.0 {
        busy(&clients, 50).await;
    }
    let memory = cluster.node(0).memory_kib();
    busy(&clients, 100).await;
    let grown = cluster.node(0).memory_kib().saturating_sub(memory);
    assert!(grown < 8 * 1024, "nothing grows with what is dropped: {grown} KiB more");
    let (alice, bob) = (&clients[0], &clients[1]);
    let call = alice.call_through(bob).await;
    alice.act("call:end", &call).await;
    bob.expect_end(&call, "completed").await;
    assert_eq!(counted(&cluster, "carillon_trace_spans_total").await, 0.0);
    // It does not hold up the node's end either: two seconds, and the spans are lost.
    drop(clients);
    assert!(cluster.node_mut(0).terminate(PATIENCE).await.success());
    assert_eq!(cluster.node(0).logged("the last spans could not be delivered").len(), 1);
}

#[tokio::test]
async fn a_collector_that_is_away_is_told_of_once_and_what_waited_is_sent_when_it_is_back() {
    let port = crate::support::process::free_port();
    let cluster = TestCluster::embedded()
        .set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", format!("http://127.0.0.1:{port}/v1/traces"))
        .start()
        .await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let parent = Parent::new();
    parent.must(&alice, "call:start", json!({"calleeIds": ["bob"]})).await;
    let away = "traces cannot be delivered; calls go on without them";
    until("the node says that the collector is away", async || !cluster.node(0).logged(away).is_empty()).await;
    let collector = Collector::start_at(port).await;
    collector.expect(&parent.trace, |spans| named(spans, "call:start").len() == 1).await;
    let back = "traces are delivered again";
    until("the node says that it is back", async || !cluster.node(0).logged(back).is_empty()).await;
    // One that refuses for good: what it was sent is dropped.
    collector.set(Mode::Refuse(400));
    alice.assert_alive().await;
    let dropped = async || counted(&cluster, "carillon_trace_spans_dropped_total").await >= 2.0;
    until("what is refused is counted", dropped).await;
    // One that is overloaded: it is sent again.
    collector.set(Mode::Refuse(503));
    let parent = Parent::new();
    parent.must(&alice, "presence:get", json!({"userIds": []})).await;
    collector.expect_requests(collector.requests() + 1).await;
    collector.set(Mode::Take);
    collector.expect(&parent.trace, |spans| named(spans, "presence:get").len() == 1).await;
    until("the node says that it is back", async || cluster.node(0).logged(back).len() == 2).await;
    assert_eq!(cluster.node(0).logged(away).len(), 2, "one line each time");
}
