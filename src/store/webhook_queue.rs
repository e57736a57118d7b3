//! Deliveries on their way: who takes which, and what becomes of them.
//!
//! Whoever takes one puts off when it is due, so for that long nobody else takes it, and if they die it comes back by
//! itself. What they write afterwards counts only while nobody has taken it since. Within a lane the next place is due
//! when the one before is settled: whoever settles the last of a place makes it so. Two that do not see each other (one
//! settles, one commits) may leave a row waiting behind nothing: [`Store::wake_waiting`] finds those.

use std::time::Duration;

use diesel::{
    prelude::*,
    sql_types::{Array, BigInt, Integer, Nullable, Text},
};
use uuid::Uuid;

use super::{
    Store,
    connection::{Conn, in_transaction, with_conn},
    error::{Fault, StoreError},
    schema::webhook_deliveries as d,
    types::{
        DbNow, StoredId, StoredTime,
        sql::{DbTime, DbUuid},
        unsigned,
    },
    webhook_deliveries::is_open,
};
use crate::domain::{NodeId, Timestamp, UserId};

/// Rows of one look for those that wait behind nothing. More hold up the connection when an endpoint has been away for
/// long; fewer make the round through them longer.
const WAITING_AT_ONCE: i64 = 500;

/// A delivery that is this node's to send, until the time it was taken for is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenDelivery {
    pub id: Uuid,
    pub webhook: Uuid,
    pub event: String,
    pub lane: String,
    pub call: Option<String>,
    /// Whom a ring is for.
    pub user: Option<UserId>,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    /// JSON.
    pub payload: String,
    /// Which attempt this is, from 1.
    pub attempt: u32,
}

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryOutcome {
    Delivered,
    /// To be tried again after so long.
    Retry(Duration),
    /// Too late: it is of no use any more.
    Expired,
    /// Given up.
    Dead,
}

/// What an endpoint said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AttemptReport {
    pub status: Option<u16>,
    /// A word or two.
    pub error: Option<String>,
    /// The beginning of the body.
    pub answer: Option<String>,
}

/// How much waits, in the whole cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    pub dead: u64,
    /// How long the oldest that is not settled has been waiting.
    pub oldest: Option<Duration>,
}

#[derive(QueryableByName)]
struct TakenRow {
    #[diesel(sql_type = DbUuid)]
    id: StoredId,
    #[diesel(sql_type = DbUuid)]
    webhook_id: StoredId,
    #[diesel(sql_type = Text)]
    event: String,
    #[diesel(sql_type = Text)]
    lane: String,
    #[diesel(sql_type = Nullable<Text>)]
    call_id: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    user_id: Option<String>,
    #[diesel(sql_type = DbTime)]
    created_at: StoredTime,
    #[diesel(sql_type = Nullable<DbTime>)]
    expires_at: Option<StoredTime>,
    #[diesel(sql_type = Text)]
    payload: String,
    #[diesel(sql_type = Integer)]
    attempts: i32,
}

impl From<TakenRow> for TakenDelivery {
    fn from(row: TakenRow) -> Self {
        Self {
            id: row.id.0,
            webhook: row.webhook_id.0,
            event: row.event,
            lane: row.lane,
            call: row.call_id,
            user: row.user_id.and_then(|user| UserId::new(user).ok()),
            created_at: row.created_at.0,
            expires_at: row.expires_at.map(|at| at.0),
            payload: row.payload,
            attempt: u32::try_from(row.attempts).unwrap_or(0),
        }
    }
}

/// `now()`, not the clock: an index is walked by it. Materialized: the limits are kept whatever the plan.
const TAKE: &str = "WITH picked AS MATERIALIZED (SELECT x.id FROM unnest($1, $2) AS q (webhook_id, room), \
    LATERAL (SELECT e.id FROM webhook_deliveries e WHERE e.webhook_id = q.webhook_id AND e.state = 'due' \
    AND e.next_at <= now() ORDER BY e.next_at LIMIT q.room FOR UPDATE SKIP LOCKED) x) \
    UPDATE webhook_deliveries t SET attempts = t.attempts + 1, attempt_at = clock_timestamp(), node = $3, \
    next_at = clock_timestamp() + $4 * interval '1 microsecond' \
    FROM picked WHERE t.id = picked.id RETURNING t.id, t.webhook_id, t.event, t.lane, t.call_id, t.user_id, \
    t.created_at, t.expires_at, t.payload, t.attempts";

