//! `/metrics` as Prometheus reads it.

use std::collections::BTreeSet;

use crate::support::TestCluster;

#[tokio::test]
async fn metrics_count_without_naming_anybody() {
    let cluster = TestCluster::embedded().start().await;
    let alice = cluster.connect(0, "alice-who-calls", "phone").await;
    let bob = cluster.connect(0, "bob-who-answers", "phone").await;
    let call = alice.call_through(&bob).await;
    let answer = cluster.http(0).get("/metrics").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.content_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let text = answer.body.as_str().expect("text");
    for id in [call.as_str(), "alice-who-calls", "bob-who-answers"] {
        assert!(!text.contains(id), "{id} in {text}");
    }
    let lines: BTreeSet<&str> = text.lines().collect();
    for line in [
        "carillon_sessions 2",
        "carillon_calls_owned 1",
        "carillon_bus_up 1",
        "carillon_database_up 1",
        "carillon_draining 0",
        "carillon_takeovers_total 0",
        "carillon_database_polls_total 0",
        "carillon_degraded{dependency=\"redis\"} 0",
        "carillon_degraded{dependency=\"database\"} 0",
        "carillon_degraded{dependency=\"livekit\"} 0",
        "carillon_degraded_entered_total{dependency=\"redis\"} 0",
        "# EOF",
    ] {
        assert!(lines.contains(line), "no {line} in {text}");
    }
    for name in ["carillon_commits_total", "carillon_bus_published_total", "carillon_gap_repairs_total"] {
        assert!(text.contains(&format!("\n{name} ")), "no {name} in {text}");
    }
}
