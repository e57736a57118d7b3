//! Who is asking: users' tokens, the service key, and where a browser's page came from.
//!
//! Owns the keys that tokens are checked with. Must never let a token choose its own algorithm or key address, log a
//! token or a part of one, or say more to the outside than that it was refused. Survives a key server that is away:
//! the keys it gave last stay good until it is back.

mod claims;
pub mod jwks;
mod key;
mod mint;
mod origin;
pub mod service;
#[cfg(test)]
mod tests;
mod verifier;

use std::time::Duration;

pub use claims::Claims;
pub use key::{KeyError, VerifyingKey};
pub use mint::{MintError, TokenRequest, mint};
pub use origin::{normalized_origin, origin_allowed};
pub use reqwest::Url;
pub use verifier::{Verifier, VerifierError};

use crate::secret::Secret;

/// The longest token that is looked at, in bytes. Smaller would refuse tokens of identity providers that list a user's
/// groups; larger lets a stranger make us hash more before we know them.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// What the settings say about tokens. Several keys may be set at once; each is tried for its own algorithm only.
#[derive(Debug, Clone, Default)]
pub struct AuthSettings {
    /// Shared secret of HS256 tokens; also what [`mint()`] signs with.
    pub secret: Option<Secret>,
    /// One fixed public key.
    pub public_key: Option<VerifyingKey>,
    /// Where public keys are fetched from: https, or http on a loopback address.
    pub jwks_url: Option<Url>,
    /// The `iss` every token must carry.
    pub issuer: Option<String>,
    /// The `aud` every token must carry, alone or among others.
    pub audience: Option<String>,
    /// How far the clocks of token issuers may be off.
    pub leeway: Duration,
    /// The bootstrap key of the service API.
    pub service_key: Option<Secret>,
}

impl AuthSettings {
    /// Whether there is anything to check users' tokens with.
    pub fn has_key(&self) -> bool {
        self.secret.is_some() || self.public_key.is_some() || self.jwks_url.is_some()
    }
}

/// Why a token was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// Not a token of ours. The reason is for our log, at debug: telling it to strangers would help them search.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// It was good, and its time is over.
    #[error("the token has expired")]
    Expired,
    /// It cannot be told now: the key server is away and none of the known keys is the token's. Retryable.
    #[error("the keys to check this token with cannot be fetched now")]
    Unavailable,
}

/// The credentials of an `Authorization: Bearer …` header: the scheme in any case, one or more spaces, one word of
/// printable ASCII. Anything else is `None`.
pub fn bearer(header: &str) -> Option<&str> {
    let (scheme, rest) = header.split_once(' ')?;
    let token = rest.trim_start_matches(' ').trim_end_matches(' ');
    let plain = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    (scheme.eq_ignore_ascii_case("bearer") && plain).then_some(token)
}
