//! Coming back: exactly what was missed, or a whole snapshot, never a part without saying so.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Connect, TestClient, TestCluster, client::PATIENCE, inbox::Received, moves::candidate};

/// What tells that everything missed has been sent: a change made after the hello, heard live.
async fn marker(from: &TestClient, to: &TestClient, call: &str) {
    from.must("call:media", json!({"callId": call, "screen": true})).await;
    to.expect("call:participant_updated", |e| e["callId"] == call && e["changes"]["screen"] == true).await;
}

fn state_events(client: &TestClient, call: &str) -> Vec<Received> {
    client.history_of(call).into_iter().filter(|e| e.data["seq"].is_u64()).collect()
}

fn snapshot(events: &[Received]) -> Option<&Received> {
    events.iter().find(|e| e.event == "call:state" && e.data["snapshot"] == true)
}

#[tokio::test]
async fn who_comes_back_on_the_other_node_hears_every_missed_event_in_order_exactly_once() {
    let cluster = TestCluster::two_nodes().start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let witness = cluster.connect(1, "alice", "tablet").await;
    let mut bob = cluster.connect(1, "bob", "phone").await;
    let call = alice.call_through(&bob).await;
    for round in 0..3 {
        alice.must("call:media", json!({"callId": call, "audio": false, "screen": false})).await;
        bob.drop_connection().await;
        alice.expect_of("call:participant_reconnecting", &call).await;
        for n in 0..6 {
            alice.must("call:media", json!({"callId": call, "audio": n % 2 == 0})).await;
            alice.signal(&call, "bob", "ice_candidate", candidate(n)).await;
        }
        // To and fro between the nodes. That nothing came twice and nothing is missing, the client asserts itself.
        bob = bob.resume(cluster.node(round)).await;
        marker(&alice, &bob, &call).await;
        for n in 0..6 {
            let signal = bob.expect_of("call:signal", &call).await;
            assert_eq!(signal["payload"], candidate(n), "{signal}");
        }
        let events = state_events(&bob, &call);
        assert!(snapshot(&events).is_none(), "a few events are shorter than a snapshot: {events:?}");
        assert!(events.iter().filter(|e| e.event == "call:participant_updated").count() >= 6, "{events:?}");
    }
    drop(witness);
}

#[tokio::test]
async fn the_end_of_a_call_is_heard_by_who_was_away() {
    let cluster = TestCluster::two_nodes().start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let mut bob = cluster.connect(1, "bob", "phone").await;
    let call = alice.call_through(&bob).await;
    bob.drop_connection().await;
    alice.expect_of("call:participant_reconnecting", &call).await;
    alice.act("call:end", &call).await;
    let bob = bob.resume(cluster.node(0)).await;
    bob.expect_end(&call, "completed").await;
    assert_eq!(bob.welcome["activeCalls"], json!([]), "{}", bob.welcome);
    bob.expect_none("call:ended", Duration::from_millis(300)).await;
}

#[tokio::test]
async fn after_a_very_long_absence_everything_comes_or_one_snapshot_that_says_so() {
    let cluster = TestCluster::two_nodes().start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let mut bob = cluster.connect(1, "bob", "phone").await;
    let call = alice.call_through(&bob).await;
    bob.drop_connection().await;
    alice.expect_of("call:participant_reconnecting", &call).await;
    let changes = 400;
    for n in 0..changes {
        alice.must("call:media", json!({"callId": call, "audio": n % 2 == 0, "video": n % 2 == 1})).await;
    }
    let bob = bob.resume(cluster.node(0)).await;
    marker(&alice, &bob, &call).await;
    let events = state_events(&bob, &call);
    match snapshot(&events) {
        Some(whole) => {
            assert_eq!(whole.data["call"]["callId"], *call, "{whole:?}");
            assert!(whole.data["seq"].as_u64() > Some(400), "{whole:?}");
        }
        None => {
            assert!(
                events.iter().filter(|e| e.event == "call:participant_updated").count() >= changes - 1,
                "{events:?}"
            )
        }
    }
}

