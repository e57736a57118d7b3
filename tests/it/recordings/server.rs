//! What a real livekit-server says when it is asked to record.

use serde_json::json;

use super::{PATIENCE, Studio, record, talk_on_server};
use crate::support::{
    TestCluster,
    livekit::{self, Instance},
};

#[tokio::test(flavor = "multi_thread")]
async fn without_a_recorder_the_recording_fails_with_a_reason_and_the_call_goes_on() {
    let Some(program) = livekit::program() else { return };
    let livekit = Instance::start(program).await;
    let studio = Studio::with(TestCluster::embedded().with_livekit(&livekit), &livekit.api_secret).await;
    let alice = studio.cluster.connect(0, "alice", "laptop").await;
    let bob = studio.cluster.connect(0, "bob", "phone").await;
    let call = talk_on_server(&alice, &bob).await;
    let recording = record(&alice, &call, json!({})).await;
    for side in [&alice, &bob] {
        let stopped = side.expect_within(PATIENCE, "recording:stopped", |data| data["status"] == "failed").await;
        let reason = stopped.data["reason"].as_str().unwrap_or_default().to_owned();
        assert!(reason.contains("no recorder"), "{reason}");
    }
    assert_eq!(studio.recording("alice", &recording).await["status"], json!("failed"));
    assert!(!alice.get(&call).await["status"].as_str().unwrap().starts_with("end"));
    bob.act("call:leave", &call).await;
}
