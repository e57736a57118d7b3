//! Which calls a user or a group has had: lists, newest first, a page at a time.
//!
//! Owns the statements of lists. Each is one statement that walks an index from where the page before ended, so a page
//! costs the same however long the history is, and calls that come meanwhile move nothing. What else is known of a call
//! is looked up row by row, in subqueries that the planner cannot turn into a join over a whole table.

use diesel::{
    prelude::*,
    sql_types::{BigInt, Bool, Integer, Nullable, Text},
};

use super::{
    Store, Viewer,
    connection::{Conn, with_conn},
    error::{Fault, StoreError},
    statement::Statement,
    types::{StoredTime, sql::DbTime, unsigned},
};
use crate::domain::{CallId, CallStatus, GroupId, Timestamp, UserId};

/// The calls of `active`, at most: one user is in a handful.
const MOST_ACTIVE: usize = 100;

/// Whose calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HistoryOf {
    /// Those the user had a part in.
    User,
    /// Those of a group, also where the user had no part.
    Group(GroupId),
}

/// Who called whom, as the user sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Incoming,
    Outgoing,
}

/// Where a page ended: the time by which its last call stands in the list, and that call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub at: Timestamp,
    pub call: CallId,
}

/// Which calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryQuery {
    pub user: UserId,
    pub of: HistoryOf,
    pub direction: Option<Direction>,
    pub status: Option<CallStatus>,
    /// Whether the user missed it.
    pub missed: Option<bool>,
    /// Somebody else who had a part in it.
    pub with: Option<UserId>,
    /// From this time on, by the time that the list is in the order of.
    pub since: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
}

/// A call in a list. Words are those of the protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// Where it stands in the list: by when the user came to the call, or when the group's call was begun.
    pub place: Place,
    pub call_type: String,
    pub mode: String,
    pub status: String,
    pub end_reason: Option<String>,
    pub ended_by: Option<String>,
    pub group: Option<String>,
    pub initiator: String,
    pub is_group: bool,
    pub peak_participants: u32,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    /// The initiator first, then in the order they came.
    pub participants: Vec<HistoryParticipant>,
}

/// A user's part in a call of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryParticipant {
    pub user: String,
    pub role: String,
    pub status: String,
    pub device: Option<String>,
    pub invited_at: Timestamp,
    pub joined_at: Option<Timestamp>,
    pub left_at: Option<Timestamp>,
    pub leave_reason: Option<String>,
    /// In milliseconds, before the present or last stay.
    pub earlier_stays_ms: u64,
}

/// A call and one of its participants.
#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = DbTime)]
    place: StoredTime,
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = Text)]
    call_type: String,
    #[diesel(sql_type = Text)]
    mode: String,
    #[diesel(sql_type = Text)]
    call_status: String,
    #[diesel(sql_type = Nullable<Text>)]
    end_reason: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    ended_by: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    group_id: Option<String>,
    #[diesel(sql_type = Text)]
    initiator: String,
    #[diesel(sql_type = Bool)]
    is_group: bool,
    #[diesel(sql_type = Integer)]
    peak_participants: i32,
    #[diesel(sql_type = DbTime)]
    created_at: StoredTime,
    #[diesel(sql_type = Nullable<DbTime>)]
    started_at: Option<StoredTime>,
    #[diesel(sql_type = Nullable<DbTime>)]
    ended_at: Option<StoredTime>,
    #[diesel(sql_type = Text)]
    user_id: String,
    #[diesel(sql_type = Text)]
    role: String,
    #[diesel(sql_type = Text)]
    status: String,
    #[diesel(sql_type = Nullable<Text>)]
    device_id: Option<String>,
    #[diesel(sql_type = DbTime)]
    invited_at: StoredTime,
    #[diesel(sql_type = Nullable<DbTime>)]
    joined_at: Option<StoredTime>,
    #[diesel(sql_type = Nullable<DbTime>)]
    left_at: Option<StoredTime>,
    #[diesel(sql_type = Nullable<Text>)]
    leave_reason: Option<String>,
    #[diesel(sql_type = BigInt)]
    earlier_stays_ms: i64,
}

/// The calls of `page` with all their participants.
const WITH_PEOPLE: &str = ") SELECT g.place, c.id, c.call_type, c.mode, c.status AS call_status, c.end_reason, \
    c.ended_by, c.group_id, c.initiator, c.is_group, c.peak_participants, c.created_at, c.started_at, c.ended_at, \
    q.user_id, q.role, q.status, q.device_id, q.invited_at, q.joined_at, q.left_at, q.leave_reason, q.earlier_stays_ms \
    FROM page g JOIN calls c ON c.id = g.call_id JOIN participants q ON q.call_id = g.call_id \
    ORDER BY g.place DESC, g.call_id DESC, q.user_id <> c.initiator, q.invited_at, q.user_id";

