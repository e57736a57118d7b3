//! How values are stored: times, command ids, and the database's own clock, on PostgreSQL and SQLite alike.

use std::time::Duration;

use diesel::{
    backend::Backend,
    deserialize::{self, FromSql, FromSqlRow},
    expression::{AppearsOnTable, AsExpression, Expression, SelectableExpression, ValidGrouping, is_aggregate},
    pg::Pg,
    query_builder::{AstPass, QueryFragment, QueryId},
    result::QueryResult,
    serialize::{self, IsNull, Output, ToSql},
    sql_types::{self, BigInt},
    sqlite::Sqlite,
};
use uuid::Uuid;

use crate::domain::Timestamp;

/// SQL types that differ between the two databases.
pub mod sql {
    use diesel::{query_builder::QueryId, sql_types::SqlType};

    /// `uuid` on PostgreSQL, a blob of 16 bytes on SQLite.
    #[derive(Debug, Clone, Copy, Default, SqlType, QueryId)]
    #[diesel(postgres_type(oid = 2950, array_oid = 2951), sqlite_type(name = "Binary"))]
    pub struct DbUuid;

    /// `timestamptz` on PostgreSQL, microseconds since the Unix epoch on SQLite.
    #[derive(Debug, Clone, Copy, Default, SqlType, QueryId)]
    #[diesel(postgres_type(oid = 1184, array_oid = 1185), sqlite_type(name = "Long"))]
    pub struct DbTime;
}
use sql::{DbTime, DbUuid};

/// Names one command in the whole cluster. Made by whoever commits it, once, and kept over retries: it is how a
/// commit of unknown outcome is found again. A UUIDv7, so that rows of the same time lie together.
pub type CommandId = Uuid;

/// Whether the id was made of a key that the command's user gave it, and not drawn for it: a UUIDv8. Then the same id
/// may come again by another node, another try, or with another command, and only its first effect is written.
pub fn is_keyed(command: CommandId) -> bool {
    command.get_version_num() == 8
}

/// A command id as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, AsExpression, FromSqlRow)]
#[diesel(sql_type = DbUuid)]
pub struct StoredId(pub Uuid);

impl ToSql<DbUuid, Pg> for StoredId {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        ToSql::<sql_types::Uuid, Pg>::to_sql(&self.0, out)
    }
}

impl FromSql<DbUuid, Pg> for StoredId {
    fn from_sql(value: <Pg as Backend>::RawValue<'_>) -> deserialize::Result<Self> {
        FromSql::<sql_types::Uuid, Pg>::from_sql(value).map(Self)
    }
}

impl ToSql<DbUuid, Sqlite> for StoredId {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
        out.set_value(self.0.as_bytes().as_slice());
        Ok(IsNull::No)
    }
}

impl FromSql<DbUuid, Sqlite> for StoredId {
    fn from_sql(mut value: <Sqlite as Backend>::RawValue<'_>) -> deserialize::Result<Self> {
        Ok(Self(Uuid::from_slice(value.read_blob())?))
    }
}

/// A domain timestamp as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, AsExpression, FromSqlRow)]
#[diesel(sql_type = DbTime)]
pub struct StoredTime(pub Timestamp);

/// PostgreSQL counts microseconds from 2000-01-01.
const PG_EPOCH_MILLIS: i64 = 946_684_800_000;

impl ToSql<DbTime, Pg> for StoredTime {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        let micros = self.0.as_millis().saturating_sub(PG_EPOCH_MILLIS).saturating_mul(1000);
        ToSql::<BigInt, Pg>::to_sql(&micros, &mut out.reborrow())
    }
}

impl FromSql<DbTime, Pg> for StoredTime {
    fn from_sql(value: <Pg as Backend>::RawValue<'_>) -> deserialize::Result<Self> {
        let micros: i64 = FromSql::<BigInt, Pg>::from_sql(value)?;
        Ok(Self(Timestamp::from_millis(micros.div_euclid(1000).saturating_add(PG_EPOCH_MILLIS))))
    }
}

impl ToSql<DbTime, Sqlite> for StoredTime {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
        out.set_value(self.0.as_millis().saturating_mul(1000));
        Ok(IsNull::No)
    }
}

impl FromSql<DbTime, Sqlite> for StoredTime {
    fn from_sql(mut value: <Sqlite as Backend>::RawValue<'_>) -> deserialize::Result<Self> {
        Ok(Self(Timestamp::from_millis(value.read_long().div_euclid(1000))))
    }
}

/// The database's clock, which all nodes share, plus a duration.
#[derive(Debug, Clone, Copy, QueryId)]
pub struct DbNow {
    plus_micros: i64,
}

impl DbNow {
    /// Now.
    pub const fn now() -> Self {
        Self { plus_micros: 0 }
    }

    /// `duration` from now.
    pub fn plus(duration: Duration) -> Self {
        // A thousand years: the sum must stay within what the databases can show.
        const MOST: i64 = 1000 * 365 * 86_400_000_000;
        Self { plus_micros: i64::try_from(duration.as_micros()).unwrap_or(MOST).min(MOST) }
    }

    /// `duration` ago.
    pub fn minus(duration: Duration) -> Self {
        Self { plus_micros: -Self::plus(duration).plus_micros }
    }
}

impl Expression for DbNow {
    type SqlType = DbTime;
}

impl<G> ValidGrouping<G> for DbNow {
    type IsAggregate = is_aggregate::Never;
}

impl<T> AppearsOnTable<T> for DbNow {}
impl<T> SelectableExpression<T> for DbNow {}

impl QueryFragment<Pg> for DbNow {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        // Not now(), which stands still during a transaction.
        out.push_sql("(clock_timestamp() + ");
        out.push_bind_param::<BigInt, _>(&self.plus_micros)?;
        out.push_sql(" * interval '1 microsecond')");
        Ok(())
    }
}

impl QueryFragment<Sqlite> for DbNow {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql("(CAST(unixepoch('subsec') * 1000 AS INTEGER) * 1000 + ");
        out.push_bind_param::<BigInt, _>(&self.plus_micros)?;
        out.push_sql(")");
        Ok(())
    }
}

/// Counters of the domain as the databases' signed integers. None comes near the bound.
pub fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The reverse of [`signed`].
pub fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
