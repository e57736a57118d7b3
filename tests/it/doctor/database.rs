//! What can be wrong with PostgreSQL, one thing at a time.

use std::sync::Arc;

use super::{Scene, migrated, own_server};
use crate::support::{
    TestCluster,
    postgres::{Database, Instance},
    process::new_folder,
};

#[tokio::test]
async fn a_database_that_is_down_is_told_from_a_name_that_is_none_and_from_silence() {
    let (instance, database) = own_server().await;
    let scene = Scene::on(&database);
    instance.pause();
    scene.examine().is_wrong("postgres.login", "does not answer within 5 s", "overloaded or stopped");
    instance.resume();
    instance.stop_immediate();
    let down = scene.examine();
    down.is_wrong("postgres.login", "refuses connections: nothing listens there", "DATABASE_URL");
    down.says("not_checked", "postgres.server", "no way in", "").says("ok", "redis.login", "", "");
    let nowhere = scene.set("DATABASE_URL", "postgres://carillon_app:pw@no-such-host.invalid/db").examine();
    nowhere.is_wrong("postgres.login", "the name no-such-host.invalid is not known here", "resolver");
}

#[tokio::test]
async fn a_wrong_password_a_role_that_is_none_and_a_database_that_is_none_are_told_apart() {
    let (_instance, database) = own_server().await;
    let right = database.url();
    database.sql("ALTER ROLE carillon_app PASSWORD 'another-than-in-the-address'");
    // Only this role needs one; the file lies where the server says.
    let file = database.sql("SHOW hba_file")[0][0].clone().unwrap();
    let line = "host all carillon_app 127.0.0.1/32 scram-sha-256";
    database.sql(&format!(
        "COPY (VALUES ('{line}'), ('host all all 127.0.0.1/32 trust')) TO '{file}'; SELECT pg_reload_conf()"
    ));
    let scene = Scene::on(&database);
    scene.examine().is_wrong("postgres.login", "the password of role carillon_app is not the one", "ALTER ROLE");
    let role = scene.clone().set("DATABASE_URL", right.replace("carillon_app", "nobody_made"));
    role.examine().is_wrong("postgres.login", "role nobody_made is not let in", "pg_hba.conf");
    let name = right.rsplit('/').next().unwrap();
    let elsewhere = scene.set("DATABASE_URL", database.owner_url().replace(name, "not_made"));
    elsewhere.examine().is_wrong("postgres.login", "there is no database not_made", "CREATE DATABASE not_made");
}

#[tokio::test]
async fn tls_that_is_asked_for_and_not_there_is_named() {
    let database = migrated().await;
    let scene = Scene::on(&database).set("DATABASE_URL", format!("{}?sslmode=require", database.url()));
    scene.examine().is_wrong("postgres.login", "no TLS", "sslrootcert");
}

#[tokio::test]
async fn tables_that_are_missing_older_or_newer_are_named_with_what_to_do() {
    let database = Database::create();
    let scene = Scene::on(&database);
    scene.examine().is_wrong("postgres.tables", "never migrated", "run `carillon migrate`");
    let database = super::migrated_in(database).await;
    let newer = "INSERT INTO __diesel_schema_migrations (version) VALUES ('9999')";
    database.sql(newer);
    scene.examine().warns("postgres.tables", "newer than this program: 9999", "rolled out or back");
    database.sql("DELETE FROM __diesel_schema_migrations WHERE version = '0012'");
    scene.examine().is_wrong("postgres.tables", "too old: migrations 0012 are missing", "run `carillon migrate`");
}

#[tokio::test]
async fn a_role_that_row_level_security_does_not_hold_for_is_named() {
    let database = migrated().await;
    let scene = Scene::on(&database);
    let root = scene.clone().set("DATABASE_URL", database.superuser_url()).examine();
    root.is_wrong("postgres.role", "carillon is a superuser: row-level security does not hold", "docs/row-security.md");
    let owner = scene.clone().set("DATABASE_URL", database.owner_url()).examine();
    owner.warns("postgres.role", "carillon_owner owns the tables", "docs/row-security.md");
    database.sql("REVOKE INSERT ON calls FROM carillon_app");
    scene.examine().is_wrong("postgres.grants", "may not read and write rows of calls", "carillon migrate");
    let swapped =
        scene.set("DATABASE_URL", database.owner_url()).set("CARILLON_MIGRATION_DATABASE_URL", database.url());
    swapped.examine().is_wrong("postgres.migration_role", "carillon_app", "");
}

