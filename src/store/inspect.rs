//! For `carillon doctor`: a plain session with PostgreSQL, a look into a SQLite file, and what migrations there are.
//!
//! Must change nothing: sessions are read-only. Errors are given as they are, to be told apart; none holds the address.

use std::time::Duration;

use diesel::{
    Connection, SqliteConnection,
    connection::SimpleConnection,
    migration::{Migration, MigrationSource},
    pg::Pg,
    prelude::*,
    sql_types::Text,
    sqlite::Sqlite,
};
use tokio_postgres::{Client, config::Host};

use super::{StoreError, migrate, postgres::PgTarget};
use crate::secret::Secret;

/// The versions of all migrations that this program knows for PostgreSQL, in their order.
pub fn known_in_postgres() -> Vec<String> {
    versions(MigrationSource::<Pg>::migrations(&migrate::POSTGRES))
}

/// The same for SQLite.
pub fn known_in_sqlite() -> Vec<String> {
    versions(MigrationSource::<Sqlite>::migrations(&migrate::SQLITE))
}

fn versions<DB: diesel::backend::Backend>(
    known: diesel::migration::Result<Vec<Box<dyn Migration<DB>>>>,
) -> Vec<String> {
    // They are embedded: that they can be read was seen when they were tested.
    let known = known.unwrap_or_default();
    let mut versions: Vec<_> = known.iter().map(|migration| migration.name().version().to_string()).collect();
    versions.sort();
    versions
}

/// An address of PostgreSQL.
pub struct PgAddress(PgTarget);

impl PgAddress {
    /// Reads it as a node does.
    ///
    /// # Errors
    /// Also when a file of certificates that it names cannot be read.
    pub fn parse(url: &Secret) -> Result<Self, StoreError> {
        PgTarget::parse(url.reveal()).map(Self)
    }

    /// Names and ports; none for sockets in the file system.
    pub fn hosts(&self) -> Vec<(String, u16)> {
        let config = self.0.config();
        let port = |number: usize| config.get_ports().get(number).or(config.get_ports().first()).copied();
        let named = |(number, host): (usize, &Host)| match host {
            Host::Tcp(name) => Some((name.clone(), port(number).unwrap_or(5432))),
            Host::Unix(_) => None,
        };
        config.get_hosts().iter().enumerate().filter_map(named).collect()
    }

    pub fn role(&self) -> &str {
        self.0.role().unwrap_or("(that of the operating system's user)")
    }

    pub fn database(&self) -> &str {
        self.0.config().get_dbname().unwrap_or(self.role())
    }

    /// A session that sees what a node sees and may write nothing; its connection runs on this runtime.
    ///
    /// # Errors
    /// As the server or the way to it has them.
    pub async fn session(&self, limit: Duration) -> Result<Client, tokio_postgres::Error> {
        let (client, io) = self.0.config().connect(self.0.tls()).await?;
        tokio::spawn(io);
        let millis = limit.as_millis();
        client
            .batch_execute(&format!(
                "SET default_transaction_read_only = on; SET statement_timeout = {millis}; \
                 SET lock_timeout = {millis}; SET application_name = 'carillon doctor'; SET carillon.scope = 'node'"
            ))
            .await?;
        Ok(client)
    }
}

/// What stands in a SQLite file.
#[derive(Debug, Default)]
pub struct SqliteState {
    pub journal_mode: String,
    /// Whether it could be locked for writing within two seconds.
    pub lockable: bool,
    /// `None`: never migrated.
    pub applied: Option<Vec<String>>,
    /// Nodes whose lease is good: id and version.
    pub nodes: Vec<(String, String)>,
    /// Keys of the service API that are good.
    pub service_keys: usize,
}

#[derive(QueryableByName)]
struct Word {
    #[diesel(sql_type = Text)]
    word: String,
}

#[derive(QueryableByName)]
struct Pair {
    #[diesel(sql_type = Text)]
    one: String,
    #[diesel(sql_type = Text)]
    other: String,
}

