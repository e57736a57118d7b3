//! Sweepers and their runs as an operator sees them, and runs that an operator asks for.

#![cfg(feature = "failpoints")]

use serde_json::{Value, json};

use super::{admin, list, must, until};
use crate::support::{TestCluster, cluster::ClusterBuilder};

/// Asks for a run and waits for its end; the run with its actions.
async fn sweep(cluster: &TestCluster, number: usize, name: &str, body: Option<Value>) -> Value {
    let asked = must(cluster, number, "POST", &format!("sweeps/{name}"), body).await;
    assert_eq!(asked["sweep"], name, "{asked}");
    let request = format!("sweeps/requests/{}", asked["requestId"].as_str().unwrap());
    let followed = until(cluster, number, &request, |seen| seen["state"] == "finished").await;
    assert_eq!(followed["dryRun"], asked["dryRun"], "{followed}");
    let run = format!("sweeps/runs/{}", followed["runId"].as_str().unwrap());
    must(cluster, number, "GET", &run, None).await
}

async fn swept(cluster: ClusterBuilder) {
    let cluster = cluster
        .set("FAILPOINTS", "call-arm-timer=return")
        .set("CARILLON_RING_TIMEOUT_SECS", 1)
        .set("CARILLON_SWEEP_INTERVAL_SECS", 3600)
        .start()
        .await;
    let last = cluster.size() - 1;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(last, "bob", "phone").await;
    let call = alice.start(&["bob"]).await;
    bob.expect_of("call:incoming", &call).await;
    let mut dry = Value::Null;
    for _ in 0..60 {
        // Nothing is said of whether it is to be dry: it is.
        dry = sweep(&cluster, last, "stale_ringing", None).await;
        if dry["found"] == 1 {
            break;
        }
    }
    assert_eq!((&dry["dryRun"], &dry["by"], &dry["outcome"]), (&json!(true), &json!("hand"), &json!("done")), "{dry}");
    assert_eq!((&dry["found"], &dry["acted"]), (&json!(1), &json!(0)), "{dry}");
    let action = &list(&dry, "actions")[0];
    assert_eq!((&action["callId"], &action["what"]), (&json!(call), &json!("end_ring")), "{action}");
    assert_eq!((&action["outcome"], &action["n"]), (&json!("dry_run"), &json!(1)), "{action}");
    assert!(action["why"].is_string() && action["ageSecs"].is_u64(), "{action}");
    assert_eq!(alice.get(&call).await["status"], "ringing", "a dry run changes nothing");

    let real = sweep(&cluster, last, "stale_ringing", Some(json!({"dryRun": false}))).await;
    assert_eq!((&real["dryRun"], &real["acted"], &real["failed"]), (&json!(false), &json!(1), &json!(0)), "{real}");
    assert_eq!(real["actions"][0]["outcome"], "done", "{real}");
    for side in [&alice, &bob] {
        side.expect_end(&call, "no_answer").await;
    }
    let path = format!("sweeps/runs/{}?after=1", real["runId"].as_str().unwrap());
    assert_eq!(must(&cluster, last, "GET", &path, None).await["actions"], json!([]));

    let sweeps = must(&cluster, 0, "GET", "sweeps", None).await;
    let names: Vec<&str> = list(&sweeps, "sweeps").iter().map(|sweep| sweep["name"].as_str().unwrap()).collect();
    assert_eq!(names, carillon::actors::sweepers::NAMES);
    for sweep in list(&sweeps, "sweeps") {
        assert!(sweep["what"].as_str().is_some_and(|what| what.len() > 20), "{sweep}");
        assert!(sweep["intervalSecs"].as_u64().is_some(), "{sweep}");
    }
    let stale = list(&sweeps, "sweeps").iter().find(|sweep| sweep["name"] == "stale_ringing").unwrap();
    assert_eq!(stale["lastRun"]["runId"], real["runId"], "{stale}");
    assert!(stale["nextAt"].is_string() && sweeps["serverTime"].is_string(), "{stale}");

    let ids = |seen: &Value| list(seen, "runs").iter().map(|run| run["runId"].clone()).collect::<Vec<_>>();
    let all = must(&cluster, 0, "GET", "sweeps/runs?sweep=stale_ringing&failed=false", None).await;
    assert_eq!(ids(&all)[..2], [real["runId"].clone(), dry["runId"].clone()], "the last first: {all}");
    let (mut paged, mut query) = (Vec::new(), "sweeps/runs?sweep=stale_ringing&limit=1".to_owned());
    loop {
        let page = must(&cluster, 0, "GET", &query, None).await;
        paged.extend(ids(&page));
        let Some(cursor) = page["nextCursor"].as_str() else { break };
        query = format!("sweeps/runs?sweep=stale_ringing&limit=1&cursor={cursor}");
    }
    assert_eq!(paged, ids(&all));
    let failed = must(&cluster, 0, "GET", "sweeps/runs?sweep=stale_ringing&failed=true", None).await;
    assert_eq!(ids(&failed), [Value::Null; 0], "{failed}");

    let log = must(&cluster, 0, "GET", "audit?action=sweep.request", None).await;
    let entry = &list(&log, "entries")[0];
    assert_eq!((&entry["target"]["id"], &entry["outcome"]), (&json!("stale_ringing"), &json!("requested")), "{entry}");
    assert!(entry["note"].as_str().unwrap().starts_with("for real, request "), "{entry}");
}

#[tokio::test]
async fn an_operator_sweeps_dry_and_for_real_on_sqlite() {
    swept(TestCluster::embedded()).await;
}

#[tokio::test]
async fn an_operator_sweeps_dry_and_for_real_on_postgres() {
    swept(TestCluster::two_nodes()).await;
}

#[tokio::test]
async fn a_request_for_a_sweep_that_is_repeated_under_its_key_is_one_request() {
    let cluster = TestCluster::embedded().start().await;
    let http = cluster.http(0);
    let key = Some("key-1");
    let path = "/api/v1/admin/sweeps/takeover";
    let ann = admin(&cluster);
    let post = async |bearer: &str, body: Value| {
        http.request_keyed("POST", path, Some(bearer), key, Some(body)).await.unwrap()
    };
    let service = cluster.realm().service_key.clone();
    let first = post(&service, json!({})).await;
    let again = post(&service, json!({"dryRun": true})).await;
    assert_eq!((first.status, again.status, &first.body), (202, 202, &again.body), "{first:?} {again:?}");
    let other = post(&service, json!({"dryRun": false})).await;
    assert_eq!((other.status, other.code()), (409, "conflict"), "{other:?}");
    let by_ann = post(&ann, json!({})).await;
    assert_ne!(by_ann.body["requestId"], first.body["requestId"], "keys of two have nothing to do with each other");
    let log = must(&cluster, 0, "GET", "audit?action=sweep.request", None).await;
    let outcomes: Vec<&str> = list(&log, "entries").iter().map(|entry| entry["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["requested", "conflict", "requested"], "{log}");
    let by = |n: usize| &list(&log, "entries")[n]["actor"]["id"];
    assert_eq!((by(0), by(2)), (&json!("ann"), &json!("bootstrap")), "{log}");
}
