//! What deployments rely on: health from the command line, tables migrated beforehand by somebody else than who serves.

use std::{
    process::{Command, Output},
    sync::Arc,
};

use crate::support::{
    TestCluster,
    node::command,
    postgres::{self, Database},
    process::{self, Process},
};

fn carillon(arguments: &[&str], settings: &[(&str, &str)]) -> Output {
    let settings: Vec<_> = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    command(arguments, &settings).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The tables that are there.
fn tables(database: &Database) -> usize {
    database.sql("SELECT 1 FROM pg_tables WHERE schemaname = 'public'").len()
}

#[test]
fn the_version_names_the_commit_or_says_that_nobody_told_it() {
    let output = carillon(&["--version"], &[]);
    let version = String::from_utf8(output.stdout).unwrap();
    let commit = option_env!("CARILLON_BUILD_COMMIT").filter(|commit| !commit.is_empty()).unwrap_or("commit unknown");
    assert_eq!(version, format!("carillon {} ({commit})\n", env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn the_health_check_tells_a_node_that_is_ready_from_one_that_is_not_there() {
    let mut cluster = TestCluster::embedded().start().await;
    let address = cluster.node(0).address;
    let listen = [("CARILLON_LISTEN", &*address.to_string())];
    for arguments in [&["healthcheck"][..], &["healthcheck", "--live"]] {
        let well = carillon(arguments, &listen);
        assert!(well.status.success() && well.stdout.is_empty(), "{well:?}");
    }
    cluster.node_mut(0).kill();
    for arguments in [&["healthcheck"][..], &["healthcheck", "--live"]] {
        let ill = carillon(arguments, &listen);
        assert_eq!(ill.status.code(), Some(1), "{ill:?}");
        assert!(said(&ill).contains(&address.to_string()), "{ill:?}");
    }
    let nowhere = carillon(&["healthcheck"], &[("CARILLON_LISTEN", "0.0.0.0:0")]);
    assert!(!nowhere.status.success() && said(&nowhere).contains("port 0"), "{nowhere:?}");
}

#[tokio::test]
async fn the_health_check_says_that_a_node_is_alive_and_not_ready_while_its_database_is_away() {
    let own = Arc::new(postgres::Instance::start());
    let database = Arc::new(own.create_database());
    let cluster = TestCluster::of(1).on_database(database).start().await;
    let listen = [("CARILLON_LISTEN", &*cluster.node(0).address.to_string())];
    own.stop_immediate();
    assert!(carillon(&["healthcheck", "--live"], &listen).status.success());
    let ill = carillon(&["healthcheck"], &listen);
    assert_eq!(ill.status.code(), Some(1), "{ill:?}");
    assert!(said(&ill).contains("answers 503") && said(&ill).contains(r#""database":"down""#), "{ill:?}");
}

#[test]
fn a_check_of_the_tables_changes_nothing_and_waits_for_who_makes_them() {
    let database = Database::create();
    let settings = [("DATABASE_URL", &*database.url())];
    let early = carillon(&["migrate", "--check"], &settings);
    assert_eq!((early.status.code(), tables(&database)), (Some(1), 0), "{early:?}");
    assert!(said(&early).contains("not migrated"), "{early:?}");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| carillon(&["migrate", "--check", "--wait=2m"], &settings));
        assert!(carillon(&["migrate"], &settings).status.success());
        let waited = waiting.join().unwrap();
        assert!(waited.status.success(), "{waited:?}");
    });
    assert!(carillon(&["migrate", "--check"], &settings).status.success());
    // A newer release has been here.
    database.sql("INSERT INTO __diesel_schema_migrations (version) VALUES ('99990101000000')");
    assert!(carillon(&["migrate", "--check"], &settings).status.success());
    assert_eq!(carillon(&["migrate", "--wait=1s"], &settings).status.code(), Some(2), "only a check waits");
}

#[test]
fn a_node_that_may_not_migrate_refuses_old_tables_and_leaves_them_alone() {
    let database = Database::create();
    let secret = ("CARILLON_JWT_SECRET", "0123456789abcdef0123456789abcdef");
    let settings = [("DATABASE_URL", &*database.url()), ("CARILLON_MIGRATE", "off"), secret];
    let output = carillon(&["serve"], &settings);
    assert_eq!((output.status.code(), tables(&database)), (Some(1), 0), "{output:?}");
    assert!(said(&output).contains("run `carillon migrate`"), "{output:?}");
}

/// Redis as compose.yaml starts it; its address with user and password.
fn shipped_redis() -> (Process, String) {
    let (folder, port) = (process::new_folder("redis"), process::free_port());
    let mut command = Command::new("sh");
    command.arg("deploy/redis/start.sh").env("REDIS_PASSWORD", "a-password").env("REDIS_PORT", port.to_string());
    command.env("REDIS_CONFIGURATION", folder.join("redis.conf"));
    let redis = Process::spawn("redis-server", command, &folder.join("log"), libc::SIGKILL);
    (redis, format!("redis://carillon:a-password@127.0.0.1:{port}"))
}

#[tokio::test]
async fn the_shipped_roles_suffice_one_makes_the_tables_and_the_nodes_may_not_and_redis_has_a_user_of_its_own() {
    let own = Arc::new(postgres::Instance::start());
    let database = Arc::new(own.create_database());
    let port = database.port().to_string();
    let name = database.sql("SELECT current_database()")[0][0].clone().unwrap();
    // As the image of PostgreSQL runs it when it makes the database. The passwords do not matter: the server trusts.
    let made = Command::new("sh")
        .arg("deploy/postgres/roles.sh")
        .envs([("PGHOST", "127.0.0.1"), ("PGPORT", &port), ("POSTGRES_USER", "carillon"), ("POSTGRES_DB", &name)])
        .envs([("POSTGRES_OWNER_PASSWORD", "o'wner"), ("POSTGRES_APP_PASSWORD", "a\\pp")])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let url = |role: &str| database.url().replacen("//carillon:", &format!("//{role}:"), 1);
    let (owner, app) = (url("carillon_owner"), url("carillon_app"));
    let refused = carillon(&["migrate"], &[("DATABASE_URL", &app)]);
    assert_eq!((refused.status.code(), tables(&database)), (Some(1), 0), "{refused:?}");
    assert!(carillon(&["migrate", "--check"], &[("DATABASE_URL", &app)]).status.code() == Some(1));
    let migrated = carillon(&["migrate"], &[("DATABASE_URL", &owner)]);
    assert!(migrated.status.success(), "{migrated:?}");
    let (_redis, redis_url) = shipped_redis();
    let cluster = TestCluster::of(2).on_database(database.clone());
    let cluster = cluster.set("DATABASE_URL", &app).set("CARILLON_MIGRATE", "off").set("REDIS_URL", redis_url);
    // With rate limits, which are kept in Redis too.
    let cluster = cluster.set("CARILLON_RATE_LIMITS", "on").start().await;
    let (alice, bob) = (cluster.connect(0, "alice", "phone").await, cluster.connect(1, "bob", "phone").await);
    let call = alice.call_through(&bob).await;
    alice.act("call:end", &call).await;
    bob.expect_end(&call, "completed").await;
    for number in 0..2 {
        let metrics = cluster.http(number).get("/metrics").await;
        let text = metrics.body.as_str().unwrap().to_owned();
        assert!(text.contains("carillon_bus_up 1") && text.contains("carillon_bus_lost_total 0"), "{text}");
        assert!(!cluster.node(number).log_text().contains("NOPERM"), "{}", cluster.node(number).log_tail());
    }
    let dropped = own.try_sql(&name, "SET ROLE carillon_app; DROP TABLE calls");
    assert!(dropped.is_err(), "who serves may drop tables");
}
