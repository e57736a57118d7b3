//! Recordings: their rows, and the lists of them.
//!
//! A recording is begun, and told to stop, in the transaction of its call's event ([`super::recording_commits`]). From then on it is changed by whoever
//! learns something, and only over the version that was read: two who learn at once do not undo each other. Rows are kept
//! when the file is gone.

use std::time::Duration;

use diesel::{
    prelude::*,
    sql_types::{BigInt, Bool, Integer, Nullable, Text},
};

use super::{
    Act, Store, Viewer,
    audit::record_act,
    connection::{Conn, in_transaction, with_conn},
    error::{Fault, StoreError},
    models::count,
    outbox::write_outgoing,
    schema::{participants, recording_parts, recordings},
    statement::Statement,
    types::{DbNow, StoredTime, signed, sql::DbTime, unsigned},
};
use crate::{
    clock,
    domain::{
        CallId, Recording, RecordingId, RecordingStatus, Role, Timestamp, UserId,
        recording::{FileFormat, Layout, PasswordHash, RecordingOptions, Resolution},
    },
};

/// Everything of a recording that changes after its beginning.
#[derive(AsChangeset)]
#[diesel(table_name = recordings, treat_none_as_null = true)]
struct Change<'a> {
    version: i64,
    retention_days: i32,
    status: &'a str,
    attempts: i32,
    attempt_at: Option<StoredTime>,
    egress_id: Option<&'a str>,
    stop_at: Option<StoredTime>,
    started_at: Option<StoredTime>,
    ended_at: Option<StoredTime>,
    file: Option<&'a str>,
    bytes: Option<i64>,
    duration_ms: Option<i64>,
    reason: Option<&'a str>,
    expires_at: Option<StoredTime>,
    legal_hold: bool,
    public_since: Option<StoredTime>,
    password_hash: Option<&'a str>,
    purge_since: Option<StoredTime>,
    purge_failures: i32,
    deleted_at: Option<StoredTime>,
    file_gone_at: Option<StoredTime>,
    told: bool,
}

impl<'a> Change<'a> {
    fn of(r: &'a Recording) -> Self {
        let time = |at: Option<Timestamp>| at.map(StoredTime);
        let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self {
            version: signed(r.version + 1),
            retention_days: count(r.options.retention_days),
            status: r.status.as_str(),
            attempts: count(r.attempts),
            attempt_at: time(r.attempt_at),
            egress_id: r.egress.as_deref(),
            stop_at: time(r.stop_at),
            started_at: time(r.started_at),
            ended_at: time(r.ended_at),
            file: r.file.as_deref(),
            bytes: r.bytes.map(signed),
            duration_ms: r.duration.map(millis),
            reason: r.reason.as_deref(),
            expires_at: time(r.expires_at),
            legal_hold: r.legal_hold,
            public_since: time(r.public_since),
            password_hash: r.password.as_ref().map(|hash| hash.0.as_str()),
            purge_since: time(r.purge_since),
            purge_failures: count(r.purge_failures),
            deleted_at: time(r.deleted_at),
            file_gone_at: time(r.file_gone_at),
            told: r.told,
        }
    }
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = Text)]
    call_id: String,
    #[diesel(sql_type = Text)]
    created_by: String,
    #[diesel(sql_type = DbTime)]
    created_at: StoredTime,
    #[diesel(sql_type = Text)]
    layout: String,
    #[diesel(sql_type = Text)]
    resolution: String,
    #[diesel(sql_type = Bool)]
    audio_only: bool,
    #[diesel(sql_type = Text)]
    format: String,
    #[diesel(sql_type = Integer)]
    retention_days: i32,
    #[diesel(sql_type = BigInt)]
    version: i64,
    #[diesel(sql_type = Text)]
    status: String,
    #[diesel(sql_type = Integer)]
    attempts: i32,
    #[diesel(sql_type = Nullable<DbTime>)]
    attempt_at: Option<StoredTime>,
    #[diesel(sql_type = Nullable<Text>)]
    egress_id: Option<String>,
    #[diesel(sql_type = Nullable<DbTime>)]
    stop_at: Option<StoredTime>,
    #[diesel(sql_type = Nullable<DbTime>)]
    started_at: Option<StoredTime>,
    #[diesel(sql_type = Nullable<DbTime>)]
    ended_at: Option<StoredTime>,
    #[diesel(sql_type = Nullable<Text>)]
    file: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    bytes: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    duration_ms: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    reason: Option<String>,
    #[diesel(sql_type = Nullable<DbTime>)]
    expires_at: Option<StoredTime>,
    #[diesel(sql_type = Bool)]
    legal_hold: bool,
    #[diesel(sql_type = Nullable<DbTime>)]
    public_since: Option<StoredTime>,
    #[diesel(sql_type = Nullable<Text>)]
    password_hash: Option<String>,
    #[diesel(sql_type = Nullable<DbTime>)]
    purge_since: Option<StoredTime>,
    #[diesel(sql_type = Integer)]
    purge_failures: i32,
    #[diesel(sql_type = Nullable<DbTime>)]
    deleted_at: Option<StoredTime>,
    #[diesel(sql_type = Nullable<DbTime>)]
    file_gone_at: Option<StoredTime>,
    #[diesel(sql_type = Bool)]
    told: bool,
}

