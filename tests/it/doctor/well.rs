//! Everything is there and right.

use std::sync::Arc;

use serde_json::Value;

use super::{Scene, TURN_SECRET, migrated};
use crate::{
    recordings::s3::{self, S3},
    support::{TestCluster, coturn, livekit, postgres::Database, process},
};

/// Checks that every whole installation has; those of the machine may not be readable in a container.
const POSTGRES: [&str; 16] = [
    "postgres.login",
    "postgres.pooler",
    "postgres.round_trip",
    "postgres.version",
    "postgres.primary",
    "postgres.durability",
    "postgres.encoding",
    "postgres.isolation",
    "postgres.timeouts",
    "postgres.connections",
    "postgres.tables",
    "postgres.role",
    "postgres.grants",
    "postgres.indexes",
    "postgres.nodes",
    "postgres.migration_login",
];
const REDIS: [&str; 6] =
    ["redis.login", "redis.version", "redis.mode", "redis.round_trip", "redis.messages", "redis.counting"];

#[tokio::test]
async fn where_all_is_well_every_check_says_so() {
    let database = Arc::new(Database::create());
    let cluster = TestCluster::of(2).on_database(database.clone()).start().await;
    let turn = coturn::Instance::start(&coturn::shipped(TURN_SECRET));
    let (udp, tcp) = (turn.url(), turn.url().replace("udp", "tcp"));
    let folder = process::new_folder("doctor-recordings");
    let mut scene = Scene::on(&database)
        .set(
            "CARILLON_CLUSTER",
            cluster.settings().iter().find(|(name, _)| name == "CARILLON_CLUSTER").unwrap().1.clone(),
        )
        .set("CARILLON_LISTEN", cluster.node(0).address)
        .set("TURN_URLS", format!("{udp},{tcp}"))
        .set("TURN_SECRET", TURN_SECRET)
        .set("STUN_URLS", udp.replace("turn:", "stun:").replace("?transport=udp", ""));
    let livekit = match livekit::program() {
        Some(program) => Some(livekit::Instance::start(program).await),
        None => None,
    };
    if let Some(livekit) = &livekit {
        scene = scene
            .set("LIVEKIT_URL", livekit.url())
            .set("LIVEKIT_API_KEY", livekit::API_KEY)
            .set("LIVEKIT_API_SECRET", &livekit.api_secret)
            .forbidding(&livekit.api_secret)
            .set("RECORDINGS_DIR", folder.display());
    }
    let examined = scene.examine();
    examined.nothing_wrong();
    for name in POSTGRES.into_iter().chain(REDIS) {
        assert!(["ok", "warning"].contains(&examined.verdict(name)), "{name}: {:#}", examined.report);
    }
    for name in [
        "settings",
        "settings.tokens",
        "settings.service_key",
        "postgres.role",
        "postgres.durability",
        "postgres.tables",
    ] {
        examined.says("ok", name, "", "");
    }
    examined.says("ok", "listen", "taken by a node of Carillon 0.", "");
    examined.says("ok", "postgres.migration_role", "carillon_owner may migrate", "");
    examined.says("ok", "redis.nodes", "all 2 that live listen here", "");
    examined.says("ok", "clock.database", "agree", "").says("ok", "clock.redis", "agree", "");
    assert_eq!(examined.all("turn").len(), 2, "{:#}", examined.report);
    for turn in examined.all("turn") {
        assert_eq!(turn["verdict"], "ok", "{turn}");
        assert!(turn["seen"].as_str().unwrap().contains("none for a wrong password"), "{turn}");
        assert!(turn["seen"].as_str().unwrap().contains("gave it back"), "{turn}");
    }
    examined.says("ok", "stun", "sees this machine as 127.0.0.1", "");
    if livekit.is_some() {
        examined.says("ok", "livekit.api", "takes our key", "").says("ok", "livekit.public", "", "");
        examined.says("ok", "livekit.auto_create", "off", "").says("ok", "clock.livekit", "agree", "");
        examined.says("not_checked", "livekit.egress", "takes requests", "record a call");
        examined.says("not_checked", "livekit.webhook", "told us nothing", "/api/v1/livekit/webhook");
        examined.says("ok", "recordings.directory", "written", "");
        assert_eq!(folder.read_dir().unwrap().count(), 0, "nothing is left behind");
    }
}