impl HistoryQuery {
    /// What a page is taken from; without the order.
    fn matching(&self, columns: (&'static str, &'static str), after: Option<&Place>) -> Statement {
        match &self.of {
            HistoryOf::User => self.of_user(columns.0, after),
            HistoryOf::Group(group) => self.of_group(group, columns.1, after),
        }
    }

    fn of_user(&self, columns: &'static str, after: Option<&Place>) -> Statement {
        let initiator = " AND (SELECT c.initiator FROM calls c WHERE c.id = p.call_id)";
        let mut sql = Statement::new("SELECT ").sql(columns).sql(" FROM participants p WHERE p.user_id = ");
        sql = sql.text(self.user.as_str());
        sql = self.between(sql, " AND p.invited_at >= ", " AND p.invited_at < ");
        if let Some(Place { at, call }) = after {
            sql = sql.sql(" AND (p.invited_at, p.call_id) < (").time(*at).sql(", ").text(call.as_str()).sql(")");
        }
        sql = match self.direction {
            Some(Direction::Outgoing) => sql.sql(initiator).sql(" = p.user_id"),
            Some(Direction::Incoming) => sql.sql(initiator).sql(" <> p.user_id"),
            None => sql,
        };
        if let Some(status) = self.status {
            sql = sql.sql(" AND (SELECT c.status FROM calls c WHERE c.id = p.call_id) = ").text(status.as_str());
        }
        sql = match self.missed {
            Some(true) => sql.sql(" AND p.status = 'missed'"),
            Some(false) => sql.sql(" AND p.status <> 'missed'"),
            None => sql,
        };
        self.company(sql, "p.call_id")
    }

    fn of_group(&self, group: &GroupId, columns: &'static str, after: Option<&Place>) -> Statement {
        let part = " AND (SELECT p.status FROM participants p WHERE p.call_id = c.id AND p.user_id = ";
        let mut sql = Statement::new("SELECT ").sql(columns).sql(" FROM calls c WHERE c.group_id = ");
        sql = sql.text(group.as_str());
        sql = self.between(sql, " AND c.created_at >= ", " AND c.created_at < ");
        if let Some(Place { at, call }) = after {
            sql = sql.sql(" AND (c.created_at, c.id) < (").time(*at).sql(", ").text(call.as_str()).sql(")");
        }
        sql = match self.direction {
            Some(Direction::Outgoing) => sql.sql(" AND c.initiator = ").text(self.user.as_str()),
            Some(Direction::Incoming) => {
                let others = sql.sql(" AND c.initiator <> ").text(self.user.as_str());
                others.sql(part).text(self.user.as_str()).sql(") IS NOT NULL")
            }
            None => sql,
        };
        if let Some(status) = self.status {
            sql = sql.sql(" AND c.status = ").text(status.as_str());
        }
        sql = match self.missed {
            Some(true) => sql.sql(part).text(self.user.as_str()).sql(") = 'missed'"),
            Some(false) => sql.sql(part).text(self.user.as_str()).sql(") <> 'missed'"),
            None => sql,
        };
        self.company(sql, "c.id")
    }

    fn between(&self, mut sql: Statement, since: &'static str, until: &'static str) -> Statement {
        if let Some(at) = self.since {
            sql = sql.sql(since).time(at);
        }
        if let Some(at) = self.until {
            sql = sql.sql(until).time(at);
        }
        sql
    }

    fn company(&self, sql: Statement, call: &'static str) -> Statement {
        let Some(with) = &self.with else { return sql };
        let sql = sql.sql(" AND (SELECT w.open FROM participants w WHERE w.call_id = ").sql(call);
        sql.sql(" AND w.user_id = ").text(with.as_str()).sql(") IS NOT NULL")
    }

    fn page(&self, after: Option<&Place>, limit: usize) -> Statement {
        let columns = ("p.call_id, p.invited_at AS place", "c.id AS call_id, c.created_at AS place");
        let order = match self.of {
            HistoryOf::User => " ORDER BY p.invited_at DESC, p.call_id DESC LIMIT ",
            HistoryOf::Group(_) => " ORDER BY c.created_at DESC, c.id DESC LIMIT ",
        };
        let page = Statement::new("WITH page AS (").then(self.matching(columns, after)).sql(order);
        page.number(i64::try_from(limit).unwrap_or(i64::MAX)).sql(WITH_PEOPLE)
    }

