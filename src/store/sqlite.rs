//! Connections to the embedded database: one file, one writer at a time, durable at each commit.

use std::{fs::OpenOptions, path::Path, time::Duration};

use crate::clock;
use diesel::{Connection, SqliteConnection, connection::SimpleConnection};

/// How long a statement waits for another connection's transaction. Shorter: refusals while a migration or a large
/// batch runs; longer: callers wait for a lock that will not come.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Turning WAL on needs the file alone for a moment, and does not wait for it as statements do.
const SETUP_LIMIT: Duration = Duration::from_secs(10);

/// Opens the file, making it if need be, readable by its owner only: it holds what people said in calls' offers.
pub(super) fn connect(path: &Path) -> Result<SqliteConnection, String> {
    create_private(path).map_err(|e| format!("cannot open the database file: {e}"))?;
    let path = path.to_str().ok_or("the path of the database file is not UTF-8")?;
    let mut conn = SqliteConnection::establish(path).map_err(|e| e.to_string())?;
    let pragmas = format!(
        "PRAGMA busy_timeout = {}; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;",
        BUSY_TIMEOUT.as_millis()
    );
    let deadline = clock::monotonic() + SETUP_LIMIT;
    loop {
        match conn.batch_execute(&pragmas) {
            Ok(()) => return Ok(conn),
            Err(error) if clock::monotonic() > deadline => return Err(error.to_string()),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn create_private(path: &Path) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

#[cfg(test)]
mod tests {
    use diesel::prelude::*;

    use super::*;

    #[derive(QueryableByName)]
    struct Settings {
        #[diesel(sql_type = diesel::sql_types::Integer)]
        synchronous: i32,
        #[diesel(sql_type = diesel::sql_types::Integer)]
        foreign_keys: i32,
        #[diesel(sql_type = diesel::sql_types::Integer)]
        timeout: i32,
        #[diesel(sql_type = diesel::sql_types::Text)]
        journal_mode: String,
    }

    #[test]
    fn every_connection_is_durable_at_each_commit_and_waits_for_others() {
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let mut conn = connect(&folder.path().join("calls.db")).unwrap();
            let settings: Settings = diesel::sql_query(
                "SELECT s.synchronous, f.foreign_keys, t.timeout, j.journal_mode FROM pragma_synchronous s, \
                 pragma_foreign_keys f, pragma_busy_timeout t, pragma_journal_mode j",
            )
            .get_result(&mut conn)
            .unwrap();
            assert_eq!((settings.synchronous, settings.foreign_keys, settings.timeout), (2, 1, 5000), "2 is FULL");
            assert_eq!(settings.journal_mode, "wal");
        }
    }
}
