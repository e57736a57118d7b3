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

use super::{Halt, Sweeper, all, hindrance, jittered, run::Run};
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
/// How long runs are kept, and nodes that died: since when an owner is gone is known only so long.
const RUNS_KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);
const NODES_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// For how long reports of quality are kept: long enough to ask why last week's calls were bad.
const QUALITY_KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Statements in a row that forget some of these, or of answers. Fewer than come in in an hour, and they pile up; what is left over is
/// for the next time, or for another node.
const FORGET_ROUNDS: usize = 200;
/// For how long the ids of webhooks are kept: well past the age at which one is refused as stale.
const WEBHOOKS_KEPT: Duration = Duration::from_secs(60 * 60);
/// For how long the first answers to commands with a key are kept, at least, as the protocol says; how many are forgotten
/// by one statement.
const KEYS_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
const KEYS_AT_ONCE: u32 = 1000;
/// How often older ones are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(60 * 60);

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
    let seats: HashMap<&str, Rc<Seat>> = all().map(|sweeper| (sweeper.name(), Rc::new(seat(sweeper)))).into();
    let (mut entered, mut forgotten_at) = (false, clock::monotonic());
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
        if forgotten_at.elapsed() > FORGET_EVERY {
            forgotten_at = clock::monotonic();
            forget(&node).await;
        }
    }
}

/// Old runs, old reports of quality, old answers, and nodes that are long dead: a row for each start of each process.
async fn forget(node: &NodeHandle) {
    let store = &node.store;
    forget_all(node, "old reports of quality not forgotten", || store.forget_quality(QUALITY_KEPT)).await;
    forget_all(node, "old answers not forgotten", || store.forget_keyed(KEYS_KEPT, KEYS_AT_ONCE)).await;
    if let Err(error) = store.trim_livekit_events(WEBHOOKS_KEPT).await {
        tracing::debug!(node.id = %node.id, %error, "old webhooks not forgotten");
    }
    let forgotten = match node.store.forget_sweeps(RUNS_KEPT).await {
        Ok(_) => node.store.forget_dead_nodes(NODES_KEPT).await.map(drop),
        Err(error) => Err(error),
    };
    if let Err(error) = forgotten {
        tracing::debug!(node.id = %node.id, %error, "old runs and nodes not forgotten");
    }
}

/// Statement after statement, until nothing is left that is old.
async fn forget_all<F>(node: &NodeHandle, failed: &str, forget: impl Fn() -> F)
where
    F: Future<Output = Result<usize, StoreError>>,
{
    for _ in 0..FORGET_ROUNDS {
        match forget().await {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(node.id = %node.id, %error, "{failed}");
                break;
            }
        }
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
        node.metrics.sweeps.on_run(sweeper.name(), "done", 0, false, began.elapsed());
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
        Err(Halt::CouldNotAsk(why)) => ("could_not_ask", Some(why)),
        Err(Halt::Failed(why)) => ("failed", Some(why)),
        Ok(()) if run.failed == 0 => ("done", None),
        Ok(()) if run.failed == run.unasked => ("could_not_ask", Some("owners of calls could not be asked".to_owned())),
        Ok(()) => ("failed", None),
    };
    node.metrics.sweeps.on_run(run.sweeper, outcome, run.found, run.dry_run, began.elapsed());
    let by = if matches!(cause, Cause::Hand(_)) { "hand" } else { "schedule" };
    tracing::info!(
        sweep = run.sweeper, node.id = %node.id, run.id = %run.id, by, dry_run = run.dry_run, found = run.found,
        acted = run.acted, failed = run.failed, outcome, note = note.as_deref().unwrap_or(""),
        took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX), "sweep finished"
    );
    // What was quiet until now is written before what broke the quiet.
    let quiet = seat.quiet.borrow_mut().take();
    if let Some(quiet) = quiet {
        write_quiet(node, &quiet).await;
    }
    let mut row = row_of(&run, by == "hand");
    row.outcome = Some(outcome.to_owned());
    row.note = note;
    if let Err(error) = node.store.record_run(&row, began.elapsed(), Duration::ZERO).await {
        tracing::warn!(sweep = run.sweeper, node.id = %node.id, run.id = %run.id, %error, "sweep not recorded");
    }
}

async fn fold(node: &NodeHandle, seat: &Seat, run: Run, began: Instant) {
    let now = clock::monotonic();
    let due = {
        let mut quiet = seat.quiet.borrow_mut();
        let quiet = quiet.get_or_insert_with(|| {
            let row = SweepRun { id: Uuid::now_v7(), runs: 0, outcome: Some("done".into()), ..row_of(&run, false) };
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
