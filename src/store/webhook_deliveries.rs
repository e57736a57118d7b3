//! Deliveries as they are looked at, sent again by somebody's wish, and forgotten. How they are sent is
//! [`super::webhook_queue`]'s.
//!
//! Deliveries of a webhook that is gone are seen by nobody.

use std::time::Duration;

use diesel::{dsl::sql, prelude::*, sql_types::Bool};
use uuid::Uuid;

use super::{
    Act, Store,
    audit::record_act,
    connection::{Conn, in_transaction, with_conn},
    error::{Fault, StoreError},
    schema::{webhook_deliveries as d, webhooks},
    types::{DbNow, StoredId, StoredTime, unsigned},
};
use crate::domain::Timestamp;

/// Rows forgotten by one statement. More would hold up the connection; fewer are more statements.
const FORGET_AT_ONCE: i64 = 5000;

/// Not settled, in the words of the index.
pub(super) fn is_open() -> diesel::expression::SqlLiteral<Bool> {
    sql("webhook_deliveries.state IN ('due', 'waiting')")
}

/// How a delivery stands, to who looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryState {
    /// To be sent, or sent again.
    Pending,
    Delivered,
    Expired,
    Dead,
}

impl DeliveryState {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Expired => "expired",
            Self::Dead => "dead",
        }
    }

    /// The state of that name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Pending, Self::Delivered, Self::Expired, Self::Dead].into_iter().find(|state| state.as_str() == text)
    }

    fn of(stored: &str) -> Self {
        Self::parse(stored).unwrap_or(Self::Pending)
    }
}

/// A delivery, without what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    pub id: Uuid,
    pub webhook: Uuid,
    /// Of the webhook, as it is now.
    pub url: String,
    pub event: String,
    pub call: Option<String>,
    pub state: DeliveryState,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub attempts: u32,
    pub attempt_at: Option<Timestamp>,
    /// When it is tried next, if it is.
    pub next_at: Option<Timestamp>,
    pub last_status: Option<u16>,
    pub last_error: Option<String>,
    pub last_answer: Option<String>,
    pub settled_at: Option<Timestamp>,
}

type Columns = (
    (StoredId, StoredId, String, String, Option<String>, String, StoredTime, Option<StoredTime>),
    (i32, Option<StoredTime>, StoredTime, Option<i32>, Option<String>, Option<String>, Option<StoredTime>),
);

fn delivery_of(((id, webhook, url, event, call, state, created_at, expires_at), rest): Columns) -> Delivery {
    let (attempts, attempt_at, next_at, last_status, last_error, last_answer, settled_at) = rest;
    Delivery {
        id: id.0,
        webhook: webhook.0,
        url,
        event,
        call,
        created_at: created_at.0,
        expires_at: expires_at.map(|at| at.0),
        attempts: u32::try_from(attempts).unwrap_or(0),
        attempt_at: attempt_at.map(|at| at.0),
        next_at: (state == "due").then_some(next_at.0),
        state: DeliveryState::of(&state),
        last_status: last_status.and_then(|status| u16::try_from(status).ok()),
        last_error,
        last_answer,
        settled_at: settled_at.map(|at| at.0),
    }
}

/// Which deliveries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeliveryQuery {
    pub webhook: Option<Uuid>,
    pub state: Option<DeliveryState>,
    /// Older than this one: where the page before ended.
    pub before: Option<Uuid>,
}

/// What became of the wish to send a delivery again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayOutcome {
    Replayed,
    /// It is on its way already.
    Pending,
    /// It is of no use any more.
    Expired,
    NotFound,
}

macro_rules! columns {
    () => {
        (
            (d::id, d::webhook_id, webhooks::url, d::event, d::call_id, d::state, d::created_at, d::expires_at),
            (d::attempts, d::attempt_at, d::next_at, d::last_status, d::last_error, d::last_answer, d::settled_at),
        )
    };
}

impl Store {
    /// The newest deliveries of a kind, newest first, at most `limit`.
    pub async fn deliveries(&self, query: DeliveryQuery, limit: usize) -> Result<Vec<Delivery>, StoreError> {
        let load = move |conn: &mut Conn| {
            let rows: Vec<Columns> = with_conn!(conn, |c| {
                let mut wanted = d::table
                    .inner_join(webhooks::table.on(webhooks::id.eq(d::webhook_id)))
                    .select(columns!())
                    .order(d::id.desc())
                    .limit(i64::try_from(limit).unwrap_or(i64::MAX))
                    .into_boxed();
                if let Some(webhook) = query.webhook {
                    wanted = wanted.filter(d::webhook_id.eq(StoredId(webhook)));
                }
                match query.state {
                    Some(DeliveryState::Pending) => wanted = wanted.filter(is_open()),
                    // In the words of its index.
                    Some(DeliveryState::Dead) => {
                        wanted = wanted.filter(sql::<Bool>("webhook_deliveries.state = 'dead'"))
                    }
                    Some(state) => wanted = wanted.filter(d::state.eq(state.as_str())),
                    None => {}
                }
                if let Some(before) = query.before {
                    wanted = wanted.filter(d::id.lt(StoredId(before)));
                }
                wanted.load(c)?
            });
            Ok::<_, Fault>(rows.into_iter().map(delivery_of).collect())
        };
        self.read(load).await
    }

