//! How much one user, one address, one session may ask of a node, and of the cluster.
//!
//! Owns the counting. Decides at once and on this node, always: Redis only tells it what other nodes have let through
//! (`shared.rs`), so it survives the loss of Redis as the limits of one node. Must never cost a signal more than a look
//! at the clock (`pace.rs`), nor hold without bound what strangers make it remember (`cells.rs`).
//!
//! A refusal is `rate_limited`, with `details.retryAfterMs`, and costs nothing. A session that goes on in spite of
//! refusals is closed with 4029.

mod cells;
mod gcra;
mod pace;
mod rules;
mod shared;

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use self::{
    cells::{Cells, Key},
    shared::Charge,
};
pub use self::{
    gcra::Quota,
    pace::Pace,
    rules::{Kind, Rules, Scope},
};
use super::address::ClientAddress;
use crate::{
    clock,
    domain::UserId,
    metrics::Tally,
    secret::Secret,
    wire::{ErrorCode, Refusal},
};

/// How often what is paid off is forgotten. Less often is memory; more often is work for nothing.
const FORGET_EVERY: Duration = Duration::from_secs(10);

/// The limits of one node.
pub struct Limits {
    /// `None`: all are off.
    rules: Option<Rules>,
    cells: Cells,
    /// To Redis; `None`: this node is alone.
    charges: Option<mpsc::Sender<Charge>>,
    began: Instant,
    /// Refusals by kind, for `/metrics`.
    refused: Tally<{ Kind::COUNT }>,
}

/// Where the counting of a cluster is.
pub struct Shared {
    pub url: Secret,
    /// The beginning of the keys.
    pub cluster: String,
}

impl Limits {
    /// Starts counting, with the cluster if there is one. To be called on an event loop, which then carries what is
    /// told to Redis.
    pub fn start(rules: Option<Rules>, shared: Option<Shared>) -> Arc<Self> {
        let shared = shared.filter(|_| rules.is_some()).map(|shared| (shared, shared::channel()));
        let (charges, shared) = match shared {
            Some((shared, (charges, out))) => (Some(charges), Some((shared, out))),
            None => (None, None),
        };
        let (cells, began, refused) = (Cells::default(), clock::monotonic(), Tally::default());
        let limits = Arc::new(Self { rules, cells, charges, began, refused });
        if limits.rules.is_some() {
            tokio::task::spawn_local(forget(limits.clone()));
        }
        if let Some((Shared { url, cluster }, out)) = shared {
            tokio::task::spawn_local(shared::run(limits.clone(), out, url, cluster));
        }
        limits
    }

    /// Microseconds since the node started.
    fn now(&self) -> u64 {
        u64::try_from(clock::monotonic().saturating_duration_since(self.began).as_micros()).unwrap_or(u64::MAX)
    }

    /// One more of this kind by a user from an address.
    pub fn by_user(&self, kind: Kind, user: &UserId, address: ClientAddress) -> Result<(), Refusal> {
        let Some(rules) = &self.rules else { return Ok(()) };
        // The user first: who is over their own limit must not use up what their neighbours have.
        self.admit(rules, kind, Scope::User, user.as_str().as_bytes())?;
        self.admit(rules, kind, Scope::Address, &network(address.ip()))
    }

    /// One more of this kind by a user whose address has been counted already.
    pub fn by_user_alone(&self, kind: Kind, user: &UserId) -> Result<(), Refusal> {
        let Some(rules) = &self.rules else { return Ok(()) };
        self.admit(rules, kind, Scope::User, user.as_str().as_bytes())
    }

    /// One more of this kind by nobody in particular from an address.
    pub fn by_address(&self, kind: Kind, address: ClientAddress) -> Result<(), Refusal> {
        let Some(rules) = &self.rules else { return Ok(()) };
        self.admit(rules, kind, Scope::Address, &network(address.ip()))
    }

    /// Whether credentials from this address are looked at: not while it has tried too many that were not good.
    pub fn may_authenticate(&self, address: ClientAddress) -> Result<(), Refusal> {
        let Some(quota) = self.rules.as_ref().and_then(|rules| rules.quota(Kind::Auth, Scope::Address)) else {
            return Ok(());
        };
        let key = key(Kind::Auth, Scope::Address, &network(address.ip()));
        self.cells.look(key, quota, self.now()).map_err(|wait| self.refusal(Kind::Auth, wait))
    }

