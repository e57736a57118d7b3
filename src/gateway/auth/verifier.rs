//! Checks users' tokens and the service key.
//!
//! Owns the fixed keys and the handle of the key server's. Must never try a key for another algorithm than its own.
//! Survives the key server: tokens of fixed keys never wait for it.

use jsonwebtoken::{Algorithm, AlgorithmFamily, Header, dangerous, decode_header};
use subtle::ConstantTimeEq;

use super::{
    AuthError, AuthSettings, Claims, MAX_TOKEN_BYTES, VerifyingKey,
    claims::RawClaims,
    jwks::{Jwks, Timing},
};
use crate::domain::time::Timestamp;

/// Checks tokens. One per process, shared.
#[derive(Debug)]
pub struct Verifier {
    settings: AuthSettings,
    fixed: Vec<VerifyingKey>,
    jwks: Option<Jwks>,
}

/// Why no verifier could be made.
#[derive(Debug, thiserror::Error)]
pub enum VerifierError {
    /// No TLS client for the key server: no usable root certificates on this machine.
    #[error("CARILLON_JWKS_URL: no https client can be made: {0}")]
    Client(#[source] reqwest::Error),
}

impl Verifier {
    /// Takes the keys of the settings, and starts fetching those of the key server in the background, if one is set.
    /// Must be called within a runtime; the fetching ends when the verifier is dropped.
    pub fn start(settings: AuthSettings) -> Result<Self, VerifierError> {
        Self::start_with(settings, Timing::default())
    }

    pub(super) fn start_with(settings: AuthSettings, timing: Timing) -> Result<Self, VerifierError> {
        let jwks = settings.jwks_url.clone().map(|url| Jwks::start(url, timing)).transpose()?;
        let secret = settings.secret.as_ref().map(VerifyingKey::from_secret);
        let fixed = secret.into_iter().chain(settings.public_key.clone()).collect();
        Ok(Self { settings, fixed, jwks })
    }

    /// Checks a token and says whom it speaks for. Waits at most the time of one fetch (5 s), and only for a key that
    /// was never seen; no wait at all for fixed keys. Cancelling it loses nothing.
    pub async fn verify(&self, token: &str, now: Timestamp) -> Result<Claims, AuthError> {
        let parts = Parts::of(token)?;
        self.check_signature(&parts).await?;
        let claims: RawClaims = dangerous::insecure_decode_claims(token)
            .map_err(|_| AuthError::Unauthenticated("the claims are not a JSON object"))?;
        claims.check(&self.settings, now)
    }

    async fn check_signature(&self, parts: &Parts<'_>) -> Result<(), AuthError> {
        let mut candidates = self.fixed.iter().filter(|key| key.algorithm() == parts.algorithm()).peekable();
        let known = candidates.peek().is_some();
        if candidates.any(|key| parts.signed_by(key)) {
            return Ok(());
        }
        match &self.jwks {
            Some(jwks) if parts.algorithm().family() != AlgorithmFamily::Hmac => jwks.check(parts).await,
            _ if known => Err(AuthError::Unauthenticated("the signature does not fit")),
            _ => Err(AuthError::Unauthenticated("no key for this algorithm")),
        }
    }

    /// Whether `key` is the service key, compared in constant time. Never when none is configured.
    pub fn service_key_matches(&self, key: &str) -> bool {
        let ours = self.settings.service_key.as_ref();
        ours.is_some_and(|ours| bool::from(ours.reveal().as_bytes().ct_eq(key.as_bytes())))
    }

    /// The settings it was made from.
    pub fn settings(&self) -> &AuthSettings {
        &self.settings
    }
}

/// A token taken apart, nothing of it believed yet.
pub(super) struct Parts<'a> {
    header: Header,
    message: &'a str,
    signature: &'a str,
}

impl<'a> Parts<'a> {
    fn of(token: &'a str) -> Result<Self, AuthError> {
        use AuthError::Unauthenticated;
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Unauthenticated("the token is too long"));
        }
        // An unknown `alg`, `none` among them, is an error of the header here.
        let header = decode_header(token).map_err(|_| Unauthenticated("not a token, or of an unknown algorithm"))?;
        // RFC 7515, 4.1.11: what must be understood and is not, refuses the token. We understand no extension.
        if header.crit.is_some() {
            return Err(Unauthenticated("the token needs an extension"));
        }
        let (message, signature) = token.rsplit_once('.').ok_or(Unauthenticated("not a token"))?;
        Ok(Self { header, message, signature })
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        self.header.alg
    }

    pub(super) fn key_id(&self) -> Option<&str> {
        self.header.kid.as_deref()
    }

    /// Whether the key is for the token's algorithm and made its signature.
    pub(super) fn signed_by(&self, key: &VerifyingKey) -> bool {
        key.algorithm() == self.header.alg && key.verify(self.message, self.signature)
    }
}
