//! docs/metrics.md has a row for each metric of a node, and no other.

use std::collections::{BTreeMap, BTreeSet};

use super::Shown;
use crate::support::{TestCluster, prometheus::file};

/// The rows of the tables: name, type, labels.
fn rows() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let text = std::fs::read_to_string(file("docs/metrics.md")).expect("docs/metrics.md");
    let mut rows = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').splitn(4, '|').map(str::trim).collect();
        let [name, kind, labels, says] = cells[..] else { panic!("four cells: {line}") };
        assert!(!says.is_empty(), "what is {name}?");
        let labels = labels.split(',').map(|label| label.trim().trim_matches('`').to_owned());
        let labels = labels.filter(|label| !label.is_empty()).collect();
        let name = name.trim_matches('`').to_owned();
        assert!(rows.insert(name.clone(), (kind.to_owned(), labels)).is_none(), "{name} is there twice");
    }
    rows
}

#[tokio::test]
async fn every_metric_of_a_node_is_described_and_documented_and_every_documented_one_is_there() {
    let cluster = TestCluster::embedded().start().await;
    let shown = Shown::by(&cluster, 0).await;
    for (name, metric) in &shown.metrics {
        assert!(metric.help.len() > 5, "{name} says what it is: {metric:?}");
        assert!(name.starts_with("carillon_") || name.starts_with("process_"), "{name}");
    }
    let shown: BTreeMap<_, _> = shown.metrics.into_iter().map(|(name, m)| (name, (m.kind, m.labels))).collect();
    let documented = rows();
    let missing: Vec<_> = shown.keys().filter(|name| !documented.contains_key(*name)).collect();
    let surplus: Vec<_> = documented.keys().filter(|name| !shown.contains_key(*name)).collect();
    assert!(missing.is_empty() && surplus.is_empty(), "not documented: {missing:?}; not there: {surplus:?}");
    for (name, described) in &documented {
        assert_eq!(shown.get(name), Some(described), "{name}: type and labels");
    }
}
