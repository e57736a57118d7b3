//! Refusals as clients see them: every code of the protocol, and what each kind of failure is mapped to.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, schema::Type},
};

use crate::{domain::Rejection, trace::TraceId};

macro_rules! error_codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $status:literal, $cause:literal;)*) => {
        /// The error codes of the protocol.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
        pub enum ErrorCode { $($(#[$doc])* #[serde(rename = $text)] $variant),* }

        impl ErrorCode {
            /// All of them, in the order of the documents.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// What it is given for, in Markdown: what the OpenAPI and AsyncAPI documents and docs/protocol.md say.
            pub const fn cause(self) -> &'static str {
                match self { $(Self::$variant => $cause),* }
            }

            /// As it stands in a reply.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }

            /// The HTTP status that goes with it.
            pub const fn http_status(self) -> u16 {
                match self { $(Self::$variant => $status),* }
            }
        }
    };
}

error_codes! {
    /// No token, or one that is not good.
    Unauthenticated = "unauthenticated", 401,
        "no token, or none that is good here; no service key";
    /// The token was good and has run out.
    TokenExpired = "token_expired", 401,
        "good but for its time";
    /// The asker may see this, but not do it.
    Forbidden = "forbidden", 403,
        "the role does not allow it; a start in a group is to ring somebody who is no member; who was kicked comes back uninvited; the origin; another user's token in a refresh";
    /// There is no such thing, or the asker may not know of it.
    NotFound = "not_found", 404,
        "no such call, group, key or page, or none of the asker's business";
    /// The frame, its data or its event is not what the protocol says.
    Invalid = "invalid", 400,
        "the frame, the request, a field, a value; unknown command";
    /// A part of it is over its bound.
    TooLarge = "too_large", 413,
        "payload, offer, answer, metadata or body over its bound";
    /// Too much at once; again later.
    RateLimited = "rate_limited", 429,
        "a rate limit: `details` is `{retryAfterMs, limit}`, over REST the header `Retry-After` says the same in seconds. Or more than 64 commands under way in a session (signals do not count), or 64 frames before it is ready, without `details`. Retryable; a refusal costs nothing, but a session that goes on all the same is closed with 4029";
    /// An id or key that is taken by something else.
    Conflict = "conflict", 409,
        "the `callId` is another call's; the idempotency key was used for another command; the last node is told to leave";
    /// The call is not in a state that allows this.
    WrongState = "wrong_state", 409,
        "not in this state of the call";
    /// The user is in another call.
    Busy = "busy", 409,
        "reserved: being busy is told by an event";
    /// Another device of the user has accepted.
    AcceptedElsewhere = "accepted_elsewhere", 409,
        "another device of the user is in the call";
    /// The call is over.
    AlreadyEnded = "already_ended", 409,
        "the call is over";
    /// No room for one more.
    CallFull = "call_full", 409,
        "no room";
    /// The call takes nobody in who is not invited.
    CallLocked = "call_locked", 403,
        "the call is locked, and who asks is not invited, or neither host nor cohost and would invite somebody";
    /// Whom it is about is not in the call.
    NotParticipant = "not_participant", 409,
        "who asks, or who is meant, is not in the call";
    /// It needs a media server, and none is configured or it does not answer.
    MediaUnavailable = "media_unavailable", 503,
        "needs a media server";
    /// A part of the system is away; the same command may be tried again.
    Unavailable = "unavailable", 503,
        "the database, the bus or the call's owner is away, or 256 commands wait for the call. Retryable. What is known to be out of reach is refused at once";
    /// A fault of the server.
    Internal = "internal", 500,
        "a fault of the server";
}

/// From another node. A code that only a later version has is a fault as far as this one can tell; whether trying again
/// may help stands beside it.
impl<'de> Deserialize<'de> for ErrorCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        Ok(Self::ALL.iter().copied().find(|code| code.as_str() == text).unwrap_or(Self::Internal))
    }
}

impl PartialSchema for ErrorCode {
    fn schema() -> RefOr<Schema> {
        let causes = Self::ALL.iter().map(|code| format!("- `{}`: {}\n", code.as_str(), code.cause()));
        let description = format!("What kind of refusal it is, and its cause:\n\n{}", causes.collect::<String>());
        let codes = ObjectBuilder::new().schema_type(Type::String).description(Some(description));
        codes.enum_values(Some(Self::ALL.iter().map(|code| code.as_str()))).into()
    }
}

impl ToSchema for ErrorCode {}

/// Why a command was refused: `{code, message, retryable, details?, traceId?}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// The kind of refusal, for programs.
    pub code: ErrorCode,
    /// The same for people; may change.
    #[schema(value_type = String)]
    pub message: Cow<'static, str>,
    /// The same command may succeed later, unchanged.
    pub retryable: bool,
    /// More about it, by code.
    #[schema(value_type = Option<Object>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<serde_json::Value>,
    /// The trace id of the command: 32 hexadecimal digits, by which logs, spans and timelines are found. Set where it is
    /// answered; nodes tell each other none, and none is kept for a repetition.
    #[schema(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<TraceId>,
}

impl Refusal {
    /// A refusal with its code's own answer to whether trying again may help.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        let retryable = matches!(code, ErrorCode::Unavailable | ErrorCode::RateLimited);
        Self { code, message: message.into(), retryable, details: None, trace_id: None }
    }

    /// As the asker is told it: with the trace of their command.
    pub fn traced(&self, trace_id: Option<TraceId>) -> Cow<'_, Self> {
        match trace_id {
            Some(_) => Cow::Owned(Self { trace_id, ..self.clone() }),
            None => Cow::Borrowed(self),
        }
    }

    /// What was sent is not what the protocol says.
    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::Invalid, message)
    }

    /// A part of the system is away.
    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::Unavailable, message)
    }
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        let code = match rejection {
            Rejection::NotFound => ErrorCode::NotFound,
            Rejection::Forbidden => ErrorCode::Forbidden,
            Rejection::Invalid(_) => ErrorCode::Invalid,
            Rejection::WrongState(_) => ErrorCode::WrongState,
            Rejection::AcceptedElsewhere => ErrorCode::AcceptedElsewhere,
            Rejection::AlreadyEnded => ErrorCode::AlreadyEnded,
            Rejection::CallFull => ErrorCode::CallFull,
            Rejection::CallLocked => ErrorCode::CallLocked,
            Rejection::NotParticipant => ErrorCode::NotParticipant,
            Rejection::MediaUnavailable(_) => ErrorCode::MediaUnavailable,
        };
        Self::new(code, rejection.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_of_a_later_version_is_a_fault_and_keeps_whether_to_try_again() {
        for code in ErrorCode::ALL {
            let text = serde_json::to_string(code).unwrap();
            assert_eq!(serde_json::from_str::<ErrorCode>(&text).unwrap(), *code);
        }
        let later = r#"{"code":"too_early","message":"not yet","retryable":true,"hint":7}"#;
        let refusal: Refusal = serde_json::from_str(later).unwrap();
        assert_eq!((refusal.code, refusal.retryable), (ErrorCode::Internal, true));
    }
}
