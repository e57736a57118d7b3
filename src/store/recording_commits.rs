//! What a call's commit writes of its recordings: those that begin, those that are to stop, and who may see them.
//!
//! Owns what becomes of a recording in the transaction of its call's event; from then on it is [`super::recordings`]'s.

use diesel::prelude::*;

use super::{
    models::count,
    schema::{recording_parts, recordings},
    types::StoredTime,
};
use crate::domain::{
    Call, CallId, Event, Participant, Recorded, RecordingId, RecordingStatus, Timestamp, UserId,
    recording::RecordingOptions,
};

/// What a commit of a call writes of its recordings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct CallRecordings {
    pub begun: Vec<Begun>,
    pub stopped: Vec<(RecordingId, Timestamp)>,
    pub parts: Vec<Part>,
}

/// A recording that begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Begun {
    pub id: RecordingId,
    pub by: UserId,
    pub at: Timestamp,
    pub options: RecordingOptions,
}

/// Somebody who may see a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub user: UserId,
    pub recording: RecordingId,
    /// When the recording was begun: with it stands in the list.
    pub created_at: Timestamp,
}

/// Took the call up at some time: who was only rung has no part in what was said.
fn was_in(p: &Participant) -> bool {
    p.joined_at.is_some() || !p.earlier_stays.is_zero()
}

impl CallRecordings {
    /// What `events`, which lead from `before` to `after`, mean for recordings.
    pub(super) fn of(before: Option<&Call>, after: &Call, events: &[Recorded]) -> Self {
        let mut these = Self::default();
        if after.recordings.is_empty() {
            return these;
        }
        let running = before.and_then(Call::running_recording).map(|recording| recording.id.clone());
        let mut running = running;
        for Recorded { at, event, .. } in events {
            match event {
                Event::RecordingStarted { recording, options, by } => {
                    let begun = Begun { id: recording.clone(), by: by.clone(), at: *at, options: *options };
                    these.begun.push(begun);
                    running = Some(recording.clone());
                }
                Event::RecordingStopped { recording, .. } => these.stopped.push((recording.clone(), *at)),
                Event::Ended { .. } => these.stopped.extend(running.take().map(|recording| (recording, *at))),
                _ => {}
            }
        }
        these.parts = parts(before, after, &these.begun);
        these
    }

    /// How many rows.
    pub(super) fn rows(&self) -> usize {
        self.begun.len() + self.stopped.len() + self.parts.len()
    }
}

/// Of a recording that begins everybody who has been in the call; of those before it, who has come since.
fn parts(before: Option<&Call>, after: &Call, begun: &[Begun]) -> Vec<Part> {
    let came = |p: &&Participant| was_in(p) && !before.and_then(|call| call.participant(&p.user)).is_some_and(was_in);
    let newcomers: Vec<&Participant> = after.participants.iter().filter(came).collect();
    let mut parts = Vec::new();
    for recording in &after.recordings {
        let new = begun.iter().find(|begun| begun.id == recording.id);
        let part = |p: &Participant| Part {
            user: p.user.clone(),
            recording: recording.id.clone(),
            created_at: recording.since,
        };
        match new {
            Some(_) => parts.extend(after.participants.iter().filter(|p| was_in(p)).map(part)),
            None => parts.extend(newcomers.iter().map(|p| part(p))),
        }
    }
    parts
}

/// A recording as it is begun.
#[derive(Insertable)]
#[diesel(table_name = recordings, treat_none_as_default_value = false)]
pub(super) struct RecordingRow<'a> {
    id: &'a str,
    call_id: &'a str,
    created_by: &'a str,
    created_at: StoredTime,
    layout: &'a str,
    resolution: &'a str,
    audio_only: bool,
    format: &'a str,
    retention_days: i32,
    version: i64,
    status: &'a str,
    attempts: i32,
    legal_hold: bool,
    purge_failures: i32,
    told: bool,
}

impl<'a> RecordingRow<'a> {
    pub fn begun(call: &'a CallId, begun: &'a Begun) -> Self {
        Self {
            id: begun.id.as_str(),
            call_id: call.as_str(),
            created_by: begun.by.as_str(),
            created_at: StoredTime(begun.at),
            layout: begun.options.layout.as_str(),
            resolution: begun.options.resolution.as_str(),
            audio_only: begun.options.audio_only,
            format: begun.options.format.as_str(),
            retention_days: count(begun.options.retention_days),
            version: 1,
            status: RecordingStatus::Starting.as_str(),
            attempts: 0,
            legal_hold: false,
            purge_failures: 0,
            told: true,
        }
    }
}

#[derive(Insertable)]
#[diesel(table_name = recording_parts, treat_none_as_default_value = false)]
pub(super) struct PartRow<'a> {
    user_id: &'a str,
    created_at: StoredTime,
    recording_id: &'a str,
}

impl<'a> PartRow<'a> {
    pub fn of(part: &'a Part) -> Self {
        Self {
            user_id: part.user.as_str(),
            created_at: StoredTime(part.created_at),
            recording_id: part.recording.as_str(),
        }
    }
}
