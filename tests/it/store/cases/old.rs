//! What is old is forgotten: all of it, nothing else, and without reading what is not.

use std::time::Duration;

use carillon::store::{CommandId, CommitOutcome, Old};

use crate::store::{
    aged::{plant, planted},
    backend::Backend,
    scene::{begin, node, opening},
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn add(backend: &Backend, kind: Old, count: u32, old: Duration, apart: Duration) {
    backend.execute(&plant(matches!(backend, Backend::Postgres(_)), kind, count, old, apart));
}

pub async fn each_kind(backend: Backend) {
    let store = backend.store().await;
    let left = || Old::ALL.map(|kind| backend.count(planted(kind)));
    for kind in Old::ALL {
        add(&backend, kind, 3, 2 * DAY + HOUR, SECOND);
        add(&backend, kind, 2, 2 * DAY - HOUR, SECOND);
    }
    let mut wanted = [5; Old::ALL.len()];
    assert_eq!(left(), wanted);
    for (n, kind) in Old::ALL.into_iter().enumerate() {
        assert_eq!(store.count_old(kind, 3 * DAY).await, Ok(0), "{kind:?}");
        assert_eq!(store.forget_old(kind, 3 * DAY, 10).await, Ok(0), "{kind:?}");
        assert_eq!(store.count_old(kind, 2 * DAY).await, Ok(3), "{kind:?}");
        assert_eq!(left(), wanted, "counting {kind:?} changes nothing");
        assert_eq!(store.forget_old(kind, 2 * DAY, 10).await, Ok(3), "{kind:?}");
        wanted[n] = 2;
        assert_eq!(left(), wanted, "{kind:?} and no other");
        assert_eq!(store.forget_old(kind, 2 * DAY, 10).await, Ok(0), "{kind:?} again");
        assert_eq!(store.count_old(kind, 2 * DAY).await, Ok(0), "{kind:?} again");
    }
}

pub async fn in_batches(backend: Backend) {
    let store = backend.store().await;
    for kind in Old::ALL {
        add(&backend, kind, 7, 3 * DAY, HOUR);
        let mut batches = Vec::new();
        while batches.last() != Some(&0) {
            batches.push(store.forget_old(kind, 2 * DAY, 3).await.unwrap());
        }
        assert_eq!(batches, [3, 3, 1, 0], "{kind:?}");
    }
    // A run that began long ago and goes on, or is added to, is not old.
    add(&backend, Old::SweepRuns, 2, 3 * DAY, SECOND);
    let now = if matches!(backend, Backend::Postgres(_)) { "now()" } else { "unixepoch() * 1000000" };
    backend.execute(&format!("UPDATE sweep_runs SET finished_at = {now}"));
    assert_eq!(store.forget_old(Old::SweepRuns, 2 * DAY, 10).await, Ok(0));
    // One whose node died is.
    backend.execute("UPDATE sweep_runs SET finished_at = NULL");
    assert_eq!(store.forget_old(Old::SweepRuns, 2 * DAY, 10).await, Ok(2));
}

/// By its id and by its time: neither a clock that is behind nor one that is ahead makes a young record old.
pub async fn in_doubt(backend: Backend) {
    let store = backend.store().await;
    let forget = async || store.forget_old(Old::CommandRecords, DAY, 100).await;
    let (mut commit, _) = begin(&opening("c1", "alice", &["bob"]), &node("n1"));
    let young = commit.command;
    commit.outcome = None;
    assert_eq!(store.commit(commit).await, Ok(CommitOutcome::Committed));
    assert_eq!(forget().await, Ok(0));
    let set_time = |ago: Duration| {
        let (secs, is_postgres) = (ago.as_secs(), matches!(backend, Backend::Postgres(_)));
        let past = if is_postgres {
            format!("now() - interval '{secs} seconds'")
        } else {
            format!("(unixepoch() - {secs}) * 1000000")
        };
        backend.execute(&format!("UPDATE command_results SET at = {past}"));
    };
    set_time(2 * DAY);
    assert_eq!(forget().await, Ok(0), "its id was made just now");
    assert!(store.command_committed(young).await.unwrap());

    let (mut commit, _) = begin(&opening("c2", "carol", &["dave"]), &node("n1"));
    let old = CommandId::from_u128(7 << 76 | 2 << 62);
    (commit.command, commit.outcome) = (old, None);
    assert_eq!(store.commit(commit).await, Ok(CommitOutcome::Committed));
    set_time(Duration::ZERO);
    assert_eq!(forget().await, Ok(0), "it was written just now");
    assert!(store.command_committed(old).await.unwrap());
    set_time(2 * DAY);
    assert_eq!(forget().await, Ok(1));
    assert!(!store.command_committed(old).await.unwrap() && store.command_committed(young).await.unwrap());
    // Whether a commit of unknown outcome went in is told by the events, which stay.
    assert_eq!(backend.count("call_events"), 2);
}

/// Rows of each table. Fewer, and PostgreSQL reads a table rather than its index.
const ROWS: u32 = 100_000;
/// Of which there are few: a row for each process, and for each request of the last month.
const SMALL: [Old; 2] = [Old::DeadNodes, Old::SweepRequests];

/// The line by which a table is read from end to end.
fn scan(plan: &[String]) -> Option<&String> {
    plan.iter().find(|line| {
        let line = line.trim_start_matches([' ', '-', '>']);
        line.starts_with("Seq Scan") || line.starts_with("Parallel Seq") || line.starts_with("SCAN ")
    })
}

pub async fn no_scans(backend: Backend) {
    let store = backend.store().await;
    let tables = Old::ALL.into_iter().filter(|kind| !SMALL.contains(kind));
    for kind in tables.clone() {
        // About as it is in use: a hundredth of them is old.
        add(&backend, kind, ROWS, 2 * DAY, Duration::from_millis(1700));
    }
    backend.execute("ANALYZE");
    let store_again = backend.store().await;
    for kind in tables {
        for age in [2 * DAY - HOUR / 2, 3 * DAY] {
            let plan = store_again.explain_forget(kind, age).await.unwrap();
            assert_eq!(scan(&plan), None, "{kind:?}:\n{}", plan.join("\n"));
        }
    }
    // Without its index one does, or this proves nothing.
    backend.execute("DROP INDEX command_results_keyed");
    let plan = backend.store().await.explain_forget(Old::KeyedAnswers, 3 * DAY).await.unwrap();
    assert!(scan(&plan).is_some(), "{}", plan.join("\n"));
    drop(store);
}
