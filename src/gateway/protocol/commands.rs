//! The commands of the protocol: one table for all ways they come by, and what each reads out of its data.
//!
//! Every refusal made here is `invalid` or `too_large` and changes nothing.

use serde::Deserialize;

use super::{
    MAX_METADATA_BYTES, MAX_PAYLOAD_BYTES, MAX_PRESENCE, MAX_TEXT_CHARS,
    data::{
        AcceptData, HandData, Hello, InviteData, LockData, MediaData, MuteData, OneUser, OnlyCall, PresenceData,
        ReasonData, RecordData, RefreshData, RoleData, SignalData, SignalFields, StartData, SyncData, TransferData,
    },
    quality::{QualityData, Reported},
    wrong,
};
use crate::{
    actors::{Ask, messages::Resume},
    domain::{CallId, Command, EndReason, Opaque, RecordingId, UserId, recording::RecordingWish},
    wire::{ErrorCode, Frame, Refusal},
};

/// One command.
pub struct Spec {
    /// Its name on a socket.
    pub event: &'static str,
    /// Its name in `POST /calls/{callId}/…`, where it has one.
    pub action: Option<&'static str>,
    /// It does something, and so may be given an idempotency key. Others ignore one: to ask again does no harm.
    pub takes_key: bool,
    read: fn(Data<'_>) -> Result<Request, Refusal>,
}

impl Spec {
    /// Reads the command's data, a JSON text.
    pub fn read(&self, data: &str) -> Result<Request, Refusal> {
        (self.read)(Data(data))
    }
}

/// Does something, and is open to REST under this name.
const fn act(event: &'static str, action: &'static str, read: fn(Data<'_>) -> Result<Request, Refusal>) -> Spec {
    Spec { event, action: Some(action), takes_key: true, read }
}

/// Has no name of its own in REST.
const fn only(event: &'static str, takes_key: bool, read: fn(Data<'_>) -> Result<Request, Refusal>) -> Spec {
    Spec { event, action: None, takes_key, read }
}

/// All commands; what comes most often stands first.
pub static COMMANDS: &[Spec] = &[
    act("call:signal", "signal", signal),
    only("call:start", true, start),
    act("call:ringing", "ringing", |data| data.plain(Command::Ringing, ReplyShape::Empty)),
    act("call:accept", "accept", |data| {
        let AcceptData { call_id, answer } = data.of()?;
        bounded(answer.as_ref(), MAX_PAYLOAD_BYTES, "answer")?;
        ask(call_id, Command::Accept { answer }, ReplyShape::CallAndMedia)
    }),
    act("call:decline", "decline", |data| {
        let ReasonData { call_id, reason } = data.of()?;
        ask(call_id, Command::Decline { reason: text(reason, "reason")? }, ReplyShape::Empty)
    }),
    act("call:busy", "busy", |data| data.plain(Command::Busy, ReplyShape::Empty)),
    act("call:cancel", "cancel", |data| data.plain(Command::Cancel, ReplyShape::Empty)),
    act("call:join", "join", |data| data.plain(Command::Join, ReplyShape::CallAndMedia)),
    act("call:leave", "leave", |data| data.plain(Command::Leave, ReplyShape::Empty)),
    act("call:end", "end", |data| {
        let ReasonData { call_id, reason } = data.of()?;
        // Other reasons are the server's own to give, or the application's free text.
        let reason = text(reason, "reason")?
            .as_deref()
            .and_then(EndReason::parse)
            .filter(|reason| matches!(reason, EndReason::Completed | EndReason::MediaFailed | EndReason::Error));
        ask(call_id, Command::End { reason }, ReplyShape::Empty)
    }),
    act("call:invite", "invite", |data| {
        let InviteData { call_id, user_ids } = data.of()?;
        if user_ids.is_empty() {
            return Err(Refusal::invalid("data.userIds must name somebody"));
        }
        ask(call_id, Command::Invite { users: user_ids, guests: Vec::new() }, ReplyShape::Call)
    }),
    only("call:media", true, |data| {
        let MediaData { call_id, audio, video, screen } = data.of()?;
        ask(call_id, Command::Media { audio, video, screen }, ReplyShape::Empty)
    }),
    act("call:kick", "kick", |data| {
        data.of()
            .and_then(|OneUser { call_id, user_id }| ask(call_id, Command::Kick { user: user_id }, ReplyShape::Empty))
    }),
    act("call:mute", "mute", |data| {
        let MuteData { call_id, user_id, track } = data.of()?;
        ask(call_id, Command::Mute { user: user_id, track }, ReplyShape::Empty)
    }),
    act("call:lock", "lock", |data| {
        let LockData { call_id, locked, lobby } = data.of()?;
        ask(call_id, Command::Lock { locked, lobby }, ReplyShape::Empty)
    }),
    act("call:admit", "admit", |data| {
        data.of()
            .and_then(|OneUser { call_id, user_id }| ask(call_id, Command::Admit { user: user_id }, ReplyShape::Empty))
    }),
    act("call:deny", "deny", |data| {
        data.of()
            .and_then(|OneUser { call_id, user_id }| ask(call_id, Command::Deny { user: user_id }, ReplyShape::Empty))
    }),
    act("call:role", "role", |data| {
        let RoleData { call_id, user_id, role } = data.of()?;
        ask(call_id, Command::Role { user: user_id, role }, ReplyShape::Empty)
    }),
    act("call:raise_hand", "raise_hand", |data| {
        let HandData { call_id, raised } = data.of()?;
        ask(call_id, Command::RaiseHand { raised }, ReplyShape::Empty)
    }),
    act("call:hold", "hold", |data| data.plain(Command::Hold, ReplyShape::Empty)),
    act("call:resume", "resume", |data| data.plain(Command::Resume, ReplyShape::Empty)),
    act("call:transfer", "transfer", |data| {
        let TransferData { call_id, to_user_id } = data.of()?;
        ask(call_id, Command::Transfer { to: to_user_id }, ReplyShape::Call)
    }),
    act("call:escalate", "escalate", |data| data.plain(Command::Escalate, ReplyShape::Call)),
    act("call:quality", "quality", |data| data.of().and_then(QualityData::checked).map(Request::Quality)),
    act("call:token", "token", |data| {
        data.of().map(|OnlyCall { call_id }| Request::Call { call: call_id, ask: Ask::Get, reply: ReplyShape::Media })
    }),
    only("call:get", false, |data| {
        data.of().map(|OnlyCall { call_id }| Request::Call { call: call_id, ask: Ask::Get, reply: ReplyShape::Call })
    }),
    only("call:sync", false, |data| {
        let SyncData { call_id, seq, sig } = data.of()?;
        let since = Resume { seq, sig: Some(sig.unwrap_or(0)) };
        Ok(Request::Call { call: call_id, ask: Ask::Sync(since), reply: ReplyShape::Events })
    }),
    only("session:hello", false, |data| data.of().map(Request::Hello)),
    only("session:refresh", false, |data| data.of().map(|RefreshData { token }| Request::Refresh { token })),
    only("presence:get", false, |data| {
        let PresenceData { user_ids } = data.of()?;
        if user_ids.len() > MAX_PRESENCE {
            return Err(Refusal::invalid("data.userIds must name at most 100 users"));
        }
        Ok(Request::Presence { users: user_ids })
    }),
    only("recording:start", true, |data| {
        let RecordData { call_id, layout, resolution, audio_only, format, retention_days } = data.of()?;
        let recording = RecordingId::new(uuid::Uuid::now_v7().to_string());
        let recording = recording.map_err(|error| Refusal::invalid(error.to_string()))?;
        let wish = RecordingWish { layout, resolution, audio_only, format, retention_days };
        ask(call_id, Command::StartRecording { recording, wish }, ReplyShape::Recording)
    }),
    only("recording:stop", true, |data| data.plain(Command::StopRecording, ReplyShape::Recording)),
];

/// The command with this name on a socket.
pub fn by_event(event: &str) -> Result<&'static Spec, Refusal> {
    COMMANDS.iter().find(|spec| spec.event == event).ok_or_else(|| Refusal::invalid("unknown command"))
}

