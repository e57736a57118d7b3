//! The sweepers and their runs as an operator sees them, and the run that an operator asks for.
//!
//! All times are the database's.

use std::collections::HashMap;

use diesel::prelude::*;
use uuid::Uuid;

use super::{
    Act, Store, StoredRun, SweepRequest,
    audit::record_act,
    connection::{Conn, in_transaction, with_conn},
    error::{Fault, StoreError},
    schema::{nodes, sweep_requests, sweep_runs, sweepers},
    statement::Statement,
    sweep_runs::{RunColumns, run_columns, stored_run},
    sweeps::REQUEST_LIFE,
    types::{DbNow, StoredId, StoredTime, sql::DbUuid},
};
use crate::domain::Timestamp;

/// A sweeper as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweeperNow {
    pub name: String,
    /// Who runs it, and until when it is held unless they hold on; `None`: nobody.
    pub held: Option<(String, Timestamp)>,
    /// When the next scheduled run may begin.
    pub due_at: Timestamp,
    pub last_run: Option<StoredRun>,
}

/// Which runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunsQuery {
    pub sweeper: Option<String>,
    /// Those that came to something else than `done`, or those that did not.
    pub failed: Option<bool>,
    /// The run that the page before ended with.
    pub after: Option<Uuid>,
}

/// What became of a request for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestOutcome {
    Made,
    /// The same was asked for before under this id.
    Repeated,
    /// Something else was.
    IdTaken,
}

/// How far a run that was asked for has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestState {
    pub sweeper: String,
    pub dry_run: bool,
    /// No node has taken it, and none will any more.
    pub expired: bool,
    /// The run it became.
    pub run: Option<Uuid>,
    /// That run is over, or its node is.
    pub over: bool,
}

#[derive(QueryableByName)]
struct Named {
    #[diesel(sql_type = DbUuid)]
    id: StoredId,
}

impl RunsQuery {
    fn statement(&self, limit: i64) -> Statement {
        let mut sql = Statement::new("SELECT r.id FROM sweep_runs r WHERE 1 = 1");
        if let Some(sweeper) = &self.sweeper {
            sql = sql.sql(" AND r.sweeper = ").text(sweeper.as_str());
        }
        sql = match self.failed {
            Some(true) => sql.sql(" AND r.outcome <> 'done'"),
            Some(false) => sql.sql(" AND (r.outcome IS NULL OR r.outcome = 'done')"),
            None => sql,
        };
        if let Some(after) = self.after {
            // By the time as the database has it: a time that was read is cut to milliseconds.
            let place = " AND (r.started_at, r.id) < (SELECT l.started_at, l.id FROM sweep_runs l WHERE l.id = ";
            sql = sql.sql(place).id(after).sql(")");
        }
        sql.sql(" ORDER BY r.started_at DESC, r.id DESC LIMIT ").number(limit)
    }
}

impl Store {
    /// Every sweeper that a node has entered, in the order of their names.
    pub async fn sweepers_now(&self) -> Result<Vec<SweeperNow>, StoreError> {
        type Row = (String, Option<String>, StoredTime, StoredTime, StoredTime);
        let load = move |conn: &mut Conn| {
            // Each looked up from the end of the sweeper's part of the index.
            let last = Statement::new(
                "SELECT r.id FROM sweepers s JOIN sweep_runs r ON r.id = (SELECT l.id FROM sweep_runs l \
                 WHERE l.sweeper = s.name ORDER BY l.started_at DESC LIMIT 1)",
            );
            let (rows, runs): (Vec<Row>, Vec<RunColumns>) = with_conn!(conn, |c| {
                let rows = sweepers::table
                    .order(sweepers::name)
                    .select((sweepers::name, sweepers::holder, sweepers::held_until, sweepers::due_at, DbNow::now()))
                    .load(c)?;
                let last: Vec<Named> = last.load(c)?;
                let last: Vec<StoredId> = last.into_iter().map(|row| row.id).collect();
                (rows, sweep_runs::table.filter(sweep_runs::id.eq_any(last)).select(run_columns!()).load(c)?)
            });
            let runs = runs.into_iter().map(stored_run).map(|run| (run.run.sweeper.clone(), run));
            let mut runs: HashMap<String, StoredRun> = runs.collect();
            let now = rows.into_iter().map(|(name, holder, held_until, due_at, now)| SweeperNow {
                held: holder.filter(|_| held_until.0 > now.0).map(|holder| (holder, held_until.0)),
                due_at: due_at.0,
                last_run: runs.remove(&name),
                name,
            });
            Ok(now.collect())
        };
        self.read(load).await
    }

