//! What is told, to whom, in which order.

use serde_json::{Value, json};

use super::{Reply, hook, receiver::Receiver, telling};
use crate::support::{TestCluster, client::Connect};

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_told_from_its_start_to_its_end_in_order_and_signed() {
    for builder in [TestCluster::embedded(), TestCluster::two_nodes()] {
        let (cluster, receiver) = (telling(builder).start().await, Receiver::start().await);
        let hook = hook(&cluster, &receiver, &[]).await;
        let alice = cluster.connect(0, "alice", "phone").await;
        let bob = cluster.connect(1, "bob", "phone").await;
        let call = alice.call_through(&bob).await;
        alice.act("call:end", &call).await;
        let ended = receiver.expect_of("call.ended", &call).await;
        assert_eq!((&ended.data()["reason"], &ended.data()["by"]), (&json!("completed"), &json!("alice")));
        assert_eq!(ended.data()["participants"][1], json!({"userId": "bob", "status": "left"}));

        let all = receiver.of(&call);
        let mut kinds = receiver.kinds_of(&call);
        kinds.dedup();
        assert_eq!(kinds, ["call.started", "call.ringing", "call.accepted", "call.connected", "call.ended"]);
        let seqs: Vec<u64> = all.iter().map(|received| received.data()["seq"].as_u64().unwrap()).collect();
        assert!(seqs.is_sorted(), "{seqs:?}");
        let ring = &all[1];
        assert_eq!((&ring.data()["userId"], &ring.data()["online"]), (&json!("bob"), &json!(true)));
        for received in &all {
            assert!(received.is_signed_by(&hook.secret), "{received:?}");
            assert_eq!(
                (received.path.as_str(), received.headers["content-type"].as_str()),
                ("/hook", "application/json")
            );
            assert!(!received.body.to_string().contains("canary"), "no SDP, no candidate: {received:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ring_of_somebody_offline_says_who_calls_whom_and_until_when() {
    for builder in [TestCluster::embedded(), TestCluster::two_nodes()] {
        let (cluster, receiver) = (telling(builder).start().await, Receiver::start().await);
        hook(&cluster, &receiver, &["call.ringing"]).await;
        let claims = json!({"sub": "alice", "name": "Alice Ä.", "exp": 4_000_000_000_u64});
        let token = cluster.realm().token_with(&claims);
        let alice = Connect::to(cluster.node(1), "alice", "phone").token(&token).go().await.unwrap();
        let call = alice.start(&["bob"]).await;
        let ring = receiver.expect_of("call.ringing", &call).await;
        let data = ring.data();
        assert_eq!(data["online"], json!(false), "{data}");
        assert_eq!(data["from"], json!({"userId": "alice", "name": "Alice Ä."}));
        assert_eq!((&data["userId"], &data["type"]), (&json!("bob"), &json!("video")));
        let deadline = alice.get(&call).await["ringDeadline"].clone();
        assert!(deadline.is_string() && data["ringDeadline"] == deadline, "{data}");
        // By REST too.
        let rest = crate::support::rest::RestUser::new(cluster.http(0), token);
        let other = crate::support::moves::id_of(&rest.must("call:start", json!({"calleeIds": ["carol"]})).await);
        assert_eq!(receiver.expect_of("call.ringing", &other).await.data()["from"]["name"], json!("Alice Ä."));
        assert_eq!(receiver.all().len(), 2, "nothing but what was asked for");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_rung_at_once_is_told_of_beside_each_other() {
    let (open, gate) = tokio::sync::watch::channel(false);
    // No ring is answered before all have come: one after the other, they never would.
    let receiver = Receiver::answering(move |received| {
        let gate = (received.kind() == "call.ringing").then(|| gate.clone());
        Reply { gate, ..Reply::of(200) }
    })
    .await;
    let cluster = telling(TestCluster::embedded()).start().await;
    hook(&cluster, &receiver, &[]).await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let call = alice.start(&["bob", "carol", "dave"]).await;
    receiver.expect("third ring", |_| receiver.kinds_of(&call).len() == 4).await;
    open.send_replace(true);
    alice.act("call:cancel", &call).await;
    let cancelled = receiver.expect_of("call.cancelled", &call).await;
    assert_eq!(cancelled.data()["userIds"], json!(["bob", "carol", "dave"]));
    receiver.expect_of("call.ended", &call).await;
    assert_eq!(receiver.kinds_of(&call)[0], "call.started");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_webhook_nothing_is_written_and_a_webhook_that_is_off_is_told_nothing() {
    let cluster = telling(TestCluster::of(1)).start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(0, "bob", "phone").await;
    let talk = async || {
        let call = alice.call_through(&bob).await;
        alice.act("call:end", &call).await;
        bob.expect_end(&call, "completed").await;
        call
    };
    talk().await;
    let rows = || cluster.database().unwrap().sql("SELECT count(*) FROM webhook_deliveries")[0][0].clone().unwrap();
    assert_eq!(rows(), "0");
    let receiver = Receiver::start().await;
    let hook = hook(&cluster, &receiver, &["call.ended"]).await;
    let path = format!("/api/v1/webhooks/{}", hook.id);
    let off = cluster.http(0).service("PATCH", &path, Some(json!({"enabled": false}))).await;
    assert_eq!((off.status, &off.body["enabled"]), (200, &json!(false)));
    let unheard = talk().await;
    assert_eq!(rows(), "0");
    assert!(cluster.http(0).service("PATCH", &path, Some(json!({"enabled": true}))).await.ok());
    let heard = talk().await;
    receiver.expect_of("call.ended", &heard).await;
    assert!(receiver.of(&unheard).is_empty() && rows() == "1");
    // And one that is gone.
    assert_eq!(cluster.http(0).service("DELETE", &path, None).await.status, 204);
    talk().await;
    assert_eq!(rows(), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_send_each_delivery_once_and_never_at_once() {
    let receiver = Receiver::answering(|_| Reply::of(200).after(std::time::Duration::from_millis(30))).await;
    let cluster = telling(TestCluster::two_nodes()).start().await;
    hook(&cluster, &receiver, &["call.started", "call.cancelled", "call.ended"]).await;
    let (alice, carol) = (cluster.connect(0, "alice", "phone").await, cluster.connect(1, "carol", "phone").await);
    let mut calls = Vec::new();
    for round in 0..15 {
        for (client, callee) in [(&alice, format!("bob-{round}")), (&carol, format!("dave-{round}"))] {
            let call = client.start(&[&callee]).await;
            client.act("call:cancel", &call).await;
            calls.push(call);
        }
    }
    for call in &calls {
        receiver.expect_of("call.ended", call).await;
        assert_eq!(receiver.kinds_of(call), ["call.started", "call.cancelled", "call.ended"]);
    }
    let all = receiver.all();
    assert!(all.iter().all(|received| !received.overlaps));
    let mut ids: Vec<&str> = all.iter().map(|received| received.id()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((ids.len(), all.len()), (90, 90));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_call_says_who_comes_and_goes_and_who_is_not_there() {
    let (cluster, receiver) = (telling(TestCluster::embedded()).start().await, Receiver::start().await);
    hook(&cluster, &receiver, &["*"]).await;
    cluster.group("team", &["alice", "bob", "carol"]).await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(0, "bob", "phone").await;
    let call = crate::support::moves::id_of(&alice.start_group("team", false).await);
    bob.act("call:join", &call).await;
    bob.act("call:leave", &call).await;
    alice.must("call:invite", json!({"callId": call, "userIds": ["carol"]})).await;
    let ring = receiver.expect_of("call.ringing", &call).await;
    assert_eq!((&ring.data()["userId"], &ring.data()["online"]), (&json!("carol"), &json!(false)));
    alice.act("call:end", &call).await;
    receiver.expect_of("call.ended", &call).await;
    let told = receiver.of(&call);
    let of = |kind: &str| told.iter().find(|received| received.kind() == kind).map(|found| found.data().clone());
    assert_eq!(of("call.participant_joined").unwrap()["userId"], json!("bob"));
    let left = of("call.participant_left").unwrap();
    assert_eq!((&left["userId"], &left["reason"]), (&json!("bob"), &json!("completed")));
    assert!(told.iter().all(|received| received.data()["groupId"] == "team"), "{told:?}");
    let status = |user: &str| {
        let people = of("call.ended").unwrap()["participants"].as_array().unwrap().clone();
        people.into_iter().find(|p| p["userId"] == user).map_or(Value::Null, |p| p["status"].clone())
    };
    assert_eq!(status("carol"), json!("missed"));
}
