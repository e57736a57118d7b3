//! A node dies at each step of a recording that another cannot see: whoever comes next, the owner or a sweeper, does what
//! is missing and nothing twice.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{
    PATIENCE, Studio, name_of, record,
    sweeps::{age, expire, row},
    talk_on_server,
};
use crate::{
    support::{TestClient, TestCluster, cluster::ClusterBuilder, process::POLL},
    sweepers::{carillon_sweep, sweep_until},
};

const NOTHING: &str = "done; found 0, acted 0, failed 0";
const ONE: &str = "done; found 1, acted 1, failed 0";

/// Nodes of which the first dies at this fail point when it has been passed so many times.
fn mortal(builder: ClusterBuilder, point: &str, passes: u32) -> ClusterBuilder {
    let builder = builder.set("CARILLON_NODE_LEASE_SECS", 2).set("CARILLON_RECONNECT_GRACE_SECS", 60);
    builder.set_on(0, "FAILPOINT_DEATH", format!("{point}:{passes}"))
}

async fn until(what: &str, is: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(POLL).await;
    }
}

/// The first node has died, which owned the call; the second owns it now, and alice is there too.
async fn after_death(studio: &mut Studio, alice: TestClient) -> TestClient {
    studio.cluster.node_mut(0).expect_death(PATIENCE).await;
    let alice = alice.resume(studio.cluster.node(1)).await;
    until("the call is taken over", || !studio.cluster.node(1).logged("call taken over").is_empty()).await;
    alice
}

async fn sweep_stuck(studio: &Studio, outcome: &str) {
    age_all(studio);
    let swept = carillon_sweep(&studio.cluster, &["stuck_recordings"]).await;
    assert!(swept.ended(outcome), "{outcome} wanted: {swept:?}");
}

fn age_all(studio: &Studio) {
    for row in studio.cluster.database().unwrap().sql("SELECT id FROM recordings") {
        age(studio, row[0].as_deref().unwrap());
    }
}

/// A field of a protocol buffer that is bytes, shorter than 128.
fn field(number: u8, value: &[u8]) -> Vec<u8> {
    let length = u8::try_from(value.len()).ok().filter(|length| *length < 128).expect("a short field");
    [&[number << 3 | 2, length], value].concat()
}

/// LiveKit's list shows an egress of this recording that runs, put where its egress service puts them.
fn list_egress(studio: &Studio, call: &str, recording: &str) {
    const ACTIVE: [u8; 2] = [3 << 3, 1];
    let output = field(2, name_of(recording).as_bytes());
    let request = [field(1, call.as_bytes()), field(11, &output)].concat();
    let info = [field(1, b"EG_1"), ACTIVE.to_vec(), field(4, &request), field(13, call.as_bytes())].concat();
    let info: String = info.iter().map(|byte| format!("\\x{byte:02x}")).collect();
    let redis = studio.livekit.as_ref().expect("a LiveKit of its own").redis();
    for command in [format!("HSET egress EG_1 \"{info}\""), format!("SADD egress:room:{call} EG_1")] {
        let answer = redis.ask(&command).unwrap();
        assert!(answer.starts_with(':'), "{command}: {answer}");
    }
}

