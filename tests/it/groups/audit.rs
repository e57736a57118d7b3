//! The audit log: who did what with service keys, groups and members.

use serde_json::{Value, json};

use crate::{
    support::{TestCluster, http::Answer, moves::id_of},
    sweepers::carillon_sweep,
};

const AUDIT: &str = "/api/v1/admin/audit";

fn summary(page: &Answer) -> Vec<String> {
    let entries = page.body["entries"].as_array().unwrap_or_else(|| panic!("no entries: {page:?}"));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let line = |e: &Value| format!("{} {} {}", text(&e["action"]), text(&e["target"]["userId"]), text(&e["outcome"]));
    // That the log was read is on record too.
    entries.iter().map(line).filter(|line| !line.starts_with("audit.read")).collect()
}

async fn recorded(cluster: TestCluster) {
    let http = cluster.http(0);
    let made = http.service("POST", "/api/v1/service-keys", Some(json!({"name": "billing"}))).await;
    let (id, key) = (made.body["id"].as_str().unwrap().to_owned(), made.body["key"].as_str().unwrap().to_owned());
    cluster.realm().canaries.forbid(&key);
    let with_key = async |method: &str, path: &str| {
        let body = (method == "PUT").then(|| json!({}));
        http.request(method, path, Some(&key), body).await.unwrap().status
    };
    assert_eq!(with_key("PUT", "/api/v1/groups/team/members/bob").await, 404);
    assert_eq!(with_key("PUT", "/api/v1/groups/team").await, 201);
    assert_eq!(with_key("PUT", "/api/v1/groups/team/members/bob").await, 201);
    assert_eq!(with_key("DELETE", "/api/v1/groups/team/members/bob").await, 204);
    assert_eq!(with_key("DELETE", "/api/v1/groups/team/members/bob").await, 204);
    assert_eq!(with_key("DELETE", "/api/v1/groups/team").await, 204);
    http.service("DELETE", &format!("/api/v1/service-keys/{id}"), None).await;

    let last = cluster.http(cluster.size() - 1);
    let all = last.service("GET", AUDIT, None).await;
    let wanted = [
        "service_key.revoke  revoked",
        "group.delete  removed",
        "member.remove bob not_found",
        "member.remove bob removed",
        "member.put bob created",
        "group.put  created",
        "member.put bob not_found",
        "service_key.create  created",
    ];
    assert_eq!(summary(&all), wanted);
    assert!(!all.body.to_string().contains(&key) && !all.body.to_string().contains("csk_"));
    let entry = &all.body["entries"][1];
    assert_eq!(entry["actor"], json!({"kind": "service_key", "id": id, "name": "billing"}), "{entry}");
    assert_eq!(entry["target"], json!({"kind": "group", "id": "team"}), "{entry}");
    for field in ["id", "at", "requestId", "nodeId"] {
        assert!(entry[field].is_string(), "{field}: {entry}");
    }
    assert_eq!(all.body["entries"][0]["actor"]["id"], "bootstrap");

    let by_key = last.service("GET", &format!("{AUDIT}?actor={id}&action=member.remove"), None).await;
    assert_eq!(summary(&by_key), wanted[2..4]);
    let at = |n: usize| all.body["entries"][n]["at"].as_str().unwrap().replace('+', "%2B");
    let since = last.service("GET", &format!("{AUDIT}?since={}", at(0)), None).await;
    assert_eq!(summary(&since).first().map(String::as_str), Some(wanted[0]));
    let until = last.service("GET", &format!("{AUDIT}?until={}", at(7)), None).await;
    assert!(!summary(&until).contains(&wanted[0].to_owned()), "{until:?}");
    let mut paged = Vec::new();
    let mut path = format!("{AUDIT}?limit=3");
    loop {
        let page = last.service("GET", &path, None).await;
        paged.extend(summary(&page));
        let Some(cursor) = page.body["nextCursor"].as_str() else { break };
        path = format!("{AUDIT}?limit=3&cursor={cursor}");
    }
    assert_eq!(paged, wanted);
}

#[tokio::test]
async fn every_act_of_the_service_api_is_on_record_on_sqlite() {
    recorded(TestCluster::embedded().start().await).await;
}

#[tokio::test]
async fn every_act_of_the_service_api_is_on_record_on_postgres() {
    recorded(TestCluster::two_nodes().start().await).await;
}

#[tokio::test]
async fn admins_read_the_audit_log_and_other_users_do_not() {
    let cluster = TestCluster::embedded().start().await;
    let http = cluster.http(0);
    let expires = chrono::Utc::now().timestamp() + 600;
    let admin = cluster.realm().token_with(&json!({"sub": "ann", "exp": expires, "role": "admin"}));
    let user = cluster.token("bob");
    for (bearer, status, code) in [
        (Some(admin.as_str()), 200, ""),
        (Some(user.as_str()), 403, "forbidden"),
        (Some("nonsense"), 401, "unauthenticated"),
        (None, 401, "unauthenticated"),
    ] {
        let answer = http.request("GET", AUDIT, bearer, None).await.unwrap();
        assert_eq!((answer.status, answer.code()), (status, code), "{answer:?}");
    }
    for query in ["since=yesterday", "limit=0", "cursor=6e6f"] {
        let refused = http.service("GET", &format!("{AUDIT}?{query}"), None).await;
        assert_eq!((refused.status, refused.code()), (400, "invalid"), "{query}: {refused:?}");
    }
    // Not even an admin's token is a service key.
    let refused = http.request("PUT", "/api/v1/groups/team", Some(&admin), Some(json!({}))).await.unwrap();
    assert_eq!(refused.status, 401, "{refused:?}");
}

