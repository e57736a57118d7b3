//! What each run of a sweeper found and did, on record.
//!
//! All times are the database's. Everything here may run twice: rows are named by whoever writes them.

use std::time::Duration;

use diesel::prelude::*;
use uuid::Uuid;

use super::{
    Store,
    connection::{Conn, with_conn},
    error::StoreError,
    schema::{sweep_actions, sweep_runs},
    types::{DbNow, StoredId, StoredTime, signed, unsigned},
};
use crate::domain::Timestamp;

/// A run, or several that found nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweepRun {
    pub id: Uuid,
    pub sweeper: String,
    pub node: String,
    pub by_hand: bool,
    pub dry_run: bool,
    /// How many this stands for.
    pub runs: u64,
    pub found: u64,
    pub acted: u64,
    pub failed: u64,
    /// `None`: under way, or its node died.
    pub outcome: Option<String>,
    pub note: Option<String>,
}

/// A run as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRun {
    pub run: SweepRun,
    pub started_at: Timestamp,
    pub finished_at: Option<Timestamp>,
}

/// What a run did, to one call or one participant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweepAction {
    /// Counts the run's actions from 1.
    pub n: u64,
    pub call: String,
    pub user: Option<String>,
    pub what: String,
    pub why: String,
    pub age: Option<Duration>,
    pub outcome: String,
    /// The recording it was about.
    pub recording: Option<String>,
}

#[derive(Insertable)]
#[diesel(table_name = sweep_actions, treat_none_as_default_value = false)]
struct ActionRow<'a> {
    run: StoredId,
    n: i64,
    call_id: &'a str,
    user_id: Option<&'a str>,
    what: &'a str,
    why: &'a str,
    age_ms: Option<i64>,
    outcome: &'a str,
    recording_id: Option<&'a str>,
}

type ActionColumns = (i64, String, Option<String>, String, String, Option<i64>, String, Option<String>);
pub(super) type RunColumns = (
    (StoredId, String, String, bool, bool, i64),
    (StoredTime, Option<StoredTime>),
    (i64, i64, i64, Option<String>, Option<String>),
);

macro_rules! run_columns {
    () => {
        (
            (
                sweep_runs::id,
                sweep_runs::sweeper,
                sweep_runs::node,
                sweep_runs::by_hand,
                sweep_runs::dry_run,
                sweep_runs::runs,
            ),
            (sweep_runs::started_at, sweep_runs::finished_at),
            (sweep_runs::found, sweep_runs::acted, sweep_runs::failed, sweep_runs::outcome, sweep_runs::note),
        )
    };
}
pub(super) use run_columns;

pub(super) fn stored_run(
    ((id, sweeper, node, by_hand, dry_run, runs), (started, finished), rest): RunColumns,
) -> StoredRun {
    let (found, acted, failed, outcome, note) = rest;
    let (found, acted, failed) = (unsigned(found), unsigned(acted), unsigned(failed));
    let runs = unsigned(runs);
    let run = SweepRun { id: id.0, sweeper, node, by_hand, dry_run, runs, found, acted, failed, outcome, note };
    StoredRun { run, started_at: started.0, finished_at: finished.map(|at| at.0) }
}

impl Store {
    /// Writes a run as it stands: begun `began` ago and, with an outcome, finished `ended` ago.
    pub async fn record_run(&self, run: &SweepRun, began: Duration, ended: Duration) -> Result<(), StoreError> {
        let run = run.clone();
        let record = move |conn: &mut Conn| {
            let news = (
                sweep_runs::runs.eq(signed(run.runs)),
                sweep_runs::found.eq(signed(run.found)),
                sweep_runs::acted.eq(signed(run.acted)),
                sweep_runs::failed.eq(signed(run.failed)),
                sweep_runs::outcome.eq(run.outcome.as_deref()),
                sweep_runs::note.eq(run.note.as_deref()),
            );
            let entry = (
                sweep_runs::id.eq(StoredId(run.id)),
                sweep_runs::sweeper.eq(&run.sweeper),
                sweep_runs::node.eq(&run.node),
                sweep_runs::by_hand.eq(run.by_hand),
                sweep_runs::dry_run.eq(run.dry_run),
                sweep_runs::started_at.eq(DbNow::minus(began)),
            );
            let finished = sweep_runs::finished_at.eq(DbNow::minus(ended).nullable());
            with_conn!(conn, |c| {
                diesel::insert_into(sweep_runs::table)
                    .values((entry, news))
                    .on_conflict(sweep_runs::id)
                    .do_update()
                    .set(news)
                    .execute(c)?;
                if run.outcome.is_some() {
                    diesel::update(sweep_runs::table.find(StoredId(run.id))).set(finished).execute(c)?;
                }
            });
            Ok(())
        };
        self.read(record).await
    }

