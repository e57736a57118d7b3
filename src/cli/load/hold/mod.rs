//! The mode `hold`: calls that go on while nodes die, drain or roll, and what the people in them notice.
//!
//! Each call's two sides do something in turn, try again until it succeeds, and come back when their socket closes. At the end an
//! auditor compares what was acknowledged with what every client was told and with the call itself. It kills nothing itself: whoever
//! does so beside it marks the phases with SIGUSR1. It survives every loss that it is there to measure.

mod call;
mod connection;
mod findings;
mod frame;
mod leg;
mod pending;
mod phases;
mod report;
mod setup;
mod witness;

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use anyhow::anyhow;
use indicatif::ProgressBar;
use tokio::task::{JoinSet, LocalSet};

use self::{
    call::{Books, Call},
    connection::Hold,
    phases::Phases,
    report::HoldReport,
    setup::HeldCall,
};
use super::{
    LoadArgs, connections,
    pacing::{Nanos, nanos},
    process,
    report::Generator,
    runner,
};

/// Calls set up at the same time. More, and the set-up itself is what the nodes suffer from; fewer, and a thousand calls take long.
const SETTING_UP_AT_ONCE: usize = 32;

/// What all sides of a run do.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// One of the two sides does something this often.
    pub every: Nanos,
    /// What does not succeed within this time is lost.
    pub patience: Nanos,
    /// Bytes of a signal's payload.
    pub signal_bytes: usize,
}

/// The time and what the sides share.
pub struct Cx<'a> {
    /// Now.
    pub now: Nanos,
    /// A number from 0 to 1, for the jitter.
    pub random: f64,
    /// The call.
    pub call: &'a mut Call,
    /// What is measured and found.
    pub books: &'a mut Books,
}

/// Runs the mode on this thread.
pub fn run(args: LoadArgs) -> anyhow::Result<HoldReport> {
    let runtime = runner::runtime(&args)?;
    LocalSet::new().block_on(&runtime, drive(args))
}

fn wall_clock() -> String {
    crate::clock::now().to_string()
}

async fn drive(args: LoadArgs) -> anyhow::Result<HoldReport> {
    let (shared, interrupted) = runner::begin(&args).await?;
    let plan =
        Plan { every: nanos(args.every), patience: nanos(args.patience), signal_bytes: args.signal_bytes as usize };
    let books = Books::new(Phases::begin(0, wall_clock()));
    let hold = Rc::new(Hold::new(shared.clone(), plan, books));
    // From here on: the signal's default would end the process.
    tokio::task::spawn_local(watch_phases(hold.clone()));

    let bar = runner::progress_bar(&args);
    let (count, mut tasks, mut idlers) = set_up_all(&hold, &args, &bar).await?;

    let (from, own_before) = (hold.now(), process::own_cpu_seconds());
    let to = from + nanos(args.duration);
    if !interrupted.get() {
        shared.end.set(to);
    }
    hold.books.borrow_mut().phases = Phases::begin(from, wall_clock());
    hold.held_since.send_replace(Some(from));
    say(&format!("holding {count} calls since {}", wall_clock()));

    watch(&hold, &bar, from, to, 2 * count).await;
    let until = hold.now();
    let cpu_seconds = process::own_cpu_seconds() - own_before;
    bar.set_message("ending the calls");
    // Settling, hearing, asking, ending: each as long as the patience at most.
    let longest = 4 * args.patience + Duration::from_secs(5);
    let _ = tokio::time::timeout(longest, async { while tasks.join_next().await.is_some() {} }).await;
    shared.stop.send_replace(true);
    idlers.shutdown().await;
    bar.finish_and_clear();

    let books = hold.books.borrow();
    let seconds = until.saturating_sub(from) as f64 / 1e9;
    Ok(HoldReport {
        mode: "hold",
        targets: args.targets.iter().map(ToString::to_string).collect(),
        calls: args.pairs,
        idle: args.idle,
        same_node: args.same_node,
        every_ms: args.every.as_secs_f64() * 1e3,
        seconds,
        interrupted: interrupted.get(),
        phases: books.phases.report(until),
        findings: HoldReport::count(&books.findings),
        told: books.findings.told().to_vec(),
        calls_ended: books.ended,
        signals_lost_told: books.signals_lost_told,
        late_repeats: books.late,
        generator: Generator { cpu_seconds, core_share: cpu_seconds / seconds.max(0.001) },
        passed: books.findings.is_clean() && books.ended == u64::from(args.pairs),
    })
}

