//! The recording of a call, as the call knows it: who may start and stop it, one at a time, and that everybody hears.
//!
//! Decides about the wish alone. Whether LiveKit records, and what becomes of the file, is [`crate::domain::recording`]'s;
//! the call is told, and shows it. A recording ends with its call.

use super::{Call, CallMode, CallType, EscalationCause, decide::Decision, escalation};
use crate::domain::{
    Event, Participant, RecordingId, RecordingStatus, Rejection, Role, Rules, Timestamp, UserId,
    recording::{FileFormat, Layout, RETENTION_DAYS, RecordingOptions, RecordingWish, Resolution},
};

/// The most recordings of one call. More, and every one who comes in writes that many rows; fewer, and a day of short
/// takes would not fit.
pub const MAX_RECORDINGS: usize = 100;

/// The recording of a call that runs, or the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallRecording {
    pub id: RecordingId,
    pub status: RecordingStatus,
    pub by: UserId,
    pub options: RecordingOptions,
    pub since: Timestamp,
}

/// A recording that was begun in a call, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Take {
    pub id: RecordingId,
    pub since: Timestamp,
}

impl Call {
    /// The one that runs.
    pub fn running_recording(&self) -> Option<&CallRecording> {
        self.recording.as_ref().filter(|recording| recording.status.is_running())
    }

    pub(super) fn on_recording(&mut self, id: &RecordingId, status: RecordingStatus) {
        if let Some(recording) = self.recording.as_mut().filter(|recording| recording.id == *id) {
            recording.status = status;
        }
    }
}

fn may_record(me: &Participant) -> Result<(), Rejection> {
    if me.role == Role::Participant { Err(Rejection::Forbidden) } else { Ok(()) }
}

/// A call without a picture is recorded without one, unless somebody wishes for it.
fn options(call: &Call, rules: &Rules, wish: &RecordingWish) -> Result<RecordingOptions, Rejection> {
    let options = RecordingOptions {
        layout: wish.layout.unwrap_or(Layout::Grid),
        resolution: wish.resolution.unwrap_or(Resolution::P1080),
        audio_only: wish
            .audio_only
            .unwrap_or(call.call_type == CallType::Audio || wish.format == Some(FileFormat::Ogg)),
        format: wish.format.unwrap_or(FileFormat::Mp4),
        retention_days: wish.retention_days.unwrap_or(rules.retention_days),
    };
    if options.format == FileFormat::Ogg && !options.audio_only {
        return Err(Rejection::Invalid("format ogg holds no picture: set audioOnly, or take mp4"));
    }
    if !RETENTION_DAYS.contains(&options.retention_days) {
        return Err(Rejection::Invalid("retentionDays must be between 1 and 3650"));
    }
    Ok(options)
}

pub(super) fn start(
    call: &Call,
    now: Timestamp,
    rules: &Rules,
    me: &Participant,
    id: &RecordingId,
    wish: &RecordingWish,
) -> Decision {
    may_record(me)?;
    let options = options(call, rules, wish)?;
    if let Some(running) = call.running_recording() {
        // Asked again by who asked for it: it runs.
        let same = running.by == me.user && running.options == options;
        return if same { Ok(vec![]) } else { Err(Rejection::WrongState("it is being recorded already")) };
    }
    if !rules.recordings {
        let why = "no media server is configured, or no store for recordings";
        return Err(Rejection::MediaUnavailable(why));
    }
    if call.started_at.is_none() {
        return Err(Rejection::WrongState("nobody else has come into it yet"));
    }
    if call.recordings.len() >= MAX_RECORDINGS {
        return Err(Rejection::WrongState("it has been recorded too often"));
    }
    let mut events = vec![Event::RecordingStarted { recording: id.clone(), options, by: me.user.clone() }];
    // What is recorded is the room: a call that is not there moves first.
    escalation::begin(call, now, rules, EscalationCause::Recording, Some(&me.user), &mut events)?;
    Ok(events)
}

/// What follows by itself from these events, which led to `after`: a call that could not be moved to the media server is
/// not recorded.
pub(super) fn follow_up(after: &Call, events: &[Event]) -> Option<Event> {
    let given_up = events.iter().any(|event| matches!(event, Event::EscalationAborted { .. }));
    let running = after.running_recording().filter(|_| given_up && after.mode == CallMode::P2p)?;
    let reason = Some("the call could not be moved to the media server".to_owned());
    Some(Event::RecordingStopped { recording: running.id.clone(), by: None, reason })
}

pub(super) fn stop(call: &Call, me: &Participant) -> Decision {
    may_record(me)?;
    match (&call.recording, call.running_recording()) {
        (_, Some(running)) => {
            let by = Some(me.user.clone());
            Ok(vec![Event::RecordingStopped { recording: running.id.clone(), by, reason: None }])
        }
        // Stopped already.
        (Some(_), None) => Ok(vec![]),
        (None, None) => Err(Rejection::WrongState("it is not being recorded")),
    }
}

/// The end of the call has stopped it.
pub(super) fn stopped_with_the_call(call: &Call) -> Decision {
    if call.recording.is_some() { Ok(vec![]) } else { Err(Rejection::AlreadyEnded) }
}

/// What LiveKit or the files have said. What the call has left behind is no news: a stop is not undone by "it records".
pub(super) fn changed(call: &Call, id: &RecordingId, status: RecordingStatus, reason: Option<&String>) -> Vec<Event> {
    let news = call.recording.as_ref().is_some_and(|r| r.id == *id && rank(r.status) < rank(status));
    let event = || Event::RecordingChanged { recording: id.clone(), status, reason: reason.cloned() };
    if news { vec![event()] } else { vec![] }
}

/// A recording goes one way.
const fn rank(status: RecordingStatus) -> u8 {
    match status {
        RecordingStatus::Starting => 0,
        RecordingStatus::Recording => 1,
        RecordingStatus::Processing => 2,
        RecordingStatus::Ready | RecordingStatus::Failed => 3,
        RecordingStatus::Expired | RecordingStatus::Deleted => 4,
    }
}
