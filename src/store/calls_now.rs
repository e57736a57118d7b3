//! Calls as an operator sees them: those that are open now, whoever is in them, and the last ones of a user.
//!
//! Read as an administrator, from rows alone: no owner is asked. What is under way in a call may be a moment ahead.

use diesel::{
    prelude::*,
    sql_types::{BigInt, Bool, Nullable, Text},
};

use super::{
    Place, Store, Viewer,
    connection::{Conn, with_conn},
    error::{Fault, StoreError},
    statement::Statement,
    types::{StoredTime, sql::DbTime, unsigned},
};
use crate::domain::{CallId, CallStatus, GroupId, NodeId, Timestamp, UserId};

/// People that are told of one call. More make a page of large calls megabytes; how many there are is told too.
const PEOPLE_SHOWN: i64 = 20;
/// Calls that are over, of one user.
const RECENT_CALLS: i64 = 20;
/// The user's last calls among which they are looked for. Fewer than they are in at once and these, and some are missing.
const LOOKED_AT: i64 = 100;

/// Which open calls.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenCallsQuery {
    pub status: Option<CallStatus>,
    /// Whose they are.
    pub owner: Option<NodeId>,
    /// Somebody who is in it, rung, or waits to be let in.
    pub user: Option<UserId>,
    pub group: Option<GroupId>,
    /// Where the page before ended.
    pub after: Option<Place>,
}

/// A call that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallNow {
    pub place: Place,
    pub status: String,
    pub call_type: String,
    pub mode: String,
    pub group: Option<String>,
    pub initiator: String,
    /// When the second person came in.
    pub started_at: Option<Timestamp>,
    pub owner: String,
    /// The owner has no good lease.
    pub owner_gone: bool,
    pub epoch: u64,
    pub seq: u64,
    /// The first of them, in the order they came, with their statuses.
    pub people: Vec<(String, String)>,
    pub people_count: u64,
}

/// A call that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallThen {
    pub call: String,
    pub status: String,
    pub created_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub end_reason: Option<String>,
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = Text)]
    call_status: String,
    #[diesel(sql_type = Text)]
    call_type: String,
    #[diesel(sql_type = Text)]
    mode: String,
    #[diesel(sql_type = Nullable<Text>)]
    group_id: Option<String>,
    #[diesel(sql_type = Text)]
    initiator: String,
    #[diesel(sql_type = DbTime)]
    created_at: StoredTime,
    #[diesel(sql_type = Nullable<DbTime>)]
    started_at: Option<StoredTime>,
    #[diesel(sql_type = Text)]
    owner_node: String,
    #[diesel(sql_type = Bool)]
    owner_gone: bool,
    #[diesel(sql_type = BigInt)]
    epoch: i64,
    #[diesel(sql_type = BigInt)]
    seq: i64,
    #[diesel(sql_type = Text)]
    user_id: String,
    #[diesel(sql_type = Text)]
    status: String,
    #[diesel(sql_type = BigInt)]
    people: i64,
}

#[derive(QueryableByName)]
struct OldRow {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = Text)]
    status: String,
    #[diesel(sql_type = DbTime)]
    created_at: StoredTime,
    #[diesel(sql_type = Nullable<DbTime>)]
    ended_at: Option<StoredTime>,
    #[diesel(sql_type = Nullable<Text>)]
    end_reason: Option<String>,
}

