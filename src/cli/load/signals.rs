//! The mode `signals`: one call per pair, full of signals, saturated or at a rate.
//!
//! Signals are told apart by their numbers, so each that is lost is noticed, and does not stop the window. A call that breaks is
//! replaced by a new one.

use std::rc::Rc;

use uuid::Uuid;

use super::{
    client::Broken,
    frame::{self, Frame, Mark},
    pacing::{Nanos, Pacer, Ticket},
    pair::{Pair, Shared, Woken},
    scenario::{Trouble, connect_call, count_trouble, end_call, recover},
    script::{CallPlan, CallScript, Failure, Output, Side},
    stats::{Counter, Metric},
};

/// How signals are sent in the mode `signals`.
#[derive(Clone, Copy, Debug)]
pub struct SignalPlan {
    /// Bytes of a payload.
    pub bytes: usize,
    /// Outstanding signals per side and pair; counts only without a rate.
    pub window: u64,
    /// Signals per second of all pairs together; 0: as fast as the window allows.
    pub per_second: f64,
    /// Number of pairs.
    pub pairs: usize,
    /// Signals that may be sent together share a write.
    pub batch: bool,
    /// When the first paced signal is due.
    pub start: Nanos,
}

/// Opens one call and fills it with signals, until the end of the run.
pub async fn stream_signals(shared: Rc<Shared>, plan: SignalPlan, index: usize, mut pair: Pair) {
    let pacer = (plan.per_second > 0.0).then(|| Pacer::share(plan.start, plan.per_second, index, plan.pairs));
    let mut number = 0;
    while !shared.is_over() {
        number += 1;
        let call_plan = CallPlan { signals: 2, signal_bytes: plan.bytes, patience: shared.patience };
        let mut script = CallScript::new(call_plan, Uuid::now_v7().to_string(), number);
        let streamed = stream_in_call(&shared, plan, pacer.as_ref(), &mut pair, &mut script, number).await;
        match streamed {
            Ok(()) => shared.recorder.borrow_mut().count(Counter::Calls, shared.clock.now(), 1),
            Err(trouble) => {
                // The call may have begun long before the window: the failure counts when it happened, and while the last
                // signals are awaited that is still the window's business.
                let at = shared.clock.now().min(shared.end.get().saturating_sub(1));
                count_trouble(&shared, &trouble, script.step(), at, true);
                if !recover(&shared, &mut pair, &script, trouble).await {
                    return;
                }
            }
        }
    }
    pair.close().await;
}

/// One direction of the signals of a call.
#[derive(Clone, Copy, Debug, Default)]
struct Direction {
    sent: u64,
    /// The number of the next signal to arrive.
    expected: u64,
}

/// What the arrival of a signal says about those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arrival {
    InOrder,
    /// So many before it did not come.
    After(u64),
    /// It came before.
    Repeated,
}

impl Direction {
    fn outstanding(&self) -> u64 {
        self.sent - self.expected.min(self.sent)
    }

    fn on_arrival(&mut self, number: u64) -> Arrival {
        if number < self.expected {
            return Arrival::Repeated;
        }
        let missing = number - self.expected;
        self.expected = number + 1;
        if missing == 0 { Arrival::InOrder } else { Arrival::After(missing) }
    }
}

