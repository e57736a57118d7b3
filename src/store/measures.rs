//! What the store counts and measures, for `/metrics`: commits from queued to durable, and waits for a connection.

use super::{commit::CommitOutcome, error::StoreError};
use crate::metrics::{FILL, Histogram, Page, Tally};

/// What can become of a commit.
const OUTCOMES: [&str; 5] = ["committed", "refused", "unavailable", "overloaded", "failed"];

/// Of the writer.
pub(super) struct Measures {
    /// Commits of one transaction.
    pub batch: Histogram,
    /// From the queue until it is durable.
    pub durable: Histogram,
    outcomes: Tally<{ OUTCOMES.len() }>,
}

impl Default for Measures {
    fn default() -> Self {
        Self { batch: Histogram::new(&FILL), durable: Histogram::latency(), outcomes: Tally::default() }
    }
}

impl Measures {
    /// A commit is answered.
    pub fn on_outcome(&self, outcome: &Result<CommitOutcome, StoreError>) {
        self.outcomes.inc(match outcome {
            Ok(CommitOutcome::Committed) => 0,
            Ok(_) => 1,
            Err(StoreError::Overloaded) => 3,
            Err(error) if error.is_retryable() => 2,
            Err(_) => 4,
        });
    }

    pub fn write(&self, page: &mut Page) {
        let rows = OUTCOMES.into_iter().zip(self.outcomes.read()).map(|(outcome, n)| ([("outcome", outcome)], n));
        let help = "What became of commits: refused ones came too late or twice, which is no fault";
        page.counters("commit_outcomes", help, rows.collect());
        page.histogram("commit_batch_size", "Commits that shared a transaction", &self.batch);
        page.histogram("commit_seconds", "From a commit's coming to the writer until it is durable", &self.durable);
    }
}
