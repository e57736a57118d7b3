//! A call that stands: signals, media flags, hanging up.

use std::time::Duration;

use serde_json::json;

use super::On;
use crate::support::{
    TestClient,
    moves::{assert_code, candidate, participant, sdp},
};

const QUIET: Duration = Duration::from_millis(300);

pub async fn a_call_connects_becomes_active_and_ends_for_both(on: On) {
    let cluster = on.cluster().start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let call = alice.call_through(&bob).await;
    for side in [&alice, &bob] {
        let seen = side.get(&call).await;
        assert_eq!(seen["status"], "active", "{seen}");
        assert!(seen["startedAt"].is_string(), "{seen}");
        for user in ["alice", "bob"] {
            assert_eq!(participant(&seen, user)["status"], "joined", "{seen}");
            assert_eq!(participant(&seen, user)["deviceId"], "phone", "{seen}");
        }
    }
    alice.act("call:end", &call).await;
    for side in [&alice, &bob] {
        let ended = side.expect_end(&call, "completed").await;
        assert_eq!((&ended["status"], &ended["by"]), (&json!("ended"), &json!("alice")), "{ended}");
        let last = side.history_of(&call).pop().expect("events of the call");
        assert_eq!(last.event, "call:ended", "the end is the last event");
    }
    let seen = bob.get(&call).await;
    assert_eq!((&seen["status"], &seen["endReason"]), (&json!("ended"), &json!("completed")), "{seen}");
    assert_eq!((&seen["endedBy"], &seen["peakParticipants"]), (&json!("alice"), &json!(2)), "{seen}");
}

pub async fn offer_answer_and_twenty_candidates_each_way_arrive_in_order(on: On) {
    let cluster = on.cluster().start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let call = alice.call_through(&bob).await;
    // Without waiting for replies: the order is the server's to keep, not the client's pace.
    let send = |from: &TestClient, to: &TestClient| {
        for n in 0..20 {
            let data = json!({"callId": call, "to": to.user, "type": "ice_candidate", "payload": candidate(n)});
            from.cast("call:signal", data);
        }
    };
    send(&alice, &bob);
    send(&bob, &alice);
    for (to, from) in [(&bob, &alice), (&alice, &bob)] {
        for n in 0..20 {
            let signal = to.expect("call:signal", |s| s["callId"] == *call && s["type"] == "ice_candidate").await;
            assert_eq!(signal["payload"], candidate(n), "the payload arrives as it was sent, in its turn");
            assert_eq!((&signal["from"], &signal["fromDevice"]), (&json!(from.user), &json!("phone")), "{signal}");
            // The offer or the answer was the first of the call to this side.
            assert_eq!(signal["sig"], n + 2, "{signal}");
        }
    }
}

pub async fn signals_go_to_the_device_they_are_directed_to(on: On) {
    let cluster = on.cluster().start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let idle = cluster.connect(0, "bob", "tablet").await;
    let call = alice.call_through(&bob).await;
    let to_device =
        json!({"callId": call, "to": "bob", "toDevice": "phone", "type": "renegotiate", "payload": sdp("offer")});
    alice.must("call:signal", to_device).await;
    bob.expect("call:signal", |s| s["type"] == "renegotiate").await;
    // Without an address: to all others in the call.
    alice.must("call:signal", json!({"callId": call, "type": "ice_candidate", "payload": candidate(1)})).await;
    bob.expect("call:signal", |s| s["type"] == "ice_candidate").await;
    alice.expect_none("call:signal", QUIET).await;
    idle.expect_none("call:signal", Duration::ZERO).await;
}

pub async fn the_callee_can_hang_up_too(on: On) {
    let cluster = on.cluster().start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let call = alice.call_through(&bob).await;
    bob.act("call:end", &call).await;
    for side in [&alice, &bob] {
        assert_eq!(side.expect_end(&call, "completed").await["by"], "bob");
    }
    // Leaving a call of two ends it as well.
    let call = alice.call_through(&bob).await;
    bob.act("call:leave", &call).await;
    alice.expect("call:participant_left", |e| e["callId"] == *call && e["userId"] == "bob").await;
    alice.expect_end(&call, "completed").await;
}

pub async fn a_change_of_microphone_camera_or_screen_is_seen_by_the_other(on: On) {
    let cluster = on.cluster().start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let call = alice.call_through(&bob).await;
    alice.must("call:media", json!({"callId": call, "audio": false, "screen": true})).await;
    let updated = bob.expect("call:participant_updated", |e| e["callId"] == *call && e["userId"] == "alice").await;
    assert_eq!(
        (&updated["changes"]["audio"], &updated["changes"]["screen"]),
        (&json!(false), &json!(true)),
        "{updated}"
    );
    let seen = bob.get(&call).await;
    let alice_seen = participant(&seen, "alice");
    assert_eq!((&alice_seen["audio"], &alice_seen["screen"]), (&json!(false), &json!(true)), "{seen}");
}

pub async fn an_ended_call_refuses_commands_and_is_still_there_to_look_at(on: On) {
    let cluster = on.cluster().start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let call = alice.call_through(&bob).await;
    alice.act("call:end", &call).await;
    bob.expect_end(&call, "completed").await;
    assert_code(&bob.refused("call:media", json!({"callId": call, "audio": true})).await, &["already_ended"]);
    let signal = json!({"callId": call, "to": "alice", "type": "offer", "payload": sdp("offer")});
    assert_code(&bob.refused("call:signal", signal).await, &["already_ended", "not_participant"]);
    assert_code(&bob.refused("call:join", json!({"callId": call})).await, &["already_ended"]);
    assert_eq!(bob.get(&call).await["status"], "ended");
    // Who connects now hears nothing of it any more.
    let later = cluster.connect(0, "bob", "laptop").await;
    assert_eq!(later.welcome["activeCalls"], json!([]), "{}", later.welcome);
}
