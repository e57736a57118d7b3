//! What is counted as it happens, for `/metrics`. What can be read off when somebody asks is not here but in
//! `gateway/rest/metrics.rs`.
//!
//! Labels are words from short lists, never an id: each set of them is a series that Prometheus keeps.

use prometheus_client::{metrics::counter::Counter, registry::Registry};

/// The counters of one node.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Times that a user's node had lost events of a call and asked for them.
    pub gap_repairs: Counter,
    /// Calls of other nodes that this one has taken over.
    pub takeovers: Counter,
    /// Looks into the database for what the bus could not bring.
    pub polls: Counter,
    /// Messages from other nodes that could not be read: of a later version, as a rule.
    pub messages_dropped: Counter,
    /// Calls without an owner that this version cannot read.
    pub calls_left: Counter,
}

impl Metrics {
    /// Lists them, under the registry's prefix.
    pub fn register(&self, registry: &mut Registry) {
        let counters = [
            ("gap_repairs", "Times that lost events of a call were asked for", &self.gap_repairs),
            ("takeovers", "Calls taken over from nodes that are gone", &self.takeovers),
            ("database_polls", "Looks into the database for events that the bus could not bring", &self.polls),
            ("messages_dropped", "Messages from other nodes that this version cannot read", &self.messages_dropped),
            ("calls_left_to_newer_nodes", "Calls without an owner that this version cannot read", &self.calls_left),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
    }
}
