//! What was measured: histograms, counters, errors by code. Nothing outside the measured window is counted.
//!
//! Owns no clock: every fact comes with its time. A latency belongs to the window if the work was due in it, even if it ended
//! after it; throughput counts what was done in it.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::pacing::{Nanos, Window};

/// Latencies, in the order of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// From when `call:start` was due to `call:incoming` at the callee.
    StartToIncoming,
    /// From when `call:start` was due to its reply: the call is committed.
    StartToReply,
    /// From the callee's `call:accept` to `call:accepted` at the caller.
    AcceptToAccepted,
    /// From sending a signal to its arrival at the other side.
    SignalOneWay,
    /// From `call:end` to `call:ended` at the other side.
    EndToEnded,
    /// From the start of the TCP connection to the reply to `session:hello`.
    Connect,
}

impl Metric {
    /// All, in the order of the report.
    pub const ALL: [Metric; 6] = [
        Metric::StartToIncoming,
        Metric::StartToReply,
        Metric::AcceptToAccepted,
        Metric::SignalOneWay,
        Metric::EndToEnded,
        Metric::Connect,
    ];

    /// The key in the JSON report.
    pub fn key(self) -> &'static str {
        match self {
            Metric::StartToIncoming => "startToIncoming",
            Metric::StartToReply => "startToReply",
            Metric::AcceptToAccepted => "acceptToAccepted",
            Metric::SignalOneWay => "signalOneWay",
            Metric::EndToEnded => "endToEnded",
            Metric::Connect => "connect",
        }
    }

    /// The name in the text report.
    pub fn title(self) -> &'static str {
        match self {
            Metric::StartToIncoming => "start → incoming",
            Metric::StartToReply => "start → reply",
            Metric::AcceptToAccepted => "accept → accepted",
            Metric::SignalOneWay => "signal, one way",
            Metric::EndToEnded => "end → ended",
            Metric::Connect => "connect → hello",
        }
    }
}

/// Things that are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Calls that went from start to end as they should.
    Calls,
    /// Signals that arrived.
    Signals,
    /// Connections that were accepted with their token.
    Connections,
}

/// The shortest and longest latency told apart, 1 µs and 120 s. A shorter one counts as the shortest, a longer one as the longest;
/// whatever takes over 10 s is an error anyway. Wider bounds and more digits cost memory (200 KiB per histogram as it is).
const BOUNDS: (Nanos, Nanos) = (1_000, 120_000_000_000);
const DIGITS: u8 = 3;

/// The quantities of one latency, milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    /// Number of samples.
    pub count: u64,
    /// Mean.
    pub mean: f64,
    /// Half were at most this.
    pub p50: f64,
    /// 90 of 100 were at most this.
    pub p90: f64,
    /// 99 of 100 were at most this.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

/// An empty histogram of nanoseconds.
#[expect(clippy::expect_used, reason = "constant bounds are right or wrong for good: the tests would show it")]
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(BOUNDS.0, BOUNDS.1, DIGITS).expect("constant bounds")
}

impl Latency {
    /// The quantities of a histogram, if it has a sample.
    pub fn of(histogram: &Histogram<u64>) -> Option<Self> {
        let millis = |nanos: u64| nanos as f64 / 1e6;
        (!histogram.is_empty()).then(|| Latency {
            count: histogram.len(),
            mean: histogram.mean() / 1e6,
            p50: millis(histogram.value_at_quantile(0.50)),
            p90: millis(histogram.value_at_quantile(0.90)),
            p99: millis(histogram.value_at_quantile(0.99)),
            max: millis(histogram.max()),
        })
    }
}

/// Everything measured so far.
pub struct Recorder {
    /// What counts; [`Window::NEVER`] until the load begins.
    pub window: Window,
    histograms: [Option<Histogram<u64>>; Metric::ALL.len()],
    counters: [u64; 3],
    all_counters: [u64; 3],
    attempts: u64,
    by_code: BTreeMap<String, u64>,
    by_step: BTreeMap<&'static str, u64>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self {
            window: Window::NEVER,
            histograms: Default::default(),
            counters: [0; 3],
            all_counters: [0; 3],
            attempts: 0,
            by_code: BTreeMap::new(),
            by_step: BTreeMap::new(),
        }
    }
}

impl Recorder {
    /// A latency of `value` nanoseconds of work that was due at `since`.
    pub fn sample(&mut self, metric: Metric, since: Nanos, value: Nanos) {
        if self.window.contains(since) {
            self.sample_always(metric, value);
        }
    }

    /// A latency that counts whenever it was: the connections made before the load begins.
    pub fn sample_always(&mut self, metric: Metric, value: Nanos) {
        self.histograms[metric as usize].get_or_insert_with(histogram).saturating_record(value);
    }

