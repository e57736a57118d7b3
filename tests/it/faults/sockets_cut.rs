//! Clients lose their sockets at random moments, also between a command and its reply, and come back on other nodes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use rand::RngExt;

use super::{
    nodes,
    roamer::{Balancer, Roamer, whole_call},
    rounds::repeat,
};
use crate::support::TestClient;

/// Pairs that call each other.
const PAIRS: usize = 4;
/// Between two cuts, in milliseconds.
const PAUSES: std::ops::Range<u64> = 50..400;
/// Of one round.
const CUTS: usize = 20;

#[tokio::test]
async fn sockets_cut_at_random_and_resumed_on_other_nodes_cost_nobody_an_event() {
    repeat(1, async |history, round| {
        let cluster = nodes(3).set("CARILLON_RECONNECT_GRACE_SECS", 15).start().await;
        let balancer = Balancer::of(&cluster);
        let mut roamers = Vec::new();
        for pair in 0..PAIRS {
            for (side, user) in [format!("caller-{pair}"), format!("callee-{pair}")].iter().enumerate() {
                roamers.push(Roamer::connect(&balancer, pair + side, user).await);
            }
        }
        let mut random = round.random();
        let over = AtomicBool::new(false);
        let cutting = async {
            for _ in 0..CUTS {
                tokio::time::sleep(Duration::from_millis(random.random_range(PAUSES))).await;
                roamers[random.random_range(0..roamers.len())].cut();
            }
            over.store(true, Ordering::SeqCst);
        };
        let calling = join_all(roamers.chunks(2).map(|pair| {
            let (history, over) = (history, &over);
            async move {
                let mut turn = [&pair[0], &pair[1]];
                while !over.load(Ordering::SeqCst) {
                    whole_call(history, turn[0], turn[1]).await;
                    turn.reverse();
                }
            }
        }));
        tokio::join!(cutting, calling);
        // Whoever was cut off last comes back, to be asked what it has heard.
        for roamer in &roamers {
            roamer.hears("anything", |client| client.is_closed().is_none()).await;
        }
        let clients: Vec<Arc<TestClient>> = roamers.iter().map(Roamer::client).collect();
        history.check(&cluster, &clients.iter().map(Arc::as_ref).collect::<Vec<_>>()).await;
    })
    .await;
}
