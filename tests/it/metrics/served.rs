//! A real Prometheus reads two real nodes: every query of the dashboard and of the alerts runs, and shows what happened.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::promql::selectors;
use crate::{
    support::{
        TestCluster,
        prometheus::{Prometheus, file},
        redis,
    },
    sweepers::carillon_sweep,
};

/// What must come to be known: a scrape, on a busy machine, and what it waits for.
const SOON: Duration = Duration::from_secs(60);

/// A call over both nodes, one that nobody can take, and a refusal.
async fn traffic(cluster: &TestCluster) {
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let call = alice.call_through(&bob).await;
    bob.act("call:get", &call).await;
    bob.act("call:end", &call).await;
    alice.expect_end(&call, "completed").await;
    let unanswered = alice.start(&["bob"]).await;
    bob.expect_of("call:incoming", &unanswered).await;
    alice.act("call:cancel", &unanswered).await;
    let refused = bob.call("call:accept", json!({"callId": "of-nobody"})).await.expect_err("there is no such call");
    assert_eq!(refused.code, "not_found");
    let answer = cluster.rest(0, "alice").request("GET", &format!("/api/v1/calls/{call}"), None).await;
    assert!(answer.ok(), "{answer:?}");
    for client in [&alice, &bob] {
        client.close().await;
    }
}

/// The panels of a dashboard that ask something.
fn panels(dashboard: &Value) -> Vec<&Value> {
    let panels = dashboard["panels"].as_array().expect("panels");
    panels.iter().filter(|panel| panel["type"] != "row").collect()
}

fn resolved(expression: &str) -> String {
    let expression = expression.replace("$__rate_interval", "1m").replace("$cluster", ".*").replace("$node", ".*");
    assert!(!expression.contains('$'), "a variable that nobody sets: {expression}");
    expression
}

