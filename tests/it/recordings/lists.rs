//! The list of a user's recordings: pages, filters, deletion, and that it walks an index.

use std::collections::BTreeSet;

use carillon::{
    domain::UserId,
    secret::Secret,
    store::{RecordingQuery, Store, StoreOptions},
};
use serde_json::json;

use super::{Studio, record};
use crate::support::TestCluster;

#[tokio::test(flavor = "multi_thread")]
async fn recordings_are_listed_in_pages_and_a_deleted_one_is_not_there_any_more() {
    let Some(studio) = Studio::open(TestCluster::embedded()).await else { return };
    let (alice, bob, call) = studio.talk().await;
    let mut made = Vec::new();
    for _ in 0..5 {
        let recording = record(&alice, &call, json!({})).await;
        assert!(studio.tell(&call, &recording, "egress_ended", "EGRESS_FAILED").await.ok());
        alice.expect("recording:stopped", |data| data["recordingId"] == recording.as_str()).await;
        made.push(recording);
    }
    made.reverse();
    let mut path = "/api/v1/recordings?limit=2".to_owned();
    let (mut seen, mut pages) = (Vec::new(), 0);
    loop {
        let page = studio.get("bob", &path).await;
        assert!(page.ok(), "{page:?}");
        let ids = page.body["recordings"].as_array().unwrap().iter();
        seen.extend(ids.map(|recording| recording["recordingId"].as_str().unwrap().to_owned()));
        pages += 1;
        let Some(cursor) = page.body["nextCursor"].as_str() else { break };
        path = format!("/api/v1/recordings?limit=2&cursor={cursor}");
    }
    assert_eq!((seen, pages), (made.clone(), 3), "newest first, each once");
    let listed = |path: String| {
        let studio = &studio;
        async move { studio.get("bob", &path).await.body["recordings"].as_array().map_or(0, Vec::len) }
    };
    assert_eq!(listed(format!("/api/v1/recordings?callId={call}&status=failed")).await, 5);
    assert_eq!(listed("/api/v1/recordings?status=ready".into()).await, 0);
    assert_eq!(studio.get("bob", "/api/v1/recordings?status=gone").await.status, 400);
    assert_eq!(studio.get("bob", "/api/v1/recordings?cursor=00").await.status, 400);

    let path = format!("/api/v1/recordings/{}", made[0]);
    for _ in 0..2 {
        let deleted = studio.cluster.rest(0, "alice").request("DELETE", &path, None).await;
        assert_eq!(deleted.status, 204, "twice is once: {deleted:?}");
    }
    assert_eq!(studio.get("alice", &path).await.status, 404);
    assert_eq!(listed("/api/v1/recordings".into()).await, 4);
    // A running one is stopped before it is deleted.
    let running = record(&alice, &call, json!({})).await;
    let early = studio.cluster.rest(0, "alice").request("DELETE", &format!("/api/v1/recordings/{running}"), None).await;
    assert_eq!((early.status, early.code()), (409, "wrong_state"));
    alice.act("call:end", &call).await;
    bob.expect_end(&call, "completed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_list_of_recordings_reads_a_whole_table() {
    let Some(studio) = Studio::open(TestCluster::two_nodes()).await else { return };
    let database = studio.cluster.database().unwrap();
    let rows = 40_000;
    database.sql(&format!(
        "INSERT INTO recordings (id, call_id, created_by, created_at, layout, resolution, audio_only, format, \
         retention_days, version, status, attempts, legal_hold, purge_failures, told, expires_at) \
         SELECT 'r' || n, 'c' || n % 5000, 'u' || n % 700, now() - n * interval '1 minute', 'grid', '720p', false, 'mp4', \
         30, 1, 'ready', 1, false, 0, true, now() + n * interval '1 minute' FROM generate_series(1, {rows}) n"
    ));
    database.sql(&format!(
        "INSERT INTO recording_parts (user_id, created_at, recording_id) \
         SELECT 'u' || (n * k) % 700, now() - n * interval '1 minute', 'r' || n \
         FROM generate_series(1, {rows}) n, generate_series(1, 3) k ON CONFLICT DO NOTHING"
    ));
    database.sql("ANALYZE recordings");
    database.sql("ANALYZE recording_parts");
    let store = Store::open(&Secret::new(database.url()), StoreOptions { connections: 2 }).await.unwrap();
    let user = UserId::new("u7").unwrap();
    let query = RecordingQuery { user, call: None, status: None };
    let first = store.recordings(&query, None, 20).await.unwrap();
    assert_eq!(first.len(), 20);
    let mut plans = store.explain_recordings(&query, None, 21).await.unwrap();
    plans.extend(store.explain_purgeable(carillon::clock::now(), 200).await.unwrap());
    let scans: BTreeSet<&String> = plans.iter().filter(|line| line.contains("Seq Scan")).collect();
    assert!(scans.is_empty(), "{plans:#?}");
    assert!(plans.iter().any(|line| line.contains("recording_parts")), "{plans:#?}");
    store.close().await;
}
