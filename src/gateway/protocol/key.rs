//! The key that a client gives a command, so that it can be repeated without fear: over a socket and by header.

use std::borrow::Cow;

use serde_json::Value;

use super::Spec;
use crate::{actors::keyed::CommandKey, domain::UserId, wire::Refusal};

/// The longest key, in characters. Shorter would refuse keys that are in use elsewhere; longer ones serve nobody.
const MAX_KEY_CHARS: usize = 255;

/// 1 to 255 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey<'a>(Cow<'a, str>);

fn refused() -> Refusal {
    Refusal::invalid("an idempotency key is 1 to 255 visible ASCII characters")
}

impl<'a> IdempotencyKey<'a> {
    /// As it stands in a frame.
    pub fn new(text: impl Into<Cow<'a, str>>) -> Result<Self, Refusal> {
        let text = text.into();
        let fits = (1..=MAX_KEY_CHARS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if fits { Ok(Self(text)) } else { Err(refused()) }
    }

    /// The key itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As it stands in the header `Idempotency-Key`: bare, or a string in quotes (RFC 8941), which is the same key.
    pub fn from_header(value: &'a [u8]) -> Result<Self, Refusal> {
        let text = std::str::from_utf8(value).map_err(|_| refused())?.trim_matches([' ', '\t']);
        let Some(quoted) = text.strip_prefix('"') else { return Self::new(text) };
        let mut key = String::with_capacity(quoted.len());
        let mut chars = quoted.chars();
        loop {
            match chars.next() {
                Some('"') if chars.as_str().is_empty() => return Self::new(key),
                Some('\\') => match chars.next() {
                    Some(escaped @ ('"' | '\\')) => key.push(escaped),
                    _ => return Err(refused()),
                },
                Some('"') | None => return Err(refused()),
                Some(plain) => key.push(plain),
            }
        }
    }
}

/// What the key makes of a user's command; `None`: it has none, or needs none.
pub fn key_for(
    key: Option<IdempotencyKey<'_>>,
    user: &UserId,
    spec: &Spec,
    data: impl FnOnce() -> Result<Value, serde_json::Error>,
) -> Result<Option<CommandKey>, Refusal> {
    let Some(IdempotencyKey(key)) = key.filter(|_| spec.takes_key) else { return Ok(None) };
    // What is too deep to be read as a whole is left for those without a key.
    let data = data().map_err(|error| super::wrong("data", &error))?;
    Ok(Some(CommandKey::new(user, &key, spec.event, &data)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_quotes_is_the_same_key() {
        let bare = IdempotencyKey::new("8e03978e-40d5").unwrap();
        for header in ["8e03978e-40d5", "\"8e03978e-40d5\"", "  \"8e03978e-40d5\"\t"] {
            assert_eq!(IdempotencyKey::from_header(header.as_bytes()).unwrap(), bare, "{header}");
        }
        let escaped = IdempotencyKey::from_header(br#""a\"b\\c""#).unwrap();
        assert_eq!(escaped, IdempotencyKey::new(r#"a"b\c"#).unwrap());
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let long = "k".repeat(256);
        for text in ["", " ", "a b", "ü", "a\u{7f}", long.as_str()] {
            assert!(IdempotencyKey::new(text).is_err(), "{text}");
            assert!(IdempotencyKey::from_header(text.as_bytes()).is_err(), "{text}");
        }
        for header in ["\"", "\"a", "\"a\"b", "\"a\";p=1", "\"a\\n\"", "\"\"", "\"a b\"", "a, b"] {
            assert!(IdempotencyKey::from_header(header.as_bytes()).is_err(), "{header}");
        }
        assert!(IdempotencyKey::from_header(b"a\xff").is_err());
        assert!(IdempotencyKey::new("k".repeat(255)).is_ok());
    }
}
