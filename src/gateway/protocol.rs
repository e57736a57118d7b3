//! From the text of a frame to a request: what the protocol says, checked; nothing decided.
//!
//! Every refusal made here is `invalid` or `too_large`, changes nothing and leaves the session as it was.

use std::{borrow::Cow, time::Duration};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    actors::{Ask, SignalKind, messages::Resume},
    domain::{CallId, CallType, Command, DeviceId, EndReason, GroupId, Opaque, UserId},
    wire::{ErrorCode, Frame, Refusal},
};

/// The longest frame from a client, in bytes. An offer of 64 KiB with its escapes fits; twice as much would let one
/// client fill its budget with two frames.
pub const MAX_FRAME_BYTES: usize = 128 * 1024;
/// The longest signal payload, offer or answer, as JSON text.
pub const MAX_PAYLOAD_BYTES: usize = 64 * 1024;
/// The largest metadata, as JSON text.
pub const MAX_METADATA_BYTES: usize = 8 * 1024;
/// The longest `id` of a frame, in characters.
const MAX_FRAME_ID_CHARS: usize = 64;
/// The longest free text (a reason), in characters.
const MAX_TEXT_CHARS: usize = 256;
/// The most users one `presence:get` may ask for.
const MAX_PRESENCE: usize = 100;
/// The most calls one `resume` may name; no device is in more.
const MAX_RESUME: usize = 64;

/// A frame from a client: `{"id"?, "event", "data"?}`.
#[derive(Deserialize)]
pub struct ClientFrame<'a> {
    #[serde(borrow, default)]
    pub id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub event: Cow<'a, str>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

/// What a client may ask for.
#[derive(Debug)]
pub enum Request {
    Hello(Hello),
    Refresh {
        token: String,
    },
    Start(Box<StartData>),
    Call {
        call: CallId,
        ask: Ask,
        reply: ReplyShape,
    },
    Signal(SignalData),
    Token {
        call: CallId,
    },
    Presence {
        users: Vec<UserId>,
    },
    /// Something only a media server can do.
    NeedsMedia,
}

/// What a successful command is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyShape {
    Empty,
    Call,
    CallAndMedia,
    Events,
}

/// `session:hello`. Its token never goes into a log.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hello {
    pub token: Option<String>,
    pub device_id: Option<DeviceId>,
    pub device_name: Option<String>,
    #[serde(default)]
    pub resume: Option<Vec<ResumeData>>,
}

impl std::fmt::Debug for Hello {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hello").field("device_id", &self.device_id).finish_non_exhaustive()
    }
}

/// One entry of `resume`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResumeData {
    call_id: CallId,
    seq: u64,
    sig: Option<u64>,
}

/// `call:start`, as sent.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StartData {
    pub call_id: Option<CallId>,
    #[serde(default)]
    pub callee_ids: Option<Vec<UserId>>,
    pub group_id: Option<GroupId>,
    #[serde(rename = "type")]
    pub call_type: Option<CallType>,
    pub mode: Option<StartMode>,
    pub ring: Option<bool>,
    pub ring_timeout_secs: Option<u64>,
    pub offer: Option<Opaque>,
    pub metadata: Option<Opaque>,
}

/// The mode a client may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartMode {
    Auto,
    P2p,
    Sfu,
}