    fn count(&self) -> Statement {
        self.matching(("count(*) AS count", "count(*) AS count"), None)
    }
}

fn active(user: &UserId) -> Statement {
    let page =
        "WITH page AS (SELECT p.call_id, p.invited_at AS place FROM participants p WHERE p.open AND p.user_id = ";
    let page = Statement::new(page).text(user.as_str()).sql(" ORDER BY p.invited_at DESC, p.call_id DESC LIMIT ");
    page.number(i64::try_from(MOST_ACTIVE).unwrap_or(i64::MAX)).sql(WITH_PEOPLE)
}

fn load(sql: Statement, conn: &mut Conn) -> Result<Vec<HistoryEntry>, Fault> {
    let rows: Vec<Row> = with_conn!(conn, |c| sql.load(c)?);
    let mut entries: Vec<HistoryEntry> = Vec::new();
    for row in rows {
        let part = HistoryParticipant {
            user: row.user_id,
            role: row.role,
            status: row.status,
            device: row.device_id,
            invited_at: row.invited_at.0,
            joined_at: row.joined_at.map(|at| at.0),
            left_at: row.left_at.map(|at| at.0),
            leave_reason: row.leave_reason,
            earlier_stays_ms: unsigned(row.earlier_stays_ms),
        };
        match entries.last_mut().filter(|entry| entry.place.call.as_str() == row.id) {
            Some(entry) => entry.participants.push(part),
            None => entries.push(HistoryEntry {
                place: Place {
                    at: row.place.0,
                    call: CallId::new(row.id).map_err(|_| Fault::Unreadable("a call's id"))?,
                },
                call_type: row.call_type,
                mode: row.mode,
                status: row.call_status,
                end_reason: row.end_reason,
                ended_by: row.ended_by,
                group: row.group_id,
                initiator: row.initiator,
                is_group: row.is_group,
                peak_participants: u32::try_from(row.peak_participants).unwrap_or(0),
                created_at: row.created_at.0,
                started_at: row.started_at.map(|at| at.0),
                ended_at: row.ended_at.map(|at| at.0),
                participants: vec![part],
            }),
        }
    }
    Ok(entries)
}

impl Store {
    /// At most `limit` calls, newest first, after a place in the list, of those that the viewer may see.
    pub async fn history(
        &self,
        viewer: &Viewer,
        query: &HistoryQuery,
        after: Option<&Place>,
        limit: usize,
    ) -> Result<Vec<HistoryEntry>, StoreError> {
        let (query, after) = (query.clone(), after.cloned());
        self.read_as(viewer, move |conn: &mut Conn| load(query.page(after.as_ref(), limit), conn)).await
    }

    /// How many calls the list has, over all its pages. Costs as much as reading it whole: to be asked only when wanted.
    pub async fn history_count(&self, viewer: &Viewer, query: &HistoryQuery) -> Result<u64, StoreError> {
        #[derive(QueryableByName)]
        struct Count {
            #[diesel(sql_type = BigInt)]
            count: i64,
        }
        let query = query.clone();
        let count = move |conn: &mut Conn| {
            let Count { count } = with_conn!(conn, |c| query.count().get_result(c)?);
            Ok(unsigned(count))
        };
        self.read_as(viewer, count).await
    }

    /// The open calls that the user is rung or engaged in, newest first.
    pub async fn active_calls(&self, user: &UserId) -> Result<Vec<HistoryEntry>, StoreError> {
        let viewer = Viewer::from(user);
        let user = user.clone();
        self.read_as(&viewer, move |conn: &mut Conn| load(active(&user), conn)).await
    }

    /// How the database would carry out a page of the list, or with `counted` its count: for tests, and for whoever
    /// wonders why a list is slow.
    pub async fn explain_history(
        &self,
        viewer: &Viewer,
        query: &HistoryQuery,
        after: Option<&Place>,
        limit: usize,
        counted: bool,
    ) -> Result<Vec<String>, StoreError> {
        let (query, after) = (query.clone(), after.cloned());
        let explain = move |conn: &mut Conn| {
            let sql = if counted { query.count() } else { query.page(after.as_ref(), limit) };
            sql.explain(conn)
        };
        self.read_as(viewer, explain).await
    }

    /// The same for [`Store::active_calls`].
    pub async fn explain_active(&self, user: &UserId) -> Result<Vec<String>, StoreError> {
        let viewer = Viewer::from(user);
        let user = user.clone();
        self.read_as(&viewer, move |conn: &mut Conn| active(&user).explain(conn)).await
    }
}
