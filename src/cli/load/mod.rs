//! `carillon load`: drives a running cluster over its public protocol and measures it.
//!
//! It is one more client: it knows nothing about the inside of a node, except the process ids that it is told, whose CPU time and
//! memory it reads from /proc. It must never be the bottleneck: one thread, small buffers, no work per frame that can be spared; the
//! report says how much CPU it took itself. A node that goes away is counted, and the load goes on when it is back.

mod client;
mod connections;
mod frame;
mod hold;
mod pacing;
mod pair;
mod process;
mod report;
mod runner;
mod scenario;
mod script;
mod signals;
mod stats;
#[cfg(test)]
mod tests;

use std::{process::ExitCode, time::Duration};

use anyhow::{bail, ensure};
use client::Target;

use crate::secret::Secret;

/// What the load does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// Whole calls: start, accept, offer, answer, candidates, end.
    #[default]
    Calls,
    /// One call per pair, full of signals.
    Signals,
    /// New connections with a new token each: connect, hello, close.
    Connect,
    /// Only holds the connections of --idle.
    Idle,
    /// Holds one call per pair while nodes die, drain or roll, and measures what the people in them notice. SIGUSR1 begins a new phase
    /// of the report. Has no warm-up.
    Hold,
}

/// Drives a running cluster over its public protocol, and prints latencies, throughput, errors and what the servers used.
///
/// The nodes need CARILLON_RATE_LIMITS=off, or the load, which is one address, measures their limits.
///
/// Exit code 0: done; 1: more errors than --max-error-rate, or the run was not possible; in the mode `hold`: anything was lost.
#[derive(Clone, Debug, clap::Args)]
pub struct LoadArgs {
    /// Address of a node: ws://host:port or http://host:port (wss, https). Repeat it or separate with commas; the callee of a pair is
    /// on the target after the caller's, so two targets mean calls across nodes.
    #[arg(long = "target", value_name = "URL", value_delimiter = ',', required = true, value_parser = parse_target)]
    targets: Vec<Target>,

    /// What to do.
    #[arg(long, value_enum, default_value_t)]
    mode: Mode,

    /// Number of connected pairs of users. In the mode `connect`: how many connections are opened at the same time.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pairs: u32,

    /// Keep both users of a pair on one node.
    #[arg(long)]
    same_node: bool,

    /// Mode `calls`: calls per second of all pairs together, begun when they are due even if the server is slow (latency counts from
    /// when a call was due). 0: each pair begins its next call when the last one has ended.
    #[arg(long, value_name = "R", default_value_t = 0.0, value_parser = parse_rate)]
    calls_per_second: f64,

    /// Mode `calls`: signals of both sides together per call: an offer, an answer, then candidates in turn.
    #[arg(long, value_name = "N", default_value_t = 18, value_parser = clap::value_parser!(u64).range(0..=10_000))]
    signals_per_call: u64,

    /// Size of a signal's payload, in bytes (64 to 65536).
    #[arg(long, value_name = "BYTES", default_value_t = 300, value_parser = clap::value_parser!(u32).range(64..=65_536))]
    signal_bytes: u32,

    /// Mode `calls`: how long a call lasts after its last signal, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    hold_ms: u64,

    /// Mode `signals`: signals per second of all pairs together. 0: saturated, as fast as --window allows.
    #[arg(long, value_name = "R", default_value_t = 0.0, value_parser = parse_rate)]
    signals_per_second: f64,

    /// Mode `signals`, saturated: signals on their way at once, per pair and direction.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    window: u64,

    /// Mode `signals`: signals that may be sent together share a write. Cheaper for the load and for the servers than real clients
    /// are, whose signals come one by one.
    #[arg(long)]
    batch_writes: bool,

    /// Mode `connect`: new connections per second. 0: each of the --pairs opens the next one when the last one is closed.
    #[arg(long, value_name = "R", default_value_t = 0.0, value_parser = parse_rate)]
    connections_per_second: f64,

    /// Mode `hold`: one of the two sides of each call changes its media flags and sends a signal this often.
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = parse_duration)]
    every: Duration,

    /// Mode `hold`: what does not succeed within this time, tried again and again, is lost.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    patience: Duration,

    /// Additional connections that are only held.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    idle: u32,

    /// Time before the measurement, with the same load (5s, 500ms, 1m; a bare number is seconds).
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration)]
    warm_up: Duration,

    /// Time of the measurement (30s, 500ms, 1m; a bare number is seconds).
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    duration: Duration,

    /// Longest wait for any step of a call (incoming, accepted, a signal, ended); beyond it the call has failed with `timeout`.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    timeout: Duration,

    /// Beginning of the names of the load's users. Two loads at the same time need different ones.
    #[arg(long, value_name = "TEXT", default_value = "load", value_parser = parse_prefix)]
    user_prefix: String,

    /// Part of the names of the load's users: another number, other users; the same number, the same users again.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,

    /// The HS256 secret of the nodes, at least one byte: the load makes its users' tokens itself.
    #[arg(long, value_name = "SECRET", env = "CARILLON_JWT_SECRET", hide_env_values = true)]
    jwt_secret: Option<Secret>,

    /// The issuer in the tokens, if the nodes check it.
    #[arg(long, value_name = "TEXT", env = "CARILLON_JWT_ISSUER")]
    jwt_issuer: Option<String>,

    /// The audience in the tokens, if the nodes check it.
    #[arg(long, value_name = "TEXT", env = "CARILLON_JWT_AUDIENCE")]
    jwt_audience: Option<String>,

    /// Process id of a server on this machine, whose CPU time and memory (its children's included) is measured. Repeat it or separate
    /// with commas. Memory per connection is right only for servers started for this run. For a sum per group of processes write
    /// NAME=PID, for example carillon=12,carillon=13,postgres=14.
    #[arg(long = "pid", value_name = "[NAME=]PID", value_delimiter = ',', value_parser = parse_pid)]
    pids: Vec<Watched>,

    /// Errors per attempt above which the exit code is 1.
    #[arg(long, value_name = "SHARE", default_value_t = 0.01, value_parser = parse_share)]
    max_error_rate: f64,

    /// Print the report as one JSON object.
    #[arg(long)]
    json: bool,

    /// No progress bar; there is none either when standard error is not a terminal.
    #[arg(long)]
    no_progress: bool,
}

