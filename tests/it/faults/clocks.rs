//! The clock of one node's machine is wrong, or is put forth and back while it runs.
//!
//! Leases and takeover go by the database's clock and each process's monotonic one; deadlines are points in time that
//! another node may have to meet, so the nodes' own clocks are set by the database's.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{LEASE, TAKEOVER, assert_reaches, checker::History, nodes, rounds::repeat, talk};
use crate::support::{TestClient, TestCluster, cluster::ClusterBuilder, process, proxy::Mode};

/// How long calls ring here. A call that a wrong clock ends rings for no time, or for an hour.
const RING: Duration = Duration::from_secs(7);
/// How much longer that is waited for on a machine that is busy with other tests, with a takeover in it.
const LATE: Duration = Duration::from_secs(8);
/// What two nodes may differ in what they call now.
const SKEW: i64 = 5_000;

/// Where Debian keeps it, whatever the machine.
pub fn libfaketime() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    let all = folders.chain([PathBuf::from("/usr/lib"), PathBuf::from("/usr/local/lib")]);
    let mut found = all.map(|folder| folder.join("faketime/libfaketimeMT.so.1")).filter(|library| library.exists());
    found.next().expect("libfaketime is not installed; `tests/run` installs it (Debian: libfaketime)")
}

/// The clock of node 0 is off by this much, as a file says that may be changed.
fn off_by(builder: ClusterBuilder, offset: &str) -> (ClusterBuilder, PathBuf) {
    let file = process::new_folder("clock").join("offset");
    std::fs::write(&file, offset).expect("write the offset");
    let builder = builder
        .set_on(0, "LD_PRELOAD", libfaketime().display())
        .set_on(0, "FAKETIME_TIMESTAMP_FILE", file.display())
        .set_on(0, "FAKETIME_CACHE_DURATION", 1)
        .set_on(0, "FAKETIME_DONT_FAKE_MONOTONIC", 1);
    (builder, file)
}

/// Shows that the offset has any effect: the log has the machine's time, of its newest line too.
fn assert_off(cluster: &TestCluster, hours: i64) {
    let line = cluster.node(0).log_lines().pop().expect("it logs");
    let said = line["timestamp"].as_str().and_then(|at| chrono::DateTime::parse_from_rfc3339(at).ok());
    let off = said.expect("a line has a time").timestamp() - chrono::Utc::now().timestamp();
    assert!((off - hours * 3600).abs() < 300, "the node's clock is off by {off} s: {line}");
}

/// When this reply says that it is, in milliseconds.
fn millis(time: &Value) -> i64 {
    let time = time.as_str().and_then(|text| chrono::DateTime::parse_from_rfc3339(text).ok());
    time.expect("a time on the wire").timestamp_millis()
}

async fn wait(limit: Duration, client: &TestClient, event: &str, call: &str) -> Instant {
    client.expect_within(limit, event, |e| e["callId"] == call).await.at
}

/// A ring by the node whose clock is wrong, missed in time by itself; one missed in time by the node that takes over;
/// one the other way round; and a talk that goes on.
async fn an_hour(history: &History, hours: i64) {
    let builder = nodes(2).set("CARILLON_RING_TIMEOUT_SECS", RING.as_secs());
    let (builder, _file) = off_by(builder, &format!("{hours:+}h"));
    let mut cluster = builder.start().await;
    assert_off(&cluster, hours);
    let (alice, bob, call) = talk(&cluster, 0).await;
    history.include(&call);
    let carol = cluster.connect(0, "carol", "phone").await;
    let dave = cluster.connect(1, "dave", "phone").await;
    let [here, there] = [&carol.welcome, &dave.welcome].map(|welcome| millis(&welcome["serverTime"]));
    assert!((here - there).abs() < SKEW, "both nodes tell one time: {here} and {there}");

    for (caller, callee) in [(&carol, &dave), (&dave, &carol)] {
        let began = Instant::now();
        let ring = history.start(caller, &[&callee.user]).await;
        callee.expect_of("call:incoming", &ring).await;
        for side in [caller, callee] {
            let after = wait(RING + LATE, side, "call:missed", &ring).await - began;
            assert!(after >= RING - Duration::from_millis(200), "missed {after:?} after the start, too early");
            side.expect_end(&ring, "no_answer").await;
        }
    }
    // Nobody was taken for dead meanwhile.
    cluster.assert_no_takeovers();
    assert_reaches(history, &alice, &bob, &call, true).await;

    // The owner dies: the other node keeps to what it has promised.
    let began = Instant::now();
    let ring = history.start(&carol, &["dave"]).await;
    dave.expect_of("call:incoming", &ring).await;
    cluster.node_mut(0).kill();
    let carol = carol.resume(cluster.node(1)).await;
    let alice = alice.resume(cluster.node(1)).await;
    assert_reaches(history, &bob, &alice, &call, true).await;
    for side in [&carol, &dave] {
        let after = wait(RING + LATE, side, "call:missed", &ring).await - began;
        assert!(after >= RING - Duration::from_millis(200), "missed {after:?} after the start, too early");
        side.expect_end(&ring, "no_answer").await;
    }
    // And one whose clock is wrong takes over from one whose is right.
    cluster.replace(0).await;
    let erin = cluster.connect(0, "erin", "phone").await;
    let began = Instant::now();
    let ring = history.start(&dave, &["erin"]).await;
    erin.expect_of("call:incoming", &ring).await;
    cluster.node_mut(1).kill();
    let mut back = Vec::new();
    for client in [alice, bob, carol, dave] {
        back.push(client.resume(cluster.node(0)).await);
    }
    let [alice, bob, carol, dave] = <[TestClient; 4]>::try_from(back).unwrap_or_else(|_| panic!("four"));
    for side in [&erin, &dave] {
        let after = wait(RING + LATE, side, "call:missed", &ring).await - began;
        assert!(after >= RING - Duration::from_millis(200), "missed {after:?} after the start, too early");
    }
    assert_reaches(history, &alice, &bob, &call, false).await;
    history.must(&alice, "call:end", json!({"callId": call})).await;
    for side in [&alice, &bob] {
        side.expect_end_within(TAKEOVER, &call, "completed").await;
    }
    history.check(&cluster, &[&alice, &bob, &carol, &dave, &erin]).await;
}

