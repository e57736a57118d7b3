//! When the next unit of work is due: the load's clock, its measured window and its schedule.
//!
//! Open loop means that work starts when it is due, whether or not the work before it has ended, and that latency counts from
//! when it was due. Otherwise a server that stalls for a second is asked less during that second and looks good
//! ("coordinated omission"). Owns no sockets and never sleeps itself.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

/// Nanoseconds since the load began.
pub type Nanos = u64;

/// How late a sleeping task may wake before the server is blamed for it.
///
/// Tokio's timers tick in whole milliseconds, so a task that did nothing but wait wakes up to two of them late. Smaller, and that
/// lateness would be counted as latency of the server; larger, and short stalls of this process would be hidden.
const TIMER_SLACK: Nanos = 2_500_000;

/// A monotonic clock that starts at zero.
#[derive(Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    /// A clock that shows zero now.
    pub fn start() -> Self {
        Self(crate::clock::monotonic())
    }

    /// Nanoseconds since the start.
    pub fn now(&self) -> Nanos {
        nanos(self.0.elapsed())
    }

    /// The same point in time for tokio's timers.
    pub fn instant(&self, at: Nanos) -> tokio::time::Instant {
        // A far deadline ("never") must not overflow the platform's instant.
        const A_YEAR: Nanos = 365 * 24 * 3600 * 1_000_000_000;
        tokio::time::Instant::from_std(self.0 + Duration::from_nanos(at.min(A_YEAR)))
    }
}

/// A duration in nanoseconds, at most `u64::MAX`.
pub fn nanos(duration: Duration) -> Nanos {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The measured part of the run: from the end of the warm-up to the end of the duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// First nanosecond that counts.
    pub from: Nanos,
    /// First nanosecond that does not count any more.
    pub to: Nanos,
}

impl Window {
    /// A window that nothing falls into.
    pub const NEVER: Window = Window { from: u64::MAX, to: u64::MAX };

    /// Whether `at` counts.
    pub fn contains(&self, at: Nanos) -> bool {
        self.from <= at && at < self.to
    }

    /// Length in seconds.
    pub fn seconds(&self) -> f64 {
        self.to.saturating_sub(self.from) as f64 / 1e9
    }
}

/// A permission to do one unit of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// When the work is due.
    pub due: Nanos,
    /// Whether it was already due when it was taken: then all workers were busy, and the wait is the server's.
    pub late: bool,
}

impl Ticket {
    /// The time that latency counts from, for work really begun at `now`: the due time, except that a worker which was free and
    /// only woke late because of the timer is not held against the server.
    pub fn counts_from(&self, now: Nanos) -> Nanos {
        if !self.late && now.saturating_sub(self.due) <= TIMER_SLACK { now } else { self.due }
    }
}

/// Hands out tickets at a steady rate, shared by all workers; with rate 0 (closed loop) at once.
pub struct Pacer {
    start: Nanos,
    interval: f64,
    taken: Cell<u64>,
}

impl Pacer {
    /// `rate` per second, the first one due at `start`.
    pub fn new(start: Nanos, rate: f64) -> Self {
        Self { start, interval: if rate > 0.0 { 1e9 / rate } else { 0.0 }, taken: Cell::new(0) }
    }

    /// One of `workers` independent schedules that together have `rate`, staggered.
    pub fn share(start: Nanos, rate: f64, worker: usize, workers: usize) -> Self {
        let offset = if rate > 0.0 { worker as f64 * 1e9 / rate } else { 0.0 };
        Self::new(start + offset as Nanos, rate / workers.max(1) as f64)
    }

    fn due(&self, index: u64) -> Nanos {
        // From the start, not from the one before: rounding must not add up.
        self.start + (index as f64 * self.interval) as Nanos
    }

    /// When the next ticket is due.
    pub fn next_due(&self, now: Nanos) -> Nanos {
        if self.interval == 0.0 { now } else { self.due(self.taken.get()) }
    }

    /// The next ticket, unless it would be due at `end` or later.
    pub fn take(&self, now: Nanos, end: Nanos) -> Option<Ticket> {
        if now >= end {
            return None;
        }
        if self.interval == 0.0 {
            self.taken.set(self.taken.get() + 1);
            return Some(Ticket { due: now, late: false });
        }
        let due = self.due(self.taken.get());
        if due >= end {
            return None;
        }
        self.taken.set(self.taken.get() + 1);
        Some(Ticket { due, late: due < now })
    }

    /// How many tickets due before `end` nobody took: work that was due and never begun.
    pub fn left_before(&self, end: Nanos) -> u64 {
        if self.interval == 0.0 || end <= self.start {
            return 0;
        }
        let all = ((end - self.start) as f64 / self.interval).ceil() as u64;
        all.saturating_sub(self.taken.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Nanos = 1_000_000_000;

    #[test]
    fn tickets_keep_the_rate_without_drift() {
        let pacer = Pacer::new(5, 3.0);
        let due: Vec<_> = std::iter::from_fn(|| pacer.take(0, 100 * SECOND)).map(|t| t.due).collect();
        assert_eq!(due.len(), 300);
        assert_eq!(due[0], 5);
        assert_eq!(due[299], 5 + (299.0 * 1e9 / 3.0) as u64);
    }

    #[test]
    fn a_closed_loop_is_always_due_and_ends_at_the_end() {
        let pacer = Pacer::new(0, 0.0);
        assert_eq!(pacer.take(7, 10), Some(Ticket { due: 7, late: false }));
        assert_eq!(pacer.take(10, 10), None);
        assert_eq!(pacer.left_before(10), 0);
    }

    #[test]
    fn latency_counts_from_the_due_time_when_all_workers_were_busy() {
        let pacer = Pacer::new(0, 10.0);
        let first = pacer.take(0, SECOND).unwrap();
        assert!(!first.late);
        let second = pacer.take(SECOND / 2, SECOND).unwrap();
        assert!(second.late);
        assert_eq!(second.counts_from(SECOND / 2), SECOND / 10);
    }

    #[test]
    fn a_free_worker_that_wakes_late_is_not_held_against_the_server_within_the_timers_precision() {
        let ticket = Ticket { due: SECOND, late: false };
        assert_eq!(ticket.counts_from(SECOND + 1_000_000), SECOND + 1_000_000);
        assert_eq!(ticket.counts_from(SECOND + 50_000_000), SECOND);
    }

    #[test]
    fn work_never_begun_is_counted() {
        let pacer = Pacer::new(0, 10.0);
        for _ in 0..4 {
            pacer.take(0, SECOND).unwrap();
        }
        assert_eq!(pacer.left_before(SECOND), 6);
        assert_eq!(pacer.left_before(SECOND / 4), 0);
    }

    #[test]
    fn shares_of_a_rate_are_staggered_and_add_up() {
        let shares: Vec<_> = (0..4).map(|i| Pacer::share(0, 8.0, i, 4)).collect();
        let mut due: Vec<_> =
            shares.iter().flat_map(|p| std::iter::from_fn(|| p.take(0, SECOND))).map(|t| t.due).collect();
        due.sort();
        assert_eq!(due, (0..8).map(|i| i * SECOND / 8).collect::<Vec<_>>());
    }

    #[test]
    fn the_window_is_half_open() {
        let window = Window { from: 10, to: 20 };
        assert!(!window.contains(9) && window.contains(10) && window.contains(19) && !window.contains(20));
        assert!(!Window::NEVER.contains(u64::MAX));
    }
}