#[tokio::test]
async fn a_server_that_forgets_in_a_power_cut_is_named() {
    let instance = Arc::new(Instance::start_with(&["fsync=off"]));
    let database = super::migrated_in(instance.create_database()).await;
    let scene = Scene::on(&database);
    scene.examine().is_wrong("postgres.durability", "fsync is off", "postgresql.conf");
    database.sql("ALTER ROLE carillon_app SET synchronous_commit = off");
    database.sql("ALTER ROLE carillon_app SET default_transaction_isolation = 'serializable'");
    database.sql("ALTER ROLE carillon_app SET idle_session_timeout = '1min'");
    let more = scene.examine();
    more.is_wrong("postgres.durability", "fsync and synchronous_commit are off", "");
    more.says("warning", "postgres.isolation", "serializable", "RESET default_transaction_isolation");
    more.says("warning", "postgres.timeouts", "idle_session_timeout is set", "= 0");
    database.sql("ALTER ROLE carillon_app SET default_transaction_read_only = on");
    scene.examine().is_wrong("postgres.primary", "default_transaction_read_only is on", "");
}

#[tokio::test]
async fn too_few_connections_and_an_index_that_was_not_finished_are_named() {
    let (_instance, database) = own_server().await;
    let scene = Scene::on(&database);
    database.sql("ALTER ROLE carillon_app CONNECTION LIMIT 20");
    scene.examine().warns("postgres.connections", "1 node with 14 each", "max_connections");
    let many = scene.clone().set("CARILLON_DB_CONNECTIONS", 20).examine();
    many.is_wrong("postgres.connections", "1 node with 32 each", "max_connections");
    database.sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'participants_by_user'::regclass");
    let broken = scene.examine();
    broken.is_wrong("postgres.indexes", "participants_by_user", "REINDEX INDEX CONCURRENTLY participants_by_user");
    assert_eq!(broken.wrong(), ["postgres.indexes"]);
}

#[tokio::test]
async fn nodes_that_live_without_being_heard_are_named() {
    let database = Arc::new(Database::create());
    let cluster = TestCluster::of(2).on_database(database.clone()).start().await;
    let scene = Scene::on(&database);
    let other = scene.examine();
    other.is_wrong(
        "redis.nodes",
        "live on this database, and not on this Redis as cluster doctor-",
        "CARILLON_CLUSTER",
    );
    scene.set("REDIS_URL", "").examine().is_wrong("postgres.nodes", "REDIS_URL is empty", "set REDIS_URL");
    drop(cluster);
}

#[tokio::test]
async fn without_a_key_of_the_service_api_there_is_a_warning_until_one_is_made() {
    let database = migrated().await;
    let scene = Scene::on(&database).set("CARILLON_SERVICE_KEY", "");
    scene.examine().warns("settings.service_key", "nobody can use the service API", "service-key create");
    let made = crate::support::node::command(&["service-key", "create", "tests"], &scene.settings).output();
    assert!(made.unwrap().status.success());
    scene.examine().nothing_wrong().says("ok", "settings.service_key", "1 made", "");
}

#[tokio::test]
async fn a_folder_where_sqlite_cannot_write_is_named() {
    let scene = Scene::embedded();
    // Whoever runs the tests: even the superuser makes no file there.
    let closed = scene.clone().set("DATABASE_URL", "sqlite:/proc/carillon.db").examine();
    closed.is_wrong(
        "sqlite.folder",
        "no database can be made in /proc",
        "let the user that the node runs as write there",
    );
    let nowhere = new_folder("doctor").join("none/carillon.db");
    let absent = scene.clone().set("DATABASE_URL", format!("sqlite:{}", nowhere.display())).examine();
    absent.is_wrong("sqlite.folder", "is no directory", "mkdir -p");
    let junk = new_folder("doctor").join("carillon.db");
    std::fs::write(&junk, "this is no database, and long enough to be looked at by whoever opens it as one").unwrap();
    let broken = scene.set("DATABASE_URL", format!("sqlite:{}", junk.display())).examine();
    broken.is_wrong("sqlite.file", "cannot be read", "copy of before");
}
