//! What clients report of their media: written in batches, read as sums per participant.
//!
//! Must never stand in the way of commits: reports have no part in them, and go through the readers' connections. When
//! many report at once, whoever waits when a connection comes free shares two statements. A report may be written twice
//! with no harm: its id names it.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use diesel::{
    prelude::*,
    sql_types::{BigInt, Double, Nullable, Text},
};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{
    Store, Viewer,
    connection::{Conn, with_conn},
    error::{Fault, StoreError},
    schema::{participants, quality_reports},
    statement::Statement,
    types::{StoredId, StoredTime, sql::DbTime, unsigned},
};
use crate::domain::{CallId, DeviceId, Timestamp, UserId, quality::Measured};

/// Reports of one batch, but for those that came together. More make statements long (15 values each, of the 32,766 that
/// SQLite takes) without making them cheaper for each.
const BATCH_REPORTS: usize = 512;
/// Reports that may wait. More would be written after their clients gave up; fewer would refuse some in a storm.
const MOST_WAITING: usize = 8192;
/// How long to wait for another's visit before making one more. Shorter: needless visits to a slow database; longer: who
/// shared a statement that failed hears of it late.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What one device says of one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct QualityReport {
    /// Names it: written once, however often it is sent.
    pub id: Uuid,
    pub device: DeviceId,
    pub at: Timestamp,
    pub measured: Measured,
}

/// What became of reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportOutcome {
    Recorded,
    /// There is no such call, or the user has no part in it. Nothing was written.
    NotParticipant,
}

/// What a participant has reported over a call.
#[derive(Debug, Clone, PartialEq)]
pub struct QualitySums {
    pub user: String,
    pub reports: u64,
    pub jitter_ms: Spread,
    pub packet_loss_pct: Spread,
    pub round_trip_ms: Spread,
    pub bandwidth_kbps: Spread,
    pub fps: Spread,
    /// Reports by their score.
    pub excellent: u64,
    pub good: u64,
    pub fair: u64,
    pub poor: u64,
    /// In how many reports the media went by TURN.
    pub by_turn: u64,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
}

/// Of the reports that say: their mean, and the worst of them (the most of jitter, loss and round trip, the least of
/// bandwidth and frames). `None`: none says.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Spread {
    pub mean: Option<f64>,
    pub worst: Option<f64>,
}

struct Waiting {
    call: CallId,
    user: UserId,
    reports: Vec<QualityReport>,
    reply: oneshot::Sender<Result<ReportOutcome, StoreError>>,
}

/// Reports that wait for a connection.
#[derive(Default)]
pub(super) struct Reports(Mutex<Vec<Waiting>>);

impl Reports {
    fn lock(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, new: Waiting) -> Result<(), StoreError> {
        let mut waiting = self.lock();
        if waiting.iter().map(|w| w.reports.len()).sum::<usize>() + new.reports.len() > MOST_WAITING {
            return Err(StoreError::Overloaded);
        }
        waiting.push(new);
        Ok(())
    }

    /// Takes up to [`BATCH_REPORTS`] reports, those of one asker at least.
    fn take(&self) -> Vec<Waiting> {
        let mut waiting = self.lock();
        let mut reports = 0;
        let fits = waiting.iter().take_while(|w| {
            reports += w.reports.len();
            reports <= BATCH_REPORTS
        });
        let count = fits.count().max(1).min(waiting.len());
        waiting.drain(..count).collect()
    }
}

#[derive(Insertable)]
#[diesel(table_name = quality_reports, treat_none_as_default_value = false)]
struct ReportRow<'a> {
    call_id: &'a str,
    user_id: &'a str,
    id: StoredId,
    device_id: &'a str,
    at: StoredTime,
    jitter_ms: Option<f64>,
    packet_loss_pct: Option<f64>,
    round_trip_ms: Option<f64>,
    bandwidth_kbps: Option<f64>,
    fps: Option<f64>,
    resolution: Option<&'a str>,
    codec: Option<&'a str>,
    ice_state: Option<&'static str>,
    used_turn: Option<bool>,
    score: Option<&'static str>,
}

