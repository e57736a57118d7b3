//! ICE servers for clients: STUN, and TURN with credentials that run out.
//!
//! Owns the shared-secret scheme that coturn implements (`use-auth-secret`, "A REST API For Access To TURN Services"):
//! username `expiry:user`, password base64(HMAC-SHA1(secret, username)). Asks nobody, keeps nothing. Credentials are the
//! user's own, so that a relay's quota holds for each by themselves, and whoever is given away can be told.

use std::time::Duration;

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::{Media, TurnConfig};
use crate::domain::{Timestamp, UserId};

/// Credentials change this often, at the same moments for everybody: within a period an answer can be kept. They are
/// good for between one and two periods. Longer, and what leaks is of use for longer; shorter, and calls that last ask
/// for new ones more often (a relay that is allocated lives on).
pub const PERIOD: Duration = Duration::from_secs(30 * 60);
/// The longest user id that stands in a username as it is. coturn takes 512 bytes in all.
const MAX_USER_BYTES: usize = 128;

/// One entry of a client's `iceServers`, as `RTCPeerConnection` takes it.
#[derive(Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct IceServer {
    /// Its addresses.
    pub urls: Vec<String>,
    /// Of a relay: the user name, which says when it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Of a relay: the password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

impl std::fmt::Debug for IceServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IceServer").field("urls", &self.urls).finish_non_exhaustive()
    }
}

impl Media {
    /// What a user's peer connections need, with credentials of the user's own. Local, no network.
    pub fn ice_servers(&self, user: &UserId, now: Timestamp) -> Vec<IceServer> {
        let config = &self.inner.config;
        let stun = IceServer { urls: config.stun_urls.clone(), username: None, credential: None };
        let turn = config.turn.as_ref().and_then(|turn| relay(turn, user, now));
        // Who uses relays only must not be found by anything else.
        let stun = (!config.stun_urls.is_empty() && !config.relay_only).then_some(stun);
        stun.into_iter().chain(turn).collect()
    }

    /// `relay` if clients are to use relays only, as `RTCPeerConnection`'s `iceTransportPolicy`.
    pub fn ice_transport_policy(&self) -> Option<&'static str> {
        self.inner.config.relay_only.then_some("relay")
    }
}

/// How long an answer of [`Media::ice_servers`] stays the same: until the period's end.
pub fn fresh_for(now: Timestamp) -> Duration {
    expiry(now).since(now).saturating_sub(PERIOD)
}

/// The end of the period after this one.
fn expiry(now: Timestamp) -> Timestamp {
    let period = i64::try_from(PERIOD.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis((now.as_millis().div_euclid(period) + 2).saturating_mul(period))
}

fn relay(turn: &TurnConfig, user: &UserId, now: Timestamp) -> Option<IceServer> {
    let username = format!("{}:{}", expiry(now).as_millis() / 1000, name(user));
    // HMAC takes keys of any length.
    let mut mac = Hmac::<Sha1>::new_from_slice(turn.secret.reveal().as_bytes()).ok()?;
    mac.update(username.as_bytes());
    let credential = STANDARD.encode(mac.finalize().into_bytes());
    Some(IceServer { urls: turn.urls.clone(), username: Some(username), credential: Some(credential) })
}

/// The user as a username holds them: as they are, or hashed if coturn would stumble over it.
fn name(user: &UserId) -> String {
    let id = user.as_str();
    let plain = |c: char| c.is_ascii_alphanumeric() || "._@+=-".contains(c);
    if id.len() <= MAX_USER_BYTES && id.chars().all(plain) && !id.starts_with("sha256-") {
        return id.to_owned();
    }
    format!("sha256-{}", URL_SAFE_NO_PAD.encode(Sha256::digest(id.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{media::MediaConfig, secret::Secret};

    fn media(relay_only: bool) -> Media {
        let turn = TurnConfig { urls: vec!["turn:t.example".to_owned()], secret: Secret::new("canary") };
        let stun_urls = vec!["stun:s.example".to_owned()];
        Media::start(MediaConfig { livekit: None, stun_urls, turn: Some(turn), relay_only, files: None }).unwrap()
    }

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_millis(secs * 1000)
    }

    fn turn_of(user: &str, now: Timestamp) -> IceServer {
        media(false).ice_servers(&UserId::new(user).unwrap(), now).pop().unwrap()
    }

    #[test]
    fn a_credential_is_the_hmac_of_expiry_and_user() {
        let alice = turn_of("alice", at(1_800_000_000));
        assert_eq!(alice.username.as_deref(), Some("1800003600:alice"));
        // printf 1800003600:alice | openssl dgst -sha1 -hmac canary -binary | base64
        assert_eq!(alice.credential.as_deref(), Some("y617a8jRZF0ttCmC9M7K811v3Ew="));
        assert_ne!(turn_of("bob", at(1_800_000_000)).credential, alice.credential);
    }

    #[test]
    fn credentials_are_equal_within_a_period_and_good_for_at_least_one() {
        let begin = 1_800_000_000;
        assert_eq!(turn_of("alice", at(begin)), turn_of("alice", at(begin + 1799)));
        assert_ne!(turn_of("alice", at(begin)), turn_of("alice", at(begin + 1800)));
        assert_eq!(expiry(at(begin + 1799)).since(at(begin + 1799)), PERIOD + Duration::from_secs(1));
        assert_eq!(fresh_for(at(begin + 1799)), Duration::from_secs(1));
        assert_eq!(fresh_for(at(begin)), PERIOD);
    }

    #[test]
    fn users_whom_a_relay_would_stumble_over_are_named_by_their_hash() {
        for odd in ["a b", "a:b", "ü", "sha256-x", &"x".repeat(129)[..128].replace('x', "ö")] {
            let username = turn_of(odd, at(0)).username.unwrap();
            assert!(username.starts_with("3600:sha256-") && username.len() < 100, "{username}");
        }
        assert_eq!(turn_of("a.b_c@d+e=f-g", at(0)).username.unwrap(), "3600:a.b_c@d+e=f-g");
    }

    #[test]
    fn relay_only_names_no_stun_server_and_debug_shows_no_credential() {
        let user = UserId::new("alice").unwrap();
        assert_eq!(media(false).ice_servers(&user, at(0)).len(), 2);
        let only = media(true).ice_servers(&user, at(0));
        assert_eq!((only.len(), media(true).ice_transport_policy()), (1, Some("relay")));
        let shown = format!("{only:?}");
        assert!(!shown.contains(only[0].credential.as_deref().unwrap()), "{shown}");
    }
}
