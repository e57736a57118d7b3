//! One user's part in one call.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{DeviceId, EndReason, Timestamp, UserId};

/// What a participant may do to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Host,
    Cohost,
    Participant,
}

impl Role {
    /// The name on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Cohost => "cohost",
            Self::Participant => "participant",
        }
    }
}

/// Where a participant stands. `Left` to `Kicked` are ends; in a group call a user may come back from the first four.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParticipantStatus {
    Invited,
    Ringing,
    Connecting,
    Joined,
    Reconnecting,
    Lobby,
    Left,
    Declined,
    Busy,
    Missed,
    Kicked,
}

impl ParticipantStatus {
    /// The name on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invited => "invited",
            Self::Ringing => "ringing",
            Self::Connecting => "connecting",
            Self::Joined => "joined",
            Self::Reconnecting => "reconnecting",
            Self::Lobby => "lobby",
            Self::Left => "left",
            Self::Declined => "declined",
            Self::Busy => "busy",
            Self::Missed => "missed",
            Self::Kicked => "kicked",
        }
    }

    /// Has taken up the call and not left it.
    pub const fn is_engaged(self) -> bool {
        matches!(self, Self::Connecting | Self::Joined | Self::Reconnecting)
    }

    /// Has a device that is in the call or waits to be let in.
    pub const fn is_present(self) -> bool {
        self.is_engaged() || matches!(self, Self::Lobby)
    }

    /// Is being rung: may accept or decline.
    pub const fn is_rung(self) -> bool {
        matches!(self, Self::Invited | Self::Ringing)
    }

    /// Neither engaged, rung nor waiting in the lobby.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Left | Self::Declined | Self::Busy | Self::Missed | Self::Kicked)
    }
}

/// One user's part in one call, over all of their devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Participant {
    pub user: UserId,
    pub role: Role,
    pub status: ParticipantStatus,
    /// The device that is in the call: set by accepting or joining, kept after leaving.
    pub device: Option<DeviceId>,
    /// Devices that said they alert.
    pub ringing_devices: Vec<DeviceId>,
    pub audio: bool,
    pub video: bool,
    pub screen: bool,
    pub hand_raised: bool,
    pub held: bool,
    /// Who rang this user; `None` for who started the call or joined unasked.
    pub invited_by: Option<UserId>,
    pub invited_at: Timestamp,
    /// Was asked into a group's call without being a member.
    pub guest: bool,
    pub joined_at: Option<Timestamp>,
    pub left_at: Option<Timestamp>,
    pub leave_reason: Option<EndReason>,
    /// Time in the call before the present stay.
    pub earlier_stays: Duration,
    /// When the present status runs out: the ring, the wait for media, or the grace of a lost connection.
    pub deadline: Option<Timestamp>,
    /// No device of the user was connected anywhere when they were rung, and none has come since.
    pub unreachable: bool,
    /// Media was seen to work, or is taken to: what a participant who reconnects goes back to.
    pub was_connected: bool,
    /// The media server has seen their device in the call's room. Noted only while it matters: during a move there, and
    /// until a call that began there is active.
    pub in_room: bool,
    /// The `seq` of the last event this user was sent: the `prev` of the next.
    pub last_seq: u64,
}

impl Participant {
    /// A participant nothing has happened to yet.
    pub fn new(user: UserId, role: Role, status: ParticipantStatus, at: Timestamp) -> Self {
        Self {
            user,
            role,
            status,
            device: None,
            ringing_devices: Vec::new(),
            audio: false,
            video: false,
            screen: false,
            hand_raised: false,
            held: false,
            invited_by: None,
            invited_at: at,
            guest: false,
            joined_at: None,
            left_at: None,
            leave_reason: None,
            earlier_stays: Duration::ZERO,
            deadline: None,
            unreachable: false,
            was_connected: false,
            in_room: false,
            last_seq: 0,
        }
    }

    /// Total time in the call until `now`, over all stays.
    pub fn duration(&self, now: Timestamp) -> Duration {
        let present = match (self.joined_at, self.left_at) {
            (Some(joined), None) => now.since(joined),
            (Some(joined), Some(left)) => left.since(joined),
            (None, _) => Duration::ZERO,
        };
        self.earlier_stays + present
    }
}
