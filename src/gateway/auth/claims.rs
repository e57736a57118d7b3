//! What a token says, once its signature is known to be good.
//!
//! Owns the rules of the claims. Must never be asked before the signature was checked. Takes the time as an argument.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Number, Value};

use super::{AuthError, AuthSettings};
use crate::domain::{ids::UserId, time::Timestamp};

/// The longest display name, in characters; the rest is cut. It travels in every `call:incoming`.
const MAX_NAME_CHARS: usize = 128;
/// The end of the year 9999, in seconds: RFC 3339 ends there, and so do expiry times.
const LAST_SECOND: i64 = 253_402_300_799;

/// Who a token speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// `sub`.
    pub user: UserId,
    /// `name`, cut to 128 characters, if it is there and a string.
    pub name: Option<String>,
    /// Whether `role` is `admin`: may read everything and use the console.
    pub admin: bool,
    /// When sessions of this token end: `exp`. For a token accepted only thanks to the leeway, the end of that.
    pub expires_at: Timestamp,
}

#[derive(Deserialize)]
pub(super) struct RawClaims {
    sub: Option<Value>,
    exp: Option<Value>,
    nbf: Option<Value>,
    iss: Option<Value>,
    aud: Option<Value>,
    name: Option<Value>,
    role: Option<Value>,
}

impl RawClaims {
    /// Applies the rules: `sub` and `exp` required, `nbf` when it is there, `iss` and `aud` when they are configured.
    pub(super) fn check(self, settings: &AuthSettings, now: Timestamp) -> Result<Claims, AuthError> {
        use AuthError::Unauthenticated;
        let leeway = settings.leeway;
        let exp = self.exp.ok_or(Unauthenticated("exp is missing"))?;
        let exp = time(&exp).ok_or(Unauthenticated("exp is not a number"))?;
        if let Some(nbf) = self.nbf {
            let nbf = time(&nbf).ok_or(Unauthenticated("nbf is not a number"))?;
            if nbf > now + leeway {
                return Err(Unauthenticated("nbf is in the future"));
            }
        }
        if let Some(issuer) = &settings.issuer
            && self.iss.as_ref().and_then(Value::as_str) != Some(issuer)
        {
            return Err(Unauthenticated("iss is not the configured issuer"));
        }
        if let Some(audience) = &settings.audience
            && !names(self.aud.as_ref(), audience)
        {
            return Err(Unauthenticated("aud does not name the configured audience"));
        }
        let sub = self.sub.ok_or(Unauthenticated("sub is missing"))?;
        let sub = sub.as_str().ok_or(Unauthenticated("sub is not a string"))?;
        let user = UserId::new(sub).map_err(|_| Unauthenticated("sub is not a user id"))?;
        // Last, so that only a token which is good in everything else is called expired: its client asks for a new one.
        let expires_at = expiry(exp, leeway, now).ok_or(AuthError::Expired)?;
        let name = self.name.as_ref().and_then(Value::as_str).and_then(display_name);
        let admin = self.role.as_ref().and_then(Value::as_str) == Some("admin");
        Ok(Claims { user, name, admin, expires_at })
    }
}

fn expiry(exp: Timestamp, leeway: Duration, now: Timestamp) -> Option<Timestamp> {
    [exp, exp + leeway].into_iter().find(|end| *end > now)
}

/// A NumericDate (RFC 7519): seconds, whole or not. Never a string, whatever it holds.
fn time(value: &Value) -> Option<Timestamp> {
    let number: &Number = value.as_number()?;
    let millis = match number.as_i64() {
        Some(seconds) => seconds.clamp(0, LAST_SECOND) * 1000,
        // `as` saturates, and JSON has no NaN.
        None => (number.as_f64()?.clamp(0.0, LAST_SECOND as f64) * 1000.0) as i64,
    };
    Some(Timestamp::from_millis(millis))
}

/// `aud` is a string or a list of strings; one of them must be ours.
fn names(aud: Option<&Value>, audience: &str) -> bool {
    match aud {
        Some(Value::String(one)) => one == audience,
        Some(Value::Array(many)) => many.iter().any(|one| one.as_str() == Some(audience)),
        _ => false,
    }
}

fn display_name(name: &str) -> Option<String> {
    let name: String = name.chars().filter(|c| !c.is_control()).take(MAX_NAME_CHARS).collect();
    (!name.trim().is_empty()).then_some(name)
}
