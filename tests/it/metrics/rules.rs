//! `deploy/prometheus`: what promtool says of the alerts, and that each is explained where it says it is.

use std::collections::BTreeSet;

use crate::support::prometheus::{file, promtool};

const ALERTS: &str = "deploy/prometheus/alerts.yaml";

fn text(path: &str) -> String {
    std::fs::read_to_string(file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What stands behind this word, in each line that begins with it.
fn fields<'a>(text: &'a str, word: &str) -> Vec<&'a str> {
    text.lines().filter_map(|line| line.trim().strip_prefix(word)).map(str::trim).collect()
}

#[test]
fn promtool_takes_the_alerts() {
    let path = file(ALERTS);
    promtool(&["check", "rules", path.to_str().expect("a path")]).unwrap_or_else(|said| panic!("{said}"));
}

#[test]
fn each_alert_fires_with_bad_series_and_is_silent_with_good_ones() {
    let tests = "deploy/prometheus/alerts.test.yaml";
    let (alerts, cases) = (text(ALERTS), text(tests));
    let names: BTreeSet<&str> = fields(&cases, "- name:").into_iter().collect();
    for alert in fields(&alerts, "- alert:") {
        for case in ["fires", "is silent"] {
            assert!(names.contains(&*format!("{alert} {case}")), "no test that {alert} {case}");
        }
    }
    let path = file(tests);
    promtool(&["test", "rules", path.to_str().expect("a path")]).unwrap_or_else(|said| panic!("{said}"));
}

#[test]
fn each_alert_has_a_heading_in_the_document_that_its_annotation_points_to() {
    let (alerts, document) = (text(ALERTS), text("docs/alerts.md"));
    let names = fields(&alerts, "- alert:");
    assert!(names.len() >= 20, "{names:?}");
    let anchors: Vec<String> = names.iter().map(|name| format!("docs/alerts.md#{}", name.to_lowercase())).collect();
    assert_eq!(fields(&alerts, "runbook:"), anchors, "in the order of the alerts");
    let headings = fields(&document, "## ");
    let sorted = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(sorted(&headings), sorted(&names));
    assert_eq!(headings.len(), names.len());
    for section in document.split("\n## ").skip(1) {
        assert!(
            section.contains("\nCheck") && section.contains("Do: ") || section.contains("Check and do: "),
            "{section}"
        );
    }
    // Links within the document lead to headings.
    for link in document.split("](#").skip(1) {
        let anchor = link.split(')').next().unwrap_or_default();
        assert!(names.iter().any(|name| name.to_lowercase() == anchor), "{anchor}");
    }
}
