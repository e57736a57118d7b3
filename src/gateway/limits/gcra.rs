//! The algorithm of every limit here: GCRA (ITU-T I.371, "virtual scheduling"), a leaky bucket kept in one number.
//!
//! Pure: time is an argument, in microseconds since any one point. The number kept is the theoretical arrival time
//! (TAT): how far into the future what was let through has been paid for. `shared.rs` has the same in Redis.

use std::time::Duration;

/// So much at once, and so much again over the period, evenly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// 1 to [`MOST_BURST`].
    burst: u32,
    period: Duration,
}

/// The largest burst: more in a day than this is no limit.
pub const MOST_BURST: u32 = 1_000_000;
/// The longest period. A key in Redis lives for up to twice as long.
pub const LONGEST_PERIOD: Duration = Duration::from_secs(24 * 60 * 60);

impl Quota {
    /// A quota that is known to be good.
    pub(super) const fn of(burst: u32, period_secs: u64) -> Self {
        Self { burst, period: Duration::from_secs(period_secs) }
    }

    /// `None`: a burst or a period out of its bounds.
    pub fn new(burst: u32, period: Duration) -> Option<Self> {
        let fits = (1..=MOST_BURST).contains(&burst) && period >= Duration::from_secs(1) && period <= LONGEST_PERIOD;
        fits.then_some(Self { burst, period })
    }

    /// What one costs, in microseconds.
    pub(super) fn step(self) -> u64 {
        (self.span() / u64::from(self.burst)).max(1)
    }

    /// The most that may be owed for something to pass, in microseconds.
    fn span(self) -> u64 {
        u64::try_from(self.period.as_micros()).unwrap_or(u64::MAX)
    }

    /// The most that is ever remembered, in microseconds: who got too much from several nodes at once pays it back,
    /// but waits no longer than for one more period.
    pub(super) fn most_owed(self) -> u64 {
        self.span().saturating_mul(2)
    }

    /// The TAT after one more, or how long until one may pass; a refusal costs nothing.
    pub(super) fn admit(self, tat: u64, now: u64) -> Result<u64, Duration> {
        let after = tat.max(now).saturating_add(self.step());
        match after.saturating_sub(now).checked_sub(self.span()) {
            None | Some(0) => Ok(after),
            Some(wait) => Err(Duration::from_micros(wait)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn a_burst_passes_at_once_and_then_one_for_each_step() {
        let quota = Quota::of(20, 20);
        let mut tat = 0;
        for n in 0..20 {
            tat = quota.admit(tat, 5 * SECOND).unwrap_or_else(|_| panic!("number {n} is within the burst"));
        }
        assert_eq!(quota.admit(tat, 5 * SECOND), Err(Duration::from_secs(1)));
        assert_eq!(quota.admit(tat, 5 * SECOND + SECOND / 4), Err(Duration::from_millis(750)));
        tat = quota.admit(tat, 6 * SECOND).unwrap();
        assert!(quota.admit(tat, 6 * SECOND).is_err(), "one second, one more");
    }

    #[test]
    fn over_a_long_time_no_more_passes_than_burst_and_rate() {
        let quota = Quota::of(7, 3);
        let (mut tat, mut passed) = (0, 0);
        for now in (0..60 * SECOND).step_by(10_000) {
            if let Ok(after) = quota.admit(tat, now) {
                (tat, passed) = (after, passed + 1);
            }
        }
        assert!((140..=147).contains(&passed), "7 and 60 s of 7 in 3 s: {passed}");
    }

    #[test]
    fn who_rests_for_the_period_has_the_whole_burst_again() {
        let quota = Quota::of(3, 60);
        let spend = |mut tat, now| {
            let mut passed = 0;
            while let Ok(after) = quota.admit(tat, now) {
                (tat, passed) = (after, passed + 1);
            }
            (tat, passed)
        };
        let (tat, passed) = spend(0, 0);
        assert_eq!(passed, 3);
        assert_eq!(spend(tat, 60 * SECOND).1, 3);
    }

    #[test]
    fn a_quota_out_of_bounds_is_none() {
        assert!(Quota::new(0, Duration::from_secs(1)).is_none());
        assert!(Quota::new(MOST_BURST + 1, Duration::from_secs(1)).is_none());
        assert!(Quota::new(1, Duration::from_millis(10)).is_none());
        assert!(Quota::new(1, LONGEST_PERIOD * 2).is_none());
        assert_eq!(Quota::new(20, Duration::from_secs(20)), Some(Quota::of(20, 20)));
    }
}
