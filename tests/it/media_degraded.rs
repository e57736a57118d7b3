//! Without LiveKit, and with one that is away.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{
    TestCluster,
    livekit::{self, Instance},
    proxy::{Mode, Proxy},
};

/// Until a node has noticed, on a busy machine.
const NOTICED: Duration = Duration::from_secs(60);

async fn readiness(cluster: &TestCluster) -> (u16, Value) {
    let answer = cluster.http(0).get("/readyz").await;
    (answer.status, answer.body["degraded"].clone())
}

/// Waits until `/readyz` says so of LiveKit; always 200.
async fn until_degraded(cluster: &TestCluster, wanted: Option<&str>) {
    let deadline = Instant::now() + NOTICED;
    loop {
        let (status, degraded) = readiness(cluster).await;
        assert_eq!(status, 200, "degraded, never down");
        let of_livekit = degraded.as_array().unwrap().iter().find(|loss| loss["dependency"] == "livekit");
        if of_livekit.map(|loss| loss["fault"].as_str().unwrap()) == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "wanted {wanted:?}: {degraded}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn metrics(cluster: &TestCluster) -> String {
    cluster.http(0).get("/metrics").await.body.as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_media_server_calls_work_and_what_needs_one_says_so() {
    let cluster = TestCluster::embedded().start().await;
    let (alice, bob) = (cluster.connect(0, "alice", "phone").await, cluster.connect(0, "bob", "phone").await);
    let call = alice.call_through(&bob).await;
    for command in ["call:escalate", "recording:start"] {
        assert_eq!(alice.refused(command, json!({"callId": call})).await.code, "media_unavailable", "{command}");
    }
    let (status, degraded) = readiness(&cluster).await;
    assert_eq!((status, degraded), (200, json!([])), "what was never wanted is not missed");
    let webhook = cluster.http(0).request("POST", "/api/v1/livekit/webhook", Some("x"), Some(json!({}))).await.unwrap();
    assert_eq!((webhook.status, webhook.code()), (503, "media_unavailable"));
    alice.act("call:end", &call).await;
    bob.expect_end(&call, "completed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_media_server_that_nobody_listens_for_makes_a_node_degraded_and_not_down() {
    let port = crate::support::process::free_port();
    let settings = TestCluster::embedded().set("LIVEKIT_URL", format!("ws://127.0.0.1:{port}"));
    let cluster = settings.set("LIVEKIT_API_KEY", "key").set("LIVEKIT_API_SECRET", "canary-livekit-0").start().await;
    until_degraded(&cluster, Some("unreachable")).await;
    let (alice, bob) = (cluster.connect(0, "alice", "phone").await, cluster.connect(0, "bob", "phone").await);
    let call = alice.call_through(&bob).await;
    alice.act("call:end", &call).await;
    bob.expect_end(&call, "completed").await;
    let metrics = metrics(&cluster).await;
    let counted = "carillon_livekit_requests_total{kind=\"probe\",outcome=\"unreachable\"}";
    assert!(metrics.contains(counted), "{metrics}");
    assert!(metrics.contains("carillon_degraded{dependency=\"livekit\"} 1"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_media_server_that_goes_silent_and_comes_back_is_noticed_both_times() {
    let Some(program) = livekit::program() else { return };
    let livekit = Instance::start(program).await;
    let link = Proxy::start(livekit.port(), 7);
    let url = format!("ws://127.0.0.1:{}", link.port());
    let cluster = TestCluster::embedded().with_livekit_at(&livekit, &url).start().await;
    until_degraded(&cluster, None).await;
    link.set(Mode::Stall);
    until_degraded(&cluster, Some("unreachable")).await;
    link.mend();
    until_degraded(&cluster, None).await;
    let metrics = metrics(&cluster).await;
    for outcome in ["ok", "timeout"] {
        let counted = format!("carillon_livekit_requests_total{{kind=\"probe\",outcome=\"{outcome}\"}}");
        assert!(metrics.contains(&counted), "{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_media_server_with_another_key_refuses_and_that_is_said_apart() {
    let Some(program) = livekit::program() else { return };
    let livekit = Instance::start(program).await;
    let settings = TestCluster::embedded().with_livekit(&livekit);
    let cluster = settings.set("LIVEKIT_API_SECRET", "another-secret-of-thirty-two-bytes").start().await;
    until_degraded(&cluster, Some("refused")).await;
}
