//! A recording: what may become of it, from the wish to record to the day its file is gone.
//!
//! Pure: what LiveKit, the files and people say comes as a [`Fact`], in any order and more than once; [`Recording::learn`]
//! says what the recording is after it, [`Recording::next`] what is to be done about it now. Whoever does it may die in
//! the middle, so every step is one that can be taken again. The end states stay: nothing leads out of `failed`,
//! `expired` and `deleted`.
//!
//! ```text
//! starting ──> recording ──> processing ──> ready ──> expired
//!     │            │             │            │
//!     └────────────┴─────────────┴──> failed  └──> deleted      (failed may be deleted too)
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, schema::Type},
};

use super::{CallId, RecordingId, Timestamp, UserId, call::wire_names};

wire_names!(
    /// Where a recording stands.
    RecordingStatus {
        /// Wished for; LiveKit's egress does not run yet, as far as is known.
        Starting = "starting",
        Recording = "recording",
        /// It has been stopped; its file is on the way.
        Processing = "processing",
        /// Its file is there.
        Ready = "ready",
        Failed = "failed",
        /// Its time is over and its file is gone.
        Expired = "expired",
        /// Taken away by somebody; its file goes with the next sweep.
        Deleted = "deleted",
    }
);
wire_names!(
    /// How the picture is put together.
    Layout { Grid = "grid", Speaker = "speaker", Single = "single" }
);
wire_names!(
    /// Its size.
    Resolution { P720 = "720p", P1080 = "1080p", Uhd = "4k" }
);
wire_names!(
    /// What the file is: H.264 and AAC in MP4, or Opus in Ogg, which holds no picture.
    FileFormat { Mp4 = "mp4", Ogg = "ogg" }
);

/// How a call is to be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingOptions {
    pub layout: Layout,
    pub resolution: Resolution,
    pub audio_only: bool,
    pub format: FileFormat,
    /// Days for which the file is kept once it is there; see [`RETENTION_DAYS`].
    pub retention_days: u32,
}

/// What somebody wishes for; what they leave open is the call's or the settings' to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RecordingWish {
    pub layout: Option<Layout>,
    pub resolution: Option<Resolution>,
    pub audio_only: Option<bool>,
    pub format: Option<FileFormat>,
    pub retention_days: Option<u32>,
}

/// How long a file may be kept, in days. Less than a day, and the sweeper's pace would show; more than ten years is what
/// a legal hold is for.
pub const RETENTION_DAYS: std::ops::RangeInclusive<u32> = 1..=3650;
/// How often egress is asked for. More, and a server that fails each time is asked for long; one alone, and a short
/// outage costs a recording.
pub const MAX_ATTEMPTS: u32 = 3;
/// How long an attempt at starting egress may be under way: longer than the request's own timeout and LiveKit's, so that
/// what it led to can be seen in a list when it is over. Shorter, and a second egress might be started beside one that
/// comes late.
pub const START_PATIENCE: Duration = Duration::from_secs(45);
/// How long egress may take from being accepted to recording: it starts a browser. Longer, and people think for so long
/// that they are recorded.
pub const STARTING_PATIENCE: Duration = Duration::from_secs(120);
/// How long after its end a recording's file may take to be seen. Shorter, and an upload of hours of 4k is given up.
pub const FILE_PATIENCE: Duration = Duration::from_secs(600);
/// How long an egress may take to come to its end once it is to. Shorter, and a long upload is cut off; longer, and one
/// that hangs is waited for.
pub const ENDING_PATIENCE: Duration = Duration::from_secs(3600);
/// How long after it was started an egress that LiveKit does not list may still be on its way into the list.
pub const LIST_PATIENCE: Duration = Duration::from_secs(30);

