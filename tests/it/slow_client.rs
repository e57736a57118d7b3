//! A client that stops reading: it is disconnected, never waited for, and nobody beside it notices.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Connect, TestClient, TestCluster, moves::sdp, node::TestNode};

/// From the moment the server has more to say than the client takes.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// What a stalled client may cost its node: 1 MiB by the issue, and what an allocator keeps of what passed through.
const MEMORY_KIB: u64 = 8 * 1024;

/// Enough to fill the kernel's buffers of a loopback connection (some 6 MiB with the defaults) and far more than the
/// server may keep.
const FLOOD: usize = 400;

/// One-way times of signals between two neighbours, in the order sent.
async fn latencies(from: &TestClient, to: &TestClient, call: &str, count: usize) -> Vec<Duration> {
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let sent = Instant::now();
        from.cast("call:signal", json!({"callId": call, "to": to.user, "type": "offer", "payload": sdp("offer")}));
        let limit = Duration::from_secs(5);
        times.push(to.expect_within(limit, "call:signal", |s| s["callId"] == call).await.at - sent);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    times
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

async fn until_gone(node: &TestNode, port: u16, limit: Duration) -> Duration {
    let start = Instant::now();
    loop {
        let sockets = node.kernel_sockets_to(port);
        if sockets.is_empty() {
            return start.elapsed();
        }
        assert!(start.elapsed() < limit, "after {limit:?} the kernel still has {sockets:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_client_that_stops_reading_is_gone_from_the_kernel_and_its_neighbours_notice_nothing() {
    let cluster = TestCluster::embedded().start().await;
    let node = cluster.node(0);
    let near = cluster.connect(0, "near", "phone").await;
    let far = cluster.connect(0, "far", "phone").await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let slow = Connect::to(node, "slow", "phone").receive_buffer(16 * 1024).go().await.unwrap();
    let neighbours = near.call_through(&far).await;
    let call = alice.call_through(&slow).await;
    let before = median(latencies(&near, &far, &neighbours, 100).await);
    let memory_before = node.memory_kib();

    slow.stop_reading();
    assert_eq!(node.kernel_sockets_to(slow.local_port).len(), 1, "connected until then");
    let payload = json!({"sdp": "s".repeat(48 * 1024)});
    let mut memory_peak = memory_before;
    for n in 0..FLOOD {
        alice.cast("call:signal", json!({"callId": call, "to": "slow", "type": "offer", "payload": payload}));
        if n % 20 == 0 {
            alice.assert_alive().await;
            memory_peak = memory_peak.max(node.memory_kib());
        }
    }
    let (waited, meanwhile) =
        tokio::join!(until_gone(node, slow.local_port, GONE_WITHIN), latencies(&near, &far, &neighbours, 100),);
    memory_peak = memory_peak.max(node.memory_kib());
    let after = median(meanwhile);
    println!("gone after {waited:?}; neighbours {before:?} then {after:?}; {memory_before} then {memory_peak} KiB");
    assert!(memory_peak < memory_before + MEMORY_KIB, "{memory_before} KiB grew to {memory_peak}");
    assert!(after < 3 * before + Duration::from_millis(5), "neighbours: {before:?} then {after:?}");
    alice.expect("call:participant_reconnecting", |e| e["callId"] == *call && e["userId"] == "slow").await;
    assert_eq!(near.get(&neighbours).await["status"], "active");
}

#[tokio::test]
async fn a_client_that_stops_reading_is_gone_soon_even_when_little_is_sent_to_it() {
    let cluster = TestCluster::embedded().start().await;
    let node = cluster.node(0);
    let alice = cluster.connect(0, "alice", "phone").await;
    let silent = Connect::to(node, "silent", "phone").go().await.unwrap();
    let call = alice.call_through(&silent).await;
    silent.stop_reading();
    alice.signal(&call, "silent", "offer", sdp("offer")).await;
    until_gone(node, silent.local_port, GONE_WITHIN).await;
    alice.expect("call:participant_reconnecting", |e| e["callId"] == *call && e["userId"] == "silent").await;
}

#[tokio::test]
async fn a_slow_client_that_comes_back_goes_on_with_its_call() {
    let cluster = TestCluster::embedded().start().await;
    let node = cluster.node(0);
    let alice = cluster.connect(0, "alice", "phone").await;
    let slow = Connect::to(node, "slow", "phone").receive_buffer(16 * 1024).go().await.unwrap();
    let call = alice.call_through(&slow).await;
    slow.stop_reading();
    let payload = json!({"sdp": "s".repeat(48 * 1024)});
    for _ in 0..FLOOD {
        alice.cast("call:signal", json!({"callId": call, "to": "slow", "type": "offer", "payload": payload}));
    }
    alice.assert_alive().await;
    until_gone(node, slow.local_port, GONE_WITHIN).await;
    // A device that cannot say what it has seen starts from the call as it is.
    drop(slow);
    let back = cluster.connect(0, "slow", "phone").await;
    assert_eq!(back.welcome["activeCalls"][0]["callId"], *call, "{}", back.welcome);
    back.act("call:end", &call).await;
    alice.expect_end(&call, "completed").await;
}
