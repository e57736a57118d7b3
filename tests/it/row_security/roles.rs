//! The roles, from an empty PostgreSQL on: as the guide for operators has it, and as it is without roles.

use std::{process::Output, sync::Arc};

use carillon::{
    secret::Secret,
    store::{CommitOutcome, Store, StoreError, StoreOptions, Viewer, migrate},
};
use serde_json::json;

use crate::{
    history::plans::of,
    store::{
        run,
        scene::{begin, node, opening, user},
    },
    support::{
        TestCluster,
        moves::id_of,
        node::command,
        postgres::{Database, Instance},
    },
};

fn migrated(settings: &[(&str, String)]) -> Output {
    let settings: Vec<_> = settings.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    command(&["migrate"], &settings).output().unwrap()
}

const WARNING: &str = "row-level security does not hold for this role of PostgreSQL (a superuser, or BYPASSRLS): the \
    database would show a user's request whatever it asks for; see docs/row-security.md";

#[tokio::test]
async fn set_up_by_the_guide_one_role_migrates_and_another_serves_calls_over_two_nodes() {
    let instance = Arc::new(Instance::start());
    let database = Arc::new(instance.create_guided_database());
    // The role that serves cannot migrate, and says what to do.
    let alone = migrated(&[("DATABASE_URL", database.url())]);
    let said = String::from_utf8_lossy(&alone.stdout).into_owned() + &String::from_utf8_lossy(&alone.stderr);
    assert!(!alone.status.success() && said.contains("CARILLON_MIGRATION_DATABASE_URL"), "{said}");
    let both = [("DATABASE_URL", database.url()), ("CARILLON_MIGRATION_DATABASE_URL", database.owner_url())];
    for _ in 0..2 {
        let done = migrated(&both);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    }
    let owners = database.sql("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'");
    assert_eq!(owners, [[Some("carillon_owner".to_owned())]]);

    // Nodes know the role that serves alone.
    let cluster = TestCluster::two_nodes().on_database(database.clone());
    let cluster = cluster.set("CARILLON_MIGRATION_DATABASE_URL", "").start().await;
    assert!(database.sql("SELECT 1 FROM pg_stat_activity WHERE usename = 'carillon_owner'").is_empty());
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let call = alice.call_through(&bob).await;
    bob.act("call:end", &call).await;
    alice.expect_end(&call, "completed").await;
    cluster.group("team", &["alice", "carol"]).await;
    let started = alice.must("call:start", json!({"groupId": "team", "ring": false})).await;
    let in_group = id_of(&started);
    for number in [0, 1] {
        for (name, path, calls) in [
            ("alice", "/api/v1/calls", vec![&in_group, &call]),
            ("bob", "/api/v1/calls", vec![&call]),
            ("carol", "/api/v1/calls", vec![]),
            ("carol", "/api/v1/calls?groupId=team", vec![&in_group]),
            ("alice", "/api/v1/calls/active", vec![&in_group]),
        ] {
            let answer = cluster.rest(number, name).request("GET", path, None).await;
            let listed: Vec<_> =
                answer.body["calls"].as_array().unwrap().iter().map(|c| c["callId"].as_str().unwrap()).collect();
            assert_eq!(listed, calls, "{name} {path}");
        }
        let timeline = format!("/api/v1/calls/{call}/timeline");
        assert!(cluster.rest(number, "bob").request("GET", &timeline, None).await.ok());
        assert_eq!(cluster.rest(number, "carol").request("GET", &timeline, None).await.status, 404);
        let admin = cluster.realm().token_with(&json!({"sub": "root", "exp": 4_000_000_000_u64, "role": "admin"}));
        for path in [timeline.as_str(), "/api/v1/calls?groupId=team"] {
            let seen = cluster.http(number).request("GET", path, Some(&admin), None).await.unwrap();
            assert!(seen.ok(), "{path}: {seen:?}");
        }
        assert!(cluster.node(number).logged(WARNING).is_empty());
    }
}

#[tokio::test]
async fn a_superuser_is_warned_that_the_wall_does_not_hold_and_served_as_ever() {
    let database = Arc::new(Database::create());
    let cluster = TestCluster::of(1).on_database(database.clone()).set("CARILLON_MIGRATION_DATABASE_URL", "");
    let cluster = cluster.set("DATABASE_URL", database.superuser_url()).start().await;
    assert_eq!(cluster.node(0).logged(WARNING).len(), 1);
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(0, "bob", "phone").await;
    alice.call_through(&bob).await;
    let listed = cluster.rest(0, "bob").request("GET", "/api/v1/calls", None).await;
    assert_eq!(listed.body["calls"].as_array().map(Vec::len), Some(1), "{listed:?}");
}

#[test]
fn the_owner_of_the_tables_who_serves_alone_is_held_to_the_wall_too() {
    run(async {
        let database = Database::create();
        let owner = Secret::new(database.owner_url());
        migrate(&owner, None).await.unwrap();
        let store = Store::open(&owner, StoreOptions::default()).await.unwrap();
        assert!(store.is_walled());
        let (commit, call) = begin(&opening("c1", "alice", &["bob"]), &node("n1"));
        assert_eq!(store.commit(commit).await, Ok(CommitOutcome::Committed));
        let seen = async |name| store.history(&Viewer::from(&user(name)), &of("alice"), None, 10).await.unwrap().len();
        assert_eq!((seen("alice").await, seen("mallory").await), (1, 0));
        assert!(store.load_call_for(&Viewer::from(&user("mallory")), &call.call.id).await.unwrap().is_none());
    });
}

#[test]
fn a_role_that_is_not_there_or_may_not_is_told_apart_from_a_fault() {
    run(async {
        let database = Database::create();
        let owner = Secret::new(database.owner_url());
        let nobody = Secret::new(database.url().replace("carillon_app", "not_made_yet"));
        let Err(StoreError::Setup(why)) = migrate(&nobody, Some(&owner)).await else { panic!("granted to nobody") };
        assert!(why.contains("not_made_yet") && why.contains("row-security.md"), "{why}");
        let serves = Secret::new(database.url());
        let Err(StoreError::Setup(why)) = migrate(&serves, None).await else { panic!("not granted anything yet") };
        assert!(why.contains("CARILLON_MIGRATION_DATABASE_URL"), "{why}");
        assert_eq!(migrate(&serves, Some(&owner)).await, Ok(vec![]), "only to be granted");
        assert_eq!(migrate(&serves, None).await, Ok(vec![]), "all is there");
        // What a later version would meet.
        database.sql("DELETE FROM __diesel_schema_migrations WHERE version = (SELECT max(version) FROM __diesel_schema_migrations)");
        let Err(StoreError::Setup(_)) = Store::open(&serves, StoreOptions::default()).await else {
            panic!("opened though not granted")
        };
        let Err(StoreError::Setup(why)) = migrate(&serves, None).await else { panic!("migrated") };
        assert!(why.contains("CARILLON_MIGRATION_DATABASE_URL"), "{why}");
    });
}
