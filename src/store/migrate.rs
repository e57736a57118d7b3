//! Brings the tables up to date, under a lock: ten nodes may start at once on an empty database.
//!
//! Migrations are embedded, and only ever expand; what they replace is removed a version later. On PostgreSQL they may
//! run as a role of their own, which owns the tables; the role that serves is then granted what it needs, and no more.

use std::{collections::HashSet, time::Duration};

use diesel::{
    SqliteConnection,
    backend::Backend,
    connection::SimpleConnection,
    migration::{Migration, MigrationSource, MigrationVersion},
    pg::Pg,
    prelude::*,
    sql_types::{BigInt, Bool, Text},
    sqlite::Sqlite,
};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use tokio::sync::oneshot;

use super::{
    connection::{Conn, Purpose, Target},
    error::{Fault, StoreError},
    on_a_thread,
    postgres::PgConn,
};
use crate::{clock, secret::Secret};

pub(super) const POSTGRES: EmbeddedMigrations = embed_migrations!("migrations/postgres");
pub(super) const SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");

/// The lock in PostgreSQL: any number that nobody else takes ("carillon" as bytes).
const LOCK: i64 = i64::from_be_bytes(*b"carillon");

/// How long to wait while another node migrates. Shorter: nodes give up behind a long migration; longer: a node that
/// hangs with the lock holds up all others unnoticed.
const LOCK_LIMIT: Duration = Duration::from_secs(120);

/// How often to ask for it.
const LOCK_POLL: Duration = Duration::from_millis(100);