    /// Writes a delivery that is no call's, to be sent at once.
    pub async fn add_delivery(
        &self,
        id: Uuid,
        webhook: Uuid,
        event: &'static str,
        payload: &str,
        act: &Act,
    ) -> Result<(), StoreError> {
        let (payload, act) = (payload.to_owned(), act.clone());
        let add = move |conn: &mut Conn| {
            in_transaction!(conn, |c| {
                diesel::insert_into(d::table)
                    .values((
                        d::id.eq(StoredId(id)),
                        d::webhook_id.eq(StoredId(webhook)),
                        d::event.eq(event),
                        d::lane.eq(id.to_string()),
                        d::pos.eq(0),
                        d::created_at.eq(DbNow::now()),
                        d::payload.eq(&payload),
                        d::state.eq("due"),
                        d::next_at.eq(DbNow::now()),
                        d::attempts.eq(0),
                    ))
                    .on_conflict_do_nothing()
                    .execute(c)?;
                record_act!(c, act, "queued");
                Ok::<_, Fault>(())
            })
        };
        self.read(add).await?;
        self.subscriptions().written.notify_one();
        Ok(())
    }

    /// Sends a settled delivery again, under its own id, as if it had never been tried; in no order with others.
    /// `webhook`: whose it must be.
    pub async fn replay_delivery(
        &self,
        id: Uuid,
        webhook: Option<Uuid>,
        act: &Act,
    ) -> Result<ReplayOutcome, StoreError> {
        let act = act.clone();
        let replay = move |conn: &mut Conn| {
            in_transaction!(conn, |c| {
                let known = d::table.inner_join(webhooks::table.on(webhooks::id.eq(d::webhook_id)));
                let row = known.filter(d::id.eq(StoredId(id))).select((d::webhook_id, d::state, d::expires_at));
                let found: Option<(StoredId, String, Option<StoredTime>)> = row.first(c).optional()?;
                let now: StoredTime = diesel::select(DbNow::now()).get_result(c)?;
                let outcome = match found.filter(|(of, _, _)| webhook.is_none_or(|webhook| webhook == of.0)) {
                    None => ReplayOutcome::NotFound,
                    Some((_, state, _)) if DeliveryState::of(&state) == DeliveryState::Pending => {
                        ReplayOutcome::Pending
                    }
                    Some((_, _, Some(expires_at))) if expires_at.0 <= now.0 => ReplayOutcome::Expired,
                    Some((_, state, _)) => {
                        diesel::update(d::table.find(StoredId(id)).filter(d::state.eq(state)))
                            .set((
                                d::state.eq("due"),
                                d::next_at.eq(DbNow::now()),
                                d::attempts.eq(0),
                                d::lane.eq(id.to_string()),
                                d::settled_at.eq(None::<StoredTime>),
                            ))
                            .execute(c)?;
                        ReplayOutcome::Replayed
                    }
                };
                let word = match outcome {
                    ReplayOutcome::Replayed => "queued",
                    ReplayOutcome::Pending | ReplayOutcome::Expired => "wrong_state",
                    ReplayOutcome::NotFound => "not_found",
                };
                record_act!(c, act, word);
                Ok::<_, Fault>(outcome)
            })
        };
        let outcome = self.read(replay).await?;
        if outcome == ReplayOutcome::Replayed {
            self.subscriptions().written.notify_one();
        }
        Ok(outcome)
    }

    /// Forgets a dead letter. `false`: there is none of this id.
    pub async fn delete_dead_letter(&self, id: Uuid, act: &Act) -> Result<bool, StoreError> {
        let act = act.clone();
        let delete = move |conn: &mut Conn| {
            in_transaction!(conn, |c| {
                let gone = diesel::delete(d::table.find(StoredId(id)).filter(d::state.eq("dead"))).execute(c)? == 1;
                record_act!(c, act, if gone { "removed" } else { "not_found" });
                Ok::<_, Fault>(gone)
            })
        };
        self.read(delete).await
    }
}

/// The old ones: settled well longer ago than `settled`; dead, or never sent because their webhook is off, longer ago
/// than `dead`; and those of webhooks that are gone.
macro_rules! old {
    ($settled:expr, $dead:expr) => {
        d::table
            .filter(
                (d::state.eq_any(["delivered", "expired"]).and(d::settled_at.lt(DbNow::minus($settled).nullable())))
                    .or(d::settled_at.lt(DbNow::minus($dead).nullable()))
                    .or(d::state.eq_any(["due", "waiting"]).and(d::created_at.lt(DbNow::minus($dead))).nullable())
                    .or(diesel::dsl::not(d::webhook_id.eq_any(webhooks::table.select(webhooks::id))).nullable()),
            )
            .select(d::id)
            .limit(FORGET_AT_ONCE)
    };
}

impl Store {
    /// How many deliveries are old: settled well longer ago than `settled`, or dead, or not sent, for longer than `dead`;
    /// or their webhook is gone.
    pub async fn count_old_deliveries(&self, settled: Duration, dead: Duration) -> Result<u64, StoreError> {
        let count = move |conn: &mut Conn| {
            let ids: Vec<StoredId> = with_conn!(conn, |c| old!(settled, dead).load(c)?);
            Ok::<_, Fault>(unsigned(i64::try_from(ids.len()).unwrap_or(i64::MAX)))
        };
        self.read(count).await
    }

    /// Forgets them, some thousand at once. Returns how many.
    pub async fn forget_deliveries(&self, settled: Duration, dead: Duration) -> Result<usize, StoreError> {
        let forget = move |conn: &mut Conn| {
            Ok::<_, Fault>(with_conn!(conn, |c| {
                let ids: Vec<StoredId> = old!(settled, dead).load(c)?;
                diesel::delete(d::table.filter(d::id.eq_any(&ids))).execute(c)?
            }))
        };
        self.read(forget).await
    }
}
