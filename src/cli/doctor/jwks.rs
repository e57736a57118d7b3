//! Whether the key server gives keys that tokens can be checked with.

use super::{
    net::{reach, within},
    report::Findings,
};
use crate::{config::Settings, gateway::auth::jwks::count_keys};

/// Fetches once, as a node does.
pub(super) async fn check(found: &Findings, settings: &Settings) {
    const NAME: &str = "jwks";
    let Some(url) = &settings.auth.jwks_url else { return };
    let host = url.host_str().unwrap_or_default().to_owned();
    let port = url.port_or_known_default().unwrap_or(443);
    if let Err(trouble) = reach(&host, port, "CARILLON_JWKS_URL").await {
        return found.wrong(NAME, trouble.seen, trouble.mend);
    }
    let mend = "open the address of CARILLON_JWKS_URL: it must answer 200 with a JWKS document that holds an RSA, EC P-256 or \
        Ed25519 key for signatures, without a redirect";
    match within(count_keys(url.clone())).await {
        Some(Ok(1)) => found.ok(NAME, format!("{host} gives 1 key")),
        Some(Ok(keys)) => found.ok(NAME, format!("{host} gives {keys} keys")),
        Some(Err(why)) => found.wrong(NAME, format!("no keys from {host}: {why}"), mend),
        None => found.wrong(NAME, format!("no keys from {host}: no answer in time"), mend),
    }
}
