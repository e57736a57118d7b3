//! How long to wait before trying again.

use std::time::Duration;

/// Tries of a transaction that lost against another at the same moment. Fewer: callers see refusals that a moment
/// would have mended; more: they wait while the quarrel goes on.
pub(super) const CONFLICT_TRIES: u32 = 5;

/// Doubling waits, each drawn from the upper half of its step, so that nodes that failed together do not try again
/// together.
pub(super) struct Backoff {
    first: Duration,
    last: Duration,
    failures: u32,
}

impl Backoff {
    /// Between tries to connect. Shorter at the end: a database that starts is flooded; longer: it is back unnoticed.
    pub const fn connecting() -> Self {
        Self { first: Duration::from_millis(50), last: Duration::from_secs(1), failures: 0 }
    }

    /// Between tries of a transaction.
    pub const fn conflict() -> Self {
        Self { first: Duration::from_millis(2), last: Duration::from_millis(100), failures: 0 }
    }

    /// How long to wait now.
    pub fn next(&mut self) -> Duration {
        let step = self.first.saturating_mul(1 << self.failures.min(16)).min(self.last);
        self.failures += 1;
        step.mul_f64(rand::random_range(0.5..=1.0))
    }

    /// It worked.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_begin_anew_after_success() {
        let mut backoff = Backoff::connecting();
        assert!(backoff.next() <= Duration::from_millis(50));
        for _ in 0..40 {
            assert!(backoff.next() <= Duration::from_secs(1));
        }
        assert!(backoff.next() >= Duration::from_millis(500));
        backoff.reset();
        assert!(backoff.next() <= Duration::from_millis(50));
    }
}
