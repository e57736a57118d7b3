//! Who belongs to which group. Each change is recorded in the audit log in the same transaction.

use diesel::{
    prelude::*,
    result::{DatabaseErrorKind, Error},
    sql_types::Text,
};

use super::{
    Act, PutOutcome, Store, Viewer,
    audit::record_act,
    connection::{Conn, in_transaction, with_conn},
    error::{Fault, StoreError},
    groups::removal,
    schema::{group_members, groups},
    statement::Statement,
    types::{DbNow, StoredTime},
};
use crate::domain::{GroupId, Timestamp, UserId};

/// What a member may do in calls of the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberRole {
    Member,
    Admin,
}

impl MemberRole {
    /// The name on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Admin => "admin",
        }
    }

    /// The role of that name.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "member" => Some(Self::Member),
            "admin" => Some(Self::Admin),
            _ => None,
        }
    }
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    pub user: UserId,
    pub role: MemberRole,
    pub added_at: Timestamp,
}

fn user(id: String) -> Result<UserId, Fault> {
    UserId::new(id).map_err(|_| Fault::Unreadable("a user's id"))
}

fn role(text: &str) -> Result<MemberRole, Fault> {
    MemberRole::parse(text).ok_or(Fault::Unreadable("a member's role"))
}

impl Store {
    /// Makes the user a member with this role.
    pub async fn put_member(
        &self,
        group: &GroupId,
        user: &UserId,
        role: MemberRole,
        act: &Act,
    ) -> Result<PutOutcome, StoreError> {
        let (group, user, act) = (group.clone(), user.clone(), act.clone());
        let put = move |conn: &mut Conn| {
            in_transaction!(conn, |c| {
                let known: Option<String> =
                    groups::table.find(group.as_str()).select(groups::id).first(c).optional()?;
                if known.is_none() {
                    record_act!(c, act, PutOutcome::GroupNotFound.as_str());
                    return Ok(PutOutcome::GroupNotFound);
                }
                let created = diesel::insert_into(group_members::table)
                    .values((
                        group_members::group_id.eq(group.as_str()),
                        group_members::user_id.eq(user.as_str()),
                        group_members::role.eq(role.as_str()),
                        group_members::added_at.eq(DbNow::now()),
                    ))
                    .on_conflict_do_nothing()
                    .execute(c);
                let outcome = match created {
                    Ok(1) => PutOutcome::Created,
                    Ok(_) => {
                        diesel::update(group_members::table.find((group.as_str(), user.as_str())))
                            .set(group_members::role.eq(role.as_str()))
                            .execute(c)?;
                        PutOutcome::Updated
                    }
                    // The group was deleted since it was looked for: the next try finds that.
                    Err(Error::DatabaseError(DatabaseErrorKind::ForeignKeyViolation, _)) => {
                        return Err(Fault::Conflict);
                    }
                    Err(error) => return Err(error.into()),
                };
                record_act!(c, act, outcome.as_str());
                Ok(outcome)
            })
        };
        self.read(put).await
    }

    /// Removes the member. `false`: the user was none.
    pub async fn remove_member(&self, group: &GroupId, user: &UserId, act: &Act) -> Result<bool, StoreError> {
        let (group, user, act) = (group.clone(), user.clone(), act.clone());
        let remove = move |conn: &mut Conn| {
            let member = group_members::table.find((group.as_str(), user.as_str()));
            in_transaction!(conn, |c| {
                let removed = diesel::delete(member).execute(c)? == 1;
                record_act!(c, act, removal(removed));
                Ok(removed)
            })
        };
        self.read(remove).await
    }

    /// Whether the user belongs to the group.
    pub async fn is_member(&self, group: &GroupId, user: &UserId) -> Result<bool, StoreError> {
        Ok(self.member_role(group, user).await?.is_some())
    }

    /// The user's role in the group. `None`: no member.
    pub async fn member_role(&self, group: &GroupId, user: &UserId) -> Result<Option<MemberRole>, StoreError> {
        let viewer = Viewer::from(user);
        let (group, user) = (group.clone(), user.clone());
        let load = move |conn: &mut Conn| {
            let member = group_members::table.find((group.as_str(), user.as_str()));
            let text: Option<String> = with_conn!(conn, |c| member.select(group_members::role).first(c).optional()?);
            text.as_deref().map(role).transpose()
        };
        self.read_as(&viewer, load).await
    }