    /// `n` things were done at `at`.
    pub fn count(&mut self, counter: Counter, at: Nanos, n: u64) {
        self.all_counters[counter as usize] += n;
        if self.window.contains(at) {
            self.counters[counter as usize] += n;
        }
    }

    /// Something that may fail was due at `at`, `n` times.
    pub fn attempt(&mut self, at: Nanos, n: u64) {
        if self.window.contains(at) {
            self.attempts += n;
        }
    }

    /// `n` failures, in the step named, of work that was due at `at`.
    pub fn error(&mut self, code: &str, step: &'static str, at: Nanos, n: u64) {
        if n > 0 && self.window.contains(at) {
            *self.by_code.entry(code.to_owned()).or_default() += n;
            *self.by_step.entry(step).or_default() += n;
        }
    }

    /// Done within the window.
    pub fn counted(&self, counter: Counter) -> u64 {
        self.counters[counter as usize]
    }

    /// Done since the beginning, warm-up included: for the progress bar.
    pub fn counted_always(&self, counter: Counter) -> u64 {
        self.all_counters[counter as usize]
    }

    /// Begun within the window.
    pub fn attempts(&self) -> u64 {
        self.attempts
    }

    /// Errors by their code.
    pub fn errors_by_code(&self) -> &BTreeMap<String, u64> {
        &self.by_code
    }

    /// Errors by what the load waited for.
    pub fn errors_by_step(&self) -> &BTreeMap<&'static str, u64> {
        &self.by_step
    }

    /// All errors.
    pub fn errors(&self) -> u64 {
        self.by_code.values().sum()
    }

    /// Errors per attempt; 1 if there were errors and no attempt.
    pub fn error_rate(&self) -> f64 {
        match (self.errors(), self.attempts) {
            (0, _) => 0.0,
            (_, 0) => 1.0,
            (errors, attempts) => errors as f64 / attempts as f64,
        }
    }

    /// The quantities of one latency, if there is a sample.
    pub fn latency(&self, metric: Metric) -> Option<Latency> {
        Latency::of(self.histograms[metric as usize].as_ref()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorder() -> Recorder {
        Recorder { window: Window { from: 100, to: 200 }, ..Recorder::default() }
    }

    #[test]
    fn quantiles_are_those_of_the_samples() {
        let mut recorder = recorder();
        for i in 1..=1000 {
            recorder.sample(Metric::SignalOneWay, 150, i * 1_000_000);
        }
        let latency = recorder.latency(Metric::SignalOneWay).unwrap();
        assert_eq!(latency.count, 1000);
        for (got, want) in [
            (latency.p50, 500.0),
            (latency.p90, 900.0),
            (latency.p99, 990.0),
            (latency.max, 1000.0),
            (latency.mean, 500.5),
        ] {
            assert!((got - want).abs() <= want / 500.0, "{got} is not {want}");
        }
        assert_eq!(recorder.latency(Metric::Connect), None);
    }

    #[test]
    fn what_was_due_outside_the_window_does_not_count() {
        let mut recorder = recorder();
        for at in [99, 200] {
            recorder.sample(Metric::SignalOneWay, at, 5_000);
            recorder.count(Counter::Signals, at, 1);
            recorder.error("timeout", "incoming", at, 1);
            recorder.attempt(at, 1);
        }
        assert_eq!(recorder.latency(Metric::SignalOneWay), None);
        assert_eq!((recorder.counted(Counter::Signals), recorder.counted_always(Counter::Signals)), (0, 2));
        assert_eq!((recorder.errors(), recorder.attempts()), (0, 0));
    }

    #[test]
    fn errors_are_counted_by_code_and_step() {
        let mut recorder = recorder();
        recorder.attempt(100, 8);
        recorder.error("timeout", "incoming", 100, 1);
        recorder.error("timeout", "accepted", 100, 1);
        recorder.error("busy", "incoming", 100, 2);
        recorder.error("never", "incoming", 100, 0);
        assert_eq!(
            recorder.errors_by_code().iter().map(|(k, v)| (k.as_str(), *v)).collect::<Vec<_>>(),
            [("busy", 2), ("timeout", 2)]
        );
        assert_eq!(recorder.errors_by_step()["incoming"], 3);
        assert_eq!(recorder.error_rate(), 0.5);
    }

    #[test]
    fn errors_without_an_attempt_are_a_rate_of_one() {
        let mut recorder = recorder();
        assert_eq!(recorder.error_rate(), 0.0);
        recorder.error("closed", "connect", 100, 1);
        assert_eq!(recorder.error_rate(), 1.0);
    }

    #[test]
    fn very_long_and_very_short_latencies_do_not_get_lost() {
        let mut recorder = recorder();
        recorder.sample(Metric::Connect, 150, 1);
        recorder.sample(Metric::Connect, 150, u64::MAX);
        assert_eq!(recorder.latency(Metric::Connect).unwrap().count, 2);
    }
}
