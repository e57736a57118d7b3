//! Participants left behind: who is connected nowhere, who is away past the grace; and everybody of whom that could not
//! be asked.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{NO_TIMERS, actions, assert_done_once, carillon_sweep, logged, sweep_until};
use crate::faults::checker::History;
use crate::support::{
    TestClient, TestCluster, cluster::ClusterBuilder, moves::participant, node::field, process::POLL, redis::Instance,
};

/// A node that does not tell the owners of calls when a device is gone.
const UNTOLD: &str = "user-tell-lost=return";

async fn talk(cluster: &TestCluster) -> (TestClient, TestClient, String) {
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let call = alice.call_through(&bob).await;
    (alice, bob, call)
}

fn short_grace(cluster: ClusterBuilder) -> ClusterBuilder {
    cluster.set("CARILLON_RECONNECT_GRACE_SECS", 1).set("CARILLON_SWEEP_INTERVAL_SECS", 3600)
}

/// They have been in the call for long, as far as the rows say.
fn settle(cluster: &TestCluster) {
    let database = cluster.database().expect("PostgreSQL");
    database.sql("UPDATE participants SET joined_at = joined_at - interval '1 hour'");
}

#[tokio::test]
async fn who_has_no_session_anywhere_is_missed_and_after_the_grace_has_left() {
    let cluster = short_grace(TestCluster::two_nodes()).set("FAILPOINTS", UNTOLD).start().await;
    let (alice, mut bob, call) = talk(&cluster).await;
    bob.drop_connection().await;
    alice.expect_none("call:participant_reconnecting", Duration::from_secs(1)).await;
    // A device that was heard of lately counts as there: not the first run, perhaps, but one of them.
    settle(&cluster);
    let dry = sweep_until(&cluster, &["left_behind", "--dry-run"], |swept| swept.lines.len() == 1).await;
    assert!(dry.lines[0].contains("user.id=bob what=lose_connection"), "alice is there: {dry:?}");
    assert_eq!(participant(&alice.get(&call).await, "bob")["status"], "joined", "a dry run changes nothing");

    let swept = sweep_until(&cluster, &["left_behind"], |swept| swept.ended("done; found 1, acted 1")).await;
    assert!(swept.lines[0].contains("why=\"no session anywhere\""), "{swept:?}");
    let of_bob = |e: &Value| e["callId"] == *call && e["userId"] == "bob";
    alice.expect("call:participant_reconnecting", of_bob).await;
    alice.expect("call:participant_left", of_bob).await;
    alice.expect_end(&call, "connection_lost").await;
    assert_done_once(&cluster, "left_behind", "lose_connection", &call);
}

#[tokio::test]
async fn who_is_away_past_a_grace_that_their_owner_forgot_has_left() {
    let cluster = short_grace(TestCluster::two_nodes()).set(NO_TIMERS.0, NO_TIMERS.1).start().await;
    let (alice, mut bob, call) = talk(&cluster).await;
    bob.drop_connection().await;
    let of_bob = |e: &Value| e["callId"] == *call && e["userId"] == "bob";
    alice.expect("call:participant_reconnecting", of_bob).await;
    sweep_until(&cluster, &["left_behind"], |swept| swept.ended("done; found 1, acted 1")).await;
    alice.expect("call:participant_left", of_bob).await;
    alice.expect_end(&call, "connection_lost").await;
    assert_done_once(&cluster, "left_behind", "leave", &call);
}

#[tokio::test]
async fn nobody_is_left_behind_while_redis_cannot_be_asked() {
    let redis = Arc::new(tokio::task::spawn_blocking(Instance::start).await.unwrap());
    let cluster = short_grace(TestCluster::two_nodes()).on_redis(redis.clone()).start().await;
    let (alice, bob, call) = talk(&cluster).await;
    settle(&cluster);
    redis.kill();
    let swept = sweep_until(&cluster, &["left_behind"], |swept| !swept.ended("done")).await;
    assert_eq!(swept.code, 1, "{swept:?}");
    assert!(swept.ended("could_not_ask") && swept.lines.is_empty(), "{swept:?}");
    let finished = logged(&cluster, "sweep finished", "left_behind");
    assert!(finished.iter().any(|line| field(line, "outcome") == Some("could_not_ask")), "{finished:?}");
    let runs = cluster.database().unwrap().sql("SELECT outcome, note FROM sweep_runs WHERE found = 0 AND note <> ''");
    assert_eq!(runs[0][0].as_deref(), Some("could_not_ask"));

    // Back and empty: also while not everybody is there again, nobody is taken for gone.
    redis.start_again();
    let swept = sweep_until(&cluster, &["left_behind"], |swept| swept.ended("done")).await;
    assert!(swept.lines.is_empty(), "{swept:?}");
    for side in [&alice, &bob] {
        side.expect_none("call:participant_reconnecting", Duration::ZERO).await;
    }
    // His node may not have heard yet that the other's bus is back.
    History::default().must(&bob, "call:end", json!({"callId": call})).await;
    alice.expect_end(&call, "completed").await;
    assert!(actions(&cluster, "left_behind").is_empty());
}