/// Looks into a file that is there. Blocks, for some seconds at most.
///
/// # Errors
/// SQLite's words.
pub fn look_into_sqlite(path: &str) -> Result<SqliteState, String> {
    // Not made if it is not there: then somebody has taken it away meanwhile.
    let escaped = path.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let words = |error: diesel::result::Error| error.to_string();
    let mut conn =
        SqliteConnection::establish(&format!("file:{escaped}?mode=rw")).map_err(|error| error.to_string())?;
    conn.batch_execute("PRAGMA busy_timeout = 2000").map_err(words)?;
    let mut list = |sql: &str| -> QueryResult<Vec<String>> {
        Ok(diesel::sql_query(sql).load::<Word>(&mut conn)?.into_iter().map(|row| row.word).collect())
    };
    let journal_mode = list("SELECT journal_mode AS word FROM pragma_journal_mode").map_err(words)?;
    let there = "SELECT name AS word FROM sqlite_master WHERE name = '__diesel_schema_migrations'";
    let mut state =
        SqliteState { journal_mode: journal_mode.into_iter().next().unwrap_or_default(), ..SqliteState::default() };
    if !list(there).map_err(words)?.is_empty() {
        state.applied = Some(list("SELECT version AS word FROM __diesel_schema_migrations").map_err(words)?);
        let keys = "SELECT name AS word FROM service_keys WHERE revoked_at IS NULL";
        // Tables of later migrations: not there yet is none.
        state.service_keys = list(keys).map_or(0, |keys| keys.len());
        let nodes = "SELECT id AS one, version AS other FROM nodes \
            WHERE lease_until > CAST(unixepoch('subsec') * 1000 AS INTEGER) * 1000";
        let nodes = diesel::sql_query(nodes).load::<Pair>(&mut conn).unwrap_or_default();
        state.nodes = nodes.into_iter().map(|row| (row.one, row.other)).collect();
    }
    state.lockable = conn.batch_execute("BEGIN IMMEDIATE; ROLLBACK").is_ok();
    Ok(state)
}

/// Makes a database in this folder as a node does, and takes it away again: the journal mode that it got.
///
/// # Errors
/// Words of SQLite or of the operating system.
pub fn try_wal_in(folder: &std::path::Path) -> Result<String, String> {
    let file = folder.join(format!(".carillon-doctor-{}.db", uuid::Uuid::new_v4()));
    let tried = (|| {
        let path = file.to_str().ok_or("the path is not UTF-8")?;
        let mut conn = SqliteConnection::establish(path).map_err(|error| error.to_string())?;
        let mode = diesel::sql_query("PRAGMA journal_mode = WAL").load::<Mode>(&mut conn);
        let mode = mode.map_err(|error| error.to_string())?;
        conn.batch_execute("CREATE TABLE probe (n INTEGER); INSERT INTO probe VALUES (1)")
            .map_err(|e| e.to_string())?;
        Ok(mode.into_iter().next().map(|mode| mode.journal_mode).unwrap_or_default())
    })();
    for end in ["", "-wal", "-shm", "-journal"] {
        let mut name = file.clone().into_os_string();
        name.push(end);
        // Most are not there.
        let _ = std::fs::remove_file(name);
    }
    tried
}

#[derive(QueryableByName)]
struct Mode {
    #[diesel(sql_type = Text)]
    journal_mode: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_databases_know_their_migrations() {
        for known in [known_in_postgres(), known_in_sqlite()] {
            assert!(known.len() >= 10 && known.iter().any(|version| version == "0001"), "{known:?}");
        }
    }

    #[test]
    fn a_try_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(try_wal_in(folder.path()).as_deref(), Ok("wal"));
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
        assert!(try_wal_in(&folder.path().join("none")).is_err());
        assert!(look_into_sqlite(folder.path().join("none.db").to_str().unwrap()).is_err());
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
    }

    #[test]
    fn an_address_tells_its_hosts_and_shows_no_password() {
        let url = Secret::new("postgres://u:hunter2@one:5433,two/db");
        let address = PgAddress::parse(&url).unwrap();
        assert_eq!(address.hosts()[0], ("one".to_owned(), 5433));
        assert_eq!((address.role(), address.database()), ("u", "db"));
    }
}
