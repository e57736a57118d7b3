//! Who runs which sweeper, and what was asked for by hand. What runs found and did is in [`super::sweep_runs`].
//!
//! All times are the database's. Whoever takes a sweeper takes it by a conditional update, so there is one runner in the
//! cluster; one that dies keeps it until its hold runs out, and no longer. Everything here may run twice.

use std::time::Duration;

use diesel::prelude::*;
use uuid::Uuid;

use super::{
    Store,
    connection::{Conn, with_conn},
    error::StoreError,
    schema::{sweep_requests, sweepers},
    types::{DbNow, StoredId, StoredTime},
};
use crate::domain::{NodeId, Timestamp};

/// How long a request waits for a node. The command that made it gives up long before.
pub(super) const REQUEST_LIFE: Duration = Duration::from_secs(60);

/// A sweeper as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweeperState {
    pub name: String,
    /// Who runs it, or did last.
    pub holder: Option<String>,
    /// Somebody runs it now.
    pub held: bool,
    /// Until the next scheduled run may begin; zero: it is due.
    pub due_in: Duration,
    /// When it was taken last.
    pub claimed_at: Option<Timestamp>,
}

/// A run that was asked for by hand and that no node has taken yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweepRequest {
    pub id: Uuid,
    pub sweeper: String,
    pub dry_run: bool,
}

impl Store {
    /// Enters a sweeper that is not known yet; its first run is due after `first`.
    pub async fn enter_sweeper(&self, name: &'static str, first: Duration) -> Result<(), StoreError> {
        let enter = move |conn: &mut Conn| {
            with_conn!(conn, |c| {
                diesel::insert_into(sweepers::table)
                    .values((
                        sweepers::name.eq(name),
                        sweepers::held_until.eq(DbNow::now()),
                        sweepers::due_at.eq(DbNow::plus(first)),
                    ))
                    .on_conflict_do_nothing()
                    .execute(c)?
            });
            Ok(())
        };
        self.read(enter).await
    }

    /// Every sweeper as it stands, and what was asked for by hand and nobody has taken, oldest first.
    pub async fn sweeps_wanted(&self) -> Result<(Vec<SweeperState>, Vec<SweepRequest>), StoreError> {
        type Row = (String, Option<String>, StoredTime, StoredTime, Option<StoredTime>, StoredTime);
        let load = move |conn: &mut Conn| {
            let (states, requests): (Vec<Row>, Vec<(StoredId, String, bool)>) = with_conn!(conn, |c| (
                sweepers::table
                    .order(sweepers::name)
                    .select((
                        sweepers::name,
                        sweepers::holder,
                        sweepers::held_until,
                        sweepers::due_at,
                        sweepers::claimed_at,
                        DbNow::now(),
                    ))
                    .load(c)?,
                sweep_requests::table
                    .filter(sweep_requests::run.is_null())
                    .filter(sweep_requests::requested_at.gt(DbNow::minus(REQUEST_LIFE)))
                    .order(sweep_requests::requested_at)
                    .select((sweep_requests::id, sweep_requests::sweeper, sweep_requests::dry_run))
                    .load(c)?,
            ));
            let states = states.into_iter().map(|(name, holder, held_until, due_at, claimed_at, now)| SweeperState {
                name,
                holder,
                held: held_until.0 > now.0,
                due_in: due_at.0.since(now.0),
                claimed_at: claimed_at.map(|at| at.0),
            });
            let requests =
                requests.into_iter().map(|(id, sweeper, dry_run)| SweepRequest { id: id.0, sweeper, dry_run });
            Ok((states.collect(), requests.collect()))
        };
        self.read(load).await
    }

