//! Redis dies, hangs, or cuts its subscribers off: in the end every client holds every event, in order.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{assert_reaches, checker::History, nodes, rounds::repeat, talk};
use crate::support::{TestClient, TestCluster, moves::sdp, redis::Instance};

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
async fn a_life_without_redis(history: &History, going: fn(&Instance), coming: fn(&Instance), away: Duration) {
    let (cluster, redis) = on_own_redis().await;
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
    assert_reaches(history, &alice, &bob, &call, true).await;
    assert_reaches(history, &bob, &alice, &call, true).await;
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
    repeat(1, async |history, _| {
        a_life_without_redis(history, Instance::kill, Instance::start_again, Duration::from_secs(2)).await
    })
    .await;
}

#[tokio::test]
async fn redis_that_hangs_for_ten_seconds_costs_nobody_an_event() {
    repeat(1, async |history, _| {
        a_life_without_redis(history, Instance::pause, Instance::resume, Duration::from_secs(10)).await
    })
    .await;
}

#[tokio::test]
async fn calls_across_nodes_are_whole_while_every_subscriber_is_cut_off_twice_a_second() {
    repeat(1, async |history, _| {
        let (cluster, redis) = on_own_redis().await;
        let clients = futures_util::future::join_all((0..3).flat_map(|pair| {
            let (caller, callee) = (format!("caller-{pair}"), format!("callee-{pair}"));
            let cluster = &cluster;
            [(0, caller), (1, callee)].map(|(node, user)| async move { cluster.connect(node, &user, "phone").await })
        }))
        .await;
        let deadline = Instant::now() + Duration::from_secs(4);
        let calls = futures_util::future::join_all(clients.chunks(2).map(|pair| async move {
            while Instant::now() < deadline {
                history.whole_call(&pair[0], &pair[1]).await;
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
    })
    .await;
}

#[tokio::test]
async fn a_subscriber_cut_off_by_its_output_buffer_misses_nothing_in_the_end() {
    repeat(1, async |history, _| {
        let (cluster, redis) = on_own_redis().await;
        let (alice, bob, call) = talk(&cluster, 0).await;
        history.include(&call);
        let mut changes = Vec::new();
        redis.ask("CONFIG SET client-output-buffer-limit \"pubsub 1kb 0 0\"").expect("Redis runs");
        for number in 0..12 {
            // More than the buffer that every connection has in any case.
            let mut offer = sdp("offer");
            offer["sdp"] = format!("{}{}", offer["sdp"].as_str().unwrap_or_default(), "x".repeat(50_000)).into();
            // Relayed once, to who is there.
            let signal = json!({"callId": call, "to": "bob", "type": "renegotiate", "payload": offer});
            if let Err(refused) = alice.call("call:signal", signal).await {
                assert!(refused.retryable, "{refused:?}");
            }
            let video = number % 2 == 0;
            history.must(&alice, "call:media", json!({"callId": call, "video": video})).await;
            changes.push(video);
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
        redis.ask("CONFIG SET client-output-buffer-limit \"pubsub 32mb 8mb 60\"").expect("Redis runs");
        let cut = redis.log().matches("overcoming of output buffer limits").count();
        assert!(cut > 0, "nobody was cut off: this test has tested nothing");
        println!("subscribers cut off {cut} times");
        assert_all_arrived(&bob, &call, &changes).await;
        assert_reaches(history, &alice, &bob, &call, true).await;
        assert_reaches(history, &bob, &alice, &call, true).await;
        cluster.assert_no_takeovers();
        history.must(&bob, "call:end", json!({"callId": call})).await;
        for side in [&alice, &bob] {
            side.expect_end(&call, "completed").await;
        }
        history.check(&cluster, &[&alice, &bob]).await;
    })
    .await;
}
