//! PostgreSQL is lost, for longer than a lease lasts.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{assert_refused_at_once, expect_loss, expect_whole};
use crate::{
    faults::{LEASE, assert_reaches, checker::History, nodes, talk},
    support::{moves::candidate, postgres},
};

#[tokio::test]
async fn without_the_database_signals_go_on_and_everything_else_is_refused_until_it_is_back() {
    let (database, postgres) = tokio::task::spawn_blocking(|| {
        let postgres = Arc::new(postgres::Instance::start());
        (Arc::new(postgres.create_database()), postgres)
    })
    .await
    .expect("start PostgreSQL");
    let cluster = nodes(2).on_database(database).start().await;
    let history = History::default();
    let (alice, bob, call) = talk(&cluster, 0).await;
    let carol = cluster.connect(0, "carol", "phone").await;
    history.include(&call);

    let server = postgres.clone();
    tokio::task::spawn_blocking(move || server.stop_immediate()).await.expect("stop PostgreSQL");
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

    let server = postgres.clone();
    tokio::task::spawn_blocking(move || server.start_again()).await.expect("start PostgreSQL");
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
