//! Nodes, open calls and users, as an operator sees them.

use std::time::Duration;

use serde_json::{Value, json};

use super::{admin, ask, list, must, node_id, recorded, until};
use crate::support::{TestCluster, moves::id_of};

#[tokio::test]
async fn only_operators_look_and_act() {
    let cluster = TestCluster::embedded().start().await;
    let http = cluster.http(0);
    let (user, admin) = (cluster.token("bob"), admin(&cluster));
    for path in ["nodes", "calls", "users/bob", "sweeps", "sweeps/runs"] {
        let path = format!("/api/v1/admin/{path}");
        for (bearer, status, code) in [
            (Some(admin.as_str()), 200, ""),
            (Some(cluster.realm().service_key.as_str()), 200, ""),
            (Some(user.as_str()), 403, "forbidden"),
            (Some("nonsense"), 401, "unauthenticated"),
            (None, 401, "unauthenticated"),
        ] {
            let answer = http.request("GET", &path, bearer, None).await.unwrap();
            assert_eq!((answer.status, answer.code()), (status, code), "{path}: {answer:?}");
        }
    }
    for path in ["nodes/x/drain", "calls/x/end", "users/bob/disconnect", "sweeps/takeover"] {
        let path = format!("/api/v1/admin/{path}");
        for (bearer, status) in [(Some(user.as_str()), 403), (Some("nonsense"), 401), (None, 401)] {
            let answer = http.request("POST", &path, bearer, Some(json!({}))).await.unwrap();
            assert_eq!(answer.status, status, "{path}: {answer:?}");
        }
    }
    let acts = http.service("GET", "/api/v1/admin/audit", None).await;
    let text = acts.body.to_string();
    assert!(!text.contains("call.end") && !text.contains("user.disconnect"), "nothing was asked: {text}");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_by_name() {
    let cluster = TestCluster::embedded().start().await;
    for path in [
        "calls?status=ended",
        "calls?status=loud",
        "calls?limit=0",
        "calls?limit=201",
        "calls?cursor=6e6f",
        "calls?node=",
        "sweeps/runs?sweep=dust",
        "sweeps/runs?failed=perhaps",
        "sweeps/runs?limit=0",
        "sweeps/runs?cursor=6e6f",
    ] {
        let refused = ask(&cluster, 0, "GET", path, None).await;
        assert_eq!((refused.status, refused.code()), (400, "invalid"), "{path}: {refused:?}");
    }
    for path in ["sweeps/runs/no-uuid", "sweeps/requests/01890000-0000-7000-8000-000000000000"] {
        let refused = ask(&cluster, 0, "GET", path, None).await;
        assert_eq!((refused.status, refused.code()), (404, "not_found"), "{path}: {refused:?}");
    }
    let long = "r".repeat(201);
    for (path, body, code) in [
        ("calls/c/end", json!({"reason": 7}), "invalid"),
        ("calls/c/end", json!({"reason": long}), "invalid"),
        ("calls/a b/end", json!({}), "invalid"),
        ("calls/c/end", json!({}), "not_found"),
        ("nodes/nobody/drain", json!({}), "not_found"),
        ("nodes/nobody/drain", json!({"force": "yes"}), "invalid"),
        ("sweeps/dust", json!({}), "not_found"),
        ("sweeps/takeover", json!({"dryRun": 1}), "invalid"),
        ("sweeps/takeover", json!([]), "invalid"),
    ] {
        let refused = ask(&cluster, 0, "POST", path, Some(body.clone())).await;
        assert_eq!(refused.code(), code, "{path} {body}: {refused:?}");
    }
}

#[tokio::test]
async fn each_node_shows_its_load_and_one_that_dies_is_shown_as_gone() {
    let mut cluster = TestCluster::two_nodes().start().await;
    let ids = [node_id(&cluster, 0).await, node_id(&cluster, 1).await];
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let call = alice.call_through(&bob).await;
    let load = |node: &Value, number: usize, calls: u64| {
        node["nodeId"] == *ids[number] && node["sessions"] == 1 && node["sockets"] == 1 && node["calls"] == calls
    };
    let seen = until(&cluster, 1, "nodes", |seen| {
        let nodes = list(seen, "nodes");
        nodes.iter().any(|node| load(node, 0, 1)) && nodes.iter().any(|node| load(node, 1, 0))
    });
    let seen = seen.await;
    assert_eq!(seen["answeredBy"], *ids[1], "{seen}");
    for node in list(&seen, "nodes") {
        assert_eq!((&node["state"], &node["busUp"], &node["degraded"]), (&json!("live"), &json!(true), &json!([])));
        assert!(node["version"].is_string() && node["startedAt"].is_string() && node["leaseUntil"].is_string());
    }
    alice.act("call:end", &call).await;
    drop(alice);
    cluster.node_mut(0).kill();
    let seen = until(&cluster, 1, "nodes", |seen| {
        list(seen, "nodes").iter().any(|node| node["nodeId"] == *ids[0] && node["state"] == "gone")
    });
    let seen = seen.await;
    assert_eq!(list(&seen, "nodes").last().unwrap()["nodeId"], *ids[0], "the living come first: {seen}");
    drop(bob);
}

async fn the_open_calls(cluster: TestCluster) {
    let last = cluster.size() - 1;
    let owner = node_id(&cluster, 0).await;
    cluster.group("team", &["alice", "bob"]).await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let carol = cluster.connect(0, "carol", "phone").await;
    let bob = cluster.connect(last, "bob", "phone").await;
    let talk = alice.call_through(&bob).await;
    let ringing = carol.start(&["dave"]).await;
    let erin = cluster.connect(0, "erin", "phone").await;
    cluster.group("other", &["erin"]).await;
    let waiting = id_of(&erin.start_group("other", false).await);
    let ids = |seen: &Value| list(seen, "calls").iter().map(|call| call["callId"].clone()).collect::<Vec<_>>();
    let look = async |query: &str| must(&cluster, last, "GET", &format!("calls{query}"), None).await;
    let all = look("").await;
    assert_eq!(ids(&all), [waiting.as_str(), &ringing, &talk], "newest first: {all}");
    assert!(all["serverTime"].is_string() && all["nextCursor"].is_null(), "{all}");
    let shown = &list(&all, "calls")[2];
    assert_eq!((&shown["status"], &shown["type"], &shown["mode"]), (&json!("active"), &json!("video"), &json!("p2p")));
    assert_eq!((&shown["initiatorId"], &shown["ownerNode"]), (&json!("alice"), &json!(owner)), "{shown}");
    assert_eq!((&shown["ownerGone"], &shown["participantCount"]), (&json!(false), &json!(2)), "{shown}");
    assert_eq!(shown["participants"][0], json!({"userId": "alice", "status": "joined"}), "{shown}");
    assert!(shown["answeredAt"].is_string() && shown["createdAt"].is_string(), "{shown}");
    assert!(shown["epoch"].as_u64() >= Some(1) && shown["seq"].as_u64() >= Some(3), "{shown}");
    for (query, wanted) in [
        ("?status=ringing".to_owned(), vec![&ringing]),
        ("?status=waiting&groupId=other".to_owned(), vec![&waiting]),
        ("?groupId=team".to_owned(), vec![]),
        ("?user=bob".to_owned(), vec![&talk]),
        ("?user=nobody".to_owned(), vec![]),
        (format!("?node={owner}&user=dave"), vec![&ringing]),
        ("?node=nobody".to_owned(), vec![]),
    ] {
        let wanted: Vec<Value> = wanted.into_iter().map(|id| json!(id)).collect();
        assert_eq!(ids(&look(&query).await), wanted, "{query}");
    }
    let (mut paged, mut query) = (Vec::new(), "?limit=1".to_owned());
    loop {
        let page = look(&query).await;
        paged.extend(ids(&page));
        let Some(cursor) = page["nextCursor"].as_str() else { break };
        query = format!("?limit=1&cursor={cursor}");
    }
    assert_eq!(paged, ids(&all));
    let log = must(&cluster, last, "GET", "audit?action=calls.read", None).await;
    assert_eq!(list(&log, "entries").len(), 1, "the reading of a minute is on record once: {log}");
    alice.act("call:end", &talk).await;
    assert_eq!(ids(&look("").await), [waiting.as_str(), &ringing], "what is over is not shown");
    carol.act("call:cancel", &ringing).await;
}

#[tokio::test]
async fn open_calls_are_listed_filtered_and_paged_on_sqlite() {
    the_open_calls(TestCluster::embedded().start().await).await;
}

#[tokio::test]
async fn open_calls_are_listed_filtered_and_paged_on_postgres() {
    the_open_calls(TestCluster::two_nodes().start().await).await;
}

#[tokio::test]
async fn a_user_is_shown_with_sessions_on_every_node_and_a_silent_node_is_never_taken_for_none() {
    let cluster = TestCluster::two_nodes().start().await;
    let ids = [node_id(&cluster, 0).await, node_id(&cluster, 1).await];
    let phone = cluster.connect(0, "alice", "phone").await;
    let laptop = cluster.connect(1, "alice", "laptop").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let over = phone.call_through(&bob).await;
    phone.act("call:end", &over).await;
    let call = phone.call_through(&bob).await;
    let seen = must(&cluster, 0, "GET", "users/alice", None).await;
    let places: Vec<(&Value, &Value)> =
        list(&seen, "sessions").iter().map(|session| (&session["deviceId"], &session["nodeId"])).collect();
    assert_eq!(places, [(&json!("phone"), &json!(ids[0])), (&json!("laptop"), &json!(ids[1]))], "{seen}");
    assert!(list(&seen, "sessions").iter().all(|s| s["sessionId"].is_string() && s["connectedAt"].is_string()));
    assert_eq!(seen["unreachableNodes"], json!([]), "{seen}");
    assert_eq!((list(&seen, "calls").len(), &seen["calls"][0]["callId"]), (1, &json!(call)), "{seen}");
    assert_eq!((list(&seen, "recentCalls").len(), &seen["recentCalls"][0]["callId"]), (1, &json!(over)), "{seen}");
    assert_eq!(seen["recentCalls"][0]["endReason"], "completed", "{seen}");
    let nobody = must(&cluster, 0, "GET", "users/nobody%20here", None).await;
    assert_eq!((&nobody["userId"], list(&nobody, "sessions").len()), (&json!("nobody here"), 0), "{nobody}");
    assert_eq!(recorded(&cluster, 0, "user.read", "alice").await.len(), 1);

    cluster.node(1).freeze().await;
    let seen = must(&cluster, 0, "GET", "users/alice", None).await;
    assert_eq!(list(&seen, "sessions").len(), 1, "{seen}");
    assert_eq!(seen["unreachableNodes"], json!([ids[1]]), "{seen}");
    // Also when its lease is over: it is frozen, and has the sessions all the same.
    tokio::time::sleep(Duration::from_secs(7)).await;
    let seen = must(&cluster, 0, "GET", "users/alice", None).await;
    assert_eq!(seen["unreachableNodes"], json!([ids[1]]), "{seen}");
    cluster.node(1).thaw();
    let seen = until(&cluster, 0, "users/alice", |seen| list(seen, "unreachableNodes").is_empty()).await;
    assert!(list(&seen, "sessions").iter().any(|session| session["nodeId"] == *ids[0]), "{seen}");
    drop((phone, laptop, bob));
}

#[tokio::test]
async fn any_call_its_timeline_and_its_quality_are_read_with_a_service_key_and_on_record() {
    let cluster = TestCluster::two_nodes().start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(0, "bob", "phone").await;
    let call = alice.call_through(&bob).await;
    let seen = must(&cluster, 1, "GET", &format!("calls/{call}"), None).await;
    assert_eq!((&seen["call"]["callId"], &seen["call"]["status"]), (&json!(call), &json!("active")), "{seen}");
    alice.act("call:end", &call).await;
    let seen = must(&cluster, 1, "GET", &format!("calls/{call}"), None).await;
    assert_eq!(seen["call"]["endReason"], "completed", "{seen}");
    let http = cluster.http(1);
    let timeline = http.service("GET", &format!("/api/v1/calls/{call}/timeline"), None).await;
    assert_eq!(timeline.body["events"][0]["kind"], "created", "{timeline:?}");
    assert_eq!(http.service("GET", &format!("/api/v1/calls/{call}/quality"), None).await.status, 200);
    for action in ["call.read", "timeline.read", "quality.read"] {
        assert_eq!(recorded(&cluster, 1, action, &call).await.len(), 1, "{action}");
    }
    for path in ["admin/calls/none", "calls/none/timeline", "calls/none/quality"] {
        let refused = http.service("GET", &format!("/api/v1/{path}"), None).await;
        assert_eq!((refused.status, refused.code()), (404, "not_found"), "{path}: {refused:?}");
    }
}

#[tokio::test]
async fn a_node_of_a_version_that_does_not_know_the_question_is_not_asked_and_counts_as_not_reached() {
    let cluster = TestCluster::of(1).start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    // As a node of the version before enters itself.
    cluster.database().unwrap().sql(
        "INSERT INTO nodes (id, version, started_at, lease_until) \
         VALUES ('old-node', '0.0.1', now(), now() + interval '10 minutes')",
    );
    let nodes = must(&cluster, 0, "GET", "nodes", None).await;
    let node = list(&nodes, "nodes").iter().find(|node| node["nodeId"] == "old-node").unwrap();
    assert!(node["state"] == "live" && node["sessions"].is_null() && node["degraded"].is_null(), "{node}");
    let seen = must(&cluster, 0, "GET", "users/alice", None).await;
    assert_eq!((list(&seen, "sessions").len(), &seen["unreachableNodes"]), (1, &json!(["old-node"])), "{seen}");
    let refused = ask(&cluster, 0, "POST", "nodes/old-node/drain", None).await;
    assert_eq!(refused.code(), "unavailable", "{refused:?}");
    alice.assert_alive().await;
}
