//! The course of a run: look up, connect, warm up, measure, let the last calls end, report.
//!
//! Owns the order of things and the only places where processes are sampled. Ctrl-C at any moment leads to the report of what was
//! measured until then; a second one ends the process at once.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    time::Duration,
};

use anyhow::{Context, anyhow};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::{
    sync::watch,
    task::{JoinSet, LocalSet},
};

use super::{
    LoadArgs, Mode,
    client::{Client, Minter},
    connections,
    pacing::{Clock, Nanos, Pacer, Window, nanos},
    pair::{Pair, Shared},
    process::{self, Usage},
    report::{Costs, ProcessReport, Report},
    scenario,
    script::CallPlan,
    signals::{self, SignalPlan},
    stats::{Counter, Metric, Recorder},
};

/// Connections opened at the same time before the load begins. More, and the listen queue of a node overflows; fewer, and fifty
/// thousand take minutes.
const CONNECTING_AT_ONCE: usize = 64;

/// Attempts for each connection before the load begins, half a second apart. A node that just started may not answer the first.
const CONNECT_ATTEMPTS: u32 = 4;

/// Files of this process besides its connections.
const OTHER_FILES: u64 = 64;

/// Runs the whole load on this thread.
pub fn run(args: LoadArgs) -> anyhow::Result<Report> {
    let runtime = runtime(&args)?;
    LocalSet::new().block_on(&runtime, drive(args))
}

