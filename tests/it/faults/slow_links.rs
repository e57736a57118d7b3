//! One node is far from PostgreSQL and Redis: everything takes longer, nothing else changes.

use std::time::Duration;

use super::{
    nodes,
    roamer::{Balancer, Roamer, whole_call},
    rounds::repeat,
};
use crate::support::proxy::Mode;

/// One way, in milliseconds.
const DELAYS: std::ops::RangeInclusive<u64> = 100..=300;

#[tokio::test]
async fn a_node_with_slow_links_keeps_its_lease_and_its_calls() {
    repeat(1, async |history, round| {
        // A renewal takes up to 0.6 s here, and one in three must do: the usual lease, not the shortest.
        let cluster = nodes(2).linked(0, round.seed).set("CARILLON_NODE_LEASE_SECS", 5).start().await;
        let balancer = Balancer::of(&cluster);
        let near = Roamer::connect(&balancer, 1, "near").await;
        let far = Roamer::connect(&balancer, 0, "far").await;
        for server in [&cluster.links(0).database, &cluster.links(0).redis] {
            server.set(Mode::Delay(DELAYS));
        }
        for _ in 0..2 {
            whole_call(history, &near, &far).await;
            whole_call(history, &far, &near).await;
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        cluster.assert_no_takeovers();
        assert_eq!((near.moves(1), far.moves(0)), (0, 0), "nobody was cut off");
        history.check(&cluster, &[&near.client(), &far.client()]).await;
    })
    .await;
}