/// The command with this name in REST.
pub fn by_action(action: &str) -> Option<&'static Spec> {
    COMMANDS.iter().find(|spec| spec.action == Some(action))
}

/// What a client may ask for.
#[derive(Debug)]
pub enum Request {
    Hello(Hello),
    Refresh { token: String },
    Start(Box<StartData>),
    Call { call: CallId, ask: Ask, reply: ReplyShape },
    Signal(SignalData),
    Quality(Reported),
    Presence { users: Vec<UserId> },
}

/// What a successful command is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyShape {
    Empty,
    Call,
    CallAndMedia,
    Events,
    Media,
    Recording,
}

/// The data of a command: JSON text.
#[derive(Clone, Copy)]
struct Data<'a>(&'a str);

impl<'a> Data<'a> {
    fn of<T: Deserialize<'a>>(self) -> Result<T, Refusal> {
        if !self.0.starts_with('{') {
            return Err(Refusal::invalid("data must be an object"));
        }
        serde_json::from_str(self.0).map_err(|error| wrong("data", &error))
    }

    fn plain(self, command: Command, reply: ReplyShape) -> Result<Request, Refusal> {
        let OnlyCall { call_id } = self.of()?;
        ask(call_id, command, reply)
    }
}

fn ask(call: CallId, command: Command, reply: ReplyShape) -> Result<Request, Refusal> {
    Ok(Request::Call { call, ask: Ask::Do(command), reply })
}

