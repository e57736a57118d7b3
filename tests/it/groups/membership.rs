//! Who belongs to a group, and what becomes of its call when that changes.

use std::time::Duration;

use serde_json::{Value, json};

use super::QUIET;
use crate::support::{
    TestCluster,
    client::{PATIENCE, TestClient},
    moves::{assert_code, id_of, is_in, participant},
};

async fn remove(cluster: &TestCluster, node: usize, group: &str, user: &str) {
    let path = format!("/api/v1/groups/{group}/members/{user}");
    let removed = cluster.http(node).service("DELETE", &path, None).await;
    assert_eq!(removed.status, 204, "{removed:?}");
}

fn kicked<'a>(call: &'a str, user: &'a str) -> impl Fn(&Value) -> bool {
    move |event: &Value| event["callId"] == call && event["userId"] == user && event["reason"] == "kicked"
}

async fn assert_shut_out(client: &TestClient, call: &str) {
    for command in ["call:join", "call:get"] {
        assert_code(&client.refused(command, json!({"callId": call})).await, &["not_found"]);
    }
    let since = json!({"callId": call, "seq": 0, "sig": 0});
    assert_code(&client.refused("call:sync", since).await, &["not_found"]);
}

#[tokio::test]
async fn a_member_who_is_removed_is_out_of_the_running_call_and_told_nothing_more() {
    let cluster = TestCluster::two_nodes().start().await;
    cluster.group("team", &["alice", "bob", "carol"]).await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let tablet = cluster.connect(0, "bob", "tablet").await;
    let carol = cluster.connect(1, "carol", "phone").await;
    let call = id_of(&alice.start_group("team", false).await);
    for member in [&bob, &carol] {
        member.act("call:join", &call).await;
    }
    // By the node that does not own the call; and twice, as who lost the first answer would.
    for _ in 0..2 {
        remove(&cluster, 1, "team", "bob").await;
    }
    for client in [&alice, &carol, &bob, &tablet] {
        client.expect("call:participant_left", kicked(&call, "bob")).await;
    }
    assert_shut_out(&bob, &call).await;
    let start = json!({"groupId": "team", "ring": false});
    assert_code(&bob.refused("call:start", start).await, &["not_found"]);
    let rest = cluster.rest(0, "bob").send("call:get", None, json!({"callId": call})).await;
    assert_eq!((rest.status, rest.code()), (404, "not_found"), "{rest:?}");
    let seen = alice.get(&call).await;
    assert_eq!(participant(&seen, "bob")["leaveReason"], "kicked", "{seen}");

    let bob = bob.resume(cluster.node(0)).await;
    assert_eq!(bob.welcome["activeCalls"], json!([]), "{}", bob.welcome);
    carol.must("call:media", json!({"callId": call, "audio": true})).await;
    alice.expect_of("call:participant_updated", &call).await;
    let missed = bob.must("call:sync", json!({"callId": call, "seq": 1, "sig": 0})).await;
    let missed = missed["events"].as_array().unwrap();
    let last = missed.last().expect("he may have missed that he is out");
    assert!(
        last["event"] == "call:participant_left" && last["data"]["userId"] == "bob",
        "and nothing after: {missed:?}"
    );
    alice.act("call:end", &call).await;
    for member in [&alice, &carol] {
        member.expect_end(&call, "completed").await;
    }
    for device in [&bob, &tablet] {
        device.expect_none("call:ended", QUIET).await;
        device.expect_none("call:participant_updated", Duration::ZERO).await;
    }
    let left = alice.history_of(&call).iter().filter(|e| e.event == "call:participant_left").count();
    assert_eq!(left, 1, "the repetition did nothing");
}

#[tokio::test]
async fn a_ring_of_who_is_removed_stops_and_cannot_be_answered() {
    let cluster = TestCluster::two_nodes().start().await;
    cluster.group("team", &["alice", "bob", "carol"]).await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let carol = cluster.connect(1, "carol", "phone").await;
    let call = id_of(&alice.start_group("team", true).await);
    for member in [&bob, &carol] {
        member.expect_of("call:incoming", &call).await;
    }
    remove(&cluster, 1, "team", "bob").await;
    for client in [&alice, &bob] {
        client.expect("call:participant_left", kicked(&call, "bob")).await;
    }
    assert!(bob.try_act("call:accept", &call).await.is_err());
    assert_shut_out(&bob, &call).await;
    carol.act("call:accept", &call).await;
    let late = cluster.connect(0, "bob", "tablet").await;
    late.expect_none("call:incoming", QUIET).await;
    assert!(is_in(&alice.get(&call).await, "carol"));
}

