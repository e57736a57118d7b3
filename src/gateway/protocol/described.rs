//! What the documents say of each command: its data and its reply by their types, what it does, and what it may be
//! refused with. Both the OpenAPI and the AsyncAPI document go through the table of commands and look here; a test
//! fails for a command that is not here, and for one whose data are read otherwise than said.

use utoipa::ToSchema;

use super::{
    data::{
        AcceptData, HandData, Hello, InviteData, LockData, MediaData, MuteData, OneUser, OnlyCall, PresenceData,
        ReasonData, RecordData, RefreshData, RoleData, SignalFields, StartData, SyncData, TransferData,
    },
    quality::QualityData,
};
use crate::{
    domain::{Timestamp, UserId, quality::Score},
    gateway::openapi::schemas::{SchemaOf, Schemas},
    media::ClientMedia,
    wire::{CallObject, ErrorCode, call_object::RecordingObject, events::SessionWelcome},
};

/// One command.
pub struct Described {
    /// Its name on a socket.
    pub event: &'static str,
    /// What it does, in a few words.
    pub summary: &'static str,
    /// Who may, and what is to be known about it. Markdown.
    pub says: &'static str,
    /// Its data.
    pub data: SchemaOf,
    /// The data of its reply.
    pub reply: SchemaOf,
    /// What the command itself may be refused with, besides what every command may.
    pub refuses: &'static [ErrorCode],
}

/// A reply with the call.
#[derive(ToSchema)]
#[expect(dead_code, reason = "replies are put together from call objects that are text already")]
pub struct CallReply {
    /// The call.
    call: CallObject<'static>,
}

/// A reply to who is in the call now.
#[derive(ToSchema)]
#[expect(dead_code, reason = "as above")]
pub struct CallAndMediaReply {
    /// The call.
    call: CallObject<'static>,
    /// How media finds its way.
    media: ClientMedia,
}

/// A reply to who waits in the lobby.
#[derive(ToSchema)]
#[expect(dead_code, reason = "as above")]
pub struct LobbyReply {
    /// Always true: the asker waits to be let in.
    lobby: bool,
}

/// How media finds its way.
#[derive(ToSchema)]
#[expect(dead_code, reason = "as above")]
pub struct MediaReply {
    /// How media finds its way.
    media: ClientMedia,
}

/// What was missed, in order.
#[derive(ToSchema)]
#[expect(dead_code, reason = "as above")]
pub struct EventsReply {
    /// Events as they were sent, or one snapshot; then signals.
    events: Vec<MissedEvent>,
}

/// An event that was missed.
#[derive(ToSchema)]
#[expect(dead_code, reason = "as above")]
struct MissedEvent {
    /// The event's name.
    event: String,
    /// Its data.
    #[schema(value_type = Object)]
    data: (),
}

/// Who has a session.
#[derive(ToSchema)]
#[expect(dead_code, reason = "as above")]
pub struct PresenceReply {
    /// Those of who was asked about that have a session on any node.
    online: Vec<UserId>,
}

/// The score of one report.
#[derive(ToSchema)]
#[expect(dead_code, reason = "as above")]
pub struct ScoreReply {
    /// How good it was; null: nothing was reported that says.
    #[schema(required = true)]
    score: Option<Score>,
}

/// The scores of several reports.
#[derive(ToSchema)]
#[expect(dead_code, reason = "as above")]
pub struct ScoresReply {
    /// In the order of the reports; null: nothing was reported that says.
    scores: Vec<Option<Score>>,
}

/// The recording of a call.
#[derive(ToSchema)]
#[expect(dead_code, reason = "as above")]
pub struct RecordingReply {
    /// The recording that runs, or the last.
    recording: RecordingObject<'static>,
}

/// How long the session lasts now.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct RefreshReply {
    /// When it ends.
    pub expires_at: Timestamp,
}

fn joined(schemas: &mut Schemas) -> serde_json::Value {
    serde_json::json!({"oneOf": [schemas.sent::<CallAndMediaReply>(), schemas.sent::<LobbyReply>()]})
}

