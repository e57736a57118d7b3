//! Groups and their members, as the application puts them.

use diesel::{
    prelude::*,
    result::{DatabaseErrorKind, Error},
};

use super::{
    Store,
    connection::{Conn, with_conn},
    error::{Fault, StoreError},
    schema::{group_members, groups},
    types::DbNow,
};
use crate::domain::{GroupId, Opaque, UserId};

/// A group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub id: GroupId,
    pub name: Option<String>,
    pub metadata: Option<Opaque>,
}

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

/// What a put did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutOutcome {
    Created,
    /// It was there; it is now as asked.
    Updated,
    /// Members only: there is no such group.
    GroupNotFound,
}

impl Store {
    /// Makes the group, or gives it this name and metadata.
    pub async fn put_group(
        &self,
        id: &GroupId,
        name: Option<&str>,
        metadata: Option<&Opaque>,
    ) -> Result<PutOutcome, StoreError> {
        let (id, name, metadata) = (id.clone(), name.map(str::to_owned), metadata.cloned());
        let put = move |conn: &mut Conn| {
            let metadata = metadata.as_ref().map(Opaque::json);
            with_conn!(conn, |c| {
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
                if created == 1 {
                    return Ok(PutOutcome::Created);
                }
                diesel::update(groups::table.find(id.as_str()))
                    .set((
                        groups::name.eq(name.as_deref()),
                        groups::metadata.eq(metadata),
                        groups::updated_at.eq(DbNow::now()),
                    ))
                    .execute(c)?;
                Ok(PutOutcome::Updated)
            })
        };
        self.read(put).await
    }

    /// The group. `None`: there is none of that id.
    pub async fn get_group(&self, id: &GroupId) -> Result<Option<Group>, StoreError> {
        let id = id.clone();
        let load = move |conn: &mut Conn| {
            let row: Option<(Option<String>, Option<String>)> = with_conn!(conn, |c| {
                groups::table.find(id.as_str()).select((groups::name, groups::metadata)).first(c).optional()?
            });
            let Some((name, metadata)) = row else { return Ok(None) };
            let metadata = metadata.as_deref().map(serde_json::from_str).transpose();
            let metadata = metadata.map_err(|_| Fault::Unreadable("a group's metadata"))?;
            Ok(Some(Group { id: id.clone(), name, metadata }))
        };
        self.read(load).await
    }

    /// Removes the group and its members. Calls that run in it go on. `false`: there was none.
    pub async fn delete_group(&self, id: &GroupId) -> Result<bool, StoreError> {
        let id = id.clone();
        let delete = move |conn: &mut Conn| {
            let deleted = with_conn!(conn, |c| diesel::delete(groups::table.find(id.as_str())).execute(c)?);
            Ok(deleted == 1)
        };
        self.read(delete).await
    }

    /// Makes the user a member with this role.
    pub async fn put_member(&self, group: &GroupId, user: &UserId, role: MemberRole) -> Result<PutOutcome, StoreError> {
        let (group, user) = (group.clone(), user.clone());
        let put = move |conn: &mut Conn| {
            with_conn!(conn, |c| {
                let created = diesel::insert_into(group_members::table)
                    .values((
                        group_members::group_id.eq(group.as_str()),
                        group_members::user_id.eq(user.as_str()),
                        group_members::role.eq(role.as_str()),
                        group_members::added_at.eq(DbNow::now()),
                    ))
                    .on_conflict_do_nothing()
                    .execute(c);
                match created {
                    Ok(1) => return Ok(PutOutcome::Created),
                    Ok(_) => {}
                    Err(Error::DatabaseError(DatabaseErrorKind::ForeignKeyViolation, _)) => {
                        return Ok(PutOutcome::GroupNotFound);
                    }
                    Err(error) => return Err(error.into()),
                }
                diesel::update(group_members::table.find((group.as_str(), user.as_str())))
                    .set(group_members::role.eq(role.as_str()))
                    .execute(c)?;
                Ok(PutOutcome::Updated)
            })
        };
        self.read(put).await
    }

    /// Removes the member. `false`: the user was none.
    pub async fn remove_member(&self, group: &GroupId, user: &UserId) -> Result<bool, StoreError> {
        let (group, user) = (group.clone(), user.clone());
        let remove = move |conn: &mut Conn| {
            let member = group_members::table.find((group.as_str(), user.as_str()));
            let removed = with_conn!(conn, |c| diesel::delete(member).execute(c)?);
            Ok(removed == 1)
        };
        self.read(remove).await
    }

    /// Whether the user belongs to the group.
    pub async fn is_member(&self, group: &GroupId, user: &UserId) -> Result<bool, StoreError> {
        Ok(self.member_role(group, user).await?.is_some())
    }

    /// The user's role in the group. `None`: no member.
    pub async fn member_role(&self, group: &GroupId, user: &UserId) -> Result<Option<MemberRole>, StoreError> {
        let (group, user) = (group.clone(), user.clone());
        let load = move |conn: &mut Conn| {
            let member = group_members::table.find((group.as_str(), user.as_str()));
            let role: Option<String> = with_conn!(conn, |c| member.select(group_members::role).first(c).optional()?);
            role.map(|role| MemberRole::parse(&role).ok_or(Fault::Unreadable("a member's role"))).transpose()
        };
        self.read(load).await
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
            rows.into_iter().map(|user| UserId::new(user).map_err(|_| Fault::Unreadable("a user's id"))).collect()
        };
        self.read(load).await
    }
}
