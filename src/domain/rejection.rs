//! Why a command is refused. A refusal is an answer, not a fault: nothing has changed.

/// Refusals by the rules of calls. The gateway maps each to a code of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// Also for a call that exists but is none of the asker's business: absent and forbidden look alike.
    #[error("there is no such call")]
    NotFound,
    #[error("your role does not allow this")]
    Forbidden,
    #[error("{0}")]
    Invalid(&'static str),
    #[error("the call is not in a state that allows this: {0}")]
    WrongState(&'static str),
    #[error("another of your devices has accepted the call")]
    AcceptedElsewhere,
    #[error("the call has ended")]
    AlreadyEnded,
    #[error("the call has no room for more participants")]
    CallFull,
    #[error("the call is locked")]
    CallLocked,
    #[error("no such participant is in the call")]
    NotParticipant,
    /// It needs a media server, and there is none, or it cannot do it now.
    #[error("{0}")]
    MediaUnavailable(&'static str),
}
