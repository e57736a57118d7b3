//! Brings the tables up to date, under a lock: ten nodes may start at once on an empty database.
//!
//! Migrations are embedded, and only ever expand; what they replace is removed a version later.

use std::{collections::HashSet, time::Duration};

use diesel::{
    SqliteConnection,
    backend::Backend,
    connection::SimpleConnection,
    migration::{MigrationSource, MigrationVersion},
    prelude::*,
    sql_types::{BigInt, Bool, Text},
};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use tokio::sync::oneshot;

use super::{
    connection::{Conn, Purpose, Target, with_conn},
    error::{Fault, StoreError},
    on_a_thread,
    postgres::PgConn,
};
use crate::{clock, secret::Secret};

const POSTGRES: EmbeddedMigrations = embed_migrations!("migrations/postgres");
const SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");

/// The lock in PostgreSQL: any number that nobody else takes ("carillon" as bytes).
const LOCK: i64 = i64::from_be_bytes(*b"carillon");

/// How long to wait while another node migrates. Shorter: nodes give up behind a long migration; longer: a node that
/// hangs with the lock holds up all others unnoticed.
const LOCK_LIMIT: Duration = Duration::from_secs(120);

/// How often to ask for it.
const LOCK_POLL: Duration = Duration::from_millis(100);

/// Applies what is missing. Returns the versions applied; none when all was there. Waits at most two minutes for
/// another process that does the same.
pub async fn migrate(url: &Secret) -> Result<Vec<String>, StoreError> {
    let target = Target::parse(url)?;
    let (reply, done) = oneshot::channel();
    let work = move || {
        let result = match target.connect(Purpose::Migrate) {
            Ok(Conn::Pg(mut conn)) => postgres(&mut conn),
            Ok(Conn::Sqlite(mut conn)) => sqlite(&mut conn),
            Err(why) => Err(StoreError::Setup(format!("the database cannot be reached: {why}"))),
        };
        let _ = reply.send(result);
    };
    let started = std::thread::Builder::new().name("store-migrate".into()).spawn(work);
    started.map_err(|_| StoreError::Setup("no thread can be started".into()))?;
    done.await.unwrap_or(Err(StoreError::Unavailable { unknown_outcome: true }))
}

/// Whether all migrations that this program knows are applied; others may be too, by a newer one. An error: not known.
pub async fn is_migrated(url: &Secret) -> Result<bool, StoreError> {
    let target = Target::parse(url)?;
    on_a_thread(move || {
        let unreachable = |why| StoreError::Setup(format!("the database cannot be reached: {why}"));
        is_current(&mut target.connect(Purpose::Ordinary).map_err(unreachable)?)
    })
    .await
}

fn applied(versions: Vec<MigrationVersion<'_>>) -> Vec<String> {
    versions.iter().map(ToString::to_string).collect()
}

fn failed(error: Box<dyn std::error::Error + Send + Sync>) -> StoreError {
    // Migrations hold no data of users: what they say may be shown.
    StoreError::Permanent(format!("a migration fails: {error}"))
}

/// The lock belongs to the session, so it goes with it, whatever happens.
fn postgres(conn: &mut PgConn) -> Result<Vec<String>, StoreError> {
    #[derive(QueryableByName)]
    struct Taken {
        #[diesel(sql_type = Bool)]
        taken: bool,
    }
    let fault = |error: diesel::result::Error| Fault::from(error).into_error();
    let deadline = clock::monotonic() + LOCK_LIMIT;
    loop {
        // Asked for again and again, not waited for: a waiting statement would hold up what builds indexes.
        let lock = diesel::sql_query("SELECT pg_try_advisory_lock($1) AS taken").bind::<BigInt, _>(LOCK);
        if lock.get_result::<Taken>(conn).map_err(fault)?.taken {
            break;
        }
        if clock::monotonic() > deadline {
            return Err(StoreError::Setup("another process has been migrating for two minutes".into()));
        }
        std::thread::sleep(LOCK_POLL);
    }
    // A lock of a running node on one of the tables must not queue everybody else behind the migration for long.
    conn.batch_execute("SET lock_timeout = '10s'").map_err(fault)?;
    conn.run_pending_migrations(POSTGRES).map(applied).map_err(failed)
}

/// All in one exclusive transaction: it is done by one, and done wholly or not at all.
fn sqlite(conn: &mut SqliteConnection) -> Result<Vec<String>, StoreError> {
    let deadline = clock::monotonic() + LOCK_LIMIT;
    loop {
        let done = conn.exclusive_transaction(|conn| {
            let versions = conn.run_pending_migrations(SQLITE).map(applied);
            versions.map_err(|error| Migrating::Failed(failed(error)))
        });
        match done {
            Ok(versions) => return Ok(versions),
            Err(Migrating::Failed(error)) => return Err(error),
            Err(Migrating::Database(error)) => match Fault::from(error) {
                Fault::Busy if clock::monotonic() < deadline => std::thread::sleep(LOCK_POLL),
                fault => return Err(fault.into_error()),
            },
        }
    }
}

enum Migrating {
    Database(diesel::result::Error),
    Failed(StoreError),
}

impl From<diesel::result::Error> for Migrating {
    fn from(error: diesel::result::Error) -> Self {
        Self::Database(error)
    }
}

/// Whether all migrations that this program knows are applied. Only reads, unlike diesel's own question, which makes its
/// table first: who asks may have no right to make tables.
pub(super) fn is_current(conn: &mut Conn) -> Result<bool, StoreError> {
    let known = match conn {
        Conn::Pg(_) => versions::<diesel::pg::Pg>(&POSTGRES),
        Conn::Sqlite(_) => versions::<diesel::sqlite::Sqlite>(&SQLITE),
    };
    let applied = recorded(conn).map_err(|error| Fault::from(error).into_error())?;
    Ok(known.map_err(failed)?.iter().all(|version| applied.contains(version)))
}

fn versions<DB: Backend>(source: &EmbeddedMigrations) -> diesel::migration::Result<Vec<String>> {
    let known = MigrationSource::<DB>::migrations(source)?;
    Ok(known.iter().map(|migration| migration.name().version().to_string()).collect())
}

/// The versions that diesel has noted; none if it never noted any.
fn recorded(conn: &mut Conn) -> QueryResult<HashSet<String>> {
    #[derive(QueryableByName)]
    struct Table {
        #[diesel(sql_type = Bool)]
        there: bool,
    }
    #[derive(QueryableByName)]
    struct Applied {
        #[diesel(sql_type = Text)]
        version: String,
    }
    let look = match conn {
        Conn::Pg(_) => "SELECT to_regclass('__diesel_schema_migrations') IS NOT NULL AS there",
        Conn::Sqlite(_) => {
            "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = '__diesel_schema_migrations') AS there"
        }
    };
    with_conn!(conn, |c| {
        if !diesel::sql_query(look).get_result::<Table>(c)?.there {
            return Ok(HashSet::new());
        }
        let applied = diesel::sql_query("SELECT version FROM __diesel_schema_migrations").load::<Applied>(c)?;
        Ok(applied.into_iter().map(|row| row.version).collect())
    })
}
