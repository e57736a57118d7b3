//! The identifiers of the field: call, user, device, session, group, node.
//!
//! Each is its own type, cheap to clone (a shared string), and validated where it enters from outside.
//! None of them is secret; what is secret lives in [`crate::secret`].

use std::{borrow::Borrow, fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, schema::Type},
};

/// Why a string is not an identifier of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {problem}")]
pub struct InvalidId {
    kind: &'static str,
    problem: &'static str,
}

/// The longest identifier, in characters. User ids are promised 128 by the protocol; a larger bound would let an
/// index row of PostgreSQL outgrow a third of a page for ids of four-byte characters.
pub const MAX_ID_CHARS: usize = 128;

macro_rules! string_id {
    ($(#[doc = $doc:literal])* $name:ident, $kind:literal, $accepts:expr, $pattern:expr, $rule:literal) => {
        $(#[doc = $doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the length (1 to [`MAX_ID_CHARS`] characters) and the characters.
            pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidId> {
                let text = text.as_ref();
                let accepts: fn(char) -> bool = $accepts;
                let problem = if text.is_empty() {
                    "is empty"
                } else if text.len() > MAX_ID_CHARS && text.chars().count() > MAX_ID_CHARS {
                    "is longer than 128 characters"
                } else if !text.chars().all(accepts) {
                    $rule
                } else {
                    return Ok(Self(text.into()));
                };
                Err(InvalidId { kind: $kind, problem })
            }

            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::new(text).map_err(serde::de::Error::custom)
            }
        }

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some($pattern));
                let text = text.min_length(Some(1)).max_length(Some(MAX_ID_CHARS));
                text.description(Some(concat!($($doc),*).trim())).into()
            }
        }

        impl ToSchema for $name {}
    };
}

/// Ids that clients put into paths and room names.
fn is_token_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "._~:@=+-".contains(c)
}

fn is_no_control(c: char) -> bool {
    !c.is_control()
}

/// [`is_token_char`] as a regular expression of JSON Schema.
const TOKEN: &str = "^[A-Za-z0-9._~:@=+-]+$";
/// [`is_no_control`] likewise.
const NO_CONTROL: &str = r"^[^\u0000-\u001f\u007f-\u009f]+$";

string_id!(
    /// A call, in the whole cluster. Chosen by the client that starts it, or made here.
    CallId, "callId", is_token_char, TOKEN, "may hold only letters, digits and ._~:@=+-"
);
string_id!(
    /// A user, as the application names them: the `sub` of their token.
    UserId, "userId", is_no_control, NO_CONTROL, "holds a control character"
);
string_id!(
    /// One device of a user: stable over reconnects, unique within the user.
    DeviceId, "deviceId", is_no_control, NO_CONTROL, "holds a control character"
);
string_id!(
    /// A group whose members may call each other, managed by the application.
    GroupId, "groupId", is_no_control, NO_CONTROL, "holds a control character"
);
string_id!(
    /// One run of one server process: a node that restarts is another node.
    NodeId, "nodeId", is_token_char, TOKEN, "may hold only letters, digits and ._~:@=+-"
);
string_id!(
    /// One recording of a call. Made here.
    RecordingId, "recordingId", is_token_char, TOKEN, "may hold only letters, digits and ._~:@=+-"
);
string_id!(
    /// One connection of one device.
    SessionId, "sessionId", is_token_char, TOKEN, "may hold only letters, digits and ._~:@=+-"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_bounded_and_free_of_control_characters() {
        assert!(UserId::new("").is_err());
        assert!(UserId::new("ü".repeat(128)).is_ok());
        assert!(UserId::new("ü".repeat(129)).is_err());
        assert!(UserId::new("a\nb").is_err());
        assert!(UserId::new("a\0b").is_err());
        assert!(CallId::new("room 1").is_err());
        assert!(CallId::new("0190-a.b_c~d:e@f=g+h").is_ok());
        assert!(serde_json::from_str::<CallId>("\"a/b\"").is_err());
    }
}
