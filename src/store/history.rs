//! Which calls a user or a group has had: lists, newest first, a page at a time.
//!
//! Owns the lists. Each is one statement (`history_sql.rs`) that walks an index from where the page before ended, so a
//! page costs the same however long the history is, and calls that come meanwhile move nothing. A page with filters that
//! is not full asks once more, where it stopped.

use diesel::{
    prelude::*,
    sql_types::{BigInt, Bool, Integer, Nullable, Text},
};

use super::{
    Store, Viewer,
    connection::{Conn, with_conn},
    error::{Fault, StoreError},
    history_sql::{MOST_LOOKED_AT, active},
    statement::Statement,
    types::{StoredTime, sql::DbTime, unsigned},
};
use crate::domain::{CallId, CallStatus, GroupId, Timestamp, UserId};

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

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryPage {
    pub entries: Vec<HistoryEntry>,
    /// After which the next page begins; `None`: this was the last. There may be one after a page that is not full, or
    /// empty: then as much was looked at as a page may cost.
    pub next: Option<Place>,
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
    /// At most `limit` calls, newest first, after a place in the list, of those that the viewer may see. A list
    /// with filters looks at [`MOST_LOOKED_AT`] calls at most, and says where it stopped.
    pub async fn history_page(
        &self,
        viewer: &Viewer,
        query: &HistoryQuery,
        after: Option<&Place>,
        limit: usize,
    ) -> Result<HistoryPage, StoreError> {
        self.history_page_within(viewer, query, after, limit, MOST_LOOKED_AT).await
    }

    /// The same with another bound, at least one.
    pub async fn history_page_within(
        &self,
        viewer: &Viewer,
        query: &HistoryQuery,
        after: Option<&Place>,
        limit: usize,
        most: usize,
    ) -> Result<HistoryPage, StoreError> {
        #[derive(QueryableByName)]
        struct Last {
            #[diesel(sql_type = DbTime)]
            place: StoredTime,
            #[diesel(sql_type = Text)]
            call_id: String,
        }
        let (query, after) = (query.clone(), after.cloned());
        let page = move |conn: &mut Conn| {
            // One more than wanted says whether there are more.
            let mut entries = load(query.page(after.as_ref(), limit.saturating_add(1), most), conn)?;
            let more = entries.len() > limit;
            entries.truncate(limit);
            let last = entries.last().map(|entry| entry.place.clone());
            if more {
                return Ok(HistoryPage { entries, next: last });
            }
            if !query.is_filtered() {
                return Ok(HistoryPage { entries, next: None });
            }
            let sql = query.last_looked_at(after.as_ref(), most);
            let looked_at: Option<Last> = with_conn!(conn, |c| sql.get_result(c).optional()?);
            let place = |row: Last| {
                let call = CallId::new(row.call_id).map_err(|_| Fault::Unreadable("a call's id"))?;
                Ok::<_, Fault>(Place { at: row.place.0, call })
            };
            let looked_at = looked_at.map(place).transpose()?;
            // Calls that came in between have moved it up: never before what was answered.
            let key = |place: &Place| (place.at, place.call.clone());
            let next = looked_at.map(|place| [Some(place), last].into_iter().flatten().min_by_key(key)).unwrap_or(None);
            Ok(HistoryPage { entries, next })
        };
        self.read_as(viewer, page).await
    }

    /// The calls of a page alone.
    pub async fn history(
        &self,
        viewer: &Viewer,
        query: &HistoryQuery,
        after: Option<&Place>,
        limit: usize,
    ) -> Result<Vec<HistoryEntry>, StoreError> {
        Ok(self.history_page(viewer, query, after, limit).await?.entries)
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
            let sql = if counted { query.count() } else { query.page(after.as_ref(), limit, MOST_LOOKED_AT) };
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
