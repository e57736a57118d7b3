//! This version beside the next one, which is not there yet: what that may write into the store and send over the bus.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use carillon::{
    cluster::{
        bus::{Bus, BusLimits, Inbox},
        bus_redis::{RedisBus, RedisBusConfig},
        envelope,
    },
    domain::{NodeId, UserId},
    secret::Secret,
};
use serde_json::{Value, json};

use crate::{
    faults::{TAKEOVER, assert_reaches, checker::History, nodes, talk},
    load::wait_at_most,
    support::{TestCluster, node::field},
};

const PATIENCE: Duration = Duration::from_secs(60);
const LEFT: &str = "call left to newer nodes: this version cannot read an event of it";

/// Owner and epoch of a call.
fn owner(cluster: &TestCluster, call: &str) -> Vec<Option<String>> {
    let rows = cluster
        .database()
        .expect("a database")
        .sql(&format!("SELECT owner_node, epoch FROM calls WHERE id = '{call}'"));
    rows.into_iter().next().expect("the call is there")
}

#[tokio::test]
async fn a_call_with_an_event_of_a_later_version_is_left_to_nodes_that_can_read_it() {
    let history = History::default();
    let mut cluster = nodes(2).set("CARILLON_RECONNECT_GRACE_SECS", 60).start().await;
    let (alice, bob, call) = talk(&cluster, 0).await;
    history.include(&call);
    let carol = cluster.connect(0, "carol", "phone").await;
    let dave = cluster.connect(1, "dave", "phone").await;
    let known = carol.call_through(&dave).await;
    let database = cluster.database().expect("a database");
    let seq = alice.get(&call).await["seq"].as_u64().expect("a seq");
    // As a node of a later version would have committed it.
    database.sql(&format!(
        "INSERT INTO call_events (call_id, seq, at, kind, payload, node, epoch, command_id) \
         SELECT call_id, seq + 1, at, 'hologram_shown', '{{\"hologram_shown\":{{\"user\":\"alice\"}}}}', node, epoch, command_id \
         FROM call_events WHERE call_id = '{call}' AND seq = {seq}; \
         UPDATE calls SET seq = seq + 1 WHERE id = '{call}'"
    ));
    let before = owner(&cluster, &call);
    cluster.node_mut(0).kill();

    let told = || cluster.node(1).logged(LEFT);
    wait_at_most(PATIENCE, "the node says that it leaves the call alone", || !told().is_empty()).await;
    let line = told().remove(0);
    assert_eq!((field(&line, "call.id"), field(&line, "event.kind")), (Some(call.as_str()), Some("hologram_shown")));
    // What it can read of the same dead node is taken over meanwhile.
    let taken = |e: &Value| e["callId"] == *known;
    dave.expect_within(PATIENCE, "call:renegotiate", taken).await;
    let refused = bob.refused("call:media", json!({"callId": call, "screen": true})).await;
    assert_eq!((refused.code.as_str(), refused.retryable), ("unavailable", true), "{refused:?}");
    let refused = bob.refused("call:get", json!({"callId": call})).await;
    assert_eq!((refused.code.as_str(), refused.retryable), ("unavailable", true), "{refused:?}");
    // Several looks of the sweeper later it is still nobody's, and the log has one line of it.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(owner(&cluster, &call), before, "nobody has claimed it");
    assert_eq!(told().len(), 1);
    assert_eq!(cluster.http(1).metric("carillon_calls_left_to_newer_nodes_total").await, Some(1.0));

    // A node that can read it comes up: here by taking the event away, since there is no later version yet.
    cluster.database().expect("a database").sql(&format!(
        "DELETE FROM call_events WHERE call_id = '{call}' AND kind = 'hologram_shown'; \
         UPDATE calls SET seq = seq - 1 WHERE id = '{call}'"
    ));
    let newer = cluster.add_node().await;
    let alice = alice.resume(cluster.node(newer)).await;
    assert_reaches(&history, &bob, &alice, &call, true).await;
    assert_reaches(&history, &alice, &bob, &call, true).await;
    assert_ne!(owner(&cluster, &call), before);
    history.must(&bob, "call:end", json!({"callId": call})).await;
    for side in [&alice, &bob] {
        side.expect_end_within(TAKEOVER, &call, "completed").await;
    }
    dave.act("call:end", &known).await;
    history.check(&cluster, &[&alice, &bob]).await;
}

