//! Ending a call and sending a user away, from outside.

use std::time::Duration;

use serde_json::json;

use super::{PATIENCE, ask, list, must, node_id, pairs, recorded, until};
use crate::{
    faults::expect_back,
    support::{TestCluster, proxy::Mode},
};

async fn a_call_ends(cluster: TestCluster) {
    let last = cluster.size() - 1;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(last, "bob", "phone").await;
    let call = alice.call_through(&bob).await;
    let path = format!("calls/{call}/end");
    // Asked of the node that does not own it.
    let ended = must(&cluster, last, "POST", &path, Some(json!({"reason": "abuse, ticket 7"}))).await;
    assert_eq!((&ended["call"]["callId"], &ended["call"]["status"]), (&json!(call), &json!("ended")), "{ended}");
    for side in [&alice, &bob] {
        let end = side.expect_end(&call, "kicked").await;
        assert!(end["by"].is_null() && !end.to_string().contains("abuse"), "nobody is told who or why: {end}");
    }
    let again = ask(&cluster, 0, "POST", &path, None).await;
    assert_eq!((again.status, again.code()), (409, "already_ended"), "{again:?}");
    let wanted = [("asked", "abuse, ticket 7"), ("ended", ""), ("asked", ""), ("already_ended", "")];
    assert_eq!(recorded(&cluster, 0, "call.end", &call).await, pairs(wanted));

    let unknown = ask(&cluster, 0, "POST", "calls/no-such-call/end", None).await;
    assert_eq!((unknown.status, unknown.code()), (404, "not_found"), "{unknown:?}");
    let wanted = [("asked", ""), ("not_found", "")];
    assert_eq!(recorded(&cluster, 0, "call.end", "no-such-call").await, pairs(wanted));

    let ringing = alice.start(&["bob"]).await;
    bob.expect_of("call:incoming", &ringing).await;
    let cancelled = must(&cluster, last, "POST", &format!("calls/{ringing}/end"), Some(json!({}))).await;
    assert_eq!(cancelled["call"]["status"], "cancelled", "nobody had come: {cancelled}");
    for side in [&alice, &bob] {
        side.expect_end(&ringing, "kicked").await;
    }
    // It is over for the two: they call again.
    let next = alice.call_through(&bob).await;
    alice.act("call:end", &next).await;
}

#[tokio::test]
async fn an_operator_ends_a_call_on_the_only_node() {
    a_call_ends(TestCluster::embedded().start().await).await;
}

#[tokio::test]
async fn an_operator_ends_a_call_that_another_node_owns() {
    a_call_ends(TestCluster::two_nodes().start().await).await;
}

async fn a_user_is_sent_away(cluster: TestCluster) {
    let last = cluster.size() - 1;
    let phone = cluster.connect(0, "alice", "phone").await;
    let laptop = cluster.connect(last, "alice", "laptop").await;
    let bob = cluster.connect(last, "bob", "phone").await;
    let call = phone.call_through(&bob).await;
    let done = must(&cluster, last, "POST", "users/alice/disconnect", None).await;
    assert_eq!(done, json!({"userId": "alice", "disconnected": 2, "unreachableNodes": []}));
    for device in [&phone, &laptop] {
        let closed = device.expect_closed(PATIENCE).await;
        assert_eq!(closed.code, Some(4010), "{closed:?}");
        assert_eq!(closed.reason, json!({"code": "disconnected_by_operator"}));
    }
    // As after any lost connection: they are waited for, and may come back.
    bob.expect("call:participant_reconnecting", |e| e["callId"] == *call && e["userId"] == "alice").await;
    until(&cluster, 0, "users/alice", |seen| list(seen, "sessions").is_empty()).await;
    let phone = phone.resume(cluster.node(last)).await;
    expect_back(&bob, "alice", &call).await;
    phone.act("call:end", &call).await;
    let nobody = must(&cluster, 0, "POST", "users/carol/disconnect", None).await;
    assert_eq!(nobody["disconnected"], 0, "{nobody}");
    let wanted = [("asked", ""), ("disconnected", "2 sessions")];
    assert_eq!(recorded(&cluster, 0, "user.disconnect", "alice").await, pairs(wanted));
}

#[tokio::test]
async fn a_user_is_sent_away_from_the_only_node_and_may_come_back() {
    a_user_is_sent_away(TestCluster::embedded().set("CARILLON_RECONNECT_GRACE_SECS", 60).start().await).await;
}

#[tokio::test]
async fn a_user_is_sent_away_from_every_node_and_may_come_back() {
    a_user_is_sent_away(TestCluster::two_nodes().set("CARILLON_RECONNECT_GRACE_SECS", 60).start().await).await;
}

#[tokio::test]
async fn a_node_that_does_not_answer_is_named_when_a_user_is_sent_away_and_when_a_call_is_ended() {
    let cluster = TestCluster::two_nodes().set("CARILLON_NODE_LEASE_SECS", 60).start().await;
    let silent = node_id(&cluster, 1).await;
    let phone = cluster.connect(0, "alice", "phone").await;
    let carol = cluster.connect(1, "carol", "phone").await;
    let call = carol.start(&["dave"]).await;
    cluster.node(1).freeze().await;
    let done = must(&cluster, 0, "POST", "users/alice/disconnect", None).await;
    assert_eq!(done, json!({"userId": "alice", "disconnected": 1, "unreachableNodes": [silent]}));
    phone.expect_closed(PATIENCE).await;
    let refused = ask(&cluster, 0, "POST", &format!("calls/{call}/end"), None).await;
    assert_eq!((refused.status, refused.code()), (503, "unavailable"), "{refused:?}");
    cluster.node(1).thaw();
    let note = format!("1 sessions; not reached: {silent}");
    let wanted = [("asked", ""), ("partly_disconnected", note.as_str())];
    assert_eq!(recorded(&cluster, 0, "user.disconnect", "alice").await, pairs(wanted));
    assert_eq!(recorded(&cluster, 0, "call.end", &call).await, pairs([("asked", ""), ("unavailable", "")]));
    // What could not be asked was not undone: the node hears it when it goes on.
    tokio::time::timeout(PATIENCE, carol.expect_end(&call, "kicked")).await.expect("it ends after all");
}

/// What is on record is there whatever becomes of who asked.
#[tokio::test]
async fn nothing_is_done_that_cannot_be_put_on_record() {
    let cluster = TestCluster::of(1).linked(0, 7).start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let call = alice.start(&["bob"]).await;
    cluster.links(0).database.set(Mode::Refuse);
    for path in [format!("calls/{call}/end"), "users/alice/disconnect".to_owned()] {
        let refused = ask(&cluster, 0, "POST", &path, None).await;
        assert_eq!((refused.status, refused.code()), (503, "unavailable"), "{path}: {refused:?}");
    }
    cluster.links(0).database.set(Mode::Pass);
    assert!(alice.is_closed().is_none());
    alice.expect_none("call:ended", Duration::from_millis(500)).await;
    until(&cluster, 0, "calls", |seen| list(seen, "calls").iter().any(|open| open["callId"] == *call)).await;
}
