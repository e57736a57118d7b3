//! One key that tokens are checked with, and the one algorithm it is for.
//!
//! Owns the judgement what a usable key is. Must never take an algorithm from a token: that a public key served as an
//! HMAC secret is the oldest trick against tokens. Survives any key material, also that of a hostile key server:
//! shapes are checked here, since the library indexes into what it is given.

use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, crypto};
use serde::Deserialize;

use crate::secret::Secret;

/// RSA keys below this many bits are within reach of well-funded attackers (NIST SP 800-131A refuses them).
const MIN_RSA_BITS: usize = 2048;
/// Beyond this many bits one check costs more than a millisecond of the event loop, and the library refuses it.
const MAX_RSA_BITS: usize = 4096;

/// A key with its algorithm, and its id if it came with one. `Debug` does not show the key.
#[derive(Debug, Clone)]
pub struct VerifyingKey {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

/// Why something is not a key we check tokens with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A private key was given where a public one belongs.
    #[error("holds a private key; give the public one and keep the private one away from this machine")]
    Private,
    /// Not a public key at all.
    #[error("is not a PEM public key of type RSA, EC P-256 or Ed25519 (`BEGIN PUBLIC KEY`)")]
    NotAPublicKey,
    /// An RSA key outside 2048 to 4096 bits, or with an odd exponent.
    #[error("is an RSA key that is not between 2048 and 4096 bits long")]
    RsaSize,
    /// An elliptic curve we do not check.
    #[error("is an EC key of another curve than P-256")]
    Curve,
    /// A key of a JWKS document that is not for checking signatures, or of an unknown kind.
    #[error("is not a key for checking signatures with RSA, P-256, P-384 or Ed25519")]
    NotForSignatures,
}

impl VerifyingKey {
    /// A shared secret, for HS256 alone.
    pub fn from_secret(secret: &Secret) -> Self {
        let key = DecodingKey::from_secret(secret.reveal().as_bytes());
        Self { id: None, algorithm: Algorithm::HS256, key }
    }

    /// A public key in PEM: RSA (RS256), EC P-256 (ES256) or Ed25519 (EdDSA).
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        if pem.contains("PRIVATE KEY-----") {
            return Err(KeyError::Private);
        }
        // The library reads certificates too, and takes the first bit string it finds for the key.
        if !pem.contains("PUBLIC KEY-----") || pem.contains("CERTIFICATE-----") {
            return Err(KeyError::NotAPublicKey);
        }
        let bytes = pem.as_bytes();
        if let Ok(key) = DecodingKey::from_ed_pem(bytes) {
            return Self::checked(None, Algorithm::EdDSA, key);
        }
        if let Ok(key) = DecodingKey::from_ec_pem(bytes) {
            return Self::checked(None, Algorithm::ES256, key);
        }
        let key = DecodingKey::from_rsa_pem(bytes).map_err(|_| KeyError::NotAPublicKey)?;
        Self::checked(None, Algorithm::RS256, key)
    }

    /// A key of a JWKS document (RFC 7517). Keys for encryption, symmetric ones and kinds we do not know are refused.
    pub(super) fn from_jwk(jwk: Jwk) -> Result<Self, KeyError> {
        let for_signatures = jwk.key_use.as_deref().is_none_or(|usage| usage == "sig")
            && jwk.key_ops.as_deref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        let algorithm = algorithm_of(&jwk).filter(|_| for_signatures).ok_or(KeyError::NotForSignatures)?;
        let part = |part: &Option<String>| part.clone().unwrap_or_default();
        let key = match jwk.kty.as_str() {
            "RSA" => DecodingKey::from_rsa_components(&part(&jwk.n), &part(&jwk.e)),
            "EC" => DecodingKey::from_ec_components(&part(&jwk.x), &part(&jwk.y)),
            _ => DecodingKey::from_ed_components(&part(&jwk.x)),
        };
        Self::checked(jwk.kid, algorithm, key.map_err(|_| KeyError::NotForSignatures)?)
    }

    fn checked(id: Option<String>, algorithm: Algorithm, key: DecodingKey) -> Result<Self, KeyError> {
        match algorithm {
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => return Err(KeyError::NotForSignatures),
            Algorithm::ES256 => check_length(&key, 65, KeyError::Curve)?,
            Algorithm::ES384 => check_length(&key, 97, KeyError::Curve)?,
            Algorithm::EdDSA => check_length(&key, 32, KeyError::NotForSignatures)?,
            _ => check_rsa(&key)?,
        }
        // Builds the verifier once: a point that is not on its curve is refused now, not with every token.
        crypto::verify("", b"", &key, algorithm).map_err(|_| KeyError::NotForSignatures)?;
        Ok(Self { id, algorithm, key })
    }

    /// The id that a token's `kid` names it by.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The one algorithm it checks.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether `signature` (base64url) over `message` was made with this key. Secrets are compared in constant time.
    pub(super) fn verify(&self, message: &str, signature: &str) -> bool {
        crypto::verify(signature, message.as_bytes(), &self.key, self.algorithm).unwrap_or(false)
    }
}

/// The members of a key in a JWKS document that we look at. `x5u` and `x5c` are not among them on purpose.
#[derive(Debug, Deserialize)]
pub(super) struct Jwk {
    kty: String,
    #[serde(rename = "use")]
    key_use: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    kid: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// The algorithm of a key: what its curve says, and for RSA what `alg` says; an `alg` that contradicts is refused.
fn algorithm_of(jwk: &Jwk) -> Option<Algorithm> {
    let algorithm = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("EC", Some("P-256")) => Algorithm::ES256,
        ("EC", Some("P-384")) => Algorithm::ES384,
        ("OKP", Some("Ed25519")) => Algorithm::EdDSA,
        ("RSA", _) => match jwk.alg.as_deref() {
            None => Algorithm::RS256,
            Some(name) => name.parse().ok().filter(|alg| is_rsa(*alg))?,
        },
        _ => return None,
    };
    let named = jwk.alg.as_deref().is_none_or(|name| {
        // RFC 9864 gives EdDSA on this curve a name of its own.
        name.parse() == Ok(algorithm) || (name == "Ed25519" && algorithm == Algorithm::EdDSA)
    });
    named.then_some(algorithm)
}

fn is_rsa(algorithm: Algorithm) -> bool {
    use Algorithm::*;
    matches!(algorithm, RS256 | RS384 | RS512 | PS256 | PS384 | PS512)
}

fn check_length(key: &DecodingKey, bytes: usize, error: KeyError) -> Result<(), KeyError> {
    if key.try_get_as_bytes().is_ok_and(|key| key.len() == bytes) { Ok(()) } else { Err(error) }
}

fn check_rsa(key: &DecodingKey) -> Result<(), KeyError> {
    let bits = match key.kind() {
        DecodingKeyKind::RsaModulusExponent { n, .. } => bits(n),
        DecodingKeyKind::SecretOrDer(der) => {
            let components = crypto::rust_crypto::DEFAULT_PROVIDER.key_utils.rsa_pub_components_from_public_key;
            bits(&components(der).map_err(|_| KeyError::NotAPublicKey)?.0)
        }
    };
    if (MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) { Ok(()) } else { Err(KeyError::RsaSize) }
}

/// The length of a big-endian number in bits.
fn bits(number: &[u8]) -> usize {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros).map_or(0, |first| (number.len() - zeros) * 8 - first.leading_zeros() as usize)
}
