//! What can go wrong in the store, in two words for callers (may I retry, may it have happened) and in a few more
//! for the store itself.
//!
//! Must never carry what a row holds: PostgreSQL puts row values into the detail of its errors.

use diesel::result::{DatabaseErrorKind, Error};

/// Why the store did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The database is away, or did not settle in time. Retry later.
    #[error("the database is not available")]
    Unavailable {
        /// It may have happened all the same: ask for it by its command id, or repeat it with the same one.
        unknown_outcome: bool,
    },
    /// Too much is waiting already; nothing was done. Retry later, and less.
    #[error("the store has too much to do")]
    Overloaded,
    /// A retry would fail in the same way.
    #[error("the database refuses: {0}")]
    Permanent(String),
    /// What is stored cannot be read: written by a newer version, or damaged.
    #[error("cannot read what is stored: {0}")]
    Unreadable(&'static str),
    /// The address or the settings are wrong.
    #[error("{0}")]
    Setup(String),
}

impl StoreError {
    /// The same again may succeed later.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Overloaded)
    }
}

/// What a failed statement means for the connection and for another try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// The connection is of no use any more; whether the statement took effect is unknown.
    Broken,
    /// Rolled back because of somebody else's work at the same moment: a repetition may pass.
    Conflict,
    /// Took too long, or the disk is full: rolled back, and a repetition now is no help.
    Busy,
    /// The server takes no writes now: it is a standby, or failing over.
    ReadOnly,
    /// The statement itself is at fault.
    Permanent(String),
    /// A stored value does not parse.
    Unreadable(&'static str),
}

impl Fault {
    /// As callers are told.
    pub fn into_error(self) -> StoreError {
        match self {
            Self::Broken => StoreError::Unavailable { unknown_outcome: true },
            Self::Conflict | Self::Busy | Self::ReadOnly => StoreError::Unavailable { unknown_outcome: false },
            Self::Permanent(what) => StoreError::Permanent(what),
            Self::Unreadable(what) => StoreError::Unreadable(what),
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match &error {
            Error::DatabaseError(kind, info) => match kind {
                DatabaseErrorKind::SerializationFailure => Self::Conflict,
                DatabaseErrorKind::ReadOnlyTransaction => Self::ReadOnly,
                DatabaseErrorKind::UnableToSendCommand | DatabaseErrorKind::ClosedConnection => Self::Broken,
                DatabaseErrorKind::Unknown => by_message(info.message()),
                kind => Self::Permanent(match info.constraint_name() {
                    Some(constraint) => format!("{kind:?} ({constraint})"),
                    None => format!("{kind:?}"),
                }),
            },
            Error::BrokenTransactionManager | Error::AlreadyInTransaction | Error::NotInTransaction => Self::Broken,
            Error::RollbackErrorOnCommit { .. } => Self::Broken,
            Error::DeserializationError(_) => Self::Unreadable("a column"),
            Error::NotFound => Self::Permanent("not found".into()),
            _ => Self::Permanent("a statement cannot be built".into()),
        }
    }
}

/// diesel hides the SQLSTATE of errors it has no name for, deadlocks (40P01) among them. The texts are those of
/// `lc_messages = C`, which the connection asks for; what is not recognised counts as permanent.
fn by_message(message: &str) -> Fault {
    let has = |text: &str| message.contains(text);
    if has("deadlock detected") || has("could not serialize") {
        Fault::Conflict
    } else if has("due to lock timeout")
        || has("due to statement timeout")
        || has("database is locked")
        || has("database table is locked")
        || has("disk is full")
        || has("disk I/O error")
        || has("unable to open database file")
        || has("No space left")
    {
        Fault::Busy
    } else if has("readonly database") || has("read-only transaction") {
        Fault::ReadOnly
    } else if has("terminating connection") || has("the database system is") || has("idle-in-transaction timeout") {
        Fault::Broken
    } else {
        Fault::Permanent(without_values(message))
    }
}

/// PostgreSQL quotes the values and names in its messages: what stands before the first of them is safe to show.
fn without_values(message: &str) -> String {
    let end = message.find(['"', '\'', '(', ':', '\n']).unwrap_or(message.len());
    message[..end].trim_end().chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown(message: &str) -> Fault {
        Error::DatabaseError(DatabaseErrorKind::Unknown, Box::new(message.to_owned())).into()
    }

    #[test]
    fn a_deadlock_is_tried_again_though_diesel_has_no_name_for_it() {
        assert_eq!(unknown("deadlock detected"), Fault::Conflict);
    }

    #[test]
    fn timeouts_are_retryable_for_the_caller_and_did_not_happen() {
        for message in [
            "canceling statement due to statement timeout",
            "canceling statement due to lock timeout",
            "database is locked",
        ] {
            assert_eq!(unknown(message).into_error(), StoreError::Unavailable { unknown_outcome: false }, "{message}");
        }
    }

    #[test]
    fn an_error_shows_no_value_of_a_row() {
        let fault = unknown("invalid input syntax for type uuid: \"secret\"");
        assert_eq!(fault, Fault::Permanent("invalid input syntax for type uuid".into()));
        let fault: Fault =
            Error::DatabaseError(DatabaseErrorKind::UniqueViolation, Box::new("Key (a)=(secret)".to_owned())).into();
        assert!(!format!("{fault:?}{}", fault.clone().into_error()).contains("secret"));
    }
}
