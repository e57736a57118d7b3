//! What the releases share besides calls: answers on record, REST, sweepers, Redis and its loss.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{EITHER, assert_says_as_much, mixed};
use crate::{
    faults::talk,
    load::wait_at_most,
    support::{
        TestCluster,
        client::call_of,
        node::{Release, command_of},
        process::POLL,
        redis,
    },
};

/// For what takes seconds on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_command_repeated_under_its_key_on_the_other_release_gets_its_first_answer() {
    let cluster = mixed(2, [0]).start().await;
    let places = [cluster.connect(0, "kim", "old").await, cluster.connect(1, "kim", "new").await];
    let callee = cluster.connect(1, "lee", "phone").await;
    let rest = [cluster.rest(0, "kim"), cluster.rest(1, "kim")];
    for first in EITHER {
        let start = json!({"calleeIds": ["lee"], "type": "audio"});
        let key = format!("start-{first}");
        let began = places[first].call_keyed("call:start", Some(&key), start.clone()).await.expect("it starts");
        let call = began["call"]["callId"].as_str().expect("an id").to_owned();
        callee.expect_of("call:incoming", &call).await;
        let again = places[1 - first].call_keyed("call:start", Some(&key), start.clone()).await.expect("the same");
        assert_eq!(again["call"], began["call"]);
        let over_rest = rest[1 - first].send("call:start", Some(&key), start).await;
        assert_eq!((over_rest.ok(), &over_rest.body["call"]), (true, &began["call"]), "{over_rest:?}");
        let other = json!({"calleeIds": ["lee"], "type": "video"});
        let conflict =
            places[1 - first].call_keyed("call:start", Some(&key), other).await.expect_err("another command");
        assert_eq!(conflict.code, "conflict", "{conflict:?}");
        // By REST first, and by the socket of the other release after.
        let key = format!("invite-{first}");
        let invite = json!({"callId": call, "userIds": [format!("mo-{first}")]});
        let invited = rest[first].send("call:invite", Some(&key), invite.clone()).await;
        assert!(invited.ok(), "{invited:?}");
        let again = places[1 - first].call_keyed("call:invite", Some(&key), invite).await.expect("the same");
        assert_eq!(again["call"], invited.body["call"]);
        places[first].act("call:cancel", &call).await;
        callee.expect_end(&call, "cancelled").await;
    }
}

#[tokio::test]
async fn both_releases_say_the_same_over_rest() {
    let cluster = mixed(2, [0]).start().await;
    let (alice, bob, call) = talk(&cluster, 0).await;
    bob.must("call:quality", json!({"callId": call, "jitterMs": 4, "packetLossPct": 0.5, "roundTripMs": 40})).await;
    alice.act("call:end", &call).await;
    for side in [&alice, &bob] {
        side.expect_end(&call, "completed").await;
    }
    let alices = [cluster.rest(0, "alice"), cluster.rest(1, "alice")];
    for path in [
        format!("/api/v1/calls/{call}"),
        format!("/api/v1/calls/{call}/timeline"),
        format!("/api/v1/calls/{call}/participants"),
        "/api/v1/calls?limit=10&total=true".to_owned(),
        "/api/v1/calls/active".to_owned(),
    ] {
        let [old, new] = [alices[0].request("GET", &path, None).await, alices[1].request("GET", &path, None).await];
        assert!(old.ok() && new.ok(), "{path}: {old:?} {new:?}");
        assert_says_as_much(&new.body, &old.body);
    }
    // A call by REST alone, on one release, that rings on the other.
    for (number, rest) in alices.iter().enumerate() {
        let began = rest.must("call:start", json!({"calleeIds": ["bob"], "type": "audio"})).await;
        let call = began["call"]["callId"].as_str().expect("an id").to_owned();
        bob.expect_of("call:incoming", &call).await;
        alices[1 - number].must("call:cancel", json!({"callId": call})).await;
        bob.expect_end(&call, "cancelled").await;
    }
}