fn scored(schemas: &mut Schemas) -> serde_json::Value {
    serde_json::json!({"oneOf": [schemas.sent::<ScoreReply>(), schemas.sent::<ScoresReply>()]})
}

/// What every command about a call may be refused with.
pub const COMMON: &[ErrorCode] = &[
    ErrorCode::NotFound,
    ErrorCode::Invalid,
    ErrorCode::TooLarge,
    ErrorCode::RateLimited,
    ErrorCode::Conflict,
    ErrorCode::Unavailable,
    ErrorCode::Internal,
];

const NOT_RUNG: &[ErrorCode] = &[ErrorCode::WrongState, ErrorCode::AcceptedElsewhere, ErrorCode::AlreadyEnded];
const COMING: &[ErrorCode] = &[
    ErrorCode::Forbidden,
    ErrorCode::WrongState,
    ErrorCode::AcceptedElsewhere,
    ErrorCode::AlreadyEnded,
    ErrorCode::CallFull,
    ErrorCode::CallLocked,
];
const STARTING: &[ErrorCode] = &[
    ErrorCode::Forbidden,
    ErrorCode::WrongState,
    ErrorCode::AcceptedElsewhere,
    ErrorCode::AlreadyEnded,
    ErrorCode::CallFull,
    ErrorCode::CallLocked,
    ErrorCode::MediaUnavailable,
];
const IN_IT: &[ErrorCode] = &[ErrorCode::AlreadyEnded, ErrorCode::NotParticipant];
const ANSWERED: &[ErrorCode] = &[ErrorCode::WrongState, ErrorCode::AlreadyEnded, ErrorCode::NotParticipant];
const MODERATING: &[ErrorCode] = &[
    ErrorCode::Forbidden,
    ErrorCode::WrongState,
    ErrorCode::AlreadyEnded,
    ErrorCode::CallFull,
    ErrorCode::NotParticipant,
];
const RECORDING: &[ErrorCode] = &[
    ErrorCode::Forbidden,
    ErrorCode::WrongState,
    ErrorCode::AlreadyEnded,
    ErrorCode::NotParticipant,
    ErrorCode::MediaUnavailable,
];
const TOKENS: &[ErrorCode] = &[ErrorCode::Unauthenticated, ErrorCode::TokenExpired, ErrorCode::Forbidden];

