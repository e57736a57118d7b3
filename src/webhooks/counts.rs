//! What is counted of webhooks: outcomes by words from a short list, and how much waits.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crate::{
    metrics::{Page, Tally},
    store::Backlog,
};

/// What can come of an attempt, or of a delivery without one; `lost`: to another node, which took it meanwhile.
const OUTCOMES: [&str; 5] = ["delivered", "retry", "dead", "expired", "lost"];

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    outcomes: Arc<Tally<{ OUTCOMES.len() }>>,
    dead: Arc<AtomicU64>,
    oldest_secs: Arc<AtomicU64>,
}

impl Counts {
    /// An attempt, or a delivery without one, has come to this: one of [`OUTCOMES`].
    pub(super) fn outcome(&self, outcome: &'static str) {
        if let Some(place) = OUTCOMES.iter().position(|known| *known == outcome) {
            self.outcomes.inc(place);
        }
    }

    pub(super) fn backlog(&self, backlog: Backlog) {
        self.dead.store(backlog.dead, Ordering::Relaxed);
        self.oldest_secs.store(backlog.oldest.unwrap_or_default().as_secs(), Ordering::Relaxed);
    }

    /// Lists them.
    pub fn write(&self, page: &mut Page) {
        let outcomes = OUTCOMES.iter().zip(self.outcomes.read()).map(|(word, n)| ([("outcome", *word)], n));
        page.counters("webhook_deliveries", "Attempts to tell webhooks, by outcome", outcomes.collect());
        let dead = self.dead.load(Ordering::Relaxed);
        page.gauge("webhook_dead_letters", "Deliveries given up, in the cluster, as last seen", dead);
        let oldest = self.oldest_secs.load(Ordering::Relaxed);
        let help = "Seconds that the oldest delivery not settled has waited, in the cluster, as last seen";
        page.gauge("webhook_oldest_pending_seconds", help, oldest);
    }
}
