//! The audit log: who did what with service keys, groups and members.

use serde_json::{Value, json};

use crate::support::{TestCluster, http::Answer};

const AUDIT: &str = "/api/v1/admin/audit";

fn summary(page: &Answer) -> Vec<String> {
    let entries = page.body["entries"].as_array().unwrap_or_else(|| panic!("no entries: {page:?}"));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let line = |e: &Value| format!("{} {} {}", text(&e["action"]), text(&e["target"]["userId"]), text(&e["outcome"]));
    entries.iter().map(line).collect()
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