#[tokio::test]
async fn the_end_of_a_call_reaches_those_who_are_members_then_and_nobody_else() {
    let cluster = TestCluster::two_nodes().start().await;
    cluster.group("team", &["alice", "bob", "carol", "dave", "erin"]).await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let mut others = Vec::new();
    for name in ["bob", "carol", "dave", "erin", "frank"] {
        others.push(cluster.connect(1, name, "phone").await);
    }
    let [bob, carol, dave, erin, frank] = &others[..] else { panic!("five of them") };
    let call = id_of(&alice.start_group("team", false).await);
    for member in [bob, carol, dave, erin] {
        member.expect_of("call:created", &call).await;
    }
    frank.expect_none("call:created", QUIET).await;
    for member in [bob, carol] {
        member.act("call:join", &call).await;
        member.act("call:leave", &call).await;
    }
    // bob took part and dave did not: both go. carol and erin stay, and frank is new.
    remove(&cluster, 0, "team", "bob").await;
    remove(&cluster, 0, "team", "dave").await;
    let added = cluster.http(0).service("PUT", "/api/v1/groups/team/members/frank", None).await;
    assert_eq!(added.status, 201, "{added:?}");
    assert_shut_out(bob, &call).await;
    assert_shut_out(dave, &call).await;
    frank.must("call:get", json!({"callId": call})).await;
    alice.act("call:end", &call).await;
    for member in [carol, erin, frank] {
        let event = member.expect("call:ended", |e| e["callId"] == *call).await;
        assert_eq!(event["by"], "alice", "{event}");
    }
    for former in [bob, dave] {
        former.expect_none("call:ended", QUIET).await;
    }
}

#[tokio::test]
async fn a_start_rings_members_only_and_a_guest_is_asked_in_by_name() {
    let cluster = TestCluster::two_nodes().start().await;
    cluster.group("team", &["alice", "bob", "carol"]).await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let carol = cluster.connect(1, "carol", "phone").await;
    let mallory = cluster.connect(1, "mallory", "phone").await;
    let start = json!({"groupId": "team", "calleeIds": ["bob", "mallory"]});
    assert_code(&alice.refused("call:start", start).await, &["forbidden"]);
    let call = id_of(&alice.must("call:start", json!({"groupId": "team", "calleeIds": ["bob"]})).await);
    carol.expect_of("call:created", &call).await;
    assert_shut_out(&mallory, &call).await;
    alice.must("call:invite", json!({"callId": call, "userIds": ["carol", "carol", "mallory"]})).await;
    for asked in [&carol, &mallory] {
        asked.expect_of("call:incoming", &call).await;
        asked.act("call:accept", &call).await;
    }
    // Who is looked at when the members change are the members.
    let removed = cluster.http(1).service("DELETE", "/api/v1/groups/team/members/carol", None).await;
    assert!(removed.ok(), "{removed:?}");
    mallory.expect("call:participant_left", |e| e["userId"] == "carol" && e["reason"] == "kicked").await;
    assert_shut_out(&carol, &call).await;
    mallory.act("call:leave", &call).await;
    mallory.act("call:join", &call).await;
    alice.must("call:kick", json!({"callId": call, "userId": "mallory"})).await;
    mallory.expect("call:kicked", |e| e["userId"] == "mallory").await;
    assert_shut_out(&mallory, &call).await;
}

#[tokio::test]
async fn deleting_a_group_ends_its_call_for_everybody_in_it() {
    let cluster = TestCluster::two_nodes().start().await;
    cluster.group("team", &["alice", "bob", "carol"]).await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let call = id_of(&alice.start_group("team", false).await);
    bob.act("call:join", &call).await;
    for _ in 0..2 {
        let deleted = cluster.http(1).service("DELETE", "/api/v1/groups/team", None).await;
        assert_eq!(deleted.status, 204, "{deleted:?}");
    }
    for member in [&alice, &bob] {
        let end = member.expect_end(&call, "kicked").await;
        assert_eq!(end["status"], "ended", "{end}");
        assert_shut_out(member, &call).await;
    }
    // Made anew, it is another group: who was in the old one sees nothing of it, nor the old call.
    cluster.group("team", &["carol"]).await;
    assert_code(&alice.refused("call:start", json!({"groupId": "team"})).await, &["not_found"]);
}

#[tokio::test]
async fn a_removal_reaches_a_call_whose_owner_has_died() {
    let mut cluster = TestCluster::two_nodes().start().await;
    cluster.group("team", &["alice", "bob", "carol"]).await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let carol = cluster.connect(1, "carol", "phone").await;
    let call = id_of(&alice.start_group("team", false).await);
    for member in [&bob, &carol] {
        member.act("call:join", &call).await;
    }
    cluster.node_mut(0).kill();
    let path = "/api/v1/groups/team/members/bob";
    let first = cluster.http(1).service("DELETE", path, None).await;
    assert!(first.status == 204 || (first.status == 503 && first.code() == "unavailable"), "{first:?}");
    // Not asked for again: the node that was asked sees to it.
    for member in [&bob, &carol] {
        member.expect_within(PATIENCE * 3, "call:participant_left", kicked(&call, "bob")).await;
    }
    assert_shut_out(&bob, &call).await;
    assert!(is_in(&carol.get(&call).await, "carol"));
}

#[tokio::test]
async fn a_removal_that_the_owner_never_heard_of_is_made_good_by_the_next() {
    let mut cluster = TestCluster::two_nodes().start().await;
    cluster.group("team", &["alice", "bob", "carol"]).await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let carol = cluster.connect(1, "carol", "phone").await;
    let call = id_of(&alice.start_group("team", false).await);
    for member in [&bob, &carol] {
        member.act("call:join", &call).await;
    }
    // As when the node that removed him died before it could tell.
    cluster.database().expect("PostgreSQL").sql("DELETE FROM group_members WHERE user_id = 'bob'");
    cluster.node_mut(0).kill();
    for member in [&bob, &carol] {
        member.expect_within(PATIENCE * 3, "call:participant_left", kicked(&call, "bob")).await;
    }
    assert_shut_out(&bob, &call).await;
}
