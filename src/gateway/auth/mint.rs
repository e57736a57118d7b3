//! Makes tokens, for development and for operators at a command line. Applications make their own.
//!
//! Owns nothing. Must never be reachable over the network.

use std::time::Duration;

use jsonwebtoken::{EncodingKey, Header, encode};
use serde::Serialize;

use super::AuthSettings;
use crate::domain::{ids::UserId, time::Timestamp};

/// What the token is to say.
#[derive(Debug, Clone)]
pub struct TokenRequest {
    /// `sub`.
    pub user: UserId,
    /// `name`.
    pub name: Option<String>,
    /// `role: "admin"`.
    pub admin: bool,
    /// How long it is good for; whole seconds.
    pub ttl: Duration,
}

/// Why no token was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// Public keys check tokens, they do not make them.
    #[error("tokens are signed with CARILLON_JWT_SECRET, which is not set")]
    NoSecret,
    /// The library refused; not known to happen.
    #[error("the token could not be signed")]
    Failed,
}

#[derive(Serialize)]
struct MintedClaims<'a> {
    sub: &'a str,
    iat: i64,
    exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
}

/// Signs an HS256 token that a node with the same settings accepts, its issuer and audience included.
pub fn mint(settings: &AuthSettings, request: &TokenRequest, now: Timestamp) -> Result<String, MintError> {
    let secret = settings.secret.as_ref().ok_or(MintError::NoSecret)?;
    let claims = MintedClaims {
        sub: request.user.as_str(),
        iat: now.as_millis() / 1000,
        exp: (now + request.ttl).as_millis() / 1000,
        name: request.name.as_deref(),
        role: request.admin.then_some("admin"),
        iss: settings.issuer.as_deref(),
        aud: settings.audience.as_deref(),
    };
    encode(&Header::default(), &claims, &EncodingKey::from_secret(secret.reveal().as_bytes()))
        .map_err(|_| MintError::Failed)
}
