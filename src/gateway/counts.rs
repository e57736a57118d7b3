//! What the edge of one node counts and measures as it happens, for `/metrics`: commands, sockets, answers over HTTP.
//!
//! Signals are most of what a node does, so of them only outcomes are counted (`Metrics::signals`), and no clock is read.
//! Whatever a client sends, the labels are words of our own tables: an unknown command is `unknown`.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use actix_web::http::StatusCode;

use super::{close_code::Ended, protocol::COMMANDS};
use crate::{
    actors::counts::Outcomes,
    clock,
    metrics::{Histogram, Page, Tally},
    wire::{ErrorCode, Refusal},
};

/// Commands whose times are measured together. One each would be thirty histograms of seventeen series.
const GROUPS: [&str; 6] = ["start", "accept", "change", "read", "session", "recording"];
/// Classes of HTTP statuses.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
/// What a command is counted as that is in no table, and a frame that is none.
const UNKNOWN: &str = "unknown";
const SIGNAL: &str = "call:signal";

/// See the module.
pub struct Counts {
    /// One for each of [`COMMANDS`], and one for what is unknown.
    commands: Box<[Kind]>,
    times: [Histogram; GROUPS.len()],
    opened: AtomicU64,
    ended: Tally<{ Ended::ALL.len() }>,
    answers: Tally<{ CLASSES.len() }>,
}

struct Kind {
    name: &'static str,
    /// Its place in [`GROUPS`].
    group: usize,
    outcomes: Outcomes,
}

/// A command that is under way.
#[derive(Debug, Clone, Copy)]
pub struct Begun {
    kind: usize,
    at: Instant,
}

impl Default for Counts {
    fn default() -> Self {
        let kind = |name, group: &str| {
            let group = GROUPS.iter().position(|known| *known == group).unwrap_or_default();
            Kind { name, group, outcomes: Outcomes::default() }
        };
        let known = COMMANDS.iter().map(|spec| kind(spec.event, group(spec.event, spec.takes_key)));
        Self {
            commands: known.chain([kind(UNKNOWN, "read")]).collect(),
            times: std::array::from_fn(|_| Histogram::latency()),
            opened: AtomicU64::new(0),
            ended: Tally::default(),
            answers: Tally::default(),
        }
    }
}

fn group(event: &str, changes: bool) -> &'static str {
    match event {
        "call:start" => "start",
        "call:accept" | "call:join" => "accept",
        "session:hello" | "session:refresh" => "session",
        "call:token" => "read",
        event if event.starts_with("recording:") => "recording",
        _ if changes => "change",
        _ => "read",
    }
}

impl Counts {
    fn place(&self, event: &str) -> usize {
        let unknown = self.commands.len() - 1;
        self.commands.iter().position(|kind| kind.name == event).unwrap_or(unknown)
    }

    /// A command whose frame was read at this moment.
    pub fn begin(&self, event: &str, at: Instant) -> Begun {
        Begun { kind: self.place(event), at }
    }

    /// Its answer is queued, or it is known that there is none to be sent.
    pub fn end<T>(&self, Begun { kind, at }: Begun, outcome: &Result<T, Refusal>) {
        let Some(kind) = self.commands.get(kind) else { return };
        kind.outcomes.of(outcome);
        if let Some(times) = self.times.get(kind.group) {
            times.took(clock::monotonic().saturating_duration_since(at));
        }
    }

    /// A command was refused before anybody was asked; `None`: it was no frame at all.
    pub fn refuse(&self, event: Option<&str>, code: ErrorCode) {
        if let Some(kind) = self.commands.get(self.place(event.unwrap_or(UNKNOWN))) {
            kind.outcomes.count(Err(code));
        }
    }

    /// A session is attached to its user: its hello, said or not, has succeeded.
    pub fn welcome(&self) {
        if let Some(kind) = self.commands.get(self.place("session:hello")) {
            kind.outcomes.count(Ok(()));
        }
    }

    /// A socket is open.
    pub fn on_opened(&self) {
        self.opened.fetch_add(1, Ordering::Relaxed);
    }

    /// A socket is gone.
    pub fn on_ended(&self, how: Ended) {
        self.ended.inc(how.place());
    }

    /// A request was answered.
    pub fn on_answer(&self, status: StatusCode) {
        self.answers.inc(usize::from(status.as_u16() / 100).wrapping_sub(1));
    }

    /// Writes them. `signals`: what became of those, beyond what was refused before they were sent on.
    pub fn write(&self, page: &mut Page, signals: &Outcomes) {
        let mut commands = Vec::new();
        for kind in &self.commands {
            for (outcome, n) in kind.outcomes.seen() {
                commands.push(([("kind", kind.name), ("outcome", outcome)], n));
            }
        }
        for (outcome, n) in signals.seen() {
            let labels = [("kind", SIGNAL), ("outcome", outcome)];
            match commands.iter_mut().find(|(known, _)| *known == labels) {
                Some((_, sum)) => *sum += n,
                None => commands.push((labels, n)),
            }
        }
        let help = "Commands of sockets and of REST, by kind and outcome (ok, or the error code)";
        page.counters("commands", help, commands);
        let times = GROUPS.into_iter().zip(&self.times).map(|(group, times)| ([("group", group)], times.clone()));
        let help = "From the reading of a command until its answer is queued; without signals";
        page.histograms("command_seconds", help, times.collect());
        page.counter("sockets_opened", "WebSockets that were opened", self.opened.load(Ordering::Relaxed));
        let ended = Ended::ALL.into_iter().zip(self.ended.read());
        let ended = ended.map(|(how, n)| ([("code", how.code()), ("reason", how.reason())], n)).collect();
        page.counters("sockets_closed", "WebSockets that are gone, by the close code that was sent, and why", ended);
        let answers = CLASSES.into_iter().zip(self.answers.read()).map(|(class, n)| ([("class", class)], n));
        page.counters("http_responses", "Requests answered, by class of status; an upgrade is 1xx", answers.collect());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_asked_for_the_labels_are_of_our_own_tables() {
        let counts = Counts::default();
        for event in ["call:dance", "call:Start", "", "unknown", "alice\"} 1"] {
            counts.refuse(Some(event), ErrorCode::Invalid);
        }
        counts.refuse(None, ErrorCode::Invalid);
        let signals = Outcomes::default();
        signals.count(Ok(()));
        counts.refuse(Some(SIGNAL), ErrorCode::RateLimited);
        let mut page = Page::default();
        counts.write(&mut page, &signals);
        let text = page.text().unwrap();
        for line in [
            "carillon_commands_total{kind=\"unknown\",outcome=\"invalid\"} 6",
            "carillon_commands_total{kind=\"call:signal\",outcome=\"ok\"} 1",
            "carillon_commands_total{kind=\"call:signal\",outcome=\"rate_limited\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "no {line} in {text}");
        }
        assert!(!text.contains("dance") && !text.contains("alice"));
    }

    #[test]
    fn a_command_is_measured_with_those_of_its_group() {
        let counts = Counts::default();
        let at = clock::monotonic();
        for event in ["call:start", "call:join", "call:leave", "call:get", "session:refresh", "recording:stop"] {
            counts.end(counts.begin(event, at), &Ok::<(), Refusal>(()));
        }
        let mut page = Page::default();
        counts.write(&mut page, &Outcomes::default());
        let text = page.text().unwrap();
        for group in GROUPS {
            let line = format!("carillon_command_seconds_count{{group=\"{group}\"}} 1");
            assert!(text.lines().any(|found| found == line), "no {line} in {text}");
        }
    }
}
