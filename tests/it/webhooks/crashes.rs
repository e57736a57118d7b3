//! Nodes that die between an event and its telling. Needs the feature `failpoints`.

use std::time::Duration;

use serde_json::json;

use super::{hook, receiver::Receiver, telling};
use crate::support::TestCluster;

/// How long the node may take to reach its fail point.
const DYING: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_has_committed_as_it_died_is_told_by_another() {
    let receiver = Receiver::start().await;
    let cluster = telling(TestCluster::two_nodes())
        .set("CARILLON_NODE_LEASE_SECS", 2)
        .set_on(0, "FAILPOINT_DEATH", "start-after-commit:0")
        // It takes nothing: what was told was told by the other.
        .set_on(0, "FAILPOINTS", "webhook-before-take=return");
    let mut cluster = cluster.start().await;
    hook(&cluster, &receiver, &[]).await;
    let alice = cluster.connect(0, "alice", "phone").await;
    alice.cast("call:start", json!({"callId": "last-words", "calleeIds": ["bob"]}));
    cluster.node_mut(0).expect_death(DYING).await;
    let ring = receiver.expect_of("call.ringing", "last-words").await;
    assert_eq!(ring.data()["online"], json!(false));
    assert_eq!(receiver.kinds_of("last-words")[0], "call.started");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_was_sending_as_it_died_is_sent_again_under_its_id() {
    for (point, times) in [("webhook-before-send", 1), ("webhook-before-settle", 2)] {
        let receiver = Receiver::start().await;
        let mut cluster = telling(TestCluster::two_nodes())
            .set("CARILLON_NODE_LEASE_SECS", 2)
            .set("CARILLON_WEBHOOK_TIMEOUT_SECS", 1)
            .set_on(0, "FAILPOINT_DEATH", format!("{point}:0"))
            // So that it is the first that takes it.
            .set_on(1, "FAILPOINTS", "webhook-before-take=20*return->off")
            .start()
            .await;
        hook(&cluster, &receiver, &["call.started"]).await;
        let alice = cluster.connect(0, "alice", "phone").await;
        alice.cast("call:start", json!({"callId": "last-words", "calleeIds": ["bob"]}));
        cluster.node_mut(0).expect_death(DYING).await;
        receiver.expect("delivery", |_| receiver.of("last-words").len() == times).await;
        let told = receiver.of("last-words");
        assert!(told.iter().all(|received| received.id() == told[0].id()), "{point}");
    }
}
