//! A call: its state, how events change it (`evolve`), and what a command leads to (`decide`).

mod audience;
mod coming;
mod decide;
mod ending;
mod escalation;
mod evolve;
pub mod glare;
mod invariants;
mod moderation;
mod recording;
mod sweeping;
mod timers;
mod transfer;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, schema::Type},
};

pub use audience::{Audience, Heard};
pub use decide::{decide, is_absent, is_guest, start};
pub use escalation::{ESCALATION_PAUSE, Escalation};
pub use evolve::evolve;
pub use invariants::{Violation, check};
pub use moderation::admin_may;
pub use recording::{CallRecording, MAX_RECORDINGS, Take};
pub use transfer::Transfer;

use super::{CallId, GroupId, Opaque, Participant, ParticipantStatus, Timestamp, UserId};

macro_rules! wire_names {
    ($(#[doc = $doc:literal])* $name:ident { $($(#[$note:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$note])* #[serde(rename = $text)] $variant),* }

        impl $name {
            /// All of them, in the order of their values.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name on the wire and in the database.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }

            /// The value of that name.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)* _ => None }
            }
        }

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let names = ObjectBuilder::new().schema_type(Type::String).enum_values(Some([$($text),*]));
                names.description(Some(concat!($($doc),*).trim())).into()
            }
        }

        impl ToSchema for $name {}
    };
}
pub(in crate::domain) use wire_names;

wire_names!(
    /// What the call is for.
    CallType { Audio = "audio", Video = "video", ScreenShare = "screen_share" }
);
wire_names!(
    /// How media flows: between the clients, or through the media server.
    CallMode { P2p = "p2p", Sfu = "sfu" }
);
wire_names!(
    /// Why a call is moved to the media server.
    EscalationCause { ThirdParticipant = "third_participant", Recording = "recording", Requested = "requested" }
);
wire_names!(
    /// Why a move there was given up.
    AbortReason {
        /// The room could not be opened.
        RoomUnavailable = "room_unavailable",
        /// Somebody in the call did not come into the room in time.
        NotConnected = "not_connected",
    }
);
wire_names!(
    /// Where the call stands; from `Ended` on it is over.
    CallStatus {
        Initiating = "initiating",
        Waiting = "waiting",
        Ringing = "ringing",
        Connecting = "connecting",
        Active = "active",
        Ended = "ended",
        Missed = "missed",
        Declined = "declined",
        Busy = "busy",
        Cancelled = "cancelled",
        Failed = "failed",
    }
);
wire_names!(
    /// Why a call ended, or a participant left it.
    EndReason {
        Completed = "completed",
        Declined = "declined",
        Busy = "busy",
        NoAnswer = "no_answer",
        Unreachable = "unreachable",
        Cancelled = "cancelled",
        ConnectionLost = "connection_lost",
        MaxDuration = "max_duration",
        Kicked = "kicked",
        MediaFailed = "media_failed",
        NodeLost = "node_lost",
        Swept = "swept",
        Error = "error",
    }
);

impl CallStatus {
    /// The call is over: no event may follow.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Ended | Self::Missed | Self::Declined | Self::Busy | Self::Cancelled | Self::Failed)
    }
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    pub reason: EndReason,
    /// Who caused it; `None`: the server.
    pub by: Option<UserId>,
    pub at: Timestamp,
}

/// The state of one call, folded from its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub id: CallId,
    pub call_type: CallType,
    pub mode: CallMode,
    pub status: CallStatus,
    pub end: Option<End>,
    pub group: Option<GroupId>,
    pub initiator: UserId,
    /// As their token named them when they started it.
    pub initiator_name: Option<String>,
    /// Began in a group, with several callees, or has grown past two.
    pub is_group: bool,
    pub max_participants: u32,
    pub locked: bool,
    pub lobby: bool,
    pub transfer: Option<Transfer>,
    /// The one that runs, or the last.
    pub recording: Option<CallRecording>,
    /// All that were ever begun.
    pub recordings: Vec<Take>,
    /// Moves to the media server when it outgrows two.
    pub escalates: bool,
    pub escalation: Option<Escalation>,
    /// The last move there was given up: the next does not begin before.
    pub no_escalation_before: Option<Timestamp>,
    pub created_at: Timestamp,
    pub ringing_at: Option<Timestamp>,
    /// When the second person came in: what the duration counts from.
    pub started_at: Option<Timestamp>,
    pub peak_participants: u32,
    pub offer: Option<Opaque>,
    pub metadata: Option<Opaque>,
    /// The number of the last event.
    pub seq: u64,
    /// The `seq` of the last event that the members of the group were sent.
    pub group_seq: u64,
    /// In the order they came to the call.
    pub participants: Vec<Participant>,
}

impl Call {
    /// The user's part in the call, also when it is over.
    pub fn participant(&self, user: &UserId) -> Option<&Participant> {
        self.participants.iter().find(|p| p.user == *user)
    }

    fn participant_mut(&mut self, user: &UserId) -> Option<&mut Participant> {
        self.participants.iter_mut().find(|p| p.user == *user)
    }

    /// Who has taken up the call and not left.
    pub fn engaged(&self) -> impl Iterator<Item = &Participant> {
        self.participants.iter().filter(|p| p.status.is_engaged())
    }

    /// Who is being rung.
    pub fn rung(&self) -> impl Iterator<Item = &Participant> {
        self.participants.iter().filter(|p| p.status.is_rung())
    }

    /// From the second person's coming in to the end, or to `now`.
    pub fn duration(&self, now: Timestamp) -> Duration {
        let until = self.end.as_ref().map_or(now, |end| end.at);
        self.started_at.map_or(Duration::ZERO, |started| until.since(started))
    }

    /// Until when somebody is rung.
    pub fn ring_deadline(&self) -> Option<Timestamp> {
        self.rung().filter_map(|p| p.deadline).max()
    }

    /// What the user's next event will carry as `prev`.
    pub fn prev_for(&self, user: &UserId) -> u64 {
        self.participant(user).map_or(self.group_seq, |p| p.last_seq)
    }

    fn is_in(&self, user: &UserId, test: fn(ParticipantStatus) -> bool) -> bool {
        self.participant(user).is_some_and(|p| test(p.status))
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod scenarios;
