//! `/metrics`, and what is built on it: the document, the alerts, the dashboard.

mod bounded;
mod documented;
mod promql;
mod rules;
// Sweeps by hand are helped by fail points.
#[cfg(feature = "failpoints")]
mod served;

use std::collections::{BTreeMap, BTreeSet};

use crate::support::TestCluster;

/// A page of metrics, taken apart.
#[derive(Debug, Default)]
struct Shown {
    /// By the name that queries use (counters with `_total`, histograms without a suffix): type, help, keys of labels.
    metrics: BTreeMap<String, Metric>,
    /// Name and labels of each series.
    series: BTreeSet<String>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Metric {
    kind: String,
    help: String,
    labels: BTreeSet<String>,
}

impl Shown {
    async fn by(cluster: &TestCluster, node: usize) -> Self {
        let answer = cluster.http(node).get("/metrics").await;
        Self::read(answer.body.as_str().expect("text"))
    }

    fn read(text: &str) -> Self {
        let (mut shown, mut helps) = (Self::default(), BTreeMap::new());
        let mut last = String::new();
        for line in text.lines() {
            if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
                helps.insert(name.to_owned(), help.to_owned());
            } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
                last = if kind == "counter" { format!("{name}_total") } else { name.to_owned() };
                let help = helps.remove(name).unwrap_or_default();
                let metric = Metric { kind: kind.to_owned(), help, labels: BTreeSet::new() };
                assert!(shown.metrics.insert(last.clone(), metric).is_none(), "{name} is there twice");
            } else if !line.starts_with('#') {
                let (series, _) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
                assert!(series.starts_with(&*last), "{series} is not described by {last}");
                assert!(shown.series.insert(series.to_owned()), "{series} is there twice");
                let keys = series.split(['{', ',']).filter_map(|part| part.split_once("=\"")).map(|(key, _)| key);
                let metric = shown.metrics.get_mut(&last).expect("entered above");
                metric.labels.extend(keys.filter(|key| *key != "le").map(str::to_owned));
            }
        }
        shown
    }
}
