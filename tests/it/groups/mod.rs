//! Groups, managed by the application, and their calls: at most one open at a time.

mod audit;
mod keys;
mod managing;
mod membership;

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    TestCluster,
    moves::{assert_code, id_of, is_in, participant},
};

const QUIET: Duration = Duration::from_millis(300);

#[tokio::test]
async fn groups_and_members_are_managed_with_the_service_key_alone() {
    let cluster = TestCluster::embedded().start().await;
    let http = cluster.http(0);
    let group = json!({"name": "The team"});
    for bearer in [None, Some("wrong"), Some(cluster.token("alice").as_str())] {
        let refused = http.request("PUT", "/api/v1/groups/team", bearer, Some(group.clone())).await.unwrap();
        assert!([401, 403].contains(&refused.status), "{refused:?}");
        assert_eq!(refused.content_type, "application/problem+json", "{refused:?}");
        assert!(["unauthenticated", "forbidden"].contains(&refused.code()), "{refused:?}");
        let refused = http.request("PUT", "/api/v1/groups/team/members/alice", bearer, Some(json!({}))).await.unwrap();
        assert!([401, 403].contains(&refused.status), "{refused:?}");
    }
    let nowhere = http.service("PUT", "/api/v1/groups/team/members/alice", Some(json!({}))).await;
    assert_eq!((nowhere.status, nowhere.code()), (404, "not_found"), "{nowhere:?}");
    for _ in 0..2 {
        assert!(http.service("PUT", "/api/v1/groups/team", Some(group.clone())).await.ok());
        assert!(http.service("PUT", "/api/v1/groups/team/members/alice", Some(json!({}))).await.ok());
    }
    for _ in 0..2 {
        let removed = http.service("DELETE", "/api/v1/groups/team/members/alice", None).await;
        assert!(removed.ok() || removed.status == 404, "{removed:?}");
    }
    let alice = cluster.connect(0, "alice", "phone").await;
    assert_code(&alice.refused("call:start", json!({"groupId": "team"})).await, &["forbidden", "not_found"]);
}

#[tokio::test]
async fn a_bad_group_is_refused_with_a_code() {
    let cluster = TestCluster::embedded().start().await;
    let http = cluster.http(0);
    let long = format!("/api/v1/groups/{}", "g".repeat(129));
    for (path, body) in
        [(long.as_str(), json!({})), ("/api/v1/groups/team", json!({"name": 7})), ("/api/v1/groups/team", json!([1]))]
    {
        let refused = http.service("PUT", path, Some(body)).await;
        assert!([400, 422].contains(&refused.status), "{refused:?}");
        assert_eq!(refused.code(), "invalid", "{refused:?}");
    }
}

#[tokio::test]
async fn members_join_leave_and_come_back_and_the_call_ends_when_the_last_one_leaves() {
    let cluster = TestCluster::two_nodes().start().await;
    cluster.group("team", &["alice", "bob", "carol"]).await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let carol = cluster.connect(0, "carol", "phone").await;
    let reply = alice.start_group("team", false).await;
    let call = id_of(&reply);
    assert_eq!((&reply["call"]["status"], &reply["call"]["groupId"]), (&json!("waiting"), &json!("team")), "{reply}");
    assert_eq!(reply["call"]["isGroup"], true, "{reply}");
    for member in [&bob, &carol] {
        member.expect_of("call:created", &call).await;
        member.expect_none("call:incoming", QUIET).await;
    }
    bob.act("call:join", &call).await;
    alice.expect("call:participant_joined", |e| e["callId"] == *call && e["userId"] == "bob").await;
    carol.act("call:join", &call).await;
    for member in [&alice, &bob] {
        member.expect("call:participant_joined", |e| e["callId"] == *call && e["userId"] == "carol").await;
    }
    bob.act("call:leave", &call).await;
    alice.expect("call:participant_left", |e| e["callId"] == *call && e["userId"] == "bob").await;
    let back = bob.act("call:join", &call).await;
    assert!(is_in(&back["call"], "bob"), "{back}");
    alice.expect("call:participant_joined", |e| e["callId"] == *call && e["userId"] == "bob").await;
    let peak = alice.get(&call).await;
    assert_eq!(peak["peakParticipants"], 3, "{peak}");
    alice.act("call:leave", &call).await;
    bob.act("call:leave", &call).await;
    assert_ne!(carol.get(&call).await["status"], "ended", "one is still there");
    carol.act("call:leave", &call).await;
    for member in [&alice, &bob, &carol] {
        member.expect_end(&call, "completed").await;
    }
    let next = bob.start_group("team", false).await;
    assert_ne!(id_of(&next), call, "the next call of the group is another one");
}

