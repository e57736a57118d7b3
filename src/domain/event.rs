//! What has happened to a call. Events are the truth: state is folded from them, rows and frames derive from them.

use serde::{Deserialize, Serialize};

use super::{
    AbortReason, CallMode, CallStatus, CallType, DeviceId, EndReason, EscalationCause, GroupId, Opaque, RecordingId,
    RecordingStatus, Role, Timestamp, UserId, command::Track, opaque, recording::RecordingOptions,
};

/// One fact. Stored as JSON under its snake-case name; fields may be added, never renamed or given another meaning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    Created(Box<Created>),
    /// A device of a callee alerts.
    Ringing {
        user: UserId,
        device: DeviceId,
    },
    /// The callee has no device connected to any node. They go on being rung: one may come.
    Unreachable {
        user: UserId,
    },
    Accepted {
        user: UserId,
        device: DeviceId,
        #[serde(default, deserialize_with = "opaque::present", skip_serializing_if = "Option::is_none")]
        answer: Option<Opaque>,
        /// Until when a sign of media is waited for.
        deadline: Timestamp,
    },
    Declined {
        user: UserId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        device: Option<DeviceId>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    Busy {
        user: UserId,
        /// The device that said so; `None` when the server knew.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        device: Option<DeviceId>,
    },
    /// The ring ran out.
    Missed {
        user: UserId,
    },
    Invited {
        user: UserId,
        by: UserId,
        ring_deadline: Timestamp,
        /// To take the place of `by`.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        transfer: bool,
        /// No member of the call's group.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        guest: bool,
    },
    /// Came in without being rung, or came back after leaving.
    Joined {
        user: UserId,
        device: DeviceId,
        deadline: Timestamp,
    },
    /// The user goes on at another of their devices.
    Moved {
        user: UserId,
        device: DeviceId,
    },
    /// Media of these participants works, or is taken to.
    Connected {
        users: Vec<UserId>,
    },
    MediaChanged {
        user: UserId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        audio: Option<bool>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        video: Option<bool>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        screen: Option<bool>,
    },
    Reconnecting {
        user: UserId,
        deadline: Timestamp,
    },
    Reconnected {
        user: UserId,
        device: DeviceId,
        /// A new wait for media, when the connection was lost before there was any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        deadline: Option<Timestamp>,
    },
    Left {
        user: UserId,
        reason: EndReason,
    },
    RoleChanged {
        user: UserId,
        role: Role,
        /// `None`: the host has left, and somebody must be.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<UserId>,
    },
    Kicked {
        user: UserId,
        by: UserId,
    },
    MuteRequested {
        users: Vec<UserId>,
        track: Track,
        by: UserId,
    },
    LockChanged {
        locked: bool,
        lobby: bool,
        by: UserId,
    },
    /// Waits to be let in.
    LobbyWaiting {
        user: UserId,
        device: DeviceId,
    },
    /// Is let in; [`Event::Joined`] follows.
    Admitted {
        user: UserId,
        by: UserId,
    },
    Denied {
        user: UserId,
        by: UserId,
    },
    HandRaised {
        user: UserId,
        raised: bool,
    },
    Held {
        user: UserId,
    },
    Resumed {
        user: UserId,
    },
    /// `to` has taken the place of `by`.
    Transferred {
        by: UserId,
        to: UserId,
    },
    /// The call is to be recorded: everybody hears of it before the media server is asked.
    RecordingStarted {
        recording: RecordingId,
        options: RecordingOptions,
        by: UserId,
    },
    /// It is to stop.
    RecordingStopped {
        recording: RecordingId,
        /// `None`: the server.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<UserId>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// It has come so far.
    RecordingChanged {
        recording: RecordingId,
        status: RecordingStatus,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The call begins to move to the media server; peer connections stay until [`Event::Escalated`].
    Escalating {
        cause: EscalationCause,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<UserId>,
        /// Until when everybody in the call must be in the room.
        deadline: Timestamp,
    },
    /// The room for the move is there: everybody in the call is asked in.
    RoomOpened {},
    /// The media server has seen the user in the room, while that mattered.
    RoomJoined {
        user: UserId,
    },
    /// The user, seen there before, is not now.
    RoomLeft {
        user: UserId,
    },
    /// The call is on the media server.
    Escalated {},
    /// It stays peer to peer.
    EscalationAborted {
        reason: AbortReason,
        /// The next attempt does not begin before.
        not_before: Timestamp,
    },
    Cancelled {
        by: UserId,
    },
    /// Always the last.
    Ended {
        status: CallStatus,
        reason: EndReason,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<UserId>,
    },
}

/// The opening of a call; always the first event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Created {
    pub call_type: CallType,
    pub mode: CallMode,
    /// Peer to peer until it outgrows two.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub escalates: bool,
    pub initiator: UserId,
    /// As their token named them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initiator_name: Option<String>,
    pub device: DeviceId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupId>,
    /// Whom it rings; empty for a group call opened without ringing.
    pub callees: Vec<UserId>,
    /// Until when they are rung.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ring_deadline: Option<Timestamp>,
    pub max_participants: u32,
    #[serde(default, deserialize_with = "opaque::present", skip_serializing_if = "Option::is_none")]
    pub offer: Option<Opaque>,
    #[serde(default, deserialize_with = "opaque::present", skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Opaque>,
}

impl Event {
    /// Its name in the database and in logs.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Created(_) => "created",
            Self::Ringing { .. } => "ringing",
            Self::Unreachable { .. } => "unreachable",
            Self::Accepted { .. } => "accepted",
            Self::Declined { .. } => "declined",
            Self::Busy { .. } => "busy",
            Self::Missed { .. } => "missed",
            Self::Invited { .. } => "invited",
            Self::Joined { .. } => "joined",
            Self::Moved { .. } => "moved",
            Self::Connected { .. } => "connected",
            Self::MediaChanged { .. } => "media_changed",
            Self::Reconnecting { .. } => "reconnecting",
            Self::Reconnected { .. } => "reconnected",
            Self::Left { .. } => "left",
            Self::RoleChanged { .. } => "role_changed",
            Self::Kicked { .. } => "kicked",
            Self::MuteRequested { .. } => "mute_requested",
            Self::LockChanged { .. } => "lock_changed",
            Self::LobbyWaiting { .. } => "lobby_waiting",
            Self::Admitted { .. } => "admitted",
            Self::Denied { .. } => "denied",
            Self::HandRaised { .. } => "hand_raised",
            Self::Held { .. } => "held",
            Self::Resumed { .. } => "resumed",
            Self::Transferred { .. } => "transferred",
            Self::RecordingStarted { .. } => "recording_started",
            Self::RecordingStopped { .. } => "recording_stopped",
            Self::RecordingChanged { .. } => "recording_changed",
            Self::Escalating { .. } => "escalating",
            Self::RoomOpened {} => "room_opened",
            Self::RoomJoined { .. } => "room_joined",
            Self::RoomLeft { .. } => "room_left",
            Self::Escalated {} => "escalated",
            Self::EscalationAborted { .. } => "escalation_aborted",
            Self::Cancelled { .. } => "cancelled",
            Self::Ended { .. } => "ended",
        }
    }

    /// The user it happened to, where it is about one.
    pub fn subject(&self) -> Option<&UserId> {
        match self {
            Self::Created(created) => Some(&created.initiator),
            Self::Ringing { user, .. }
            | Self::Unreachable { user }
            | Self::Accepted { user, .. }
            | Self::Declined { user, .. }
            | Self::Busy { user, .. }
            | Self::Missed { user }
            | Self::Invited { user, .. }
            | Self::Joined { user, .. }
            | Self::Moved { user, .. }
            | Self::MediaChanged { user, .. }
            | Self::Reconnecting { user, .. }
            | Self::Reconnected { user, .. }
            | Self::Left { user, .. }
            | Self::RoleChanged { user, .. }
            | Self::Kicked { user, .. }
            | Self::LobbyWaiting { user, .. }
            | Self::Admitted { user, .. }
            | Self::Denied { user, .. }
            | Self::HandRaised { user, .. }
            | Self::Held { user }
            | Self::Resumed { user }
            | Self::RoomJoined { user }
            | Self::RoomLeft { user } => Some(user),
            Self::Escalating { by, .. } => by.as_ref(),
            Self::Cancelled { by } | Self::Transferred { by, .. } => Some(by),
            Self::Connected { .. }
            | Self::MuteRequested { .. }
            | Self::LockChanged { .. }
            | Self::RecordingStarted { .. }
            | Self::RecordingStopped { .. }
            | Self::RecordingChanged { .. }
            | Self::RoomOpened {}
            | Self::Escalated {}
            | Self::EscalationAborted { .. }
            | Self::Ended { .. } => None,
        }
    }
}

/// An event with its place in the call's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Counts the call's events from 1, without holes.
    pub seq: u64,
    pub at: Timestamp,
    pub event: Event,
}