/// A node of a later version: what it hears.
#[derive(Default)]
struct Later(Mutex<Vec<Bytes>>);

impl Inbox for Later {
    fn on_node_message(&self, message: Bytes) {
        self.0.lock().unwrap().push(message);
    }
    fn on_user_message(&self, _: &UserId, _: Bytes) {}
    fn on_resubscribed(&self) {}
}

#[tokio::test]
async fn messages_of_a_later_version_are_counted_and_whoever_waits_for_an_answer_gets_one_at_once() {
    let cluster = nodes(2).start().await;
    let (alice, bob, call) = talk(&cluster, 0).await;
    let setting = |name: &str| {
        let found = cluster.settings().iter().find(|(set, _)| set == name);
        found.map(|(_, value)| value.clone()).unwrap_or_else(|| panic!("{name} is set"))
    };
    let me = NodeId::new("node-of-a-later-version").unwrap();
    let later = Arc::new(Later::default());
    let config = RedisBusConfig {
        url: Secret::new(setting("REDIS_URL")),
        cluster: setting("CARILLON_CLUSTER"),
        node: me.clone(),
        limits: BusLimits::default(),
    };
    let bus = RedisBus::start(config, later.clone()).unwrap();
    assert!(bus.wait_until_up(PATIENCE).await);
    let node = NodeId::new(alice.welcome["nodeId"].as_str().expect("a node")).unwrap();

    // A question of a kind, or about something, that this version does not know; an event; a known one with more fields.
    let questions = [
        json!({"dream": {"id": 11, "of": "sheep"}}),
        json!({"ask": {"id": 12, "command": "018f0000-0000-7000-8000-000000000000", "call": call, "caller": {"user": "alice",
            "device": "phone", "node": me}, "ask": {"do": {"teleport": {"to": "mars"}}}, "hops": 0}}),
        json!({"signal": {"call": call, "from": "alice", "from_device": "phone", "kind": "smell", "session": "s", "ask": 13}}),
    ];
    for question in &questions {
        bus.publish_to_node(&node, envelope::encode(&me, question, &["{}"]).unwrap()).unwrap();
    }
    let unasked = json!({"news": {"text": "nobody waits for this"}});
    bus.publish_to_node(&node, envelope::encode(&me, &unasked, &[]).unwrap()).unwrap();
    bus.publish_to_user(&UserId::new("alice").unwrap(), envelope::encode(&me, &unasked, &[]).unwrap()).unwrap();
    let known = json!({"ask": {"id": 14, "command": "018f0000-0000-7000-8000-000000000001", "call": call, "caller": {"user":
        "alice", "device": "phone", "node": me, "mood": "good"}, "ask": "get", "hops": 0, "urgent": true}});
    bus.publish_to_node(&node, envelope::encode(&me, &known, &[]).unwrap()).unwrap();

    wait_at_most(PATIENCE, "four answers", || later.0.lock().unwrap().len() >= 4).await;
    let answers: Vec<Value> = later
        .0
        .lock()
        .unwrap()
        .iter()
        .map(|message| envelope::decode::<Value>(message.clone()).expect("an envelope").body)
        .collect();
    for id in 11..=13 {
        let answer =
            answers.iter().find(|answer| answer["answer"]["id"] == id).unwrap_or_else(|| panic!("{id}: {answers:?}"));
        let refusal = &answer["answer"]["result"]["Err"];
        assert_eq!((&refusal["code"], &refusal["retryable"]), (&json!("unavailable"), &json!(true)), "{answer}");
    }
    let answer = answers.iter().find(|answer| answer["answer"]["id"] == 14).expect("an answer");
    assert!(answer["answer"]["result"]["Ok"].is_object(), "more fields do no harm: {answer}");
    assert_eq!(cluster.http(0).metric("carillon_messages_dropped_total").await, Some(5.0));
    super::assert_talk(&alice, &bob, &call).await;
}
