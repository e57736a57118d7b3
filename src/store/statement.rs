//! A statement put together from parts: for the reads whose conditions vary, in one text for both databases.
//!
//! Values never become text of the statement. It is planned anew each time, on the values it has: a plan kept for any
//! user and any period would suit none.

use diesel::{
    pg::Pg,
    prelude::*,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    result::QueryResult,
    sql_types::{BigInt, Text, Untyped},
    sqlite::Sqlite,
};
use uuid::Uuid;

use super::{
    connection::Conn,
    error::Fault,
    postgres::PgConn,
    types::{
        StoredId, StoredTime,
        sql::{DbTime, DbUuid},
    },
};
use crate::domain::Timestamp;

enum Part {
    Sql(&'static str),
    /// What the two databases say differently.
    Either {
        postgres: &'static str,
        sqlite: &'static str,
    },
    Text(String),
    Time(StoredTime),
    Id(StoredId),
    Number(i64),
}

/// See the module.
pub(super) struct Statement(Vec<Part>);

impl Statement {
    pub fn new(sql: &'static str) -> Self {
        Self(vec![Part::Sql(sql)])
    }

    pub fn sql(mut self, sql: &'static str) -> Self {
        self.0.push(Part::Sql(sql));
        self
    }

    pub fn either(mut self, postgres: &'static str, sqlite: &'static str) -> Self {
        self.0.push(Part::Either { postgres, sqlite });
        self
    }

    pub fn text(mut self, value: impl Into<String>) -> Self {
        self.0.push(Part::Text(value.into()));
        self
    }

    pub fn time(mut self, value: Timestamp) -> Self {
        self.0.push(Part::Time(StoredTime(value)));
        self
    }

    pub fn number(mut self, value: i64) -> Self {
        self.0.push(Part::Number(value));
        self
    }

    pub fn id(mut self, value: Uuid) -> Self {
        self.0.push(Part::Id(StoredId(value)));
        self
    }

    /// All of another one after this.
    pub fn then(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// How the database would carry it out, line by line.
    pub fn explain(self, conn: &mut Conn) -> Result<Vec<String>, Fault> {
        #[derive(QueryableByName)]
        struct OfPostgres {
            #[diesel(sql_type = Text, column_name = "QUERY PLAN")]
            line: String,
        }
        #[derive(QueryableByName)]
        struct OfSqlite {
            #[diesel(sql_type = Text)]
            detail: String,
        }
        let explained = Self(Vec::new()).either("EXPLAIN ", "EXPLAIN QUERY PLAN ").then(self);
        Ok(match conn {
            Conn::Pg(c) => explained.load::<OfPostgres>(c)?.into_iter().map(|row| row.line).collect(),
            Conn::Sqlite(c) => explained.load::<OfSqlite>(c)?.into_iter().map(|row| row.detail).collect(),
        })
    }
}

macro_rules! fragment {
    ($backend:ty, $own:ident) => {
        impl QueryFragment<$backend> for Statement {
            fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, $backend>) -> QueryResult<()> {
                out.unsafe_to_cache_prepared();
                for part in &self.0 {
                    match part {
                        Part::Sql(sql) => out.push_sql(sql),
                        Part::Either { $own, .. } => out.push_sql($own),
                        Part::Text(value) => out.push_bind_param::<Text, _>(value)?,
                        Part::Time(value) => out.push_bind_param::<DbTime, _>(value)?,
                        Part::Id(value) => out.push_bind_param::<DbUuid, _>(value)?,
                        Part::Number(value) => out.push_bind_param::<BigInt, _>(value)?,
                    }
                }
                Ok(())
            }
        }
    };
}
fragment!(Pg, postgres);
fragment!(Sqlite, sqlite);

impl QueryId for Statement {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Statement {
    type SqlType = Untyped;
}

impl RunQueryDsl<PgConn> for Statement {}
impl RunQueryDsl<SqliteConnection> for Statement {}
