//! A dropped connection is not a hang-up.

use std::time::Duration;

use serde_json::{Value, json};

use super::On;
use crate::support::{
    TestClient,
    moves::{candidate, participant, sdp},
};

/// Waits until a call, as the server sees it, is so.
async fn until(client: &TestClient, call: &str, is: impl Fn(&Value) -> bool) -> Value {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    loop {
        let seen = client.get(call).await;
        if is(&seen) {
            return seen;
        }
        assert!(tokio::time::Instant::now() < deadline, "the call stays {seen}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub async fn who_drops_comes_back_on_another_node_with_what_was_missed_in_order_and_once(on: On) {
    let cluster = on.cluster().start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let mut bob = cluster.connect(1, "bob", "phone").await;
    let call = alice.call_through(&bob).await;
    alice.must("call:media", json!({"callId": call, "audio": false, "video": true})).await;
    bob.expect("call:participant_updated", |e| e["callId"] == *call && e["userId"] == "alice").await;
    bob.drop_connection().await;
    alice.expect("call:participant_reconnecting", |e| e["callId"] == *call && e["userId"] == "bob").await;
    let missed = [true, false, true, false, true, false, true, false];
    for audio in missed {
        alice.must("call:media", json!({"callId": call, "audio": audio, "video": !audio})).await;
    }
    let bob = bob.resume(cluster.node(0)).await;
    assert_eq!(bob.welcome["activeCalls"][0]["callId"], *call, "{}", bob.welcome);
    let seen = until(&alice, &call, |c| participant(c, "bob")["status"] == "joined").await;
    assert_eq!(seen["status"], "active", "{seen}");
    // One more, live: whatever was missed has come before it.
    alice.must("call:media", json!({"callId": call, "screen": true})).await;
    bob.expect("call:participant_updated", |e| e["changes"]["screen"] == true).await;
    let updates = bob.history_of(&call).into_iter().filter(|e| e.event == "call:participant_updated");
    let of_alice = updates.filter(|e| e.data["userId"] == "alice" && e.data["changes"]["screen"] != true);
    let heard: Vec<Value> = of_alice.map(|e| e.data["changes"]["audio"].clone()).collect();
    assert_eq!(heard, missed.map(Value::Bool), "exactly what was missed");
    bob.act("call:end", &call).await;
    alice.expect_end(&call, "completed").await;
}

pub async fn signals_sent_meanwhile_are_replayed_in_order(on: On) {
    let cluster = on.cluster().start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let mut bob = cluster.connect(1, "bob", "phone").await;
    let call = alice.call_through(&bob).await;
    bob.drop_connection().await;
    alice.expect_of("call:participant_reconnecting", &call).await;
    for n in 0..5 {
        alice.signal(&call, "bob", "ice_candidate", candidate(n)).await;
    }
    let bob = bob.resume(cluster.node(0)).await;
    for n in 0..5 {
        let signal = bob.expect_of("call:signal", &call).await;
        assert_eq!(signal["payload"], candidate(n), "in order, without a hole");
    }
    bob.expect_none("call:signal", Duration::from_millis(300)).await;
}

pub async fn who_does_not_come_back_in_time_has_lost_the_connection(on: On) {
    let cluster = on.cluster().set("CARILLON_RECONNECT_GRACE_SECS", 1).start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let mut bob = cluster.connect(1, "bob", "phone").await;
    let call = alice.call_through(&bob).await;
    bob.drop_connection().await;
    alice.expect("call:participant_reconnecting", |e| e["callId"] == *call && e["userId"] == "bob").await;
    let left = alice.expect("call:participant_left", |e| e["callId"] == *call && e["userId"] == "bob").await;
    assert_eq!(left["reason"], "connection_lost", "{left}");
    alice.expect_end(&call, "connection_lost").await;
    // Who comes back later learns what became of it.
    let bob = bob.resume(cluster.node(0)).await;
    bob.expect_end(&call, "connection_lost").await;
    assert_eq!(bob.welcome["activeCalls"], json!([]), "{}", bob.welcome);
}

pub async fn a_callee_who_drops_while_ringing_comes_back_ringing(on: On) {
    let cluster = on.cluster().start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let mut bob = cluster.connect(1, "bob", "phone").await;
    let call = alice.start(&["bob"]).await;
    bob.expect_of("call:incoming", &call).await;
    bob.drop_connection().await;
    let bob = bob.resume(cluster.node(0)).await;
    assert_eq!(bob.welcome["activeCalls"][0]["status"], "ringing", "{}", bob.welcome);
    bob.act("call:accept", &call).await;
    alice.expect_of("call:accepted", &call).await;
    alice.negotiate(&bob, &call).await;
}

pub async fn a_call_moves_to_another_device_of_its_user(on: On) {
    let cluster = on.cluster().start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let phone = cluster.connect(1, "bob", "phone").await;
    let call = alice.call_through(&phone).await;
    let laptop = cluster.connect(0, "bob", "laptop").await;
    let joined = laptop.act("call:join", &call).await;
    assert_eq!(participant(&joined["call"], "bob")["deviceId"], "laptop", "{joined}");
    // The old device hears that it is out, the other side that the device is another, and the call goes on.
    phone.expect("call:accepted_elsewhere", |e| e["callId"] == *call && e["deviceId"] == "laptop").await;
    alice.signal(&call, "bob", "offer", sdp("offer")).await;
    laptop.expect("call:signal", |s| s["callId"] == *call && s["type"] == "offer").await;
    drop(phone);
    assert_eq!(alice.get(&call).await["status"], "active");
}
