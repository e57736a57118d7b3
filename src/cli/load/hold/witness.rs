//! What one client was told of its call, checked as it comes: the auditor's ear.
//!
//! Pure: events and times go in, findings come out. It never asks a node and never forgives by itself: a hole stays open until what
//! is missing has come. It survives events twice, in any order, and a snapshot in their place.

use std::{
    collections::{BTreeSet, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
};

use super::{
    super::pacing::Nanos,
    findings::{Finding, Findings},
    frame::{Flags, StateEvent, What},
};

/// Events of which is remembered what they said, to compare a repetition. More costs memory per client; fewer, and a second history of
/// the call that differs further back is not noticed.
const REMEMBERED: usize = 64;

/// How far the commands of one side have been seen in what this client was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Echo {
    /// The newest command seen.
    pub newest: u64,
    /// The command whose flags stand now; older than `newest` only if a late try of an older command came through.
    pub shown: u64,
}

/// The command that these flags stand for, given one that is near: at most 4 before it, at most 3 after it.
pub fn nearest(flags: Flags, near: u64) -> u64 {
    let ahead = (flags.number() + Flags::CYCLE - near % Flags::CYCLE) % Flags::CYCLE;
    if ahead < Flags::CYCLE / 2 { near + ahead } else { (near + ahead).saturating_sub(Flags::CYCLE) }
}

/// What one client was told of its call.
#[derive(Debug)]
pub struct Witness {
    call_id: String,
    users: [String; 2],
    last: u64,
    /// Since when something is missing, and the highest `seq` that was heard of.
    hole: Option<(Nanos, u64)>,
    echoes: [Echo; 2],
    prints: VecDeque<(u64, u64)>,
    end_reason: Option<String>,
    epoch: u64,
    sig: u64,
    renegotiated_at: Option<Nanos>,
    signals: BTreeSet<u64>,
    signals_below: u64,
    /// Repetitions of older commands that came through after newer ones were acknowledged.
    late: u64,
}

impl Witness {
    /// Of a call of these two users, of which nothing was heard yet.
    pub fn new(call_id: &str, users: [String; 2]) -> Self {
        Self {
            call_id: call_id.to_owned(),
            users,
            last: 0,
            hole: None,
            echoes: [Echo::default(); 2],
            prints: VecDeque::new(),
            end_reason: None,
            epoch: 0,
            sig: 0,
            renegotiated_at: None,
            signals: BTreeSet::new(),
            signals_below: 0,
            late: 0,
        }
    }

    /// The newest `seq` up to which nothing is missing.
    pub fn seq(&self) -> u64 {
        self.last
    }

    /// The newest `sig` of the newest epoch.
    pub fn sig(&self) -> u64 {
        self.sig
    }

    /// Since when an event is known to be missing.
    pub fn hole_since(&self) -> Option<Nanos> {
        self.hole.map(|(since, _)| since)
    }

    /// How far each side's commands were seen.
    pub fn echoes(&self) -> [Echo; 2] {
        self.echoes
    }

    /// Why the call ended, once this client knows.
    pub fn end_reason(&self) -> Option<&str> {
        self.end_reason.as_deref()
    }

    /// Late repetitions noticed.
    pub fn late(&self) -> u64 {
        self.late
    }

