//! The call as clients see it: the "Call object" of the protocol.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::{
    Call, CallId, CallMode, CallStatus, CallType, DeviceId, EndReason, Escalation, EscalationCause, GroupId, Opaque,
    Participant, ParticipantStatus, RecordingId, RecordingStatus, Role, Timestamp, UserId,
    call::CallRecording,
    recording::{FileFormat, Layout, Resolution},
};

/// A call.
//
// Borrows the call it shows.
#[derive(Serialize, ToSchema)]
#[schema(as = Call)]
#[serde(rename_all = "camelCase")]
pub struct CallObject<'a> {
    /// The call.
    call_id: &'a CallId,
    /// What the call is for.
    #[serde(rename = "type")]
    call_type: CallType,
    /// How media flows.
    mode: CallMode,
    /// Where the call stands.
    status: CallStatus,
    /// Why it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    end_reason: Option<EndReason>,
    /// Who ended it; missing if it was the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_by: Option<&'a UserId>,
    /// The group that the call is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    group_id: Option<&'a GroupId>,
    /// Who started it.
    initiator_id: &'a UserId,
    /// It began in a group, with several callees, or has grown past two.
    is_group: bool,
    /// The most people who may be in it at once.
    max_participants: u32,
    /// The move to the media server that is under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    escalating: Option<Escalating<'a>>,
    /// Who is not invited is refused.
    locked: bool,
    /// Who is not invited waits to be let in.
    lobby: bool,
    /// When it was started.
    created_at: Timestamp,
    /// When somebody was first rung.
    #[serde(skip_serializing_if = "Option::is_none")]
    ringing_at: Option<Timestamp>,
    /// When the second person came in: what the duration counts from.
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<Timestamp>,
    /// Until when somebody is rung.
    #[serde(skip_serializing_if = "Option::is_none")]
    ring_deadline: Option<Timestamp>,
    /// Seconds from `startedAt` to the end, or to now.
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_secs: Option<u64>,
    /// The most people who were in it at once.
    peak_participants: u32,
    /// The recording that runs, or the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    recording: Option<RecordingObject<'a>>,
    /// What the starter gave along: an object, at most 8 KiB.
    #[schema(value_type = Object)]
    metadata: Metadata<'a>,
    /// The number of the last event of the call.
    seq: u64,
    /// Everybody who has, or had, a part in it, in the order they came to it.
    participants: Vec<ParticipantObject<'a>>,
}

/// A move to the media server.
#[derive(Serialize, ToSchema)]
pub struct Escalating<'a> {
    /// Why the call moves.
    cause: EscalationCause,
    /// Who asked for it, or came as the third.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'a UserId>,
    /// Until when everybody in the call must be in the room.
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

/// A recording, as far as its call knows.
#[derive(Serialize, ToSchema)]
#[schema(as = RecordingOfCall)]
#[serde(rename_all = "camelCase")]
pub struct RecordingObject<'a> {
    /// The recording.
    recording_id: &'a RecordingId,
    /// Where it stands.
    status: RecordingStatus,
    /// Who wished for it.
    started_by: &'a UserId,
    /// When.
    created_at: Timestamp,
    /// How the picture is put together.
    layout: Layout,
    /// Its size.
    resolution: Resolution,
    /// There is no picture.
    audio_only: bool,
    /// What the file is.
    format: FileFormat,
    /// Days for which the file is kept once it is there.
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
#[derive(Serialize, ToSchema)]
#[schema(as = Participant)]
#[serde(rename_all = "camelCase")]
pub struct ParticipantObject<'a> {
    /// The user.
    user_id: &'a UserId,
    /// What they may do to others.
    role: Role,
    /// Where they stand.
    status: ParticipantStatus,
    /// Their device that is in the call; kept after leaving.
    #[serde(skip_serializing_if = "Option::is_none")]
    device_id: Option<&'a DeviceId>,
    /// They say that they send audio.
    audio: bool,
    /// They say that they send video.
    video: bool,
    /// They say that they share a screen.
    screen: bool,
    /// Their hand is up.
    hand_raised: bool,
    /// They have put the call on hold.
    held: bool,
    /// When they came to the call.
    invited_at: Timestamp,
    /// When their present or last stay began.
    #[serde(skip_serializing_if = "Option::is_none")]
    joined_at: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_at: Option<Timestamp>,
    /// Why they left.
    #[serde(skip_serializing_if = "Option::is_none")]
    leave_reason: Option<EndReason>,
    /// Seconds in the call, over all stays.
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
