//! Whether this machine's clock and those of the servers agree.
//!
//! Nodes go by the database's clock, so a wrong one of their machine does no harm to calls; it does to certificates,
//! signatures and logs, and to what another server makes of our tokens. Each server was asked on the way, and its answer
//! is known to be between two readings of our own.

use std::{cell::RefCell, time::Duration};

use super::report::{Findings, Verdict};
use crate::{clock::now, config::Settings, domain::Timestamp};

/// From here on a difference is worth a word: clocks that follow a time server differ by milliseconds.
const DOUBTFUL: Duration = Duration::from_secs(2);

/// What another's clock says beside ours, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sample {
    name: &'static str,
    ahead: i64,
    /// How far that may be wrong.
    give_or_take: i64,
}

/// What the groups have seen.
#[derive(Debug, Default)]
pub(super) struct Samples(RefCell<Vec<Sample>>);

impl Samples {
    /// Another clock said `theirs`, in whole steps of `grain`, at some moment since `asked`.
    pub(super) fn add(&self, name: &'static str, theirs: Timestamp, asked: Timestamp, grain: Duration) {
        self.0.borrow_mut().push(sample(name, theirs, asked, now(), grain));
    }
}

fn sample(name: &'static str, theirs: Timestamp, asked: Timestamp, answered: Timestamp, grain: Duration) -> Sample {
    let half = |millis: i64| millis.max(0) / 2;
    let grain = half(i64::try_from(grain.as_millis()).unwrap_or(i64::MAX));
    let wait = half(answered.as_millis().saturating_sub(asked.as_millis()));
    let ours = asked.as_millis().saturating_add(wait);
    let theirs = theirs.as_millis().saturating_add(grain);
    Sample { name, ahead: theirs.saturating_sub(ours), give_or_take: wait.saturating_add(grain) }
}

/// Compares.
pub(super) fn check(found: &Findings, settings: &Settings, samples: &Samples) {
    let mut samples = samples.0.take();
    // They came as their servers answered.
    samples.sort_by_key(|sample| sample.name);
    if samples.is_empty() {
        return found.not_checked("clock", "no other clock could be asked");
    }
    for sample in &samples {
        let off = sample.ahead.abs();
        let certainly = Duration::from_millis(off.saturating_sub(sample.give_or_take).max(0).unsigned_abs());
        let direction = if sample.ahead > 0 { "behind" } else { "ahead of" };
        let whose = match sample.name {
            "clock.database" => "the database's",
            "clock.redis" => "Redis'",
            _ => "LiveKit's",
        };
        let verdict = match certainly {
            off if off > settings.node_lease / 2 => Verdict::Wrong,
            off if off > DOUBTFUL => Verdict::Warning,
            _ => Verdict::Ok,
        };
        let seen = if verdict == Verdict::Ok {
            format!("this machine's clock and {whose} agree within {} ms", off.saturating_add(sample.give_or_take))
        } else {
            let give_or_take = sample.give_or_take;
            format!("this machine's clock is {} {direction} {whose}, give or take {give_or_take} ms", span(off))
        };
        let mend = "have both machines follow a time server (chrony, systemd-timesyncd; `timedatectl` shows whether one \
            does); of two that differ the wrong one differs from the others here too";
        found.judged(sample.name, verdict, seen, mend);
    }
}

fn span(millis: i64) -> String {
    match millis {
        0..10_000 => format!("{millis} ms"),
        10_000..600_000 => format!("{} s", millis / 1000),
        _ => format!("{} min", millis.saturating_add(30_000) / 60_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn the_answer_is_taken_for_the_middle_of_the_wait() {
        let seen = sample("clock.redis", at(5000), at(1000), at(1200), Duration::ZERO);
        assert_eq!((seen.ahead, seen.give_or_take), (3900, 100));
        let seen = sample("clock.livekit", at(1000), at(1400), at(1600), Duration::from_secs(1));
        assert_eq!((seen.ahead, seen.give_or_take), (0, 600), "whole seconds are cut off, not rounded");
    }
}
