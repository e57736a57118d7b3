//! A limit is the cluster's while Redis is there, and each node's without it.

use std::{sync::Arc, time::Duration};

use super::passes;
use crate::support::{TestClient, TestCluster, redis};

const BURST: usize = 10;
const LIMIT: (&str, &str) = ("CARILLON_RATE_LIMITS", "command=10/60m,command.address=off");
/// What one node has let through is known to the others after this, given some tries.
const BETWEEN: Duration = Duration::from_millis(300);

async fn spend_all(client: &TestClient) {
    for n in 0..BURST {
        assert!(passes(client).await, "number {n} is within the burst");
    }
    assert!(!passes(client).await, "and no more");
}

/// Spends the user's burst on the first node; how much of another the second lets through, up to less than a burst.
async fn passed_on_the_second(cluster: &TestCluster, user: &str) -> usize {
    let first = cluster.connect(0, user, "first").await;
    let second = cluster.connect(1, user, "second").await;
    spend_all(&first).await;
    for passed in 0..BURST - 1 {
        if !passes(&second).await {
            return passed;
        }
        tokio::time::sleep(BETWEEN).await;
    }
    BURST - 1
}

#[tokio::test]
async fn two_nodes_share_the_limit_of_a_user_and_leave_nothing_in_redis_for_good() {
    let redis = Arc::new(redis::Instance::start());
    let cluster = TestCluster::two_nodes().on_redis(redis.clone()).set(LIMIT.0, LIMIT.1).start().await;
    let passed = passed_on_the_second(&cluster, "alice").await;
    assert!(passed < BURST - 1, "the second node does not know of the first: {passed}");
    assert!(passes(&cluster.connect(1, "bob", "phone").await).await, "others have theirs");
    let count = "local n = 0 for _, k in ipairs(redis.call('KEYS', '*:limit:*')) do \
                 if redis.call('PTTL', k) < 0 then return -1 end n = n + 1 end return n";
    let counted = redis.ask(&format!("EVAL \"{count}\" 0")).unwrap();
    let counted: i64 = counted.trim().trim_start_matches(':').parse().unwrap_or_else(|_| panic!("{counted}"));
    assert!(counted > 0, "keys under the cluster's prefix, each with an end: {counted}");
}

#[tokio::test]
async fn without_redis_each_node_counts_by_itself_and_with_it_again_together() {
    let redis = Arc::new(redis::Instance::start());
    let cluster = TestCluster::two_nodes().on_redis(redis.clone()).set(LIMIT.0, LIMIT.1).start().await;
    redis.kill();
    let passed = passed_on_the_second(&cluster, "alone").await;
    assert_eq!(passed, BURST - 1, "a whole burst on each node");
    redis.start_again();
    // Another user each time: until the nodes have found Redis again, each node goes by itself.
    for n in 0..20 {
        if passed_on_the_second(&cluster, &format!("user-{n}")).await < BURST - 1 {
            return;
        }
    }
    panic!("the nodes do not count together again\n{}", cluster.node(1).log_tail());
}
