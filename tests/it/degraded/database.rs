//! PostgreSQL is lost, for longer than a lease lasts.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{assert_refused_at_once, expect_loss, expect_whole};
use crate::{
    faults::{LEASE, TAKEOVER, assert_reaches, checker::History, nodes, talk},
    support::{TestCluster, moves::candidate, postgres},
};

async fn stop(postgres: &Arc<postgres::Instance>) {
    let server = postgres.clone();
    tokio::task::spawn_blocking(move || server.stop_immediate()).await.expect("stop PostgreSQL");
}

async fn start_again(postgres: &Arc<postgres::Instance>) {
    let server = postgres.clone();
    tokio::task::spawn_blocking(move || server.start_again()).await.expect("start PostgreSQL");
}

async fn on_own_database(count: usize) -> (TestCluster, Arc<postgres::Instance>) {
    let (database, postgres) = tokio::task::spawn_blocking(|| {
        let postgres = Arc::new(postgres::Instance::start());
        (Arc::new(postgres.create_database()), postgres)
    })
    .await
    .expect("start PostgreSQL");
    (nodes(count).on_database(database).start().await, postgres)
}

#[tokio::test]
async fn a_node_that_dies_while_the_database_is_away_is_missed_when_it_is_back() {
    let (mut cluster, postgres) = on_own_database(3).await;
    let history = History::default();
    let (alice, bob, call) = talk(&cluster, 2).await;
    history.include(&call);
    stop(&postgres).await;
    for node in 0..3 {
        expect_loss(&cluster, node, "database").await;
    }
    cluster.node_mut(0).kill();
    tokio::time::sleep(LEASE * 2).await;
    start_again(&postgres).await;
    for node in 1..3 {
        expect_whole(&cluster, node, "database").await;
    }
    for side in [&alice, &bob] {
        side.expect_within(TAKEOVER, "call:renegotiate", |e| e["callId"] == *call).await;
    }
    assert_reaches(&history, &alice, &bob, &call, true).await;
    assert_reaches(&history, &bob, &alice, &call, true).await;
    history.must(&bob, "call:end", json!({"callId": call})).await;
    for side in [&alice, &bob] {
        side.expect_end(&call, "completed").await;
    }
    history.check(&cluster, &[&alice, &bob]).await;
}

#[tokio::test]
async fn without_the_database_signals_go_on_and_everything_else_is_refused_until_it_is_back() {
    let (cluster, postgres) = on_own_database(2).await;
    let history = History::default();
    let (alice, bob, call) = talk(&cluster, 0).await;
    let carol = cluster.connect(0, "carol", "phone").await;
    history.include(&call);

    stop(&postgres).await;
    for node in 0..2 {
        let (status, _) = expect_loss(&cluster, node, "database").await;
        assert_eq!(status, 503, "the node takes no calls");
        assert_eq!(cluster.http(node).status("/livez").await, Some(200), "it is well itself");
    }
    let began = Instant::now();
    let mut number = 0;
    while began.elapsed() < LEASE * 3 {
        for (from, to) in [(&alice, &bob), (&bob, &alice)] {
            number += 1;
            from.signal(&call, &to.user, "ice_candidate", candidate(number)).await;
            let sent = candidate(number);
            to.expect("call:signal", |s| s["callId"] == *call && s["payload"] == sent).await;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    for side in [&alice, &bob] {
        assert_refused_at_once(&history, side, "call:media", json!({"callId": call, "screen": true})).await;
        assert_refused_at_once(&history, side, "call:end", json!({"callId": call})).await;
        assert_refused_at_once(&history, side, "call:get", json!({"callId": call})).await;
    }
    assert_refused_at_once(&history, &carol, "call:start", json!({"calleeIds": ["dave"]})).await;

    start_again(&postgres).await;
    for node in 0..2 {
        expect_whole(&cluster, node, "database").await;
    }
    assert_reaches(&history, &alice, &bob, &call, true).await;
    assert_reaches(&history, &bob, &alice, &call, true).await;
    // Nobody else could take the call while nobody could reach the database: its owner has gone on.
    cluster.assert_no_takeovers();
    for side in [&alice, &bob] {
        side.expect_none("call:renegotiate", Duration::ZERO).await;
        side.expect_none("call:participant_reconnecting", Duration::ZERO).await;
    }
    history.must(&bob, "call:end", json!({"callId": call})).await;
    for side in [&alice, &bob] {
        side.expect_end(&call, "completed").await;
    }
    history.check(&cluster, &[&alice, &bob]).await;
}
