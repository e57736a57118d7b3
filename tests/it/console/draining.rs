//! Telling a node to leave.

use serde_json::json;

use super::{PATIENCE, ask, list, must, node_id, pairs, recorded, until};
use crate::support::{TestCluster, moves::candidate};

#[tokio::test]
async fn a_node_that_is_told_to_leave_hands_its_calls_over_and_ends_well() {
    let mut cluster = TestCluster::two_nodes().set("CARILLON_NODE_LEASE_SECS", 60).start().await;
    let leaving = node_id(&cluster, 0).await;
    let staying = node_id(&cluster, 1).await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let call = alice.call_through(&bob).await;
    let path = format!("nodes/{leaving}/drain");
    let answer = ask(&cluster, 1, "POST", &path, None).await;
    assert_eq!((answer.status, &answer.body), (202, &json!({"nodeId": leaving})), "{answer:?}");
    assert_eq!(alice.expect_closed(PATIENCE).await.code, Some(1012));
    let alice = alice.resume(cluster.node(1)).await;
    // Whether anybody noticed that she was away is a matter of how soon she is back. They talk on.
    for (from, to) in [(&alice, &bob), (&bob, &alice)] {
        from.signal(&call, &to.user, "ice_candidate", candidate(77)).await;
        to.expect("call:signal", |signal| signal["callId"] == *call && signal["payload"] == candidate(77)).await;
    }
    let status = cluster.node_mut(0).expect_leave(PATIENCE).await;
    assert!(status.success(), "{status}");
    let owned = must(&cluster, 1, "GET", &format!("calls?node={staying}"), None).await;
    assert_eq!((list(&owned, "calls").len(), &owned["calls"][0]["callId"]), (1, &json!(call)), "{owned}");
    assert_eq!(cluster.node(1).logged("call handed over").len(), 1, "{}", cluster.node(1).log_tail());
    cluster.assert_no_takeovers();
    alice.act("call:end", &call).await;
    bob.expect_end(&call, "completed").await;
    assert_eq!(recorded(&cluster, 1, "node.drain", &leaving).await, pairs([("asked", ""), ("draining", "")]));
    let gone = ask(&cluster, 1, "POST", &path, None).await;
    assert_eq!((gone.status, gone.code()), (404, "not_found"), "{gone:?}");
}

#[tokio::test]
async fn the_last_node_leaves_only_with_force() {
    let mut cluster = TestCluster::embedded().start().await;
    let id = node_id(&cluster, 0).await;
    let path = format!("nodes/{id}/drain");
    for body in [None, Some(json!({})), Some(json!({"force": false}))] {
        let refused = ask(&cluster, 0, "POST", &path, body).await;
        assert_eq!((refused.status, refused.code()), (409, "conflict"), "{refused:?}");
    }
    let wanted = [("asked", ""), ("conflict", ""), ("asked", ""), ("conflict", ""), ("asked", ""), ("conflict", "")];
    assert_eq!(recorded(&cluster, 0, "node.drain", &id).await, pairs(wanted));
    until(&cluster, 0, "nodes", |seen| seen["nodes"][0]["state"] == "live").await;
    must(&cluster, 0, "POST", &path, Some(json!({"force": true}))).await;
    assert!(cluster.node_mut(0).expect_leave(PATIENCE).await.success());
}

#[tokio::test]
async fn a_node_that_does_not_answer_is_not_said_to_leave() {
    let cluster = TestCluster::two_nodes().set("CARILLON_NODE_LEASE_SECS", 60).start().await;
    let silent = node_id(&cluster, 1).await;
    cluster.node(1).freeze().await;
    let refused = ask(&cluster, 0, "POST", &format!("nodes/{silent}/drain"), None).await;
    assert_eq!((refused.status, refused.code()), (503, "unavailable"), "{refused:?}");
    assert_eq!(recorded(&cluster, 0, "node.drain", &silent).await, pairs([("asked", ""), ("unavailable", "")]));
}
