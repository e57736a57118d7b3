//! The page that Prometheus reads: numbers of this moment, with their names and what they mean.

use std::fmt;

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder, text},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::{Metric, Registry},
};

use super::Histogram;

/// A label and its word.
pub type Label = (&'static str, &'static str);

/// A page that is being written. Names are without `carillon_`, and of counters without `_total`.
pub struct Page {
    ours: Registry,
    /// Metrics of any process, which bear no prefix anywhere.
    process: Registry,
}

impl Default for Page {
    fn default() -> Self {
        Self { ours: Registry::with_prefix("carillon"), process: Registry::default() }
    }
}

impl Page {
    /// A number that goes up and down.
    pub fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.ours.register(name, help, ConstGauge::new(value));
    }

    /// A number that only rises while the node runs.
    pub fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.ours.register(name, help, ConstCounter::new(value));
    }

    /// A distribution.
    pub fn histogram(&mut self, name: &str, help: &str, value: &Histogram) {
        self.ours.register(name, help, value.clone());
    }

    /// A number that goes up and down, for each set of labels.
    pub fn gauges<const N: usize>(&mut self, name: &str, help: &str, rows: Vec<([Label; N], u64)>) {
        self.ours.register(name, help, Rows { kind: MetricType::Gauge, rows });
    }

    /// The same with fractions, such as seconds.
    pub fn gauges_f64<const N: usize>(&mut self, name: &str, help: &str, rows: Vec<([Label; N], f64)>) {
        self.ours.register(name, help, Rows { kind: MetricType::Gauge, rows });
    }

    /// A number that only rises, for each set of labels.
    pub fn counters<const N: usize>(&mut self, name: &str, help: &str, rows: Vec<([Label; N], u64)>) {
        self.ours.register(name, help, Rows { kind: MetricType::Counter, rows });
    }

    /// A distribution for each set of labels.
    pub fn histograms<const N: usize>(&mut self, name: &str, help: &str, rows: Vec<([Label; N], Histogram)>) {
        self.ours.register(name, help, Rows { kind: MetricType::Histogram, rows });
    }

    /// A metric of any process.
    pub(super) fn of_process(&mut self, name: &str, help: &str, metric: impl Metric) {
        self.process.register(name, help, metric);
    }

    /// The text.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::with_capacity(64 * 1024);
        text::encode_registry(&mut text, &self.ours)?;
        text::encode_registry(&mut text, &self.process)?;
        text::encode_eof(&mut text)?;
        Ok(text)
    }
}

/// One value of a row.
trait Value: fmt::Debug + Send + Sync + 'static {
    fn write(&self, kind: MetricType, encoder: MetricEncoder<'_>) -> fmt::Result;
}

impl Value for u64 {
    fn write(&self, kind: MetricType, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        match kind {
            MetricType::Counter => encoder.encode_counter::<[Label; 0], u64, f64>(self, None),
            _ => encoder.encode_gauge(self),
        }
    }
}

impl Value for f64 {
    fn write(&self, _: MetricType, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        encoder.encode_gauge(self)
    }
}

impl Value for Histogram {
    fn write(&self, _: MetricType, encoder: MetricEncoder<'_>) -> fmt::Result {
        self.encode(encoder)
    }
}

#[derive(Debug)]
struct Rows<const N: usize, V> {
    kind: MetricType,
    rows: Vec<([Label; N], V)>,
}

impl<const N: usize, V: Value> EncodeMetric for Rows<N, V> {
    fn encode(&self, mut encoder: MetricEncoder) -> fmt::Result {
        for (labels, value) in &self.rows {
            value.write(self.kind, encoder.encode_family(labels)?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        self.kind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_holds_each_kind_of_metric_once_with_its_words_and_ends_once() {
        let mut page = Page::default();
        page.gauge("sockets", "Open", 2);
        page.counters("closed", "Closed", vec![([("code", "4001"), ("by", "server")], 3)]);
        page.gauges("length", "Waiting", vec![([("queue", "commits")], 4)]);
        page.gauges_f64("age_seconds", "Old", vec![([("of", "it")], 0.5)]);
        let times = Histogram::latency();
        times.observe(1);
        page.histograms("seconds", "Times", vec![([("kind", "start")], times)]);
        page.of_process("process_threads", "Threads", ConstGauge::new(7_u64));
        let text = page.text().unwrap();
        for line in [
            "# HELP carillon_sockets Open.",
            "# TYPE carillon_closed counter",
            "carillon_closed_total{code=\"4001\",by=\"server\"} 3",
            "carillon_length{queue=\"commits\"} 4",
            "carillon_age_seconds{of=\"it\"} 0.5",
            "carillon_seconds_bucket{le=\"0.0001\",kind=\"start\"} 1",
            "carillon_seconds_bucket{le=\"+Inf\",kind=\"start\"} 1",
            "carillon_seconds_count{kind=\"start\"} 1",
            "process_threads 7",
        ] {
            assert!(text.lines().any(|found| found == line), "no {line} in {text}");
        }
        assert_eq!(text.matches("# EOF").count(), 1);
    }
}