async fn stream_in_call(
    shared: &Shared,
    plan: SignalPlan,
    pacer: Option<&Pacer>,
    pair: &mut Pair,
    script: &mut CallScript,
    number: u64,
) -> Result<(), Trouble> {
    let mut out = Output::default();
    connect_call(shared, pair, script, &mut out, shared.clock.now()).await?;
    // The offer and the answer took number 0.
    let mut directions = [Direction { sent: 1, expected: 1 }; 2];
    let mut next_sender = Side::Caller;
    let mut progress = shared.clock.now();
    while !shared.is_over() {
        // Send what is due.
        let mut sent = [false; 2];
        let now = shared.clock.now();
        if let Some(pacer) = pacer {
            while pacer.next_due(now) <= now {
                let Some(ticket) = pacer.take(now, shared.end.get()) else { break };
                // Sending does not wait for the server, so a little lateness is the timer's.
                let at = Ticket { late: false, ..ticket }.counts_from(now);
                send_signal(shared, plan, pair, script, &mut directions, next_sender, number, at).await?;
                sent[next_sender as usize] = true;
                next_sender = next_sender.other();
            }
        } else {
            for side in Side::BOTH {
                while directions[side as usize].outstanding() < plan.window {
                    send_signal(shared, plan, pair, script, &mut directions, side, number, now).await?;
                    sent[side as usize] = true;
                }
            }
        }
        for side in Side::BOTH {
            if plan.batch && sent[side as usize] {
                pair.flush(side).await?;
            }
        }
        // Take in what has come: wait for one, then all that are there, then refill the window with one write.
        let now = shared.clock.now();
        let outstanding = directions.iter().any(|direction| direction.outstanding() > 0);
        if !outstanding {
            progress = now;
        }
        let tick = now + 100_000_000; // how soon the end of the run is noticed
        let wake = pacer.map_or(tick, |pacer| pacer.next_due(now).min(tick));
        let mut woken = Some(pair.next(shared.clock, wake).await);
        while let Some(event) = woken {
            match event {
                Woken::Frame(side, text) => {
                    take_in(shared, script, &mut directions, side, frame::parse(&text), number, &mut out)?;
                    progress = shared.clock.now();
                }
                Woken::Broken(broken) => return Err(broken.into()),
                Woken::Deadline => break,
            }
            woken = pair.next_ready().await;
        }
        if outstanding && shared.clock.now() > progress + shared.patience {
            return Err(Failure { code: "timeout".to_owned(), step: "signals" }.into());
        }
    }
    drain(shared, pair, script, &mut directions, number, &mut out).await?;
    end_call(shared, pair, script, &mut out).await
}

#[expect(clippy::too_many_arguments, reason = "the state of one loop, used once")]
async fn send_signal(
    shared: &Shared,
    plan: SignalPlan,
    pair: &mut Pair,
    script: &CallScript,
    directions: &mut [Direction; 2],
    side: Side,
    call: u64,
    at: Nanos,
) -> Result<(), Broken> {
    let direction = &mut directions[side as usize];
    let mark = Mark { call, number: direction.sent, at };
    direction.sent += 1;
    shared.recorder.borrow_mut().attempt(at, 1);
    let text = frame::signal(None, script.call_id(), "ice_candidate", mark, plan.bytes);
    if plan.batch { pair.feed(side, text).await } else { pair.send(side, text).await }
}

/// A frame that came in on `side` while signals are streamed.
fn take_in(
    shared: &Shared,
    script: &mut CallScript,
    directions: &mut [Direction; 2],
    side: Side,
    frame: Frame,
    call: u64,
    out: &mut Output,
) -> Result<(), Failure> {
    let Frame::Signal(mark) = frame else {
        return script.on_frame(side, frame, shared.clock.now(), out);
    };
    if mark.call != call {
        return Ok(());
    }
    let now = shared.clock.now();
    let mut recorder = shared.recorder.borrow_mut();
    match directions[side.other() as usize].on_arrival(mark.number) {
        Arrival::Repeated => return Ok(()),
        Arrival::After(missing) => recorder.error("signal_lost", "signals", mark.at, missing),
        Arrival::InOrder => {}
    }
    recorder.count(Counter::Signals, now, 1);
    recorder.sample(Metric::SignalOneWay, mark.at, now.saturating_sub(mark.at));
    Ok(())
}

/// After the end: those on their way still count; those that do not come are lost.
async fn drain(
    shared: &Shared,
    pair: &mut Pair,
    script: &mut CallScript,
    directions: &mut [Direction; 2],
    call: u64,
    out: &mut Output,
) -> Result<(), Trouble> {
    let deadline = shared.clock.now() + shared.patience;
    while directions.iter().any(|direction| direction.outstanding() > 0) {
        match pair.next(shared.clock, deadline).await {
            Woken::Frame(side, text) => take_in(shared, script, directions, side, frame::parse(&text), call, out)?,
            Woken::Broken(broken) => return Err(broken.into()),
            Woken::Deadline => {
                let lost = directions.iter().map(Direction::outstanding).sum();
                // They were sent before the end; the last moment of the window stands for that.
                let at = shared.end.get().saturating_sub(1);
                shared.recorder.borrow_mut().error("signal_lost", "signals", at, lost);
                break;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_in_the_numbers_is_what_was_lost_and_frees_the_window() {
        let mut direction = Direction { sent: 10, expected: 1 };
        assert_eq!(direction.outstanding(), 9);
        assert_eq!(direction.on_arrival(1), Arrival::InOrder);
        assert_eq!(direction.on_arrival(5), Arrival::After(3));
        assert_eq!(direction.on_arrival(5), Arrival::Repeated);
        assert_eq!(direction.outstanding(), 4);
        direction.on_arrival(99);
        assert_eq!(direction.outstanding(), 0, "a number never sent must not underflow");
    }
}
