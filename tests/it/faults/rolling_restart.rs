//! Every node is told to stop and replaced, one after another, while clients call without a pause.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{
    nodes,
    roamer::{Balancer, Roamer, whole_call},
    rounds::repeat,
    talk,
};
use crate::support::TestClient;

const NODES: usize = 3;
/// Pairs that call each other again and again, beside one talk that lasts through it all.
const PAIRS: usize = 4;
/// From SIGTERM to the end of the process: what an orchestrator is told to allow, and a loaded machine.
const LEAVING: Duration = Duration::from_secs(20);
/// Between the arrival of a node and the leave of the next.
const PAUSE: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_rolling_restart_under_load_loses_no_call_and_no_event() {
    repeat(1, async |history, _| {
        let mut cluster = nodes(NODES).set("CARILLON_RECONNECT_GRACE_SECS", 15).start().await;
        let balancer = Balancer::of(&cluster);
        let mut roamers = Vec::new();
        for pair in 0..PAIRS {
            for (side, user) in [format!("caller-{pair}"), format!("callee-{pair}")].iter().enumerate() {
                roamers.push(Roamer::connect(&balancer, pair + side, user).await);
            }
        }
        let (alice, bob, call) = talk(&cluster, 0).await;
        history.include(&call);
        let talking = [Roamer::of(&balancer, 0, alice), Roamer::of(&balancer, 1, bob)];
        let over = AtomicBool::new(false);

        let restarting = async {
            let mut slowest = Duration::ZERO;
            for number in 0..NODES {
                let began = Instant::now();
                let status = cluster.node_mut(number).terminate(LEAVING).await;
                slowest = slowest.max(began.elapsed());
                assert!(status.success(), "it leaves in good order: {status}\n{}", cluster.node(number).log_tail());
                cluster.replace(number).await;
                balancer.replace(number, cluster.node(number).address);
                tokio::time::sleep(PAUSE).await;
            }
            over.store(true, Ordering::SeqCst);
            slowest
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
        let lasting = async {
            let mut screen = true;
            while !over.load(Ordering::SeqCst) {
                for side in &talking {
                    side.must(history, "call:media", json!({"callId": call, "screen": screen})).await;
                }
                screen = !screen;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let (slowest, _, ()) = tokio::join!(restarting, calling, lasting);
        println!("the slowest node left in {:.1} s", slowest.as_secs_f64());

        let shown = talking[0].must(history, "call:get", json!({"callId": call})).await;
        assert_eq!(shown["call"]["status"], "active", "the talk has outlived every node it began on: {shown}");
        talking[1].must(history, "call:end", json!({"callId": call})).await;
        for side in &talking {
            side.hears("the end", |client| client.order().has_ended(&call)).await;
            let left = |e: &Value| e["reason"] == "connection_lost";
            let lost = side.client().history().iter().any(|e| e.event == "call:participant_left" && left(&e.data));
            assert!(!lost, "nobody is taken for gone");
        }
        let clients: Vec<Arc<TestClient>> = roamers.iter().chain(&talking).map(Roamer::client).collect();
        history.check(&cluster, &clients.iter().map(Arc::as_ref).collect::<Vec<_>>()).await;
    })
    .await;
}
