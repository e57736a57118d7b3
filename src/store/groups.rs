//! Groups, as the application puts them. Each change is recorded in the audit log in the same transaction.

use diesel::prelude::*;

use super::{
    Act, Store,
    audit::record_act,
    connection::{Conn, in_transaction, with_conn},
    error::{Fault, StoreError},
    schema::{calls, group_members, groups, slots},
    types::{DbNow, StoredTime, unsigned},
};
use crate::domain::{CallId, GroupId, Opaque, Timestamp, call::glare::Slot};

/// A group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub id: GroupId,
    pub name: Option<String>,
    pub metadata: Option<Opaque>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What a put did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutOutcome {
    Created,
    /// It was there; it is now as asked.
    Updated,
    /// Members only: there is no such group.
    GroupNotFound,
}

impl PutOutcome {
    /// The name in the audit log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::GroupNotFound => "not_found",
        }
    }
}

/// The name in the audit log of what a removal did.
pub(super) const fn removal(removed: bool) -> &'static str {
    if removed { "removed" } else { "not_found" }
}

type GroupColumns = (String, Option<String>, Option<String>, StoredTime, StoredTime);

fn group((id, name, metadata, created_at, updated_at): GroupColumns) -> Result<Group, Fault> {
    let metadata = metadata.as_deref().map(serde_json::from_str).transpose();
    Ok(Group {
        id: GroupId::new(id).map_err(|_| Fault::Unreadable("a group's id"))?,
        name,
        metadata: metadata.map_err(|_| Fault::Unreadable("a group's metadata"))?,
        created_at: created_at.0,
        updated_at: updated_at.0,
    })
}

impl Store {
    /// Makes the group, or gives it this name and metadata.
    pub async fn put_group(
        &self,
        id: &GroupId,
        name: Option<&str>,
        metadata: Option<&Opaque>,
        act: &Act,
    ) -> Result<PutOutcome, StoreError> {
        let (id, name, metadata, act) = (id.clone(), name.map(str::to_owned), metadata.cloned(), act.clone());
        let put = move |conn: &mut Conn| {
            let metadata = metadata.as_ref().map(Opaque::json);
            in_transaction!(conn, |c| {
                let created = diesel::insert_into(groups::table)
                    .values((
                        groups::id.eq(id.as_str()),
                        groups::name.eq(name.as_deref()),
                        groups::metadata.eq(metadata),
                        groups::created_at.eq(DbNow::now()),
                        groups::updated_at.eq(DbNow::now()),
                    ))
                    .on_conflict_do_nothing()
                    .execute(c)?;
                let outcome = if created == 1 {
                    PutOutcome::Created
                } else {
                    diesel::update(groups::table.find(id.as_str()))
                        .set((
                            groups::name.eq(name.as_deref()),
                            groups::metadata.eq(metadata),
                            groups::updated_at.eq(DbNow::now()),
                        ))
                        .execute(c)?;
                    PutOutcome::Updated
                };
                record_act!(c, act, outcome.as_str());
                Ok(outcome)
            })
        };
        self.read(put).await
    }

    /// The group. `None`: there is none of that id.
    pub async fn get_group(&self, id: &GroupId) -> Result<Option<Group>, StoreError> {
        let id = id.clone();
        let load = move |conn: &mut Conn| {
            let row: Option<GroupColumns> =
                with_conn!(conn, |c| groups::table.find(id.as_str()).first(c).optional()?);
            row.map(group).transpose()
        };
        self.read(load).await
    }

    /// Groups in the order of their ids, after `after`, at most `limit`.
    pub async fn groups_after(&self, after: Option<&GroupId>, limit: usize) -> Result<Vec<Group>, StoreError> {
        // No id is empty: all come after it.
        let after = after.map_or_else(String::new, |id| id.as_str().to_owned());
        let load = move |conn: &mut Conn| {
            let rows: Vec<GroupColumns> = with_conn!(conn, |c| {
                groups::table
                    .filter(groups::id.gt(&after))
                    .order(groups::id)
                    .limit(i64::try_from(limit).unwrap_or(i64::MAX))
                    .load(c)?
            });
            rows.into_iter().map(group).collect()
        };
        self.read(load).await
    }

    /// How many members the group has.
    pub async fn count_members(&self, group: &GroupId) -> Result<u64, StoreError> {
        let group = group.clone();
        let count = move |conn: &mut Conn| {
            let members = group_members::table.filter(group_members::group_id.eq(group.as_str()));
            let count: i64 = with_conn!(conn, |c| members.count().get_result(c)?);
            Ok::<_, Fault>(unsigned(count))
        };
        self.read(count).await
    }

    /// Removes the group and its members. `false`: there was none.
    pub async fn delete_group(&self, id: &GroupId, act: &Act) -> Result<bool, StoreError> {
        let (id, act) = (id.clone(), act.clone());
        let delete = move |conn: &mut Conn| {
            in_transaction!(conn, |c| {
                let deleted = diesel::delete(groups::table.find(id.as_str())).execute(c)? == 1;
                record_act!(c, act, removal(deleted));
                Ok(deleted)
            })
        };
        self.read(delete).await
    }

    /// The group's open call. A group has at most one.
    pub async fn open_call_of_group(&self, group: &GroupId) -> Result<Option<CallId>, StoreError> {
        let slot = Slot::of_group(group);
        let load = move |conn: &mut Conn| {
            let open = slots::table.inner_join(calls::table.on(calls::id.eq(slots::call_id)));
            let open = open.filter(slots::slot.eq(slot.as_str()).and(calls::open));
            let id: Option<String> = with_conn!(conn, |c| open.select(slots::call_id).first(c).optional()?);
            id.map(|id| CallId::new(id).map_err(|_| Fault::Unreadable("a call's id"))).transpose()
        };
        self.read(load).await
    }
}
