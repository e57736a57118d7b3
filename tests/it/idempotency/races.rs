//! The same command many times at the same moment.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{by_rest, by_socket};
use crate::support::{TestCluster, moves::id_of};

/// Fifty at once, by four ways on two nodes.
async fn fifty(cluster: &TestCluster, user: &str, event: &str, key: &str, data: &Value) -> Vec<super::Said> {
    let sockets = [cluster.connect(0, user, "phone").await, cluster.connect(1, user, "laptop").await];
    let rest = [cluster.rest(0, user), cluster.rest(1, user)];
    let answers = (0..50).map(|n| {
        let (sockets, rest) = (&sockets, &rest);
        async move {
            if n % 4 < 2 {
                by_socket(&sockets[n % 2], event, key, data).await
            } else {
                by_rest(&rest[n % 2], event, key, data).await
            }
        }
    });
    join_all(answers).await
}

fn number(cluster: &TestCluster, sql: &str) -> i64 {
    cluster.database().expect("a database").sql(sql)[0][0].as_deref().expect("a number").parse().expect("a number")
}

#[tokio::test]
async fn fifty_starts_at_once_with_one_key_are_one_call_and_one_answer() {
    let cluster = TestCluster::two_nodes().start().await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let answers =
        fifty(&cluster, "alice", "call:start", "one-call", &json!({"calleeIds": ["bob"], "type": "video"})).await;
    let first = answers[0].clone().expect("it is begun");
    for answer in &answers {
        assert_eq!(answer.as_ref(), Ok(&first));
    }
    bob.expect_of("call:incoming", &id_of(&first)).await;
    assert_eq!(number(&cluster, "SELECT count(*) FROM calls"), 1);
    assert_eq!(number(&cluster, "SELECT count(*) FROM call_events WHERE kind = 'created'"), 1);
    cluster.assert_no_takeovers();
}

#[tokio::test]
async fn fifty_starts_at_once_in_a_group_with_one_key_are_one_call_and_one_answer() {
    let cluster = TestCluster::two_nodes().start().await;
    cluster.group("team", &["alice", "bob"]).await;
    let answers = fifty(&cluster, "alice", "call:start", "one-call", &json!({"groupId": "team", "ring": false})).await;
    let first = answers[0].clone().expect("it is begun");
    for answer in &answers {
        assert_eq!(answer.as_ref(), Ok(&first));
    }
    assert_eq!(number(&cluster, "SELECT count(*) FROM calls"), 1);
}

#[tokio::test]
async fn of_two_commands_at_once_under_one_key_one_is_a_conflict() {
    let cluster = TestCluster::two_nodes().start().await;
    let alice = [cluster.connect(0, "alice", "phone").await, cluster.connect(1, "alice", "laptop").await];
    for round in 0..10 {
        let key = format!("key-{round}");
        let (bob, carol) = (json!({"calleeIds": ["bob"]}), json!({"calleeIds": ["carol"]}));
        let answers = tokio::join!(
            by_socket(&alice[0], "call:start", &key, &bob),
            by_socket(&alice[1], "call:start", &key, &carol)
        );
        let conflicts = [&answers.0, &answers.1].into_iter().filter(|a| **a == Err("conflict".to_owned())).count();
        assert_eq!(conflicts, 1, "{answers:?}");
        // As often as it is asked.
        assert_eq!(by_socket(&alice[1], "call:start", &key, &bob).await, answers.0);
        assert_eq!(by_socket(&alice[0], "call:start", &key, &carol).await, answers.1);
    }
    assert_eq!(number(&cluster, "SELECT count(*) FROM calls"), 10);
}

#[tokio::test]
async fn fifty_invites_at_once_with_one_key_ring_once() {
    let cluster = TestCluster::two_nodes().start().await;
    cluster.group("team", &["alice", "bob", "carol"]).await;
    let alice = cluster.connect(0, "alice", "desk").await;
    let call = id_of(&alice.start_group("team", false).await);
    let carol = cluster.connect(1, "carol", "phone").await;
    let data = json!({"callId": call, "userIds": ["carol"]});
    let answers = fifty(&cluster, "alice", "call:invite", "ring-carol", &data).await;
    carol.expect_of("call:incoming", &call).await;
    carol.act("call:decline", &call).await;
    alice.expect_of("call:declined", &call).await;
    // Without the key she would be rung again.
    let again = by_socket(&alice, "call:invite", "ring-carol", &data).await;
    for answer in &answers {
        assert_eq!(*answer, again);
    }
    assert!(again.is_ok(), "{again:?}");
    assert_eq!(number(&cluster, "SELECT count(*) FROM invitations WHERE user_id = 'carol'"), 1);
}
