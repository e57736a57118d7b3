//! Which webhooks of LiveKit were taken in, so that the same event is acted on once in the cluster; and which of its rooms
//! belong to calls that are over.
//!
//! Times are the database's. Everything here may run twice.

use std::{collections::HashMap, time::Duration};

use diesel::prelude::*;

use super::{
    Store,
    connection::{Conn, with_conn},
    error::{Fault, StoreError},
    schema::{calls, livekit_events},
    types::{DbNow, StoredTime},
};
use crate::domain::CallId;

/// Names of one statement. More make its text long; fewer are more statements.
pub const BATCH_ROOMS: usize = 500;

/// Where a call stands, for who has only its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallFate {
    Open,
    /// Over, for so long.
    Over(Duration),
}

impl Store {
    /// Takes an event in. `false`: it was taken in before.
    pub async fn take_livekit_event(&self, id: &str) -> Result<bool, StoreError> {
        let id = id.to_owned();
        let take = move |conn: &mut Conn| {
            let new = with_conn!(conn, |c| {
                diesel::insert_into(livekit_events::table)
                    .values((livekit_events::id.eq(&id), livekit_events::taken_at.eq(DbNow::now())))
                    .on_conflict_do_nothing()
                    .execute(c)?
            });
            Ok::<_, Fault>(new == 1)
        };
        self.read(take).await
    }

    /// Forgets an event that could not be acted on: it is to come again.
    pub async fn give_livekit_event_back(&self, id: &str) -> Result<(), StoreError> {
        let id = id.to_owned();
        let give = move |conn: &mut Conn| {
            with_conn!(conn, |c| diesel::delete(livekit_events::table.find(&id)).execute(c)?);
            Ok::<_, Fault>(())
        };
        self.read(give).await
    }

    /// Where each of these calls stands, at most [`BATCH_ROOMS`]; those that are unknown are left out.
    pub async fn call_fates(&self, ids: &[CallId]) -> Result<HashMap<CallId, CallFate>, StoreError> {
        let ids: Vec<String> = ids.iter().take(BATCH_ROOMS).map(|call| call.as_str().to_owned()).collect();
        let load = move |conn: &mut Conn| {
            let rows: Vec<(String, bool, Option<StoredTime>, StoredTime)> = with_conn!(conn, |c| {
                calls::table
                    .filter(calls::id.eq_any(&ids))
                    .select((calls::id, calls::open, calls::ended_at, DbNow::now()))
                    .load(c)?
            });
            let fates = rows.into_iter().map(|(id, open, ended, now)| {
                let call = CallId::new(&id).map_err(|_| Fault::Unreadable("a call's id"))?;
                // Over, but nobody knows since when: as if just now.
                let since = ended.map_or(Duration::ZERO, |ended| now.0.since(ended.0));
                Ok((call, if open { CallFate::Open } else { CallFate::Over(since) }))
            });
            fates.collect()
        };
        self.read(load).await
    }
}
