//! Every privileged act on record: who did what, on what, and what came of it.
//!
//! An act is recorded in the transaction that carries it out, so that neither is there without the other; one that was
//! refused before it reached the store is recorded by itself. Must never hold a secret: keys are named by their ids.
//! Rows are added, read, and forgotten when they are old ([`super::old`]), never changed.

use std::time::Duration;

use diesel::prelude::*;
use uuid::{Builder, Uuid};

use super::{
    Store,
    connection::{Conn, with_conn},
    error::{Fault, StoreError},
    schema::audit_log,
    types::{StoredId, StoredTime},
};
use crate::domain::{Timestamp, UserId};

/// What kind of actor it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ActorKind {
    ServiceKey,
    User,
    /// Who runs `carillon` on a machine that reaches the database.
    CommandLine,
}

impl ActorKind {
    /// The name on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ServiceKey => "service_key",
            Self::User => "user",
            Self::CommandLine => "command_line",
        }
    }
}

/// Who acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    pub kind: ActorKind,
    /// The id of the key or of the user.
    pub id: String,
    /// The name of the key.
    pub name: Option<String>,
}

/// A privileged act that is about to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// Names the record: to write it twice is to write it once.
    id: Uuid,
    at: Timestamp,
    actor: Actor,
    action: &'static str,
    target_kind: &'static str,
    target: String,
    user: Option<String>,
    request_id: Option<String>,
    node: Option<String>,
    note: Option<String>,
}

impl Act {
    /// `actor` does `action` (such as `group.delete`) on a target, now.
    pub fn new(
        actor: &Actor,
        at: Timestamp,
        action: &'static str,
        target_kind: &'static str,
        target: impl Into<String>,
    ) -> Self {
        let id = id_at(at, rand::random());
        let (actor, target) = (actor.clone(), target.into());
        Self { id, at, actor, action, target_kind, target, user: None, request_id: None, node: None, note: None }
    }

    /// It is about this user.
    pub fn about(mut self, user: &UserId) -> Self {
        self.user = Some(user.as_str().to_owned());
        self
    }

    /// It was asked for by this request, at this node.
    pub fn asked(mut self, request_id: &str, node: &str) -> Self {
        self.request_id = Some(request_id.to_owned());
        self.node = Some(node.to_owned());
        self
    }

    /// With what the actor says of it, or what there is to say of its outcome.
    pub fn noting(mut self, note: Option<String>) -> Self {
        self.note = note;
        self
    }

    /// The same act in a record of its own: what came of one that was on record before it was done.
    pub fn again(&self, at: Timestamp) -> Self {
        // After it in the log, which is in the order of ids, whatever the clock says.
        let at = at.max(self.at + Duration::from_millis(1));
        Self { id: id_at(at, rand::random()), at, ..self.clone() }
    }

    /// The record of it, once it is known what came of it.
    pub(super) fn came_to<'a>(&'a self, outcome: &'a str) -> AuditRow<'a> {
        AuditRow {
            id: StoredId(self.id),
            at: StoredTime(self.at),
            actor_kind: self.actor.kind.as_str(),
            actor: &self.actor.id,
            actor_name: self.actor.name.as_deref(),
            action: self.action,
            target_kind: self.target_kind,
            target: &self.target,
            user_id: self.user.as_deref(),
            outcome,
            request_id: self.request_id.as_deref(),
            node: self.node.as_deref(),
            note: self.note.as_deref(),
        }
    }
}

/// A UUIDv7 of this time: ids are in its order, and a time is a bound among them.
fn id_at(at: Timestamp, random: [u8; 10]) -> Uuid {
    let millis = u64::try_from(at.as_millis()).unwrap_or(0);
    Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}

/// A record to be written, within the transaction of the act.
#[derive(Insertable)]
#[diesel(table_name = audit_log, treat_none_as_default_value = false)]
pub(super) struct AuditRow<'a> {
    id: StoredId,
    at: StoredTime,
    actor_kind: &'a str,
    actor: &'a str,
    actor_name: Option<&'a str>,
    action: &'a str,
    target_kind: &'a str,
    target: &'a str,
    user_id: Option<&'a str>,
    outcome: &'a str,
    request_id: Option<&'a str>,
    node: Option<&'a str>,
    note: Option<&'a str>,
}

/// Writes the record of an act, within its transaction.
macro_rules! record_act {
    ($c:expr, $act:expr, $outcome:expr) => {
        diesel::insert_into($crate::store::schema::audit_log::table)
            .values(&$act.came_to($outcome))
            .on_conflict_do_nothing()
            .execute($c)?
    };
}
pub(super) use record_act;

/// A record as read.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct AuditEntry {
    #[diesel(deserialize_as = StoredId)]
    pub id: Uuid,
    #[diesel(deserialize_as = StoredTime)]
    pub at: Timestamp,
    pub actor_kind: String,
    pub actor: String,
    pub actor_name: Option<String>,
    pub action: String,
    pub target_kind: String,
    pub target: String,
    pub user: Option<String>,
    pub outcome: String,
    pub request_id: Option<String>,
    pub node: Option<String>,
    pub note: Option<String>,
}

impl From<StoredId> for Uuid {
    fn from(id: StoredId) -> Self {
        id.0
    }
}

impl From<StoredTime> for Timestamp {
    fn from(time: StoredTime) -> Self {
        time.0
    }
}

/// Which records are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// The id of a key or a user.
    pub actor: Option<String>,
    pub action: Option<String>,
    /// At or after.
    pub since: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
    /// Older than this record: where the page before ended.
    pub before: Option<Uuid>,
}

impl Store {
    /// Records an act that the store had no part in, or that was refused before it came to it.
    pub async fn record_act(&self, act: &Act, outcome: &str) -> Result<(), StoreError> {
        let (act, outcome) = (act.clone(), outcome.to_owned());
        let record = move |conn: &mut Conn| {
            with_conn!(conn, |c| record_act!(c, act, &outcome));
            Ok::<_, Fault>(())
        };
        self.read(record).await
    }

    /// The newest records that the filter lets through, newest first, at most `limit`.
    pub async fn audit_entries(&self, filter: &AuditFilter, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        let filter = filter.clone();
        let load = move |conn: &mut Conn| {
            Ok::<_, Fault>(with_conn!(conn, |c| {
                let mut query = audit_log::table.into_boxed();
                if let Some(actor) = &filter.actor {
                    query = query.filter(audit_log::actor.eq(actor));
                }
                if let Some(action) = &filter.action {
                    query = query.filter(audit_log::action.eq(action));
                }
                // Bounds of time are bounds of ids: every list is one walk along one index.
                if let Some(since) = filter.since {
                    query = query.filter(audit_log::id.ge(StoredId(first_of(since))));
                }
                if let Some(until) = filter.until {
                    query = query.filter(audit_log::id.lt(StoredId(first_of(until))));
                }
                if let Some(before) = filter.before {
                    query = query.filter(audit_log::id.lt(StoredId(before)));
                }
                query.order(audit_log::id.desc()).limit(i64::try_from(limit).unwrap_or(i64::MAX)).load(c)?
            }))
        };
        self.read(load).await
    }
}

/// No id of this time or later is smaller.
pub(super) fn first_of(at: Timestamp) -> Uuid {
    id_at(at, [0; 10])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ids_of_records_are_in_the_order_of_time() {
        let at = |millis| Timestamp::from_millis(millis);
        let (early, late) = (id_at(at(1000), [0xff; 10]), id_at(at(1001), [0; 10]));
        assert!(early < late);
        assert!(first_of(at(1000)) <= early && early < first_of(at(1001)));
    }
}