#[tokio::test]
async fn people_are_told_the_same_as_programs() {
    let database = migrated().await;
    database.sql("UPDATE __diesel_schema_migrations SET version = '9999' WHERE version = '0001'");
    let scene = Scene::on(&database);
    let examined = scene.examine();
    examined.is_wrong("postgres.tables", "migrations 0001 are missing", "carillon migrate");
    let (code, said, _) = scene.run(scene.command(&[]));
    assert_eq!(code, 1);
    assert!(!said.contains('\x1b'), "colours are for terminals");
    let lines: Vec<_> = said.lines().filter(|line| !line.starts_with(' ')).collect();
    for check in examined.report["checks"].as_array().unwrap() {
        let word = |field: &Value| field.as_str().unwrap().replace('_', " ");
        let (verdict, name) = (word(&check["verdict"]), check["name"].as_str().unwrap());
        let fits = |line: &&&str| line.starts_with(&verdict) && line.contains(&format!(" {name} "));
        assert!(lines.iter().any(|line| fits(&line)), "{verdict} {name} in\n{said}");
    }
    assert!(said.contains("\n             -> run `carillon migrate`"), "{said}");
}

#[tokio::test]
async fn warnings_are_wrong_only_to_who_wants_them_to_be() {
    let scene = Scene::embedded().set("CARILLON_RATE_LIMITS", "off");
    scene.examine().warns("settings.rate_limits", "any client", "leave");
    let (code, said, _) = scene.run(scene.command(&["--strict"]));
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("0 wrong, "), "{said}");
}

#[tokio::test]
async fn settings_that_cannot_be_are_refused_in_the_words_of_serve() {
    let scene =
        Scene::embedded().set("CARILLON_RING_TIMEOUT_SECS", "0").set("TURN_SECRET", "canary-doctor-turn-secret");
    let (code, said, complaints) = scene.run(scene.command(&[]));
    let served = crate::support::node::command(&["serve"], &scene.settings).output().unwrap();
    assert_eq!((code, said.as_str()), (2, ""));
    assert_eq!(complaints, String::from_utf8(served.stderr).unwrap());
    let (code, said, _) = scene.run(scene.command(&["--json"]));
    let object: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, object["settings"].as_array().unwrap().len()), (2, 2), "{object}");
    // No way to check tokens.
    let none = Scene { settings: Vec::new(), secrets: Vec::new() };
    let (code, _, complaints) = none.run(none.command(&[]));
    assert!(code == 2 && complaints.contains("no user's token could be checked"), "{complaints}");
}

#[tokio::test]
async fn a_single_node_on_sqlite_is_looked_at_too_and_nothing_is_made() {
    let scene = Scene::embedded();
    let first = scene.examine();
    first.nothing_wrong().says("ok", "sqlite.folder", "write-ahead log", "").says(
        "ok",
        "sqlite.file",
        "not there yet",
        "",
    );
    first.says("not_checked", "redis", "this node alone", "");
    let cluster = TestCluster::embedded().start().await;
    let url = cluster.settings().iter().find(|(name, _)| name == "DATABASE_URL").unwrap().1.clone();
    let second = scene.set("DATABASE_URL", url).examine();
    second.nothing_wrong().says("ok", "sqlite.tables", "up to date", "").says("ok", "sqlite.nodes", "runs on it", "");
    second.says("ok", "sqlite.file", "journal: wal", "");
}

#[tokio::test]
async fn a_bucket_is_tried_out_and_left_as_it_was() {
    let Some(store) = S3::start().await else { return };
    let scene = s3_scene(&store);
    scene.examine().nothing_wrong().says("ok", "recordings.bucket", "written", "");
    let left = store.bucket.read_dir().unwrap().flatten().map(|entry| entry.file_name());
    assert!(left.into_iter().all(|name| !name.to_string_lossy().contains("carillon-doctor")), "nothing is left behind");
    let absent = scene.clone().set("RECORDINGS_S3_BUCKET", "nowhere").examine();
    absent.is_wrong("recordings.bucket", "there is no bucket nowhere", "RECORDINGS_S3_BUCKET");
    let keys =
        scene.clone().set("RECORDINGS_S3_SECRET_KEY", "canary-wrong-key-of-the-bucket").forbidding("canary-wrong-key");
    keys.examine().is_wrong("recordings.bucket", "with these keys", "RECORDINGS_S3_SECRET_KEY");
}

fn s3_scene(store: &S3) -> Scene {
    Scene::embedded()
        .set("RECORDINGS_S3_BUCKET", "recordings")
        .set("RECORDINGS_S3_ENDPOINT", format!("http://127.0.0.1:{}", store.port))
        .set("RECORDINGS_S3_ACCESS_KEY", s3::KEY)
        .set("RECORDINGS_S3_SECRET_KEY", s3::S3_SECRET)
        .forbidding(s3::S3_SECRET)
}