/// alice's node has died between writing down that it asks for an egress and asking. What LiveKit lists is the caller's.
async fn died_before_egress() -> Option<(Studio, TestClient, TestClient, String, String)> {
    let mut studio = Studio::open(mortal(TestCluster::two_nodes(), "recording-before-egress", 0)).await?;
    let (alice, bob, call) = studio.talk().await;
    // The node may die before it has answered.
    let _ = alice.call("recording:start", json!({"callId": call})).await;
    let is_of_call = |e: &Value| e["callId"] == call.as_str();
    let heard = bob.expect_within(PATIENCE, "recording:started", is_of_call).await.data;
    let recording = heard["recordingId"].as_str().unwrap().to_owned();
    let alice = after_death(&mut studio, alice).await;
    assert_eq!(row(&studio, &recording, "status").as_deref(), Some("starting"));
    assert_eq!(row(&studio, &recording, "attempts").as_deref(), Some("1"), "nobody asks while it may be on its way");
    assert_eq!(studio.egresses_asked_for(), 0);
    Some((studio, alice, bob, call, recording))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_egress_that_a_dead_node_did_not_get_to_ask_for_is_asked_for_once() {
    let Some((studio, alice, bob, call, recording)) = died_before_egress().await else { return };
    sweep_stuck(&studio, ONE).await;
    assert_eq!(studio.egresses_asked_for(), 1);
    for side in [&alice, &bob] {
        let is_failure = |e: &Value| e["callId"] == call.as_str() && e["status"] == "failed";
        let failed = side.expect_within(PATIENCE, "recording:stopped", is_failure).await.data;
        assert!(failed["reason"].as_str().unwrap_or_default().contains("no recorder"), "{failed}");
    }
    assert_eq!(row(&studio, &recording, "attempts").as_deref(), Some("2"));
    sweep_stuck(&studio, NOTHING).await;
    assert_eq!(studio.egresses_asked_for(), 1);
    assert_eq!(alice.get(&call).await["endedAt"], json!(null), "the call goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_egress_that_a_dead_node_has_started_is_taken_for_it_and_no_other_is_asked_for() {
    let Some((studio, alice, bob, call, recording)) = died_before_egress().await else { return };
    list_egress(&studio, &call, &recording);
    sweep_stuck(&studio, ONE).await;
    for side in [&alice, &bob] {
        let is_running = |e: &Value| e["recording"]["status"] == "recording";
        side.expect_within(PATIENCE, "call:state", is_running).await;
    }
    assert_eq!(row(&studio, &recording, "egress_id").as_deref(), Some("EG_1"));
    sweep_stuck(&studio, NOTHING).await;
    assert_eq!(studio.egresses_asked_for(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_owner_wrote_and_could_not_tell_is_told_by_the_next() {
    let builder = mortal(TestCluster::two_nodes(), "recording-before-telling", 0);
    let Some(mut studio) = Studio::open(builder).await else { return };
    let (alice, bob, call) = studio.talk().await;
    let recording = record(&alice, &call, json!({})).await;
    list_egress(&studio, &call, &recording);
    let answered = studio.tell_to_death(&call, &recording, "egress_started", "EGRESS_ACTIVE").await;
    assert!(!answered, "LiveKit would say it again");
    let alice = after_death(&mut studio, alice).await;
    for side in [&alice, &bob] {
        let is_running = |e: &Value| e["recording"]["status"] == "recording";
        side.expect_within(PATIENCE, "call:state", is_running).await;
    }
    until("it is noted as told", || row(&studio, &recording, "told").as_deref() == Some("true")).await;
    sweep_stuck(&studio, NOTHING).await;
    assert_eq!(studio.egresses_asked_for(), 1, "by the one that died");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_that_is_ready_and_of_which_nobody_was_told_is_told_of_by_the_sweeper() {
    // It runs; it has ended; it is there.
    let builder = mortal(TestCluster::two_nodes(), "recording-before-telling", 2);
    let Some(mut studio) = Studio::open(builder).await else { return };
    // Nobody is at the node that dies, and it owns nothing.
    let alice = studio.cluster.connect(1, "alice", "laptop").await;
    let bob = studio.cluster.connect(1, "bob", "phone").await;
    let call = talk_on_server(&alice, &bob).await;
    let recording = record(&alice, &call, json!({})).await;
    assert!(studio.tell(&call, &recording, "egress_started", "EGRESS_ACTIVE").await.ok());
    std::fs::write(studio.file(&recording), b"moving pictures").unwrap();
    // What follows from it is done beside the answer.
    let _ = studio.tell_to_death(&call, &recording, "egress_ended", "EGRESS_COMPLETE").await;
    studio.cluster.node_mut(0).expect_death(PATIENCE).await;
    assert_eq!(row(&studio, &recording, "status").as_deref(), Some("ready"));
    assert_eq!(row(&studio, &recording, "told").as_deref(), Some("false"));
    for side in [&alice, &bob] {
        side.expect_none("recording:ready", Duration::ZERO).await;
    }
    sweep_stuck(&studio, ONE).await;
    for side in [&alice, &bob] {
        let is_it = |e: &Value| e["recordingId"] == recording.as_str();
        let ready = side.expect_within(PATIENCE, "recording:ready", is_it).await.data;
        assert_eq!(ready["sizeBytes"], json!(15), "{ready}");
    }
    sweep_stuck(&studio, NOTHING).await;
    for side in [&alice, &bob] {
        side.expect_none("recording:ready", Duration::from_secs(1)).await;
    }
}

/// Whose sweeper dies while it deletes a file: the row is `expired` when the file is gone, and not before.
async fn deletes_and_dies(point: &str, file_is_left: bool) {
    let Some(mut studio) = Studio::open(mortal(TestCluster::of(1), point, 0)).await else { return };
    let (_alice, _bob, _call, recording) = studio.recorded(b"old").await;
    expire(&studio, &recording);
    let swept = carillon_sweep(&studio.cluster, &["expired_recordings"]).await;
    assert_eq!(swept.code, 1, "{swept:?}");
    studio.cluster.node_mut(0).expect_death(PATIENCE).await;
    let column = |studio: &Studio, name: &str| row(studio, &recording, name);
    assert_eq!(studio.file(&recording).exists(), file_is_left);
    assert_eq!(column(&studio, "status").as_deref(), Some("ready"), "nobody has written that it is gone");
    assert!(column(&studio, "purge_since").is_some() && column(&studio, "file_gone_at").is_none());

    studio.cluster.set_on(0, "FAILPOINT_DEATH", "");
    studio.cluster.replace(0).await;
    // The file may be gone: nobody is promised that it is kept.
    let now = carillon::clock::now().as_millis() / 1000;
    let admin = studio.cluster.realm().token_with(&json!({"sub": "root", "role": "admin", "exp": now + 3600}));
    let (http, path) = (studio.cluster.http(0), format!("/api/v1/recordings/{recording}"));
    let held = http.request("PATCH", &path, Some(&admin), Some(json!({"legalHold": true}))).await.unwrap();
    assert_eq!((held.status, held.code()), (409, "wrong_state"), "{held:?}");

    sweep_until(&studio.cluster, &["expired_recordings"], |swept| swept.ended(ONE)).await;
    assert!(!studio.file(&recording).exists());
    assert_eq!(column(&studio, "status").as_deref(), Some("expired"));
    assert!(column(&studio, "file_gone_at").is_some());
    assert_eq!(column(&studio, "purge_failures").as_deref(), Some("0"));
    let again = carillon_sweep(&studio.cluster, &["expired_recordings"]).await;
    assert!(again.ended(NOTHING), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_sweeper_dies_before_deleting_it_goes_with_the_next_sweep() {
    deletes_and_dies("purge-before-delete", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_sweeper_dies_after_deleting_it_is_written_down_as_gone_by_the_next() {
    deletes_and_dies("purge-after-delete", false).await;
}