/// `call:signal`, as sent.
#[derive(Debug)]
pub struct SignalData {
    pub call: CallId,
    pub kind: SignalKind,
    pub payload: Frame,
    pub to: Option<UserId>,
    pub to_device: Option<DeviceId>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SignalFields<'a> {
    call_id: CallId,
    #[serde(rename = "type")]
    kind: SignalKind,
    #[serde(borrow)]
    payload: &'a RawValue,
    to: Option<UserId>,
    to_device: Option<DeviceId>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OnlyCall {
    call_id: CallId,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AcceptData {
    call_id: CallId,
    answer: Option<Opaque>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReasonData {
    call_id: CallId,
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InviteData {
    call_id: CallId,
    user_ids: Vec<UserId>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MediaData {
    call_id: CallId,
    audio: Option<bool>,
    video: Option<bool>,
    screen: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SyncData {
    call_id: CallId,
    seq: u64,
    sig: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PresenceData {
    user_ids: Vec<UserId>,
}

#[derive(Deserialize)]
struct RefreshData {
    token: String,
}

impl<'a> ClientFrame<'a> {
    /// Reads a frame's outside.
    pub fn parse(text: &'a str) -> Result<Self, Refusal> {
        // serde reads a list as the fields of an object in order; a list is no frame.
        if !text.trim_start().starts_with('{') {
            return Err(Refusal::invalid("a frame must be an object"));
        }
        let frame: Self = serde_json::from_str(text).map_err(|error| wrong("the frame", &error))?;
        if frame.id.as_ref().is_some_and(|id| id.chars().count() > MAX_FRAME_ID_CHARS) {
            return Err(Refusal::invalid("id must have at most 64 characters"));
        }
        Ok(frame)
    }

    fn data<T: Deserialize<'a>>(&self) -> Result<T, Refusal> {
        let text = self.data.map_or("{}", RawValue::get);
        if !text.starts_with('{') {
            return Err(Refusal::invalid("data must be an object"));
        }
        serde_json::from_str(text).map_err(|error| wrong("data", &error))
    }

    /// Reads what is asked for.
    pub fn request(&self) -> Result<Request, Refusal> {
        let ask = |call, command, reply| Ok(Request::Call { call, ask: Ask::Do(command), reply });
        match self.event.as_ref() {
            "session:hello" => self.data().map(Request::Hello),
            "session:refresh" => self.data().map(|RefreshData { token }| Request::Refresh { token }),
            "call:start" => self.start(),
            "call:ringing" => self.plain(Command::Ringing, ReplyShape::Empty),
            "call:accept" => {
                let AcceptData { call_id, answer } = self.data()?;
                bounded(answer.as_ref(), MAX_PAYLOAD_BYTES, "answer")?;
                ask(call_id, Command::Accept { answer }, ReplyShape::CallAndMedia)
            }
            "call:decline" => {
                let ReasonData { call_id, reason } = self.data()?;
                ask(call_id, Command::Decline { reason: text(reason, "reason")? }, ReplyShape::Empty)
            }
            "call:busy" => self.plain(Command::Busy, ReplyShape::Empty),
            "call:cancel" => self.plain(Command::Cancel, ReplyShape::Empty),
            "call:join" => self.plain(Command::Join, ReplyShape::CallAndMedia),
            "call:leave" => self.plain(Command::Leave, ReplyShape::Empty),
            "call:end" => {
                let ReasonData { call_id, reason } = self.data()?;
                // Other reasons are the server's own to give, or the application's free text.
                let reason = text(reason, "reason")?.as_deref().and_then(EndReason::parse).filter(|reason| {
                    matches!(reason, EndReason::Completed | EndReason::MediaFailed | EndReason::Error)
                });
                ask(call_id, Command::End { reason }, ReplyShape::Empty)
            }
            "call:invite" => {
                let InviteData { call_id, user_ids } = self.data()?;
                if user_ids.is_empty() {
                    return Err(Refusal::invalid("data.userIds must name somebody"));
                }
                ask(call_id, Command::Invite { users: user_ids }, ReplyShape::Call)
            }
            "call:signal" => self.signal(),
            "call:media" => {
                let MediaData { call_id, audio, video, screen } = self.data()?;
                ask(call_id, Command::Media { audio, video, screen }, ReplyShape::Empty)
            }
            "call:get" => {
                let OnlyCall { call_id } = self.data()?;
                Ok(Request::Call { call: call_id, ask: Ask::Get, reply: ReplyShape::Call })
            }
            "call:sync" => {
                let SyncData { call_id, seq, sig } = self.data()?;
                let since = Resume { seq, sig: Some(sig.unwrap_or(0)) };
                Ok(Request::Call { call: call_id, ask: Ask::Sync(since), reply: ReplyShape::Events })
            }
            "call:token" => self.data().map(|OnlyCall { call_id }| Request::Token { call: call_id }),
            "call:escalate" | "recording:start" | "recording:stop" => {
                self.data::<OnlyCall>().map(|_| Request::NeedsMedia)
            }
            "presence:get" => {
                let PresenceData { user_ids } = self.data()?;
                if user_ids.len() > MAX_PRESENCE {
                    return Err(Refusal::invalid("data.userIds must name at most 100 users"));
                }
                Ok(Request::Presence { users: user_ids })
            }
            _ => Err(Refusal::invalid("unknown command")),
        }
    }

    fn plain(&self, command: Command, reply: ReplyShape) -> Result<Request, Refusal> {
        let OnlyCall { call_id } = self.data()?;
        Ok(Request::Call { call: call_id, ask: Ask::Do(command), reply })
    }

    fn start(&self) -> Result<Request, Refusal> {
        let mut data: StartData = self.data()?;
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

    fn signal(&self) -> Result<Request, Refusal> {
        let SignalFields { call_id, kind, payload, to, to_device } = self.data()?;
        if payload.get().len() > MAX_PAYLOAD_BYTES {
            return Err(Refusal::new(ErrorCode::TooLarge, "data.payload must have at most 64 KiB"));
        }
        if to_device.is_some() && to.is_none() {
            return Err(Refusal::invalid("data.toDevice needs data.to"));
        }
        let payload = Frame::from(payload.get().to_owned());
        Ok(Request::Signal(SignalData { call: call_id, kind, payload, to, to_device }))
    }
}

impl Hello {
    /// The `resume` list, checked.
    pub fn resume(&self) -> Result<Vec<(CallId, Resume)>, Refusal> {
        let entries = self.resume.as_deref().unwrap_or_default();
        if entries.len() > MAX_RESUME {
            return Err(Refusal::invalid("data.resume must name at most 64 calls"));
        }
        let resume = |entry: &ResumeData| Resume { seq: entry.seq, sig: Some(entry.sig.unwrap_or(0)) };
        Ok(entries.iter().map(|entry| (entry.call_id.clone(), resume(entry))).collect())
    }
}

impl StartData {
    /// How long to ring, if the client says.
    pub fn ring_timeout(&self) -> Option<Duration> {
        self.ring_timeout_secs.map(Duration::from_secs)
    }
}

/// What serde says of wrong input names fields and types; of values it may quote a short one, back to who sent it.
fn wrong(what: &str, error: &serde_json::Error) -> Refusal {
    Refusal::invalid(format!("{what} is not as the protocol says: {error}"))
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

#[cfg(test)]
mod tests;
