//! Who answered: settled once, for the whole cluster.

use futures_util::future::join;
use serde_json::{Value, json};

use super::On;
use crate::support::{
    TestClient,
    moves::{assert_code, id_of, participant, sdp},
};

pub async fn the_first_accept_wins_and_the_other_devices_hear_accepted_elsewhere(on: On) {
    let cluster = on.cluster().start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let phone = cluster.connect(0, "bob", "phone").await;
    let laptop = cluster.connect(1, "bob", "laptop").await;
    let tablet = cluster.connect(1, "bob", "tablet").await;
    let call = alice.start(&["bob"]).await;
    for device in [&phone, &laptop, &tablet] {
        device.expect_of("call:incoming", &call).await;
    }
    let won = laptop.act("call:accept", &call).await;
    assert_eq!(won["call"]["status"], "connecting", "{won}");
    assert_eq!(participant(&won["call"], "bob")["deviceId"], "laptop", "{won}");
    assert_eq!(won["media"]["mode"], "p2p", "{won}");
    for side in [&alice, &laptop] {
        let accepted = side.expect_of("call:accepted", &call).await;
        assert_eq!((&accepted["userId"], &accepted["deviceId"]), (&json!("bob"), &json!("laptop")), "{accepted}");
    }
    for other in [&phone, &tablet] {
        let elsewhere = other.expect_of("call:accepted_elsewhere", &call).await;
        assert_eq!(elsewhere["deviceId"], "laptop", "{elsewhere}");
        let late = other.try_act("call:accept", &call).await.expect_err("another device has won");
        assert_code(&late, &["accepted_elsewhere"]);
    }
    alice.act("call:end", &call).await;
    laptop.expect_of("call:ended", &call).await;
}

pub async fn of_two_accepts_at_once_exactly_one_wins(on: On) {
    let cluster = on.cluster().start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let devices = [cluster.connect(0, "bob", "phone").await, cluster.connect(1, "bob", "laptop").await];
    for _ in 0..10 {
        double_accept(&alice, &devices).await;
    }
}

/// One call that both devices accept at the same moment; which one won.
pub async fn double_accept(caller: &TestClient, devices: &[TestClient; 2]) -> usize {
    let call = caller.start(&[&devices[0].user]).await;
    join(devices[0].expect_of("call:incoming", &call), devices[1].expect_of("call:incoming", &call)).await;
    let (first, second) =
        join(devices[0].try_act("call:accept", &call), devices[1].try_act("call:accept", &call)).await;
    let winner = match (first, second) {
        (Ok(_), Err(lost)) => {
            assert_code(&lost, &["accepted_elsewhere"]);
            0
        }
        (Err(lost), Ok(_)) => {
            assert_code(&lost, &["accepted_elsewhere"]);
            1
        }
        both => panic!("one accept wins and the other hears so: {both:?}"),
    };
    let accepted = caller.expect_of("call:accepted", &call).await;
    assert_eq!(accepted["deviceId"], *devices[winner].device, "{accepted}");
    let elsewhere = devices[1 - winner].expect_of("call:accepted_elsewhere", &call).await;
    assert_eq!(elsewhere["deviceId"], *devices[winner].device, "{elsewhere}");
    caller.act("call:end", &call).await;
    join(caller.expect_of("call:ended", &call), devices[winner].expect_of("call:ended", &call)).await;
    let wins = caller.history_of(&call).iter().filter(|e| e.event == "call:accepted").count();
    assert_eq!(wins, 1, "the caller hears of one winner");
    winner
}

pub async fn declining_on_one_device_stops_the_others_and_tells_the_caller_why(on: On) {
    let cluster = on.cluster().start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let phone = cluster.connect(0, "bob", "phone").await;
    let laptop = cluster.connect(1, "bob", "laptop").await;
    let call = alice.start(&["bob"]).await;
    for device in [&phone, &laptop] {
        device.expect_of("call:incoming", &call).await;
    }
    laptop.must("call:decline", json!({"callId": call, "reason": "in a meeting"})).await;
    phone.expect_of("call:declined_elsewhere", &call).await;
    let declined = alice.expect_of("call:declined", &call).await;
    assert_eq!((&declined["userId"], &declined["reason"]), (&json!("bob"), &json!("in a meeting")), "{declined}");
    for client in [&alice, &phone, &laptop] {
        assert_eq!(client.expect_end(&call, "declined").await["status"], "declined");
    }
    let late = phone.try_act("call:accept", &call).await.expect_err("the call is over");
    assert_code(&late, &["already_ended"]);
}

