//! The mode `calls`: whole calls, one after the other; and the parts of a call that the mode `signals` needs too.
//!
//! A failed call is counted, ended on the server as well as one can, and the next one begins; a broken connection is made anew.

use std::rc::Rc;

use uuid::Uuid;

use super::{
    client::Broken,
    frame,
    pacing::{Nanos, Pacer},
    pair::{Pair, Shared, Woken},
    script::{CallPlan, CallScript, Failure, Output, Side},
    stats::Counter,
};

/// After a failed call, before the pair's next one. Without it, a server that refuses everything would be asked in a tight loop.
const PAUSE_AFTER_FAILURE: Nanos = 100_000_000;

/// How a call or a stretch of signals ended early.
pub(super) enum Trouble {
    Failed(Failure),
    Broken(Broken),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Trouble::Failed(failure)
    }
}

impl From<Broken> for Trouble {
    fn from(broken: Broken) -> Self {
        Trouble::Broken(broken)
    }
}

/// Makes calls whenever the pacer says so, until the end of the run.
pub async fn make_calls(shared: Rc<Shared>, pacer: Rc<Pacer>, plan: CallPlan, hold: Nanos, mut pair: Pair) {
    let mut number = 0;
    while let Some(ticket) = pacer.take(shared.clock.now(), shared.end.get()) {
        number += 1;
        if !ticket.late && ticket.due > shared.clock.now() {
            match pair.rest_until(&shared, ticket.due).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(broken) => {
                    count_trouble(&shared, &Trouble::Broken(broken), "rest", ticket.due, true);
                    if !pair.reconnect(&shared).await {
                        return;
                    }
                    continue;
                }
            }
        }
        let due = ticket.counts_from(shared.clock.now());
        shared.recorder.borrow_mut().attempt(due, 1);
        let mut script = CallScript::new(plan, Uuid::now_v7().to_string(), number);
        let played = play(&shared, &mut pair, &mut script, due, hold).await;
        match played {
            Ok(()) => shared.recorder.borrow_mut().count(Counter::Calls, shared.clock.now(), 1),
            Err(trouble) => {
                count_trouble(&shared, &trouble, script.step(), due, false);
                if !recover(&shared, &mut pair, &script, trouble).await {
                    return;
                }
            }
        }
    }
    pair.close().await;
}

/// Gets a pair ready for its next call; false if the run is over and the connections are gone.
pub(super) async fn recover(shared: &Shared, pair: &mut Pair, script: &CallScript, trouble: Trouble) -> bool {
    let healthy = match trouble {
        Trouble::Failed(_) => {
            pair.send(Side::Caller, script.abandon()).await.is_ok()
                && pair.rest_until(shared, shared.clock.now() + PAUSE_AFTER_FAILURE).await.is_ok()
        }
        Trouble::Broken(_) => false,
    };
    healthy || pair.reconnect(shared).await
}

pub(super) fn count_trouble(shared: &Shared, trouble: &Trouble, step: &'static str, at: Nanos, attempt: bool) {
    let mut recorder = shared.recorder.borrow_mut();
    recorder.attempt(at, attempt.into());
    match trouble {
        Trouble::Failed(failure) => recorder.error(&failure.code, failure.step, at, 1),
        Trouble::Broken(broken) => recorder.error(&broken.code, step, at, 1),
    }
}

/// Sends what the script wants sent and notes what it measured.
async fn perform(shared: &Shared, pair: &mut Pair, out: &mut Output) -> Result<(), Broken> {
    if !out.samples.is_empty() || out.arrived > 0 {
        let mut recorder = shared.recorder.borrow_mut();
        for (metric, since, value) in out.samples.drain(..) {
            recorder.sample(metric, since, value);
        }
        recorder.count(Counter::Signals, shared.clock.now(), std::mem::take(&mut out.arrived));
    }
    // Each frame its own write, as real clients' candidates come.
    for (side, text) in out.frames.drain(..) {
        pair.send(side, text).await?;
    }
    Ok(())
}

/// Waits for one frame and plays it. Ok(false) if `wake` came first.
async fn step(
    shared: &Shared,
    pair: &mut Pair,
    script: &mut CallScript,
    out: &mut Output,
    wake: Nanos,
) -> Result<bool, Trouble> {
    match pair.next(shared.clock, wake.min(script.deadline())).await {
        Woken::Frame(side, text) => {
            script.on_frame(side, frame::parse(&text), shared.clock.now(), out)?;
            perform(shared, pair, out).await?;
            Ok(true)
        }
        Woken::Broken(broken) => Err(broken.into()),
        Woken::Deadline if shared.clock.now() < script.deadline() => Ok(false),
        Woken::Deadline => Err(Failure { code: "timeout".to_owned(), step: script.step() }.into()),
    }
}

/// From `call:start` until both sides are connected.
pub(super) async fn connect_call(
    shared: &Shared,
    pair: &mut Pair,
    script: &mut CallScript,
    out: &mut Output,
    due: Nanos,
) -> Result<(), Trouble> {
    script.start(pair.callee_name(), due, shared.clock.now(), out);
    perform(shared, pair, out).await?;
    while !script.is_connected() {
        step(shared, pair, script, out, Nanos::MAX).await?;
    }
    Ok(())
}

/// From `call:end` until both sides know.
pub(super) async fn end_call(
    shared: &Shared,
    pair: &mut Pair,
    script: &mut CallScript,
    out: &mut Output,
) -> Result<(), Trouble> {
    script.hang_up(shared.clock.now(), out);
    perform(shared, pair, out).await?;
    while !script.is_done() {
        step(shared, pair, script, out, Nanos::MAX).await?;
    }
    Ok(())
}

/// A whole call.
async fn play(
    shared: &Shared,
    pair: &mut Pair,
    script: &mut CallScript,
    due: Nanos,
    hold: Nanos,
) -> Result<(), Trouble> {
    let mut out = Output::default();
    connect_call(shared, pair, script, &mut out, due).await?;
    if hold > 0 {
        let until = shared.clock.now() + hold;
        script.hold_until(until);
        while step(shared, pair, script, &mut out, until).await? {}
    }
    end_call(shared, pair, script, &mut out).await
}
