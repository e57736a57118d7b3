//! What makes a commit on SQLite durable.

use std::os::unix::fs::PermissionsExt;

use diesel::{Connection, SqliteConnection, prelude::*};

use super::{backend::Backend, run, scene};

#[derive(QueryableByName)]
struct Mode {
    #[diesel(sql_type = diesel::sql_types::Text)]
    journal_mode: String,
}

#[test]
fn sqlite_writes_ahead_and_only_its_owner_reads_it() {
    run(async {
        let backend = Backend::sqlite();
        let store = backend.store().await;
        let (commit, _) = scene::begin(&scene::opening("c1", "alice", &["bob"]), &scene::node("n1"));
        store.commit(commit).await.unwrap();
        let path = backend.url().reveal().trim_start_matches("sqlite://").to_owned();
        // The mode is a property of the file.
        let mut conn = SqliteConnection::establish(&path).unwrap();
        let mode: Mode = diesel::sql_query("PRAGMA journal_mode").get_result(&mut conn).unwrap();
        assert_eq!(mode.journal_mode, "wal");
        for file in [path.clone(), format!("{path}-wal")] {
            let mode = std::fs::metadata(&file).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{file}: {mode:o}");
        }
    });
}