/// In the order of the documents.
pub static ALL: &[Described] = &[
    Described {
        event: "session:hello",
        summary: "Begin a session",
        says: "The first frame, within 5 s. On a session that is ready it attaches the session anew.",
        data: Schemas::read::<Hello>,
        reply: Schemas::sent::<SessionWelcome<'static>>,
        refuses: TOKENS,
    },
    Described {
        event: "session:refresh",
        summary: "Extend the session by a newer token",
        says: "The token must be the same user's.",
        data: Schemas::read::<RefreshData>,
        reply: Schemas::sent::<RefreshReply>,
        refuses: TOKENS,
    },
    Described {
        event: "presence:get",
        summary: "Ask who has a session",
        says: "On any node.",
        data: Schemas::read::<PresenceData>,
        reply: Schemas::sent::<PresenceReply>,
        refuses: &[],
    },
    Described {
        event: "call:start",
        summary: "Start a call",
        says: "By anyone; in a group by its members. If the pair or the group has an open call already, the reply may \
            hold that one, with another `callId`: it is this device's then.",
        data: Schemas::read::<StartData>,
        reply: joined,
        refuses: STARTING,
    },
    Described {
        event: "call:ringing",
        summary: "Say that this device alerts",
        says: "By a rung callee. The first 16 devices are noted.",
        data: Schemas::read::<OnlyCall>,
        reply: Schemas::nothing,
        refuses: NOT_RUNG,
    },
    Described {
        event: "call:accept",
        summary: "Accept a call",
        says: "By a rung callee. The first device wins; another one is refused with `accepted_elsewhere`.",
        data: Schemas::read::<AcceptData>,
        reply: Schemas::sent::<CallAndMediaReply>,
        refuses: COMING,
    },
    Described {
        event: "call:decline",
        summary: "Decline a call",
        says: "By a rung callee, for all of their devices.",
        data: Schemas::read::<ReasonData>,
        reply: Schemas::nothing,
        refuses: NOT_RUNG,
    },
    Described {
        event: "call:busy",
        summary: "Say that the user is busy",
        says: "By a rung callee.",
        data: Schemas::read::<OnlyCall>,
        reply: Schemas::nothing,
        refuses: NOT_RUNG,
    },
    Described {
        event: "call:cancel",
        summary: "Give up a call that nobody has accepted",
        says: "By the initiator, before anyone accepted.",
        data: Schemas::read::<OnlyCall>,
        reply: Schemas::nothing,
        refuses: &[ErrorCode::Forbidden, ErrorCode::WrongState, ErrorCode::AlreadyEnded],
    },
    Described {
        event: "call:join",
        summary: "Come into a call",
        says: "By who is rung or engaged, or a member of the call's group; who left a call of several without a group. \
            Rung: accepts. Engaged on another device: moves the call here. With a lobby: waits to be let in.",
        data: Schemas::read::<OnlyCall>,
        reply: joined,
        refuses: COMING,
    },
    Described {
        event: "call:leave",
        summary: "Leave a call",
        says: "By a participant. The initiator before anyone came: cancels; rung: declines. From a device that is not \
            the one in the call: nothing happens.",
        data: Schemas::read::<OnlyCall>,
        reply: Schemas::nothing,
        refuses: &[ErrorCode::NotParticipant],
    },
    Described {
        event: "call:end",
        summary: "End a call for everybody",
        says: "By the host or a cohost; in a call of two by either side.",
        data: Schemas::read::<ReasonData>,
        reply: Schemas::nothing,
        refuses: &[ErrorCode::Forbidden, ErrorCode::NotParticipant],
    },
    Described {
        event: "call:invite",
        summary: "Ring more people",
        says: "By an engaged participant. Who is in it or rung already is skipped.",
        data: Schemas::read::<InviteData>,
        reply: Schemas::sent::<CallReply>,
        refuses: &[
            ErrorCode::Forbidden,
            ErrorCode::AlreadyEnded,
            ErrorCode::CallFull,
            ErrorCode::CallLocked,
            ErrorCode::NotParticipant,
        ],
    },
    Described {
        event: "call:signal",
        summary: "Relay a signal",
        says: "By the engaged device of a participant, to another participant, one device of theirs, or all others.",
        data: Schemas::read::<SignalFields<'static>>,
        reply: Schemas::nothing,
        refuses: &[
            ErrorCode::WrongState,
            ErrorCode::AcceptedElsewhere,
            ErrorCode::AlreadyEnded,
            ErrorCode::NotParticipant,
        ],
    },
    Described {
        event: "call:media",
        summary: "Say what is sent",
        says: "By an engaged participant, of itself.",
        data: Schemas::read::<MediaData>,
        reply: Schemas::nothing,
        refuses: IN_IT,
    },
    Described {
        event: "call:raise_hand",
        summary: "Raise or lower the hand",
        says: "By an engaged participant.",
        data: Schemas::read::<HandData>,
        reply: Schemas::nothing,
        refuses: IN_IT,
    },
    Described {
        event: "call:hold",
        summary: "Put the call on hold",
        says: "By an engaged participant, once the call was answered.",
        data: Schemas::read::<OnlyCall>,
        reply: Schemas::nothing,
        refuses: ANSWERED,
    },
    Described {
        event: "call:resume",
        summary: "Go on with the call",
        says: "By an engaged participant, once the call was answered.",
        data: Schemas::read::<OnlyCall>,
        reply: Schemas::nothing,
        refuses: ANSWERED,
    },
    Described {
        event: "call:transfer",
        summary: "Hand a call of two to somebody else",
        says: "By an engaged participant of an answered call of two. Rings them; when they accept they take the \
            asker's place. If not, the call goes on as it was.",
        data: Schemas::read::<TransferData>,
        reply: Schemas::sent::<CallReply>,
        refuses: ANSWERED,
    },
    Described {
        event: "call:kick",
        summary: "Send somebody away",
        says: "By host or cohost, not of the host or a cohost. They come back only when they are invited again.",
        data: Schemas::read::<OneUser>,
        reply: Schemas::nothing,
        refuses: MODERATING,
    },
    Described {
        event: "call:mute",
        summary: "Ask to switch something off",
        says: "By host or cohost.",
        data: Schemas::read::<MuteData>,
        reply: Schemas::nothing,
        refuses: MODERATING,
    },
    Described {
        event: "call:lock",
        summary: "Lock the call, open a lobby",
        says: "By host or cohost. Taking the lobby away lets in who waits, as far as there is room.",
        data: Schemas::read::<LockData>,
        reply: Schemas::nothing,
        refuses: MODERATING,
    },
    Described {
        event: "call:admit",
        summary: "Let somebody in",
        says: "By host or cohost, of who waits in the lobby.",
        data: Schemas::read::<OneUser>,
        reply: Schemas::nothing,
        refuses: MODERATING,
    },
    Described {
        event: "call:deny",
        summary: "Leave somebody outside",
        says: "By host or cohost, of who waits in the lobby.",
        data: Schemas::read::<OneUser>,
        reply: Schemas::nothing,
        refuses: MODERATING,
    },
    Described {
        event: "call:role",
        summary: "Give somebody a role",
        says: "By the host. There is one host; who gives the part away becomes cohost.",
        data: Schemas::read::<RoleData>,
        reply: Schemas::nothing,
        refuses: MODERATING,
    },
    Described {
        event: "call:quality",
        summary: "Report the quality of media",
        says: "By a participant, also a former one; while the call lasts and after it.",
        data: Schemas::read::<QualityData>,
        reply: scored,
        refuses: &[],
    },
    Described {
        event: "call:token",
        summary: "Ask anew how media finds its way",
        says: "By who may look at the call.",
        data: Schemas::read::<OnlyCall>,
        reply: Schemas::sent::<MediaReply>,
        refuses: &[],
    },
    Described {
        event: "call:get",
        summary: "Look at a call",
        says: "By participants, also former ones; in a group's call by who is in it or rung, and members of the group.",
        data: Schemas::read::<OnlyCall>,
        reply: Schemas::sent::<CallReply>,
        refuses: &[],
    },
    Described {
        event: "call:sync",
        summary: "Ask for what was missed",
        says: "By who may look at the call.",
        data: Schemas::read::<SyncData>,
        reply: Schemas::sent::<EventsReply>,
        refuses: &[],
    },
    Described {
        event: "call:escalate",
        summary: "Move the call to a media server",
        says: "By an engaged participant. The call goes on peer to peer until everybody is in the room; the reply holds \
            the call that is about to move.",
        data: Schemas::read::<OnlyCall>,
        reply: Schemas::sent::<CallReply>,
        refuses: &[
            ErrorCode::WrongState,
            ErrorCode::AlreadyEnded,
            ErrorCode::NotParticipant,
            ErrorCode::MediaUnavailable,
        ],
    },
    Described {
        event: "recording:start",
        summary: "Record the call",
        says: "By host or cohost. Everybody hears of it before it begins. A call between peers moves to the media server \
            first.",
        data: Schemas::read::<RecordData>,
        reply: Schemas::sent::<RecordingReply>,
        refuses: RECORDING,
    },
    Described {
        event: "recording:stop",
        summary: "Stop recording",
        says: "By host or cohost; stopped already, nothing happens.",
        data: Schemas::read::<OnlyCall>,
        reply: Schemas::sent::<RecordingReply>,
        refuses: RECORDING,
    },
];

/// What is said of a command.
pub fn of(event: &str) -> Option<&'static Described> {
    ALL.iter().find(|described| described.event == event)
}