#[tokio::test]
async fn nobody_is_left_behind_while_a_living_node_does_not_listen() {
    let cluster = short_grace(TestCluster::two_nodes()).set("FAILPOINTS", UNTOLD).start().await;
    let (alice, mut bob, call) = talk(&cluster).await;
    bob.drop_connection().await;
    settle(&cluster);
    // Its lease is good, and bob may well be on it: it only does not reach Redis.
    let database = cluster.database().unwrap();
    database.sql("INSERT INTO nodes VALUES ('cut-off', '1', NULL, now(), now() + interval '1 hour')");
    let swept = carillon_sweep(&cluster, &["left_behind"]).await;
    assert!(swept.code == 1 && swept.ended("could_not_ask: node cut-off does not listen on the bus"), "{swept:?}");
    assert_eq!(participant(&alice.get(&call).await, "bob")["status"], "joined");
    database.sql("DELETE FROM nodes WHERE id = 'cut-off'");
    sweep_until(&cluster, &["left_behind"], |swept| swept.ended("done; found 1, acted 1")).await;
    alice.expect_end(&call, "connection_lost").await;
}

#[tokio::test]
async fn who_comes_back_after_both_probes_is_left_alone() {
    // The fail point stops the sweeper's thread between its probes and its question, and with it the renewal of the lease.
    let cluster = short_grace(TestCluster::of(1))
        .set("FAILPOINTS", format!("{UNTOLD};sweep-left-behind=1*sleep(6000)->off"))
        .set("CARILLON_NODE_LEASE_SECS", 60)
        .start()
        .await;
    let (alice, mut bob, call) = talk(&cluster).await;
    bob.drop_connection().await;
    settle(&cluster);
    let (swept, bob) = tokio::join!(carillon_sweep(&cluster, &["left_behind"]), async {
        while logged(&cluster, "asked twice who is there", "left_behind").is_empty() {
            tokio::time::sleep(POLL).await;
        }
        bob.resume(cluster.node(0)).await
    });
    assert!(swept.ended("done; found 1, acted 0, failed 0"), "{swept:?}");
    assert!(swept.lines[0].ends_with("outcome=left_alone"), "{swept:?}");
    alice.expect_none("call:participant_reconnecting", Duration::ZERO).await;
    bob.act("call:end", &call).await;
    alice.expect_end(&call, "completed").await;
}

#[tokio::test]
async fn nobody_is_left_behind_while_every_subscriber_is_cut_off_again_and_again() {
    let redis = Arc::new(tokio::task::spawn_blocking(Instance::start).await.unwrap());
    let cluster = short_grace(TestCluster::two_nodes()).on_redis(redis.clone()).start().await;
    let (alice, bob, call) = talk(&cluster).await;
    settle(&cluster);
    let sweeping = async {
        let mut outcomes = Vec::new();
        for _ in 0..4 {
            outcomes.push(carillon_sweep(&cluster, &["left_behind"]).await);
        }
        outcomes
    };
    let cutting = async {
        loop {
            redis.ask("CLIENT KILL TYPE pubsub").expect("Redis runs");
            tokio::time::sleep(Duration::from_millis(rand::random_range(50..400))).await;
        }
    };
    let outcomes = tokio::select! { outcomes = sweeping => outcomes, () = cutting => unreachable!() };
    assert!(outcomes.iter().all(|swept| swept.lines.is_empty()), "{outcomes:?}");
    for side in [&alice, &bob] {
        side.expect_none("call:participant_reconnecting", Duration::from_secs(1)).await;
    }
    sweep_until(&cluster, &["left_behind"], |swept| swept.ended("done; found 0")).await;
    bob.act("call:end", &call).await;
    alice.expect_end(&call, "completed").await;
}
