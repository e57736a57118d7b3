//! Commands without a key may be repeated too, where that can be told: they settle to the same end.

use serde_json::{Value, json};

use crate::{
    scenarios::On,
    support::{TestClient, TestCluster},
};

/// Sends a command twice, then a third time after the device has come back on the other node; the call is as it was
/// after the first.
async fn three_times(cluster: &TestCluster, client: TestClient, number: usize, event: &str, data: Value) -> TestClient {
    let call = data["callId"].as_str().expect("a call").to_owned();
    client.must(event, data.clone()).await;
    let seq = client.get(&call).await["seq"].clone();
    client.must(event, data.clone()).await;
    assert_eq!(client.get(&call).await["seq"], seq, "{event} again changes nothing");
    let client = client.resume(cluster.node(number)).await;
    let before = client.get(&call).await["seq"].clone();
    client.must(event, data).await;
    assert_eq!(client.get(&call).await["seq"], before, "{event} on another node changes nothing");
    client
}

async fn people(cluster: &TestCluster) -> (TestClient, TestClient) {
    (cluster.connect(0, "alice", "phone").await, cluster.connect(1, "bob", "phone").await)
}

async fn in_a_call(on: On) {
    let cluster = on.cluster().start().await;
    let (alice, bob) = people(&cluster).await;
    // There to be rung: else the call soon hears that nobody is.
    let _invited = [cluster.connect(0, "carol", "phone").await, cluster.connect(1, "dave", "phone").await];
    let start = json!({"callId": "the-call", "calleeIds": ["bob"]});
    let alice = three_times(&cluster, alice, 1, "call:start", start).await;
    let call = "the-call";
    bob.expect_of("call:incoming", call).await;
    let about = json!({"callId": call});
    let bob = three_times(&cluster, bob, 0, "call:ringing", about.clone()).await;
    let bob = three_times(&cluster, bob, 1, "call:accept", about.clone()).await;
    let alice = three_times(&cluster, alice, 0, "call:media", json!({"callId": call, "audio": true})).await;
    let invite = json!({"callId": call, "userIds": ["carol", "dave"]});
    let alice = three_times(&cluster, alice, 1, "call:invite", invite).await;
    let bob = three_times(&cluster, bob, 0, "call:leave", about.clone()).await;
    let alice = three_times(&cluster, alice, 0, "call:end", about).await;
    for side in [&alice, &bob] {
        assert_eq!(side.get(call).await["endReason"], "completed");
    }
}

async fn not_taken(on: On) {
    let cluster = on.cluster().start().await;
    let (mut alice, mut bob) = people(&cluster).await;
    for (number, command) in ["call:decline", "call:busy", "call:cancel"].into_iter().enumerate() {
        let call = alice.start(&["bob"]).await;
        bob.expect_of("call:incoming", &call).await;
        let about = json!({"callId": call});
        if command == "call:cancel" {
            alice = three_times(&cluster, alice, number, command, about).await;
        } else {
            bob = three_times(&cluster, bob, number, command, about).await;
        }
        for side in [&alice, &bob] {
            assert!(side.get(&call).await["endReason"].is_string());
        }
    }
}

async fn in_a_group(on: On) {
    let cluster = on.cluster().start().await;
    cluster.group("team", &["alice", "bob"]).await;
    let (alice, bob) = people(&cluster).await;
    let start = json!({"callId": "the-call", "groupId": "team", "ring": false});
    let alice = three_times(&cluster, alice, 1, "call:start", start).await;
    let about = json!({"callId": "the-call"});
    let bob = three_times(&cluster, bob, 0, "call:join", about.clone()).await;
    let bob = three_times(&cluster, bob, 1, "call:leave", about.clone()).await;
    three_times(&cluster, alice, 0, "call:leave", about).await;
    drop(bob);
}

#[tokio::test]
async fn commands_of_a_call_may_be_repeated_on_any_node() {
    in_a_call(On::Embedded).await;
    in_a_call(On::TwoNodes).await;
}

#[tokio::test]
async fn a_call_may_be_refused_or_cancelled_again_on_any_node() {
    not_taken(On::Embedded).await;
    not_taken(On::TwoNodes).await;
}

#[tokio::test]
async fn a_group_call_may_be_begun_joined_and_left_again_on_any_node() {
    in_a_group(On::Embedded).await;
    in_a_group(On::TwoNodes).await;
}