/// What is on record of one action: the actor, the target and the outcome of each.
async fn on_record(cluster: &TestCluster, action: &str) -> Vec<(String, String, String)> {
    let found = cluster.http(0).service("GET", &format!("{AUDIT}?action={action}"), None).await;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let line = |e: &Value| (text(&e["actor"]["id"]), text(&e["target"]["id"]), text(&e["outcome"]));
    found.body["entries"].as_array().unwrap().iter().map(line).collect()
}

async fn privileged_reads(cluster: TestCluster) {
    cluster.group("team", &["alice"]).await;
    let alice = cluster.rest(0, "alice");
    let call = id_of(&alice.must("call:start", json!({"calleeIds": ["bob"]})).await);
    let admin = cluster.realm().token_with(&json!({"sub": "ann", "exp": 4_000_000_000_u64, "role": "admin"}));
    let http = cluster.http(cluster.size() - 1);
    let paths = [
        (format!("/api/v1/calls/{call}/timeline"), "timeline.read", call.as_str()),
        (format!("/api/v1/calls/{call}/quality"), "quality.read", call.as_str()),
        ("/api/v1/calls?groupId=team".to_owned(), "calls.read", "team"),
    ];
    for (path, action, target) in &paths {
        assert!(alice.request("GET", path, None).await.ok());
        assert_eq!(on_record(&cluster, action).await, [], "{path}: one's own");
        for _ in 0..3 {
            assert!(http.request("GET", path, Some(&admin), None).await.unwrap().ok(), "{path}");
        }
        let read = ("ann".to_owned(), (*target).to_owned(), "read".to_owned());
        assert_eq!(on_record(&cluster, action).await, [read], "{path}: once, as pages of one list are one read");
    }
    // There is nothing to read, so nothing was read.
    assert_eq!(http.request("GET", "/api/v1/calls/none/timeline", Some(&admin), None).await.unwrap().status, 404);
    assert_eq!(on_record(&cluster, "timeline.read").await.len(), 1);
    assert!(http.service("GET", "/api/v1/groups/team/members", None).await.ok());
    assert!(http.request("GET", AUDIT, Some(&admin), None).await.unwrap().ok());
    let members = ("bootstrap".to_owned(), "team".to_owned(), "read".to_owned());
    assert_eq!(on_record(&cluster, "members.read").await, [members]);
    let readers: Vec<String> = on_record(&cluster, "audit.read").await.into_iter().map(|(who, ..)| who).collect();
    assert!(readers.contains(&"ann".to_owned()) && readers.contains(&"bootstrap".to_owned()), "{readers:?}");
    alice.must("call:cancel", json!({"callId": call})).await;
}

#[tokio::test]
async fn reading_what_is_other_peoples_is_on_record_and_reading_ones_own_is_not() {
    tokio::join!(async { privileged_reads(TestCluster::embedded().start().await).await }, async {
        privileged_reads(TestCluster::two_nodes().start().await).await
    });
}

#[tokio::test]
async fn records_older_than_the_retention_are_forgotten_and_no_others() {
    let cluster = TestCluster::two_nodes().set("CARILLON_AUDIT_RETENTION_DAYS", 30).start().await;
    cluster.group("team", &["alice"]).await;
    let kept = cluster.http(0).service("GET", &format!("{AUDIT}?action=group.put"), None).await;
    assert_eq!(summary(&kept).len(), 1);
    // Ids are in the order of time: these are of 1970 and of about a day short of the retention.
    let younger = chrono::Utc::now().timestamp_millis() - 29 * 86_400_000;
    let database = cluster.database().unwrap();
    for (id, at) in [("00000000-0001-7000-8000-000000000001".to_owned(), 1), (format_id(younger), younger)] {
        database.sql(&format!(
            "INSERT INTO audit_log (id, at, actor_kind, actor, action, target_kind, target, outcome) VALUES ('{id}', \
             to_timestamp({at} / 1000.0), 'service_key', 'bootstrap', 'group.delete', 'group', 'old', 'removed')"
        ));
    }
    let dry = carillon_sweep(&cluster, &["old_audit", "--dry-run"]).await;
    assert!(dry.code == 0 && dry.ended("done; found 1, acted 0, failed 0"), "{dry:?}");
    let swept = carillon_sweep(&cluster, &["old_audit"]).await;
    assert!(swept.code == 0 && swept.ended("done; found 1, acted 1, failed 0"), "{swept:?}");
    let left = cluster.http(0).service("GET", &format!("{AUDIT}?action=group.delete"), None).await;
    assert_eq!(summary(&left).len(), 1, "{left:?}");
    assert_eq!(left.body["entries"][0]["id"], format_id(younger), "{left:?}");
    assert_eq!(summary(&cluster.http(0).service("GET", &format!("{AUDIT}?action=group.put"), None).await).len(), 1);
}

/// An id of this time.
fn format_id(millis: i64) -> String {
    let hex = format!("{millis:012x}");
    format!("{}-{}-7000-8000-000000000002", &hex[..8], &hex[8..])
}
