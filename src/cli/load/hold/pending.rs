//! A command that has not succeeded yet: when it is tried again, and how it is written.
//!
//! Pure. Every command of the mode may be repeated, whatever became of the tries before; that is what it is there to test.

use super::{
    super::{
        frame::{self as commands, Mark},
        pacing::Nanos,
    },
    Cx,
    call::Call,
    frame::Flags,
    leg::Leg,
};

const MILLISECOND: Nanos = 1_000_000;

/// A command that takes longer counts as an interruption from when it was sent: a person looks up. Smaller, and a busy machine makes
/// interruptions; larger, and those that the server hides by waiting are not seen.
const SLOW: Nanos = 1_000 * MILLISECOND;

/// A try that got no answer for so long is repeated. Smaller, and a takeover meets each command several times; larger, and a lost frame
/// makes the interruption long.
pub const UNANSWERED: Nanos = 3_000 * MILLISECOND;

/// The wait before a refused command is tried again: this, doubled with each try, at most [`RETRY_MAX`]; half to all of it. As
/// Carillon's own client waits, except for the bound: an interruption shall be the cluster's, not the backoff's.
const RETRY_BASE: Nanos = 200 * MILLISECOND;
const RETRY_MAX: Nanos = 1_000 * MILLISECOND;

/// What is asked of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// `call:media` with the flags of this command of the side.
    Media(u64),
    /// This signal of the side.
    Signal(u64),
    /// `session:hello` once more: the call could not be resumed.
    Attach,
    /// `call:sync`, for a hole.
    Sync,
    /// `call:get`, for the auditor.
    Get,
    /// `call:end`.
    End,
}

impl Task {
    /// Whether a person would notice that it does not work.
    pub fn is_noticed(self) -> bool {
        matches!(self, Task::Media(_) | Task::Signal(_))
    }
}

/// A command that has not succeeded yet.
#[derive(Debug)]
pub struct Pending {
    /// What it is.
    pub task: Task,
    /// Tells the commands of a side apart.
    pub serial: u64,
    /// When it was tried first.
    pub begun: Nanos,
    /// Tries so far that failed.
    pub tries: u32,
    /// When the try under way was sent.
    pub sent: Option<Nanos>,
    /// When the next try is due, if none is under way.
    pub retry_at: Nanos,
    /// A try failed, or takes so long that somebody notices.
    pub failed: bool,
    /// Why the last one failed.
    pub code: String,
}

impl Pending {
    /// To be tried at once.
    pub fn new(task: Task, serial: u64, now: Nanos) -> Self {
        let code = "unanswered".to_owned();
        Self { task, serial, begun: now, tries: 0, sent: None, retry_at: now, failed: false, code }
    }

    /// When something is to be done about it.
    pub fn next_wake(&self) -> Nanos {
        match self.sent {
            None => self.retry_at,
            Some(_) if !self.failed => self.begun + SLOW,
            Some(sent) => sent + UNANSWERED,
        }
    }

    /// Gives the try under way up if it has been waited for long enough; then when it was sent.
    pub fn unanswered(&mut self, now: Nanos) -> Option<Nanos> {
        let sent = self.sent?;
        self.failed |= now.saturating_sub(self.begun) >= SLOW;
        if now.saturating_sub(sent) < UNANSWERED {
            return None;
        }
        (self.sent, self.retry_at, self.failed) = (None, now, true);
        self.tries += 1;
        Some(sent)
    }

    /// Whether a try is to be sent.
    pub fn is_due(&self, now: Nanos) -> bool {
        self.sent.is_none() && self.retry_at <= now
    }

    /// The connection is gone, and with it the answer.
    pub fn on_cut_off(&mut self) {
        self.failed |= self.sent.take().is_some();
    }

    /// The try under way was refused.
    pub fn on_refused(&mut self, code: String, now: Nanos, random: f64) {
        (self.sent, self.retry_at, self.failed) = (None, now + wait(self.tries, random), true);
        self.tries += 1;
        self.code = code;
    }

    /// As a frame. The id names the try, so that a late answer to an earlier one is not taken for the newest.
    pub fn frame(&self, leg: &Leg, cx: &Cx<'_>) -> String {
        let id = format!("{}.{}", self.serial, self.tries);
        let call = &cx.call.id;
        let (event, data) = match self.task {
            Task::Media(number) => ("call:media", format!(r#"{{"callId":"{call}",{}}}"#, Flags::of(number).fields())),
            Task::Signal(number) => {
                // An offer and an answer make the call active; whatever comes later is a candidate.
                let kind = match (number, leg.side()) {
                    (0, 0) => "offer",
                    (0, _) => "answer",
                    _ => "ice_candidate",
                };
                let mark = Mark { call: cx.call.index as u64, number, at: self.begun };
                return commands::signal(Some(&id), call, kind, mark, leg.plan.signal_bytes);
            }
            Task::Attach => {
                let device = commands::quoted(leg.device());
                ("session:hello", format!(r#"{{"deviceId":{device},"resume":{}}}"#, leg.resume(call)))
            }
            Task::Sync => {
                let (seq, sig) = (leg.witness.seq(), leg.witness.sig());
                ("call:sync", format!(r#"{{"callId":"{call}","seq":{seq},"sig":{sig}}}"#))
            }
            Task::Get => ("call:get", call_data(cx.call)),
            Task::End => ("call:end", call_data(cx.call)),
        };
        commands::command(&id, event, &data)
    }
}

/// What ends a call that is lost, as well as one can: one that hangs on would make its users busy.
pub fn give_up(call: &Call) -> String {
    commands::command("lost", "call:end", &call_data(call))
}

fn call_data(call: &Call) -> String {
    format!(r#"{{"callId":"{}"}}"#, call.id)
}

/// The command and the try that a reply is about; `None` if it is none of this side's.
pub fn parse_id(id: &str) -> Option<(u64, u32)> {
    let (serial, tries) = id.split_once('.')?;
    Some((serial.parse().ok()?, tries.parse().ok()?))
}

/// The wait after so many failed tries.
pub fn wait(tries: u32, random: f64) -> Nanos {
    let longest = RETRY_BASE.saturating_mul(1 << tries.min(16)).min(RETRY_MAX);
    (longest as f64 * (0.5 + random / 2.0)) as Nanos
}
