//! Decides when this node runs which sweeper, and keeps the books of its runs.
//!
//! A sweeper is run by whoever takes it when it is due, or when somebody asked for it by hand; while it runs it is held,
//! and the hold renewed. A node that is leaving, or that has lost its lease, takes none. What a run found and did is
//! recorded; runs that found nothing are folded into one row, which is written now and then.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    time::{Duration, Instant},
};

use uuid::Uuid;

use super::{Halt, RunOutcome, Sweeper, all, by, hindrance, jittered, run::Run};
use crate::{
    actors::NodeHandle,
    clock,
    store::{StoreError, SweepRequest, SweepRun},
};

/// The longest and shortest pause between two looks at what is due. Longer, and a request waits and a takeover is late;
/// shorter is work for nothing.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
/// A hold this short is let run out after a run that found nothing: to give it back would be a write each second.
const NOT_WORTH_RELEASING: Duration = Duration::from_secs(1);
/// How often the row of runs that found nothing is written. Less often, and the last run shown is older; more often costs
/// writes that say nothing.
const FOLD_EVERY: Duration = Duration::from_secs(15);
/// Consecutive scheduled runs of this node that found nothing.
struct Quiet {
    row: SweepRun,
    first: Instant,
    last: Instant,
    written: Option<Instant>,
}

/// One sweeper, on this node.
struct Seat {
    sweeper: &'static dyn Sweeper,
    interval: Duration,
    running: Cell<bool>,
    quiet: RefCell<Option<Quiet>>,
}

/// Why a sweeper runs.
enum Cause {
    Schedule,
    Hand(SweepRequest),
}

struct Busy(Rc<Seat>);

