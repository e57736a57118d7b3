//! What may be asked of a call, by whom, and the settings that the rules depend on.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    CallId, CallMode, CallType, DeviceId, EndReason, GroupId, Opaque, RecordingId, RecordingStatus, Role, UserId,
    recording::RecordingWish,
};

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    /// A user, at one of their devices. `membership`: in the call's group, as the store said just now; who was not looked
    /// up counts as outside.
    User { user: UserId, device: DeviceId, membership: Membership },
    /// The server itself: timers, and what it learned of connections.
    System,
}

/// How somebody belongs to the call's group. In the order of what it allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Membership {
    #[default]
    Outside,
    Member,
    /// May moderate the group's calls, whatever their role there.
    Admin,
}

/// The opening of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    pub call: CallId,
    pub call_type: CallType,
    pub mode: CallMode,
    /// A peer-to-peer call moves to the media server when it outgrows two.
    pub escalates: bool,
    pub initiator: UserId,
    /// As their token names them.
    pub initiator_name: Option<String>,
    pub device: DeviceId,
    pub group: Option<GroupId>,
    /// Whom to ring; without duplicates and without the initiator.
    pub callees: Vec<UserId>,
    /// How long to ring them, above zero and at most [`MAX_RING_TIMEOUT`]; `None`: [`Rules::ring_timeout`].
    pub ring_timeout: Option<Duration>,
    pub offer: Option<Opaque>,
    pub metadata: Option<Opaque>,
}

/// One kind of media that a participant sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Track {
    Audio,
    Video,
    Screen,
}

/// What may be asked of a call that exists. Travels between nodes as JSON: fields may be added, none renamed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// A device of a rung callee alerts.
    Ringing,
    Accept {
        answer: Option<Opaque>,
    },
    Decline {
        reason: Option<String>,
    },
    /// A rung callee is in another call.
    Busy,
    Cancel,
    Join,
    Leave,
    End {
        reason: Option<EndReason>,
    },
    Invite {
        users: Vec<UserId>,
        /// Those of them who are no members of the call's group, as the store said just now.
        #[serde(default)]
        guests: Vec<UserId>,
    },
    Media {
        audio: Option<bool>,
        video: Option<bool>,
        screen: Option<bool>,
    },

    /// Gives somebody a role.
    Role {
        user: UserId,
        role: Role,
    },
    Kick {
        user: UserId,
    },
    /// Asks somebody, or everybody else, to switch something off.
    Mute {
        user: Option<UserId>,
        track: Track,
    },
    /// Who is not invited is refused, or (`lobby`, unchanged if absent) waits to be let in.
    Lock {
        locked: bool,
        lobby: Option<bool>,
    },
    Admit {
        user: UserId,
    },
    Deny {
        user: UserId,
    },
    RaiseHand {
        raised: bool,
    },
    Hold,
    Resume,
    Transfer {
        to: UserId,
    },
    /// `recording`: the id it gets if it begins.
    StartRecording {
        recording: RecordingId,
        wish: RecordingWish,
    },
    StopRecording,
    /// Moves the call to the media server.
    Escalate,

    // From here on only by the system.
    /// An answer has passed between these two: their media is taken to work.
    Connected {
        users: Vec<UserId>,
    },
    /// No device of the user is connected to any node.
    Unreachable {
        user: UserId,
    },
    /// The user, rung here, is in another call, and the policy is to refuse.
    BusyElsewhere {
        user: UserId,
    },
    /// The device that is in the call lost its connection.
    ConnectionLost {
        user: UserId,
        device: DeviceId,
    },
    /// It is back, on any node.
    ConnectionBack {
        user: UserId,
        device: DeviceId,
    },
    /// These have no place in the call any more: they were taken out of its group. Who is in it leaves, who is rung is
    /// rung no more; with nobody left it ends.
    Remove {
        users: Vec<UserId>,
    },
    /// An operator ends the call, from outside. Who it was is in the audit log, and told to nobody in the call.
    EndByOperator,
    /// A recording of the call has come so far.
    RecordingChanged {
        recording: RecordingId,
        status: RecordingStatus,
        reason: Option<String>,
    },
    /// The media server has seen this device of the user in the call's room.
    RoomJoined {
        user: UserId,
        device: DeviceId,
    },
    /// It sees it there no more.
    RoomLeft {
        user: UserId,
        device: DeviceId,
    },
    /// The call's room is open.
    RoomOpened,
    /// It could not be opened.
    RoomUnavailable,
    /// A deadline may have passed.
    Tick,
    /// A sweeper takes the call, or somebody in it, for left behind. Whether it is, the call's own deadlines say.
    Sweep(Prey),
}

