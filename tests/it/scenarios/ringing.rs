//! From `call:start` until somebody answers, or nobody does.

use std::time::Duration;

use futures_util::future::join;
use serde_json::{Value, json};

use super::On;
use crate::support::{
    TestClient,
    inbox::WireError,
    moves::{assert_code, id_of, participant},
};

/// Long enough to see what should not come; nothing legitimate is waited for with it.
const QUIET: Duration = Duration::from_millis(300);

pub async fn every_device_of_the_callee_rings_and_the_caller_hears_of_it(on: On) {
    let cluster = on.cluster().start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let devices = [
        cluster.connect(0, "bob", "phone").await,
        cluster.connect(1, "bob", "laptop").await,
        cluster.connect(1, "bob", "tablet").await,
    ];
    let reply = alice.must("call:start", json!({"calleeIds": ["bob"], "metadata": {"ticket": 7}})).await;
    assert_eq!(reply["media"]["mode"], "p2p", "{reply}");
    assert!(reply["media"]["iceServers"].is_array(), "{reply}");
    let call = &reply["call"];
    assert_eq!(
        (&call["status"], &call["type"], &call["initiatorId"], &call["isGroup"]),
        (&json!("ringing"), &json!("audio"), &json!("alice"), &json!(false)),
        "{call}"
    );
    assert_eq!(participant(call, "bob")["status"], "invited", "nobody alerts yet: {call}");
    for device in &devices {
        let incoming = device.expect_of("call:incoming", &id_of(&reply)).await;
        assert_eq!(incoming["from"]["userId"].as_str().or(incoming["from"].as_str()), Some("alice"), "{incoming}");
        assert_eq!(incoming["call"]["metadata"]["ticket"], 7, "{incoming}");
        assert!(incoming["ringDeadline"].is_string(), "{incoming}");
        device.act("call:ringing", &id_of(&reply)).await;
    }
    let all = |e: &Value| e["userId"] == "bob" && e["devices"].as_array().is_some_and(|devices| devices.len() == 3);
    alice.expect("call:ringing", all).await;
    let seen = alice.get(&id_of(&reply)).await;
    assert_eq!(participant(&seen, "bob")["status"], "ringing", "{seen}");
}

pub async fn a_device_that_connects_while_its_user_is_rung_rings_too(on: On) {
    let cluster = on.cluster().start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(0, "bob", "phone").await;
    let call = alice.start(&["bob"]).await;
    bob.expect_of("call:incoming", &call).await;
    let late = cluster.connect(1, "bob", "laptop").await;
    assert_eq!(late.welcome["activeCalls"][0]["callId"], *call, "{}", late.welcome);
    let incoming = late.expect_of("call:incoming", &call).await;
    assert!(incoming["ringDeadline"].is_string(), "{incoming}");
    late.act("call:accept", &call).await;
    bob.expect_of("call:accepted_elsewhere", &call).await;
    let accepted = alice.expect_of("call:accepted", &call).await;
    assert_eq!(accepted["deviceId"], "laptop", "{accepted}");
}

pub async fn with_nobody_there_the_call_is_missed_when_its_ring_runs_out(on: On) {
    let cluster = on.cluster().set("CARILLON_RING_TIMEOUT_SECS", 2).start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let call = alice.start(&["nobody"]).await;
    alice.expect("call:unreachable", |e| e["callId"] == *call && e["userId"] == "nobody").await;
    alice.expect("call:missed", |e| e["callId"] == *call && e["userId"] == "nobody").await;
    assert_eq!(alice.expect_end(&call, "unreachable").await["status"], "missed");
    let seen = alice.get(&call).await;
    assert_eq!(participant(&seen, "nobody")["status"], "missed", "{seen}");
}

pub async fn a_callee_who_does_not_answer_has_missed_the_call(on: On) {
    let cluster = on.cluster().set("CARILLON_RING_TIMEOUT_SECS", 2).start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let call = alice.start(&["bob"]).await;
    bob.expect_of("call:incoming", &call).await;
    for side in [&alice, &bob] {
        side.expect("call:missed", |e| e["callId"] == *call && e["userId"] == "bob").await;
        assert_eq!(side.expect_end(&call, "no_answer").await["status"], "missed");
    }
    let late = bob.try_act("call:accept", &call).await.expect_err("the call is over");
    assert_code(&late, &["already_ended"]);
}

pub async fn cancelling_stops_every_ringing_device(on: On) {
    let cluster = on.cluster().start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let devices = [cluster.connect(0, "bob", "phone").await, cluster.connect(1, "bob", "laptop").await];
    let call = alice.start(&["bob"]).await;
    for device in &devices {
        device.expect_of("call:incoming", &call).await;
    }
    alice.act("call:cancel", &call).await;
    for client in devices.iter().chain([&alice]) {
        let cancelled = client.expect_of("call:cancelled", &call).await;
        assert_eq!(cancelled["by"], "alice", "{cancelled}");
        assert_eq!(client.expect_end(&call, "cancelled").await["status"], "cancelled");
    }
    let late = devices[1].try_act("call:accept", &call).await.expect_err("the call is over");
    assert_code(&late, &["already_ended"]);
}

