//! The figures of each phase of a run: what was noticed of what began in it.
//!
//! Owns no clock. An interruption belongs to the phase in which it began, even if it ended in a later one.

use std::collections::{BTreeMap, HashSet};

use hdrhistogram::Histogram;

use super::super::{
    pacing::Nanos,
    stats::{self, Latency},
};

/// One phase.
pub struct Phase {
    /// When it began.
    pub from: Nanos,
    /// The same by the wall clock, as text.
    pub since: String,
    interruptions: Histogram<u64>,
    reconnects: Histogram<u64>,
    commands: Histogram<u64>,
    affected: HashSet<usize>,
    connections_lost: u64,
    idle_lost: u64,
    failed_tries: BTreeMap<String, u64>,
}

/// What the report says of a phase.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PhaseReport {
    /// From 1.
    pub number: usize,
    /// When it began, RFC 3339.
    pub since: String,
    /// How long it was.
    pub seconds: f64,
    /// Calls of which one side at least noticed something.
    pub calls_affected: usize,
    /// Sockets of calls that closed.
    pub connections_lost: u64,
    /// Sockets of --idle that closed.
    pub idle_lost: u64,
    /// From the first failed try, or the loss of the socket, until commands of both sides succeed again; per call, milliseconds.
    pub interruption_ms: Option<Latency>,
    /// From the loss of a socket to the answer to `session:hello` on the next, milliseconds.
    pub reconnect_ms: Option<Latency>,
    /// From the first try of a command to its success, all commands, milliseconds.
    pub command_ms: Option<Latency>,
    /// Tries of commands and connections that failed, by why.
    pub failed_tries: BTreeMap<String, u64>,
}

impl Phase {
    fn new(from: Nanos, since: String) -> Self {
        Self {
            from,
            since,
            interruptions: stats::histogram(),
            reconnects: stats::histogram(),
            commands: stats::histogram(),
            affected: HashSet::new(),
            connections_lost: 0,
            idle_lost: 0,
            failed_tries: BTreeMap::new(),
        }
    }
}

/// All phases so far; at least one.
pub struct Phases(Vec<Phase>);

impl Phases {
    /// The first one begins.
    pub fn begin(from: Nanos, since: String) -> Self {
        Self(vec![Phase::new(from, since)])
    }

    /// The next one begins; its number, from 1.
    pub fn next(&mut self, from: Nanos, since: String) -> usize {
        self.0.push(Phase::new(from, since));
        self.0.len()
    }

    fn at(&mut self, at: Nanos) -> &mut Phase {
        let later = self.0.partition_point(|phase| phase.from <= at);
        &mut self.0[later.saturating_sub(1)]
    }

    /// A call was affected from `since`.
    pub fn affected(&mut self, call: usize, since: Nanos) {
        self.at(since).affected.insert(call);
    }

    /// An interruption of a call is over.
    pub fn interruption(&mut self, since: Nanos, until: Nanos) {
        self.at(since).interruptions.saturating_record(until.saturating_sub(since));
    }

    /// A socket of a call was lost.
    pub fn connection_lost(&mut self, at: Nanos) {
        self.at(at).connections_lost += 1;
    }

    /// An idle socket was lost.
    pub fn idle_lost(&mut self, at: Nanos) {
        self.at(at).idle_lost += 1;
    }

    /// A client is back.
    pub fn reconnected(&mut self, since: Nanos, until: Nanos) {
        self.at(since).reconnects.saturating_record(until.saturating_sub(since));
    }

    /// A command succeeded.
    pub fn command(&mut self, since: Nanos, until: Nanos) {
        self.at(since).commands.saturating_record(until.saturating_sub(since));
    }

    /// A try failed.
    pub fn failed_try(&mut self, code: &str, at: Nanos) {
        *self.at(at).failed_tries.entry(code.to_owned()).or_default() += 1;
    }

    /// Interruptions seen so far, in all phases.
    pub fn interruptions(&self) -> u64 {
        self.0.iter().map(|phase| phase.interruptions.len()).sum()
    }

    /// What there is to say, if the last one ends at `end`.
    pub fn report(&self, end: Nanos) -> Vec<PhaseReport> {
        let ends = self.0.iter().skip(1).map(|phase| phase.from).chain([end]);
        self.0
            .iter()
            .zip(ends)
            .enumerate()
            .map(|(index, (phase, end))| PhaseReport {
                number: index + 1,
                since: phase.since.clone(),
                seconds: end.saturating_sub(phase.from) as f64 / 1e9,
                calls_affected: phase.affected.len(),
                connections_lost: phase.connections_lost,
                idle_lost: phase.idle_lost,
                interruption_ms: Latency::of(&phase.interruptions),
                reconnect_ms: Latency::of(&phase.reconnects),
                command_ms: Latency::of(&phase.commands),
                failed_tries: phase.failed_tries.clone(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interruption_belongs_to_the_phase_in_which_it_began() {
        let mut phases = Phases::begin(0, "then".into());
        assert_eq!(phases.next(1_000_000_000, "later".into()), 2);
        phases.interruption(999_999_999, 3_999_999_999);
        phases.interruption(1_000_000_000, 1_500_000_000);
        phases.affected(4, 999_999_999);
        phases.affected(4, 5);
        phases.failed_try("unavailable", u64::MAX);
        let [first, second] = &phases.report(2_500_000_000)[..] else { panic!() };
        assert_eq!((first.seconds, second.seconds), (1.0, 1.5));
        assert!(first.interruption_ms.unwrap().max > 2_900.0 && second.interruption_ms.unwrap().max < 600.0);
        assert_eq!((first.calls_affected, second.calls_affected), (1, 0));
        assert_eq!(second.failed_tries["unavailable"], 1);
        assert_eq!(second.command_ms, None);
    }
}