const TAKE_ON_SQLITE: &str = "UPDATE webhook_deliveries SET attempts = attempts + 1, \
    attempt_at = CAST(unixepoch('subsec') * 1000 AS INTEGER) * 1000, node = $1, \
    next_at = CAST(unixepoch('subsec') * 1000 AS INTEGER) * 1000 + $2 \
    WHERE id IN (SELECT id FROM webhook_deliveries WHERE webhook_id = $3 AND state = 'due' \
    AND next_at <= CAST(unixepoch('subsec') * 1000 AS INTEGER) * 1000 ORDER BY next_at LIMIT $4) \
    RETURNING id, webhook_id, event, lane, call_id, user_id, created_at, expires_at, payload, attempts";

impl Store {
    /// Takes what is due for these webhooks, of each at most so many, for `hold`.
    pub async fn take_deliveries(
        &self,
        rooms: &[(Uuid, usize)],
        hold: Duration,
        node: &NodeId,
    ) -> Result<Vec<TakenDelivery>, StoreError> {
        let room = |room: usize| i64::try_from(room).unwrap_or(i64::MAX);
        let rooms: Vec<(StoredId, i64)> = rooms.iter().map(|(id, most)| (StoredId(*id), room(*most))).collect();
        let (node, hold) = (node.as_str().to_owned(), i64::try_from(hold.as_micros()).unwrap_or(i64::MAX));
        let take = move |conn: &mut Conn| {
            let rows: Vec<TakenRow> = match conn {
                Conn::Pg(c) => {
                    let (ids, most): (Vec<StoredId>, Vec<i64>) = rooms.iter().copied().unzip();
                    let taking = diesel::sql_query(TAKE).bind::<Array<DbUuid>, _>(ids);
                    let taking = taking.bind::<Array<BigInt>, _>(most).bind::<Text, _>(&node).bind::<BigInt, _>(hold);
                    taking.load(c)?
                }
                Conn::Sqlite(c) => {
                    let mut rows = Vec::new();
                    for (id, most) in &rooms {
                        let taking = diesel::sql_query(TAKE_ON_SQLITE).bind::<Text, _>(&node).bind::<BigInt, _>(hold);
                        rows.extend(taking.bind::<DbUuid, _>(*id).bind::<BigInt, _>(*most).load::<TakenRow>(c)?);
                    }
                    rows
                }
            };
            let mut taken: Vec<TakenDelivery> = rows.into_iter().map(TakenDelivery::from).collect();
            taken.sort_by_key(|delivery| delivery.created_at);
            Ok::<_, Fault>(taken)
        };
        self.read(take).await
    }

    /// Writes down what became of an attempt. `false`: somebody else has taken the delivery since.
    pub async fn settle_delivery(
        &self,
        taken: &TakenDelivery,
        outcome: DeliveryOutcome,
        report: AttemptReport,
    ) -> Result<bool, StoreError> {
        let (id, webhook, lane) = (StoredId(taken.id), StoredId(taken.webhook), taken.lane.clone());
        let attempt = i32::try_from(taken.attempt).unwrap_or(i32::MAX);
        let settle = move |conn: &mut Conn| {
            if let (Conn::Pg(c), false) = (&mut *conn, matches!(outcome, DeliveryOutcome::Retry(_))) {
                return c.transaction(|c| {
                    // Two that settle the last two of a place would each see the other's still open.
                    diesel::sql_query("SELECT pg_advisory_xact_lock(hashtextextended($1, 14))")
                        .bind::<Text, _>(format!("{}{lane}", webhook.0))
                        .execute(c)?;
                    Ok(settle!(c, id, webhook, &lane, attempt, outcome, &report))
                });
            }
            in_transaction!(conn, |c| Ok::<_, Fault>(settle!(c, id, webhook, &lane, attempt, outcome, &report)))
        };
        self.read(settle).await
    }

