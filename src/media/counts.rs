//! What is counted of the requests to LiveKit: by kind and outcome, both words from short lists.

use std::{sync::Arc, time::Duration};

use crate::metrics::{Histogram, Page, Tally};

/// What is asked of LiveKit. What is not in the list is counted as `other`.
const KINDS: [&str; 12] = [
    "probe",
    "open_room",
    "close_room",
    "list_rooms",
    "list_participants",
    "remove",
    "mute",
    "set_permissions",
    "start_egress",
    "stop_egress",
    "list_egress",
    "other",
];
/// What can come of it.
const OUTCOMES: [&str; 8] = ["ok", "error", "overloaded", "absent", "refused", "timeout", "unreachable", "queue_full"];
/// What can come of a webhook.
const WEBHOOKS: [&str; 5] = ["taken", "repeated", "ignored", "refused", "later"];

/// Requests to LiveKit, each attempt by itself; webhooks from it.
#[derive(Debug, Clone)]
pub(super) struct Counts {
    /// For each kind its outcomes.
    requests: Arc<[Tally<{ OUTCOMES.len() }>; KINDS.len()]>,
    webhooks: Arc<Tally<{ WEBHOOKS.len() }>>,
    /// How long attempts took that were answered or given up.
    times: Histogram,
}

impl Default for Counts {
    fn default() -> Self {
        let requests = Arc::new(std::array::from_fn(|_| Tally::default()));
        Self { requests, webhooks: Arc::default(), times: Histogram::latency() }
    }
}

impl Counts {
    /// An attempt has come to its end.
    pub fn request(&self, kind: &'static str, outcome: &'static str) {
        let kind = KINDS.iter().position(|known| *known == kind).unwrap_or(KINDS.len() - 1);
        if let (Some(outcomes), Some(place)) = (self.requests.get(kind), place(&OUTCOMES, outcome)) {
            outcomes.inc(place);
        }
    }

    /// It took so long.
    pub fn took(&self, time: Duration) {
        self.times.took(time);
    }

    /// A webhook was answered.
    pub fn webhook(&self, outcome: &'static str) {
        if let Some(place) = place(&WEBHOOKS, outcome) {
            self.webhooks.inc(place);
        }
    }

    pub fn write(&self, page: &mut Page) {
        let rows = KINDS.into_iter().zip(self.requests.iter()).flat_map(|(kind, outcomes)| {
            let seen = OUTCOMES.into_iter().zip(outcomes.read()).filter(|(outcome, n)| *n > 0 || *outcome == "ok");
            seen.map(move |(outcome, n)| ([("kind", kind), ("outcome", outcome)], n))
        });
        page.counters("livekit_requests", "Attempts to ask LiveKit, by kind and outcome", rows.collect());
        page.histogram("livekit_request_seconds", "How long an attempt to ask LiveKit took", &self.times);
        let rows = WEBHOOKS.into_iter().zip(self.webhooks.read()).map(|(outcome, n)| ([("outcome", outcome)], n));
        page.counters("livekit_webhooks", "Webhooks from LiveKit, by outcome", rows.collect());
    }
}

fn place(words: &[&str], word: &str) -> Option<usize> {
    words.iter().position(|known| *known == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_that_is_in_no_list_is_counted_all_the_same() {
        let counts = Counts::default();
        counts.request("probe", "timeout");
        counts.request("dance", "ok");
        counts.webhook("taken");
        let mut page = Page::default();
        counts.write(&mut page);
        let text = page.text().unwrap();
        for line in [
            "carillon_livekit_requests_total{kind=\"probe\",outcome=\"timeout\"} 1",
            "carillon_livekit_requests_total{kind=\"other\",outcome=\"ok\"} 1",
            "carillon_livekit_webhooks_total{outcome=\"taken\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "no {line} in {text}");
        }
    }
}