pub async fn a_cancel_that_races_an_accept_has_one_outcome_for_both_sides(on: On) {
    let cluster = on.cluster().start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let mut accepted = 0;
    for round in 0..30 {
        let call = alice.start(&["bob"]).await;
        bob.expect_of("call:incoming", &call).await;
        // Neither side is always first: the other one starts on its way a little later.
        let head_start = Duration::from_micros(300) * (round % 5);
        let (cancel_after, accept_after) = match round % 2 {
            0 => (Duration::ZERO, head_start),
            _ => (head_start, Duration::ZERO),
        };
        let (cancel, accept) = join(
            act_after(cancel_after, &alice, "call:cancel", &call),
            act_after(accept_after, &bob, "call:accept", &call),
        )
        .await;
        match (cancel, accept) {
            (Ok(_), Err(late)) => {
                assert_code(&late, &["already_ended"]);
                expect_cancelled([&alice, &bob], &call).await;
            }
            (Err(late), Ok(_)) => {
                assert_code(&late, &["wrong_state"]);
                accepted += 1;
                alice.expect_of("call:accepted", &call).await;
                alice.act("call:end", &call).await;
                for side in [&alice, &bob] {
                    let ended = side.expect_of("call:ended", &call).await;
                    assert_ne!(ended["reason"], "cancelled", "{ended}");
                }
            }
            both => panic!("cancel and accept cannot both be so: {both:?}"),
        }
    }
    println!("{accepted} of 30 races were won by the accept");
}

async fn act_after(delay: Duration, client: &TestClient, command: &str, call: &str) -> Result<Value, WireError> {
    tokio::time::sleep(delay).await;
    client.try_act(command, call).await
}

async fn expect_cancelled(sides: [&TestClient; 2], call: &str) {
    for side in sides {
        side.expect_of("call:cancelled", call).await;
        side.expect_end(call, "cancelled").await;
        assert!(side.history_of(call).iter().all(|e| e.event != "call:accepted"), "{} saw an accept", side.user);
    }
}

pub async fn starting_again_with_the_same_id_answers_with_the_same_call(on: On) {
    let cluster = on.cluster().start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let start = json!({"callId": "order-66.retry_1", "calleeIds": ["bob"], "type": "audio"});
    let first = alice.must("call:start", start.clone()).await;
    let again = alice.must("call:start", start.clone()).await;
    assert_eq!(first["call"]["callId"], "order-66.retry_1", "{first}");
    assert_eq!(again["call"]["createdAt"], first["call"]["createdAt"], "{again}");
    bob.expect_of("call:incoming", "order-66.retry_1").await;
    bob.expect_none("call:incoming", QUIET).await;
    // The id is taken: another user does not get somebody else's call by it.
    let mallory = cluster.connect(1, "mallory", "phone").await;
    let stolen = mallory.refused("call:start", start).await;
    assert_code(&stolen, &["conflict", "not_found"]);
}

pub async fn a_callee_in_a_call_is_busy_and_does_not_ring(on: On) {
    let cluster = on.cluster().start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let carol = cluster.connect(0, "carol", "phone").await;
    let talk = alice.call_through(&bob).await;
    let call = carol.start(&["bob"]).await;
    carol.expect("call:busy", |e| e["callId"] == *call && e["userId"] == "bob").await;
    assert_eq!(carol.expect_end(&call, "busy").await["status"], "busy");
    bob.expect_none("call:incoming", QUIET).await;
    assert_eq!(bob.get(&talk).await["status"], "active");
    alice.act("call:end", &talk).await;
    bob.expect_end(&talk, "completed").await;
    let free_again = carol.start(&["bob"]).await;
    bob.expect_of("call:incoming", &free_again).await;
}

pub async fn with_call_waiting_a_second_call_rings_during_the_first(on: On) {
    let cluster = on.cluster().set("CARILLON_BUSY_POLICY", "call_waiting").start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let carol = cluster.connect(0, "carol", "phone").await;
    let talk = alice.call_through(&bob).await;
    let second = carol.start(&["bob"]).await;
    bob.expect_of("call:incoming", &second).await;
    // The callee's client may say so itself.
    bob.act("call:busy", &second).await;
    carol.expect("call:busy", |e| e["callId"] == *second && e["userId"] == "bob").await;
    carol.expect_end(&second, "busy").await;
    assert_eq!(alice.get(&talk).await["status"], "active");
}