/// A process to be measured.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Watched {
    pid: u32,
    group: Option<String>,
}

impl LoadArgs {
    /// The number of connections held during the run.
    fn connections(&self) -> u64 {
        let pairs = match self.mode {
            Mode::Calls | Mode::Signals => 2 * u64::from(self.pairs),
            // A second device of some callees, while the calls are set up.
            Mode::Hold => 3 * u64::from(self.pairs),
            Mode::Connect => u64::from(self.pairs),
            Mode::Idle => 0,
        };
        pairs + u64::from(self.idle)
    }

    /// What single settings cannot tell.
    fn check(&self) -> anyhow::Result<()> {
        match &self.jwt_secret {
            None => bail!(
                "--jwt-secret or CARILLON_JWT_SECRET is missing: the HS256 secret of the nodes, to make tokens with"
            ),
            Some(secret) => ensure!(!secret.reveal().is_empty(), "--jwt-secret is empty"),
        }
        ensure!(!self.timeout.is_zero(), "--timeout is zero: every call would fail");
        ensure!(!self.duration.is_zero(), "--duration is zero: there would be nothing to measure");
        ensure!(
            self.mode != Mode::Idle || self.idle > 0,
            "--mode idle needs --idle N, the number of connections to hold"
        );
        ensure!(self.every >= Duration::from_millis(10), "--every is below 10ms: that measures this load");
        ensure!(!self.patience.is_zero(), "--patience is zero: everything would be lost");
        ensure!(
            self.mode != Mode::Hold || self.pids.is_empty(),
            "--pid does not go with --mode hold, where processes come and go"
        );
        let only = |given: bool, name: &str, mode: Mode, its: &str| {
            ensure!(!given || self.mode == mode, "{name} belongs to --mode {its}");
            Ok(())
        };
        only(self.calls_per_second > 0.0, "--calls-per-second", Mode::Calls, "calls")?;
        only(self.hold_ms > 0, "--hold-ms", Mode::Calls, "calls")?;
        only(self.signals_per_second > 0.0, "--signals-per-second", Mode::Signals, "signals")?;
        only(self.batch_writes, "--batch-writes", Mode::Signals, "signals")?;
        only(self.connections_per_second > 0.0, "--connections-per-second", Mode::Connect, "connect")
    }
}

/// Runs the load and prints its report on standard output. The exit code is 1 if there were too many errors.
///
/// # Errors
/// Settings that do not go together, and a cluster that cannot be reached or refuses the users at the beginning.
pub fn run(args: LoadArgs) -> anyhow::Result<ExitCode> {
    args.check()?;
    let json = args.json;
    if args.mode == Mode::Hold {
        let report = hold::run(args)?;
        print_report(&if json { report.to_json()? } else { report.to_string() });
        return Ok(if report.passed { ExitCode::SUCCESS } else { ExitCode::from(1) });
    }
    let report = runner::run(args)?;
    let text = if json { report.to_json()? } else { report.to_string() };
    print_report(&text);
    Ok(if report.passed { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

#[allow(clippy::print_stdout, reason = "the report is this command's output")]
fn print_report(text: &str) {
    println!("{}", text.trim_end());
}

fn parse_target(text: &str) -> Result<Target, String> {
    text.trim().parse().map_err(|error: anyhow::Error| format!("{error:#}"))
}

fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate == 0.0 || (0.001..=10_000_000.0).contains(&rate) => Ok(rate),
        _ => Err("a rate is 0, or a number per second from 0.001 to 10000000".to_owned()),
    }
}

fn parse_share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("a share is a number from 0 to 1".to_owned()),
    }
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let seconds_per_unit = match &text[digits.len()..] {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err("a time is a number with ms, s, m or h".to_owned()),
    };
    match digits.parse::<f64>() {
        // A day: beyond it the tokens made at the start would be too old in most places.
        Ok(number) if (0.0..=86_400.0).contains(&(number * seconds_per_unit)) => {
            Ok(Duration::from_secs_f64(number * seconds_per_unit))
        }
        _ => Err("a time is a number with ms, s, m or h, at most 24h".to_owned()),
    }
}

fn parse_prefix(text: &str) -> Result<String, String> {
    // User ids have at most 128 characters, and the numbers need some of them.
    if text.is_empty() || text.len() > 64 || text.chars().any(char::is_control) {
        return Err("a prefix has 1 to 64 bytes and no control characters".to_owned());
    }
    Ok(text.to_owned())
}

fn parse_pid(text: &str) -> Result<Watched, String> {
    let (group, pid) = match text.split_once('=') {
        Some((group, pid)) => (Some(group.trim().to_owned()), pid),
        None => (None, text),
    };
    match pid.trim().parse() {
        Ok(pid) if pid > 0 => Ok(Watched { pid, group }),
        _ => Err("a process is PID or NAME=PID".to_owned()),
    }
}
