//! `/metrics`: how this node does, in the text format of OpenMetrics, as Prometheus reads it.
//!
//! Needs no token, and so shows no id of a user or a call; its labels are words from short lists. Asks nobody: what is
//! shown is known already, so it answers whatever is lost.

use std::sync::atomic::{AtomicU64, Ordering};

use actix_web::{HttpResponse, web};
use prometheus_client::{
    encoding::text::encode,
    metrics::{
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::{ConstGauge, Gauge},
    },
    registry::Registry,
};

use crate::{
    actors::{Node, degraded::Dependency},
    cluster::bus::BusStats,
    gateway::Gateway,
    trace,
};

/// The media type of the format.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// One label; its values are known when this is compiled.
type Label = [(&'static str, &'static str); 1];

/// The metrics of this moment.
pub async fn metrics(gateway: web::Data<Gateway>) -> HttpResponse {
    let mut text = String::with_capacity(8 * 1024);
    match encode(&mut text, &registry(&gateway)) {
        Ok(()) => HttpResponse::Ok().content_type(OPEN_METRICS).body(text),
        Err(_) => HttpResponse::InternalServerError().finish(),
    }
}

fn registry(gateway: &Gateway) -> Registry {
    let node = &gateway.node;
    let mut registry = Registry::with_prefix("carillon");
    node.metrics.register(&mut registry);
    node.media.register(&mut registry);
    registry.register("rate_limited", "Refusals by a rate limit", gateway.limits.refused().clone());
    degraded(node, &mut registry);
    of_store(node, &mut registry);
    let bus = registry.sub_registry_with_prefix("bus");
    gauge(bus, "up", "Whether other nodes can be reached over the bus", u64::from(node.bus_health().is_up()));
    if let Some(stats) = node.bus().map(|joined| joined.stats()) {
        of_bus(stats, bus);
    }
    let spans = trace::stats();
    counter(&mut registry, "trace_spans", "Spans that a collector has taken", spans.delivered.load(Ordering::Relaxed));
    let dropped = spans.dropped.load(Ordering::Relaxed);
    counter(&mut registry, "trace_spans_dropped", "Spans that no collector has taken, and that are lost", dropped);
    let draining = node.draining.load(Ordering::Acquire);
    gauge(&mut registry, "draining", "Whether the node is leaving", u64::from(draining));
    gauge(&mut registry, "sockets", "Open WebSockets, also before their hello", count(gateway.sockets.len()));
    gauge(&mut registry, "sessions", "Sessions of users", count(node.directory.session_count()));
    gauge(&mut registry, "calls_owned", "Calls that this node owns", count(node.directory.call_count()));
    registry
}

fn degraded(node: &Node, registry: &mut Registry) {
    let now = Family::<Label, Gauge>::default();
    let entered = Family::<Label, Counter>::default();
    for dependency in Dependency::ALL {
        let label = [("dependency", dependency.as_str())];
        now.get_or_create(&label).set(node.degraded.is_without(dependency).into());
        entered.get_or_create(&label).inc_by(node.degraded.times_entered(dependency));
    }
    registry.register("degraded", "Whether the node does without a dependency", now);
    registry.register("degraded_entered", "Times that the node had to do without a dependency", entered);
}

fn of_store(node: &Node, registry: &mut Registry) {
    let away = node.degraded.is_without(Dependency::Database) || !node.store.health().is_up();
    let stats = node.store.writer_stats();
    gauge(registry, "database_up", "Whether the database answers, as last seen", u64::from(!away));
    counter(registry, "commits", "Commits that are durable", stats.commits);
    counter(
        registry,
        "commit_transactions",
        "Transactions that commits took, failed ones included",
        stats.transactions,
    );
    gauge(registry, "commits_waiting", "Commits that wait to be written", count(stats.waiting));
}

fn of_bus(stats: &BusStats, registry: &mut Registry) {
    let counters: [(&str, &str, &AtomicU64); 8] = [
        ("published", "Messages sent", &stats.published),
        ("received", "Messages received", &stats.received),
        ("lost", "Messages taken, then lost with a connection or refused", &stats.lost),
        ("malformed", "Frames that could not be read to their end", &stats.dropped_malformed),
        ("unknown_version", "Frames of a version that this node does not know", &stats.dropped_unknown_version),
        ("overloads", "Messages refused because too many waited", &stats.dropped_overload),
        ("reconnects", "Times that everything was subscribed again", &stats.reconnects),
        ("batches", "Writes to the bus, of one or more messages each", &stats.batches),
    ];
    for (name, help, value) in counters {
        counter(registry, name, help, value.load(Ordering::Relaxed));
    }
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: u64) {
    registry.register(name, help, ConstGauge::new(value));
}

fn counter(registry: &mut Registry, name: &str, help: &str, value: u64) {
    registry.register(name, help, ConstCounter::new(value));
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
