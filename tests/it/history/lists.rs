//! Histories, active calls and statistics over REST.

use serde_json::{Value, json};

use crate::{
    scenarios::On,
    support::{
        TestCluster,
        moves::{id_of, participant},
        rest::RestUser,
    },
};

async fn got(user: &RestUser, path: &str) -> Value {
    let answer = user.request("GET", &format!("/api/v1{path}"), None).await;
    assert!(answer.ok(), "{path}: {answer:?}");
    assert_eq!(answer.content_type, "application/json", "{path}");
    answer.body
}

fn ids(list: &Value) -> Vec<String> {
    let calls = list["calls"].as_array().unwrap_or_else(|| panic!("no list: {list}"));
    calls.iter().map(|call| call["callId"].as_str().unwrap().to_owned()).collect()
}

/// Three calls of alice and bob: one that was talked in, one that bob missed, one that alice declined. Oldest first.
async fn three_calls(cluster: &TestCluster) -> [String; 3] {
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let talked = alice.call_through(&bob).await;
    alice.act("call:end", &talked).await;
    bob.expect_end(&talked, "completed").await;
    let missed = alice.start(&["bob"]).await;
    bob.expect_of("call:incoming", &missed).await;
    alice.act("call:cancel", &missed).await;
    bob.expect_end(&missed, "cancelled").await;
    let declined = bob.start(&["alice"]).await;
    alice.expect_of("call:incoming", &declined).await;
    alice.act("call:decline", &declined).await;
    bob.expect_end(&declined, "declined").await;
    [talked, missed, declined]
}

async fn history(on: On) {
    let cluster = on.cluster().start().await;
    let [talked, missed, declined] = three_calls(&cluster).await;
    // Each on a node that owns none, or not all, of the calls.
    let (alice, bob) = (cluster.rest(1, "alice"), cluster.rest(0, "bob"));
    let all = got(&bob, "/calls?total=true&unknown=1").await;
    assert_eq!(ids(&all), [&*declined, &*missed, &*talked]);
    assert_eq!((&all["total"], &all["nextCursor"]), (&json!(3), &Value::Null));
    let [first, second, third] = [0, 1, 2].map(|n| &all["calls"][n]);
    assert_eq!((&first["direction"], &first["missed"]), (&json!("outgoing"), &json!(false)), "{first}");
    assert_eq!((&second["direction"], &second["missed"]), (&json!("incoming"), &json!(true)), "{second}");
    assert_eq!((&second["status"], &second["endReason"]), (&json!("cancelled"), &json!("cancelled")), "{second}");
    assert_eq!(
        (&third["status"], &third["endReason"], &third["type"]),
        (&json!("ended"), &json!("completed"), &json!("video"))
    );
    for field in ["createdAt", "startedAt", "endedAt"] {
        let time = third[field].as_str().unwrap();
        assert!(time.len() == 24 && time.ends_with('Z'), "{field}: {third}");
    }
    assert!(third["durationSecs"].is_u64() && third["initiatorId"] == "alice", "{third}");
    assert_eq!(participant(third, "alice")["role"], "host", "{third}");
    assert_eq!(participant(third, "bob")["deviceId"], "phone", "{third}");
    assert_eq!(participant(second, "bob")["status"], "missed", "{second}");
    for (query, wanted) in [
        ("direction=outgoing", vec![&declined]),
        ("direction=incoming", vec![&missed, &talked]),
        ("status=ended", vec![&talked]),
        ("missed=true", vec![&missed]),
        ("missed=false", vec![&declined, &talked]),
        ("with=alice", vec![&declined, &missed, &talked]),
        ("with=carol", vec![]),
        ("since=2000-01-01T00:00:00Z&until=2001-01-01T00:00:00%2B01:00", vec![]),
        ("since=2000-01-01T00:00:00Z&limit=100", vec![&declined, &missed, &talked]),
    ] {
        let list = got(&bob, &format!("/calls?{query}")).await;
        assert_eq!(ids(&list).iter().collect::<Vec<_>>(), wanted, "{query}");
        assert_eq!(list["total"], Value::Null, "{query}: counts only when asked");
    }
    // Page by page, while another call comes.
    let page = got(&alice, "/calls?limit=2").await;
    assert_eq!(ids(&page), [&*declined, &*missed]);
    let open = id_of(&bob.must("call:start", json!({"calleeIds": ["alice"]})).await);
    let cursor = page["nextCursor"].as_str().unwrap();
    let rest = got(&alice, &format!("/calls?limit=2&cursor={cursor}")).await;
    assert_eq!((ids(&rest), &rest["nextCursor"]), (vec![talked], &Value::Null));
    // What is open.
    for user in [&alice, &bob] {
        let active = got(user, "/calls/active").await;
        assert_eq!(ids(&active), [&*open]);
        assert_eq!(active["calls"][0]["status"], "ringing", "{active}");
    }
    assert!(ids(&got(&cluster.rest(0, "carol"), "/calls/active").await).is_empty());
    let stats = got(&bob, "/calls/stats").await;
    for (field, wanted) in
        [("total", 4), ("active", 1), ("completed", 1), ("cancelled", 1), ("declined", 1), ("missed", 0), ("failed", 0)]
    {
        assert_eq!(stats[field], wanted, "{field}: {stats}");
    }
    assert_eq!(stats["successRate"], 0.3333, "{stats}");
    assert!(stats["peakHours"][0]["calls"].as_u64() > Some(0) && stats["meanDurationSecs"].is_f64(), "{stats}");
    let nothing = got(&bob, "/calls/stats?since=2000-01-01T00:00:00Z&until=2000-02-01T00:00:00Z").await;
    assert_eq!((&nothing["total"], &nothing["successRate"]), (&json!(0), &Value::Null));
    bob.must("call:cancel", json!({"callId": open})).await;
}

