//! Links to recordings that carry their own right: signed by a key that all nodes have.
//!
//! A user's link binds recording, user and the time it ends; a public link binds the recording and since when it is
//! public, so that taking it back and giving it anew makes another. Whether the user may still see the recording, and
//! whether it is still public, is asked when the link is used: a signature alone opens nothing for ever.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::{
    domain::{RecordingId, Timestamp, UserId},
    secret::Secret,
};

/// How long a user's link is good: to begin a download, and to go on with it after a break. Longer, and one that was
/// passed on opens for longer.
pub const LINK_TTL: Duration = Duration::from_secs(15 * 60);

/// Signs and checks links.
#[derive(Clone)]
pub struct Links {
    key: Hmac<Sha256>,
}

impl Links {
    /// By a secret that all nodes share; it may be used for other things too.
    pub fn new(secret: &Secret) -> Self {
        let mut derived = hmac(secret.reveal().as_bytes());
        derived.update(b"carillon links to recordings 1");
        Self { key: hmac(&derived.finalize().into_bytes()) }
    }

    fn sign(&self, kind: &str, recording: &RecordingId, rest: &str, at: Timestamp) -> Hmac<Sha256> {
        let mut mac = self.key.clone();
        // The lengths keep the parts apart, whatever they hold.
        for part in [kind, recording.as_str(), rest] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        mac.update(&at.as_millis().to_be_bytes());
        mac
    }

    /// The signature of a user's link.
    pub fn of_user(&self, recording: &RecordingId, user: &UserId, until: Timestamp) -> String {
        text(self.sign("user", recording, user.as_str(), until))
    }

    /// Whether a user's link is ours and not over.
    pub fn fits_user(
        &self,
        recording: &RecordingId,
        user: &UserId,
        until: Timestamp,
        now: Timestamp,
        signature: &str,
    ) -> bool {
        now < until && fits(self.sign("user", recording, user.as_str(), until), signature)
    }

    /// The secret part of a public link.
    pub fn of_public(&self, recording: &RecordingId, since: Timestamp) -> String {
        text(self.sign("public", recording, "", since))
    }

    /// Whether a public link is the one that was given then.
    pub fn fits_public(&self, recording: &RecordingId, since: Timestamp, signature: &str) -> bool {
        fits(self.sign("public", recording, "", since), signature)
    }
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
fn hmac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("any length")
}

fn text(mac: Hmac<Sha256>) -> String {
    URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
}

/// In the same time whatever differs.
fn fits(mac: Hmac<Sha256>, signature: &str) -> bool {
    URL_SAFE_NO_PAD.decode(signature).is_ok_and(|bytes| mac.verify_slice(&bytes).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_good_for_its_recording_its_user_and_its_time_alone() {
        let links = Links::new(&Secret::new("a secret of all nodes"));
        let id = |text: &str| RecordingId::new(text).unwrap();
        let user = |text: &str| UserId::new(text).unwrap();
        let at = |secs: i64| Timestamp::from_millis(secs * 1000);
        let signed = links.of_user(&id("r"), &user("alice"), at(100));
        assert!(links.fits_user(&id("r"), &user("alice"), at(100), at(99), &signed));
        assert!(!links.fits_user(&id("r"), &user("alice"), at(100), at(100), &signed), "it is over");
        assert!(!links.fits_user(&id("r"), &user("alice"), at(101), at(99), &signed), "made longer");
        assert!(!links.fits_user(&id("r"), &user("bob"), at(100), at(99), &signed));
        assert!(!links.fits_user(&id("s"), &user("alice"), at(100), at(99), &signed));
        assert!(!links.fits_user(&id("ra"), &user("lice"), at(100), at(99), &signed));
        assert!(!links.fits_public(&id("r"), at(100), &signed), "of another kind");
        for forged in ["", "AAAA", "%", &signed[1..]] {
            assert!(!links.fits_user(&id("r"), &user("alice"), at(100), at(99), forged), "{forged}");
        }
        let other = Links::new(&Secret::new("another secret"));
        assert!(!other.fits_user(&id("r"), &user("alice"), at(100), at(99), &signed));
    }

    #[test]
    fn a_public_link_that_was_taken_back_and_given_anew_is_another() {
        let links = Links::new(&Secret::new("a secret of all nodes"));
        let id = RecordingId::new("r").unwrap();
        let (first, second) = (Timestamp::from_millis(1), Timestamp::from_millis(2));
        let link = links.of_public(&id, first);
        assert!(links.fits_public(&id, first, &link) && !links.fits_public(&id, second, &link));
    }
}