    /// An event of the call. `acked` are the newest commands of both sides that were acknowledged by now.
    pub fn on_state(&mut self, event: &StateEvent, acked: [u64; 2], now: Nanos, findings: &mut Findings) {
        if event.call_id != self.call_id {
            return;
        }
        if event.seq <= self.last {
            self.compare(event, findings);
            return;
        }
        let snapshot = matches!(event.what, What::Snapshot(_));
        if event.prev > self.last && !snapshot {
            let (since, up_to) = self.hole.unwrap_or((now, 0));
            self.hole = Some((since, up_to.max(event.seq)));
            return;
        }
        if let Some(reason) = &self.end_reason {
            let said = format!("seq {} after the end ({reason}): {:?}", event.seq, event.what);
            findings.add(Finding::AfterTheEnd, &self.call_id, &said);
        }
        self.last = event.seq;
        self.hole = self.hole.filter(|(_, up_to)| *up_to > self.last);
        self.remember(event);
        match &event.what {
            What::Flags { user, flags } => {
                if let Some(side) = self.side_of(user) {
                    self.on_flags(side, *flags, findings);
                }
            }
            What::Snapshot(view) => {
                for ((user, echo), acked) in self.users.iter().zip(&mut self.echoes).zip(acked) {
                    if let Some(flags) = view.flags(user) {
                        // Rendered a moment ago: at most a few commands before the newest.
                        let number = nearest(flags, acked);
                        *echo = Echo { newest: echo.newest.max(number), shown: number };
                    }
                }
                self.end_reason = view.end_reason().map(str::to_owned).or(self.end_reason.take());
            }
            What::Ended { reason } => self.end_reason = Some(reason.clone()),
            What::Incoming | What::Other => {}
        }
    }

    fn side_of(&self, user: &str) -> Option<usize> {
        self.users.iter().position(|name| name == user)
    }

    /// Each command is sent only when the one before it was acknowledged: a number left out was acknowledged and is lost.
    fn on_flags(&mut self, side: usize, flags: Flags, findings: &mut Findings) {
        let newest = self.echoes[side].newest;
        let number = nearest(flags, newest + 1);
        if number <= newest {
            self.late += 1;
            self.echoes[side].shown = number;
            return;
        }
        if number > newest + 1 {
            let said = format!("commands {}..{number} of {} were never seen", newest + 1, self.users[side]);
            findings.add(Finding::AcknowledgedLost, &self.call_id, &said);
        }
        self.echoes[side] = Echo { newest: number, shown: number };
    }

    fn remember(&mut self, event: &StateEvent) {
        if let Some(print) = print_of(event) {
            self.prints.push_back((event.seq, print));
            if self.prints.len() > REMEMBERED {
                self.prints.pop_front();
            }
        }
    }

    /// A repetition must say what was said before: else two owners have numbered two histories.
    fn compare(&mut self, event: &StateEvent, findings: &mut Findings) {
        let before = self.prints.iter().find(|(seq, _)| *seq == event.seq);
        if let (Some((_, before)), Some(now)) = (before, print_of(event))
            && *before != now
        {
            findings.add(
                Finding::Forked,
                &self.call_id,
                &format!("seq {} said two things: {:?}", event.seq, event.what),
            );
        }
    }

    /// A signal arrived.
    pub fn on_signal(&mut self, epoch: u64, sig: u64, number: u64) {
        if epoch >= self.epoch {
            self.sig = if epoch > self.epoch { sig } else { self.sig.max(sig) };
            self.epoch = epoch;
        }
        if number >= self.signals_below {
            self.signals.insert(number);
        }
        while self.signals.remove(&self.signals_below) {
            self.signals_below += 1;
        }
    }

    /// `call:renegotiate`: signals on their way may be lost.
    pub fn on_renegotiate(&mut self, epoch: u64, now: Nanos) {
        if epoch > self.epoch {
            (self.epoch, self.sig) = (epoch, 0);
        }
        self.renegotiated_at = Some(now);
    }

    /// Whether a signal of the other side has arrived.
    pub fn has_signal(&self, number: u64) -> bool {
        number < self.signals_below || self.signals.contains(&number)
    }

    /// Whether this client was told, at or after `sent`, that signals may be lost.
    pub fn was_warned(&self, sent: Nanos) -> bool {
        self.renegotiated_at.is_some_and(|at| at >= sent)
    }
}

fn print_of(event: &StateEvent) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    match &event.what {
        What::Flags { user, flags } => (user, flags).hash(&mut hasher),
        What::Ended { reason } => reason.hash(&mut hasher),
        What::Incoming | What::Snapshot(_) | What::Other => return None,
    }
    Some(hasher.finish())
}

#[cfg(test)]
mod tests;
