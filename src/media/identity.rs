//! Who a participant of a room is: `{user}#{device}`, for users and devices with any characters.
//!
//! Owns the form of LiveKit's identities. LiveKit takes at most 256 bytes of identity while a user id alone may have 512,
//! so a part that is too long stands as its hash, and the whole id is read from the participant's attributes, which the
//! access token carries and clients may not change. Must never name another user than the token was made for: a hash is
//! compared with the attribute before it is believed.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

use crate::domain::{DeviceId, UserId};

/// Between user and device; escaped within them.
const SEPARATOR: char = '#';
/// Before what is escaped; escaped itself.
const ESCAPE: char = '%';
/// Before a hash. Escaped at the beginning of a part, so that no id looks like a hash.
const HASHED: char = '~';
/// The longest part that stands as it is. Twice this and a separator must stay below the 256 bytes that LiveKit takes.
const MAX_PART_BYTES: usize = 120;
/// The user as an attribute of the participant.
pub const ATTRIBUTE_USER: &str = "carillon.user";
/// The device, likewise.
pub const ATTRIBUTE_DEVICE: &str = "carillon.device";

/// A user at one of their devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub user: UserId,
    pub device: DeviceId,
}

impl Identity {
    /// The text that LiveKit knows it by: at most 241 bytes.
    pub fn text(&self) -> String {
        format!("{}{SEPARATOR}{}", part(self.user.as_str()), part(self.device.as_str()))
    }

    /// Reads an identity and, for parts that stand as hashes, the attribute with this name. `None`: not one of ours.
    pub fn parse<'a>(identity: &str, attribute: impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        let (user, device) = identity.split_once(SEPARATOR)?;
        let user = UserId::new(unpart(user, || attribute(ATTRIBUTE_USER))?).ok()?;
        let device = DeviceId::new(unpart(device, || attribute(ATTRIBUTE_DEVICE))?).ok()?;
        Some(Self { user, device })
    }

    /// Whether an identity is this user's, at whichever device. Needs no attributes.
    pub fn is_of(identity: &str, user: &UserId) -> bool {
        identity.split_once(SEPARATOR).is_some_and(|(text, _)| text == part(user.as_str()))
    }
}

fn part(id: &str) -> String {
    let mut text = String::with_capacity(id.len());
    for (at, c) in id.char_indices() {
        if c == SEPARATOR || c == ESCAPE || (c == HASHED && at == 0) {
            text.push_str(&format!("{ESCAPE}{:02x}", u32::from(c)));
        } else {
            text.push(c);
        }
    }
    if text.len() <= MAX_PART_BYTES { text } else { format!("{HASHED}{}", hash(id)) }
}

fn unpart<'a>(text: &str, attribute: impl Fn() -> Option<&'a str>) -> Option<String> {
    if let Some(hashed) = text.strip_prefix(HASHED) {
        return attribute().filter(|id| hash(id) == hashed).map(str::to_owned);
    }
    let mut id = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(ESCAPE) {
        id.push_str(before);
        let digits = after.get(..2)?;
        id.push(char::from(u8::from_str_radix(digits, 16).ok()?));
        rest = after.get(2..)?;
    }
    id.push_str(rest);
    // One id has one text: what we would have written otherwise is not ours.
    (part(&id) == text).then_some(id)
}

fn hash(id: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(id.as_bytes()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn identity(user: &str, device: &str) -> Identity {
        Identity { user: UserId::new(user).unwrap(), device: DeviceId::new(device).unwrap() }
    }

    fn read_back(wanted: &Identity) -> Option<Identity> {
        Identity::parse(&wanted.text(), |name| match name {
            ATTRIBUTE_USER => Some(wanted.user.as_str()),
            ATTRIBUTE_DEVICE => Some(wanted.device.as_str()),
            _ => None,
        })
    }

    #[test]
    fn a_usual_identity_can_be_read_by_people() {
        assert_eq!(identity("alice", "phone").text(), "alice#phone");
        assert_eq!(identity("auth0|alice@example.org", "a b").text(), "auth0|alice@example.org#a b");
    }

    #[test]
    fn what_separates_and_escapes_is_escaped_within_ids() {
        let odd = identity("a#b%23~", "~c#");
        assert_eq!(odd.text(), "a%23b%2523~#%7ec%23");
        assert_eq!(Identity::parse(&odd.text(), |_| None), Some(odd));
    }

    #[test]
    fn an_identity_that_is_too_long_is_hashed_and_believed_only_with_the_attribute_that_fits() {
        let long = identity(&"ü".repeat(128), &"ö".repeat(128));
        assert!(long.text().len() <= 256, "{}", long.text().len());
        assert_eq!(read_back(&long), Some(long.clone()));
        assert_eq!(Identity::parse(&long.text(), |_| None), None);
        assert_eq!(Identity::parse(&long.text(), |_| Some("mallory")), None);
        assert!(Identity::is_of(&long.text(), &long.user));
    }

    #[test]
    fn what_we_did_not_write_is_not_read() {
        for text in ["", "alice", "#phone", "alice#", "a%zz#b", "a%2#b", "a%61#b", "~x#b", "EG_abc"] {
            assert_eq!(Identity::parse(text, |_| None), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_user_and_device_is_read_back_and_never_taken_for_another(
            user in "[^\\p{Cc}]{1,128}", device in "[^\\p{Cc}]{1,128}", other in "[#%~a]{1,4}",
        ) {
            let wanted = identity(&user, &device);
            prop_assert!(wanted.text().len() <= 256);
            prop_assert_eq!(read_back(&wanted), Some(wanted.clone()));
            prop_assert!(Identity::is_of(&wanted.text(), &wanted.user));
            let other = UserId::new(&other).unwrap();
            prop_assert_eq!(Identity::is_of(&wanted.text(), &other), other == wanted.user);
        }
    }
}
