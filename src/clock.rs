//! The clock: the one place that asks what time it is. Everything below takes time as an argument.
//!
//! Deadlines are kept as points in time and may be met by another node than set them, so all nodes go by one clock: the
//! database's. This one runs by the machine's monotonic clock and is set by the database's at every renewal of the
//! node's lease ([`follow`]). Survives a machine whose clock is wrong or is put forth and back.

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::domain::Timestamp;

/// When the clock was first read, and what the machine's clock said then.
#[allow(clippy::disallowed_methods, reason = "this is the clock")]
static ORIGIN: LazyLock<(Instant, Timestamp)> = LazyLock::new(|| {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    (Instant::now(), Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)))
});
/// What the database's clock is ahead of that, in milliseconds.
static AHEAD: AtomicI64 = AtomicI64::new(0);

/// The wall clock, in whole milliseconds: the database's once this node has asked it, until then the machine's. Two
/// nodes differ by the time that a question to the database takes. Nothing that decides who owns a call uses it.
pub fn now() -> Timestamp {
    at(monotonic())
}

/// What the wall clock says, or said, at a moment of the monotonic clock.
pub fn at(moment: Instant) -> Timestamp {
    let (began, origin) = *ORIGIN;
    let ours = origin + moment.saturating_duration_since(began);
    Timestamp::from_millis(ours.as_millis().saturating_add(AHEAD.load(Ordering::Relaxed)))
}

/// The same in nanoseconds since the Unix epoch, for measuring what is a fraction of a millisecond.
pub fn now_nanos() -> u64 {
    let (began, origin) = *ORIGIN;
    let millis = origin.as_millis().saturating_add(AHEAD.load(Ordering::Relaxed));
    let since = u64::try_from(monotonic().saturating_duration_since(began).as_nanos()).unwrap_or(u64::MAX);
    u64::try_from(millis).unwrap_or(0).saturating_mul(1_000_000).saturating_add(since)
}

/// Sets the clock by another that said `theirs` at some moment between `asked` and `answered`, both of [`now`]. Returns
/// by how many milliseconds it was put forth (or back, if negative).
pub fn follow(theirs: Timestamp, asked: Timestamp, answered: Timestamp) -> i64 {
    let moved = correction(theirs, asked, answered);
    AHEAD.fetch_add(moved, Ordering::Relaxed);
    moved
}

/// The smallest step that makes the answer possible: an answer that took long says little, and moves nothing that may
/// be right.
fn correction(theirs: Timestamp, asked: Timestamp, answered: Timestamp) -> i64 {
    let least = theirs.as_millis().saturating_sub(answered.as_millis().max(asked.as_millis()));
    // What is a whole millisecond here may be the next one there.
    let most = theirs.as_millis().saturating_sub(asked.as_millis()).saturating_add(1);
    0i64.clamp(least, most)
}

/// The monotonic clock, for measuring and for giving up.
#[allow(clippy::disallowed_methods, reason = "this is the clock")]
pub fn monotonic() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(theirs: i64, asked: i64, answered: i64) -> i64 {
        correction(Timestamp::from_millis(theirs), Timestamp::from_millis(asked), Timestamp::from_millis(answered))
    }

    #[test]
    fn a_clock_that_may_be_right_is_left_alone() {
        for theirs in [999, 1000, 1150, 1300] {
            assert_eq!(moved(theirs, 1000, 1300), 0, "{theirs}");
        }
    }

    #[test]
    fn a_clock_that_cannot_be_right_is_moved_no_further_than_is_known() {
        assert_eq!(moved(3_601_150, 1000, 1300), 3_599_850, "an hour behind");
        assert_eq!(moved(1000, 3_601_000, 3_601_300), -3_599_999, "an hour ahead");
        assert_eq!(moved(1301, 1000, 1300), 1);
        assert_eq!(moved(990, 1000, 1300), -9);
    }
}
