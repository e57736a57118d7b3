//! From the wish to the file: who may, who hears of it, and that it goes one way.

use serde_json::json;

use super::{PATIENCE, Studio, record};
use crate::support::{TestCluster, moves::assert_code};

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_is_heard_of_by_all_followed_by_webhooks_and_ready_after_the_call() {
    let Some(studio) = Studio::open(TestCluster::two_nodes()).await else { return };
    let (alice, bob, call) = studio.talk().await;
    assert_code(&bob.refused("recording:start", json!({"callId": call})).await, &["forbidden"]);
    assert_code(&bob.refused("recording:stop", json!({"callId": call})).await, &["forbidden"]);

    let reply = alice.must("recording:start", json!({"callId": call, "layout": "speaker"})).await;
    let wished = &reply["recording"];
    assert_eq!(
        (&wished["status"], &wished["layout"], &wished["audioOnly"]),
        (&json!("starting"), &json!("speaker"), &json!(false))
    );
    let recording = wished["recordingId"].as_str().unwrap().to_owned();
    for side in [&alice, &bob] {
        let heard = side.expect_of("recording:started", &call).await;
        assert_eq!((&heard["recordingId"], &heard["by"]), (&json!(recording), &json!("alice")));
    }
    let again = alice.must("recording:start", json!({"callId": call, "layout": "speaker"})).await;
    assert_eq!(again["recording"]["recordingId"], json!(recording), "one at a time: it runs");
    let other = alice.refused("recording:start", json!({"callId": call, "layout": "grid"})).await;
    assert_code(&other, &["wrong_state"]);

    assert!(studio.tell(&call, &recording, "egress_started", "EGRESS_ACTIVE").await.ok());
    for side in [&alice, &bob] {
        let is_running = |data: &serde_json::Value| data["recording"]["status"] == "recording";
        side.expect_within(PATIENCE, "call:state", is_running).await;
    }
    assert_eq!(bob.get(&call).await["recording"]["recordingId"], json!(recording), "who comes in sees it too");

    alice.act("call:end", &call).await;
    bob.expect_end(&call, "completed").await;
    // Nothing is there to be had yet.
    let early = studio.get("bob", &format!("/api/v1/recordings/{recording}/download")).await;
    assert_eq!((early.status, early.code()), (409, "wrong_state"), "{early:?}");
    std::fs::write(studio.file(&recording), b"moving pictures").unwrap();
    assert!(studio.tell(&call, &recording, "egress_ended", "EGRESS_COMPLETE").await.ok());
    for side in [&alice, &bob] {
        let ready =
            side.expect_within(PATIENCE, "recording:ready", |data| data["recordingId"] == recording.as_str()).await;
        assert_eq!((&ready.data["callId"], &ready.data["sizeBytes"]), (&json!(call), &json!(15)));
    }
    // Late and repeated: it stays what it is.
    for (kind, status) in [("egress_updated", "EGRESS_ACTIVE"), ("egress_ended", "EGRESS_FAILED")] {
        assert!(studio.tell(&call, &recording, kind, status).await.ok());
    }
    let seen = studio.recording("bob", &recording).await;
    assert_eq!((&seen["status"], &seen["startedBy"]), (&json!("ready"), &json!("alice")));

    let timeline = studio.get("bob", &format!("/api/v1/calls/{call}/timeline")).await;
    let kinds: Vec<&str> =
        timeline.body["events"].as_array().unwrap().iter().filter_map(|event| event["kind"].as_str()).collect();
    for kind in ["recording_started", "recording_changed"] {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_that_fails_leaves_the_call_and_the_next_may_begin() {
    let Some(studio) = Studio::open(TestCluster::embedded()).await else { return };
    let (alice, bob, call) = studio.talk().await;
    let recording = record(&alice, &call, json!({})).await;
    assert!(studio.tell(&call, &recording, "egress_ended", "EGRESS_FAILED").await.ok());
    for side in [&alice, &bob] {
        let stopped = side.expect_of("recording:stopped", &call).await;
        assert_eq!((&stopped["status"], &stopped["recordingId"]), (&json!("failed"), &json!(recording)));
    }
    let next = record(&alice, &call, json!({"audioOnly": true, "format": "ogg"})).await;
    assert_ne!(next, recording);
    assert_eq!(bob.get(&call).await["recording"]["format"], json!("ogg"));
    alice.act("call:end", &call).await;
    bob.expect_end(&call, "completed").await;
    assert_eq!(studio.recording("alice", &recording).await["status"], json!("failed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_over_rest_with_the_same_codes() {
    let Some(studio) = Studio::open(TestCluster::embedded()).await else { return };
    let (_alice, bob, call) = studio.talk().await;
    let path = format!("/api/v1/calls/{call}/recording");
    let none = studio.get("alice", &path).await;
    assert_eq!((none.status, none.code()), (404, "not_found"));
    let by = |user: &str| studio.cluster.rest(0, user);
    let stranger = by("mallory").request("POST", &path, Some(json!({}))).await;
    let nowhere = by("mallory").request("POST", "/api/v1/calls/nowhere/recording", Some(json!({}))).await;
    assert_eq!((stranger.status, stranger.untraced()), (404, nowhere.untraced()), "as if it were not there");
    let participant = by("bob").request("POST", &path, Some(json!({}))).await;
    assert_eq!((participant.status, participant.code()), (403, "forbidden"));
    for wrong in [
        json!({"layout": "mosaic"}),
        json!({"format": "webm"}),
        json!({"format": "ogg", "audioOnly": false}),
        json!({"retentionDays": 0}),
    ] {
        let refused = by("alice").request("POST", &path, Some(wrong.clone())).await;
        assert_eq!((refused.status, refused.code()), (400, "invalid"), "{wrong}");
    }
    let started = by("alice").request("POST", &path, Some(json!({"resolution": "720p", "retentionDays": 7}))).await;
    assert!(started.ok(), "{started:?}");
    let recording = started.body["recording"]["recordingId"].clone();
    bob.expect_of("recording:started", &call).await;
    let seen = studio.get("bob", &path).await;
    assert_eq!(
        (&seen.body["recording"]["recordingId"], &seen.body["recording"]["retentionDays"]),
        (&recording, &json!(7))
    );
    for _ in 0..2 {
        let stopped = by("alice").request("DELETE", &path, None).await;
        assert!(stopped.ok(), "to stop twice is to stop once: {stopped:?}");
        assert_eq!(stopped.body["recording"]["status"], json!("processing"));
    }
    bob.expect_of("recording:stopped", &call).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_with_a_key_is_carried_out_once() {
    let Some(studio) = Studio::open(TestCluster::embedded()).await else { return };
    let (alice, _bob, call) = studio.talk().await;
    let first = alice.call_keyed("recording:start", Some("k1"), json!({"callId": call})).await.unwrap();
    alice.must("recording:stop", json!({"callId": call})).await;
    let again = alice.call_keyed("recording:start", Some("k1"), json!({"callId": call})).await.unwrap();
    assert_eq!(first, again, "the first answer, and no second recording");
    let other = alice.call_keyed("recording:start", Some("k1"), json!({"callId": call, "layout": "grid"})).await;
    assert_code(&other.unwrap_err(), &["conflict"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_media_server_or_a_store_nothing_is_recorded_and_calls_go_on() {
    let cluster = TestCluster::embedded().start().await;
    let (alice, bob) = (cluster.connect(0, "alice", "laptop").await, cluster.connect(0, "bob", "phone").await);
    let call = alice.call_through(&bob).await;
    let refused = alice.refused("recording:start", json!({"callId": call})).await;
    assert_code(&refused, &["media_unavailable"]);
    let rest =
        cluster.rest(0, "alice").request("POST", &format!("/api/v1/calls/{call}/recording"), Some(json!({}))).await;
    assert_eq!((rest.status, rest.code()), (503, "media_unavailable"));
    alice.act("call:end", &call).await;
    bob.expect_end(&call, "completed").await;
}
