//! What this node has counted: one number for each user or address and kind that was seen lately.
//!
//! Bounded: what is paid off is forgotten, and when there is no room left even so, strangers pass uncounted rather than
//! being refused for what others did. Survives the loss of Redis by not needing it.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use dashmap::{DashMap, Entry};

use super::gcra::Quota;

/// How many are counted at once. Each takes about 40 bytes, so this is some 10 MiB. Less, and a busy node with many
/// users stops counting some; more is memory that an attacker with many addresses can have.
const MOST: usize = 200_000;
/// How often, at most, a full table is searched for what is paid off: that takes a few milliseconds.
const SEARCH_EVERY: u64 = 1_000_000;

/// Whom and what it is about: see [`super::key`].
pub(super) type Key = u128;

/// See the module. Times are microseconds, see [`super::gcra`].
pub(super) struct Cells {
    /// The TAT of each.
    tats: DashMap<Key, u64>,
    count: AtomicUsize,
    most: usize,
    searched_at: AtomicU64,
}

impl Default for Cells {
    fn default() -> Self {
        Self::with_most(MOST)
    }
}

impl Cells {
    fn with_most(most: usize) -> Self {
        Self { tats: DashMap::new(), count: AtomicUsize::new(0), most, searched_at: AtomicU64::new(0) }
    }

    /// Lets one pass, or says how long to wait.
    pub(super) fn admit(&self, key: Key, quota: Quota, now: u64) -> Result<(), Duration> {
        self.make_room(now);
        match self.tats.entry(key) {
            Entry::Occupied(mut entry) => {
                let after = quota.admit(*entry.get(), now)?;
                entry.insert(after);
            }
            Entry::Vacant(entry) => {
                let after = quota.admit(0, now)?;
                if self.count.load(Ordering::Relaxed) < self.most {
                    entry.insert(after);
                    self.count.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        Ok(())
    }

    /// Whether one would pass; costs nothing.
    pub(super) fn look(&self, key: Key, quota: Quota, now: u64) -> Result<(), Duration> {
        let tat = self.tats.get(&key).map_or(0, |tat| *tat);
        quota.admit(tat, now).map(drop)
    }

    /// The cluster says how far this one has been paid for: its word counts if it is more than ours. What has been
    /// forgotten meanwhile was paid off, and is not brought back.
    pub(super) fn raise(&self, key: Key, tat: u64) {
        if let Some(mut ours) = self.tats.get_mut(&key) {
            *ours = tat.max(*ours);
        }
    }

    /// Forgets what is paid off.
    pub(super) fn forget(&self, now: u64) {
        self.tats.retain(|_, tat| *tat > now);
        self.count.store(self.tats.len(), Ordering::Relaxed);
    }

    fn make_room(&self, now: u64) {
        if self.count.load(Ordering::Relaxed) < self.most {
            return;
        }
        let last = self.searched_at.load(Ordering::Relaxed);
        let due = now >= last.saturating_add(SEARCH_EVERY);
        if due && self.searched_at.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.forget(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;
    const TWO: Quota = Quota::of(2, 20);

    fn passed(cells: &Cells, key: Key, now: u64) -> usize {
        (0..10).filter(|_| cells.admit(key, TWO, now).is_ok()).count()
    }

    #[test]
    fn each_key_is_counted_by_itself() {
        let cells = Cells::default();
        assert_eq!((passed(&cells, 1, SECOND), passed(&cells, 2, SECOND)), (2, 2));
        assert!(cells.look(1, TWO, SECOND).is_err() && cells.look(3, TWO, SECOND).is_ok());
    }

    #[test]
    fn the_clusters_word_counts_if_it_is_more() {
        let cells = Cells::default();
        cells.admit(1, TWO, SECOND).unwrap();
        cells.raise(1, 21 * SECOND);
        assert_eq!(passed(&cells, 1, SECOND), 0);
        cells.raise(1, SECOND);
        assert_eq!(passed(&cells, 1, SECOND), 0, "less than ours changes nothing");
        cells.raise(2, 21 * SECOND);
        assert_eq!(passed(&cells, 2, SECOND), 2, "what is not held is not made");
    }

    #[test]
    fn a_full_table_forgets_what_is_paid_off_and_else_lets_strangers_pass() {
        let cells = Cells::with_most(10);
        for key in 0..10 {
            assert_eq!(passed(&cells, key, 2 * SECOND), 2);
        }
        assert_eq!(passed(&cells, 100, 2 * SECOND), 10, "uncounted");
        assert_eq!(passed(&cells, 3, 2 * SECOND), 0, "who is held stays held");
        assert_eq!(cells.tats.len(), 10);
        assert_eq!(passed(&cells, 100, 60 * SECOND), 2, "there is room again");
        assert_eq!(cells.tats.len(), 1);
    }
}