pub async fn two_who_call_each_other_at_the_same_moment_are_in_one_call(on: On) {
    let cluster = on.cluster().start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    for _ in 0..5 {
        glare(&alice, &bob).await;
    }
}

/// Both call each other at the same moment; both are then in the same call, which is hung up again.
pub async fn glare(a: &TestClient, b: &TestClient) {
    let start = |callee: &TestClient| json!({"calleeIds": [callee.user], "type": "audio"});
    let (to_a, to_b) = join(a.must("call:start", start(b)), b.must("call:start", start(a))).await;
    let call = id_of(&to_a);
    assert_eq!(id_of(&to_b), call, "both starts answer with one call");
    assert_eq!(to_a["call"]["initiatorId"], to_b["call"]["initiatorId"]);
    // The side whose start came first hears that the other has, in effect, accepted.
    let first = if to_a["call"]["initiatorId"] == *a.user { a } else { b };
    first.expect_of("call:accepted", &call).await;
    let seen = a.get(&call).await;
    assert_eq!(seen["status"], "connecting", "{seen}");
    assert_eq!(seen["participants"].as_array().map(Vec::len), Some(2), "{seen}");
    b.act("call:end", &call).await;
    join(a.expect_of("call:ended", &call), b.expect_of("call:ended", &call)).await;
}

pub async fn every_command_may_be_repeated(on: On) {
    let cluster = on.cluster().start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let call = alice.start(&["bob"]).await;
    bob.expect_of("call:incoming", &call).await;
    repeat(&bob, "call:ringing", &call).await;
    repeat(&bob, "call:accept", &call).await;
    repeat(&alice, "call:end", &call).await;
    bob.expect_of("call:ended", &call).await;

    let call = alice.start(&["bob"]).await;
    bob.expect_of("call:incoming", &call).await;
    repeat(&bob, "call:decline", &call).await;
    alice.expect_end(&call, "declined").await;

    let call = alice.start(&["bob"]).await;
    bob.expect_of("call:incoming", &call).await;
    repeat(&alice, "call:cancel", &call).await;
    bob.expect_end(&call, "cancelled").await;

    let call = alice.call_through(&bob).await;
    repeat(&bob, "call:leave", &call).await;
    alice.expect_of("call:ended", &call).await;
    for event in ["call:accepted", "call:declined", "call:cancelled", "call:participant_left", "call:ended"] {
        for e in alice.history().iter().filter(|e| e.event == event) {
            let id = e.data["callId"].as_str().unwrap();
            let count = alice.history_of(id).iter().filter(|o| o.event == event).count();
            assert_eq!(count, 1, "a repeated command has no second effect: {event} of {id}");
        }
    }
}

async fn repeat(client: &TestClient, command: &str, call: &str) {
    client.act(command, call).await;
    client.act(command, call).await;
}

pub async fn an_offer_with_the_start_and_an_answer_with_the_accept_connect_the_call(on: On) {
    let cluster = on.cluster().start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let start = json!({"calleeIds": ["bob"], "type": "video", "offer": sdp("offer")});
    let call = id_of(&alice.must("call:start", start).await);
    let incoming = bob.expect_of("call:incoming", &call).await;
    assert_eq!(incoming["offer"], sdp("offer"), "the offer arrives as it was sent");
    bob.must("call:accept", json!({"callId": call, "answer": sdp("answer")})).await;
    let accepted = alice.expect_of("call:accepted", &call).await;
    assert_eq!(accepted["answer"], sdp("answer"), "the answer arrives as it was sent");
    for side in [&alice, &bob] {
        let state: Value = side.expect("call:state", |s| s["callId"] == *call && s["status"] == "active").await;
        assert!(state["seq"].is_u64(), "{state}");
    }
}