fn start(data: Data<'_>) -> Result<Request, Refusal> {
    let mut data: StartData = data.of()?;
    bounded(data.offer.as_ref(), MAX_PAYLOAD_BYTES, "offer")?;
    bounded(data.metadata.as_ref(), MAX_METADATA_BYTES, "metadata")?;
    if data.metadata.as_ref().is_some_and(|metadata| !metadata.json().starts_with('{')) {
        return Err(Refusal::invalid("data.metadata must be an object"));
    }
    let mut seen = std::collections::HashSet::new();
    if let Some(callees) = &mut data.callee_ids {
        callees.retain(|user| seen.insert(user.clone()));
    }
    Ok(Request::Start(Box::new(data)))
}

fn signal(data: Data<'_>) -> Result<Request, Refusal> {
    let SignalFields { call_id, kind, payload, to, to_device } = data.of()?;
    if payload.get().len() > MAX_PAYLOAD_BYTES {
        return Err(Refusal::new(ErrorCode::TooLarge, "data.payload must have at most 64 KiB"));
    }
    if to_device.is_some() && to.is_none() {
        return Err(Refusal::invalid("data.toDevice needs data.to"));
    }
    let payload = Frame::from(payload.get().to_owned());
    Ok(Request::Signal(SignalData { call: call_id, kind, payload, to, to_device }))
}

fn bounded(value: Option<&Opaque>, limit: usize, name: &str) -> Result<(), Refusal> {
    match value {
        Some(value) if value.len() > limit => {
            Err(Refusal::new(ErrorCode::TooLarge, format!("data.{name} must have at most {} KiB", limit / 1024)))
        }
        _ => Ok(()),
    }
}

fn text(value: Option<String>, name: &str) -> Result<Option<String>, Refusal> {
    match value {
        Some(text) if text.chars().count() > MAX_TEXT_CHARS => {
            Err(Refusal::invalid(format!("data.{name} must have at most {MAX_TEXT_CHARS} characters")))
        }
        Some(text) if text.contains('\0') => Err(Refusal::invalid(format!("data.{name} holds a NUL character"))),
        other => Ok(other),
    }
}