#[tokio::test]
async fn a_group_call_rings_its_other_members_and_one_decline_does_not_end_it() {
    let cluster = TestCluster::two_nodes().start().await;
    cluster.group("team", &["alice", "bob", "carol"]).await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let carol = cluster.connect(1, "carol", "phone").await;
    let outsider = cluster.connect(0, "mallory", "phone").await;
    let call = id_of(&alice.start_group("team", true).await);
    for member in [&bob, &carol] {
        member.expect_of("call:incoming", &call).await;
    }
    bob.act("call:decline", &call).await;
    alice.expect("call:declined", |e| e["callId"] == *call && e["userId"] == "bob").await;
    carol.act("call:accept", &call).await;
    alice.expect("call:accepted", |e| e["callId"] == *call && e["userId"] == "carol").await;
    // Who declined may change their mind while the call goes on.
    bob.act("call:join", &call).await;
    alice.expect("call:participant_joined", |e| e["callId"] == *call && e["userId"] == "bob").await;
    assert_code(&outsider.refused("call:join", json!({"callId": call})).await, &["not_found"]);
    outsider.expect_none("call:incoming", QUIET).await;
}

#[tokio::test]
async fn a_second_start_in_a_group_joins_the_open_call() {
    let cluster = TestCluster::two_nodes().start().await;
    cluster.group("team", &["alice", "bob"]).await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let call = id_of(&alice.start_group("team", false).await);
    let joined = bob.start_group("team", false).await;
    assert_eq!(id_of(&joined), call, "{joined}");
    assert!(is_in(&joined["call"], "bob"), "{joined}");
    alice.expect("call:participant_joined", |e| e["userId"] == "bob").await;
}

#[tokio::test]
async fn only_members_start_a_group_call() {
    let cluster = TestCluster::embedded().start().await;
    cluster.group("team", &["alice"]).await;
    let mallory = cluster.connect(0, "mallory", "phone").await;
    for group in ["team", "no-such-group"] {
        let refused = mallory.refused("call:start", json!({"groupId": group})).await;
        assert_code(&refused, &["forbidden", "not_found"]);
    }
    mallory.assert_alive().await;
}

#[tokio::test]
async fn only_the_host_ends_a_group_call_for_everybody() {
    let cluster = TestCluster::two_nodes().start().await;
    cluster.group("team", &["alice", "bob"]).await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let call = id_of(&alice.start_group("team", false).await);
    bob.act("call:join", &call).await;
    assert_code(&bob.refused("call:end", json!({"callId": call})).await, &["forbidden"]);
    assert_code(&bob.refused("call:cancel", json!({"callId": call})).await, &["forbidden", "wrong_state"]);
    alice.act("call:end", &call).await;
    for member in [&alice, &bob] {
        assert_eq!(member.expect_end(&call, "completed").await["by"], "alice");
    }
}

#[tokio::test]
async fn a_participant_invites_more_and_they_ring() {
    let cluster = TestCluster::two_nodes().start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let carol = cluster.connect(1, "carol", "phone").await;
    let call = id_of(&alice.must("call:start", json!({"calleeIds": ["bob", "dave"], "type": "audio"})).await);
    bob.expect_of("call:incoming", &call).await;
    bob.act("call:accept", &call).await;
    alice.expect_of("call:accepted", &call).await;
    let reply = bob.must("call:invite", json!({"callId": call, "userIds": ["carol"]})).await;
    assert_eq!(participant(&reply["call"], "carol")["status"], "invited", "{reply}");
    carol.expect_of("call:incoming", &call).await;
    alice.expect_of("call:participant_invited", &call).await;
    carol.act("call:accept", &call).await;
    alice.expect("call:accepted", |e| e["callId"] == *call && e["userId"] == "carol").await;
}

#[tokio::test]
async fn a_full_call_takes_nobody_more() {
    let cluster = TestCluster::embedded().set("CARILLON_MAX_PARTICIPANTS", 2).start().await;
    cluster.group("team", &["alice", "bob", "carol"]).await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(0, "bob", "phone").await;
    let carol = cluster.connect(0, "carol", "phone").await;
    let call = id_of(&alice.start_group("team", false).await);
    bob.act("call:join", &call).await;
    let full: Value = json!({"callId": call});
    assert_code(&carol.refused("call:join", full.clone()).await, &["call_full"]);
    bob.act("call:leave", &call).await;
    carol.must("call:join", full).await;
}
