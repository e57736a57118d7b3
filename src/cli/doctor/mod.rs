//! `carillon doctor`: checks a configuration against the real servers that it names, and says in plain words what is
//! wrong and how to mend it.
//!
//! Changes nothing that stays: what it makes to see whether it may, it takes away again. Must never wait without an end, print a
//! secret, or take "could not ask" for "well". Survives any server that is away, silent or speaks nonsense: the other
//! checks go on. docs/doctor.md lists the checks.
//!
//! Groups of checks run at once; within a group one follows from another. What a group has found when its time is up is
//! shown.

mod clock;
mod jwks;
mod limits;
mod livekit;
mod net;
mod otlp;
mod postgres;
mod recordings;
mod redis;
mod report;
mod schema;
mod settings;
mod sqlite;
mod stun;
mod turn;

use std::{
    io::{IsTerminal, Write},
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use tokio::sync::oneshot;

use self::{
    clock::Samples,
    report::{Finding, Findings, Report},
};
use super::WRONG_USAGE;
use crate::{
    build_info,
    clock::monotonic,
    config::{Database, RawSettings, Settings, SettingsError},
    media::FilesConfig,
    secret::Secret,
};

/// How long one group may take. With the few moments before and after, the whole stays below 20 s, which is what whoever waits
/// for a report on a broken system still waits. Shorter, and three silent servers of one group would not all be named.
const GROUP: Duration = Duration::from_secs(18);

/// How to check.
#[derive(Debug, Clone, Args)]
pub(super) struct DoctorArgs {
    /// Print one JSON object instead of lines for people.
    #[arg(long)]
    json: bool,

    /// Warnings count as wrong: exit code 1.
    #[arg(long)]
    strict: bool,
}

/// Settings that cannot be, in the words of `serve`; with `--json` as an object too.
pub(super) fn refuse(args: &DoctorArgs, error: &SettingsError) -> ExitCode {
    if args.json {
        print(
            &serde_json::json!({"version": build_info::VERSION, "verdict": "wrong", "settings": error.0}).to_string(),
        );
    }
    super::refuse(error);
    ExitCode::from(WRONG_USAGE)
}

/// The settings, judged as `serve` judges them; nothing is made.
pub(super) fn judged(settings: RawSettings) -> Result<Settings, SettingsError> {
    let settings = settings.validate()?;
    settings.judge_keys_for_serving(false)?;
    Ok(settings)
}

/// Runs all checks. Exit code 0: nothing is wrong; 1: something is. `unknown`: variables that look like settings.
pub(super) fn run(args: &DoctorArgs, settings: &Settings, unknown: &[String]) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let began = monotonic();
    let findings = runtime.block_on(all(settings, unknown));
    // Threads that still wait for somebody are not waited for.
    runtime.shutdown_background();
    let took = monotonic().saturating_duration_since(began);
    let report = Report::new(build_info::VERSION, findings, took, &secrets(settings));
    if args.json {
        print(&serde_json::to_string(&report)?);
    } else {
        let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
        print(report.lines(colours).trim_end());
    }
    Ok(if report.is_well(args.strict) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn all(settings: &Settings, unknown: &[String]) -> Vec<Finding> {
    let samples = Samples::default();
    let [own, listen, database, redis, livekit, recordings, turn, jwks, otlp, machine, clocks] =
        std::array::from_fn(|_| Findings::default());
    settings::check(&own, settings, unknown);
    limits::check(&machine, settings);
    let (tell_nodes, nodes) = oneshot::channel();
    tokio::join!(
        group(&listen, "listen.rest", settings::listening(&listen, settings)),
        group(&database, "database.rest", async {
            match &settings.database {
                Database::Postgres(url) => postgres::check(&database, settings, url, &samples, tell_nodes).await,
                Database::Sqlite(file) => sqlite::check(&database, settings, file).await,
            }
        }),
        group(&redis, "redis.rest", redis::check(&redis, settings, &samples, nodes)),
        group(&livekit, "livekit.rest", livekit::check(&livekit, settings, &samples)),
        group(&recordings, "recordings.rest", recordings::check(&recordings, settings)),
        group(&turn, "turn.rest", turn::check(&turn, settings)),
        group(&jwks, "jwks.rest", jwks::check(&jwks, settings)),
        group(&otlp, "otlp.rest", otlp::check(&otlp, settings.traces.as_ref())),
    );
    clock::check(&clocks, settings, &samples);
    let groups = [own, listen, database, redis, livekit, recordings, turn, jwks, otlp, clocks, machine];
    groups.iter().flat_map(Findings::take).collect()
}

/// Runs one group within its time.
async fn group(found: &Findings, rest: &'static str, work: impl Future<Output = ()>) {
    if tokio::time::timeout(GROUP, work).await.is_err() {
        found.not_checked(rest, format!("what else belongs here was not seen within {} s", GROUP.as_secs()));
    }
}

/// Every secret of the settings, to be cut out of whatever a server says. Passwords within addresses too, as they are
/// written there.
fn secrets(settings: &Settings) -> Vec<String> {
    let in_address = |url: &Secret| {
        let (_, rest) = url.reveal().split_once("://")?;
        let (account, _) = rest.split('/').next()?.rsplit_once('@')?;
        account.split_once(':').map(|(_, password)| password.to_owned())
    };
    let database = match &settings.database {
        Database::Postgres(url) => Some(url),
        Database::Sqlite(_) => None,
    };
    let addresses = [database, settings.migration_url.as_ref(), settings.redis_url.as_ref()];
    let bucket = match &settings.recordings.files {
        Some(FilesConfig::S3(s3)) => Some(&s3.secret_key),
        _ => None,
    };
    let plain = [
        settings.auth.secret.as_ref(),
        settings.auth.service_key.as_ref(),
        settings.turn.as_ref().map(|turn| &turn.secret),
        settings.livekit.as_ref().map(|livekit| &livekit.api_secret),
        settings.recordings.link_secret.as_ref(),
        bucket,
    ];
    let addresses = addresses.into_iter().flatten().filter_map(in_address);
    addresses.chain(plain.into_iter().flatten().map(|secret| secret.reveal().to_owned())).collect()
}

/// To standard output; one that is closed is nobody's loss.
fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