/// Both sides of a call that is set up, each with its turns, spread over the time between two turns.
fn start(hold: &Rc<Hold>, args: &LoadArgs, held: HeldCall, tasks: &mut JoinSet<()>) {
    let HeldCall { call, sides } = held;
    let index = call.borrow().index as u64;
    for (leg, client, node) in sides {
        // The caller first: its first signal is the offer.
        let turn = leg.side() as u64 * hold.plan.every;
        let offset = turn + 2 * hold.plan.every * index / u64::from(args.pairs.max(1));
        tasks.spawn_local(connection::hold_leg(hold.clone(), call.clone(), leg, client, node, offset));
    }
}

/// How many calls there are, and the tasks of their sides and of the idle connections.
type Started = (u64, JoinSet<()>, JoinSet<()>);

/// Who is set up answers pings from then on, however long the others take.
async fn set_up_all(hold: &Rc<Hold>, args: &LoadArgs, bar: &ProgressBar) -> anyhow::Result<Started> {
    let (calls, idle) = (args.pairs as usize, args.idle as usize);
    bar.set_length((calls + idle) as u64);
    bar.set_message("setting up calls");
    let next = Rc::new(Cell::new(0));
    let started: Rc<RefCell<Started>> = Rc::new(RefCell::new((0, JoinSet::new(), JoinSet::new())));
    let args = Rc::new(args.clone());
    let mut workers = JoinSet::new();
    for _ in 0..SETTING_UP_AT_ONCE.min(calls + idle) {
        let (hold, args, next, started, bar) = (hold.clone(), args.clone(), next.clone(), started.clone(), bar.clone());
        workers.spawn_local(async move {
            loop {
                let index = next.replace(next.get() + 1);
                if index >= calls + idle || *hold.shared.stop.borrow() {
                    return anyhow::Ok(());
                }
                if index < calls {
                    let call = runner::patiently(|| setup::set_up(&hold, index)).await?;
                    let (count, tasks, _) = &mut *started.borrow_mut();
                    *count += 1;
                    start(&hold, &args, call, tasks);
                } else {
                    let user = connections::idle_user(&hold.shared, index - calls);
                    let node = index % hold.shared.targets.len();
                    let client = runner::patiently(|| hold.connect(node, &user, "load", None)).await?;
                    let idlers = &mut started.borrow_mut().2;
                    idlers.spawn_local(connection::hold_idle(hold.clone(), user, client, node));
                }
                bar.inc(1);
            }
        });
    }
    while let Some(joined) = workers.join_next().await {
        joined??;
    }
    let started = Rc::try_unwrap(started).map_err(|_| anyhow!("a call is still being set up"))?;
    Ok(started.into_inner())
}

/// Until `to` or the end of the run, moving the bar.
async fn watch(hold: &Hold, bar: &ProgressBar, from: Nanos, to: Nanos, sides: u64) {
    bar.set_length((to - from) / 1_000_000);
    while !hold.shared.is_over() {
        hold.shared.sleep_until((hold.now() + 500_000_000).min(to)).await;
        bar.set_position(hold.now().saturating_sub(from) / 1_000_000);
        let interruptions = hold.books.borrow().phases.interruptions();
        bar.set_message(format!("{} of {sides} connected, {interruptions} interruptions", hold.online.get()));
    }
}

/// SIGUSR1 begins the next phase.
async fn watch_phases(hold: Rc<Hold>) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut signals) = signal(SignalKind::user_defined1()) else { return };
    while signals.recv().await.is_some() {
        let since = wall_clock();
        let number = hold.books.borrow_mut().phases.next(hold.now(), since.clone());
        say(&format!("phase {number} since {since}"));
    }
}

#[allow(clippy::print_stderr, reason = "who marks phases waits for these lines")]
fn say(text: &str) {
    eprintln!("{text}");
}