impl OpenCallsQuery {
    fn statement(&self, limit: i64) -> Statement {
        let mut sql = Statement::new("WITH page AS (SELECT c.* FROM calls c WHERE c.open");
        if let Some(status) = self.status {
            sql = sql.sql(" AND c.status = ").text(status.as_str());
        }
        if let Some(owner) = &self.owner {
            sql = sql.sql(" AND c.owner_node = ").text(owner.as_str());
        }
        if let Some(user) = &self.user {
            let theirs = " AND c.id IN (SELECT p.call_id FROM participants p WHERE p.open AND p.user_id = ";
            sql = sql.sql(theirs).text(user.as_str()).sql(")");
        }
        if let Some(group) = &self.group {
            sql = sql.sql(" AND c.group_id = ").text(group.as_str());
        }
        if let Some(Place { at, call }) = &self.after {
            sql = sql.sql(" AND (c.created_at, c.id) < (").time(*at).sql(", ").text(call.as_str()).sql(")");
        }
        sql.sql(" ORDER BY c.created_at DESC, c.id DESC LIMIT ")
            .number(limit)
            .sql(
                "), people AS (SELECT q.call_id, q.user_id, q.status, \
                 row_number() OVER (PARTITION BY q.call_id ORDER BY q.invited_at, q.user_id) AS place, \
                 count(*) OVER (PARTITION BY q.call_id) AS people \
                 FROM page g JOIN participants q ON q.call_id = g.id) \
                 SELECT g.id, g.status AS call_status, g.call_type, g.mode, g.group_id, g.initiator, g.created_at, \
                 g.started_at, g.owner_node, g.epoch, g.seq, q.user_id, q.status, q.people, \
                 (SELECT n.id FROM nodes n WHERE n.id = g.owner_node AND n.lease_until > ",
            )
            .either("clock_timestamp()", "CAST(unixepoch('subsec') * 1000 AS INTEGER) * 1000")
            .sql(") IS NULL AS owner_gone FROM page g JOIN people q ON q.call_id = g.id WHERE q.place <= ")
            .number(PEOPLE_SHOWN)
            .sql(" ORDER BY g.created_at DESC, g.id DESC, q.place")
    }
}

impl Store {
    /// Open calls, newest first, at most `limit`. In the order of the database, whatever else is asked for.
    pub async fn open_calls_now(&self, query: &OpenCallsQuery, limit: usize) -> Result<Vec<CallNow>, StoreError> {
        let (query, limit) = (query.clone(), i64::try_from(limit).unwrap_or(i64::MAX));
        let load = move |conn: &mut Conn| {
            let rows: Vec<Row> = with_conn!(conn, |c| query.statement(limit).load(c)?);
            let mut calls: Vec<CallNow> = Vec::new();
            for row in rows {
                let person = (row.user_id, row.status);
                match calls.last_mut().filter(|call| call.place.call.as_str() == row.id) {
                    Some(call) => call.people.push(person),
                    None => calls.push(CallNow {
                        place: Place {
                            at: row.created_at.0,
                            call: CallId::new(row.id).map_err(|_| Fault::Unreadable("a call's id"))?,
                        },
                        status: row.call_status,
                        call_type: row.call_type,
                        mode: row.mode,
                        group: row.group_id,
                        initiator: row.initiator,
                        started_at: row.started_at.map(|at| at.0),
                        owner: row.owner_node,
                        owner_gone: row.owner_gone,
                        epoch: unsigned(row.epoch),
                        seq: unsigned(row.seq),
                        people: vec![person],
                        people_count: unsigned(row.people),
                    }),
                }
            }
            Ok(calls)
        };
        self.read_as(&Viewer::Admin, load).await
    }

    /// The last calls of a user that are over, the one they came to last first.
    pub async fn calls_then(&self, user: &UserId) -> Result<Vec<CallThen>, StoreError> {
        let user = user.clone();
        let load = move |conn: &mut Conn| {
            // The walk is bounded before anything is looked up for it: as cheap for who has had a million calls.
            let sql = Statement::new(
                "SELECT c.id, c.status, c.created_at, c.ended_at, c.end_reason FROM \
                 (SELECT i.call_id, i.invited_at FROM participants i WHERE i.user_id = ",
            );
            let sql = sql.text(user.as_str()).sql(" ORDER BY i.invited_at DESC, i.call_id DESC LIMIT ");
            let sql = sql.number(LOOKED_AT).sql(") p JOIN calls c ON c.id = p.call_id WHERE NOT c.open");
            let sql = sql.sql(" ORDER BY p.invited_at DESC, p.call_id DESC LIMIT ").number(RECENT_CALLS);
            let rows: Vec<OldRow> = with_conn!(conn, |c| sql.load(c)?);
            let then = rows.into_iter().map(|row| CallThen {
                call: row.id,
                status: row.status,
                created_at: row.created_at.0,
                ended_at: row.ended_at.map(|at| at.0),
                end_reason: row.end_reason,
            });
            Ok(then.collect())
        };
        self.read_as(&Viewer::Admin, load).await
    }
}
