//! `/metrics`: how this node does, in the text format of OpenMetrics, as Prometheus reads it. docs/metrics.md has a row
//! for each of them.
//!
//! Needs no token, and so shows no id of a user or a call; its labels are words from short lists. Asks nobody: what is
//! shown is known already, so it answers whatever is lost.

use std::sync::atomic::{AtomicU64, Ordering};

use actix_web::{HttpResponse, web};

use crate::{
    actors::{Node, degraded::Dependency, directory::MAX_SIGNALS_WAITING},
    build_info,
    cluster::bus::BusStats,
    domain::CallStatus,
    gateway::{Gateway, socket::BUDGET_BYTES},
    metrics::{self, Label, Page, count},
    trace,
};

/// The media type of the format.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The metrics of this moment.
pub async fn metrics(gateway: web::Data<Gateway>) -> HttpResponse {
    match page(&gateway).text() {
        Ok(text) => HttpResponse::Ok().content_type(OPEN_METRICS).body(text),
        Err(_) => HttpResponse::InternalServerError().finish(),
    }
}

fn page(gateway: &Gateway) -> Page {
    let node = &gateway.node;
    let mut page = Page::default();
    let build = [("version", build_info::VERSION), ("commit", build_info::COMMIT.unwrap_or("unknown"))];
    page.gauges("build_info", "Which build this is: always 1", vec![(build, 1)]);
    of_node(gateway, &mut page);
    of_calls(node, &mut page);
    gateway.counts.write(&mut page, &node.metrics.signals);
    node.metrics.write(&mut page);
    gateway.webhooks.counts().write(&mut page);
    let refused = gateway.limits.refused().map(|(kind, n)| ([("kind", kind)], n)).collect();
    page.counters("rate_limited", "Refusals by a rate limit", refused);
    degraded(node, &mut page);
    node.store.write_counts(&mut page);
    if let Some(bus) = node.bus() {
        of_bus(bus.stats(), &mut page);
    }
    node.media.write_counts(&mut page);
    let spans = trace::stats();
    page.counter("trace_spans", "Spans that a collector has taken", spans.delivered.load(Ordering::Relaxed));
    let dropped = spans.dropped.load(Ordering::Relaxed);
    page.counter("trace_spans_dropped", "Spans that no collector has taken, and that are lost", dropped);
    queues(gateway, &mut page);
    metrics::write_process(&mut page);
    page
}

fn of_node(gateway: &Gateway, page: &mut Page) {
    let node = &gateway.node;
    let database = database_up(node);
    let ready = database && !node.is_draining() && node.arbiter().is_some();
    page.gauge("ready", "Whether the node takes new clients, as far as is known without asking", ready.into());
    page.gauge("draining", "Whether the node is leaving", node.is_draining().into());
    page.gauge("lease_held", "Whether the node may own calls: it renews its lease", node.membership.may_own().into());
    page.counter("leases_lost", "Times that the lease ran out before it was renewed", node.membership.times_lost());
    page.gauge(
        "nodes_live",
        "Nodes of the cluster that live, as this one sees it",
        count(node.membership.live().len()),
    );
    page.gauge("sockets", "Open WebSockets, also before their hello", count(gateway.sockets.len()));
    page.gauge("sessions", "Sessions of users", count(node.directory.session_count()));
    page.gauge("database_up", "Whether the database answers, as last seen", database.into());
    page.gauge("bus_up", "Whether other nodes can be reached over the bus", node.bus_health().is_up().into());
    let livekit = node.media.is_configured();
    page.gauge("livekit_configured", "Whether there is a media server", livekit.into());
}

fn database_up(node: &Node) -> bool {
    !node.degraded.is_without(Dependency::Database) && node.store.health().is_up()
}

fn of_calls(node: &Node, page: &mut Page) {
    page.gauge("calls_owned", "Calls that this node owns", count(node.directory.call_count()));
    let row = |(status, n): (CallStatus, u64)| ([("status", status.as_str())], n);
    let calls = node.directory.calls_by_status().map(row).collect();
    page.gauges("calls", "Calls that this node owns, by status; ended ones are kept for some seconds", calls);
}

fn degraded(node: &Node, page: &mut Page) {
    let label = |dependency: Dependency| [("dependency", dependency.as_str())];
    let now = Dependency::ALL.map(|lost| (label(lost), u64::from(node.degraded.is_without(lost))));
    page.gauges("degraded", "Whether the node does without a dependency", now.to_vec());
    let entered = Dependency::ALL.map(|lost| (label(lost), node.degraded.times_entered(lost)));
    page.counters("degraded_entered", "Times that the node had to do without a dependency", entered.to_vec());
}

fn of_bus(stats: &BusStats, page: &mut Page) {
    let counters: [(&str, &str, &AtomicU64); 10] = [
        ("bus_published", "Messages sent", &stats.published),
        ("bus_received", "Messages received", &stats.received),
        ("bus_lost", "Messages taken, then lost with a connection or refused", &stats.lost),
        ("bus_malformed", "Frames that could not be read to their end", &stats.dropped_malformed),
        ("bus_unknown_version", "Frames of a version that this node does not know", &stats.dropped_unknown_version),
        ("bus_overloads", "Messages refused because too many waited", &stats.dropped_overload),
        ("bus_own", "Frames of this node's own that came back to it", &stats.dropped_own),
        ("bus_reconnects", "Times that everything was subscribed again", &stats.reconnects),
        ("bus_batches", "Writes to the bus, of one or more messages each", &stats.batches),
        ("bus_inbox_panics", "Messages that made their receiver panic", &stats.inbox_panics),
    ];
    for (name, help, value) in counters {
        page.counter(name, help, value.load(Ordering::Relaxed));
    }
}

/// Whatever is bounded and fills up, in one pair of metrics, so that one question finds the fullest.
fn queues(gateway: &Gateway, page: &mut Page) {
    let node = &gateway.node;
    let mut queues = node.store.queues();
    if let Some(bus) = node.bus() {
        let backlog = bus.backlog();
        let full = bus.stats().dropped_overload.load(Ordering::Relaxed);
        queues.push(("bus_messages", backlog.messages, backlog.limits.messages, Some(full)));
        queues.push(("bus_bytes", backlog.bytes, backlog.limits.bytes, None));
    }
    let fullest = gateway.sockets.iter().map(|socket| socket.waiting_bytes()).max().unwrap_or(0);
    queues.push(("fullest_socket_bytes", fullest, BUDGET_BYTES, None));
    queues.push(("fullest_call_signals", node.directory.most_signals_waiting(), MAX_SIGNALS_WAITING, None));
    if let Some((waiting, most)) = node.media.queue() {
        queues.push(("livekit", waiting, most, None));
    }
    let row = |name: &'static str, n: usize| ([("queue", name)], count(n));
    let lengths = queues.iter().map(|(name, length, ..)| row(name, *length)).collect();
    page.gauges("queue_length", "What waits in a bounded queue; of many alike, in the fullest", lengths);
    let limits = queues.iter().map(|(name, _, limit, _)| row(name, *limit)).collect();
    page.gauges("queue_limit", "How much may wait in it; beyond that is refused, or cut off", limits);
    let of_calls = node.metrics.times_full();
    let full = queues.iter().filter_map(|(name, _, _, full)| Some((*name, (*full)?))).chain(of_calls);
    let full: Vec<([Label; 1], u64)> = full.map(|(name, n)| ([("queue", name)], n)).collect();
    page.counters("queue_full", "Refusals because a queue was full", full);
}