#[tokio::test]
async fn who_claims_to_have_seen_what_never_was_is_given_a_snapshot() {
    let cluster = TestCluster::two_nodes().start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let call = alice.call_through(&bob).await;
    for (number, seq) in [(0, 999_999), (1, 999_999)] {
        let device = Connect::to(cluster.node(number), "bob", "laptop").silent().go().await.unwrap();
        let hello =
            json!({"token": cluster.token("bob"), "deviceId": "laptop", "resume": [{"callId": call, "seq": seq}]});
        device.must("session:hello", hello).await;
        let whole = device.expect("call:state", |e| e["callId"] == *call && e["snapshot"] == true).await;
        assert_eq!((&whole["call"]["callId"], &whole["prev"]), (&json!(call), &json!(0)), "{whole}");
        assert_eq!(whole["call"]["status"], "active", "{whole}");
    }
}

#[tokio::test]
async fn a_resume_of_somebody_elses_call_reveals_nothing() {
    let cluster = TestCluster::two_nodes().start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let call = alice.call_through(&bob).await;
    let mallory = Connect::to(cluster.node(1), "mallory", "phone").silent().go().await.unwrap();
    let resume = json!([{"callId": call, "seq": 0}, {"callId": "no-such-call", "seq": 3}]);
    let welcome = mallory.must("session:hello", json!({"token": cluster.token("mallory"), "resume": resume})).await;
    assert_eq!(welcome["activeCalls"], json!([]), "{welcome}");
    marker(&alice, &bob, &call).await;
    let told: Vec<Received> = mallory.history().into_iter().filter(|e| e.data.to_string().contains("alice")).collect();
    assert!(told.is_empty(), "{told:?}");
}

#[tokio::test]
async fn a_sync_answers_with_what_was_missed() {
    let cluster = TestCluster::two_nodes().start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let call = alice.call_through(&bob).await;
    marker(&alice, &bob, &call).await;
    let heard: Vec<(String, Value)> =
        state_events(&bob, &call).into_iter().map(|e| (e.event, e.data["seq"].clone())).collect();
    let (_, since) = &heard[0];
    let reply = bob.must("call:sync", json!({"callId": call, "seq": since})).await;
    let events = reply["events"].as_array().unwrap_or_else(|| panic!("no events in {reply}"));
    let again: Vec<(String, Value)> = events
        .iter()
        .filter(|e| e["event"] != "call:signal")
        .map(|e| (e["event"].as_str().unwrap().to_owned(), e["data"]["seq"].clone()))
        .collect();
    assert_eq!(again, heard[1..], "the same events again: {reply}");
    let newest = bob.order().seq(&call).unwrap();
    let nothing = bob.must("call:sync", json!({"callId": call, "seq": newest, "sig": 1000})).await;
    let states = nothing["events"].as_array().unwrap().iter().filter(|e| e["event"] != "call:signal").count();
    assert_eq!(states, 0, "{nothing}");
}

#[tokio::test]
async fn a_bad_resume_is_refused_with_a_code() {
    let cluster = TestCluster::embedded().start().await;
    for resume in
        [json!("all"), json!([{"callId": "c"}]), json!([{"callId": "c", "seq": -1}]), json!([{"callId": 7, "seq": 1}])]
    {
        let device = Connect::to(cluster.node(0), "bob", "phone").silent().go().await.unwrap();
        let hello = json!({"token": cluster.token("bob"), "resume": resume});
        let refused = device.refused("session:hello", hello).await;
        assert_eq!(refused.code, "invalid", "{resume}: {refused:?}");
    }
}

#[tokio::test]
async fn a_caller_who_reconnects_while_it_rings_hears_the_accept() {
    let cluster = TestCluster::two_nodes().start().await;
    let mut alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let call = alice.start(&["bob"]).await;
    bob.expect_of("call:incoming", &call).await;
    alice.drop_connection().await;
    bob.act("call:accept", &call).await;
    let options = Connect::to(cluster.node(1), "alice", "phone").resuming(alice.order());
    let alice = options.go().await.unwrap();
    assert_eq!(alice.welcome["activeCalls"][0]["callId"], *call, "{}", alice.welcome);
    // What it has not heard by an event it knows from the call in the welcome.
    let known = &alice.welcome["activeCalls"][0]["status"];
    if known == "ringing" {
        alice.expect_within(PATIENCE, "call:accepted", |e| e["callId"] == *call).await;
    }
    alice.negotiate(&bob, &call).await;
}
