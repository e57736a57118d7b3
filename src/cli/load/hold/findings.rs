//! What the auditor found: counts by kind, and words on the first of them.

use std::collections::BTreeMap;

/// Findings that are told in words; the rest are only counted. A thousand lines would hide the first one.
const TOLD: usize = 20;

/// A promise that was not kept. Each of them fails the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finding {
    /// A call ended without being asked to, was not found, or could not be used within the patience.
    CallLost,
    /// A command answered `ok` whose effect is nowhere.
    AcknowledgedLost,
    /// A client was never told what happened, although the call shows it.
    SilentHole,
    /// Two devices accepted one call, both answered `ok`.
    DoubleWinner,
    /// An event after `call:ended`, or a second one.
    AfterTheEnd,
    /// Two different events with one `seq`.
    Forked,
    /// A signal answered `ok` that never came, and no `call:renegotiate` after it.
    SignalLost,
}

impl Finding {
    /// All, in the order of the report.
    pub const ALL: [Finding; 7] = [
        Finding::CallLost,
        Finding::AcknowledgedLost,
        Finding::SilentHole,
        Finding::DoubleWinner,
        Finding::AfterTheEnd,
        Finding::Forked,
        Finding::SignalLost,
    ];

    /// The key in the JSON report.
    pub fn key(self) -> &'static str {
        match self {
            Finding::CallLost => "callsLost",
            Finding::AcknowledgedLost => "acknowledgedLost",
            Finding::SilentHole => "silentHoles",
            Finding::DoubleWinner => "doubleWinners",
            Finding::AfterTheEnd => "eventsAfterTheEnd",
            Finding::Forked => "forks",
            Finding::SignalLost => "signalsLostUntold",
        }
    }

    /// The name in the text report.
    pub fn title(self) -> &'static str {
        match self {
            Finding::CallLost => "calls lost",
            Finding::AcknowledgedLost => "acknowledged commands lost",
            Finding::SilentHole => "silent holes",
            Finding::DoubleWinner => "double winners",
            Finding::AfterTheEnd => "events after the end",
            Finding::Forked => "two events with one seq",
            Finding::SignalLost => "signals lost untold",
        }
    }
}

/// Everything found.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    counts: BTreeMap<Finding, u64>,
    told: Vec<String>,
}

impl Findings {
    /// One more.
    pub fn add(&mut self, finding: Finding, call_id: &str, said: &str) {
        *self.counts.entry(finding).or_default() += 1;
        if self.told.len() < TOLD {
            self.told.push(format!("{}: call {call_id}: {said}", finding.title()));
        }
    }

    /// How many of a kind.
    pub fn count(&self, finding: Finding) -> u64 {
        self.counts.get(&finding).copied().unwrap_or(0)
    }

    /// Whether every promise was kept.
    pub fn is_clean(&self) -> bool {
        self.counts.is_empty()
    }

    /// The first ones, in words.
    pub fn told(&self) -> &[String] {
        &self.told
    }
}
