//! Close codes of the protocol: when each is used, and when a client may come back.

use actix_web_actors::ws;

use crate::actors::CloseCause;

/// Why a socket is closed by the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// No or no good credentials, or no hello in time.
    Unauthenticated,
    TokenExpired,
    /// A newer session of the same device.
    Replaced,
    /// An operator has sent the user away.
    Operator,
    /// The client does not read.
    TooSlow,
    /// A frame over the bound.
    TooBig,
    /// It sends too much and does not heed refusals, or opens sessions too often.
    RateLimited {
        retry_after_ms: u64,
    },
    /// The node leaves, or cannot serve now; come back after so many milliseconds.
    Restarting {
        retry_after_ms: u64,
    },
    /// What came was no WebSocket.
    Protocol,
}

impl Close {
    /// The node cannot serve this session now.
    pub const RETRY_SOON: Self = Self::Restarting { retry_after_ms: 1_000 };

    /// The code on the wire, its name, and how long the client is to wait before it comes back, in milliseconds; no
    /// time: not with the same credentials, or not by itself.
    const fn parts(self) -> (u16, &'static str, Option<u64>) {
        match self {
            Self::Unauthenticated => (4001, "unauthenticated", None),
            Self::TokenExpired => (4002, "token_expired", None),
            Self::Replaced => (4003, "replaced", None),
            Self::Operator => (4010, "disconnected_by_operator", None),
            Self::TooSlow => (4008, "too_slow", Some(1_000)),
            Self::TooBig => (4009, "too_big", Some(1_000)),
            Self::RateLimited { retry_after_ms } => (4029, "rate_limited", Some(retry_after_ms)),
            Self::Restarting { retry_after_ms } => (1012, "restarting", Some(retry_after_ms)),
            Self::Protocol => (1002, "protocol_error", Some(5_000)),
        }
    }

    /// The reason as sent: JSON, so that a client can read `retryAfterMs`.
    pub fn reason(self) -> ws::CloseReason {
        let (code, name, retry_after) = self.parts();
        let retry = retry_after.map(|ms| format!(",\"retryAfterMs\":{ms}")).unwrap_or_default();
        ws::CloseReason { code: code.into(), description: Some(format!("{{\"code\":\"{name}\"{retry}}}")) }
    }
}

/// How a socket has ended, for `/metrics`: by which of our closes, or without any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By a close of ours; its time to wait is of no account.
    Ours(Close),
    /// The client said Close.
    ByClient,
    /// Two pings were not answered.
    Silent,
    /// The connection broke, or ended without a word.
    Lost,
}

impl Ended {
    /// All there are, in the order of their places.
    pub const ALL: [Self; 12] = [
        Self::Ours(Close::Unauthenticated),
        Self::Ours(Close::TokenExpired),
        Self::Ours(Close::Replaced),
        Self::Ours(Close::TooSlow),
        Self::Ours(Close::TooBig),
        Self::Ours(Close::RateLimited { retry_after_ms: 0 }),
        Self::Ours(Close::Restarting { retry_after_ms: 0 }),
        Self::Ours(Close::Protocol),
        Self::Ours(Close::Operator),
        Self::ByClient,
        Self::Silent,
        Self::Lost,
    ];

    /// Its place among them.
    pub const fn place(self) -> usize {
        match self {
            Self::Ours(close) => match close {
                Close::Unauthenticated => 0,
                Close::TokenExpired => 1,
                Close::Replaced => 2,
                Close::TooSlow => 3,
                Close::TooBig => 4,
                Close::RateLimited { .. } => 5,
                Close::Restarting { .. } => 6,
                Close::Protocol => 7,
                Close::Operator => 8,
            },
            Self::ByClient => 9,
            Self::Silent => 10,
            Self::Lost => 11,
        }
    }

    /// The close code that was sent, `none` if none was.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Ours(close) => match close {
                Close::Unauthenticated => "4001",
                Close::TokenExpired => "4002",
                Close::Replaced => "4003",
                Close::TooSlow => "4008",
                Close::TooBig => "4009",
                Close::RateLimited { .. } => "4029",
                Close::Restarting { .. } => "1012",
                Close::Protocol => "1002",
                Close::Operator => "4010",
            },
            Self::ByClient | Self::Silent | Self::Lost => "none",
        }
    }

    /// In a word.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Ours(close) => close.parts().1,
            Self::ByClient => "client",
            Self::Silent => "silent",
            Self::Lost => "lost",
        }
    }
}

impl From<CloseCause> for Close {
    fn from(cause: CloseCause) -> Self {
        match cause {
            CloseCause::Replaced => Self::Replaced,
            CloseCause::Operator => Self::Operator,
            CloseCause::TryAgain => Self::RETRY_SOON,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_has_its_own_place_and_the_code_that_is_sent() {
        for (place, how) in Ended::ALL.into_iter().enumerate() {
            assert_eq!(how.place(), place);
            if let Ended::Ours(close) = how {
                assert_eq!(how.code(), close.parts().0.to_string());
            }
        }
    }

    #[test]
    fn a_reason_says_when_to_come_back_and_fits_a_close_frame() {
        let reason = Close::RETRY_SOON.reason();
        assert_eq!(u16::from(reason.code), 1012);
        assert_eq!(reason.description.as_deref(), Some(r#"{"code":"restarting","retryAfterMs":1000}"#));
        let last = Close::TokenExpired.reason();
        assert_eq!(last.description.as_deref(), Some(r#"{"code":"token_expired"}"#));
        assert!(reason.description.unwrap().len() <= 123);
    }
}
