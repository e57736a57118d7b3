//! What the tests of tokens share: keys, and tokens as an attacker or an identity provider would write them.

mod keys;
mod tokens;

use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk};
use serde_json::{Value, json};

use super::{AuthError, AuthSettings, Claims, Verifier, VerifyingKey};
use crate::{domain::time::Timestamp, secret::Secret};

const SECRET: &str = "a secret for tests, 32 bytes long";
const RSA: &str = include_str!("../test_keys/rsa.private.pem");
const RSA_PUBLIC: &str = include_str!("../test_keys/rsa.public.pem");
const P256: &str = include_str!("../test_keys/p256.private.pem");
const P256_PUBLIC: &str = include_str!("../test_keys/p256.public.pem");
const ED: &str = include_str!("../test_keys/ed.private.pem");
const ED_PUBLIC: &str = include_str!("../test_keys/ed.public.pem");
const ED_NEXT: &str = include_str!("../test_keys/ed_next.private.pem");

/// 2026-01-01T00:00:00Z.
const NOW_SECS: i64 = 1_767_225_600;
const NOW: Timestamp = Timestamp::from_millis(NOW_SECS * 1000);

fn secret_settings() -> AuthSettings {
    AuthSettings { secret: Some(Secret::new(SECRET)), leeway: Duration::from_secs(30), ..AuthSettings::default() }
}

fn public_key_settings(pem: &str) -> AuthSettings {
    AuthSettings { public_key: Some(VerifyingKey::from_pem(pem).unwrap()), ..AuthSettings::default() }
}

/// Claims that are good for a minute.
fn alice() -> Value {
    json!({"sub": "alice", "exp": NOW_SECS + 60})
}

/// `alice()` with other members; null takes one away.
fn alice_with(changes: Value) -> Value {
    let mut claims = alice();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => claims.as_object_mut().unwrap().remove(name),
            value => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    claims
}

fn encoding_key(algorithm: Algorithm, pem: &str) -> EncodingKey {
    match algorithm {
        Algorithm::ES256 => EncodingKey::from_ec_pem(pem.as_bytes()).unwrap(),
        Algorithm::EdDSA => EncodingKey::from_ed_pem(pem.as_bytes()).unwrap(),
        _ => EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap(),
    }
}

fn hs256(claims: &Value) -> String {
    encode(&Header::default(), claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

fn signed(algorithm: Algorithm, pem: &str, kid: Option<&str>, claims: &Value) -> String {
    let header = Header { kid: kid.map(str::to_owned), ..Header::new(algorithm) };
    encode(&header, claims, &encoding_key(algorithm, pem)).unwrap()
}

/// The public half of a private key as a member of a JWKS document, with changes.
fn public_jwk(algorithm: Algorithm, pem: &str, changes: Value) -> Value {
    let mut jwk = jwk::Jwk::from_encoding_key(&encoding_key(algorithm, pem), algorithm).unwrap();
    jwk.common = jwk::CommonParameters::default();
    let mut jwk = serde_json::to_value(&jwk).unwrap();
    jwk.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    jwk
}

async fn verify(settings: AuthSettings, token: &str) -> Result<Claims, AuthError> {
    Verifier::start(settings).unwrap().verify(token, NOW).await
}

/// Refused, and for the reason that was meant.
async fn assert_refused(settings: AuthSettings, token: &str, reason: &str) {
    match verify(settings, token).await {
        Err(AuthError::Unauthenticated(said)) => assert_eq!(said, reason, "{token}"),
        other => panic!("{token}: {other:?}"),
    }
}
