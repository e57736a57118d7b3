//! Refusals as clients see them: every code of the protocol, and what each kind of failure is mapped to.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::domain::Rejection;

macro_rules! error_codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $status:literal;)*) => {
        /// The error codes of the protocol.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        pub enum ErrorCode { $($(#[$doc])* #[serde(rename = $text)] $variant),* }

        impl ErrorCode {
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
    Unauthenticated = "unauthenticated", 401;
    /// The token was good and has run out.
    TokenExpired = "token_expired", 401;
    /// The asker may see this, but not do it.
    Forbidden = "forbidden", 403;
    /// There is no such thing, or the asker may not know of it.
    NotFound = "not_found", 404;
    /// The frame, its data or its event is not what the protocol says.
    Invalid = "invalid", 400;
    /// A part of it is over its bound.
    TooLarge = "too_large", 413;
    /// Too much at once; again later.
    RateLimited = "rate_limited", 429;
    /// An id or key that is taken by something else.
    Conflict = "conflict", 409;
    /// The call is not in a state that allows this.
    WrongState = "wrong_state", 409;
    /// The user is in another call.
    Busy = "busy", 409;
    /// Another device of the user has accepted.
    AcceptedElsewhere = "accepted_elsewhere", 409;
    /// The call is over.
    AlreadyEnded = "already_ended", 409;
    /// No room for one more.
    CallFull = "call_full", 409;
    /// The call takes nobody in.
    CallLocked = "call_locked", 403;
    /// Whom it is about is not in the call.
    NotParticipant = "not_participant", 409;
    /// It needs a media server, and none is configured or it does not answer.
    MediaUnavailable = "media_unavailable", 503;
    /// A part of the system is away; the same command may be tried again.
    Unavailable = "unavailable", 503;
    /// A fault of the server.
    Internal = "internal", 500;
}

/// Why a command was refused: `{code, message, retryable, details?}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Refusal {
    pub code: ErrorCode,
    pub message: Cow<'static, str>,
    /// The same command may succeed later, unchanged.
    pub retryable: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<serde_json::Value>,
}

impl Refusal {
    /// A refusal with its code's own answer to whether trying again may help.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        let retryable = matches!(code, ErrorCode::Unavailable | ErrorCode::RateLimited);
        Self { code, message: message.into(), retryable, details: None }
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
