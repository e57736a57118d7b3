//! Redis is away, and then the owner of a call dies too: the call goes on, and nobody in it is taken for gone.

use std::{sync::Arc, time::Duration};

use serde_json::json;

use super::{BY_DATABASE, expect_loss, expect_whole};
use crate::{
    faults::{TAKEOVER, assert_reaches, checker::History, nodes, talk},
    support::redis::Instance,
};

#[tokio::test]
async fn a_call_is_taken_over_while_redis_is_away_and_nobody_is_taken_for_gone() {
    let redis = Arc::new(tokio::task::spawn_blocking(Instance::start).await.expect("start Redis"));
    let mut cluster = nodes(3).on_redis(redis.clone()).start().await;
    let history = History::default();
    let (alice, bob, call) = talk(&cluster, 2).await;
    history.include(&call);
    for side in [&alice, &bob] {
        side.discard_pending();
    }
    redis.kill();
    for node in 0..3 {
        expect_loss(&cluster, node, "redis").await;
    }
    cluster.node_mut(0).kill();
    for side in [&alice, &bob] {
        side.expect_within(TAKEOVER, "call:renegotiate", |e| e["callId"] == *call).await;
    }
    // One of them shares a node with the new owner.
    let media = json!({"callId": call, "screen": true});
    let of_alice = history.once(&alice, "call:media", media.clone()).await.is_ok();
    let of_bob = history.once(&bob, "call:media", media).await.is_ok();
    assert!(of_alice != of_bob, "one of them: {of_alice} {of_bob}");
    let (near, far) = if of_alice { (&alice, &bob) } else { (&bob, &alice) };
    let told = |e: &serde_json::Value| e["callId"] == *call && e["userId"] == *near.user;
    far.expect_within(BY_DATABASE, "call:participant_updated", told).await;
    // Longer than the new owner waits for nodes to say where everybody is, and the grace.
    for side in [&alice, &bob] {
        side.expect_none("call:participant_reconnecting", Duration::from_secs(5)).await;
    }
    redis.start_again();
    for node in 1..3 {
        expect_whole(&cluster, node, "redis").await;
    }
    history.must(near, "call:media", json!({"callId": call, "screen": false})).await;
    assert_reaches(&history, near, far, &call, true).await;
    assert_reaches(&history, far, near, &call, true).await;
    for side in [&alice, &bob] {
        side.expect_none("call:participant_reconnecting", Duration::from_secs(5)).await;
    }
    history.must(far, "call:end", json!({"callId": call})).await;
    for side in [&alice, &bob] {
        side.expect_end(&call, "completed").await;
    }
    history.check(&cluster, &[&alice, &bob]).await;
}