impl<'a> ReportRow<'a> {
    fn of(call: &'a CallId, user: &'a UserId, report: &'a QualityReport) -> Self {
        let m = &report.measured;
        Self {
            call_id: call.as_str(),
            user_id: user.as_str(),
            id: StoredId(report.id),
            device_id: report.device.as_str(),
            at: StoredTime(report.at),
            jitter_ms: m.jitter_ms,
            packet_loss_pct: m.packet_loss_pct,
            round_trip_ms: m.round_trip_ms,
            bandwidth_kbps: m.bandwidth_kbps,
            fps: m.fps,
            resolution: m.resolution.as_deref(),
            codec: m.codec.as_deref(),
            ice_state: m.ice_state.map(|state| state.as_str()),
            used_turn: m.used_turn,
            score: m.score().map(|score| score.as_str()),
        }
    }
}

fn record_waiting(conn: &mut Conn, reports: &Arc<Reports>) -> Result<(), Fault> {
    let taken: Vec<_> = reports.take().into_iter().filter(|waiting| !waiting.reply.is_closed()).collect();
    if taken.is_empty() {
        return Ok(());
    }
    match record(conn, &taken) {
        Ok(outcomes) => {
            for (waiting, outcome) in taken.into_iter().zip(outcomes) {
                let _ = waiting.reply.send(Ok(outcome));
            }
            Ok(())
        }
        Err(fault) => {
            // Back in front of the queue, for this visit's second try or for the next visit.
            reports.lock().splice(0..0, taken);
            Err(fault)
        }
    }
}

fn record(conn: &mut Conn, taken: &[Waiting]) -> Result<Vec<ReportOutcome>, Fault> {
    let calls: HashSet<&str> = taken.iter().map(|w| w.call.as_str()).collect();
    let users: HashSet<&str> = taken.iter().map(|w| w.user.as_str()).collect();
    let (calls, users): (Vec<&str>, Vec<&str>) = (calls.into_iter().collect(), users.into_iter().collect());
    let parts: Vec<(String, String)> = with_conn!(conn, |c| {
        participants::table
            .filter(participants::call_id.eq_any(&calls).and(participants::user_id.eq_any(&users)))
            .select((participants::call_id, participants::user_id))
            .load(c)?
    });
    let parts: HashSet<(&str, &str)> = parts.iter().map(|(call, user)| (call.as_str(), user.as_str())).collect();
    let has_part = |w: &&Waiting| parts.contains(&(w.call.as_str(), w.user.as_str()));
    let rows = taken.iter().filter(has_part);
    let rows: Vec<ReportRow> =
        rows.flat_map(|w| w.reports.iter().map(|report| ReportRow::of(&w.call, &w.user, report))).collect();
    if !rows.is_empty() {
        with_conn!(conn, |c| {
            diesel::insert_into(quality_reports::table).values(&rows).on_conflict_do_nothing().execute(c)?
        });
    }
    let outcome = |w| if has_part(&w) { ReportOutcome::Recorded } else { ReportOutcome::NotParticipant };
    Ok(taken.iter().map(outcome).collect())
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    user_id: String,
    #[diesel(sql_type = BigInt)]
    reports: i64,
    #[diesel(sql_type = Nullable<Double>)]
    jitter_mean: Option<f64>,
    #[diesel(sql_type = Nullable<Double>)]
    jitter_worst: Option<f64>,
    #[diesel(sql_type = Nullable<Double>)]
    loss_mean: Option<f64>,
    #[diesel(sql_type = Nullable<Double>)]
    loss_worst: Option<f64>,
    #[diesel(sql_type = Nullable<Double>)]
    round_trip_mean: Option<f64>,
    #[diesel(sql_type = Nullable<Double>)]
    round_trip_worst: Option<f64>,
    #[diesel(sql_type = Nullable<Double>)]
    bandwidth_mean: Option<f64>,
    #[diesel(sql_type = Nullable<Double>)]
    bandwidth_worst: Option<f64>,
    #[diesel(sql_type = Nullable<Double>)]
    fps_mean: Option<f64>,
    #[diesel(sql_type = Nullable<Double>)]
    fps_worst: Option<f64>,
    #[diesel(sql_type = BigInt)]
    excellent: i64,
    #[diesel(sql_type = BigInt)]
    good: i64,
    #[diesel(sql_type = BigInt)]
    fair: i64,
    #[diesel(sql_type = BigInt)]
    poor: i64,
    #[diesel(sql_type = BigInt)]
    by_turn: i64,
    #[diesel(sql_type = DbTime)]
    first_at: StoredTime,
    #[diesel(sql_type = DbTime)]
    last_at: StoredTime,
}