async fn of_a_group(on: On) {
    let cluster = on.cluster().start().await;
    cluster.group("team", &["alice", "bob", "carol"]).await;
    let alice = cluster.rest(0, "alice");
    let call = id_of(&alice.must("call:start", json!({"groupId": "team", "ring": false})).await);
    alice.must("call:leave", json!({"callId": call})).await;
    let (carol, mallory) = (cluster.rest(1, "carol"), cluster.rest(1, "mallory"));
    let list = got(&carol, "/calls?groupId=team").await;
    assert_eq!(ids(&list), [&*call]);
    assert_eq!((&list["calls"][0]["direction"], &list["calls"][0]["groupId"]), (&Value::Null, &json!("team")));
    assert_eq!(got(&alice, "/calls?groupId=team").await["calls"][0]["direction"], "outgoing");
    assert!(ids(&got(&carol, "/calls").await).is_empty(), "no part in it, no history of it");
    for group in ["team", "none"] {
        let refused = mallory.request("GET", &format!("/api/v1/calls?groupId={group}"), None).await;
        assert_eq!((refused.status, refused.code()), (404, "not_found"), "{refused:?}");
    }
    // A cursor of one kind of list is none of the other.
    let again = id_of(&alice.must("call:start", json!({"groupId": "team", "ring": false})).await);
    let page = got(&carol, "/calls?groupId=team&limit=1").await;
    assert_eq!(ids(&page), [&*again]);
    let cursor = page["nextCursor"].as_str().unwrap();
    assert_eq!(ids(&got(&carol, &format!("/calls?groupId=team&limit=1&cursor={cursor}")).await), [&*call]);
    let refused = carol.request("GET", &format!("/api/v1/calls?cursor={cursor}"), None).await;
    assert_eq!((refused.status, refused.code()), (400, "invalid"), "{refused:?}");
    alice.must("call:leave", json!({"callId": again})).await;
}

/// Who was only rung as one of the group, and who took part, before and after they are taken out of it.
async fn of_a_former_member(on: On) {
    let cluster = on.cluster().start().await;
    cluster.group("team", &["alice", "bob", "carol"]).await;
    let alice = cluster.rest(0, "alice");
    let begun = async |keys: Value| id_of(&alice.must("call:start", keys).await);
    let rang = begun(json!({"groupId": "team"})).await;
    cluster.rest(1, "carol").must("call:join", json!({"callId": rang})).await;
    alice.must("call:end", json!({"callId": rang})).await;
    let by_name = begun(json!({"groupId": "team", "ring": false})).await;
    alice.must("call:invite", json!({"callId": by_name, "userIds": ["bob"]})).await;
    alice.must("call:end", json!({"callId": by_name})).await;
    let pair = begun(json!({"calleeIds": ["bob"]})).await;
    alice.must("call:cancel", json!({"callId": pair})).await;
    let (bob, carol) = (cluster.rest(1, "bob"), cluster.rest(0, "carol"));
    assert_eq!(ids(&got(&bob, "/calls").await), [&*pair, &*by_name, &*rang]);
    assert_eq!(ids(&got(&carol, "/calls").await), [&*rang]);
    assert_eq!(got(&bob, "/calls/stats").await["total"], 3);
    for who in ["bob", "carol"] {
        let path = format!("/api/v1/groups/team/members/{who}");
        assert_eq!(cluster.http(0).service("DELETE", &path, None).await.status, 204);
    }
    let list = got(&bob, "/calls?total=true").await;
    assert_eq!((ids(&list), &list["total"]), (vec![pair.clone(), by_name.clone()], &json!(2)), "never came to it");
    assert_eq!(ids(&got(&bob, "/calls?missed=true&with=alice").await), [&*pair, &*by_name]);
    assert_eq!(got(&bob, "/calls/stats").await["total"], 2);
    assert_eq!(ids(&got(&carol, "/calls").await), [&*rang], "who took part keeps it");
    for (user, call, status) in [(&bob, &rang, 404), (&bob, &by_name, 200), (&carol, &rang, 200)] {
        for what in ["timeline", "quality"] {
            let answer = user.request("GET", &format!("/api/v1/calls/{call}/{what}"), None).await;
            assert_eq!(answer.status, status, "{what} of {call}: {answer:?}");
        }
    }
    let refused = bob.request("GET", "/api/v1/calls?groupId=team", None).await;
    assert_eq!(refused.code(), "not_found");
    // And back again.
    cluster.group("team", &["bob"]).await;
    assert_eq!(ids(&got(&bob, "/calls").await), [&*pair, &*by_name, &*rang]);
}

