//! The call as clients see it: the "Call object" of the protocol.

use serde::Serialize;

use crate::domain::{
    Call, CallId, CallMode, CallStatus, CallType, DeviceId, EndReason, Escalation, EscalationCause, GroupId, Opaque,
    Participant, ParticipantStatus, RecordingId, RecordingStatus, Role, Timestamp, UserId,
    call::CallRecording,
    recording::{FileFormat, Layout, Resolution},
};

/// The call object. Borrows the call it shows.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CallObject<'a> {
    call_id: &'a CallId,
    #[serde(rename = "type")]
    call_type: CallType,
    mode: CallMode,
    status: CallStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_reason: Option<EndReason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_by: Option<&'a UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group_id: Option<&'a GroupId>,
    initiator_id: &'a UserId,
    is_group: bool,
    max_participants: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    escalating: Option<Escalating<'a>>,
    locked: bool,
    lobby: bool,
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    ringing_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ring_deadline: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_secs: Option<u64>,
    peak_participants: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    recording: Option<RecordingObject<'a>>,
    metadata: Metadata<'a>,
    seq: u64,
    participants: Vec<ParticipantObject<'a>>,
}

/// The move to the media server that is under way.
#[derive(Serialize)]
pub(super) struct Escalating<'a> {
    cause: EscalationCause,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'a UserId>,
    deadline: Timestamp,
}

impl<'a> Escalating<'a> {
    pub(super) fn of(escalation: &'a Escalation) -> Self {
        Self { cause: escalation.cause, by: escalation.by.as_ref(), deadline: escalation.deadline }
    }
}

/// `{}` where the starter gave none.
struct Metadata<'a>(Option<&'a Opaque>);

impl Serialize for Metadata<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(metadata) => metadata.serialize(serializer),
            None => serializer.collect_map(std::iter::empty::<(&str, &str)>()),
        }
    }
}

/// The recording that runs, or the last, as far as the call knows.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordingObject<'a> {
    recording_id: &'a RecordingId,
    status: RecordingStatus,
    started_by: &'a UserId,
    created_at: Timestamp,
    layout: Layout,
    resolution: Resolution,
    audio_only: bool,
    format: FileFormat,
    retention_days: u32,
}

impl<'a> RecordingObject<'a> {
    /// The recording as the call knows it.
    pub fn of(recording: &'a CallRecording) -> Self {
        let options = &recording.options;
        Self {
            recording_id: &recording.id,
            status: recording.status,
            started_by: &recording.by,
            created_at: recording.since,
            layout: options.layout,
            resolution: options.resolution,
            audio_only: options.audio_only,
            format: options.format,
            retention_days: options.retention_days,
        }
    }
}

/// One participant of the call object.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ParticipantObject<'a> {
    user_id: &'a UserId,
    role: Role,
    status: ParticipantStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_id: Option<&'a DeviceId>,
    audio: bool,
    video: bool,
    screen: bool,
    hand_raised: bool,
    held: bool,
    invited_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    joined_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    left_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    leave_reason: Option<EndReason>,
    duration_secs: u64,
}

impl<'a> ParticipantObject<'a> {
    /// The participant as of `now`.
    pub fn new(p: &'a Participant, now: Timestamp) -> Self {
        Self {
            user_id: &p.user,
            role: p.role,
            status: p.status,
            device_id: p.device.as_ref(),
            audio: p.audio,
            video: p.video,
            screen: p.screen,
            hand_raised: p.hand_raised,
            held: p.held,
            invited_at: p.invited_at,
            joined_at: p.joined_at,
            left_at: p.left_at,
            leave_reason: p.leave_reason,
            duration_secs: p.duration(now).as_secs(),
        }
    }
}

impl<'a> CallObject<'a> {
    /// The call as of `now`.
    pub fn new(call: &'a Call, now: Timestamp) -> Self {
        Self {
            call_id: &call.id,
            call_type: call.call_type,
            mode: call.mode,
            status: call.status,
            end_reason: call.end.as_ref().map(|end| end.reason),
            ended_by: call.end.as_ref().and_then(|end| end.by.as_ref()),
            group_id: call.group.as_ref(),
            initiator_id: &call.initiator,
            is_group: call.is_group,
            max_participants: call.max_participants,
            escalating: call.escalation.as_ref().map(Escalating::of),
            locked: call.locked,
            lobby: call.lobby,
            created_at: call.created_at,
            ringing_at: call.ringing_at,
            started_at: call.started_at,
            ended_at: call.end.as_ref().map(|end| end.at),
            ring_deadline: call.ring_deadline(),
            duration_secs: call.started_at.map(|_| call.duration(now).as_secs()),
            peak_participants: call.peak_participants,
            recording: call.recording.as_ref().map(RecordingObject::of),
            metadata: Metadata(call.metadata.as_ref()),
            seq: call.seq,
            participants: call.participants.iter().map(|p| ParticipantObject::new(p, now)).collect(),
        }
    }
}
