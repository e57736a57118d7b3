//! What is counted of the requests to LiveKit: by kind and outcome, both words from short lists.

use prometheus_client::{
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

/// Two labels; their values are known when this is compiled.
type Labels = [(&'static str, &'static str); 2];

/// Requests to LiveKit, each attempt by itself; webhooks from it.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    requests: Family<Labels, Counter>,
    webhooks: Family<[(&'static str, &'static str); 1], Counter>,
}

impl Counts {
    /// An attempt has come to its end.
    pub fn request(&self, kind: &'static str, outcome: &'static str) {
        self.requests.get_or_create(&[("kind", kind), ("outcome", outcome)]).inc();
    }

    /// A webhook was answered.
    pub fn webhook(&self, outcome: &'static str) {
        self.webhooks.get_or_create(&[("outcome", outcome)]).inc();
    }

    pub fn register(&self, registry: &mut Registry) {
        registry.register("livekit_requests", "Attempts to ask LiveKit, by kind and outcome", self.requests.clone());
        registry.register("livekit_webhooks", "Webhooks from LiveKit, by outcome", self.webhooks.clone());
    }
}