/// One recording. Everything but `told` is shown to nobody in logs but ids and words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    pub id: RecordingId,
    pub call: CallId,
    /// Who wished for it.
    pub by: UserId,
    pub created_at: Timestamp,
    pub options: RecordingOptions,
    /// Counts its changes: what was read is written only over itself.
    pub version: u64,
    pub status: RecordingStatus,
    /// How often egress was asked for, and when last.
    pub attempts: u32,
    pub attempt_at: Option<Timestamp>,
    /// LiveKit's id of the egress that records it.
    pub egress: Option<String>,
    /// Since when it is to stop: somebody said so, or its call is over.
    pub stop_at: Option<Timestamp>,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    /// Where egress was told to put it, within the store of files.
    pub file: Option<String>,
    pub bytes: Option<u64>,
    pub duration: Option<Duration>,
    /// Why it failed.
    pub reason: Option<String>,
    pub expires_at: Option<Timestamp>,
    /// While it is set, its file is neither deleted nor does its time run out.
    pub legal_hold: bool,
    /// Since when anybody with the link may fetch it.
    pub public_since: Option<Timestamp>,
    /// The hash of the link's password.
    pub password: Option<PasswordHash>,
    /// Since when a sweeper is deleting its file; from then on nothing else may change it.
    pub purge_since: Option<Timestamp>,
    pub purge_failures: u32,
    pub deleted_at: Option<Timestamp>,
    /// When its file was deleted.
    pub file_gone_at: Option<Timestamp>,
    /// The call, or its people when that is over, have been told where it stands.
    pub told: bool,
}

/// The hash of a password, in the format of PHC. It is no secret by itself, but nothing that a log should hold.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(pub String);

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[password hash]")
    }
}

/// What is said of a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// Egress is about to be asked for, with this file.
    Attempt { file: String },
    /// LiveKit will not record.
    Refused(String),
    /// LiveKit speaks of an egress that records it.
    Egress(EgressReport),
    /// LiveKit was asked, and knows no egress of it.
    NoEgress,
    /// LiveKit has been told to stop it.
    Stopping,
    /// Its file was looked for, and is there with so many bytes, or is not.
    File(Option<u64>),
    /// The call is over, or will not be on the media server: there is nothing to record.
    NothingToRecord(&'static str),
}

/// What LiveKit says of an egress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressReport {
    pub id: String,
    pub state: EgressState,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub duration: Option<Duration>,
    /// Where it puts the file, as it was told.
    pub file: Option<String>,
}

/// How far an egress is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EgressState {
    Starting,
    Active,
    Ending,
    /// The file is written, also when a limit of LiveKit's cut it short.
    Complete,
    /// With LiveKit's words.
    Failed(String),
}

impl EgressState {
    /// It still runs.
    pub const fn is_running(&self) -> bool {
        matches!(self, Self::Starting | Self::Active | Self::Ending)
    }
}

/// How the call of a recording stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallStands {
    pub open: bool,
    /// It is on the media server. If not, it is on its way, or the wish has been taken back.
    pub on_server: bool,
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing, until something is learned or time passes.
    Wait,
    /// Ask LiveKit for an egress. `settle`: an attempt was made before, so look first what came of it.
    Begin { settle: bool },
    /// Look what came of the attempts: none is to be made any more.
    Settle,
    /// Tell LiveKit to stop it.
    Stop,
    /// Ask LiveKit how its egress stands.
    Ask,
    /// Look whether its file is there.
    LookForFile,
    /// There is nothing to record, and nothing was begun.
    GiveUp(&'static str),
}

impl RecordingStatus {
    /// It holds the call's one place.
    pub const fn is_running(self) -> bool {
        matches!(self, Self::Starting | Self::Recording)
    }

    /// Nothing more comes from LiveKit.
    pub const fn is_settled(self) -> bool {
        !matches!(self, Self::Starting | Self::Recording | Self::Processing)
    }
}

/// Reasons that people read.
pub const STOPPED_BEFORE: &str = "it was stopped before it began";
pub const CALL_OVER: &str = "the call ended before it began";
pub const NOT_ON_SERVER: &str = "it was stopped, or given up, before the call was on the media server";
const NEVER_STARTED: &str = "the media server did not start it";
const EGRESS_GONE: &str = "the media server knows nothing of it any more";
const FILE_MISSING: &str = "its file was not found";