    /// Writes what a run did.
    pub async fn record_actions(&self, run: Uuid, actions: &[SweepAction]) -> Result<(), StoreError> {
        let actions = actions.to_vec();
        let record = move |conn: &mut Conn| {
            let rows: Vec<ActionRow> = actions
                .iter()
                .map(|action| ActionRow {
                    run: StoredId(run),
                    n: signed(action.n),
                    call_id: &action.call,
                    user_id: action.user.as_deref(),
                    what: &action.what,
                    why: &action.why,
                    age_ms: action.age.map(|age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX)),
                    outcome: &action.outcome,
                    recording_id: action.recording.as_deref(),
                })
                .collect();
            with_conn!(conn, |c| {
                diesel::insert_into(sweep_actions::table).values(&rows).on_conflict_do_nothing().execute(c)?
            });
            Ok(())
        };
        self.read(record).await
    }

    /// A run. `None`: there is none, or not yet.
    pub async fn sweep_run(&self, id: Uuid) -> Result<Option<StoredRun>, StoreError> {
        let load = move |conn: &mut Conn| {
            let row: Option<RunColumns> = with_conn!(conn, |c| {
                sweep_runs::table.find(StoredId(id)).select(run_columns!()).first(c).optional()?
            });
            Ok(row.map(stored_run))
        };
        self.read(load).await
    }

    /// The last runs of a sweeper, newest first.
    pub async fn last_runs(&self, sweeper: &str, limit: u32) -> Result<Vec<StoredRun>, StoreError> {
        let sweeper = sweeper.to_owned();
        let load = move |conn: &mut Conn| {
            let rows: Vec<RunColumns> = with_conn!(conn, |c| {
                sweep_runs::table
                    .filter(sweep_runs::sweeper.eq(&sweeper))
                    .order(sweep_runs::started_at.desc())
                    .select(run_columns!())
                    .limit(i64::from(limit))
                    .load(c)?
            });
            Ok(rows.into_iter().map(stored_run).collect())
        };
        self.read(load).await
    }

    /// What a run did after its `n`th action, in order.
    pub async fn actions_of(&self, run: Uuid, after: u64) -> Result<Vec<SweepAction>, StoreError> {
        self.some_actions_of(run, after, usize::MAX).await
    }

    /// The same, at most `limit`.
    pub async fn some_actions_of(&self, run: Uuid, after: u64, limit: usize) -> Result<Vec<SweepAction>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let load = move |conn: &mut Conn| {
            let rows: Vec<ActionColumns> = with_conn!(conn, |c| {
                sweep_actions::table
                    .filter(sweep_actions::run.eq(StoredId(run)).and(sweep_actions::n.gt(signed(after))))
                    .order(sweep_actions::n)
                    .limit(limit)
                    .select((
                        sweep_actions::n,
                        sweep_actions::call_id,
                        sweep_actions::user_id,
                        sweep_actions::what,
                        sweep_actions::why,
                        sweep_actions::age_ms,
                        sweep_actions::outcome,
                        sweep_actions::recording_id,
                    ))
                    .load(c)?
            });
            let actions = rows.into_iter().map(|(n, call, user, what, why, age, outcome, recording)| SweepAction {
                n: unsigned(n),
                call,
                user,
                what,
                why,
                age: age.map(|millis| Duration::from_millis(unsigned(millis))),
                outcome,
                recording,
            });
            Ok(actions.collect())
        };
        self.read(load).await
    }
}
