//! One call as both of its sides play it: start, accept, offer and answer, candidates, end.
//!
//! Pure: frames and times go in, frames and samples come out. It never touches a socket or a clock, and it survives frames in any
//! order, of other calls, and twice.

use super::{
    frame::{self, Frame, Mark},
    pacing::Nanos,
    stats::Metric,
};

/// Who sends or receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Starts and ends the call.
    Caller = 0,
    /// Accepts it.
    Callee = 1,
}

impl Side {
    /// Both, the caller first.
    pub const BOTH: [Side; 2] = [Side::Caller, Side::Callee];

    /// The other one.
    pub fn other(self) -> Side {
        match self {
            Side::Caller => Side::Callee,
            Side::Callee => Side::Caller,
        }
    }
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// An error code of the protocol, `timeout`, `ended_` and the reason, `closed_` and the close code, `malformed`.
    pub code: String,
    /// What the load waited for.
    pub step: &'static str,
}

/// What every call of a run is like.
#[derive(Clone, Copy, Debug)]
pub struct CallPlan {
    /// Signals of both sides together: an offer, an answer, then candidates in turn.
    pub signals: u64,
    /// Bytes of a signal's payload.
    pub signal_bytes: usize,
    /// Longer than this for any step is the error `timeout`.
    pub patience: Nanos,
}

impl CallPlan {
    fn sent_by(&self, side: Side) -> u64 {
        match side {
            Side::Caller => self.signals.div_ceil(2),
            Side::Callee => self.signals / 2,
        }
    }
}

/// What is to be done after a step of the script.
#[derive(Debug, Default)]
pub struct Output {
    /// To be sent, in order.
    pub frames: Vec<(Side, String)>,
    /// Measured: since when, and how long.
    pub samples: Vec<(Metric, Nanos, Nanos)>,
    /// Signals that arrived.
    pub arrived: u64,
}

/// One call, from start to end.
pub struct CallScript {
    plan: CallPlan,
    call_id: String,
    number: u64,
    due: Nanos,
    accept_at: Nanos,
    end_at: Nanos,
    deadline: Nanos,
    start_answered: bool,
    rung: bool,
    accept_answered: bool,
    accepted: bool,
    signals_answered: u64,
    received: [u64; 2],
    hung_up: bool,
    end_answered: bool,
    ended: [bool; 2],
}

impl CallScript {
    /// A call not yet begun; `number` tells the calls of a pair apart, `call_id` must be one that was never used.
    pub fn new(plan: CallPlan, call_id: String, number: u64) -> Self {
        Self {
            plan,
            call_id,
            number,
            due: 0,
            accept_at: 0,
            end_at: 0,
            deadline: Nanos::MAX,
            start_answered: false,
            rung: false,
            accept_answered: false,
            accepted: false,
            signals_answered: 0,
            received: [0; 2],
            hung_up: false,
            end_answered: false,
            ended: [false; 2],
        }
    }

    /// Its id.
    pub fn call_id(&self) -> &str {
        &self.call_id
    }