impl Row {
    fn recording(self) -> Result<Recording, Fault> {
        let unreadable = |what| move || Fault::Unreadable(what);
        let number = |number: i32| u32::try_from(number).unwrap_or(0);
        let time = |at: Option<StoredTime>| at.map(|at| at.0);
        let options = RecordingOptions {
            layout: Layout::parse(&self.layout).ok_or_else(unreadable("a layout"))?,
            resolution: Resolution::parse(&self.resolution).ok_or_else(unreadable("a resolution"))?,
            audio_only: self.audio_only,
            format: FileFormat::parse(&self.format).ok_or_else(unreadable("a format"))?,
            retention_days: number(self.retention_days),
        };
        Ok(Recording {
            id: RecordingId::new(self.id).map_err(|_| Fault::Unreadable("a recording's id"))?,
            call: CallId::new(self.call_id).map_err(|_| Fault::Unreadable("a call's id"))?,
            by: UserId::new(self.created_by).map_err(|_| Fault::Unreadable("a user's id"))?,
            created_at: self.created_at.0,
            options,
            version: unsigned(self.version),
            status: RecordingStatus::parse(&self.status).ok_or_else(unreadable("a recording's status"))?,
            attempts: number(self.attempts),
            attempt_at: time(self.attempt_at),
            egress: self.egress_id,
            stop_at: time(self.stop_at),
            started_at: time(self.started_at),
            ended_at: time(self.ended_at),
            file: self.file,
            bytes: self.bytes.map(unsigned),
            duration: self.duration_ms.map(|ms| Duration::from_millis(unsigned(ms))),
            reason: self.reason,
            expires_at: time(self.expires_at),
            legal_hold: self.legal_hold,
            public_since: time(self.public_since),
            password: self.password_hash.map(PasswordHash),
            purge_since: time(self.purge_since),
            purge_failures: number(self.purge_failures),
            deleted_at: time(self.deleted_at),
            file_gone_at: time(self.file_gone_at),
            told: self.told,
        })
    }
}

/// A recording that is to be seen after, and how its call stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsettled {
    pub recording: Recording,
    /// `None`: there is no such call.
    pub call: Option<CallRow>,
}

/// As much of a call's row as a recording's steps need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallRow {
    pub open: bool,
    pub mode: String,
}

/// The part of the row beside [`Row`].
#[derive(QueryableByName)]
struct OfCall {
    #[diesel(sql_type = Nullable<Bool>)]
    call_open: Option<bool>,
    #[diesel(sql_type = Nullable<Text>)]
    call_mode: Option<String>,
}

#[derive(QueryableByName)]
struct UnsettledRow {
    #[diesel(embed)]
    recording: Row,
    #[diesel(embed)]
    of_call: OfCall,
}

impl UnsettledRow {
    fn unsettled(self) -> Result<Unsettled, Fault> {
        let call = self.of_call.call_open.zip(self.of_call.call_mode).map(|(open, mode)| CallRow { open, mode });
        Ok(Unsettled { recording: self.recording.recording()?, call })
    }
}

/// Where a page of a list ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordingPlace {
    pub at: Timestamp,
    pub recording: RecordingId,
}

/// Which recordings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordingQuery {
    pub user: UserId,
    pub call: Option<CallId>,
    pub status: Option<RecordingStatus>,
}

const WITH_CALL: &str = "SELECT r.*, (SELECT c.open FROM calls c WHERE c.id = r.call_id) AS call_open, \
    (SELECT c.mode FROM calls c WHERE c.id = r.call_id) AS call_mode FROM recordings r WHERE ";