/// `carillon sweep` of a release; its exit code and what it printed.
async fn sweep(cluster: &TestCluster, release: Release, arguments: &[&str]) -> (Option<i32>, String) {
    let arguments: Vec<&str> = std::iter::once("sweep").chain(arguments.iter().copied()).collect();
    let mut command = command_of(release, &arguments, cluster.settings());
    let output =
        tokio::task::spawn_blocking(move || command.output().expect("run carillon sweep")).await.expect("it ends");
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[tokio::test]
async fn the_sweepers_of_both_releases_take_turns_and_each_command_line_asks_either() {
    let cluster = mixed(2, [0]).start().await;
    let (alice, _bob, call) = talk(&cluster, 1).await;
    let sweepers = || {
        let rows = cluster
            .database()
            .expect("a database")
            .sql("SELECT DISTINCT node FROM sweep_runs WHERE sweeper = 'takeover' AND outcome = 'done'");
        rows.len()
    };
    wait_at_most(PATIENCE, "nodes of both releases have swept", || sweepers() == 2).await;
    for release in [Release::Previous, Release::This] {
        let (code, said) = sweep(&cluster, release, &["stale_ringing"]).await;
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("found 0") || said.contains("found=0"), "{said}");
    }
    assert_eq!(alice.get(&call).await["status"], "active", "nothing is swept that lives");
}

/// What `/readyz` says that the nodes do without.
async fn lost(cluster: &TestCluster) -> Vec<usize> {
    let mut lost = Vec::new();
    for number in 0..cluster.size() {
        let answer = cluster.http(number).get("/readyz").await;
        lost.push(answer.body["degraded"].as_array().map_or(usize::MAX, Vec::len));
    }
    lost
}

async fn wait_for_loss(cluster: &TestCluster, wanted: usize) {
    let began = std::time::Instant::now();
    loop {
        let now = lost(cluster).await;
        if now.iter().all(|lost| *lost == wanted) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "they never do without {wanted}: {now:?}");
        tokio::time::sleep(POLL).await;
    }
}

#[tokio::test]
async fn without_redis_both_releases_bring_events_and_rings_by_the_database() {
    let own = Arc::new(tokio::task::spawn_blocking(redis::Instance::start).await.expect("start Redis"));
    let cluster = mixed(2, [0]).set("CARILLON_RECONNECT_GRACE_SECS", 60).on_redis(own.clone()).start().await;
    let mut talks = Vec::new();
    for owner in EITHER {
        // The caller is at the owner.
        let caller = cluster.connect(owner, &format!("caller-{owner}"), "phone").await;
        let callee = cluster.connect(1 - owner, &format!("callee-{owner}"), "phone").await;
        let call = caller.call_through(&callee).await;
        let idle = cluster.connect(1 - owner, &format!("idle-{owner}"), "phone").await;
        talks.push((caller, callee, idle, call));
    }
    own.kill();
    wait_for_loss(&cluster, 1).await;
    for (caller, callee, idle, call) in &talks {
        caller.must("call:media", json!({"callId": call, "screen": true})).await;
        let told = |e: &Value| e["callId"] == *call && e["changes"]["screen"] == true;
        callee.expect_within(PATIENCE, "call:participant_updated", told).await;
        assert_eq!(callee.get(call).await["status"], "active", "read from the store");
        let refused = callee.refused("call:media", json!({"callId": call, "screen": true})).await;
        assert_eq!((refused.code.as_str(), refused.retryable), ("unavailable", true), "{refused:?}");
        caller.act("call:hold", call).await;
        callee.expect_within(PATIENCE, "call:held", |e| e["callId"] == *call).await;
        let third = caller.must("call:invite", json!({"callId": call, "userIds": [idle.user]})).await;
        idle.expect_within(PATIENCE, "call:incoming", |e| call_of(e) == Some(call)).await;
        assert_eq!(third["call"]["callId"], *call);
    }
    own.start_again();
    wait_for_loss(&cluster, 0).await;
    for (caller, callee, idle, call) in &talks {
        idle.act("call:decline", call).await;
        super::assert_talk(caller, callee, call).await;
        // Of a call of three only its host may.
        caller.act("call:end", call).await;
        for side in [caller, callee] {
            side.expect_end_within(PATIENCE, call, "completed").await;
        }
    }
}