/// Applies what is missing to the database that `url` names. Returns the versions applied; none when all was there.
/// Waits at most two minutes for another process that does the same.
///
/// `owner`: the same database by the role that owns the tables. Then the role of `url` is granted what serving needs.
pub async fn migrate(url: &Secret, owner: Option<&Secret>) -> Result<Vec<String>, StoreError> {
    let target = Target::parse(owner.unwrap_or(url))?;
    let serves = match (owner, Target::parse(url)?) {
        (Some(_), Target::Pg(serves)) => serves.role().map(str::to_owned),
        _ => None,
    };
    let (reply, done) = oneshot::channel();
    let work = move || {
        let result = match target.connect(Purpose::Migrate) {
            Ok(Conn::Pg(mut conn)) => postgres(&mut conn, serves.as_deref()),
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
        is_current(&mut target.connect(Purpose::Machinery).map_err(unreachable)?)
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
fn postgres(conn: &mut PgConn, serves: Option<&str>) -> Result<Vec<String>, StoreError> {
    // Before anything else: the role that serves need not be one that may migrate.
    if serves.is_none() && is_current_in_postgres(conn)? {
        return Ok(Vec::new());
    }
    if !asked(conn, "SELECT coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS yes")? {
        return Err(StoreError::Setup(
            "the database is not up to date, and this role may not make tables: run `carillon migrate` with \
             CARILLON_MIGRATION_DATABASE_URL"
                .into(),
        ));
    }
    let deadline = clock::monotonic() + LOCK_LIMIT;
    loop {
        // Asked for again and again, not waited for: a waiting statement would hold up what builds indexes.
        let lock = diesel::sql_query("SELECT pg_try_advisory_lock($1) AS yes").bind::<BigInt, _>(LOCK);
        if lock.get_result::<Answer>(conn).map_err(fault)?.yes {
            break;
        }
        if clock::monotonic() > deadline {
            return Err(StoreError::Setup("another process has been migrating for two minutes".into()));
        }
        std::thread::sleep(LOCK_POLL);
    }
    // A lock of a running node on one of the tables must not queue everybody else behind the migration for long.
    conn.batch_execute("SET lock_timeout = '10s'").map_err(fault)?;
    let versions = conn.run_pending_migrations(POSTGRES).map(applied).map_err(failed)?;
    if let Some(role) = serves {
        grant(conn, role).map_err(|error| match error {
            diesel::result::Error::NotFound => StoreError::Setup(format!(
                "the role {role} of DATABASE_URL does not exist: make it first, see docs/row-security.md"
            )),
            error => fault(error),
        })?;
    }
    Ok(versions)
}

/// Gives the role that serves what it lacks to do so: rows, and no say over tables. Usually it lacks nothing; granted
/// again, every session would have to plan its statements anew.
fn grant(conn: &mut PgConn, role: &str) -> QueryResult<()> {
    #[derive(QueryableByName)]
    struct Grant {
        #[diesel(sql_type = Text)]
        sql: String,
    }
    let role_there = diesel::sql_query("SELECT count(*) > 0 AS yes FROM pg_roles WHERE rolname = $1");
    if !role_there.bind::<Text, _>(role).get_result::<Answer>(conn)?.yes {
        return Err(diesel::result::Error::NotFound);
    }
    let lacking = "SELECT format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), $1) AS sql \
        WHERE NOT has_schema_privilege($1, current_schema(), 'USAGE') \
        UNION ALL SELECT format('GRANT %s ON %s TO %I', wanted, c.oid::regclass, $1) \
        FROM pg_class c, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) wanted \
        WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' \
        AND pg_has_role(c.relowner, 'USAGE') AND NOT has_table_privilege($1, c.oid, wanted) \
        AND (wanted = 'SELECT' OR c.relname <> '__diesel_schema_migrations')";
    for Grant { sql } in diesel::sql_query(lacking).bind::<Text, _>(role).load(conn)? {
        conn.batch_execute(&sql)?;
    }
    Ok(())
}

#[derive(QueryableByName)]
struct Answer {
    #[diesel(sql_type = Bool)]
    yes: bool,
}

fn fault(error: diesel::result::Error) -> StoreError {
    Fault::from(error).into_error()
}

/// A question about the database that selects `yes`.
fn asked(conn: &mut PgConn, sql: &str) -> Result<bool, StoreError> {
    Ok(diesel::sql_query(sql).get_result::<Answer>(conn).map_err(fault)?.yes)
}

/// Not diesel's own look, which makes its table first: not every role may.
fn is_current_in_postgres(conn: &mut PgConn) -> Result<bool, StoreError> {
    // Not there, or not granted, which takes a migration too.
    let readable = "coalesce(has_table_privilege(to_regclass('__diesel_schema_migrations'), 'SELECT'), false)";
    if !asked(conn, &format!("SELECT {readable} AS yes"))? {
        return Ok(false);
    }
    let look = diesel::sql_query("SELECT version::text AS version FROM __diesel_schema_migrations");
    let applied = look.load(conn).map_err(fault)?;
    has_all(MigrationSource::<Pg>::migrations(&POSTGRES), applied)
}

/// Whether row-level security holds for this session's role: not for superusers, nor roles with BYPASSRLS.
pub(super) fn is_walled(conn: &mut Conn) -> Result<bool, StoreError> {
    match conn {
        Conn::Pg(conn) => asked(conn, "SELECT row_security_active('calls') AS yes"),
        Conn::Sqlite(_) => Ok(false),
    }
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
    match conn {
        Conn::Pg(conn) => is_current_in_postgres(conn),
        Conn::Sqlite(conn) => is_current_in_sqlite(conn),
    }
}

#[derive(QueryableByName)]
struct Applied {
    #[diesel(sql_type = Text)]
    version: String,
}

fn is_current_in_sqlite(conn: &mut SqliteConnection) -> Result<bool, StoreError> {
    let there = "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = '__diesel_schema_migrations') AS yes";
    if !diesel::sql_query(there).get_result::<Answer>(conn).map_err(fault)?.yes {
        return Ok(false);
    }
    let look = diesel::sql_query("SELECT version FROM __diesel_schema_migrations");
    let applied = look.load(conn).map_err(fault)?;
    has_all(MigrationSource::<Sqlite>::migrations(&SQLITE), applied)
}

fn has_all<DB: Backend>(
    known: diesel::migration::Result<Vec<Box<dyn Migration<DB>>>>,
    applied: Vec<Applied>,
) -> Result<bool, StoreError> {
    let applied: HashSet<String> = applied.into_iter().map(|row| row.version).collect();
    Ok(known.map_err(failed)?.iter().all(|migration| applied.contains(&migration.name().version().to_string())))
}
