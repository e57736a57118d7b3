//! Groups and members over the service API: made, read, listed page by page, deleted.

use serde_json::{Value, json};

use crate::support::TestCluster;

async fn managing(cluster: TestCluster) {
    let (one, other) = (cluster.http(0), cluster.http(cluster.size() - 1));
    let metadata = json!({"colour": "red", "tags": [1, "ü"]});
    let made = one.service("PUT", "/api/v1/groups/team", Some(json!({"name": "T", "metadata": metadata}))).await;
    assert_eq!((made.status, &made.body["metadata"]), (201, &metadata), "{made:?}");
    cluster.group("team", &["bob", "alice"]).await;
    let got = other.service("GET", "/api/v1/groups/team", None).await;
    assert_eq!((got.status, &got.body["name"], &got.body["memberCount"]), (200, &json!("team"), &json!(2)), "{got:?}");
    assert_eq!(got.body["metadata"], Value::Null, "a put says all there is: {got:?}");
    assert!(got.body["createdAt"].is_string() && got.body["updatedAt"].is_string(), "{got:?}");

    let admin = one.service("PUT", "/api/v1/groups/team/members/alice", Some(json!({"role": "admin"}))).await;
    assert_eq!((admin.status, &admin.body["role"]), (200, &json!("admin")), "{admin:?}");
    let first = other.service("GET", "/api/v1/groups/team/members?limit=1", None).await;
    assert_eq!(first.body["members"][0]["userId"], "alice", "{first:?}");
    assert_eq!(first.body["members"][0]["role"], "admin", "{first:?}");
    let next = first.body["nextCursor"].as_str().expect("there is more");
    // Whoever comes before the cursor meanwhile moves nothing.
    one.service("PUT", "/api/v1/groups/team/members/aaron", None).await;
    let second = other.service("GET", &format!("/api/v1/groups/team/members?limit=1&cursor={next}"), None).await;
    assert_eq!(second.body["members"][0]["userId"], "bob", "{second:?}");
    assert_eq!(second.body["nextCursor"], Value::Null, "{second:?}");

    for name in ["a", "z", "m"] {
        cluster.group(name, &[]).await;
    }
    let mut seen = Vec::new();
    let mut path = "/api/v1/groups?limit=2".to_owned();
    loop {
        let page = one.service("GET", &path, None).await;
        assert_eq!(page.status, 200, "{page:?}");
        seen.extend(page.body["groups"].as_array().unwrap().iter().map(|group| group["groupId"].clone()));
        let Some(cursor) = page.body["nextCursor"].as_str() else { break };
        path = format!("/api/v1/groups?limit=2&cursor={cursor}");
    }
    assert_eq!(seen, [json!("a"), json!("m"), json!("team"), json!("z")]);

    for _ in 0..2 {
        assert_eq!(other.service("DELETE", "/api/v1/groups/team", None).await.status, 204);
    }
    for path in ["/api/v1/groups/team", "/api/v1/groups/team/members"] {
        let gone = one.service("GET", path, None).await;
        assert_eq!((gone.status, gone.code()), (404, "not_found"), "{gone:?}");
    }
}

#[tokio::test]
async fn groups_are_managed_on_sqlite() {
    managing(TestCluster::embedded().start().await).await;
}

#[tokio::test]
async fn groups_are_managed_on_postgres_by_any_node() {
    managing(TestCluster::two_nodes().start().await).await;
}

#[tokio::test]
async fn what_is_out_of_bounds_is_refused_and_leaves_nothing() {
    let cluster = TestCluster::embedded().start().await;
    let http = cluster.http(0);
    let long = json!({"metadata": {"a": "x".repeat(8 * 1024)}});
    for (body, status, code) in [
        (long, 413, "too_large"),
        (json!({"metadata": [1]}), 400, "invalid"),
        (json!({"metadata": "x"}), 400, "invalid"),
        (json!({"name": "n".repeat(201)}), 400, "invalid"),
        (json!({"name": "a\u{0}b"}), 400, "invalid"),
    ] {
        let refused = http.service("PUT", "/api/v1/groups/team", Some(body)).await;
        assert_eq!((refused.status, refused.code()), (status, code), "{refused:?}");
        assert_eq!(refused.content_type, "application/problem+json", "{refused:?}");
    }
    assert_eq!(http.service("GET", "/api/v1/groups/team", None).await.status, 404);
    for query in ["limit=0", "limit=201", "limit=x", "cursor=zz", "cursor=ff", "cursor=00"] {
        let refused = http.service("GET", &format!("/api/v1/groups?{query}"), None).await;
        assert_eq!((refused.status, refused.code()), (400, "invalid"), "{query}: {refused:?}");
    }
    let user = cluster.token("alice");
    for path in ["/api/v1/groups", "/api/v1/groups/team", "/api/v1/groups/team/members", "/api/v1/service-keys"] {
        let refused = http.request("GET", path, Some(&user), None).await.unwrap();
        assert_eq!((refused.status, refused.code()), (401, "unauthenticated"), "{path}: {refused:?}");
    }
}
