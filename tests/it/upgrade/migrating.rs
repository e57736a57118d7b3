//! The tables of the last release, migrated by this one while its nodes run: their calls go on, and they may start anew on
//! tables that know more than they do.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use serde_json::{Value, json};

use super::{LEAVE, assert_talk, mixed};
use crate::{
    faults::{checker::History, talk},
    support::{TestClient, TestCluster, node::command},
};

/// Between two commands of those who talk meanwhile.
const PAUSE: Duration = Duration::from_millis(20);

/// The migrations that are applied.
fn applied(cluster: &TestCluster) -> BTreeSet<String> {
    let rows = cluster.database().expect("a database").sql("SELECT version FROM __diesel_schema_migrations");
    rows.into_iter().filter_map(|mut row| row.swap_remove(0)).collect()
}

/// `carillon migrate` of this release.
async fn migrate(cluster: &TestCluster) {
    let mut command = command(&["migrate"], cluster.settings());
    let output =
        tokio::task::spawn_blocking(move || command.output().expect("run carillon migrate")).await.expect("it ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Changes of media in a call, none of which may fail, until `over`; how many there were.
async fn goes_on(side: &TestClient, call: &str, over: &AtomicBool) -> usize {
    let mut changes = 0;
    while !over.load(Ordering::SeqCst) {
        side.must("call:media", json!({"callId": call, "screen": changes % 2 == 0})).await;
        changes += 1;
        tokio::time::sleep(PAUSE).await;
    }
    changes
}

/// All that later migrations may do to a table that is there, done to every one: columns that may be null or have a
/// default, an index, and a table beside it.
fn grow(cluster: &TestCluster) {
    let database = cluster.database().expect("a database");
    let tables = database.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'");
    for table in tables.into_iter().filter_map(|mut row| row.swap_remove(0)).filter(|name| !name.starts_with("__")) {
        database.sql(&format!(
            "SET lock_timeout = '10s'; ALTER TABLE {table} ADD COLUMN grown_word text, \
             ADD COLUMN grown_number bigint NOT NULL DEFAULT 7; CREATE INDEX ON {table} (grown_number)"
        ));
    }
    database.sql("CREATE TABLE grown (id bigint PRIMARY KEY)");
}

#[tokio::test]
async fn calls_of_the_last_release_go_on_while_this_one_migrates_beside_it() {
    let mut cluster = mixed(2, [0, 1]).start().await;
    let before = applied(&cluster);
    let (alice, bob, call) = talk(&cluster, 0).await;
    let carol = cluster.connect(0, "carol", "phone").await;
    let dave = cluster.connect(1, "dave", "phone").await;
    let ring = carol.start(&["dave"]).await;
    dave.expect_of("call:incoming", &ring).await;

    let over = AtomicBool::new(false);
    let migrating = async {
        migrate(&cluster).await;
        grow(&cluster);
        over.store(true, Ordering::SeqCst);
    };
    let ((), alices, bobs) = tokio::join!(migrating, goes_on(&alice, &call, &over), goes_on(&bob, &call, &over));
    assert!(alices > 0 && bobs > 0, "they talk meanwhile");
    let after = applied(&cluster);
    assert!(after.is_superset(&before), "{after:?}");
    let known = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/postgres")).expect("migrations");
    assert_eq!(after.len(), known.count(), "all of this release: {after:?}");

    assert_talk(&alice, &bob, &call).await;
    dave.act("call:accept", &ring).await;
    carol.expect_of("call:accepted", &ring).await;
    carol.negotiate(&dave, &ring).await;
    carol.act("call:end", &ring).await;
    dave.expect_end(&ring, "completed").await;

    // The old binary starts on the newer tables: a node that is rescheduled in the middle of a rollout.
    cluster.node_mut(0).terminate(LEAVE).await;
    cluster.replace(0).await;
    let history = History::default();
    let alice = alice.resume(cluster.node(0)).await;
    assert_talk(&alice, &bob, &call).await;
    let carol = carol.resume(cluster.node(0)).await;
    history.whole_call(&carol, &dave).await;
    history.include(&call);
    history.must(&alice, "call:end", json!({"callId": call})).await;
    for side in [&alice, &bob] {
        side.expect_end(&call, "completed").await;
    }
    history.check(&cluster, &[&alice, &bob, &carol, &dave]).await;
}

#[tokio::test]
async fn who_asks_whether_the_tables_are_migrated_is_told_by_its_own_release() {
    use crate::support::node::{Release, command_of};
    let cluster = mixed(1, [0]).start().await;
    let asked = |release| {
        let mut command = command_of(release, &["migrate", "--check"], cluster.settings());
        async move {
            tokio::task::spawn_blocking(move || command.output().expect("run it"))
                .await
                .expect("it ends")
                .status
                .success()
        }
    };
    assert!(asked(Release::Previous).await);
    migrate(&cluster).await;
    assert!(asked(Release::This).await);
    assert!(asked(Release::Previous).await, "tables that know more are no reason not to start");
    let seen: Value = cluster.http(0).get("/readyz").await.body;
    assert_eq!(seen["degraded"], json!([]), "{seen}");
}