/// What a sweeper takes a call for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prey {
    /// Somebody is rung past their ring's end.
    StaleRinging,
    /// Somebody has waited for media past the end of that wait.
    StaleConnecting,
    /// It has gone on for longer than calls may.
    PastMaxDuration,
    /// This participant is in the call with a device that is connected nowhere, or has been away past the grace.
    LeftBehind { user: UserId, device: DeviceId },
}

impl Command {
    /// Its name in logs and metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Ringing => "ringing",
            Self::Accept { .. } => "accept",
            Self::Decline { .. } => "decline",
            Self::Busy => "busy",
            Self::Cancel => "cancel",
            Self::Join => "join",
            Self::Leave => "leave",
            Self::End { .. } => "end",
            Self::Invite { .. } => "invite",
            Self::Media { .. } => "media",
            Self::Role { .. } => "role",
            Self::Kick { .. } => "kick",
            Self::Mute { .. } => "mute",
            Self::Lock { .. } => "lock",
            Self::Admit { .. } => "admit",
            Self::Deny { .. } => "deny",
            Self::RaiseHand { .. } => "raise_hand",
            Self::Hold => "hold",
            Self::Resume => "resume",
            Self::Transfer { .. } => "transfer",
            Self::StartRecording { .. } => "start_recording",
            Self::StopRecording => "stop_recording",
            Self::RecordingChanged { .. } => "recording_changed",
            Self::Escalate => "escalate",
            Self::Connected { .. } => "connected",
            Self::Unreachable { .. } => "unreachable",
            Self::BusyElsewhere { .. } => "busy_elsewhere",
            Self::ConnectionLost { .. } => "connection_lost",
            Self::ConnectionBack { .. } => "connection_back",
            Self::Remove { .. } => "remove",
            Self::EndByOperator => "end_by_operator",
            Self::RoomJoined { .. } => "room_joined",
            Self::RoomLeft { .. } => "room_left",
            Self::RoomOpened => "room_opened",
            Self::RoomUnavailable => "room_unavailable",
            Self::Tick => "tick",
            Self::Sweep(_) => "sweep",
        }
    }
}

/// The longest ring that a start may ask for. Longer: a client can keep a call, and the phones it rings, busy for as
/// long as it likes; shorter: a call into a waiting line would end before its turn.
pub const MAX_RING_TIMEOUT: Duration = Duration::from_secs(600);

/// The most devices of one user that are noted as alerting. Larger: a client that connects under ever new device ids
/// grows the history of a call without bound; smaller: a caller might not see that the last of many devices rings.
pub const MAX_RINGING_DEVICES: usize = 16;

/// How far past its deadline something must be before a sweeper may act on it. Less: a sweeper does the work of timers
/// that are about to run; more: what a timer has missed stays for longer.
pub const SWEEP_MARGIN: Duration = Duration::from_secs(2);

/// Settings that the rules depend on; the same on every node of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// How long a callee is rung. Shorter: people cannot reach their phone; longer: a caller waits for nobody.
    pub ring_timeout: Duration,
    /// How long an accepted call may wait for a sign of its media before it is taken to work (peer to peer, the
    /// server cannot see it).
    pub connect_timeout: Duration,
    /// How long a participant whose connection dropped is waited for.
    pub reconnect_grace: Duration,
    /// The most people engaged in one call. Nobody is rung beyond it either, counting those rung already; but who joins
    /// unasked may take the place of one who is still being rung.
    pub max_participants: u32,
    /// How long a call may last; `None`: for ever. Shorter than people talk, and they are cut off; much longer, and what
    /// nobody ends is kept for nobody.
    pub max_duration: Option<Duration>,
    /// Whether calls can be recorded: there is a media server, and a place for the files.
    pub recordings: bool,
    /// For how many days a recording is kept whose start does not say.
    pub retention_days: u32,
    /// There is a media server: without one nothing moves there, and who asks for it is refused.
    pub media_server: bool,
    /// How long a move to the media server waits for everybody to come into the room. Shorter than a slow phone needs to
    /// connect, and the move is given up in vain; longer, and one who cannot get there keeps all others in two places.
    pub escalation_timeout: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            ring_timeout: Duration::from_secs(45),
            connect_timeout: Duration::from_secs(30),
            reconnect_grace: Duration::from_secs(15),
            max_participants: 100,
            max_duration: Some(Duration::from_secs(24 * 60 * 60)),
            media_server: false,
            recordings: false,
            retention_days: 30,
            escalation_timeout: Duration::from_secs(15),
        }
    }
}
