//! Service keys: what they look like, and whose a key is that somebody shows.
//!
//! Owns what this node remembers of keys, for [`REMEMBERED`] and no longer: a key that is revoked on any node is refused
//! on every node after that. Must never keep a key, but its hash. Survives a database that is away by refusing: what cannot
//! be looked up may have been revoked.

use std::time::{Duration, Instant};

use dashmap::DashMap;
use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

use super::Verifier;
use crate::{
    clock,
    domain::Timestamp,
    secret::Secret,
    store::{Actor, ActorKind, ServiceKey, Store, StoreError},
};

/// What every key begins with, so that one that lies somewhere it should not is known for what it is.
pub const KEY_PREFIX: &str = "csk_";
/// 256 bits.
const KEY_BYTES: usize = 32;
/// How long what was looked up is taken for true. Longer, and a revoked key is good for longer; shorter, and a busy backend
/// costs the database a look-up for every request.
const REMEMBERED: Duration = Duration::from_secs(2);
/// How many keys are remembered, also such as there are not. Larger: who sends made-up keys fills the memory; smaller:
/// they displace the good ones, which are then looked up more often.
const MOST_REMEMBERED: usize = 1024;
/// The id of the key in the settings.
const BOOTSTRAP: &str = "bootstrap";

/// A new key: whoever has it may use the service API.
pub fn new_key() -> Secret {
    let bytes: [u8; KEY_BYTES] = rand::random();
    Secret::new(format!("{KEY_PREFIX}{}", hex(&bytes)))
}

/// What is stored of a key. A plain SHA-256 is right here, and a slow password hash would be wrong: a key is 256 random
/// bits, so there is no list of likely ones to try, and to find one by its hash takes as many tries as to guess it. And as
/// it is found by its hash, comparing takes the same time however much of a wrong key is right.
pub fn hash_of(key: &str) -> String {
    hex(&Sha256::digest(key.as_bytes()))
}

/// The id of a key that `actor` makes under an idempotency key: the same for every repetition.
pub fn id_under(actor: &Actor, idempotency_key: &str) -> Uuid {
    let mut named = Sha256::new();
    named.update(b"carillon service key");
    // The length keeps "a" + "bc" apart from "ab" + "c".
    named.update((actor.id.len() as u64).to_be_bytes());
    named.update(&actor.id);
    named.update(idempotency_key);
    let mut half = [0; 16];
    half.copy_from_slice(&named.finalize()[..16]);
    Builder::from_custom_bytes(half).into_uuid()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Might be one of ours: only such are looked up.
fn looks_like_a_key(key: &str) -> bool {
    key.strip_prefix(KEY_PREFIX).is_some_and(|rest| {
        rest.len() == 2 * KEY_BYTES && rest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// The keys seen lately. One per node.
#[derive(Default)]
pub struct ServiceKeys {
    /// By hash; `None`: there was no such key.
    seen: DashMap<String, (Instant, Option<ServiceKey>)>,
}

impl ServiceKeys {
    /// Whose key it is: that of the settings, or one that was made and is still good. `None`: nobody's.
    pub async fn actor(
        &self,
        verifier: &Verifier,
        store: &Store,
        key: &str,
        now: Timestamp,
    ) -> Result<Option<Actor>, StoreError> {
        if verifier.service_key_matches(key) {
            let (kind, id) = (ActorKind::ServiceKey, BOOTSTRAP.to_owned());
            return Ok(Some(Actor { kind, id, name: None }));
        }
        if !looks_like_a_key(key) {
            return Ok(None);
        }
        let good = self.look_up(store, hash_of(key)).await?.filter(|key| key.is_good(now));
        let actor =
            |key: ServiceKey| Actor { kind: ActorKind::ServiceKey, id: key.id.to_string(), name: Some(key.name) };
        Ok(good.map(actor))
    }

    async fn look_up(&self, store: &Store, hash: String) -> Result<Option<ServiceKey>, StoreError> {
        // From before the question: what is revoked meanwhile is not remembered as good for longer.
        let asked_at = clock::monotonic();
        if let Some(seen) = self.seen.get(&hash)
            && is_fresh(seen.0, asked_at)
        {
            return Ok(seen.1.clone());
        }
        let found = store.use_service_key(&hash).await?;
        if self.seen.len() >= MOST_REMEMBERED {
            self.seen.retain(|_, (at, _)| is_fresh(*at, asked_at));
        }
        if self.seen.len() < MOST_REMEMBERED {
            self.seen.insert(hash, (asked_at, found.clone()));
        }
        Ok(found)
    }
}

fn is_fresh(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) < REMEMBERED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_random_and_known_by_its_prefix() {
        let (one, other) = (new_key(), new_key());
        assert!(looks_like_a_key(one.reveal()));
        assert_ne!(one, other);
        assert_ne!(hash_of(one.reveal()), hash_of(other.reveal()));
        let shortened = &one.reveal()[..60];
        for wrong in ["", "csk_", shortened, &format!("{}0", one.reveal()), &one.reveal().to_uppercase()] {
            assert!(!looks_like_a_key(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_hash_is_that_of_the_standard() {
        assert_eq!(hash_of("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