impl RecordingQuery {
    /// What is deleted is not there.
    fn page(&self, after: Option<&RecordingPlace>, limit: usize) -> Statement {
        let mut sql = Statement::new(
            "SELECT r.* FROM recording_parts p JOIN recordings r ON r.id = p.recording_id \
             WHERE r.status <> 'deleted' AND p.user_id = ",
        );
        sql = sql.text(self.user.as_str());
        if let Some(RecordingPlace { at, recording }) = after {
            sql = sql.sql(" AND (p.created_at, p.recording_id) < (").time(*at).sql(", ");
            sql = sql.text(recording.as_str()).sql(")");
        }
        if let Some(call) = &self.call {
            sql = sql.sql(" AND r.call_id = ").text(call.as_str());
        }
        if let Some(status) = self.status {
            sql = sql.sql(" AND r.status = ").text(status.as_str());
        }
        let sql = sql.sql(" ORDER BY p.created_at DESC, p.recording_id DESC LIMIT ");
        sql.number(i64::try_from(limit).unwrap_or(i64::MAX))
    }
}

fn load(sql: Statement, conn: &mut Conn) -> Result<Vec<Recording>, Fault> {
    let rows: Vec<Row> = with_conn!(conn, |c| sql.load(c)?);
    rows.into_iter().map(Row::recording).collect()
}

/// Whose files are to go: their time is over, or somebody deleted them; tried ones last, so that one that fails holds
/// up no other.
fn to_purge(now: Timestamp, after: Option<&RecordingId>, limit: u32) -> Statement {
    let mut sql = Statement::new(
        "SELECT * FROM (SELECT * FROM recordings WHERE file_gone_at IS NULL AND status IN ('ready', 'failed') \
         AND NOT legal_hold AND expires_at <= ",
    );
    sql = sql.time(now);
    sql = sql.sql(" UNION ALL SELECT * FROM recordings WHERE file_gone_at IS NULL AND status = 'deleted') x");
    if let Some(after) = after {
        sql = sql.sql(" WHERE x.id > ").text(after.as_str());
    }
    sql.sql(" ORDER BY x.id LIMIT ").number(i64::from(limit))
}

impl Store {
    /// A recording and how its call stands.
    pub async fn recording(&self, id: &RecordingId) -> Result<Option<Unsettled>, StoreError> {
        let id = id.clone();
        let look = move |conn: &mut Conn| {
            let sql = Statement::new(WITH_CALL).sql("r.id = ").text(id.as_str());
            let rows: Vec<UnsettledRow> = with_conn!(conn, |c| sql.load(c)?);
            rows.into_iter().next().map(UnsettledRow::unsettled).transpose()
        };
        self.read(look).await
    }

    /// A recording, if the viewer may see it.
    pub async fn recording_for(&self, viewer: &Viewer, id: &RecordingId) -> Result<Option<Recording>, StoreError> {
        let id = id.clone();
        let look = move |conn: &mut Conn| {
            let sql = Statement::new("SELECT * FROM recordings WHERE id = ").text(id.as_str());
            Ok(load(sql, conn)?.pop())
        };
        self.read_as(viewer, look).await
    }

    /// The newest recording of a call that is not deleted and that the viewer may see.
    pub async fn newest_recording(&self, viewer: &Viewer, call: &CallId) -> Result<Option<Recording>, StoreError> {
        let call = call.clone();
        let look = move |conn: &mut Conn| {
            let sql = Statement::new("SELECT * FROM recordings WHERE call_id = ").text(call.as_str());
            let sql = sql.sql(" AND status <> 'deleted' ORDER BY created_at DESC LIMIT 1");
            Ok(load(sql, conn)?.pop())
        };
        self.read_as(viewer, look).await
    }

    /// Writes a recording over the version that was read; with it the record of an act, if it was one. `false`: it has
    /// another version by now, and nothing was written.
    pub async fn save_recording(&self, recording: &Recording, act: Option<Act>) -> Result<bool, StoreError> {
        let recording = recording.clone();
        let outgoing = self.subscriptions().of_recording(&recording, clock::now());
        let tells = !outgoing.is_empty();
        let save = move |conn: &mut Conn| {
            let row = recordings::table.find(recording.id.as_str());
            let row = row.filter(recordings::version.eq(signed(recording.version)));
            let saved: QueryResult<usize> = in_transaction!(conn, |c| {
                let saved = diesel::update(row).set(&Change::of(&recording)).execute(c)?;
                if let Some(act) = act.as_ref().filter(|_| saved > 0) {
                    record_act!(c, act, "done");
                }
                if saved > 0 {
                    write_outgoing!(c, recording.call.as_str(), &outgoing);
                }
                Ok(saved)
            });
            Ok::<_, Fault>(saved? > 0)
        };
        let saved = self.read(save).await?;
        if saved && tells {
            self.subscriptions().written.notify_one();
        }
        Ok(saved)
    }

