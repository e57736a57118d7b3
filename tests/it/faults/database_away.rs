//! PostgreSQL dies and comes back, or loses its connections again and again: what was acknowledged is there.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{checker::History, nodes, rounds::repeat, talk};
use crate::support::{TestClient, TestCluster, moves::candidate, postgres::Instance};

async fn on_own_database() -> (TestCluster, Arc<Instance>) {
    let (database, postgres) = tokio::task::spawn_blocking(|| {
        let postgres = Arc::new(Instance::start());
        (Arc::new(postgres.create_database()), postgres)
    })
    .await
    .expect("start PostgreSQL");
    (nodes(2).on_database(database).start().await, postgres)
}

/// Pairs of users, each caller on node 0 and callee on node 1.
async fn pairs(cluster: &TestCluster, count: usize) -> Vec<[TestClient; 2]> {
    let mut pairs = Vec::new();
    for pair in 0..count {
        let caller = cluster.connect(0, &format!("caller-{pair}"), "phone").await;
        let callee = cluster.connect(1, &format!("callee-{pair}"), "phone").await;
        pairs.push([caller, callee]);
    }
    pairs
}

/// Calls without a pause until `deadline`, in both directions.
async fn call_on(history: &History, pairs: &[[TestClient; 2]], deadline: Instant) {
    let calling = pairs.iter().map(|[caller, callee]| async move {
        let mut turn = [caller, callee];
        while Instant::now() < deadline {
            history.whole_call(turn[0], turn[1]).await;
            turn.reverse();
        }
    });
    futures_util::future::join_all(calling).await;
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_when_postgresql_stops_at_once_and_comes_back() {
    repeat(1, async |history, _| {
        let (cluster, postgres) = on_own_database().await;
        let pairs = pairs(&cluster, 3).await;
        let (alice, bob, call) = talk(&cluster, 0).await;
        history.include(&call);
        let deadline = Instant::now() + Duration::from_secs(5);
        let breaking = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let server = postgres.clone();
            tokio::task::spawn_blocking(move || server.stop_immediate()).await.expect("stop PostgreSQL");
            // Signals of a running call need no database.
            alice.signal(&call, "bob", "ice_candidate", candidate(5)).await;
            bob.expect("call:signal", |s| s["callId"] == *call && s["type"] == "ice_candidate").await;
            let refused = history.once(&bob, "call:media", json!({"callId": call, "screen": true})).await;
            let refused = refused.expect_err("what changes state needs the database");
            assert!(refused.retryable, "{refused:?}");
            tokio::time::sleep(Duration::from_secs(1)).await;
            let server = postgres.clone();
            tokio::task::spawn_blocking(move || server.start_again()).await.expect("start PostgreSQL");
            tokio::time::sleep(Duration::from_secs(2)).await;
        };
        tokio::join!(breaking, call_on(history, &pairs, deadline));
        history.must(&bob, "call:end", json!({"callId": call})).await;
        for side in [&alice, &bob] {
            side.expect_of("call:ended", &call).await;
        }
        let clients: Vec<&TestClient> = pairs.iter().flatten().chain([&alice, &bob]).collect();
        history.check(&cluster, &clients).await;
    })
    .await;
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_while_every_backend_is_ended_each_second() {
    repeat(1, async |history, _| {
        let (cluster, postgres) = on_own_database().await;
        let pairs = pairs(&cluster, 3).await;
        let deadline = Instant::now() + Duration::from_secs(5);
        let ending = async {
            let mut ended = 0;
            while Instant::now() < deadline {
                tokio::time::sleep(Duration::from_secs(1)).await;
                let server = postgres.clone();
                let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                       WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'";
                let rows = tokio::task::spawn_blocking(move || server.try_sql("postgres", sql)).await;
                ended += rows.expect("the SQL thread ends").expect("PostgreSQL runs").len();
            }
            ended
        };
        let (ended, ()) = tokio::join!(ending, call_on(history, &pairs, deadline));
        assert!(ended > 0, "there were backends to end");
        println!("backends ended: {ended}");
        history.check(&cluster, &pairs.iter().flatten().collect::<Vec<_>>()).await;
    })
    .await;
}
