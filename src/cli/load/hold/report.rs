//! The report of the mode `hold`: one JSON object for programs, a page of text for people.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use super::{
    super::{
        report::{self, Generator},
        stats::Latency,
    },
    findings::{Finding, Findings},
    phases::PhaseReport,
};

/// The outcome of a run.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HoldReport {
    /// `hold`.
    pub mode: &'static str,
    /// The nodes.
    pub targets: Vec<String>,
    /// Calls held.
    pub calls: u32,
    /// Connections that were only held.
    pub idle: u32,
    /// Both sides of a call on one node.
    pub same_node: bool,
    /// One of the two sides does something this often.
    pub every_ms: f64,
    /// Length of the holding.
    pub seconds: f64,
    /// Ended by Ctrl-C.
    pub interrupted: bool,
    /// What was noticed, by phase.
    pub phases: Vec<PhaseReport>,
    /// Broken promises, by kind; all zero in a run that passed.
    pub findings: BTreeMap<&'static str, u64>,
    /// The first of them in words.
    pub told: Vec<String>,
    /// Calls that ended as they should.
    pub calls_ended: u64,
    /// Signals that never came, where `call:renegotiate` said so.
    pub signals_lost_told: u64,
    /// Tries of older commands that came through after newer ones; their outcome was unknown.
    pub late_repeats: u64,
    /// The load itself.
    pub generator: Generator,
    /// No broken promise, and every call ended as it should.
    pub passed: bool,
}

impl HoldReport {
    /// The counts of every kind, the zeros too.
    pub fn count(findings: &Findings) -> BTreeMap<&'static str, u64> {
        Finding::ALL.into_iter().map(|finding| (finding.key(), findings.count(finding))).collect()
    }

    /// One JSON object on one line.
    pub fn to_json(&self) -> anyhow::Result<String> {
        report::to_json(self)
    }
}

impl fmt::Display for HoldReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let apart = if self.same_node { "on one node each" } else { "across nodes" };
        let Self { calls, every_ms, seconds, .. } = self;
        write!(f, "hold on {}: {calls} calls {apart}, every {every_ms} ms, {seconds:.1} s", self.targets.join(", "))?;
        writeln!(f, "{}", if self.interrupted { " (interrupted)" } else { "" })?;
        for phase in &self.phases {
            fmt_phase(f, phase, *calls)?;
        }
        writeln!(f, "\nfound")?;
        for finding in Finding::ALL {
            writeln!(f, "  {:<28}{:>8}", finding.title(), self.findings.get(finding.key()).copied().unwrap_or(0))?;
        }
        writeln!(f, "  {:<28}{:>8} of {calls}", "calls ended as they should", self.calls_ended)?;
        writeln!(f, "  {:<28}{:>8}", "signals lost and told", self.signals_lost_told)?;
        writeln!(f, "  {:<28}{:>8}", "late repetitions", self.late_repeats)?;
        for told in &self.told {
            writeln!(f, "  {told}")?;
        }
        let Generator { cpu_seconds, core_share } = self.generator;
        writeln!(f, "\nthis load: {cpu_seconds:.2} s CPU, {:.0} % of a core", core_share * 100.0)?;
        writeln!(f, "{}", if self.passed { "passed" } else { "FAILED" })
    }
}

fn fmt_phase(f: &mut fmt::Formatter<'_>, phase: &PhaseReport, calls: u32) -> fmt::Result {
    let PhaseReport { number, since, seconds, calls_affected, connections_lost, idle_lost, .. } = phase;
    writeln!(f, "\nphase {number} since {since}, {seconds:.1} s")?;
    writeln!(f, "  calls affected {calls_affected} of {calls}, connections lost {connections_lost}, idle {idle_lost}")?;
    writeln!(f, "  {:<18}{:>10}{:>12}{:>12}{:>12}", "ms", "samples", "p50", "p99", "max")?;
    for (name, latency) in
        [("interruption", phase.interruption_ms), ("reconnect", phase.reconnect_ms), ("command", phase.command_ms)]
    {
        if let Some(Latency { count, p50, p99, max, .. }) = latency {
            writeln!(f, "  {name:<18}{count:>10}{p50:>12.1}{p99:>12.1}{max:>12.1}")?;
        }
    }
    if !phase.failed_tries.is_empty() {
        let tries: Vec<String> = phase.failed_tries.iter().map(|(code, count)| format!("{code} {count}")).collect();
        writeln!(f, "  failed tries: {}", tries.join(", "))?;
    }
    Ok(())
}
