//! A handler that panics kills its actor, and nothing else: whoever holds the address notices, and the call goes on from
//! the store. Needs the feature `failpoints`.

#![cfg(feature = "failpoints")]

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    TestClient, TestCluster,
    inbox::WireError,
    moves::{candidate, id_of},
};

/// Tries a command again while it is refused as retryable: what a client does.
async fn persist(client: &TestClient, command: &str, data: Value) -> Result<Value, WireError> {
    let mut tries = 0;
    loop {
        match client.call(command, data.clone()).await {
            Err(error) if error.retryable && tries < 50 => tokio::time::sleep(Duration::from_millis(100)).await,
            outcome => return outcome,
        }
        tries += 1;
    }
}

async fn must_persist(client: &TestClient, command: &str, data: Value) -> Value {
    match persist(client, command, data).await {
        Ok(reply) => reply,
        Err(error) => panic!("{command} is never done: {error:?}"),
    }
}

/// A whole call during which the fail point panics once, after it has been passed `passes` times.
async fn a_call_with_a_panic(point: &str, passes: usize, two_nodes: bool) {
    let builder = if two_nodes { TestCluster::two_nodes() } else { TestCluster::embedded() };
    let mut cluster = builder.set("FAILPOINTS", format!("{point}={passes}*off->1*panic->off")).start().await;
    for number in 0..cluster.size() {
        cluster.node_mut(number).expect_panics();
    }
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let about = |call: &str| json!({"callId": call});
    let start = json!({"callId": "the-call", "calleeIds": ["bob"], "type": "video"});
    let call = id_of(&must_persist(&alice, "call:start", start).await);
    bob.expect_of("call:incoming", &call).await;
    must_persist(&bob, "call:ringing", about(&call)).await;
    must_persist(&bob, "call:accept", about(&call)).await;
    alice.expect_of("call:accepted", &call).await;
    for audio in [true, false, true] {
        must_persist(&alice, "call:media", json!({"callId": call, "audio": audio, "screen": audio})).await;
    }
    let signal = json!({"callId": call, "to": "bob", "type": "ice_candidate", "payload": candidate(1)});
    must_persist(&alice, "call:signal", signal).await;
    bob.expect("call:signal", |s| s["type"] == "ice_candidate").await;
    must_persist(&bob, "call:end", about(&call)).await;
    for side in [&alice, &bob] {
        side.expect_end(&call, "completed").await;
        let accepts = side.history_of(&call).iter().filter(|e| e.event == "call:accepted").count();
        assert_eq!(accepts, 1, "a command that was tried again has one effect");
    }
    let panicked = (0..cluster.size()).any(|n| cluster.node(n).has_panicked());
    assert!(panicked, "{point} was not reached {} times: this test has tested nothing", passes + 1);
}

#[tokio::test]
async fn a_call_survives_a_panic_of_its_actor_at_any_command() {
    for passes in 0..4 {
        a_call_with_a_panic("call-perform", passes, false).await;
    }
}

#[tokio::test]
async fn a_call_survives_a_panic_of_its_actor_at_any_message() {
    for passes in 0..4 {
        a_call_with_a_panic("call-handle", passes, false).await;
    }
}

#[tokio::test]
async fn a_call_between_two_nodes_survives_a_panic_of_its_actor() {
    a_call_with_a_panic("call-perform", 1, true).await;
    a_call_with_a_panic("call-handle", 2, true).await;
}
