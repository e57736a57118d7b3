//! How deliveries are signed: the Standard Webhooks specification, symmetric (`v1`).
//!
//! What is signed is `id.timestamp.body`, by HMAC-SHA256, so that neither the body nor its time can be changed, nor one
//! delivery passed off as another. Each good secret signs: whoever checks with either of two finds theirs.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::{domain::Timestamp, secret::Secret};

/// What every secret begins with.
pub const SECRET_PREFIX: &str = "whsec_";
/// Bytes of a secret. Fewer could be guessed from one delivery; more are more than the hash uses.
pub const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Bytes of a secret that is made here.
const MADE_BYTES: usize = 32;

/// A new secret, as the application keeps it.
pub fn new_secret() -> Secret {
    let bytes: [u8; MADE_BYTES] = rand::random();
    Secret::new(format!("{SECRET_PREFIX}{}", STANDARD.encode(bytes)))
}

/// The key that a secret stands for; `None`: it is none.
fn key(secret: &Secret) -> Option<Vec<u8>> {
    let encoded = secret.reveal().strip_prefix(SECRET_PREFIX)?;
    STANDARD.decode(encoded).ok().filter(|key| SECRET_BYTES.contains(&key.len()))
}

/// Whether a secret is one: `whsec_` and base64 of 24 to 64 bytes.
pub fn is_secret(secret: &Secret) -> bool {
    key(secret).is_some()
}

/// The header `webhook-signature`: one signature for each secret, in their order.
pub fn sign<'a>(secrets: impl IntoIterator<Item = &'a Secret>, id: &str, at: Timestamp, body: &[u8]) -> String {
    let signatures = secrets.into_iter().filter_map(|secret| {
        // A key of any length fits HMAC.
        let mut mac = Hmac::<Sha256>::new_from_slice(&key(secret)?).ok()?;
        mac.update(format!("{id}.{}.", seconds(at)).as_bytes());
        mac.update(body);
        Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
    });
    signatures.collect::<Vec<_>>().join(" ")
}

/// The header `webhook-timestamp`.
pub fn seconds(at: Timestamp) -> i64 {
    at.as_millis().div_euclid(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_the_standard() {
        // The example of the reference libraries of Standard Webhooks.
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let at = Timestamp::from_millis(1_614_265_330_123);
        let signed = sign([&secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", at, br#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn every_secret_signs_in_its_order() {
        let (one, other) = (new_secret(), new_secret());
        assert_ne!(one, other);
        let at = Timestamp::from_millis(1000);
        let alone = |secret: &Secret| sign([secret], "id", at, b"{}");
        assert_eq!(sign([&one, &other], "id", at, b"{}"), format!("{} {}", alone(&one), alone(&other)));
        assert_ne!(alone(&one), sign([&one], "id", at, b"[]"), "of this body");
    }

    #[test]
    fn a_secret_is_base64_of_enough_bytes() {
        let of = |bytes: usize| Secret::new(format!("whsec_{}", STANDARD.encode(vec![7; bytes])));
        assert!(is_secret(&new_secret()) && is_secret(&of(24)) && is_secret(&of(64)));
        let plain = Secret::new("a plain text that is long enough");
        assert!(!is_secret(&of(23)) && !is_secret(&of(65)) && !is_secret(&plain) && !is_secret(&Secret::new("whsec_")));
    }
}
