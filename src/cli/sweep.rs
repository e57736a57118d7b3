//! `carillon sweep`: asks the cluster for one run of a sweeper, and shows what it found and did.
//!
//! Acts on nothing itself: a living node takes the request within about a second and runs the sweeper, as it would on
//! schedule. Prints the run's actions line by line as they are recorded, and at last its outcome. It survives a node that
//! dies in the middle by saying so.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use clap::Args;
use uuid::Uuid;

use crate::{
    actors::sweepers::{self, RunOutcome},
    app, clock,
    config::Settings,
    domain::{NodeId, Timestamp},
    store::{Store, StoreOptions, StoredRun, SweepRequest},
};

/// How long to wait for a node to take the request: several of their looks, and the run that may be under way.
const TAKEN_WITHIN: Duration = Duration::from_secs(15);
/// How often to look how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long a run may be silent before it is asked whether its node still lives, and before it is given up: longer than any
/// run pauses, or one that goes on is taken for lost.
const SILENCE: Duration = Duration::from_secs(10);
const GIVEN_UP_AFTER: Duration = Duration::from_secs(120);
/// Runs that `--list` shows of each sweeper.
const SHOWN_RUNS: u32 = 3;

/// What to sweep.
#[derive(Debug, Clone, Args)]
pub(super) struct SweepArgs {
    /// The sweeper to run; `--list` names them.
    #[arg(value_name = "NAME", required_unless_present = "list", value_parser = sweeper_named)]
    name: Option<String>,

    /// Look and report, but change nothing.
    #[arg(long)]
    dry_run: bool,

    /// Show every sweeper and its last runs instead.
    #[arg(long, conflicts_with_all = ["name", "dry_run"])]
    list: bool,
}

/// Also with hyphens, as flags have them.
fn sweeper_named(text: &str) -> Result<String, String> {
    let name = text.replace('-', "_");
    if sweepers::NAMES.contains(&name.as_str()) {
        return Ok(name);
    }
    Err(format!("there is no such sweeper; there are {}", sweepers::NAMES.join(", ")))
}

/// Runs to its end; 0: done, 1: failed, could not ask, or no node took it.
pub(super) fn run(args: &SweepArgs, settings: &Settings) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let url = app::database_url(&settings.database);
        let store =
            Store::open(&url, StoreOptions { connections: 1 }).await.context("the database cannot be opened")?;
        let done = match &args.name {
            Some(name) => sweep(&store, name, args.dry_run).await,
            None => list(&store).await.map(|()| true),
        };
        store.close().await;
        Ok(if done? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

async fn sweep(store: &Store, name: &str, dry_run: bool) -> anyhow::Result<bool> {
    let request = SweepRequest { id: Uuid::now_v7(), sweeper: name.to_owned(), dry_run };
    store.request_sweep(&request).await.context("the request cannot be made")?;
    let run = taken(store, &request).await?;
    let mut shown = 0;
    let mut heard_at = clock::monotonic();
    loop {
        // Asked for before the actions: what a finished run did is all there.
        let state = store.sweep_run(run).await?;
        for action in store.actions_of(run, shown).await? {
            shown = action.n;
            heard_at = clock::monotonic();
            print(&sweepers::action_line(&action));
        }
        if let Some(state) = &state
            && let Some(outcome) = &state.run.outcome
        {
            print(&sweepers::run_line(state));
            return Ok(*outcome == RunOutcome::Done.as_str());
        }
        let silent = silent_since(heard_at);
        match &state {
            None if silent > SILENCE => bail!("the node that took {name} has not begun it"),
            Some(state) if silent > SILENCE && !lives(store, &state.run.node).await? => {
                bail!("node {} died while it ran {name}", state.run.node)
            }
            _ if silent > GIVEN_UP_AFTER => bail!("{name} gives no sign any more; see the log of its node"),
            _ => {}
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn silent_since(heard_at: Instant) -> Duration {
    clock::monotonic().duration_since(heard_at)
}

async fn taken(store: &Store, request: &SweepRequest) -> anyhow::Result<Uuid> {
    let asked_at = clock::monotonic();
    loop {
        if let Some(run) = store.run_of_request(request.id).await? {
            return Ok(run);
        }
        // Taken back, so that nothing runs that nobody waits for; unless a node takes it at this very moment.
        if silent_since(asked_at) > TAKEN_WITHIN && store.withdraw_request(request.id).await? {
            bail!("no node took it within {} s: is one running on this database?", TAKEN_WITHIN.as_secs());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn lives(store: &Store, node: &str) -> anyhow::Result<bool> {
    let node = NodeId::new(node)?;
    Ok(store.live_nodes().await?.iter().any(|live| live.id == node))
}

async fn list(store: &Store) -> anyhow::Result<()> {
    let (states, _) = store.sweeps_wanted().await?;
    for name in sweepers::NAMES {
        let Some(state) = states.iter().find(|state| state.name == name) else {
            print(&format!("{name}: has never run"));
            print_what(name);
            continue;
        };
        let last = state.claimed_at.map_or_else(|| "never".to_owned(), |at| at.to_string());
        let holder = state.holder.as_deref().unwrap_or("nobody");
        let now = if state.held { "running".to_owned() } else { format!("due in {} s", state.due_in.as_secs()) };
        print(&format!("{name}: {now}, last run {last} by {holder}"));
        print_what(name);
        for run in store.last_runs(name, SHOWN_RUNS).await? {
            print(&format!("  {}", listed(&run)));
        }
    }
    Ok(())
}

fn print_what(name: &str) {
    if let Some(what) = sweepers::what_of(name) {
        print(&format!("  {what}"));
    }
}

/// One run, or several that found nothing.
fn listed(stored: &StoredRun) -> String {
    let until = stored.finished_at.map_or_else(|| "unfinished".to_owned(), |at: Timestamp| format!("to {at}"));
    let runs = if stored.run.runs == 1 { String::new() } else { format!(" ({} runs)", stored.run.runs) };
    format!("{} {until}{runs}: {}", stored.started_at, sweepers::run_line(stored))
}

#[expect(clippy::print_stdout, reason = "what the command is asked for")]
fn print(line: &str) {
    println!("{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweeper_may_be_named_with_hyphens_and_an_unknown_name_is_told_the_known_ones() {
        assert_eq!(sweeper_named("stale-ringing").as_deref(), Ok("stale_ringing"));
        assert_eq!(sweeper_named("takeover").as_deref(), Ok("takeover"));
        assert!(sweeper_named("takeovers").unwrap_err().contains("left_behind"));
    }
}
