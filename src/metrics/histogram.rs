//! A histogram of atomics alone.
//!
//! prometheus-client's own takes a lock for each observation, which threads that measure at the same moment would wait
//! for. Here an observation is a search among some sixteen bounds and two additions; who reads while others observe may
//! see a sum that is an observation ahead of the counts, or behind, and never a count that is not the sum of its buckets.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::MetricType,
};

/// Upper bounds of buckets, rising, and what one unit is shown as.
#[derive(Debug)]
pub struct Buckets {
    bounds: &'static [u64],
    /// Units in one of what is shown: nanoseconds in a second, or one.
    scale: f64,
}

const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000 * MICROSECOND;
const SECOND: u64 = 1_000 * MILLISECOND;

/// Times from 100 µs (a command on one node that waits for nobody) to 10 s (longer than anybody's patience), shown in
/// seconds. Finer, and each histogram is more series; coarser, and a quantile says less.
pub const LATENCY: Buckets = Buckets {
    bounds: &[
        100 * MICROSECOND,
        250 * MICROSECOND,
        500 * MICROSECOND,
        MILLISECOND,
        2 * MILLISECOND + 500 * MICROSECOND,
        5 * MILLISECOND,
        10 * MILLISECOND,
        25 * MILLISECOND,
        50 * MILLISECOND,
        100 * MILLISECOND,
        250 * MILLISECOND,
        500 * MILLISECOND,
        SECOND,
        2 * SECOND + 500 * MILLISECOND,
        5 * SECOND,
        10 * SECOND,
    ],
    scale: 1e9,
};

/// How many there were of something that is bounded by 256: a call's commands, a batch's commits.
pub const FILL: Buckets = Buckets { bounds: &[0, 1, 2, 4, 8, 16, 32, 64, 128, 192, 256], scale: 1.0 };

/// See the module. Clones share their numbers.
#[derive(Clone)]
pub struct Histogram(Arc<Inner>);

struct Inner {
    buckets: &'static Buckets,
    /// One for each bound, and one for what is above the last.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Histogram {
    /// An empty one.
    pub fn new(buckets: &'static Buckets) -> Self {
        let counts = (0..=buckets.bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Inner { buckets, counts, sum: AtomicU64::new(0) }))
    }

    /// An empty one of times.
    pub fn latency() -> Self {
        Self::new(&LATENCY)
    }

    /// It took so long.
    pub fn took(&self, time: Duration) {
        self.observe(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// There were so many.
    pub fn observe(&self, value: u64) {
        let place = self.0.buckets.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.0.counts.get(place) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.0.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// Upper bounds and how many are in each bucket, and the sum, in what is shown.
    fn read(&self) -> (Vec<(f64, u64)>, f64) {
        let Buckets { bounds, scale } = self.0.buckets;
        #[expect(clippy::cast_precision_loss, reason = "53 bits of nanoseconds are three months")]
        let shown = |value: u64| value as f64 / scale;
        let upper = bounds.iter().map(|bound| shown(*bound)).chain([f64::INFINITY]);
        let counts = self.0.counts.iter().map(|count| count.load(Ordering::Relaxed));
        (upper.zip(counts).collect(), shown(self.0.sum.load(Ordering::Relaxed)))
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.read().0).finish()
    }
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder) -> fmt::Result {
        let (buckets, sum) = self.read();
        let count = buckets.iter().map(|(_, count)| count).sum();
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_a_bound_is_within_it_and_one_above_the_last_is_counted_too() {
        let fill = Histogram::new(&FILL);
        for value in [0, 1, 3, 4, 256, 257, 10_000] {
            fill.observe(value);
        }
        let (buckets, sum) = fill.read();
        let counts: Vec<u64> = buckets.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [1, 1, 0, 2, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(sum, 10_521.0);
    }

    #[test]
    fn times_are_shown_in_seconds() {
        let times = Histogram::latency();
        times.took(Duration::from_millis(100));
        times.took(Duration::from_secs(60));
        let (buckets, sum) = times.read();
        assert_eq!(buckets.iter().find(|(_, count)| *count > 0), Some(&(0.1, 1)));
        assert_eq!(buckets.last(), Some(&(f64::INFINITY, 1)));
        assert!((sum - 60.1).abs() < 1e-9);
    }

    #[test]
    fn bounds_rise() {
        for Buckets { bounds, .. } in [&LATENCY, &FILL] {
            assert!(bounds.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }

    #[test]
    fn threads_that_observe_at_once_lose_nothing() {
        let fill = Histogram::new(&FILL);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).for_each(|value| fill.observe(value % 300)));
            }
        });
        assert_eq!(fill.read().0.iter().map(|(_, count)| count).sum::<u64>(), 40_000);
    }
}