    /// Takes a sweeper for a run, for `hold` from now. `next`: when it is due again; then it must be due now. `None`: out of
    /// turn, by hand. `false`: somebody has it, or it is not due.
    pub async fn claim_sweeper(
        &self,
        name: &'static str,
        me: &NodeId,
        hold: Duration,
        next: Option<Duration>,
    ) -> Result<bool, StoreError> {
        let me = me.clone();
        let claim = move |conn: &mut Conn| {
            let free = sweepers::name.eq(name).and(sweepers::held_until.le(DbNow::now()));
            let taken = (
                sweepers::holder.eq(Some(me.as_str())),
                sweepers::held_until.eq(DbNow::plus(hold)),
                sweepers::claimed_at.eq(DbNow::now().nullable()),
            );
            let claimed = with_conn!(conn, |c| match next {
                Some(next) => diesel::update(sweepers::table.filter(free.and(sweepers::due_at.le(DbNow::now()))))
                    .set((taken, sweepers::due_at.eq(DbNow::plus(next))))
                    .execute(c)?,
                None => diesel::update(sweepers::table.filter(free)).set(taken).execute(c)?,
            });
            Ok(claimed == 1)
        };
        self.read(claim).await
    }

    /// Goes on holding it. `false`: somebody else has it.
    pub async fn hold_sweeper(&self, name: &'static str, me: &NodeId, hold: Duration) -> Result<bool, StoreError> {
        let me = me.clone();
        let renew = move |conn: &mut Conn| {
            let mine = sweepers::table.filter(sweepers::name.eq(name).and(sweepers::holder.eq(me.as_str())));
            let held = with_conn!(conn, |c| {
                diesel::update(mine).set(sweepers::held_until.eq(DbNow::plus(hold))).execute(c)?
            });
            Ok(held == 1)
        };
        self.read(renew).await
    }

    /// Gives it back.
    pub async fn release_sweeper(&self, name: &'static str, me: &NodeId) -> Result<(), StoreError> {
        self.hold_sweeper(name, me, Duration::ZERO).await.map(drop)
    }

    /// Asks for a run by hand.
    pub async fn request_sweep(&self, request: &SweepRequest) -> Result<(), StoreError> {
        let request = request.clone();
        let ask = move |conn: &mut Conn| {
            with_conn!(conn, |c| {
                diesel::insert_into(sweep_requests::table)
                    .values((
                        sweep_requests::id.eq(StoredId(request.id)),
                        sweep_requests::sweeper.eq(&request.sweeper),
                        sweep_requests::dry_run.eq(request.dry_run),
                        sweep_requests::requested_at.eq(DbNow::now()),
                    ))
                    .on_conflict_do_nothing()
                    .execute(c)?
            });
            Ok(())
        };
        self.read(ask).await
    }

    /// Takes a request, for this run. `false`: it is taken or withdrawn.
    pub async fn take_request(&self, request: Uuid, run: Uuid) -> Result<bool, StoreError> {
        let take = move |conn: &mut Conn| {
            let free = sweep_requests::run.is_null().or(sweep_requests::run.assume_not_null().eq(StoredId(run)));
            let taken = with_conn!(conn, |c| {
                diesel::update(sweep_requests::table.filter(sweep_requests::id.eq(StoredId(request)).and(free)))
                    .set(sweep_requests::run.eq(Some(StoredId(run))))
                    .execute(c)?
            });
            Ok(taken == 1)
        };
        self.read(take).await
    }

    /// The run that a request became; `None`: no node has taken it.
    pub async fn run_of_request(&self, request: Uuid) -> Result<Option<Uuid>, StoreError> {
        let load = move |conn: &mut Conn| {
            let run: Option<Option<StoredId>> = with_conn!(conn, |c| {
                sweep_requests::table.find(StoredId(request)).select(sweep_requests::run).first(c).optional()?
            });
            Ok(run.flatten().map(|run| run.0))
        };
        self.read(load).await
    }

    /// Takes a request back. `false`: too late, a node has taken it.
    pub async fn withdraw_request(&self, request: Uuid) -> Result<bool, StoreError> {
        let withdraw = move |conn: &mut Conn| {
            let waiting = sweep_requests::id.eq(StoredId(request)).and(sweep_requests::run.is_null());
            let withdrawn = with_conn!(conn, |c| diesel::delete(sweep_requests::table.filter(waiting)).execute(c)?);
            Ok(withdrawn == 1)
        };
        self.read(withdraw).await
    }
}
