//! Recording a call between peers, with a real livekit-server: it moves there first, and if it cannot, nothing is recorded.

use std::time::Duration;

use serde_json::{Value, json};

use super::{PATIENCE, Studio, record};
use crate::{
    escalation::{asked_in, come_in, expect},
    support::{
        TestClient, TestCluster,
        cluster::ClusterBuilder,
        livekit::{self, Instance},
        moves::{assert_code, candidate},
    },
};

/// alice and bob in a call between themselves, which alice begins to record; the call and the recording. Everybody hears
/// of it before anybody is asked to move, and LiveKit before they have moved nothing.
async fn recorded_from_peers(studio: &Studio) -> (TestClient, TestClient, String, String) {
    let alice = studio.cluster.connect(0, "alice", "phone").await;
    let bob = studio.cluster.connect(1, "bob", "phone").await;
    let call = alice.call_through(&bob).await;
    assert_code(&bob.refused("recording:start", json!({"callId": call})).await, &["forbidden"]);
    let recording = record(&alice, &call, json!({})).await;
    for side in [&alice, &bob] {
        let heard = expect(side, "recording:started", &call).await;
        assert_eq!((&heard["recordingId"], &heard["by"]), (&json!(recording), &json!("alice")), "{heard}");
        let moves = side.expect_within(PATIENCE, "call:state", |e| e["escalating"].is_object()).await.data;
        assert_eq!((&moves["escalating"]["cause"], &moves["escalating"]["by"]), (&json!("recording"), &json!("alice")));
    }
    (alice, bob, call, recording)
}

async fn studio(settings: ClusterBuilder, livekit: &Instance) -> Studio {
    Studio::with(settings.with_livekit(livekit), &livekit.api_secret).await
}

/// Waits until the recording has failed; why, as this side is told.
async fn failure(side: &TestClient, call: &str) -> String {
    let is_failure = |e: &Value| e["callId"] == call && e["status"] == "failed";
    let failed = side.expect_within(PATIENCE, "recording:stopped", is_failure).await.data;
    failed["reason"].as_str().unwrap_or_else(|| panic!("no reason in {failed}")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_between_peers_moves_before_egress_is_asked_for_and_goes_on_there_when_there_is_none() {
    let Some(program) = livekit::program() else { return };
    let livekit = Instance::start(program).await;
    let studio = studio(TestCluster::two_nodes(), &livekit).await;
    let (alice, bob, call, recording) = recorded_from_peers(&studio).await;
    let (of_alice, of_bob) = (asked_in(&alice, &call).await, asked_in(&bob, &call).await);
    let _one = come_in(&studio.cluster, 0, &livekit, &call, &alice, &of_alice).await;
    let is_there = |e: &Value| e["userId"] == "alice" && e["changes"]["inRoom"] == true;
    bob.expect_within(PATIENCE, "call:participant_updated", is_there).await;
    let now = bob.get(&call).await;
    assert_eq!((&now["mode"], &now["recording"]["status"]), (&json!("p2p"), &json!("starting")), "{now}");
    assert_eq!(studio.egresses_asked_for(), 0, "bob is not there yet");

    let _two = come_in(&studio.cluster, 1, &livekit, &call, &bob, &of_bob).await;
    for side in [&alice, &bob] {
        assert_eq!(expect(side, "call:escalated", &call).await["mode"], "sfu");
    }
    for side in [&alice, &bob] {
        let why = failure(side, &call).await;
        assert!(why.contains("no recorder"), "{why}");
    }
    assert_eq!(studio.egresses_asked_for(), 1);
    let seen = studio.recording("bob", &recording).await;
    assert_eq!(seen["status"], json!("failed"), "{seen}");
    let now = bob.get(&call).await;
    assert_eq!((&now["mode"], &now["status"]), (&json!("sfu"), &json!("active")), "{now}");
    alice.act("call:end", &call).await;
    bob.expect_end(&call, "completed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_between_peers_that_cannot_move_in_time_is_not_recorded_and_goes_on() {
    let Some(program) = livekit::program() else { return };
    let livekit = Instance::start(program).await;
    let settings = TestCluster::two_nodes().set("CARILLON_ESCALATION_TIMEOUT_SECS", 3);
    let studio = studio(settings, &livekit).await;
    let (alice, bob, call, recording) = recorded_from_peers(&studio).await;
    for side in [&alice, &bob] {
        let aborted = expect(side, "call:escalation_aborted", &call).await;
        assert_eq!((&aborted["reason"], &aborted["mode"]), (&json!("not_connected"), &json!("p2p")), "{aborted}");
    }
    for side in [&alice, &bob] {
        let is_word = |e: &Value| e["recordingId"] == recording.as_str() && e["status"] == "processing";
        let stopped = side.expect_within(PATIENCE, "recording:stopped", is_word).await.data;
        assert_eq!(stopped["reason"], json!("the call could not be moved to the media server"), "{stopped}");
        let why = failure(side, &call).await;
        assert!(why.contains("before the call was on the media server"), "{why}");
    }
    let seen = studio.recording("bob", &recording).await;
    assert_eq!(seen["status"], json!("failed"), "{seen}");
    assert_eq!(studio.egresses_asked_for(), 0);
    let now = bob.get(&call).await;
    assert_eq!((&now["mode"], &now["status"]), (&json!("p2p"), &json!("active")), "{now}");
    bob.signal(&call, "alice", "ice_candidate", candidate(8)).await;
    alice.expect("call:signal", |s| s["payload"] == candidate(8)).await;
    // What has just failed is not tried again at once, and nobody is told that it would be.
    let refused = alice.refused("recording:start", json!({"callId": call})).await;
    assert_code(&refused, &["media_unavailable"]);
    bob.expect_none("recording:started", Duration::ZERO).await;
    alice.act("call:end", &call).await;
    bob.expect_end(&call, "completed").await;
}