impl Recording {
    /// What it is when somebody wishes for it.
    pub fn new(id: RecordingId, call: CallId, by: UserId, options: RecordingOptions, at: Timestamp) -> Self {
        Self {
            id,
            call,
            by,
            created_at: at,
            options,
            version: 1,
            status: RecordingStatus::Starting,
            attempts: 0,
            attempt_at: None,
            egress: None,
            stop_at: None,
            started_at: None,
            ended_at: None,
            file: None,
            bytes: None,
            duration: None,
            reason: None,
            expires_at: None,
            legal_hold: false,
            public_since: None,
            password: None,
            purge_since: None,
            purge_failures: 0,
            deleted_at: None,
            file_gone_at: None,
            // The event that wished for it has told of it.
            told: true,
        }
    }

    /// What it is after a fact; `None`: the same, so the fact was known or has been overtaken.
    pub fn learn(&self, now: Timestamp, fact: &Fact) -> Option<Self> {
        if self.status.is_settled() {
            return None;
        }
        let mut next = self.clone();
        match fact {
            Fact::Attempt { file } => {
                next.attempts += 1;
                next.attempt_at = Some(now);
                next.file = Some(file.clone());
            }
            Fact::Refused(why) if self.egress.is_none() => next.fail(now, why),
            Fact::NothingToRecord(why) if self.egress.is_none() && self.attempts == 0 => next.fail(now, why),
            Fact::Egress(report) => next.hear(now, report),
            Fact::NoEgress => next.miss_egress(now),
            Fact::Stopping if self.status.is_running() && self.egress.is_some() => {
                next.stop_at.get_or_insert(now);
                next.status = RecordingStatus::Processing;
            }
            Fact::File(Some(bytes)) if self.status == RecordingStatus::Processing && self.ended_at.is_some() => {
                next.bytes = Some(*bytes);
                next.status = RecordingStatus::Ready;
                next.expires_at = Some(next.expiry(now));
            }
            Fact::File(None) if self.ended_at.is_some_and(|ended| ended + FILE_PATIENCE <= now) => {
                next.fail(now, FILE_MISSING);
            }
            _ => {}
        }
        next.told = self.told && next.status == self.status;
        (next != *self).then_some(next)
    }

    fn fail(&mut self, now: Timestamp, why: &str) {
        self.status = RecordingStatus::Failed;
        self.reason = Some(why.chars().take(MAX_REASON_CHARS).collect());
        self.ended_at.get_or_insert(now);
        // What an egress that failed has left of a file goes as others do.
        self.expires_at = Some(self.expiry(now));
    }

    /// When its time is over, if it is kept from `since` on.
    fn expiry(&self, since: Timestamp) -> Timestamp {
        since + Duration::from_secs(u64::from(self.options.retention_days) * DAY_SECS)
    }

    fn hear(&mut self, now: Timestamp, report: &EgressReport) {
        match &self.egress {
            // Another one, which is too many: whoever hears of it stops it.
            Some(known) if *known != report.id => return,
            Some(_) => {}
            None => self.egress = Some(report.id.clone()),
        }
        if self.started_at.is_none() {
            self.started_at = report.started_at;
        }
        if report.file.is_some() {
            self.file.clone_from(&report.file);
        }
        match &report.state {
            EgressState::Starting => {}
            EgressState::Active => {
                self.started_at.get_or_insert(now);
                if self.status == RecordingStatus::Starting {
                    self.status = RecordingStatus::Recording;
                }
            }
            EgressState::Ending => {
                self.status = RecordingStatus::Processing;
                let since = *self.stop_at.get_or_insert(now);
                if since + ENDING_PATIENCE <= now {
                    // It does not come to its end: the file says what there is.
                    self.ended_at.get_or_insert(now);
                }
            }
            EgressState::Complete => {
                self.status = RecordingStatus::Processing;
                self.ended_at = self.ended_at.or(report.ended_at).or(Some(now));
                self.duration = report.duration.or(self.duration);
            }
            EgressState::Failed(why) => {
                self.ended_at = report.ended_at;
                self.fail(now, why);
            }
        }
    }

