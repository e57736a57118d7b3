//! What is counted of webhooks: outcomes by words from a short list, and how much waits.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::ConstGauge},
    registry::Registry,
};

use crate::store::Backlog;

type Label = [(&'static str, &'static str); 1];

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    outcomes: Family<Label, Counter>,
    dead: Arc<AtomicU64>,
    oldest_secs: Arc<AtomicU64>,
}

impl Counts {
    /// An attempt, or a delivery without one, has come to this: `delivered`, `retry`, `dead`, `expired`, or `lost` to
    /// another node that took it meanwhile.
    pub(super) fn outcome(&self, outcome: &'static str) {
        self.outcomes.get_or_create(&[("outcome", outcome)]).inc();
    }

    pub(super) fn backlog(&self, backlog: Backlog) {
        self.dead.store(backlog.dead, Ordering::Relaxed);
        self.oldest_secs.store(backlog.oldest.unwrap_or_default().as_secs(), Ordering::Relaxed);
    }

    /// Lists them, under the registry's prefix.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("webhook_deliveries", "Attempts to tell webhooks, by outcome", self.outcomes.clone());
        let dead = ConstGauge::new(self.dead.load(Ordering::Relaxed));
        registry.register("webhook_dead_letters", "Deliveries given up, in the cluster, as last seen", dead);
        let oldest = ConstGauge::new(self.oldest_secs.load(Ordering::Relaxed));
        let help = "Seconds that the oldest delivery not settled has waited, in the cluster, as last seen";
        registry.register("webhook_oldest_pending_seconds", help, oldest);
    }
}