    /// Runs, the one that began last first, at most `limit`.
    pub async fn sweep_runs_now(&self, query: &RunsQuery, limit: usize) -> Result<Vec<StoredRun>, StoreError> {
        let (query, limit) = (query.clone(), i64::try_from(limit).unwrap_or(i64::MAX));
        let load = move |conn: &mut Conn| {
            let mut runs: Vec<RunColumns> = Vec::new();
            let page: Vec<Named> = with_conn!(conn, |c| {
                let page: Vec<Named> = query.statement(limit).load(c)?;
                let ids: Vec<StoredId> = page.iter().map(|row| row.id).collect();
                runs.extend(sweep_runs::table.filter(sweep_runs::id.eq_any(ids)).select(run_columns!()).load(c)?);
                page
            });
            let runs = runs.into_iter().map(stored_run).map(|run| (run.run.id, run));
            let mut runs: HashMap<Uuid, StoredRun> = runs.collect();
            Ok(page.into_iter().filter_map(|row| runs.remove(&row.id.0)).collect())
        };
        self.read(load).await
    }

    /// Asks for a run by hand, with the act on record in the same transaction.
    pub async fn request_sweep_by(&self, request: &SweepRequest, act: &Act) -> Result<RequestOutcome, StoreError> {
        let (request, act) = (request.clone(), act.clone());
        let ask = move |conn: &mut Conn| {
            in_transaction!(conn, |c| {
                let made = diesel::insert_into(sweep_requests::table)
                    .values((
                        sweep_requests::id.eq(StoredId(request.id)),
                        sweep_requests::sweeper.eq(&request.sweeper),
                        sweep_requests::dry_run.eq(request.dry_run),
                        sweep_requests::requested_at.eq(DbNow::now()),
                    ))
                    .on_conflict_do_nothing()
                    .execute(c)?;
                let outcome = if made == 1 {
                    RequestOutcome::Made
                } else {
                    let there: (String, bool) = sweep_requests::table
                        .find(StoredId(request.id))
                        .select((sweep_requests::sweeper, sweep_requests::dry_run))
                        .first(c)?;
                    let same = there == (request.sweeper.clone(), request.dry_run);
                    if same { RequestOutcome::Repeated } else { RequestOutcome::IdTaken }
                };
                match outcome {
                    RequestOutcome::Made => record_act!(c, act, "requested"),
                    RequestOutcome::Repeated => 0,
                    RequestOutcome::IdTaken => record_act!(c, act, "conflict"),
                };
                Ok::<_, Fault>(outcome)
            })
        };
        self.read(ask).await
    }

    /// How far a request has come. `None`: there is none, or it was taken back.
    pub async fn sweep_request(&self, id: Uuid) -> Result<Option<RequestState>, StoreError> {
        type Row = (String, bool, StoredTime, Option<StoredId>);
        let load = move |conn: &mut Conn| {
            with_conn!(conn, |c| {
                let row: Option<(Row, StoredTime)> = sweep_requests::table
                    .find(StoredId(id))
                    .select((
                        (
                            sweep_requests::sweeper,
                            sweep_requests::dry_run,
                            sweep_requests::requested_at,
                            sweep_requests::run,
                        ),
                        DbNow::now(),
                    ))
                    .first(c)
                    .optional()?;
                let Some(((sweeper, dry_run, requested_at, run), now)) = row else { return Ok(None) };
                let mut over = false;
                if let Some(run) = run {
                    let state: Option<(Option<String>, String)> = sweep_runs::table
                        .find(run)
                        .select((sweep_runs::outcome, sweep_runs::node))
                        .first(c)
                        .optional()?;
                    if let Some((outcome, node)) = state {
                        let living = nodes::table.filter(nodes::id.eq(&node).and(nodes::lease_until.gt(DbNow::now())));
                        over = outcome.is_some() || living.count().get_result::<i64>(c)? == 0;
                    }
                }
                let expired = run.is_none() && requested_at.0 + REQUEST_LIFE <= now.0;
                Ok::<_, Fault>(Some(RequestState { sweeper, dry_run, expired, run: run.map(|run| run.0), over }))
            })
        };
        self.read(load).await
    }
}
