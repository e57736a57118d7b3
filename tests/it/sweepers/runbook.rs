//! Every statement of the runbook does what it says, in PostgreSQL, as the role that serves.

use std::sync::Arc;

use carillon::domain::Command;

use crate::{
    store::{
        backend::Backend,
        run,
        scene::{begin, node, opening},
    },
    support::postgres::Database,
};

const PAGES: [&str; 2] =
    [include_str!("../../../docs/operations.md"), include_str!("../../../docs/operations-sweepers.md")];

/// The statements of a page, as they stand.
fn statements(page: &str) -> Vec<String> {
    page.split("```sql\n").skip(1).filter_map(|block| block.split_once("```")).map(|(sql, _)| sql.to_owned()).collect()
}

async fn as_who_serves(database: &Database) -> tokio_postgres::Client {
    let (client, io) = tokio_postgres::connect(&database.url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(io);
    client
}

#[test]
fn every_statement_of_the_runbook_runs_and_history_is_deleted_as_it_says() {
    run(async {
        let backend = Arc::new(Backend::postgres());
        let store = backend.store().await;
        let Backend::Postgres(database) = &*backend else { unreachable!() };
        for id in ["old", "young", "open", "recorded"] {
            let (commit, call) = begin(&opening(id, &format!("{id}-alice"), &["bob"]), &node("n1"));
            store.commit(commit).await.unwrap();
            if id != "open" {
                store.commit(call.decide(&format!("{id}-alice"), &Command::Cancel).0).await.unwrap();
            }
        }
        // The open one has no end, and is as old as can be otherwise.
        backend.execute("UPDATE calls SET ended_at = now() - interval '2 years' WHERE id IN ('old', 'recorded')");
        backend.execute("UPDATE calls SET created_at = now() - interval '2 years'");
        backend.execute(
            "INSERT INTO recordings (id, call_id, created_by, created_at, layout, resolution, audio_only, format, \
             retention_days, version, status, attempts, legal_hold, purge_failures, told) VALUES ('r1', 'recorded', \
             'bob', now(), 'grid', '720p', false, 'mp4', 30, 1, 'ready', 1, true, 0, true)",
        );
        let mut ran = 0;
        for page in PAGES {
            // One session for each page, as somebody who reads on has it.
            let client = as_who_serves(database).await;
            for sql in statements(page) {
                client.batch_execute(&sql).await.unwrap_or_else(|error| panic!("{sql}\n{error:?}"));
                ran += 1;
            }
        }
        assert!(ran >= 10, "{ran}");
        for table in ["call_events", "participants", "invitations"] {
            assert_eq!(backend.texts("DISTINCT call_id", table), ["open", "recorded", "young"], "{table}");
        }
        assert_eq!(backend.texts("id", "calls"), ["open", "recorded", "young"]);
        // Who looks as it says sees the call's rows.
        let client = as_who_serves(database).await;
        client.batch_execute("SET carillon.scope = 'admin'").await.unwrap();
        for sql in statements(PAGES[0]).iter().filter(|sql| sql.contains("FROM call_events")) {
            let rows = client.query(&sql.replace("'CALL'", "'young'"), &[]).await.unwrap();
            assert!(rows.len() >= 2, "{sql}");
        }
    });
}

#[test]
fn of_every_table_it_is_told_why_it_does_not_grow_without_bound() {
    // ` nodes (id) {` of `diesel::table!`.
    let schema = include_str!("../../../src/store/schema.rs");
    let heads = schema.lines().filter_map(|line| line.strip_suffix(") {")?.split_once(" ("));
    let tables: Vec<&str> = heads.map(|(table, _)| table.trim()).collect();
    assert!(tables.len() > 18, "{tables:?}");
    let (_, told) = PAGES[1].split_once("## What is kept, and for how long").expect("the page has the chapter");
    for table in tables {
        let named = format!("`{table}`");
        let rows =
            told.lines().filter(|row| row.starts_with("| ") && row.split(" | ").next().unwrap().contains(&named));
        assert_eq!(rows.count(), 1, "{table}");
    }
}