impl Busy {
    fn new(seat: &Rc<Seat>) -> Self {
        seat.running.set(true);
        Self(seat.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.running.set(false);
    }
}

pub(super) async fn run(node: NodeHandle, interval: Duration) {
    let seat = |sweeper: &'static dyn Sweeper| Seat {
        sweeper,
        interval: sweeper.interval(interval),
        running: Cell::new(false),
        quiet: RefCell::default(),
    };
    for sweeper in all() {
        node.metrics.sweeps.on_interval(sweeper.name(), sweeper.interval(interval));
    }
    let seats: HashMap<&str, Rc<Seat>> = all().map(|sweeper| (sweeper.name(), Rc::new(seat(sweeper)))).collect();
    let mut entered = false;
    loop {
        let pause = match look(&node, &seats, &mut entered).await {
            Ok(pause) => pause.clamp(SHORTEST_PAUSE, LONGEST_PAUSE),
            // The store has said that the database is away.
            Err(error) => {
                tracing::debug!(node.id = %node.id, %error, "could not ask which sweeps are due");
                LONGEST_PAUSE
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Begins what is due and may be begun here; says when to look again.
async fn look(node: &NodeHandle, seats: &HashMap<&str, Rc<Seat>>, entered: &mut bool) -> Result<Duration, StoreError> {
    if hindrance(node).is_some() {
        return Ok(LONGEST_PAUSE);
    }
    if !*entered {
        for seat in seats.values() {
            node.store.enter_sweeper(seat.sweeper.name(), jittered(seat.interval / 2)).await?;
        }
        *entered = true;
    }
    let (states, requests) = node.store.sweeps_wanted().await?;
    for request in requests {
        let seat = seats.get(request.sweeper.as_str()).filter(|seat| !seat.running.get());
        if let Some(seat) = seat
            && node.store.claim_sweeper(seat.sweeper.name(), &node.id, seat.sweeper.hold(), None).await?
        {
            tokio::task::spawn_local(perform(node.clone(), Busy::new(seat), Cause::Hand(request)));
        }
    }
    let mut pause = LONGEST_PAUSE;
    for state in states {
        let Some(seat) = seats.get(state.name.as_str()).filter(|seat| !seat.running.get()) else { continue };
        if !state.due_in.is_zero() {
            pause = pause.min(state.due_in);
            continue;
        }
        let next = jittered(seat.interval);
        if !state.held
            && node.store.claim_sweeper(seat.sweeper.name(), &node.id, seat.sweeper.hold(), Some(next)).await?
        {
            tokio::task::spawn_local(perform(node.clone(), Busy::new(seat), Cause::Schedule));
            pause = pause.min(next);
        }
    }
    Ok(pause)
}

async fn perform(node: NodeHandle, busy: Busy, cause: Cause) {
    let seat = &busy.0;
    let sweeper = seat.sweeper;
    let began = clock::monotonic();
    let dry_run = matches!(&cause, Cause::Hand(request) if request.dry_run);
    let mut run = Run::new(node.clone(), sweeper.name(), dry_run);
    if let Cause::Hand(request) = &cause {
        // Taken before it is begun: who asked may have given up.
        if !matches!(node.store.take_request(request.id, run.id).await, Ok(true)) {
            return release(&node, sweeper).await;
        }
        begin(&run, began).await;
    }
    let swept = tokio::select! {
        swept = sweeper.sweep(&mut run) => swept,
        lost = keep(&node, sweeper) => Err(Halt::Failed(lost.to_owned())),
    };
    let quiet = run.found == 0 && swept.is_ok() && matches!(cause, Cause::Schedule);
    if quiet {
        tracing::debug!(sweep = sweeper.name(), node.id = %node.id, "sweep found nothing");
        node.metrics.sweeps.on_run(sweeper.name(), RunOutcome::Done, 0, false, began.elapsed());
        fold(&node, seat, run, began).await;
    } else {
        finish(&node, seat, run, swept, &cause, began).await;
    }
    if !quiet || sweeper.hold() > NOT_WORTH_RELEASING {
        release(&node, sweeper).await;
    }
}

/// Renews the hold until it is lost.
async fn keep(node: &NodeHandle, sweeper: &dyn Sweeper) -> &'static str {
    let hold = sweeper.hold();
    let mut held_until = clock::monotonic() + hold;
    loop {
        tokio::time::sleep(hold / 3).await;
        let asked = clock::monotonic();
        match node.store.hold_sweeper(sweeper.name(), &node.id, hold).await {
            Ok(true) => held_until = asked + hold,
            Ok(false) => return "another node has taken the sweeper",
            Err(_) if clock::monotonic() < held_until => {}
            Err(_) => return "the hold on the sweeper could not be renewed",
        }
    }
}

async fn release(node: &NodeHandle, sweeper: &dyn Sweeper) {
    if let Err(error) = node.store.release_sweeper(sweeper.name(), &node.id).await {
        tracing::debug!(sweep = sweeper.name(), node.id = %node.id, %error, "sweeper not given back; its hold runs out");
    }
}

fn row_of(run: &Run, by_hand: bool) -> SweepRun {
    SweepRun {
        id: run.id,
        sweeper: run.sweeper.to_owned(),
        node: run.node.id.as_str().to_owned(),
        by_hand,
        dry_run: run.dry_run,
        runs: 1,
        found: run.found,
        acted: run.acted,
        failed: run.failed,
        outcome: None,
        note: None,
    }
}

async fn begin(run: &Run, began: Instant) {
    if let Err(error) = run.node.store.record_run(&row_of(run, true), began.elapsed(), Duration::ZERO).await {
        tracing::debug!(sweep = run.sweeper, %error, "the beginning of a sweep is not recorded");
    }
}

/// A run that found something, was stopped, or was asked for: one line, one row.
async fn finish(node: &NodeHandle, seat: &Seat, run: Run, swept: Result<(), Halt>, cause: &Cause, began: Instant) {
    let (outcome, note) = match swept {
        Err(Halt::CouldNotAsk(why)) => (RunOutcome::CouldNotAsk, Some(why)),
        Err(Halt::Failed(why)) => (RunOutcome::Failed, Some(why)),
        Ok(()) if run.failed == 0 => (RunOutcome::Done, None),
        Ok(()) if run.failed == run.unasked => {
            (RunOutcome::CouldNotAsk, Some("owners of calls could not be asked".into()))
        }
        Ok(()) => (RunOutcome::Failed, None),
    };
    node.metrics.sweeps.on_run(run.sweeper, outcome, run.found, run.dry_run, began.elapsed());
    let outcome = Some(outcome.as_str().to_owned());
    let row = SweepRun { outcome, note, ..row_of(&run, matches!(cause, Cause::Hand(_))) };
    tracing::info!(
        sweep = row.sweeper, node.id = row.node, run.id = %row.id, by = by(row.by_hand), dry_run = row.dry_run,
        outcome = row.outcome, found = row.found, acted = row.acted, failed = row.failed, note = row.note,
        took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX), "sweep finished"
    );
    // What was quiet until now is written before what broke the quiet.
    let quiet = seat.quiet.borrow_mut().take();
    if let Some(quiet) = quiet {
        write_quiet(node, &quiet).await;
    }
    if let Err(error) = node.store.record_run(&row, began.elapsed(), Duration::ZERO).await {
        tracing::warn!(sweep = run.sweeper, node.id = %node.id, run.id = %run.id, %error, "sweep not recorded");
    }
}

async fn fold(node: &NodeHandle, seat: &Seat, run: Run, began: Instant) {
    let now = clock::monotonic();
    let due = {
        let mut quiet = seat.quiet.borrow_mut();
        let quiet = quiet.get_or_insert_with(|| {
            let row = SweepRun {
                id: Uuid::now_v7(),
                runs: 0,
                outcome: Some(RunOutcome::Done.as_str().into()),
                ..row_of(&run, false)
            };
            Quiet { row, first: began, last: now, written: None }
        });
        quiet.row.runs += 1;
        quiet.last = now;
        let due = quiet.written.is_none_or(|written| now.duration_since(written) >= FOLD_EVERY);
        due.then(|| {
            quiet.written = Some(now);
            Quiet { row: quiet.row.clone(), ..*quiet }
        })
    };
    if let Some(quiet) = due {
        write_quiet(node, &quiet).await;
    }
}

async fn write_quiet(node: &NodeHandle, quiet: &Quiet) {
    if let Err(error) = node.store.record_run(&quiet.row, quiet.first.elapsed(), quiet.last.elapsed()).await {
        tracing::debug!(sweep = quiet.row.sweeper, node.id = %node.id, %error, "quiet sweeps not recorded");
    }
}