    /// Whether a password for this is looked at that comes from this address: not while too many were wrong.
    pub fn may_try_password(&self, thing: &str, address: ClientAddress) -> Result<(), Refusal> {
        let Some(quota) = self.rules.as_ref().and_then(|rules| rules.quota(Kind::Password, Scope::Address)) else {
            return Ok(());
        };
        let key = key(Kind::Password, Scope::Address, &about(thing, address));
        self.cells.look(key, quota, self.now()).map_err(|wait| self.refusal(Kind::Password, wait))
    }

    /// A password for this from this address was wrong.
    pub fn on_wrong_password(&self, thing: &str, address: ClientAddress) {
        let Some(rules) = &self.rules else { return };
        // Over the limit there is nothing more to remember.
        let _ = self.admit(rules, Kind::Password, Scope::Address, &about(thing, address));
    }

    /// Credentials from this address were not good.
    pub fn on_bad_credentials(&self, address: ClientAddress) {
        // Over the limit there is nothing more to remember.
        let _ = self.by_address(Kind::Auth, address);
    }

    /// A refusal to be sent, counted.
    pub fn refusal(&self, kind: Kind, wait: Duration) -> Refusal {
        self.on_refused(kind);
        let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
        let mut refusal = Refusal::new(ErrorCode::RateLimited, "too many of these; see when to try again");
        refusal.details = Some(serde_json::json!({"retryAfterMs": millis, "limit": kind.as_str()}));
        refusal
    }

    /// Something was refused, or a session closed, by this kind of limit.
    pub fn on_refused(&self, kind: Kind) {
        self.refused.inc(kind as usize);
    }

    /// How often each kind was refused.
    pub fn refused(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Kind::all().map(Kind::as_str).zip(self.refused.read())
    }

    fn admit(&self, rules: &Rules, kind: Kind, scope: Scope, whom: &[u8]) -> Result<(), Refusal> {
        let Some(quota) = rules.quota(kind, scope) else { return Ok(()) };
        let key = key(kind, scope, whom);
        self.cells.admit(key, quota, self.now()).map_err(|wait| self.refusal(kind, wait))?;
        if let Some(charges) = &self.charges {
            // Full: Redis is away or slow, and this node counts alone.
            let _ = charges.try_send(Charge { kind, key, cost: quota.step(), most_owed: quota.most_owed() });
        }
        Ok(())
    }

    /// The cluster has been charged, and so much is owed there.
    fn on_settled(&self, key: Key, owed: u64) {
        self.cells.raise(key, self.now().saturating_add(owed));
    }
}

/// How long a refusal asks to wait; `None`: it is not one of ours.
pub fn retry_after(refusal: &Refusal) -> Option<Duration> {
    let millis = refusal.details.as_ref()?.get("retryAfterMs")?.as_u64()?;
    (refusal.code == ErrorCode::RateLimited).then(|| Duration::from_millis(millis))
}

/// Whom and what a cell is about, in so many bytes whatever the length of a user id. Two that meet by chance would share
/// a quota, and nobody can look for one in 128 bits.
fn key(kind: Kind, scope: Scope, whom: &[u8]) -> Key {
    let hash = Sha256::new().chain_update([kind as u8, scope as u8]).chain_update(whom).finalize();
    hash.iter().take(16).fold(0, |key, byte| key << 8 | Key::from(*byte))
}

/// Each thing is counted by itself.
fn about(thing: &str, address: ClientAddress) -> Vec<u8> {
    [&network(address.ip()), thing.as_bytes()].concat()
}

/// What counts as one address: of IPv6 the network of 64 bits, which is what one customer has at least.
fn network(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => {
            let mut octets = v6.octets();
            octets[8..].fill(0);
            octets
        }
    }
}

async fn forget(limits: Arc<Limits>) {
    let mut times = tokio::time::interval(FORGET_EVERY);
    times.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        times.tick().await;
        limits.cells.forget(limits.now());
    }
}

#[cfg(test)]
mod tests;
