//! Rings, waits for media and calls whose owner forgot its timers; and owners that know better.

use std::time::Duration;

use super::{NO_TIMERS, SWEPT, actions, assert_done_once, carillon_sweep, sweep_until};
use crate::support::{TestCluster, cluster::ClusterBuilder};

fn forgetful(cluster: ClusterBuilder) -> ClusterBuilder {
    cluster.set(NO_TIMERS.0, NO_TIMERS.1)
}

#[tokio::test]
async fn a_ring_that_its_owner_forgot_is_missed_by_schedule() {
    let cluster = forgetful(TestCluster::two_nodes())
        .set("CARILLON_RING_TIMEOUT_SECS", 1)
        .set("CARILLON_SWEEP_INTERVAL_SECS", 1)
        .start()
        .await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let call = alice.start(&["bob"]).await;
    bob.expect_of("call:incoming", &call).await;
    alice.expect_within(SWEPT, "call:missed", |e| e["callId"] == *call && e["userId"] == "bob").await;
    for side in [&alice, &bob] {
        let ended = side.expect_end(&call, "no_answer").await;
        assert_eq!(ended["status"], "missed");
    }
    sweep_until(&cluster, &["stale_ringing"], |swept| swept.ended("done; found 0")).await;
    assert_done_once(&cluster, "stale_ringing", "end_ring", &call);
}

#[tokio::test]
async fn a_wait_for_media_that_its_owner_forgot_ends_in_a_call_that_goes_on() {
    let cluster = forgetful(TestCluster::two_nodes()).set("CARILLON_CONNECT_TIMEOUT_SECS", 1).start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let call = alice.start(&["bob"]).await;
    bob.expect_of("call:incoming", &call).await;
    bob.act("call:accept", &call).await;
    sweep_until(&cluster, &["stale_connecting"], |swept| swept.ended("done; found 1, acted 1")).await;
    for side in [&alice, &bob] {
        side.expect("call:state", |e| e["callId"] == *call && e["status"] == "active").await;
    }
    assert_done_once(&cluster, "stale_connecting", "end_connecting", &call);
}

#[tokio::test]
async fn a_call_past_the_maximum_duration_that_its_owner_forgot_is_ended() {
    let cluster = forgetful(TestCluster::two_nodes()).set("CARILLON_MAX_CALL_SECS", 2).start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let call = alice.call_through(&bob).await;
    sweep_until(&cluster, &["max_duration"], |swept| swept.ended("done; found 1, acted 1")).await;
    for side in [&alice, &bob] {
        let ended = side.expect_end(&call, "max_duration").await;
        assert_eq!(ended["status"], "ended");
    }
    assert_done_once(&cluster, "max_duration", "end_call", &call);
}

#[tokio::test]
async fn a_call_past_the_maximum_duration_is_ended_by_its_own_timer_first() {
    let cluster = TestCluster::embedded().set("CARILLON_MAX_CALL_SECS", 2).start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(0, "bob", "phone").await;
    let call = alice.call_through(&bob).await;
    for side in [&alice, &bob] {
        side.expect_end_within(Duration::from_secs(15), &call, "max_duration").await;
    }
    assert!(actions(&cluster, "max_duration").is_empty());
}

#[tokio::test]
async fn a_call_that_only_looks_stale_is_left_alone_by_its_owner() {
    let cluster = TestCluster::two_nodes().start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let call = alice.start(&["bob"]).await;
    bob.expect_of("call:incoming", &call).await;
    let database = cluster.database().unwrap();
    database.sql("UPDATE invitations SET deadline = deadline - interval '1 hour'");
    database.sql("UPDATE calls SET created_at = created_at - interval '3 days'");
    for sweeper in ["stale_ringing", "max_duration"] {
        let swept = carillon_sweep(&cluster, &[sweeper]).await;
        assert!(swept.code == 0 && swept.ended("done; found 1, acted 0, failed 0"), "{swept:?}");
        assert!(swept.lines[0].ends_with("outcome=left_alone"), "{swept:?}");
    }
    assert_eq!(alice.get(&call).await["status"], "ringing");
    bob.act("call:accept", &call).await;
    alice.expect_of("call:accepted", &call).await;
}
