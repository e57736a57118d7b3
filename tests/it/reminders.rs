//! A ring that no device acknowledges is sent again, and that changes nothing for who has it.

use std::time::Duration;

use crate::support::TestCluster;

/// Longer than a ring waits before it is sent again.
const UNTIL_SENT_AGAIN: Duration = Duration::from_millis(2_800);

#[tokio::test]
async fn who_takes_one_of_two_calls_is_not_busy_for_the_other_that_rang_before() {
    let cluster = TestCluster::two_nodes().start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let carol = cluster.connect(1, "carol", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let first = alice.start(&["bob"]).await;
    bob.expect_of("call:incoming", &first).await;
    let second = carol.start(&["bob"]).await;
    bob.expect_of("call:incoming", &second).await;
    bob.act("call:accept", &second).await;
    alice.expect_none("call:busy", UNTIL_SENT_AGAIN).await;
    bob.expect_none("call:incoming", Duration::from_millis(100)).await;
    bob.act("call:accept", &first).await;
    alice.expect_of("call:accepted", &first).await;
}

#[cfg(feature = "failpoints")]
#[tokio::test]
async fn whoever_is_called_unreachable_because_the_ring_was_lost_rings_all_the_same() {
    let cluster = TestCluster::two_nodes().set("FAILPOINTS", "ring-lost=1*return->off").start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let call = alice.start(&["bob"]).await;
    alice.expect_of("call:unreachable", &call).await;
    bob.expect_of("call:incoming", &call).await;
    bob.act("call:accept", &call).await;
    alice.expect_of("call:accepted", &call).await;
}