async fn assert_dashboard(prometheus: &Prometheus) {
    let text = std::fs::read_to_string(file("deploy/grafana/carillon.json")).expect("the dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let mut wrong = Vec::new();
    for variable in dashboard["templating"]["list"].as_array().expect("variables") {
        let Some(query) = variable["query"]["query"].as_str() else {
            assert_eq!(variable["type"], "datasource");
            continue;
        };
        let inner = query.strip_prefix("label_values(").and_then(|query| query.strip_suffix(')')).expect(query);
        let (selector, label) = inner.rsplit_once(", ").expect(query);
        let found = prometheus.query(&format!("count by ({label}) ({})", resolved(selector))).await;
        let found = found.unwrap_or_else(|error| panic!("{query}: {error}"));
        assert!(found.iter().all(|one| one["metric"][label].is_string()) && !found.is_empty(), "{query}: {found:?}");
    }
    let mut titles = BTreeSet::new();
    for panel in panels(&dashboard) {
        let title = panel["title"].as_str().expect("a title");
        assert!(titles.insert(title.to_owned()), "two panels are called {title}");
        assert!(panel["description"].as_str().is_some_and(|says| says.len() > 20), "{title} says what it shows");
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        for target in panel["targets"].as_array().expect("targets") {
            let expression = resolved(target["expr"].as_str().expect("an expression"));
            match prometheus.query(&expression).await {
                Ok(series) if !series.is_empty() => {}
                Ok(_) => wrong.push(format!("{title}: {expression}: nothing")),
                Err(error) => wrong.push(format!("{title}: {expression}: {error}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(titles.len() > 30, "{titles:?}");
}

async fn assert_alerts(prometheus: &Prometheus) {
    let mut wrong = Vec::new();
    let rules = prometheus.rules(SOON).await;
    for rule in &rules {
        let name = rule["name"].as_str().expect("a name");
        if rule["health"] != "ok" {
            wrong.push(format!("{name}: {}", rule["lastError"]));
        }
        for key in ["summary", "description", "runbook"] {
            assert!(rule["annotations"][key].as_str().is_some_and(|text| text.len() > 10), "{name} has a {key}");
        }
        let severity = rule["labels"]["severity"].as_str().unwrap_or_default();
        assert!(["critical", "warning", "info"].contains(&severity), "{name}: {severity}");
        let expression = rule["query"].as_str().expect("a query");
        if let Err(error) = prometheus.query(expression).await {
            wrong.push(format!("{name}: {expression}: {error}"));
        }
        let of_it = selectors(expression);
        assert!(!of_it.is_empty(), "{name}: {expression}");
        for selector in of_it {
            match prometheus.query(&selector).await {
                Ok(series) if !series.is_empty() => {}
                other => wrong.push(format!("{name}: {selector}: {other:?}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(rules.len() >= 20, "{}", rules.len());
}

#[tokio::test]
async fn every_query_of_the_dashboard_and_of_the_alerts_is_answered_by_what_two_nodes_show() {
    let redis = Arc::new(tokio::task::spawn_blocking(redis::Instance::start).await.expect("start Redis"));
    let cluster = TestCluster::two_nodes().on_redis(redis.clone()).start().await;
    let nodes = [cluster.node(0).address, cluster.node(1).address];
    let prometheus = Prometheus::start(&nodes, &file("deploy/prometheus/alerts.yaml")).await;
    prometheus.expect_at_least("sum(up{job=\"carillon\"})", 2.0, SOON).await;

    traffic(&cluster).await;
    let swept = carillon_sweep(&cluster, &["stale_ringing"]).await;
    assert_eq!(swept.code, 0, "{swept:?}");
    redis.kill();
    prometheus.expect_at_least("sum(carillon_degraded{dependency=\"redis\"})", 2.0, SOON).await;
    redis.start_again();
    // Also by what each knows of the other.
    prometheus.expect_at_least("-sum(carillon_degraded{dependency=\"redis\"})", 0.0, SOON).await;
    prometheus.expect_at_least("sum(carillon_bus_up)", 2.0, SOON).await;
    traffic(&cluster).await;

    for (expression, least) in [
        ("sum(carillon_calls_started_total)", 4.0),
        ("sum(carillon_calls_ended_total{status=\"ended\"})", 2.0),
        ("sum(carillon_calls_ended_total{status=\"cancelled\"})", 2.0),
        ("sum(carillon_commands_total{kind=\"call:start\", outcome=\"ok\"})", 4.0),
        ("sum(carillon_commands_total{kind=\"call:accept\", outcome=\"not_found\"})", 2.0),
        ("sum(carillon_commands_total{kind=\"call:signal\", outcome=\"ok\"})", 4.0),
        // Of sockets, and by REST.
        ("sum(carillon_commands_total{kind=\"call:get\", outcome=\"ok\"})", 4.0),
        ("sum(carillon_commands_total{kind=\"session:hello\", outcome=\"ok\"})", 4.0),
        ("sum(carillon_command_seconds_count{group=\"start\"})", 4.0),
        ("sum(carillon_command_seconds_sum)", 0.000_1),
        ("sum(carillon_commit_seconds_count)", 10.0),
        ("sum(carillon_commit_batch_size_count)", 10.0),
        ("sum(carillon_commit_outcomes_total{outcome=\"committed\"})", 10.0),
        ("sum(carillon_event_delivery_seconds_count{from=\"here\"})", 4.0),
        ("sum(carillon_event_delivery_seconds_count{from=\"bus\"})", 4.0),
        ("min(carillon_bus_trip_seconds_count)", 2.0),
        ("sum(carillon_node_ask_seconds_count)", 2.0),
        ("sum(carillon_call_commands_waiting_count)", 6.0),
        ("min(carillon_database_pool_wait_seconds_count{pool=\"reader\"})", 2.0),
        ("min(carillon_database_connections)", 1.0),
        ("sum(carillon_sockets_opened_total)", 4.0),
        ("sum(carillon_sockets_closed_total{reason=\"client\"})", 4.0),
        ("sum(carillon_http_responses_total{class=\"2xx\"})", 4.0),
        ("sum(carillon_degraded_entered_total{dependency=\"redis\"})", 2.0),
        ("sum(carillon_bus_reconnects_total)", 2.0),
        ("sum(carillon_sweeps_total{sweeper=\"stale_ringing\", outcome=\"done\"})", 1.0),
        ("min(carillon_sweep_interval_seconds{sweeper=\"stale_ringing\"})", 15.0),
        ("min(carillon_nodes_live)", 2.0),
        ("min(carillon_lease_held)", 1.0),
        ("min(carillon_ready)", 1.0),
        ("min(carillon_queue_limit)", 64.0),
        ("min(process_resident_memory_bytes)", 1e6),
        ("min(process_max_fds - process_open_fds)", 1.0),
        ("min(carillon_memory_limit_bytes - process_resident_memory_bytes)", 1.0),
        ("min(carillon_sweep_last_success_timestamp_seconds - process_start_time_seconds)", -5.0),
    ] {
        prometheus.expect_at_least(expression, least, SOON).await;
    }
    // Nobody is left, and nothing but what has just ended.
    prometheus.expect_at_least("-sum(carillon_sessions)", 0.0, SOON).await;
    prometheus.expect_at_least("-sum(carillon_calls{status=~\"ringing|connecting|active\"})", 0.0, SOON).await;
    let open = "sum(carillon_sockets_opened_total) - sum(carillon_sockets_closed_total) - sum(carillon_sockets)";
    prometheus.expect_at_least(&format!("-abs({open})"), 0.0, SOON).await;

    assert_dashboard(&prometheus).await;
    assert_alerts(&prometheus).await;
}
