//! The fixtures themselves: what they promise to the scenarios.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::support::{
    canary::{self, Canaries},
    inbox::{Inbox, Order},
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
    own.kill();
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

fn state_event(name: &str, seq: u64, prev: u64) -> Value {
    json!({"event": name, "data": {"callId": "c", "seq": seq, "prev": prev}})
}

fn faults(frames: &[Value]) -> usize {
    let inbox = Inbox::new(Order::default());
    frames.iter().for_each(|frame| inbox.receive(&frame.to_string()));
    // These frames are none of a node's: what the document says of their fields is no matter here.
    inbox.violations().iter().filter(|violation| !violation.contains("AsyncAPI document")).count()
}

#[test]
fn a_client_sees_a_hole_a_repetition_and_an_event_after_the_end() {
    let first = state_event("call:incoming", 1, 0);
    let snapshot = json!({"event": "call:state", "data": {"callId": "c", "seq": 9, "prev": 0, "snapshot": true}});
    let signal = |sig, epoch| json!({"event": "call:signal", "data": {"callId": "c", "sig": sig, "epoch": epoch}});
    // What is in order: seq may jump where the user was not told, numbers of signals begin anew with an epoch.
    let good = [&first, &state_event("call:accepted", 4, 1), &state_event("call:ended", 5, 4)];
    assert_eq!(faults(&good.map(Clone::clone)), 0);
    assert_eq!(faults(&[first.clone(), snapshot.clone(), state_event("call:ended", 10, 7)]), 0);
    assert_eq!(faults(&[signal(1, 1), signal(2, 1), signal(1, 2)]), 0);
    // What is not.
    assert_eq!(faults(&[first.clone(), state_event("call:accepted", 4, 2)]), 1, "a hole");
    assert_eq!(faults(&[first.clone(), first.clone()]), 2, "a repetition, which does not follow itself either");
    assert_eq!(faults(&[first.clone(), snapshot, state_event("call:ended", 12, 11)]), 1, "a hole after a snapshot");
    assert_eq!(faults(&[state_event("call:ended", 2, 1), state_event("call:state", 3, 2)]), 1, "after the end");
    assert_eq!(faults(&[signal(2, 1), signal(2, 1)]), 1, "a signal twice");
    assert_eq!(faults(&[json!({"reply": "1", "ok": true})]), 1, "a reply to nothing");
    assert_eq!(faults(&[json!(["no", "frame"])]), 1, "no frame");
}
