//! Endpoints that fail, dawdle, send us elsewhere or want no more.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};

use super::{Hook, Reply, deliveries, expect_delivery, get, hook, post, receiver::Receiver, telling, try_hook};
use crate::support::TestCluster;

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_tried_again_in_its_place_and_other_calls_do_not_wait() {
    for builder in [TestCluster::embedded(), TestCluster::of(1)] {
        let (stuck, tries) = (Arc::new(std::sync::Mutex::new(String::new())), Arc::new(AtomicUsize::new(0)));
        let (is_stuck, count) = (stuck.clone(), tries.clone());
        let receiver = Receiver::answering(move |received| {
            let concerned = received.kind() == "call.started" && received.data()["calleeIds"][0] == "bob";
            if concerned {
                *is_stuck.lock().unwrap() = received.call().to_owned();
            }
            if concerned && count.fetch_add(1, Ordering::SeqCst) < 2 {
                return Reply::of(503).header("Retry-After: 1").body("not now");
            }
            Reply::of(204)
        })
        .await;
        let cluster = telling(builder).start().await;
        let hook = hook(&cluster, &receiver, &[]).await;
        let alice = cluster.connect(0, "alice", "phone").await;
        let first = alice.start(&["bob"]).await;
        alice.act("call:cancel", &first).await;
        receiver.expect_of("call.started", &first).await;
        let second = alice.start(&["carol"]).await;
        alice.act("call:cancel", &second).await;
        receiver.expect_of("call.ended", &second).await;
        receiver.expect_of("call.ended", &first).await;
        let kinds = receiver.kinds_of(&first);
        let wanted = ["call.started", "call.started", "call.started", "call.ringing", "call.cancelled", "call.ended"];
        assert_eq!(kinds, wanted);
        let ids: Vec<String> = receiver.of(&first).iter().take(3).map(|received| received.id().to_owned()).collect();
        assert!(ids.iter().all(|id| *id == ids[0]), "a repetition is known by its id: {ids:?}");
        let settled = |delivery: &Value| delivery["deliveryId"] == ids[0].as_str() && delivery["state"] == "delivered";
        let delivery = expect_delivery(&cluster, &hook, "delivered", settled).await;
        assert_eq!((&delivery["attempts"], &delivery["lastStatus"]), (&json!(3), &json!(204)), "{delivery}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_to_the_end_is_a_dead_letter_that_can_be_sent_again_or_deleted() {
    for builder in [TestCluster::embedded(), TestCluster::of(1)] {
        let broken = Arc::new(AtomicBool::new(true));
        let state = broken.clone();
        let receiver = Receiver::answering(move |_| {
            if state.load(Ordering::SeqCst) { Reply::of(500).body("oh\u{7} no") } else { Reply::of(200) }
        })
        .await;
        let cluster = telling(builder).start().await;
        let hook = hook(&cluster, &receiver, &["call.started", "call.ended"]).await;
        let alice = cluster.connect(0, "alice", "phone").await;
        let call = alice.start(&["bob"]).await;
        alice.act("call:cancel", &call).await;
        let dead = |event: &'static str| move |d: &Value| d["event"] == event && d["state"] == "dead";
        let started = expect_delivery(&cluster, &hook, "dead", dead("call.started")).await;
        assert_eq!((&started["attempts"], &started["lastError"]), (&json!(3), &json!("status")));
        assert_eq!(started["lastAnswer"], json!("oh no"));
        let ended = expect_delivery(&cluster, &hook, "dead", dead("call.ended")).await;
        assert_eq!(cluster.node(0).logged("webhook delivery given up: a dead letter").len(), 2);

        let list = get(&cluster, "/api/v1/admin/dead-letters?limit=1").await;
        let letter = &list["deadLetters"][0];
        assert_eq!((&letter["deliveryId"], &letter["lastStatus"]), (&ended["deliveryId"], &json!(500)), "{list}");
        assert_eq!((&letter["callId"], &letter["url"]), (&json!(call), &json!(receiver.url())));
        let next = list["nextCursor"].as_str().unwrap();
        let rest = get(&cluster, &format!("/api/v1/admin/dead-letters?cursor={next}&webhookId={}", hook.id)).await;
        assert_eq!(rest["deadLetters"][0]["deliveryId"], started["deliveryId"], "{rest}");

        broken.store(false, Ordering::SeqCst);
        let id = started["deliveryId"].as_str().unwrap();
        let replayed = post(&cluster, &format!("/api/v1/admin/dead-letters/{id}/replay"), json!({})).await;
        assert_eq!((replayed.status, &replayed.body["deliveryId"]), (202, &json!(id)));
        let is_it = |delivery: &Value| delivery["deliveryId"] == id && delivery["state"] == "delivered";
        expect_delivery(&cluster, &hook, "delivered after all", is_it).await;
        assert_eq!(receiver.of(&call).iter().filter(|received| received.id() == id).count(), 4);
        // What is delivered can be had again too.
        let path = format!("/api/v1/webhooks/{}/deliveries/{id}/replay", hook.id);
        assert_eq!(post(&cluster, &path, json!({})).await.status, 202);
        receiver.expect("fifth", |_| receiver.of(&call).iter().filter(|r| r.id() == id).count() == 5).await;

        let other = ended["deliveryId"].as_str().unwrap();
        let path = format!("/api/v1/admin/dead-letters/{other}");
        for _ in 0..2 {
            assert_eq!(cluster.http(0).service("DELETE", &path, None).await.status, 204);
        }
        assert_eq!(get(&cluster, "/api/v1/admin/dead-letters").await["deadLetters"], json!([]));
        let log = get(&cluster, "/api/v1/admin/audit").await;
        let acts: Vec<String> = log["entries"].as_array().unwrap().iter().map(act).collect();
        for wanted in [
            "webhook.create webhook created",
            "delivery.replay delivery queued",
            "dead_letter.delete delivery removed",
            "dead_letter.delete delivery not_found",
            "dead_letters.read dead_letters read",
            "deliveries.read webhook read",
        ] {
            assert!(acts.iter().any(|act| act == wanted), "{wanted}: {acts:?}");
        }
    }
}

fn act(entry: &Value) -> String {
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    format!("{} {} {}", word(&entry["action"]), word(&entry["target"]["kind"]), word(&entry["outcome"]))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_gone_switches_its_webhook_off() {
    let receiver = Receiver::answering(|_| Reply::of(410)).await;
    let cluster = telling(TestCluster::embedded()).start().await;
    let hook = hook(&cluster, &receiver, &[]).await;
    let id = try_hook(&cluster, &hook).await;
    expect_delivery(&cluster, &hook, "dead", |d| d["deliveryId"] == id.as_str() && d["state"] == "dead").await;
    let seen = get(&cluster, &format!("/api/v1/webhooks/{}", hook.id)).await;
    assert_eq!((&seen["enabled"], &seen["disabledReason"]), (&json!(false), &json!("gone")));
    assert_eq!(cluster.node(0).logged("webhook switched off: its endpoint says that it is gone").len(), 1);
    let refused = post(&cluster, &format!("/api/v1/webhooks/{}/test", hook.id), json!({})).await;
    assert_eq!((refused.status, refused.code()), (409, "wrong_state"));
    let path = format!("/api/v1/webhooks/{}", hook.id);
    let on = cluster.http(0).service("PATCH", &path, Some(json!({"enabled": true}))).await;
    assert_eq!((&on.body["enabled"], on.body.get("disabledReason")), (&json!(true), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_dawdles_is_given_up_and_holds_up_no_other() {
    let slow = Receiver::answering(|_| Reply::of(200).after(Duration::from_secs(120))).await;
    let quick = Receiver::start().await;
    let builder = telling(TestCluster::of(1)).set("CARILLON_WEBHOOK_TIMEOUT_SECS", 30);
    let cluster = builder.start().await;
    let slow_hook = hook(&cluster, &slow, &[]).await;
    hook(&cluster, &quick, &[]).await;
    let alice = cluster.connect(0, "alice", "phone").await;
    // More calls than one webhook has places.
    let mut calls = Vec::new();
    for round in 0..12 {
        let call = alice.start(&[&format!("bob-{round}")]).await;
        alice.act("call:cancel", &call).await;
        calls.push(call);
    }
    for call in &calls {
        quick.expect_of("call.ended", call).await;
    }
    // None of the slow ones is over: nothing has waited for them.
    let pending = deliveries(&cluster, &slow_hook, "&state=pending").await;
    assert_eq!(pending.len(), 48, "{pending:#?}");
    assert_eq!(slow.all().len(), 8, "so many at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_comes_too_late_or_from_elsewhere_is_none_and_a_long_one_is_cut() {
    let elsewhere = Receiver::start().await;
    let to = elsewhere.url();
    let receiver = Receiver::answering(move |received| match received.path.as_str() {
        "/late" => Reply::of(200).after(Duration::from_secs(60)),
        "/elsewhere" => Reply::of(307).header(&format!("Location: {to}")),
        _ => Reply { endless: true, ..Reply::of(200) },
    })
    .await;
    let cluster = telling(TestCluster::embedded()).set("CARILLON_WEBHOOK_TIMEOUT_SECS", 1).start().await;
    let at = |path: &str| format!("http://127.0.0.1:{}/{path}", receiver.port());
    let mut hooks: Vec<(Hook, Value)> = Vec::new();
    for (path, wanted) in [
        ("late", json!(["dead", "timeout", null])),
        ("elsewhere", json!(["dead", "redirect", 307])),
        ("endless", json!(["delivered", null, 200])),
    ] {
        hooks.push((super::hook_at(&cluster, &at(path), &[]).await, wanted));
    }
    for (hook, wanted) in &hooks {
        try_hook(&cluster, hook).await;
        let delivery = expect_delivery(&cluster, hook, "settled", |d| d["state"] != "pending").await;
        assert_eq!(json!([delivery["state"], delivery["lastError"], delivery["lastStatus"]]), *wanted, "{delivery}");
        assert!(delivery["lastAnswer"].as_str().is_none_or(|answer| answer.len() <= 256), "{delivery}");
    }
    assert!(elsewhere.all().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ring_is_not_told_after_its_deadline_and_what_follows_is() {
    let receiver =
        Receiver::answering(|received| Reply::of(if received.kind() == "call.ringing" { 500 } else { 200 })).await;
    let cluster = telling(TestCluster::embedded()).start().await;
    let hook = hook(&cluster, &receiver, &[]).await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let start = json!({"calleeIds": ["bob"], "ringTimeoutSecs": 3});
    let call = crate::support::moves::id_of(&alice.must("call:start", start).await);
    receiver.expect_of("call.ended", &call).await;
    let kinds = receiver.kinds_of(&call);
    assert!(
        kinds.iter().filter(|kind| *kind == "call.ringing").count() >= 2,
        "tried again while it was of use: {kinds:?}"
    );
    assert_eq!(kinds[kinds.len() - 2..], ["call.missed", "call.ended"]);
    let ring = expect_delivery(&cluster, &hook, "expired", |d| d["state"] == "expired").await;
    assert_eq!((&ring["event"], &ring["callId"]), (&json!("call.ringing"), &json!(call)));
    assert_eq!(get(&cluster, "/api/v1/admin/dead-letters").await["deadLetters"], json!([]));
    let id = ring["deliveryId"].as_str().unwrap();
    // Once the deadline is past by every clock.
    super::expect_delivery(&cluster, &hook, "delivered", |d| d["event"] == "call.ended" && d["state"] == "delivered")
        .await;
    let replayed = post(&cluster, &format!("/api/v1/webhooks/{}/deliveries/{id}/replay", hook.id), json!({})).await;
    assert_eq!((replayed.status, replayed.code()), (409, "wrong_state"));
}