    /// Whether the user has been in the call of a recording.
    pub async fn has_recording_part(&self, id: &RecordingId, user: &UserId) -> Result<bool, StoreError> {
        let viewer = Viewer::from(user);
        let (id, user) = (id.clone(), user.clone());
        let look = move |conn: &mut Conn| {
            let part = recording_parts::table
                .filter(recording_parts::recording_id.eq(id.as_str()).and(recording_parts::user_id.eq(user.as_str())))
                .select(recording_parts::user_id);
            Ok(with_conn!(conn, |c| part.first::<String>(c).optional()?).is_some())
        };
        self.read_as(&viewer, look).await
    }

    /// Whether the user is, or was at the end of their stay, host or cohost of a call.
    pub async fn was_in_charge(&self, call: &CallId, user: &UserId) -> Result<bool, StoreError> {
        let (call, user) = (call.clone(), user.clone());
        let look = move |conn: &mut Conn| {
            let role = participants::table.find((call.as_str(), user.as_str())).select(participants::role);
            let role = with_conn!(conn, |c| role.first::<String>(c).optional()?);
            Ok(role.is_some_and(|role| role == Role::Host.as_str() || role == Role::Cohost.as_str()))
        };
        self.read(look).await
    }

    /// Everybody who has been in the call of a recording.
    pub async fn recording_audience(&self, id: &RecordingId, limit: usize) -> Result<Vec<UserId>, StoreError> {
        let id = id.clone();
        let look = move |conn: &mut Conn| {
            let users = recording_parts::table
                .filter(recording_parts::recording_id.eq(id.as_str()))
                .select(recording_parts::user_id)
                .limit(i64::try_from(limit).unwrap_or(i64::MAX));
            let users: Vec<String> = with_conn!(conn, |c| users.load(c)?);
            users.into_iter().map(|user| UserId::new(user).map_err(|_| Fault::Unreadable("a user's id"))).collect()
        };
        self.read(look).await
    }

    /// At most `limit` recordings of calls that the user has been in, newest first, after a place in the list.
    pub async fn recordings(
        &self,
        query: &RecordingQuery,
        after: Option<&RecordingPlace>,
        limit: usize,
    ) -> Result<Vec<Recording>, StoreError> {
        let viewer = Viewer::from(&query.user);
        let (query, after) = (query.clone(), after.cloned());
        self.read_as(&viewer, move |conn: &mut Conn| load(query.page(after.as_ref(), limit), conn)).await
    }

    /// How the database would carry out [`Store::recordings`].
    pub async fn explain_recordings(
        &self,
        query: &RecordingQuery,
        after: Option<&RecordingPlace>,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        let viewer = Viewer::from(&query.user);
        let (query, after) = (query.clone(), after.cloned());
        self.read_as(&viewer, move |conn: &mut Conn| query.page(after.as_ref(), limit).explain(conn)).await
    }

    /// Recordings of which more is to come, or has not been told, by id.
    pub async fn unsettled_recordings(
        &self,
        after: Option<&RecordingId>,
        limit: u32,
    ) -> Result<Vec<Unsettled>, StoreError> {
        let after = after.cloned();
        let look = move |conn: &mut Conn| {
            let mut sql = Statement::new(WITH_CALL);
            sql = sql.sql("(r.status IN ('starting', 'recording', 'processing') OR NOT r.told)");
            if let Some(after) = &after {
                sql = sql.sql(" AND r.id > ").text(after.as_str());
            }
            let sql = sql.sql(" ORDER BY r.id LIMIT ").number(i64::from(limit));
            let rows: Vec<UnsettledRow> = with_conn!(conn, |c| sql.load(c)?);
            rows.into_iter().map(UnsettledRow::unsettled).collect()
        };
        self.read(look).await
    }

    /// Recordings whose files are to go, by id: their time is over by the database's clock, or they were deleted. With
    /// how long that is due.
    pub async fn purgeable_recordings(
        &self,
        after: Option<&RecordingId>,
        limit: u32,
    ) -> Result<Vec<(Recording, Duration)>, StoreError> {
        let after = after.cloned();
        let look = move |conn: &mut Conn| {
            let now: StoredTime = with_conn!(conn, |c| diesel::select(DbNow::now()).get_result(c)?);
            let due = |r: Recording| {
                let since = if r.status == RecordingStatus::Deleted { r.deleted_at } else { r.expires_at };
                let age = now.0.since(since.unwrap_or(now.0));
                (r, age)
            };
            Ok(load(to_purge(now.0, after.as_ref(), limit), conn)?.into_iter().map(due).collect())
        };
        self.read(look).await
    }

    /// How the database would carry out [`Store::purgeable_recordings`].
    pub async fn explain_purgeable(&self, now: Timestamp, limit: u32) -> Result<Vec<String>, StoreError> {
        self.read(move |conn: &mut Conn| to_purge(now, None, limit).explain(conn)).await
    }
}
