//! JSON that passes through unread: offers, answers, metadata, signal payloads.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, schema::SchemaType},
};

/// A JSON value kept as the text it came in, cheap to clone. It may hold an SDP, so it has no `Display`, and its
/// `Debug` shows only its length.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Opaque(Arc<RawValue>);

impl Opaque {
    /// The JSON text.
    pub fn json(&self) -> &str {
        self.0.get()
    }

    /// The length of the JSON text in bytes.
    pub fn len(&self) -> usize {
        self.0.get().len()
    }

    /// Never: a JSON value has at least one character. Here because clippy asks for it beside `len`.
    pub fn is_empty(&self) -> bool {
        false
    }
}

/// Reads an optional field of an event: what stands there is kept, also a `null`, so that an event comes back from the
/// store as it went in. (By itself serde takes `null` for absent.)
pub(super) fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Opaque>, D::Error> {
    Opaque::deserialize(deserializer).map(Some)
}

impl PartialSchema for Opaque {
    fn schema() -> RefOr<Schema> {
        let any = ObjectBuilder::new().schema_type(SchemaType::AnyValue);
        any.description(Some("Any JSON; it passes through unread.")).into()
    }
}

impl ToSchema for Opaque {}

impl From<&RawValue> for Opaque {
    fn from(raw: &RawValue) -> Self {
        Self(raw.to_owned().into())
    }
}

impl PartialEq for Opaque {
    fn eq(&self, other: &Self) -> bool {
        self.json() == other.json()
    }
}

impl Eq for Opaque {}

impl fmt::Debug for Opaque {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} bytes]", self.len())
    }
}