    /// Looks at some that wait, after this one: those behind nothing become due. Returns where to go on; `None`: that was
    /// the end.
    pub async fn wake_waiting(&self, after: Option<Uuid>) -> Result<Option<Uuid>, StoreError> {
        let after = StoredId(after.unwrap_or(Uuid::nil()));
        let wake = move |conn: &mut Conn| {
            with_conn!(conn, |c| {
                let waiting = diesel::dsl::sql::<diesel::sql_types::Bool>("webhook_deliveries.state = 'waiting'");
                let page: Vec<StoredId> = d::table
                    .filter(waiting)
                    .filter(d::id.gt(after))
                    .order(d::id)
                    .select(d::id)
                    .limit(WAITING_AT_ONCE)
                    .load(c)?;
                let Some(last) = page.last().copied() else { return Ok(None) };
                diesel::sql_query(
                    "UPDATE webhook_deliveries SET state = 'due' WHERE id > $1 AND id <= $2 AND state = 'waiting' \
                     AND NOT EXISTS (SELECT 1 FROM webhook_deliveries e WHERE e.webhook_id = webhook_deliveries.webhook_id \
                     AND e.lane = webhook_deliveries.lane AND e.state IN ('due', 'waiting') \
                     AND e.pos < webhook_deliveries.pos)",
                )
                .bind::<DbUuid, _>(after)
                .bind::<DbUuid, _>(last)
                .execute(c)?;
                let more = i64::try_from(page.len()).is_ok_and(|len| len == WAITING_AT_ONCE);
                Ok::<_, Fault>(more.then_some(last.0))
            })
        };
        self.read(wake).await
    }

    /// How much waits.
    pub async fn webhook_backlog(&self) -> Result<Backlog, StoreError> {
        let look = |conn: &mut Conn| {
            with_conn!(conn, |c| {
                let dead = diesel::dsl::sql::<diesel::sql_types::Bool>("state = 'dead'");
                let dead: i64 = d::table.filter(dead).count().get_result(c)?;
                let due = diesel::dsl::sql::<diesel::sql_types::Bool>("state = 'due'");
                let oldest: Option<StoredTime> =
                    d::table.filter(due).order(d::created_at).select(d::created_at).first(c).optional()?;
                let now: StoredTime = diesel::select(DbNow::now()).get_result(c)?;
                let oldest = oldest.map(|oldest| now.0.since(oldest.0));
                Ok::<_, Fault>(Backlog { dead: unsigned(dead), oldest })
            })
        };
        self.read(look).await
    }
}

/// Within a transaction: writes the outcome over the attempt, and makes the next place of the lane due.
macro_rules! settle {
    ($c:expr, $id:expr, $webhook:expr, $lane:expr, $attempt:expr, $outcome:expr, $report:expr) => {{
        let mine = d::table.filter(d::id.eq($id).and(d::attempts.eq($attempt)).and(d::state.eq("due")));
        let status = $report.status.map(i32::from);
        let said = (d::last_status.eq(status), d::last_error.eq(&$report.error), d::last_answer.eq(&$report.answer));
        let end = match $outcome {
            DeliveryOutcome::Retry(_) => None,
            DeliveryOutcome::Delivered => Some("delivered"),
            DeliveryOutcome::Expired => Some("expired"),
            DeliveryOutcome::Dead => Some("dead"),
        };
        let written = match ($outcome, end) {
            (DeliveryOutcome::Retry(after), _) => {
                diesel::update(mine).set((said, d::next_at.eq(DbNow::plus(after)))).execute($c)?
            }
            (_, end) => diesel::update(mine)
                .set((said, d::state.eq(end.unwrap_or("dead")), d::settled_at.eq(DbNow::now().nullable())))
                .execute($c)?,
        };
        if written == 1 && end.is_some() {
            let lane = || d::table.filter(d::webhook_id.eq($webhook).and(d::lane.eq($lane))).filter(is_open());
            let next: Option<i64> = lane().select(diesel::dsl::min(d::pos)).get_result($c)?;
            if let Some(next) = next {
                let next = d::table
                    .filter(d::webhook_id.eq($webhook).and(d::lane.eq($lane)))
                    .filter(d::pos.eq(next).and(d::state.eq("waiting")));
                diesel::update(next).set((d::state.eq("due"), d::next_at.eq(DbNow::now()))).execute($c)?;
            }
        }
        written == 1
    }};
}
use settle;
