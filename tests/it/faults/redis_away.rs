//! Redis dies, hangs, or cuts its subscribers off: in the end every client holds every event, in order.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{assert_reaches, checker::History, nodes, rounds, talk};
use crate::support::{TestClient, TestCluster, redis::Instance};

/// How long after Redis is back everybody holds everything.
const REPAIRED: Duration = Duration::from_secs(7);

async fn on_own_redis() -> (TestCluster, Arc<Instance>) {
    let redis = Arc::new(tokio::task::spawn_blocking(Instance::start).await.expect("start Redis"));
    (nodes(2).on_redis(redis.clone()).start().await, redis)
}

/// Waits for the change of alice's that was the last while Redis was away, and looks whether those before came too.
async fn assert_all_arrived(bob: &TestClient, call: &str, changes: &[bool]) {
    let of_alice = |e: &Value| e["callId"] == call && e["userId"] == "alice" && e["changes"]["video"].is_boolean();
    for change in changes {
        let told = bob.expect_within(REPAIRED, "call:participant_updated", of_alice).await;
        assert_eq!(told.data["changes"]["video"], *change, "in order: {}", told.data);
    }
}

/// What happens while Redis is away, between its `going` and its `coming`.
async fn a_life_without_redis(going: impl FnOnce(&Instance), coming: impl FnOnce(&Instance), away: Duration) {
    let (cluster, redis) = on_own_redis().await;
    let history = History::default();
    let (alice, bob, call) = talk(&cluster, 0).await;
    history.include(&call);
    let carol = cluster.connect(1, "carol", "phone").await;
    let frank = cluster.connect(0, "frank", "phone").await;
    let [dave, erin] = [cluster.connect(0, "dave", "phone").await, cluster.connect(0, "erin", "phone").await];
    let same_node = dave.call_through(&erin).await;
    history.include(&same_node);

    going(&redis);
    let gone = Instant::now();
    // Those who share a node with the owner go on.
    let changes = [true, false, true, false, true];
    for video in changes {
        history.must(&alice, "call:media", json!({"callId": call, "video": video})).await;
    }
    let answer = history.once(&erin, "call:media", json!({"callId": same_node, "screen": true})).await;
    answer.expect("the owner is at hand");
    dave.expect("call:participant_updated", |e| e["callId"] == *same_node).await;
    // The owner elsewhere cannot be asked.
    let refused = history.once(&bob, "call:media", json!({"callId": call, "screen": true})).await;
    if let Err(refused) = refused {
        assert!(refused.retryable, "{refused:?}");
    }
    let missed_ring = history.start(&frank, &["carol"]).await;
    tokio::time::sleep(away.saturating_sub(gone.elapsed())).await;
    coming(&redis);

    assert_all_arrived(&bob, &call, &changes).await;
    carol.expect_within(REPAIRED, "call:incoming", |e| e["call"]["callId"] == *missed_ring).await;
    history.must(&carol, "call:decline", json!({"callId": missed_ring})).await;
    assert_reaches(&history, &alice, &bob, &call, true).await;
    assert_reaches(&history, &bob, &alice, &call, true).await;
    for (side, call) in [(&bob, &call), (&erin, &same_node)] {
        history.must(side, "call:end", json!({"callId": call})).await;
    }
    for (side, call) in [(&alice, &call), (&bob, &call), (&dave, &same_node), (&erin, &same_node)] {
        side.expect_end(call, "completed").await;
    }
    for side in [&carol, &frank] {
        side.expect_end(&missed_ring, "declined").await;
    }
    history.check(&cluster, &[&alice, &bob, &carol, &dave, &erin, &frank]).await;
    cluster.assert_no_takeovers();
}

#[tokio::test]
async fn redis_killed_and_started_empty_costs_nobody_an_event() {
    for _ in 0..rounds(1) {
        a_life_without_redis(Instance::kill, Instance::start_again, Duration::from_secs(2)).await;
    }
}

#[tokio::test]
async fn redis_that_hangs_for_five_seconds_costs_nobody_an_event() {
    for _ in 0..rounds(1) {
        a_life_without_redis(Instance::pause, Instance::resume, Duration::from_secs(5)).await;
    }
}

#[tokio::test]
async fn calls_across_nodes_are_whole_while_every_subscriber_is_cut_off_twice_a_second() {
    let (cluster, redis) = on_own_redis().await;
    let history = History::default();
    let clients = futures_util::future::join_all((0..3).flat_map(|pair| {
        let (caller, callee) = (format!("caller-{pair}"), format!("callee-{pair}"));
        let cluster = &cluster;
        [(0, caller), (1, callee)].map(|(node, user)| async move { cluster.connect(node, &user, "phone").await })
    }))
    .await;
    let deadline = Instant::now() + Duration::from_secs(4) * rounds(1);
    let calls = futures_util::future::join_all(clients.chunks(2).map(|pair| {
        let history = &history;
        async move {
            while Instant::now() < deadline {
                history.whole_call(&pair[0], &pair[1]).await;
            }
        }
    }));
    let cutting = async {
        let mut cuts = 0;
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            redis.ask("CLIENT KILL TYPE pubsub").expect("Redis runs");
            cuts += 1;
            if Instant::now() > deadline {
                return cuts;
            }
        }
    };
    let (cuts, _) = tokio::join!(cutting, calls);
    println!("subscribers cut off {cuts} times");
    history.check(&cluster, &clients.iter().collect::<Vec<_>>()).await;
    cluster.assert_no_takeovers();
}
