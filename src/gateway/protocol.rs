//! From the text of a frame to a request: what the protocol says, checked; nothing decided.
//!
//! Every refusal made here is `invalid` or `too_large`, changes nothing and leaves the session as it was.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

pub use self::{
    commands::{COMMANDS, ReplyShape, Request, Spec, by_action, by_event},
    data::{Hello, SignalData, StartData, StartMode},
    key::{IdempotencyKey, key_for},
    quality::{Report, Reported},
};
use crate::{domain::CallId, trace::TraceContext, wire::Refusal};

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

/// A frame from a client: `{"id"?, "event", "idempotencyKey"?, "traceparent"?, "data"?}`.
#[derive(Deserialize)]
pub struct ClientFrame<'a> {
    #[serde(borrow, default)]
    pub id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub event: Cow<'a, str>,
    #[serde(borrow, default, rename = "idempotencyKey")]
    key: Option<Cow<'a, str>>,
    /// Whatever it is: what is no `traceparent` counts as not sent.
    #[serde(borrow, default)]
    traceparent: Option<&'a RawValue>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
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

    /// The data as it came.
    pub fn data(&self) -> &'a str {
        self.data.map_or("{}", RawValue::get)
    }

    /// The trace that the command belongs to, if the client says so.
    pub fn trace_parent(&self) -> Option<TraceContext> {
        // One that is written with escapes is not taken apart: nobody writes it so.
        TraceContext::parse(self.traceparent?.get().strip_prefix('"')?.strip_suffix('"')?)
    }

    /// The call that it names, for who looks at a trace. Reads the data anew.
    pub fn call(&self) -> Option<CallId> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Named {
            call_id: CallId,
        }
        serde_json::from_str::<Named>(self.data()).ok().map(|named| named.call_id)
    }

    /// Which command it is.
    pub fn spec(&self) -> Result<&'static Spec, Refusal> {
        by_event(&self.event)
    }

    /// Reads what is asked for.
    pub fn request(&self) -> Result<Request, Refusal> {
        self.spec()?.read(self.data())
    }

    /// The command's key, if it has one.
    pub fn key(&self) -> Result<Option<IdempotencyKey<'_>>, Refusal> {
        self.key.as_deref().map(IdempotencyKey::new).transpose()
    }
}

/// What serde says of wrong input names fields and types; of values it may quote a short one, back to who sent it.
fn wrong(what: &str, error: &serde_json::Error) -> Refusal {
    Refusal::invalid(format!("{what} is not as the protocol says: {error}"))
}

mod commands;
mod data;
pub mod described;
mod key;
mod quality;
#[cfg(test)]
mod tests;
