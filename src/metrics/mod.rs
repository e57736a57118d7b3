//! What every room counts and measures with, and how that becomes a page for Prometheus.
//!
//! Owns no number: who counts keeps its own ([`crate::actors::counts`], `gateway/counts.rs`, `media/counts.rs`, the store
//! and the bus), and `gateway/rest/metrics.rs` puts them together when somebody asks. Counting is one or two atomic
//! additions: no lock, no text, no lookup by a label. Labels are words from lists that are known when this is compiled,
//! never an id: each set of them is a series that Prometheus keeps.

mod histogram;
mod page;
mod process;

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

pub use self::{
    histogram::{Buckets, FILL, Histogram, LATENCY},
    page::{Label, Page},
    process::write as write_process,
};

/// A number for each word of a short list, by its place there. A place that is not in it is not counted.
pub struct Tally<const N: usize>([AtomicU64; N]);

impl<const N: usize> Default for Tally<N> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl<const N: usize> fmt::Debug for Tally<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.read()).finish()
    }
}

impl<const N: usize> Tally<N> {
    /// One more.
    pub fn inc(&self, place: usize) {
        self.add(place, 1);
    }

    /// So many more.
    pub fn add(&self, place: usize, n: u64) {
        if let Some(number) = self.0.get(place) {
            number.fetch_add(n, Ordering::Relaxed);
        }
    }

    /// One less, of what goes up and down. To be called after the addition it takes back.
    pub fn dec(&self, place: usize) {
        if let Some(number) = self.0.get(place) {
            number.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The numbers, in the order of the list.
    pub fn read(&self) -> [u64; N] {
        std::array::from_fn(|place| self.0[place].load(Ordering::Relaxed))
    }
}

/// A length, as metrics show it.
pub fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_counts_by_place_and_ignores_what_is_in_no_list() {
        let tally = Tally::<2>::default();
        tally.inc(0);
        tally.add(1, 3);
        tally.dec(1);
        tally.inc(7);
        assert_eq!(tally.read(), [1, 2]);
    }
}
