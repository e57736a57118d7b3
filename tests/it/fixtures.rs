//! The fixtures themselves: what they promise to the scenarios.

use std::sync::Arc;

use crate::support::{
    canary::{self, Canaries},
    postgres::{self, Database},
    process, redis,
};

#[test]
fn every_database_is_fresh_and_goes_with_its_test() {
    let first = Database::create();
    first.sql("CREATE TABLE t (n int); INSERT INTO t VALUES (1)");
    let second = Database::create();
    assert_eq!(second.sql("SELECT count(*) FROM pg_class WHERE relname = 't'"), [[Some("0".to_owned())]]);
    let name = first.sql("SELECT current_database()")[0][0].clone().unwrap();
    drop(first);
    let left = second.sql(&format!("SELECT 1 FROM pg_database WHERE datname = '{name}'"));
    assert!(left.is_empty(), "{name} is still there");
}

#[test]
fn a_postgres_that_a_test_owns_loses_nothing_committed_in_an_immediate_stop() {
    let own = Arc::new(postgres::Instance::start());
    let database = own.create_database();
    assert_eq!(database.sql("SHOW fsync"), [[Some("on".to_owned())]]);
    database.sql("CREATE TABLE t (n int)");
    database.sql("INSERT INTO t VALUES (7)");
    own.stop_immediate();
    assert!(own.try_sql("postgres", "SELECT 1").is_err(), "it is gone");
    own.start_again();
    assert_eq!(database.sql("SELECT n FROM t"), [[Some("7".to_owned())]]);
}

#[test]
fn a_redis_that_a_test_owns_comes_back_on_the_same_address() {
    let own = redis::Instance::start();
    let url = own.url();
    own.stop();
    own.start_again();
    assert_eq!(own.url(), url);
}

#[test]
fn the_canary_finds_a_secret_wherever_it_stands_in_a_log() {
    let canaries = Canaries::default();
    canaries.forbid_token("header.payload.signature-of-a-token");
    let log = process::new_folder("canary").join("log");
    std::fs::write(&log, format!("fine\n{{\"sdp\":\"{}\"}}\nbearer x.signature-of-a-token\n", canary::SDP)).unwrap();
    assert_eq!(canaries.find_in(&log).len(), 2, "{:?}", canaries.find_in(&log));
    std::fs::write(&log, "nothing to see\n").unwrap();
    assert!(canaries.find_in(&log).is_empty());
}