#[tokio::test]
async fn who_left_a_group_keeps_the_calls_they_took_part_in_and_no_others_of_it() {
    tokio::join!(of_a_former_member(On::Embedded), of_a_former_member(On::TwoNodes));
}

#[tokio::test]
async fn a_user_reads_what_calls_they_had_on_one_node() {
    history(On::Embedded).await;
}

#[tokio::test]
async fn a_user_reads_what_calls_they_had_on_two_nodes() {
    history(On::TwoNodes).await;
}

#[tokio::test]
async fn only_members_read_the_calls_of_a_group() {
    tokio::join!(of_a_group(On::Embedded), of_a_group(On::TwoNodes));
}

#[tokio::test]
async fn a_parameter_with_a_wrong_value_is_refused_by_its_name() {
    let cluster = TestCluster::embedded().start().await;
    let alice = cluster.rest(0, "alice");
    for (path, named) in [
        ("/calls?direction=up", "direction"),
        ("/calls?status=over", "status"),
        ("/calls?missed=1", "missed"),
        ("/calls?total=yes", "total"),
        ("/calls?groupId=", "groupId"),
        ("/calls?groupId=a%00b", "groupId"),
        ("/calls?with=a%0Ab", "with"),
        ("/calls?since=yesterday", "since"),
        ("/calls?until=2026-01-01T00:00:00+01:00", "until"),
        ("/calls?limit=0", "limit"),
        ("/calls?limit=101", "limit"),
        ("/calls?limit=%2B5", "limit"),
        ("/calls?limit=5&limit=6", "limit"),
        ("/calls?cursor=", "cursor"),
        ("/calls?cursor=12345", "cursor"),
        ("/calls?cursor=zz", "cursor"),
        ("/calls/stats?since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z", "since"),
        ("/calls/stats?since=2020-01-01T00:00:00Z&until=2026-01-01T00:00:00Z", "since"),
        ("/calls/stats?until=now", "until"),
    ] {
        let refused = alice.request("GET", &format!("/api/v1{path}"), None).await;
        assert_eq!((refused.status, refused.code()), (400, "invalid"), "{path}: {refused:?}");
        assert_eq!(refused.content_type, "application/problem+json", "{path}");
        assert!(refused.body["detail"].as_str().unwrap().starts_with(named), "{path}: {refused:?}");
    }
    for path in ["/calls", "/calls/active", "/calls/stats", "/calls/c/timeline", "/calls/c/quality"] {
        let refused = cluster.http(0).get(&format!("/api/v1{path}")).await;
        assert_eq!((refused.status, refused.code()), (401, "unauthenticated"), "{path}");
        let wrong = alice.request("DELETE", &format!("/api/v1{path}"), None).await;
        assert_eq!((wrong.status, wrong.code()), (405, "invalid"), "{path}: {wrong:?}");
    }
    // The far ends of time are times too.
    for at in ["0000-01-01T00:00:00Z", "9999-12-31T23:59:59Z"] {
        assert!(ids(&got(&alice, &format!("/calls?since={at}&until={at}")).await).is_empty());
    }
}

/// The owner of the calls is dead, and nobody has taken them over.
#[tokio::test]
async fn looking_back_needs_no_owner() {
    let mut cluster = TestCluster::two_nodes().set("CARILLON_NODE_LEASE_SECS", 30).start().await;
    let alice = cluster.rest(0, "alice");
    let call = id_of(&alice.must("call:start", json!({"calleeIds": ["bob"]})).await);
    cluster.node_mut(0).kill();
    let alice = cluster.rest(1, "alice");
    assert_eq!(ids(&got(&alice, "/calls").await), [&*call]);
    assert_eq!(ids(&got(&alice, "/calls/active").await), [&*call]);
    assert_eq!(got(&alice, "/calls/stats").await["active"], 1);
    let timeline = got(&alice, &format!("/calls/{call}/timeline")).await;
    assert_eq!(timeline["events"][0]["kind"], "created", "{timeline}");
    let report = json!({"callId": call, "jitterMs": 5});
    assert_eq!(alice.must("call:quality", report).await, json!({"score": "excellent"}));
    assert_eq!(got(&alice, &format!("/calls/{call}/quality")).await["reports"], 1);
}