/// Readies this process for so many connections; what drives them runs on one thread.
pub(super) fn runtime(args: &LoadArgs) -> anyhow::Result<tokio::runtime::Runtime> {
    if let Some(warning) = process::raise_open_files(args.connections() + OTHER_FILES) {
        warn(&warning);
    }
    // For wss; who runs inside a node has one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

#[allow(clippy::print_stderr, reason = "a warning to the person who runs this command")]
fn warn(text: &str) {
    eprintln!("{text}");
}

/// The CPU time and memory of the processes at one moment.
struct Sample {
    processes: Vec<Option<Usage>>,
    own_cpu_seconds: f64,
}

impl Sample {
    fn take(args: &LoadArgs) -> Self {
        let pids: Vec<u32> = args.pids.iter().map(|watched| watched.pid).collect();
        Self { processes: process::usage(&pids), own_cpu_seconds: process::own_cpu_seconds() }
    }
}

/// What every mode begins with: the targets looked up and tried, tokens to be made, Ctrl-C watched (the flag turns true).
pub(super) async fn begin(args: &LoadArgs) -> anyhow::Result<(Rc<Shared>, Rc<Cell<bool>>)> {
    let mut targets = args.targets.clone();
    for target in &mut targets {
        target.resolve().await?;
    }
    // There are tokens of a day at most; an hour more than the run, for a slow beginning.
    let life = args.warm_up + args.duration + Duration::from_secs(3600);
    let expires = (crate::clock::now() + life).as_millis() / 1000;
    let secret = args.jwt_secret.as_ref().context("no --jwt-secret")?;
    let shared = Rc::new(Shared {
        clock: Clock::start(),
        recorder: RefCell::new(Recorder::default()),
        targets,
        minter: Minter::new(secret.reveal(), args.jwt_issuer.clone(), args.jwt_audience.clone(), expires),
        prefix: format!("{}-{}", args.user_prefix, args.seed),
        patience: nanos(args.timeout),
        same_node: args.same_node,
        end: Cell::new(Nanos::MAX),
        stop: watch::Sender::new(false),
        opened: Cell::new(0),
    });
    let interrupted = Rc::new(Cell::new(false));
    tokio::task::spawn_local(watch_interrupt(shared.clone(), interrupted.clone()));

    for (index, target) in shared.targets.iter().enumerate() {
        let user = format!("{}-probe-{index}", shared.prefix);
        let (client, _) = shared
            .connect(index, &user, None)
            .await
            .map_err(|broken| anyhow!("cannot connect to {target}: {} ({})", broken.detail, broken.code))?;
        client.close().await;
    }
    Ok((shared, interrupted))
}

async fn drive(args: LoadArgs) -> anyhow::Result<Report> {
    let (shared, interrupted) = begin(&args).await?;
    let before = Sample::take(&args);
    let bar = progress_bar(&args);
    let (pairs, idle) = connect_all(&shared, &args, &bar).await?;
    let connected = Sample::take(&args);

    let mut tasks = JoinSet::new();
    let from = shared.clock.now() + nanos(args.warm_up);
    let to = from + nanos(args.duration);
    if !interrupted.get() {
        shared.end.set(to);
        shared.recorder.borrow_mut().window = Window { from, to };
    }
    let pacer = start_load(&shared, &args, pairs, idle, &mut tasks);

    wait(&shared, &args, &bar, from).await;
    let begin = Sample::take(&args);
    wait(&shared, &args, &bar, to).await;
    let end = Sample::take(&args);
    let window = Window { from, to: shared.clock.now().min(to).max(from) };
    shared.end.set(window.to);
    shared.recorder.borrow_mut().window = window;
    note_work_not_begun(&shared, &args, window, pacer.left_before(window.to));
    shared.stop.send_replace(true);

    bar.set_message("waiting for the last calls");
    let patience = 2 * args.timeout + Duration::from_secs(1) + Duration::from_millis(args.hold_ms);
    let finished = tokio::time::timeout(patience, async {
        while let Some(joined) = tasks.join_next().await {
            joined.context("a task of the load failed")?;
        }
        anyhow::Ok(())
    });
    if let Ok(result) = finished.await {
        result?;
    }
    bar.finish_and_clear();

    let recorder = shared.recorder.borrow();
    let costs = costs(&args, &recorder, window, [&before, &connected, &begin, &end]);
    Ok(Report::new(&args, &recorder, window, interrupted.get(), costs))
}

/// Opens every pair and every idle connection.
async fn connect_all(
    shared: &Rc<Shared>,
    args: &LoadArgs,
    bar: &ProgressBar,
) -> anyhow::Result<(Vec<Pair>, Vec<Client>)> {
    let pair_count = if matches!(args.mode, Mode::Calls | Mode::Signals) { args.pairs as usize } else { 0 };
    let total = pair_count + args.idle as usize;
    bar.set_length(total as u64);
    bar.set_message("connecting");
    let next = Rc::new(Cell::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..CONNECTING_AT_ONCE.min(total) {
        let (shared, next, bar) = (shared.clone(), next.clone(), bar.clone());
        workers.spawn_local(async move {
            let mut pairs = Vec::new();
            let mut idle = Vec::new();
            loop {
                let index = next.replace(next.get() + 1);
                if index >= total || *shared.stop.borrow() {
                    return anyhow::Ok((pairs, idle));
                }
                if index < pair_count {
                    pairs.push((index, patiently(|| Pair::connect(&shared, index)).await?));
                } else {
                    idle.push(connect_idle(&shared, index - pair_count).await?);
                }
                bar.inc(1);
            }
        });
    }
    let mut pairs = Vec::with_capacity(pair_count);
    let mut idle = Vec::with_capacity(args.idle as usize);
    while let Some(joined) = workers.join_next().await {
        let (more_pairs, more_idle) = joined??;
        pairs.extend(more_pairs);
        idle.extend(more_idle);
    }
    pairs.sort_by_key(|(index, _)| *index);
    Ok((pairs.into_iter().map(|(_, pair)| pair).collect(), idle))
}

async fn connect_idle(shared: &Shared, index: usize) -> anyhow::Result<Client> {
    let user = connections::idle_user(shared, index);
    let (client, took) = patiently(|| shared.connect(index, &user, Some("load"))).await?;
    let mut recorder = shared.recorder.borrow_mut();
    recorder.count(Counter::Connections, shared.clock.now(), 1);
    recorder.sample_always(Metric::Connect, took);
    Ok(client)
}

/// A few attempts at something that needs a connection.
pub(super) async fn patiently<T, F>(mut connect: impl FnMut() -> F) -> anyhow::Result<T>
where
    F: Future<Output = Result<T, super::client::Broken>>,
{
    let mut attempt = 1;
    loop {
        match connect().await {
            Ok(connected) => return Ok(connected),
            Err(broken) if attempt >= CONNECT_ATTEMPTS => {
                return Err(anyhow!("cannot open all connections: {} ({})", broken.detail, broken.code));
            }
            Err(_) => attempt += 1,
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Begins the work; returns the pacer of the work that must not be left undone.
fn start_load(
    shared: &Rc<Shared>,
    args: &LoadArgs,
    pairs: Vec<Pair>,
    idle: Vec<Client>,
    tasks: &mut JoinSet<()>,
) -> Rc<Pacer> {
    let start = shared.clock.now();
    for client in idle {
        tasks.spawn_local(connections::hold_idle(shared.clone(), client));
    }
    let bytes = args.signal_bytes as usize;
    let pacer = Rc::new(Pacer::new(
        start,
        match args.mode {
            Mode::Calls => args.calls_per_second,
            Mode::Connect => args.connections_per_second,
            Mode::Signals | Mode::Idle | Mode::Hold => 0.0,
        },
    ));
    match args.mode {
        Mode::Calls => {
            let plan = CallPlan { signals: args.signals_per_call, signal_bytes: bytes, patience: shared.patience };
            let hold = args.hold_ms.saturating_mul(1_000_000);
            for pair in pairs {
                tasks.spawn_local(scenario::make_calls(shared.clone(), pacer.clone(), plan, hold, pair));
            }
        }
        Mode::Signals => {
            let count = pairs.len();
            let (window, per_second) = (args.window, args.signals_per_second);
            let plan = SignalPlan { bytes, window, per_second, pairs: count, batch: args.batch_writes, start };
            for (index, pair) in pairs.into_iter().enumerate() {
                tasks.spawn_local(signals::stream_signals(shared.clone(), plan, index, pair));
            }
        }
        Mode::Connect => {
            for worker in 0..args.pairs as usize {
                tasks.spawn_local(connections::storm(shared.clone(), pacer.clone(), worker));
            }
        }
        Mode::Idle | Mode::Hold => {}
    }
    pacer
}

/// What was due and for which no pair was free; and that a held connection is an attempt, too.
fn note_work_not_begun(shared: &Shared, args: &LoadArgs, window: Window, left: u64) {
    let mut recorder = shared.recorder.borrow_mut();
    recorder.attempt(window.from, left);
    recorder.error("not_begun", "pacing", window.from, left);
    if args.mode == Mode::Idle {
        recorder.attempt(window.from, u64::from(args.idle));
    }
}

/// Until `until` or the end of the run, moving the bar.
async fn wait(shared: &Shared, args: &LoadArgs, bar: &ProgressBar, until: Nanos) {
    let window = shared.recorder.borrow().window;
    let begun = window.from.saturating_sub(nanos(args.warm_up));
    bar.set_length(nanos(args.warm_up + args.duration) / 1_000_000);
    let (counter, unit) = match args.mode {
        Mode::Calls => (Counter::Calls, "calls/s"),
        Mode::Signals => (Counter::Signals, "signals/s"),
        Mode::Connect | Mode::Idle | Mode::Hold => (Counter::Connections, "connections/s"),
    };
    let mut last = (shared.clock.now(), shared.recorder.borrow().counted_always(counter));
    loop {
        let now = shared.clock.now();
        if now >= until || shared.is_over() {
            return;
        }
        let step = (now + 500_000_000).min(until);
        shared.sleep_until(step).await;
        let now = shared.clock.now();
        let recorder = shared.recorder.borrow();
        let done = recorder.counted_always(counter);
        let per_second = (done - last.1) as f64 * 1e9 / (now - last.0).max(1) as f64;
        last = (now, done);
        let phase = if now < window.from { "warming up" } else { "measuring" };
        bar.set_position(now.saturating_sub(begun) / 1_000_000);
        bar.set_message(format!("{phase}: {per_second:.0} {unit}, {} errors", recorder.errors()));
    }
}

async fn watch_interrupt(shared: Rc<Shared>, interrupted: Rc<Cell<bool>>) {
    while tokio::signal::ctrl_c().await.is_ok() {
        if interrupted.replace(true) {
            std::process::exit(130);
        }
        shared.end.set(shared.clock.now());
        shared.stop.send_replace(true);
    }
}

/// On standard error, if that is a terminal.
pub(super) fn progress_bar(args: &LoadArgs) -> ProgressBar {
    if args.no_progress {
        return ProgressBar::hidden();
    }
    // Drawn on standard error, and only if that is a terminal.
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{elapsed_precise} {wide_bar} {percent:>3}% {msg}") {
        bar.set_style(style);
    }
    bar
}

/// What the processes used in the window, by group.
fn costs(args: &LoadArgs, recorder: &Recorder, window: Window, samples: [&Sample; 4]) -> Costs {
    let [before, connected, begin, end] = samples;
    let mut groups: BTreeMap<String, ProcessReport> = BTreeMap::new();
    for (index, watched) in args.pids.iter().enumerate() {
        let at = |sample: &Sample| sample.processes.get(index).copied().flatten();
        let name = watched.group.clone().or_else(|| process::name(watched.pid));
        let name = name.unwrap_or_else(|| "gone".to_owned());
        let report = groups.entry(name.clone()).or_insert_with(|| ProcessReport { name, ..Default::default() });
        report.pids.push(watched.pid);
        match (at(before), at(connected), at(begin), at(end)) {
            (Some(before), Some(connected), Some(begin), Some(end)) => {
                report.cpu_seconds += end.cpu_seconds - begin.cpu_seconds;
                report.rss_before_kib += before.rss_kib;
                report.rss_connected_kib += connected.rss_kib;
                report.rss_begin_kib += begin.rss_kib;
                report.rss_end_kib += end.rss_kib;
            }
            _ => report.gone = true,
        }
    }
    let connections = args.connections();
    let per = |seconds: f64, units: u64| (units > 0).then(|| seconds * 1e6 / units as f64);
    for group in groups.values_mut().filter(|group| !group.gone) {
        match args.mode {
            Mode::Calls => group.cpu_micros_per_call = per(group.cpu_seconds, recorder.counted(Counter::Calls)),
            Mode::Signals => group.cpu_micros_per_signal = per(group.cpu_seconds, recorder.counted(Counter::Signals)),
            Mode::Connect => {
                group.cpu_micros_per_connect = per(group.cpu_seconds, recorder.counted(Counter::Connections));
            }
            Mode::Hold => {}
            Mode::Idle => {
                let connection_seconds = connections as f64 * window.seconds();
                group.cpu_micros_per_connection_second =
                    (connection_seconds > 0.0).then(|| group.cpu_seconds * 1e6 / connection_seconds);
            }
        }
        // A storm's connections come and go; all others are held from the beginning.
        if connections > 0 && args.mode != Mode::Connect {
            let held = if args.mode == Mode::Idle { group.rss_end_kib } else { group.rss_connected_kib };
            group.kib_per_connection = Some((held as f64 - group.rss_before_kib as f64) / connections as f64);
        }
    }
    Costs {
        processes: groups.into_values().collect(),
        generator_cpu_seconds: end.own_cpu_seconds - begin.own_cpu_seconds,
    }
}