    /// What it waits for.
    pub fn step(&self) -> &'static str {
        if !self.rung {
            "incoming"
        } else if !self.accepted {
            "accepted"
        } else if self.hung_up {
            "ended"
        } else if !(self.start_answered && self.accept_answered) {
            "reply"
        } else {
            "signals"
        }
    }

    /// When to give up.
    pub fn deadline(&self) -> Nanos {
        self.deadline
    }

    /// Both sides have answered and exchanged their signals; the next thing is [`CallScript::hang_up`].
    pub fn is_connected(&self) -> bool {
        self.accepted
            && self.start_answered
            && self.accept_answered
            && self.signals_answered == self.plan.signals.min(2)
            && Side::BOTH.iter().all(|side| self.received[side.other() as usize] >= self.plan.sent_by(*side))
            && !self.hung_up
    }

    /// Both sides know the end.
    pub fn is_done(&self) -> bool {
        self.end_answered && self.ended == [true; 2]
    }

    fn id(&self, letter: char) -> String {
        format!("{}{letter}", self.number)
    }

    fn progress(&mut self, now: Nanos) {
        self.deadline = now + self.plan.patience;
    }

    /// The caller starts the call, which was due at `due`.
    pub fn start(&mut self, callee: &str, due: Nanos, now: Nanos, out: &mut Output) {
        self.due = due;
        self.progress(now);
        let data = format!(r#"{{"callId":"{}","calleeIds":[{}],"type":"audio"}}"#, self.call_id, frame::quoted(callee));
        out.frames.push((Side::Caller, frame::command(&self.id('s'), "call:start", &data)));
    }

    /// Both sides do nothing until `until`; that is no reason to give up.
    pub fn hold_until(&mut self, until: Nanos) {
        self.deadline = until.saturating_add(self.plan.patience);
    }

    /// The caller ends the call.
    pub fn hang_up(&mut self, now: Nanos, out: &mut Output) {
        self.hung_up = true;
        self.end_at = now;
        self.progress(now);
        out.frames.push((Side::Caller, frame::command(&self.id('e'), "call:end", &self.call_data())));
    }

    /// What ends a call that failed, whatever its state; the answers do not matter.
    pub fn abandon(&self) -> String {
        let event = if self.accepted { "call:end" } else { "call:cancel" };
        frame::command(&self.id('x'), event, &self.call_data())
    }

    fn call_data(&self) -> String {
        format!(r#"{{"callId":"{}"}}"#, self.call_id)
    }

    /// A frame came in on `side`.
    pub fn on_frame(&mut self, side: Side, frame: Frame, now: Nanos, out: &mut Output) -> Result<(), Failure> {
        match frame {
            Frame::Reply { id, refusal } => return self.on_reply(&id, refusal, now, out),
            Frame::Refused { code } => return Err(self.failure(code)),
            Frame::Malformed => return Err(self.failure("malformed".to_owned())),
            Frame::Incoming { call_id } if side == Side::Callee && call_id == self.call_id && !self.rung => {
                self.rung = true;
                out.samples.push((Metric::StartToIncoming, self.due, now.saturating_sub(self.due)));
                self.accept_at = now;
                self.progress(now);
                out.frames.push((Side::Callee, frame::command(&self.id('a'), "call:accept", &self.call_data())));
            }
            Frame::Accepted { call_id } if side == Side::Caller && call_id == self.call_id && !self.accepted => {
                self.accepted = true;
                out.samples.push((Metric::AcceptToAccepted, self.due, now.saturating_sub(self.accept_at)));
                self.progress(now);
                self.send_signals(Side::Caller, now, out);
            }
            Frame::Signal(mark) if mark.call == self.number => self.on_signal(side, mark, now, out)?,
            Frame::Ended { call_id, reason } if call_id == self.call_id => {
                if !self.hung_up {
                    return Err(self.failure(format!("ended_{reason}")));
                }
                if side == Side::Callee && !self.ended[side as usize] {
                    out.samples.push((Metric::EndToEnded, self.due, now.saturating_sub(self.end_at)));
                }
                self.ended[side as usize] = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn on_reply(&mut self, id: &str, refusal: Option<String>, now: Nanos, out: &mut Output) -> Result<(), Failure> {
        let Some(letter) = id.strip_prefix(&self.number.to_string()).filter(|rest| rest.len() == 1) else {
            return Ok(()); // the answer to a call given up before
        };
        if let Some(code) = refusal {
            return Err(self.failure(code));
        }
        match letter {
            "s" => {
                self.start_answered = true;
                out.samples.push((Metric::StartToReply, self.due, now.saturating_sub(self.due)));
            }
            "a" => self.accept_answered = true,
            "o" | "n" => self.signals_answered += 1,
            "e" => self.end_answered = true,
            _ => {}
        }
        Ok(())
    }

    fn on_signal(&mut self, side: Side, mark: Mark, now: Nanos, out: &mut Output) -> Result<(), Failure> {
        let expected = self.received[side as usize];
        if mark.number < expected {
            return Ok(()); // a repetition does no harm
        }
        if mark.number > expected {
            return Err(Failure { code: "signal_out_of_order".to_owned(), step: "signals" });
        }
        self.received[side as usize] += 1;
        out.arrived += 1;
        out.samples.push((Metric::SignalOneWay, self.due, now.saturating_sub(mark.at)));
        self.progress(now);
        if side == Side::Callee && mark.number == 0 {
            self.send_signals(Side::Callee, now, out);
        }
        Ok(())
    }

    /// The offer or the answer, with a reply, then this side's candidates, without.
    fn send_signals(&self, side: Side, now: Nanos, out: &mut Output) {
        let (letter, first) = match side {
            Side::Caller => ('o', "offer"),
            Side::Callee => ('n', "answer"),
        };
        for number in 0..self.plan.sent_by(side) {
            let id = (number == 0).then(|| self.id(letter));
            let kind = if number == 0 { first } else { "ice_candidate" };
            let mark = Mark { call: self.number, number, at: now };
            out.frames.push((side, frame::signal(id.as_deref(), &self.call_id, kind, mark, self.plan.signal_bytes)));
        }
    }

    fn failure(&self, code: String) -> Failure {
        Failure { code, step: self.step() }
    }
}

#[cfg(test)]
mod tests;