#[tokio::test]
async fn a_node_whose_clock_is_an_hour_ahead_loses_no_call_and_ends_none_early() {
    repeat(1, async |history, _| an_hour(history, 1).await).await;
}

#[tokio::test]
async fn a_node_whose_clock_is_an_hour_behind_loses_no_call_and_ends_none_late() {
    repeat(1, async |history, _| an_hour(history, -1).await).await;
}

#[tokio::test]
async fn a_clock_that_is_put_forth_and_back_while_calls_ring_changes_nothing() {
    repeat(1, async |history, _| {
        let (builder, file) = off_by(nodes(2).set("CARILLON_RING_TIMEOUT_SECS", RING.as_secs()), "+0h");
        let cluster = builder.start().await;
        let (alice, bob, call) = talk(&cluster, 0).await;
        history.include(&call);
        let carol = cluster.connect(0, "carol", "phone").await;
        let dave = cluster.connect(1, "dave", "phone").await;
        for offset in ["+1h", "-1h"] {
            let began = Instant::now();
            let ring = history.start(&carol, &["dave"]).await;
            dave.expect_of("call:incoming", &ring).await;
            put(&file, offset);
            // A renewal or two, by which the node looks at its clock.
            tokio::time::sleep(LEASE).await;
            assert_reaches(history, &alice, &bob, &call, true).await;
            assert_reaches(history, &bob, &alice, &call, true).await;
            assert_off(&cluster, if offset.starts_with('+') { 1 } else { -1 });
            for side in [&carol, &dave] {
                let after = wait(RING + LATE, side, "call:missed", &ring).await - began;
                assert!(after >= RING - Duration::from_millis(200), "missed {after:?} after the start, too early");
                side.expect_end(&ring, "no_answer").await;
            }
            assert_reaches(history, &alice, &bob, &call, false).await;
            history.must(&bob, "call:media", json!({"callId": call, "screen": false})).await;
            alice.discard_pending();
        }
        cluster.assert_no_takeovers();
        history.must(&alice, "call:end", json!({"callId": call})).await;
        bob.expect_end(&call, "completed").await;
        alice.expect_end(&call, "completed").await;
        history.check(&cluster, &[&alice, &bob, &carol, &dave]).await;
    })
    .await;
}

#[tokio::test]
async fn a_ring_ends_on_time_when_the_clock_that_set_its_end_is_put_back() {
    repeat(1, async |history, round| {
        // Over a slow link the time is known to some tenths of a second, of which this clock is ahead; over a quick one
        // the next renewal shows that, and puts it back.
        let slow = Mode::Delay(80..=120);
        let builder = nodes(2).set("CARILLON_RING_TIMEOUT_SECS", RING.as_secs()).linked_by(0, round.seed, slow);
        let (builder, _file) = off_by(builder, "+1h");
        let cluster = builder.start().await;
        let carol = cluster.connect(0, "carol", "phone").await;
        let dave = cluster.connect(1, "dave", "phone").await;
        let ring = history.start(&carol, &["dave"]).await;
        dave.expect_of("call:incoming", &ring).await;
        cluster.links(0).database.mend();
        for side in [&carol, &dave] {
            wait(RING + LATE, side, "call:missed", &ring).await;
            side.expect_end(&ring, "no_answer").await;
        }
        history.check(&cluster, &[&carol, &dave]).await;
    })
    .await;
}

/// In one step: half an offset is none.
fn put(file: &Path, offset: &str) {
    let new = file.with_extension("new");
    std::fs::write(&new, offset).expect("write the offset");
    std::fs::rename(&new, file).expect("put the offset in place");
}
