//! What is old enough to be forgotten, table by table: counted, and deleted in batches.
//!
//! "Old" is by the database's clock. Where rows are named by ids in the order of time, the age is a range of the key,
//! beside the row's own time, so that no delete reads a table from end to end and none needs an index of its own. Must
//! never touch a row that somebody could still ask for; each kind says below why nobody can. Everything here may run
//! twice, and beside itself: a row that somebody has changed or deleted meanwhile is left.

use std::time::Duration;

use diesel::{prelude::*, sql_types::BigInt};
use uuid::Uuid;

use super::{
    Store,
    audit::first_of,
    connection::{Conn, with_conn},
    error::{Fault, StoreError},
    statement::Statement,
    types::{DbNow, StoredTime, unsigned},
};
use crate::domain::Timestamp;

/// Rows deleted by one statement. More would hold up a reader's connection, and all who write to SQLite; fewer are more
/// statements.
pub const FORGOTTEN_AT_ONCE: u32 = 2000;
/// How far is counted. Further, and the count of a table that nobody has tidied for long takes a reader's connection
/// for seconds.
const MOST_COUNTED: i64 = 1_000_000;

/// A kind of row that is forgotten with age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Old {
    /// Records of the audit log. PostgreSQL lets nobody delete what is younger than a day.
    AuditRecords,
    QualityReports,
    /// First answers to commands with a key: once gone the key is as good as new.
    KeyedAnswers,
    /// Records of commands without a key. Whoever carries one out looks for its record for as long as somebody waits for
    /// an answer, which is seconds; its id is never used again.
    CommandRecords,
    /// Nodes whose lease ran out so long ago: without the row nobody knows since when their calls have no owner.
    DeadNodes,
    /// Actions of runs that began so long ago: no run lasts that long.
    SweepActions,
    SweepRequests,
    /// Runs that ended so long ago, or began then and never ended.
    SweepRuns,
    /// Webhooks of LiveKit that were taken in: one so old is refused as stale before it is looked up.
    LivekitEvents,
}

/// Where the old ends.
struct Bound {
    time: Timestamp,
    /// Every id in the order of time that was made earlier is smaller.
    id: Uuid,
}

impl Old {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::AuditRecords,
        Self::QualityReports,
        Self::KeyedAnswers,
        Self::CommandRecords,
        Self::DeadNodes,
        Self::SweepActions,
        Self::SweepRequests,
        Self::SweepRuns,
        Self::LivekitEvents,
    ];

    /// The table, and its key.
    const fn rows(self) -> (&'static str, &'static str) {
        match self {
            Self::AuditRecords => ("audit_log", "id"),
            Self::QualityReports => ("quality_reports", "(call_id, user_id, id)"),
            Self::KeyedAnswers | Self::CommandRecords => ("command_results", "command_id"),
            Self::DeadNodes => ("nodes", "id"),
            Self::SweepActions => ("sweep_actions", "(run, n)"),
            Self::SweepRequests => ("sweep_requests", "id"),
            Self::SweepRuns => ("sweep_runs", "id"),
            Self::LivekitEvents => ("livekit_events", "id"),
        }
    }

    /// ` FROM table WHERE it is old`.
    fn from(self, bound: &Bound) -> Statement {
        let sql = Statement::new(" FROM ").sql(self.rows().0).sql(" WHERE ");
        let before = |sql: Statement, column| sql.sql(column).sql(" < ").time(bound.time);
        match self {
            // The policy of PostgreSQL goes by the time; the key is in its order.
            Self::AuditRecords => before(sql.sql("id < ").id(bound.id).sql(" AND "), "at"),
            Self::QualityReports => before(sql, "at"),
            Self::KeyedAnswers => before(sql.sql("outcome IS NOT NULL AND "), "at"),
            // Ids made of keys are above every id in the order of time: the range holds none of them.
            Self::CommandRecords => {
                before(sql.sql("command_id < ").id(bound.id).sql(" AND outcome IS NULL AND "), "at")
            }
            Self::DeadNodes => before(sql, "lease_until"),
            Self::SweepActions => sql.sql("run < ").id(bound.id),
            Self::SweepRequests => before(sql, "requested_at"),
            Self::SweepRuns => {
                let sql = sql.sql("id < ").id(bound.id).sql(" AND (finished_at IS NULL OR ");
                before(sql, "finished_at").sql(")")
            }
            Self::LivekitEvents => before(sql, "taken_at"),
        }
    }

    /// In the order of the ids where the age is a range of them, so that nothing but that range is read.
    const fn order(self) -> &'static str {
        match self {
            Self::AuditRecords | Self::SweepRuns => " ORDER BY id",
            Self::CommandRecords => " ORDER BY command_id",
            Self::SweepActions => " ORDER BY run, n",
            Self::QualityReports | Self::KeyedAnswers | Self::DeadNodes | Self::SweepRequests | Self::LivekitEvents => {
                ""
            }
        }
    }

    fn count(self, bound: &Bound) -> Statement {
        let sql = Statement::new("SELECT count(*) AS count FROM (SELECT 1 AS one").then(self.from(bound));
        sql.sql(" LIMIT ").number(MOST_COUNTED).sql(") AS old")
    }

    /// By where the rows lie in PostgreSQL: it then reads what it deletes and nothing else, however many it takes the
    /// rows for, and leaves a row that was changed in between.
    fn forget(self, bound: &Bound, limit: u32) -> Statement {
        let (table, key) = self.rows();
        let columns = key.trim_start_matches('(').trim_end_matches(')');
        let sql = Statement::new("DELETE FROM ").sql(table).sql(" WHERE ").either("ctid", key);
        let sql = sql.either(" = ANY (ARRAY(SELECT ctid", " IN (SELECT ").either("", columns).then(self.from(bound));
        sql.sql(self.order()).sql(" LIMIT ").number(i64::from(limit)).either("))", ")")
    }
}

fn bound_of(conn: &mut Conn, age: Duration) -> Result<Bound, Fault> {
    let at: StoredTime = with_conn!(conn, |c| diesel::select(DbNow::minus(age)).get_result(c)?);
    Ok(Bound { time: at.0, id: first_of(at.0) })
}

#[derive(QueryableByName)]
struct Counted {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

impl Store {
    /// How many are older than `age`, as far as a million.
    pub async fn count_old(&self, old: Old, age: Duration) -> Result<u64, StoreError> {
        let count = move |conn: &mut Conn| {
            let bound = bound_of(conn, age)?;
            let counted: Counted = with_conn!(conn, |c| old.count(&bound).get_result(c)?);
            Ok(unsigned(counted.count))
        };
        self.read(count).await
    }

    /// Forgets those older than `age`, at most `limit`. Returns how many: fewer than `limit` are all there were.
    pub async fn forget_old(&self, old: Old, age: Duration, limit: u32) -> Result<u64, StoreError> {
        let forget = move |conn: &mut Conn| {
            let bound = bound_of(conn, age)?;
            Ok(with_conn!(conn, |c| old.forget(&bound, limit).execute(c)?) as u64)
        };
        self.read(forget).await
    }

    /// How the database would carry out [`Store::forget_old`].
    pub async fn explain_forget(&self, old: Old, age: Duration) -> Result<Vec<String>, StoreError> {
        let explain = move |conn: &mut Conn| {
            let bound = bound_of(conn, age)?;
            old.forget(&bound, FORGOTTEN_AT_ONCE).explain(conn)
        };
        self.read(explain).await
    }
}
