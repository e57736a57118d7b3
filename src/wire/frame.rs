//! Frames from server to client: JSON text, made once and shared by every socket it goes to.

use std::fmt;

use bytestring::ByteString;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::Refusal;

/// One JSON text, cheap to clone. May hold an SDP: `Debug` shows only its length.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame(ByteString);

impl Frame {
    /// The text.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The text, for a socket.
    pub fn into_bytes(self) -> ByteString {
        self.0
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Never true of a frame; beside `len` as clippy asks.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same event with one field more at the end of its data. What is no event with data is left as it is.
    pub fn with_data_field(&self, name: &str, value: &impl Serialize) -> Self {
        let Some(before) = self.text().strip_suffix("}}") else { return self.clone() };
        let mut out = Writer::with_capacity(self.len() + 1024);
        out.raw(before).field(name, value).raw("}}");
        out.done()
    }

    /// The answer to the command the client numbered `id`; `data` is JSON.
    pub fn reply_ok(id: &str, data: &str) -> Self {
        let mut out = Writer::with_capacity(32 + id.len() + data.len());
        out.raw("{\"reply\":").value(id).raw(",\"ok\":true,\"data\":").raw(data).raw("}");
        out.done()
    }

    /// The refusal of the command the client numbered `id`.
    pub fn reply_err(id: &str, refusal: &Refusal) -> Self {
        let mut out = Writer::with_capacity(128);
        out.raw("{\"reply\":").value(id).raw(",\"ok\":false,\"error\":").value(refusal).raw("}");
        out.done()
    }

    /// The event `error`: the refusal of a command that had no id, or of a frame that was none.
    pub fn error_event(event: Option<&str>, refusal: &Refusal) -> Self {
        let mut out = Writer::with_capacity(160);
        out.raw("{\"event\":\"error\",\"data\":{\"event\":").value(&event).raw(",\"error\":").value(refusal).raw("}}");
        out.done()
    }

    /// An event with data that serializes to an object.
    pub fn event(name: &str, data: &impl Serialize) -> Self {
        let mut out = Writer::with_capacity(128);
        out.raw("{\"event\":").value(name).raw(",\"data\":").value(data).raw("}");
        out.done()
    }
}

impl From<String> for Frame {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<ByteString> for Frame {
    fn from(text: ByteString) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[frame of {} bytes]", self.len())
    }
}

/// As the JSON it holds, not as a string.
impl Serialize for Frame {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Frame {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Self(String::from(Box::<str>::from(raw)).into()))
    }
}

/// Writes JSON text field by field, so that parts which are JSON already are copied and not parsed.
pub struct Writer(Vec<u8>);

impl Writer {
    /// A writer that expects about this many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// Appends text that is JSON, or a part of it.
    pub fn raw(&mut self, json: &str) -> &mut Self {
        self.0.extend_from_slice(json.as_bytes());
        self
    }

    /// Appends a value.
    pub fn value(&mut self, value: &(impl Serialize + ?Sized)) -> &mut Self {
        // Writing to memory does not fail, and the types rendered here have no maps with keys that are not strings;
        // `null` keeps the text JSON if one ever should.
        let before = self.0.len();
        if serde_json::to_writer(&mut self.0, value).is_err() {
            self.0.truncate(before);
            self.0.extend_from_slice(b"null");
        }
        self
    }

    /// Appends `,"name":value`.
    pub fn field(&mut self, name: &str, value: &(impl Serialize + ?Sized)) -> &mut Self {
        self.raw(",\"").raw(name).raw("\":").value(value)
    }

    /// Appends `,"name":value` unless there is none.
    pub fn optional(&mut self, name: &str, value: Option<&(impl Serialize + ?Sized)>) -> &mut Self {
        if let Some(value) = value {
            self.field(name, value);
        }
        self
    }

    /// The frame.
    pub fn done(self) -> Frame {
        // Only `&str` and serde_json ever write here, and both write UTF-8.
        Frame(String::from_utf8(self.0).unwrap_or_default().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_from_outside_is_escaped_in_the_reply() {
        assert_eq!(Frame::reply_ok("a\"b", "{}").text(), r#"{"reply":"a\"b","ok":true,"data":{}}"#);
    }

    #[test]
    fn an_event_takes_one_field_more() {
        let frame = Frame::from(r#"{"event":"x","data":{"callId":"c"}}"#.to_owned());
        assert_eq!(frame.with_data_field("media", &1).text(), r#"{"event":"x","data":{"callId":"c","media":1}}"#);
    }

    #[test]
    fn a_frame_travels_as_json_and_not_as_a_string() {
        let frame = Frame::from(r#"{"event":"x","data":{"sdp":"v=0\r\n"}}"#.to_owned());
        let json = serde_json::to_string(&vec![frame.clone()]).unwrap();
        assert_eq!(json, r#"[{"event":"x","data":{"sdp":"v=0\r\n"}}]"#);
        assert_eq!(serde_json::from_str::<Vec<Frame>>(&json).unwrap(), vec![frame]);
    }
}
