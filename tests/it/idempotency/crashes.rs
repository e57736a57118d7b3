//! A node is killed between the effect of a command and its answer, or just before the effect: whoever repeats the
//! command under its key finds it done once, and hears the first answer. Needs the feature `failpoints`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Said, by_rest, by_socket};
use crate::support::{TestClient, TestCluster, process::POLL};

/// Longer than a takeover takes on a busy machine.
const PERSIST: Duration = Duration::from_secs(30);

/// Holds whatever comes there, for longer than the node lives.
const HOLD: &str = "sleep(60000)";

fn number(cluster: &TestCluster, sql: &str) -> i64 {
    cluster.database().expect("a database").sql(sql)[0][0].as_deref().expect("a number").parse().expect("a number")
}

async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + PERSIST;
    while !is() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(POLL).await;
    }
}

/// Two nodes of which the first stops at `point`, when it has been there `passes` times.
async fn cluster(point: &str, passes: usize) -> TestCluster {
    TestCluster::two_nodes()
        .set("CARILLON_NODE_LEASE_SECS", 2)
        .set_on(0, "FAILPOINTS", format!("{point}={passes}*off->{HOLD}"))
        .start()
        .await
}

/// Repeats until the answer is one.
async fn persist(client: &TestClient, event: &str, key: &str, data: &Value) -> Said {
    let deadline = Instant::now() + PERSIST;
    loop {
        match by_socket(client, event, key, data).await {
            Err(code) if code == "unavailable" && Instant::now() < deadline => tokio::time::sleep(POLL).await,
            answer => return answer,
        }
    }
}

/// The first node dies with a start under way; `committed`: after its effect. The caller repeats it at the other node.
async fn a_start(point: &str, committed: bool) {
    let mut cluster = cluster(point, 0).await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let start = json!({"calleeIds": ["bob"], "type": "video"});
    alice.send_text(json!({"id": "s", "event": "call:start", "idempotencyKey": "k", "data": start}).to_string());
    if committed {
        until("the call is committed", || number(&cluster, "SELECT count(*) FROM calls") == 1).await;
    } else {
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(number(&cluster, "SELECT count(*) FROM calls"), 0);
    }
    cluster.node_mut(0).kill();
    let alice = cluster.connect(1, "alice", "phone").await;
    let first = persist(&alice, "call:start", "k", &start).await;
    let call = crate::support::moves::id_of(first.as_ref().expect("it is begun"));
    bob.expect_within(PERSIST, "call:incoming", |e| e["callId"] == *call).await;
    assert_eq!(by_rest(&cluster.rest(1, "alice"), "call:start", "k", &start).await, first);
    assert_eq!(number(&cluster, "SELECT count(*) FROM calls"), 1);
    assert_eq!(number(&cluster, "SELECT count(*) FROM call_events WHERE kind = 'created'"), 1);
    let ended = persist(&bob, "call:decline", "d", &json!({"callId": call})).await;
    assert_eq!(ended, Ok(json!({})));
}

#[tokio::test]
async fn a_start_is_one_call_when_its_node_dies_after_the_commit() {
    a_start("store-after-commit", true).await;
}

#[tokio::test]
async fn a_start_is_one_call_when_its_node_dies_before_the_commit() {
    a_start("store-before-commit", false).await;
}

/// The owner dies with a command of bob's under way, who is at another node and repeats it.
async fn a_command(event: &str, kind: &str, point: &str, committed: bool) {
    // The start is the first commit; by the actor it is none.
    let passes = usize::from(point.starts_with("store"));
    let mut cluster = cluster(point, passes).await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let call = alice.start(&["bob"]).await;
    bob.expect_of("call:incoming", &call).await;
    let about = json!({"callId": call});
    let happened = format!("SELECT count(*) FROM call_events WHERE kind = '{kind}'");
    let under_way = bob.call_keyed(event, Some("k"), about.clone());
    let dying = async {
        if committed {
            until("it is committed", || number(&cluster, &happened) == 1).await;
        } else {
            tokio::time::sleep(Duration::from_millis(500)).await;
            assert_eq!(number(&cluster, &happened), 0);
        }
    };
    tokio::select! {
        answer = under_way => panic!("answered before the node died: {answer:?}"),
        () = dying => {}
    }
    cluster.node_mut(0).kill();
    // Elsewhere than where it was sent first, as after a loss of one's own connection.
    let laptop = cluster.connect(1, "bob", "laptop").await;
    let first = persist(&laptop, event, "k", &about).await;
    assert!(first.is_ok(), "{event} at {point}: {first:?}");
    assert_eq!(by_rest(&cluster.rest(1, "bob"), event, "k", &about).await, first);
    assert_eq!(number(&cluster, &happened), 1, "{event} at {point}");
    let other = json!({"callId": call, "reason": "another body"});
    assert_eq!(by_socket(&laptop, event, "k", &other).await, Err("conflict".to_owned()));
}

#[tokio::test]
async fn an_accept_counts_once_when_the_owner_dies_between_the_commit_and_the_reply() {
    a_command("call:accept", "accepted", "store-after-commit", true).await;
    a_command("call:accept", "accepted", "call-committed", true).await;
}

#[tokio::test]
async fn a_decline_counts_once_when_the_owner_dies_between_the_commit_and_the_reply() {
    a_command("call:decline", "declined", "store-after-commit", true).await;
    a_command("call:decline", "declined", "call-committed", true).await;
}

#[tokio::test]
async fn an_accept_counts_once_when_the_owner_dies_before_the_commit() {
    a_command("call:accept", "accepted", "store-before-commit", false).await;
}
