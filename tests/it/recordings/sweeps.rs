//! Recordings past their time, and recordings that are stuck.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{PATIENCE, Studio, record, talk_on_server};
use crate::{
    media_rooms::ERROR_500,
    support::{
        TestCluster,
        livekit::{self, Instance},
        proxy::{Mode, Proxy},
    },
    sweepers::carillon_sweep,
};

/// Its time is over.
pub fn expire(studio: &Studio, recording: &str) {
    // With another version: who has read it before does not write over this.
    let set = "expires_at = now() - interval '1 hour', version = version + 1";
    let sql = format!("UPDATE recordings SET {set} WHERE id = '{recording}'");
    studio.cluster.database().unwrap().sql(&sql);
}

/// Everything that happened to it happened an hour ago.
pub fn age(studio: &Studio, recording: &str) {
    let hour = "interval '1 hour'";
    let sql = format!(
        "UPDATE recordings SET version = version + 1, created_at = created_at - {hour}, attempt_at = attempt_at - {hour}, \
         stop_at = stop_at - {hour}, ended_at = ended_at - {hour} WHERE id = '{recording}'"
    );
    studio.cluster.database().unwrap().sql(&sql);
}

pub fn row(studio: &Studio, recording: &str, column: &str) -> Option<String> {
    let sql = format!("SELECT {column}::text FROM recordings WHERE id = '{recording}'");
    studio.cluster.database().unwrap().sql(&sql)[0][0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_recording_loses_its_file_and_keeps_its_row_and_a_dry_run_does_nothing() {
    let Some(studio) = Studio::open(TestCluster::two_nodes()).await else { return };
    let (_alice, _bob, _call, recording) = studio.recorded(b"old").await;
    let sweep = |more: &'static [&'static str]| {
        let cluster = &studio.cluster;
        async move { carillon_sweep(cluster, &[&["expired_recordings"], more].concat()).await }
    };
    assert!(sweep(&[]).await.ended("done; found 0, acted 0, failed 0"), "its time is to come");
    expire(&studio, &recording);
    let late = studio.get("alice", &format!("/api/v1/recordings/{recording}/download")).await;
    assert_eq!((late.status, late.code()), (409, "wrong_state"), "also before the sweeper has come by: {late:?}");
    let dry = sweep(&["--dry-run"]).await;
    assert!(dry.ended("done; found 1, acted 0, failed 0"), "{dry:?}");
    assert!(studio.file(&recording).exists());
    let swept = sweep(&[]).await;
    assert!(swept.ended("done; found 1, acted 1, failed 0"), "{swept:?}");
    assert!(swept.lines[0].contains(&format!("recording.id={recording}")), "{swept:?}");
    assert!(!studio.file(&recording).exists());
    assert_eq!(studio.recording("bob", &recording).await["status"], json!("expired"), "the row is kept");
    assert!(sweep(&[]).await.ended("done; found 0, acted 0, failed 0"), "twice is once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_legal_hold_keeps_a_file_whose_time_is_over_and_is_an_administrator_s_to_set() {
    let Some(studio) = Studio::open(TestCluster::two_nodes()).await else { return };
    let (_alice, _bob, _call, recording) = studio.recorded(b"evidence").await;
    let path = format!("/api/v1/recordings/{recording}");
    let hold = |on: bool| Some(json!({"legalHold": on}));
    let refused = studio.cluster.rest(0, "alice").request("PATCH", &path, hold(true)).await;
    assert_eq!((refused.status, refused.code()), (403, "forbidden"));
    let now = carillon::clock::now().as_millis() / 1000;
    let admin = studio.cluster.realm().token_with(&json!({"sub": "root", "role": "admin", "exp": now + 3600}));
    let http = studio.cluster.http(0);
    let held = http.request("PATCH", &path, Some(&admin), hold(true)).await.unwrap();
    assert_eq!((held.status, &held.body["recording"]["legalHold"]), (200, &json!(true)), "{held:?}");
    let by_admin = http.request("GET", &format!("{path}/download"), Some(&admin), None).await.unwrap();
    assert_eq!(by_admin.status, 404, "who was not in the call does not hear what was said");
    expire(&studio, &recording);
    assert!(carillon_sweep(&studio.cluster, &["expired_recordings"]).await.ended("done; found 0, acted 0, failed 0"));
    let deleted = studio.cluster.rest(0, "alice").request("DELETE", &path, None).await;
    assert_eq!((deleted.status, deleted.code()), (409, "wrong_state"));
    assert_eq!(studio.get("bob", &format!("{path}/download")).await.status, 200, "its time does not run out");
    assert_eq!(http.request("PATCH", &path, Some(&admin), hold(false)).await.unwrap().status, 200);
    assert!(carillon_sweep(&studio.cluster, &["expired_recordings"]).await.ended("done; found 1, acted 1, failed 0"));
    assert!(!studio.file(&recording).exists());
    let acts = studio.cluster.database().unwrap().sql("SELECT action FROM audit_log WHERE target_kind = 'recording'");
    assert_eq!(acts.len(), 2, "each change is on record: {acts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_deleted_is_reported_and_tried_again_and_its_row_stays() {
    let Some(studio) = Studio::open(TestCluster::two_nodes()).await else { return };
    let (_alice, _bob, _call, recording) = studio.recorded(b"old").await;
    expire(&studio, &recording);
    // In place of the file something that the store cannot delete.
    let file = studio.file(&recording);
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir_all(file.join("full")).unwrap();
    for failures in ["1", "2"] {
        let swept = carillon_sweep(&studio.cluster, &["expired_recordings"]).await;
        assert!(swept.ended("failed; found 1, acted 0, failed 1"), "{swept:?}");
        assert_eq!(row(&studio, &recording, "status").as_deref(), Some("ready"), "not before its file is gone");
        assert_eq!(row(&studio, &recording, "purge_failures").as_deref(), Some(failures));
    }
    std::fs::remove_dir_all(&file).unwrap();
    // As after a death between deleting and writing it down: what is gone is deleted again.
    let swept = carillon_sweep(&studio.cluster, &["expired_recordings"]).await;
    assert!(swept.ended("done; found 1, acted 1, failed 0"), "{swept:?}");
    assert_eq!(row(&studio, &recording, "status").as_deref(), Some("expired"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_recording_s_file_goes_with_the_next_sweep() {
    let Some(studio) = Studio::open(TestCluster::two_nodes()).await else { return };
    let (_alice, _bob, _call, recording) = studio.recorded(b"oops").await;
    let path = format!("/api/v1/recordings/{recording}");
    assert_eq!(studio.cluster.rest(0, "alice").request("DELETE", &path, None).await.status, 204);
    assert!(studio.file(&recording).exists());
    assert!(carillon_sweep(&studio.cluster, &["expired_recordings"]).await.ended("done; found 1, acted 1, failed 0"));
    assert!(!studio.file(&recording).exists());
    assert_eq!(row(&studio, &recording, "status").as_deref(), Some("deleted"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_webhook_is_made_good_by_the_file_and_by_telling_again() {
    let Some(studio) = Studio::open(TestCluster::two_nodes()).await else { return };
    let (alice, bob, call) = studio.talk().await;
    let recording = record(&alice, &call, json!({})).await;
    assert!(studio.tell(&call, &recording, "egress_started", "EGRESS_ACTIVE").await.ok());
    alice.act("call:end", &call).await;
    bob.expect_end(&call, "completed").await;
    // It ended, and is not there yet.
    assert!(studio.tell(&call, &recording, "egress_ended", "EGRESS_COMPLETE").await.ok());
    let waits = carillon_sweep(&studio.cluster, &["stuck_recordings"]).await;
    assert!(waits.ended("done; found 0, acted 0, failed 0"), "{waits:?}");
    std::fs::write(studio.file(&recording), b"late").unwrap();
    age(&studio, &recording);
    let swept = carillon_sweep(&studio.cluster, &["stuck_recordings"]).await;
    assert!(swept.ended("done; found 1, acted 1, failed 0"), "{swept:?}");
    for side in [&alice, &bob] {
        side.expect_within(PATIENCE, "recording:ready", |data| data["recordingId"] == recording.as_str()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_never_comes_makes_the_recording_failed() {
    let Some(studio) = Studio::open(TestCluster::two_nodes()).await else { return };
    let (alice, _bob, call) = studio.talk().await;
    let recording = record(&alice, &call, json!({})).await;
    assert!(studio.tell(&call, &recording, "egress_ended", "EGRESS_COMPLETE").await.ok());
    // The look that the webhook has begun is over: what finds that the time is up is the sweeper.
    let deadline = Instant::now() + PATIENCE;
    while (0..2).all(|node| studio.cluster.node(node).logged("file of a recording waited for").is_empty()) {
        assert!(Instant::now() < deadline, "nobody has looked for the file");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    age(&studio, &recording);
    let swept = carillon_sweep(&studio.cluster, &["stuck_recordings"]).await;
    assert!(swept.ended("done; found 1, acted 1, failed 0"), "{swept:?}");
    let stopped = alice.expect_within(PATIENCE, "recording:stopped", |data| data["status"] == "failed").await;
    assert_eq!(stopped.data["reason"], json!("its file was not found"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_egress_is_gone_only_when_livekit_was_asked_and_knows_none() {
    let Some(program) = livekit::program() else { return };
    let livekit = Instance::start(program).await;
    let proxy = Proxy::start(livekit.port(), 13);
    let builder = TestCluster::two_nodes().with_livekit_at(&livekit, &format!("ws://127.0.0.1:{}", proxy.port()));
    let studio = Studio::with(builder, &livekit.api_secret).await;
    let alice = studio.cluster.connect(0, "alice", "laptop").await;
    let bob = studio.cluster.connect(1, "bob", "phone").await;
    let call = talk_on_server(&alice, &bob).await;
    let recording = record(&alice, &call, json!({})).await;
    assert!(studio.tell(&call, &recording, "egress_started", "EGRESS_ACTIVE").await.ok());
    let is_running = |data: &serde_json::Value| data["recording"]["status"] == "recording";
    alice.expect_within(PATIENCE, "call:state", is_running).await;
    age(&studio, &recording);
    for mode in [Mode::Answer(ERROR_500), Mode::Stall, Mode::HoldAnswers, Mode::Refuse] {
        proxy.set(mode.clone());
        let swept = carillon_sweep(&studio.cluster, &["stuck_recordings"]).await;
        assert!(swept.summary.contains("could_not_ask"), "{mode:?}: {swept:?}");
        assert_eq!(row(&studio, &recording, "status").as_deref(), Some("recording"), "{mode:?}: unknown is not gone");
    }
    proxy.set(Mode::Pass);
    let dry = carillon_sweep(&studio.cluster, &["stuck_recordings", "--dry-run"]).await;
    assert!(dry.ended("done; found 1, acted 0, failed 0"), "{dry:?}");
    assert_eq!(row(&studio, &recording, "status").as_deref(), Some("recording"));
    let swept = carillon_sweep(&studio.cluster, &["stuck_recordings"]).await;
    assert!(swept.ended("done; found 1, acted 1, failed 0"), "{swept:?}");
    for side in [&alice, &bob] {
        let stopped = side.expect_within(PATIENCE, "recording:stopped", |data| data["status"] == "failed").await;
        assert_eq!(stopped.data["reason"], json!("the media server knows nothing of it any more"));
    }
    let status = alice.get(&call).await["status"].clone();
    assert!(status == "active" || status == "connecting", "the call goes on: {status}");
}
