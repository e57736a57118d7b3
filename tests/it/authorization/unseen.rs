//! What one may not see answers as what is not there: the same words, and the same work for the database.
//!
//! How long both take is in `measured.rs`; here is what can be said for certain. The statements are counted by PostgreSQL
//! itself (`pg_stat_statements`), over enough requests that what runs beside them now and then does not count.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::{Value, json};

use crate::support::{
    Connect, TestClient, TestCluster,
    inbox::WireError,
    moves::id_of,
    postgres::{Database, Instance},
    process::POLL,
};

/// Requests of a kind that are counted together; what is made less than half as often is not theirs.
const TIMES: usize = 10;

/// Calls that a stranger, hank, has nothing to do with, and those who are in them. `owner` is the node of the calls.
pub struct Scene {
    pub cluster: TestCluster,
    /// By what they are: each is forbidden to hank.
    pub forbidden: Vec<(&'static str, String)>,
    /// Of hank.
    token: String,
    client: reqwest::Client,
    /// Their sessions.
    _clients: Vec<TestClient>,
}

impl Scene {
    /// On two nodes and a PostgreSQL of its own, which counts statements.
    pub async fn begin() -> Self {
        let instance = Arc::new(Instance::start_counting());
        let database = Arc::new(instance.create_database());
        database.sql("CREATE EXTENSION pg_stat_statements");
        let cluster = TestCluster::two_nodes()
            .on_database(database)
            .set("CARILLON_RATE_LIMITS", "off")
            .set("CARILLON_SWEEP_INTERVAL_SECS", 3600)
            .set("CARILLON_RECONNECT_GRACE_SECS", 300)
            .start()
            .await;
        cluster.group("team", &["alice", "bob"]).await;
        let alice = cluster.connect(0, "alice", "phone").await;
        let bob = cluster.connect(1, "bob", "phone").await;
        let over = alice.call_through(&bob).await;
        alice.act("call:end", &over).await;
        bob.expect_end(&over, "completed").await;
        let group = id_of(&alice.start_group("team", false).await);
        bob.act("call:join", &group).await;
        // Of others, who are not busy.
        let carol = cluster.connect(0, "carol", "phone").await;
        let dave = cluster.connect(1, "dave", "phone").await;
        let pair = carol.call_through(&dave).await;
        let forbidden = vec![("a call of two", pair), ("a group's call", group), ("a call that is over", over)];
        let (token, client) = (cluster.token("hank"), reqwest::Client::builder().no_proxy().build().unwrap());
        Self { cluster, forbidden, token, client, _clients: vec![alice, bob, carol, dave] }
    }
}

/// What hank asks about a call over REST: method, path and body.
pub fn asked_by_rest() -> Vec<(&'static str, &'static str, Option<Value>)> {
    vec![
        ("GET", "/api/v1/calls/{}", None),
        ("GET", "/api/v1/calls/{}/participants", None),
        ("GET", "/api/v1/calls/{}/timeline", None),
        ("GET", "/api/v1/calls/{}/quality", None),
        ("POST", "/api/v1/calls/{}/quality", Some(json!({"jitterMs": 5}))),
        ("POST", "/api/v1/calls/{}/join", None),
        ("POST", "/api/v1/calls/{}/end", None),
        ("POST", "/api/v1/calls/{}/token", None),
        ("POST", "/api/v1/calls/{}/signal", Some(json!({"type": "offer", "payload": "x"}))),
        ("POST", "/api/v1/calls/{}/kick", Some(json!({"userId": "bob"}))),
        ("PATCH", "/api/v1/calls/{}/participants/me", Some(json!({"audio": true}))),
    ]
}

/// The same over a socket.
pub fn asked_by_socket(call: &str) -> Vec<(&'static str, Value)> {
    vec![
        ("call:get", json!({"callId": call})),
        ("call:sync", json!({"callId": call, "seq": 1})),
        ("call:join", json!({"callId": call})),
        ("call:signal", json!({"callId": call, "type": "offer", "payload": "x"})),
        ("call:quality", json!({"callId": call, "jitterMs": 5})),
        ("call:mute", json!({"callId": call, "track": "audio"})),
    ]
}

/// A whole answer, but for what names the request and the moment.
async fn answer(
    scene: &Scene,
    node: usize,
    (method, path, body): (&str, &str, &Option<Value>),
    key: Option<&str>,
) -> (u16, BTreeMap<String, String>, Vec<u8>) {
    let url = format!("http://{}{path}", scene.cluster.node(node).address);
    let mut request = scene.client.request(method.parse().unwrap(), url).bearer_auth(&scene.token);
    if let Some(body) = body {
        request = request.json(body);
    }
    if let Some(key) = key {
        request = request.header("Idempotency-Key", key);
    }
    let answer = request.send().await.unwrap();
    let header = |(name, value): (&reqwest::header::HeaderName, &reqwest::header::HeaderValue)| {
        (name.as_str().to_owned(), value.to_str().unwrap().to_owned())
    };
    let mut headers: BTreeMap<String, String> = answer.headers().iter().map(header).collect();
    headers.retain(|name, _| !["date", "x-request-id"].contains(&name.as_str()));
    let status = answer.status().as_u16();
    let mut body = answer.text().await.unwrap();
    // It names the request, in the same words and at the same place in every answer.
    if let Some(trace) = headers.insert("x-trace-id".into(), "TRACE".into()) {
        assert_eq!(body.matches(&trace).count(), usize::from(status >= 400), "{body}");
        body = body.replace(&trace, "TRACE");
    }
    (status, headers, body.into_bytes())
}

/// How often each statement has been carried out.
fn counted(database: &Database) -> BTreeMap<String, i64> {
    let sql = "SELECT query, sum(calls) FROM pg_stat_statements WHERE dbid = (SELECT oid FROM pg_database \
        WHERE datname = current_database()) GROUP BY query";
    let number = |text: &Option<String>| text.as_deref().unwrap().parse().unwrap();
    database.sql(sql).iter().map(|row| (row[0].clone().unwrap_or_default(), number(&row[1]))).collect()
}

/// The statements that nodes make when nobody asks for anything: those of a while in which the lease was renewed, and
/// calls without an owner were looked for, a few times.
async fn of_nobody(database: &Database) -> BTreeSet<String> {
    let before = counted(database);
    loop {
        let after = counted(database);
        let grown = |(sql, calls): &(&String, &i64)| *calls - before.get(*sql).unwrap_or(&0) > 0;
        let often = |(sql, calls): (&String, &i64)| calls - before.get(sql).unwrap_or(&0) >= 4;
        if after.iter().filter(|(sql, calls)| often((sql, calls))).count() >= 3 {
            return after.iter().filter(grown).map(|(sql, _)| sql.clone()).collect();
        }
        tokio::time::sleep(20 * POLL).await;
    }
}

/// The statements that each of [`TIMES`] requests costs, with how many of each.
fn spent(
    before: &BTreeMap<String, i64>,
    after: &BTreeMap<String, i64>,
    of_nobody: &BTreeSet<String>,
) -> BTreeMap<String, i64> {
    let (times, half) = (TIMES as i64, TIMES as i64 / 2);
    let each = |(sql, calls): (&String, &i64)| {
        let more = calls - before.get(sql).copied().unwrap_or(0);
        (sql.clone(), (more + half) / times)
    };
    after.iter().map(each).filter(|(sql, each)| *each > 0 && !of_nobody.contains(sql)).collect()
}

#[tokio::test]
async fn what_one_may_not_see_is_answered_word_for_word_as_what_is_not_there() {
    let scene = Scene::begin().await;
    for node in [0, 1] {
        for (method, path, body) in asked_by_rest() {
            let absent = answer(&scene, node, (method, &path.replace("{}", "none"), &body), None).await;
            assert_eq!(absent.0, 404, "{method} {path}: {absent:?}");
            for (what, call) in &scene.forbidden {
                let forbidden = answer(&scene, node, (method, &path.replace("{}", call), &body), None).await;
                assert_eq!(forbidden, absent, "{method} {path} on node {node}: {what}");
                let key = (method != "GET").then(|| what.replace(' ', "-"));
                if let Some(key) = key {
                    let path = path.replace("{}", call);
                    let keyed = answer(&scene, node, (method, &path, &body), Some(&format!("{key}-{path}"))).await;
                    assert_eq!(keyed, absent, "{method} {path} with a key on node {node}: {what}");
                }
            }
        }
        for (group, whose) in [("team", "others'"), ("none", "nobody's")] {
            let (start, list) = (Some(json!({"groupId": group})), format!("/api/v1/calls?groupId={group}"));
            let started = answer(&scene, node, ("POST", "/api/v1/calls", &start), None).await;
            let listed = answer(&scene, node, ("GET", &list, &None), None).await;
            let absent = (Some(json!({"groupId": "never"})), "/api/v1/calls?groupId=never");
            assert_eq!(started, answer(&scene, node, ("POST", "/api/v1/calls", &absent.0), None).await, "{whose}");
            assert_eq!(listed, answer(&scene, node, ("GET", absent.1, &None), None).await, "{whose}");
            assert_eq!((started.0, listed.0), (404, 404));
        }
        let hank = Connect::to(scene.cluster.node(node), "hank", "phone").go().await.unwrap();
        for (nth, (command, data)) in asked_by_socket("none").into_iter().enumerate() {
            // The trace names the command; whether there is one tells nothing either.
            let untraced = |mut refused: WireError| {
                refused.trace_id = refused.trace_id.map(|_| "TRACE".to_owned());
                refused
            };
            let absent = untraced(hank.refused(command, data).await);
            assert_eq!(absent.code, "not_found", "{command}");
            for (what, call) in &scene.forbidden {
                let forbidden = untraced(hank.refused(command, asked_by_socket(call).swap_remove(nth).1).await);
                assert_eq!(format!("{forbidden:?}"), format!("{absent:?}"), "{command} on node {node}: {what}");
            }
        }
    }
}

#[tokio::test]
async fn what_one_may_not_see_costs_the_database_the_same_as_what_is_not_there() {
    let scene = Scene::begin().await;
    let database = scene.cluster.database().unwrap();
    let nobodys = of_nobody(database).await;
    for node in [0, 1] {
        for (method, path, body) in asked_by_rest() {
            let cost = async |call: &str| {
                let path = path.replace("{}", call);
                let before = counted(database);
                for _ in 0..TIMES {
                    assert_eq!(answer(&scene, node, (method, &path, &body), None).await.0, 404, "{path}");
                }
                spent(&before, &counted(database), &nobodys)
            };
            let absent = cost("none").await;
            assert!(!absent.is_empty(), "{method} {path}: nothing was counted");
            for (what, call) in &scene.forbidden {
                assert_eq!(cost(call).await, absent, "{method} {path} on node {node}: {what}");
            }
        }
        let hank = Connect::to(scene.cluster.node(node), "hank", "phone").go().await.unwrap();
        for nth in 0..asked_by_socket("").len() {
            let cost = async |call: &str| {
                let before = counted(database);
                for _ in 0..TIMES {
                    let (command, data) = asked_by_socket(call).swap_remove(nth);
                    hank.refused(command, data).await;
                }
                spent(&before, &counted(database), &nobodys)
            };
            let absent = cost("none").await;
            for (what, call) in &scene.forbidden {
                assert_eq!(cost(call).await, absent, "{} on node {node}: {what}", asked_by_socket("")[nth].0);
            }
        }
        let groups = async |group: &str| {
            let before = counted(database);
            for _ in 0..TIMES {
                let path = format!("/api/v1/calls?groupId={group}");
                answer(&scene, node, ("GET", &path, &None), None).await;
                let start = Some(json!({"groupId": group}));
                answer(&scene, node, ("POST", "/api/v1/calls", &start), None).await;
            }
            spent(&before, &counted(database), &nobodys)
        };
        assert_eq!(groups("team").await, groups("none").await, "groups on node {node}");
    }
}
