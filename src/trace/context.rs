//! Ids of traces and spans, and how they travel: W3C Trace Context (<https://www.w3.org/TR/trace-context/>).
//!
//! Pure: text and numbers, and nothing else. What a client sent that is not as that says counts as not sent.

use std::{fmt, num::NonZeroU64, num::NonZeroU128};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// Names one trace in the whole world: 16 bytes, not all zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId(NonZeroU128);

/// Names a span within its trace: 8 bytes, not all zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId(NonZeroU64);

/// Where in a trace something happens: what is done because of it belongs below this span.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    pub trace: TraceId,
    pub span: SpanId,
    /// Spans are recorded of it, where that is switched on.
    pub sampled: bool,
}

impl TraceId {
    /// A new one. From the thread's generator: some nanoseconds.
    pub fn random() -> Self {
        Self(NonZeroU128::new(rand::random()).unwrap_or(NonZeroU128::MIN))
    }

    /// As the tables keep it.
    pub fn as_uuid(self) -> Uuid {
        Uuid::from_u128(self.0.get())
    }

    /// The reverse; `None` for the id that is none.
    pub fn from_uuid(id: Uuid) -> Option<Self> {
        NonZeroU128::new(id.as_u128()).map(Self)
    }

    /// The bytes, most significant first.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.get().to_be_bytes()
    }

    fn parse(text: &str) -> Option<Self> {
        NonZeroU128::new(u128::from_be_bytes(from_hex(text)?)).map(Self)
    }
}

impl SpanId {
    /// A new one.
    pub fn random() -> Self {
        Self(NonZeroU64::new(rand::random()).unwrap_or(NonZeroU64::MIN))
    }

    /// The bytes, most significant first.
    pub fn to_bytes(self) -> [u8; 8] {
        self.0.get().to_be_bytes()
    }

    fn parse(text: &str) -> Option<Self> {
        NonZeroU64::new(u64::from_be_bytes(from_hex(text)?)).map(Self)
    }
}

/// So many bytes, in the digits that the standard allows: lower case only. By hand, as [`to_hex`]: each message about a
/// call's events is written and read with one of these, and what formats numbers takes ten times as long.
fn from_hex<const BYTES: usize>(text: &str) -> Option<[u8; BYTES]> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != BYTES || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; BYTES];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

fn to_hex(bytes: &[u8], digits: &mut [u8]) {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    for (byte, pair) in bytes.iter().zip(digits.as_chunks_mut::<2>().0) {
        *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
    }
}

/// Text that was made of digits and dashes.
fn as_text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

impl TraceContext {
    /// The beginning of a trace.
    pub fn random(sampled: bool) -> Self {
        Self { trace: TraceId::random(), span: SpanId::random(), sampled }
    }

    /// A `traceparent`; `None` if it is not as the standard says. One of a later version is read as far as this one
    /// knows it.
    pub fn parse(traceparent: &str) -> Option<Self> {
        // All four parts are of fixed length, so `get` finds them without splitting.
        let (version, rest) = (traceparent.get(..2)?, traceparent.get(55..)?);
        let ends = if version == "00" { rest.is_empty() } else { rest.is_empty() || rest.starts_with('-') };
        let dashed = [2, 35, 52].iter().all(|at| traceparent.as_bytes().get(*at) == Some(&b'-'));
        if from_hex::<1>(version)? == [0xff] || !ends || !dashed {
            return None;
        }
        let [flags] = from_hex(traceparent.get(53..55)?)?;
        Some(Self {
            trace: TraceId::parse(traceparent.get(3..35)?)?,
            span: SpanId::parse(traceparent.get(36..52)?)?,
            sampled: flags & 1 == 1,
        })
    }

    /// As a `traceparent`.
    fn written(&self) -> [u8; 55] {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        to_hex(&self.trace.to_bytes(), &mut text[3..35]);
        to_hex(&self.span.to_bytes(), &mut text[36..52]);
        text[54] = if self.sampled { b'1' } else { b'0' };
        text
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; 32];
        to_hex(&self.to_bytes(), &mut digits);
        f.write_str(as_text(&digits))
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; 16];
        to_hex(&self.to_bytes(), &mut digits);
        f.write_str(as_text(&digits))
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// As a `traceparent`.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(as_text(&self.written()))
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for TraceContext {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(as_text(&self.written()))
    }
}

/// For a field of a message between nodes: text that is no `traceparent` is as good as none, so that it costs nobody the
/// message.
pub fn lenient<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<TraceContext>, D::Error> {
    let text = Option::<std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
    Ok(text.and_then(|text| TraceContext::parse(&text)))
}

impl Serialize for TraceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TraceId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not a trace id"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_traceparent_is_read_and_written_as_the_standard_has_it() {
        let context = TraceContext::parse(GOOD).unwrap();
        assert_eq!(context.trace.to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(context.span.to_string(), "b7ad6b7169203331");
        assert!(context.sampled);
        assert_eq!(context.to_string(), GOOD);
        let not_sampled = TraceContext::parse(&GOOD.replace("-01", "-00")).unwrap();
        assert!(!not_sampled.sampled);
        // Other flags are passed over.
        assert!(TraceContext::parse(&GOOD.replace("-01", "-ff")).unwrap().sampled);
        assert_eq!(TraceId::from_uuid(context.trace.as_uuid()), Some(context.trace));
    }

    #[test]
    fn one_of_a_later_version_is_read_as_far_as_it_is_known() {
        for text in [GOOD.replace("00-0af", "01-0af"), GOOD.replace("00-0af", "cc-0af") + "-more-of-it"] {
            assert_eq!(TraceContext::parse(&text), TraceContext::parse(GOOD), "{text}");
        }
    }

    #[test]
    fn what_is_no_traceparent_counts_as_not_sent() {
        let wrong = [
            String::new(),
            "00".to_owned(),
            GOOD.to_uppercase(),
            GOOD.replace("00-0af", "ff-0af"),
            GOOD.replace("00-0af", "0-0af"),
            GOOD.replace("00-0af", "+0-0af"),
            format!("{GOOD}-"),
            format!("{GOOD}00"),
            GOOD.replace("00-0af", "01-0af") + "x",
            GOOD.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            GOOD.replace("b7ad6b7169203331", &"0".repeat(16)),
            GOOD.replace("b7ad", "b7ag"),
            GOOD.replace("-b7ad", "_b7ad"),
            GOOD.replace("-01", "-0g"),
            GOOD.replace("-01", "-1"),
            GOOD.replace("c80319c", "c8031é"),
            format!(" {GOOD}"),
            "-".repeat(55),
            "é".repeat(40),
        ];
        for text in wrong {
            assert_eq!(TraceContext::parse(&text), None, "{text}");
        }
    }

    #[test]
    fn in_a_message_it_is_text_and_nonsense_costs_nobody_the_message() {
        #[derive(Deserialize)]
        struct Message {
            #[serde(default, deserialize_with = "lenient")]
            trace: Option<TraceContext>,
        }
        let read = |json: &str| serde_json::from_str::<Message>(json).unwrap().trace;
        let context = TraceContext::random(true);
        let json = serde_json::json!({"trace": context}).to_string();
        assert_eq!(read(&json), Some(context));
        for nothing in ["{}", r#"{"trace":null}"#, r#"{"trace":"x\n"}"#] {
            assert_eq!(read(nothing), None, "{nothing}");
        }
    }
}
