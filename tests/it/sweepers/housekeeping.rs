//! What is forgotten with age, on real nodes: on SQLite, and on PostgreSQL as the role that is held to its policies.

use std::time::Duration;

use carillon::store::Old;
use diesel::{Connection, SqliteConnection, connection::SimpleConnection, prelude::*};

use super::{carillon_sweep, fields, logged};
use crate::{
    store::aged::{plant, planted},
    support::TestCluster,
};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Each sweeper, what it forgets, and how old that is.
const SWEEPERS: [(&str, &[Old], Duration); 6] = [
    ("old_audit", &[Old::AuditRecords], Duration::from_secs(30 * 24 * 3600)),
    ("old_quality_reports", &[Old::QualityReports], Duration::from_secs(7 * 24 * 3600)),
    ("old_command_results", &[Old::KeyedAnswers, Old::CommandRecords], DAY),
    ("ended_nodes", &[Old::DeadNodes], DAY),
    ("old_sweep_runs", &[Old::SweepActions, Old::SweepRequests, Old::SweepRuns], Duration::from_secs(30 * 24 * 3600)),
    ("old_livekit_events", &[Old::LivekitEvents], HOUR),
];

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    number: i64,
}

/// The file of an embedded node.
fn file(cluster: &TestCluster) -> SqliteConnection {
    let (_, url) = cluster.settings().iter().find(|(name, _)| name == "DATABASE_URL").unwrap();
    let mut conn = SqliteConnection::establish(url.trim_start_matches("sqlite:")).unwrap();
    conn.batch_execute("PRAGMA busy_timeout = 5000").unwrap();
    conn
}

fn add(cluster: &TestCluster, kind: Old, count: u32, old: Duration) {
    let sql = plant(cluster.database().is_some(), kind, count, old, Duration::from_secs(1));
    match cluster.database() {
        Some(database) => drop(database.sql(&sql)),
        None => file(cluster).batch_execute(&sql).unwrap(),
    }
}

fn count(cluster: &TestCluster, rows: &str) -> i64 {
    let sql = format!("SELECT count(*) AS number FROM {rows}");
    match cluster.database() {
        Some(database) => database.sql(&sql)[0][0].as_deref().unwrap().parse().unwrap(),
        None => diesel::sql_query(sql).get_result::<Number>(&mut file(cluster)).unwrap().number,
    }
}

async fn forgotten(cluster: TestCluster) {
    // More than a batch of one kind.
    let many = |kind: Old| if kind == Old::KeyedAnswers { 4500 } else { 3 };
    for (_, kinds, kept) in SWEEPERS {
        for kind in kinds {
            add(&cluster, *kind, many(*kind), kept + 2 * HOUR);
            add(&cluster, *kind, 2, kept - HOUR / 2);
        }
    }
    for (name, kinds, _) in SWEEPERS {
        let old: u32 = kinds.iter().copied().map(many).sum();
        let left = || kinds.iter().map(|kind| count(&cluster, planted(*kind))).sum::<i64>();
        let dry = carillon_sweep(&cluster, &[name, "--dry-run"]).await;
        assert!(dry.code == 0 && dry.ended(&format!("done; found {old}, acted 0, failed 0")), "{dry:?}");
        let young = 2 * kinds.len() as i64;
        assert_eq!(left(), i64::from(old) + young, "{name}: a dry run deletes nothing");
        let swept = carillon_sweep(&cluster, &[name]).await;
        assert!(swept.code == 0 && swept.ended(&format!("done; found {old}, acted {old}, failed 0")), "{swept:?}");
        assert_eq!(left(), young, "{name}: the young are left alone");
        let again = carillon_sweep(&cluster, &[name]).await;
        assert!(again.ended("done; found 0, acted 0, failed 0"), "twice is once: {again:?}");
        // One line for each run, none for a row.
        assert!(dry.lines.is_empty() && swept.lines.is_empty(), "{dry:?} {swept:?}");
        assert_eq!(logged(&cluster, "sweep finished", name).len(), 3, "{name}");
        assert!(logged(&cluster, "swept", name).is_empty(), "{name}");
        assert_eq!(fields(&swept.summary)["sweep"], name);
    }
    assert_eq!(count(&cluster, "sweep_actions WHERE call_id <> 'planted'"), 0);
    assert_eq!(count(&cluster, "nodes WHERE id NOT LIKE 'planted%'"), cluster.size() as i64, "the living are left");
}

#[tokio::test]
async fn what_is_older_than_it_is_kept_is_forgotten_on_sqlite() {
    let cluster = TestCluster::embedded().set("CARILLON_AUDIT_RETENTION_DAYS", 30);
    forgotten(cluster.set("CARILLON_SWEEP_INTERVAL_SECS", 3600).start().await).await;
}

#[tokio::test]
async fn what_is_older_than_it_is_kept_is_forgotten_on_postgres() {
    let cluster = TestCluster::two_nodes().set("CARILLON_AUDIT_RETENTION_DAYS", 30);
    forgotten(cluster.set("CARILLON_SWEEP_INTERVAL_SECS", 3600).start().await).await;
}