    /// The group's members in the order of their ids, at most `limit`.
    pub async fn members_of(&self, group: &GroupId, limit: usize) -> Result<Vec<UserId>, StoreError> {
        let group = group.clone();
        let load = move |conn: &mut Conn| {
            let rows: Vec<String> = with_conn!(conn, |c| {
                group_members::table
                    .filter(group_members::group_id.eq(group.as_str()))
                    .order(group_members::user_id)
                    .select(group_members::user_id)
                    .limit(i64::try_from(limit).unwrap_or(i64::MAX))
                    .load(c)?
            });
            rows.into_iter().map(user).collect()
        };
        self.read(load).await
    }

    /// The same for `asker`, if they are a member; else none, at the cost of finding that out, however large the group.
    pub async fn members_for(&self, group: &GroupId, asker: &UserId, limit: usize) -> Result<Vec<UserId>, StoreError> {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = Text)]
            user_id: String,
        }
        let (group, asker) = (group.clone(), asker.clone());
        let load = move |conn: &mut Conn| {
            let sql = Statement::new("SELECT m.user_id FROM group_members m WHERE m.group_id = ").text(group.as_str());
            let sql = sql.sql(" AND EXISTS (SELECT 1 FROM group_members a WHERE a.group_id = ").text(group.as_str());
            let sql = sql.sql(" AND a.user_id = ").text(asker.as_str()).sql(") ORDER BY m.user_id LIMIT ");
            let sql = sql.number(i64::try_from(limit).unwrap_or(i64::MAX));
            let rows: Vec<Row> = with_conn!(conn, |c| sql.load(c)?);
            rows.into_iter().map(|row| user(row.user_id)).collect()
        };
        self.read(load).await
    }

    /// Those of `users` who belong to the group, each once, in no order. None of a group that is not there.
    pub async fn members_among(&self, group: &GroupId, users: &[UserId]) -> Result<Vec<UserId>, StoreError> {
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let (group, users) = (group.clone(), users.to_vec());
        let load = move |conn: &mut Conn| {
            let names: Vec<&str> = users.iter().map(UserId::as_str).collect();
            let rows: Vec<String> = with_conn!(conn, |c| {
                group_members::table
                    .filter(group_members::group_id.eq(group.as_str()).and(group_members::user_id.eq_any(&names)))
                    .select(group_members::user_id)
                    .load(c)?
            });
            rows.into_iter().map(user).collect()
        };
        self.read(load).await
    }

    /// Those of `users` who belong to the group with their roles, each once, in no order.
    pub async fn roles_among(
        &self,
        group: &GroupId,
        users: &[UserId],
    ) -> Result<Vec<(UserId, MemberRole)>, StoreError> {
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let (group, users) = (group.clone(), users.to_vec());
        let load = move |conn: &mut Conn| {
            let names: Vec<&str> = users.iter().map(UserId::as_str).collect();
            let rows: Vec<(String, String)> = with_conn!(conn, |c| {
                group_members::table
                    .filter(group_members::group_id.eq(group.as_str()).and(group_members::user_id.eq_any(&names)))
                    .select((group_members::user_id, group_members::role))
                    .load(c)?
            });
            rows.into_iter().map(|(id, text)| Ok((user(id)?, role(&text)?))).collect()
        };
        self.read(load).await
    }

    /// Members in the order of their ids, after `after`, at most `limit`.
    pub async fn members_after(
        &self,
        group: &GroupId,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<GroupMember>, StoreError> {
        let group = group.clone();
        // No id is empty: all come after it.
        let after = after.map_or_else(String::new, |id| id.as_str().to_owned());
        let load = move |conn: &mut Conn| {
            let rows: Vec<(String, String, StoredTime)> = with_conn!(conn, |c| {
                group_members::table
                    .filter(group_members::group_id.eq(group.as_str()).and(group_members::user_id.gt(&after)))
                    .order(group_members::user_id)
                    .select((group_members::user_id, group_members::role, group_members::added_at))
                    .limit(i64::try_from(limit).unwrap_or(i64::MAX))
                    .load(c)?
            });
            let member = |(id, text, added_at): (String, String, StoredTime)| {
                Ok(GroupMember { user: user(id)?, role: role(&text)?, added_at: added_at.0 })
            };
            rows.into_iter().map(member).collect()
        };
        self.read(load).await
    }
}