    fn miss_egress(&mut self, now: Timestamp) {
        let tried = self.attempt_at.unwrap_or(self.created_at);
        match (&self.egress, self.status) {
            // It may have come to its end, and been forgotten before we heard: the file says.
            (Some(_), RecordingStatus::Processing) if self.ended_at.is_none() => self.ended_at = Some(now),
            (Some(_), RecordingStatus::Starting | RecordingStatus::Recording) if tried + LIST_PATIENCE <= now => {
                self.fail(now, EGRESS_GONE);
            }
            (None, _) if self.attempts > 0 && tried + START_PATIENCE <= now => {
                if self.stop_at.is_some() {
                    self.fail(now, STOPPED_BEFORE);
                } else if self.attempts >= MAX_ATTEMPTS {
                    self.fail(now, NEVER_STARTED);
                }
            }
            _ => {}
        }
    }

    /// What is to be done about it now.
    pub fn next(&self, now: Timestamp, call: CallStands) -> Step {
        let unwanted = self.stop_at.is_some() || !call.open;
        if self.status.is_settled() {
            return Step::Wait;
        }
        if self.egress.is_some() {
            return match self.status {
                RecordingStatus::Processing if self.ended_at.is_some() => Step::LookForFile,
                RecordingStatus::Starting | RecordingStatus::Recording if unwanted => Step::Stop,
                RecordingStatus::Starting if self.is_slow(now) => Step::Stop,
                _ => Step::Ask,
            };
        }
        let under_way = self.attempt_at.is_some_and(|at| now < at + START_PATIENCE);
        match (self.attempts, unwanted) {
            _ if under_way => Step::Wait,
            (0, true) if !call.open => Step::GiveUp(CALL_OVER),
            (0, true) if call.on_server => Step::GiveUp(STOPPED_BEFORE),
            (0, true) => Step::GiveUp(NOT_ON_SERVER),
            (0, false) if call.on_server => Step::Begin { settle: false },
            (0, false) => Step::Wait,
            (_, true) => Step::Settle,
            (MAX_ATTEMPTS.., false) => Step::Settle,
            (_, false) => Step::Begin { settle: true },
        }
    }

    /// Egress has been accepted, and does not get to recording.
    fn is_slow(&self, now: Timestamp) -> bool {
        self.attempt_at.is_some_and(|at| at + STARTING_PATIENCE <= now)
    }

    /// Whether its file may be fetched: it is there, and its time is not over.
    pub fn is_fetchable(&self, now: Timestamp) -> bool {
        self.status == RecordingStatus::Ready && self.purge_since.is_none() && !self.is_past(now)
    }

    /// Its time is over.
    pub fn is_past(&self, now: Timestamp) -> bool {
        !self.legal_hold && self.expires_at.is_some_and(|at| at <= now)
    }

    /// It may be changed by people: nobody deletes its file.
    pub fn is_changeable(&self) -> bool {
        self.purge_since.is_none() && !matches!(self.status, RecordingStatus::Expired | RecordingStatus::Deleted)
    }

    /// Kept for so many days, from when its file was there, or from its beginning if it is not yet.
    pub fn retain(&mut self, days: u32) {
        let before = Duration::from_secs(u64::from(self.options.retention_days) * DAY_SECS);
        let since = self.expires_at.map(|at| Timestamp::from_millis(at.as_millis() - millis(before)));
        self.options.retention_days = days;
        self.expires_at = since.map(|since| self.expiry(since));
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

const DAY_SECS: u64 = 24 * 60 * 60;
/// The longest reason that is kept: LiveKit's words may be a stack trace.
const MAX_REASON_CHARS: usize = 200;

#[cfg(test)]
mod tests;
