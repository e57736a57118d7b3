//! Which refusals are the first answer for good, and which say only how things stand.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Everywhere, by_rest, by_socket};
use crate::{
    scenarios::On,
    support::{TestCluster, moves::id_of, postgres},
};

fn about(call: &str) -> Value {
    json!({"callId": call})
}

/// Refused as the call stands; asked again when it would be granted: still refused, under the same key.
#[tokio::test]
async fn a_refusal_is_the_first_answer_too() {
    for on in [On::Embedded, On::TwoNodes] {
        let cluster = on.cluster().start().await;
        cluster.group("team", &["alice", "bob"]).await;
        let alice = Everywhere::of(&cluster, "alice", 0).await;
        let bob = Everywhere::of(&cluster, "bob", 1).await;
        let nobody = json!({"callId": "not-yet", "userIds": ["carol"]});
        assert_eq!(alice.once("call:invite", nobody).await, Err("not_found".into()));
        assert_eq!(alice.once("call:start", json!({"groupId": "none"})).await, Err("not_found".into()));
        let call = id_of(&alice.near.start_group("team", false).await);
        assert_eq!(bob.once("call:leave", about(&call)).await, Err("not_participant".into()));
        assert_eq!(bob.once("call:accept", about(&call)).await, Err("wrong_state".into()));
        assert_eq!(bob.once("call:cancel", about(&call)).await, Err("forbidden".into()));
        let early = by_socket(&bob.near, "call:media", "early", &json!({"callId": call, "audio": true})).await;
        assert_eq!(early, Err("not_participant".into()));
        bob.near.act("call:join", &call).await;
        for again in bob.repeat("call:media", "early", &json!({"callId": call, "audio": true})).await {
            assert_eq!(again, early);
        }
        bob.near.must("call:media", json!({"callId": call, "audio": true})).await;
        assert_eq!(bob.once_by_rest("call:cancel", about(&call)).await, Err("forbidden".into()));
        alice.near.act("call:end", &call).await;
        assert_eq!(bob.once("call:accept", about(&call)).await, Err("already_ended".into()));
        let taken = json!({"callId": call, "calleeIds": ["carol"]});
        assert_eq!(bob.once("call:start", taken).await, Err("conflict".into()));
    }
}

/// `ok` that changes nothing is recorded as well.
#[tokio::test]
async fn a_success_that_changed_nothing_is_the_first_answer_too() {
    let cluster = TestCluster::two_nodes().start().await;
    let alice = Everywhere::of(&cluster, "alice", 0).await;
    let bob = Everywhere::of(&cluster, "bob", 1).await;
    let call = alice.near.call_through(&bob.near).await;
    let same = json!({"callId": call, "audio": false});
    assert_eq!(by_socket(&bob.near, "call:media", "as-it-is", &same).await, Ok(json!({})));
    bob.near.must("call:media", json!({"callId": call, "audio": true})).await;
    // Carried out now, it would change something.
    for again in bob.repeat("call:media", "as-it-is", &same).await {
        assert_eq!(again, Ok(json!({})));
    }
    let stands = bob.near.get(&call).await;
    assert_eq!(crate::support::moves::participant(&stands, "bob")["audio"], true, "{stands}");
    alice.near.act("call:end", &call).await;
}

#[tokio::test]
async fn what_was_unavailable_or_invalid_is_not_held_against_the_next_try() {
    let (database, server) = tokio::task::spawn_blocking(|| {
        let server = Arc::new(postgres::Instance::start());
        (Arc::new(server.create_database()), server)
    })
    .await
    .expect("start PostgreSQL");
    let cluster = TestCluster::two_nodes().on_database(database).start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let rest = cluster.rest(1, "alice");
    let start = json!({"calleeIds": ["bob"]});
    let invalid = json!({"calleeIds": ["alice"]});
    assert_eq!(by_socket(&alice, "call:start", "a-key", &invalid).await, Err("invalid".into()));
    let stopping = server.clone();
    tokio::task::spawn_blocking(move || stopping.stop_immediate()).await.expect("stop PostgreSQL");
    assert_eq!(by_socket(&alice, "call:start", "a-key", &start).await, Err("unavailable".into()));
    assert_eq!(by_rest(&rest, "call:start", "a-key", &start).await, Err("unavailable".into()));
    tokio::task::spawn_blocking(move || server.start_again()).await.expect("start PostgreSQL");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let first = loop {
        let answer = by_socket(&alice, "call:start", "a-key", &start).await;
        if answer != Err("unavailable".into()) || std::time::Instant::now() > deadline {
            break answer;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    };
    let call = id_of(first.as_ref().expect("it is begun at last"));
    bob.expect_of("call:incoming", &call).await;
    assert_eq!(by_rest(&rest, "call:start", "a-key", &start).await, first);
}
