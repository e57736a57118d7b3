//! The keys of the application's backends: by their hashes, with what became of them.
//!
//! Must never hold a key. Times are the database's but for the expiry, which is what was asked for.

use std::time::Duration;

use diesel::prelude::*;
use uuid::Uuid;

use super::{
    Act, Store,
    audit::record_act,
    connection::{Conn, in_transaction, with_conn},
    error::{Fault, StoreError},
    schema::service_keys,
    types::{DbNow, StoredId, StoredTime},
};
use crate::domain::Timestamp;

/// How coarse the time of the last use is. Finer, and every few requests write a row; coarser, and whoever wants to
/// revoke a key does not see that it is still in use.
const LAST_USED_GRAIN: Duration = Duration::from_secs(60);

/// A key as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceKey {
    pub id: Uuid,
    pub name: String,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    /// To the minute, at most.
    pub last_used_at: Option<Timestamp>,
}

impl ServiceKey {
    /// Neither revoked nor expired.
    pub fn is_good(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|at| at > now)
    }
}

/// A key to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewServiceKey {
    pub id: Uuid,
    pub name: String,
    /// SHA-256 of the key, in hex.
    pub hash: String,
    pub expires_at: Option<Timestamp>,
}

/// What became of a new key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreateKeyOutcome {
    Created,
    /// There is another key of that id.
    IdTaken,
}

/// What a revocation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevokeOutcome {
    Revoked,
    AlreadyRevoked,
    NotFound,
}

macro_rules! key_columns {
    () => {
        (
            service_keys::id,
            service_keys::name,
            service_keys::created_at,
            service_keys::expires_at,
            service_keys::revoked_at,
            service_keys::last_used_at,
        )
    };
}

type KeyColumns = (StoredId, String, StoredTime, Option<StoredTime>, Option<StoredTime>, Option<StoredTime>);

fn key_of((id, name, created_at, expires_at, revoked_at, last_used_at): KeyColumns) -> ServiceKey {
    let time = |time: Option<StoredTime>| time.map(|time| time.0);
    ServiceKey {
        id: id.0,
        name,
        created_at: created_at.0,
        expires_at: time(expires_at),
        revoked_at: time(revoked_at),
        last_used_at: time(last_used_at),
    }
}

impl Store {
    /// Keeps a new key. To do it twice is to do it once.
    pub async fn create_service_key(&self, key: &NewServiceKey, act: &Act) -> Result<CreateKeyOutcome, StoreError> {
        let (key, act) = (key.clone(), act.clone());
        let create = move |conn: &mut Conn| {
            in_transaction!(conn, |c| {
                diesel::insert_into(service_keys::table)
                    .values((
                        service_keys::id.eq(StoredId(key.id)),
                        service_keys::name.eq(&key.name),
                        service_keys::hash.eq(&key.hash),
                        service_keys::created_at.eq(DbNow::now()),
                        service_keys::expires_at.eq(key.expires_at.map(StoredTime)),
                    ))
                    .on_conflict_do_nothing()
                    .execute(c)?;
                let row = service_keys::table.find(StoredId(key.id)).select(service_keys::hash);
                let hash: Option<String> = row.first(c).optional()?;
                let (outcome, word) = if hash.as_ref() == Some(&key.hash) {
                    (CreateKeyOutcome::Created, "created")
                } else {
                    (CreateKeyOutcome::IdTaken, "conflict")
                };
                record_act!(c, act, word);
                Ok::<_, Fault>(outcome)
            })
        };
        self.read(create).await
    }

    /// The key of this hash, good or not; and notes that it was used.
    pub async fn use_service_key(&self, hash: &str) -> Result<Option<ServiceKey>, StoreError> {
        let hash = hash.to_owned();
        let find = move |conn: &mut Conn| {
            with_conn!(conn, |c| {
                let row = service_keys::table.filter(service_keys::hash.eq(&hash)).select(key_columns!());
                let found: Option<KeyColumns> = row.first(c).optional()?;
                if let Some(found) = &found {
                    let before = || DbNow::minus(LAST_USED_GRAIN);
                    let stale = service_keys::last_used_at.is_null();
                    let stale = stale.or(service_keys::last_used_at.assume_not_null().lt(before()));
                    let unused = service_keys::revoked_at.is_null().and(stale);
                    diesel::update(service_keys::table.filter(service_keys::id.eq(found.0).and(unused)))
                        .set(service_keys::last_used_at.eq(DbNow::now().nullable()))
                        .execute(c)?;
                }
                Ok::<_, Fault>(found.map(key_of))
            })
        };
        self.read(find).await
    }

    /// Keys in the order of their ids, after `after`, at most `limit`; also those that are good no more.
    pub async fn service_keys_after(&self, after: Option<Uuid>, limit: usize) -> Result<Vec<ServiceKey>, StoreError> {
        let after = StoredId(after.unwrap_or(Uuid::nil()));
        let load = move |conn: &mut Conn| {
            let rows: Vec<KeyColumns> = with_conn!(conn, |c| {
                service_keys::table
                    .filter(service_keys::id.gt(after))
                    .order(service_keys::id)
                    .select(key_columns!())
                    .limit(i64::try_from(limit).unwrap_or(i64::MAX))
                    .load(c)?
            });
            Ok::<_, Fault>(rows.into_iter().map(key_of).collect())
        };
        self.read(load).await
    }

    /// Ends a key for good.
    pub async fn revoke_service_key(&self, id: Uuid, act: &Act) -> Result<RevokeOutcome, StoreError> {
        let act = act.clone();
        let revoke = move |conn: &mut Conn| {
            in_transaction!(conn, |c| {
                let good = service_keys::table
                    .filter(service_keys::id.eq(StoredId(id)).and(service_keys::revoked_at.is_null()));
                let revoked =
                    diesel::update(good).set(service_keys::revoked_at.eq(DbNow::now().nullable())).execute(c)?;
                let (outcome, word) = if revoked == 1 {
                    (RevokeOutcome::Revoked, "revoked")
                } else {
                    let row = service_keys::table.find(StoredId(id)).select(service_keys::id);
                    match row.first::<StoredId>(c).optional()? {
                        Some(_) => (RevokeOutcome::AlreadyRevoked, "already_revoked"),
                        None => (RevokeOutcome::NotFound, "not_found"),
                    }
                };
                record_act!(c, act, word);
                Ok::<_, Fault>(outcome)
            })
        };
        self.read(revoke).await
    }
}