impl From<Row> for QualitySums {
    fn from(row: Row) -> Self {
        Self {
            user: row.user_id,
            reports: unsigned(row.reports),
            jitter_ms: Spread { mean: row.jitter_mean, worst: row.jitter_worst },
            packet_loss_pct: Spread { mean: row.loss_mean, worst: row.loss_worst },
            round_trip_ms: Spread { mean: row.round_trip_mean, worst: row.round_trip_worst },
            bandwidth_kbps: Spread { mean: row.bandwidth_mean, worst: row.bandwidth_worst },
            fps: Spread { mean: row.fps_mean, worst: row.fps_worst },
            excellent: unsigned(row.excellent),
            good: unsigned(row.good),
            fair: unsigned(row.fair),
            poor: unsigned(row.poor),
            by_turn: unsigned(row.by_turn),
            first_at: row.first_at.0,
            last_at: row.last_at.0,
        }
    }
}

fn sums(call: &CallId) -> Statement {
    let sums = "SELECT user_id, count(*) AS reports, avg(jitter_ms) AS jitter_mean, max(jitter_ms) AS jitter_worst, \
        avg(packet_loss_pct) AS loss_mean, max(packet_loss_pct) AS loss_worst, \
        avg(round_trip_ms) AS round_trip_mean, max(round_trip_ms) AS round_trip_worst, \
        avg(bandwidth_kbps) AS bandwidth_mean, min(bandwidth_kbps) AS bandwidth_worst, \
        avg(fps) AS fps_mean, min(fps) AS fps_worst, \
        count(CASE WHEN score = 'excellent' THEN 1 END) AS excellent, count(CASE WHEN score = 'good' THEN 1 END) AS good, \
        count(CASE WHEN score = 'fair' THEN 1 END) AS fair, count(CASE WHEN score = 'poor' THEN 1 END) AS poor, \
        count(CASE WHEN used_turn THEN 1 END) AS by_turn, min(at) AS first_at, max(at) AS last_at \
        FROM quality_reports WHERE call_id = ";
    Statement::new(sums).text(call.as_str()).sql(" GROUP BY user_id ORDER BY user_id")
}

impl Store {
    /// Writes reports of one user about one call, together with what others report meanwhile.
    pub async fn record_quality(
        &self,
        call: &CallId,
        user: &UserId,
        reports: Vec<QualityReport>,
    ) -> Result<ReportOutcome, StoreError> {
        let (reply, mut answer) = oneshot::channel();
        let waiting = self.reports().clone();
        waiting.push(Waiting { call: call.clone(), user: user.clone(), reports, reply })?;
        // One visit to the pool per asker, and each writes what waits by then: most find nothing left to do.
        loop {
            let reports = waiting.clone();
            let visited = self.read(move |conn| record_waiting(conn, &reports)).await;
            if let Ok(outcome) = answer.try_recv() {
                return outcome;
            }
            visited?;
            // Another's visit may have taken the reports, not be done yet, and give them back in the end.
            match tokio::time::timeout(LOOK_AGAIN, &mut answer).await {
                Ok(outcome) => return outcome.unwrap_or(Err(StoreError::Unavailable { unknown_outcome: false })),
                Err(_) => continue,
            }
        }
    }

    /// What the participants of a call have reported, one entry for each who has, in the order of their ids. None of a
    /// call that the viewer may not see.
    pub async fn quality_of(&self, viewer: &Viewer, call: &CallId) -> Result<Vec<QualitySums>, StoreError> {
        let call = call.clone();
        let load = move |conn: &mut Conn| {
            let rows: Vec<Row> = with_conn!(conn, |c| sums(&call).load(c)?);
            Ok(rows.into_iter().map(QualitySums::from).collect())
        };
        self.read_as(viewer, load).await
    }

    /// How the database would carry out [`Store::quality_of`].
    pub async fn explain_quality(&self, viewer: &Viewer, call: &CallId) -> Result<Vec<String>, StoreError> {
        let call = call.clone();
        self.read_as(viewer, move |conn: &mut Conn| sums(&call).explain(conn)).await
    }
}
