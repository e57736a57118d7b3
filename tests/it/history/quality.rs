//! Reports of quality: by socket and by REST, scored and summed up.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

use carillon::{
    domain::{Timestamp, quality::Measured},
    store::{CommitOutcome, Old, QualityReport, ReportOutcome, Viewer},
};

use crate::{
    scenarios::On,
    store::{
        backend::Backend,
        run,
        scene::{begin, call_id, device, node, now, opening, user},
    },
    support::moves::assert_code,
};

async fn reported(on: On) {
    let cluster = on.cluster().start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let call = alice.call_through(&bob).await;
    let path = format!("/api/v1/calls/{call}/quality");
    let nothing = cluster.rest(0, "bob").request("GET", &path, None).await.body;
    assert_eq!(nothing, json!({"callId": call, "score": null, "reports": 0, "participants": []}));
    for (report, score) in [
        (json!({"jitterMs": 4, "packetLossPct": 0.2, "roundTripMs": 60, "usedTurn": true}), json!("excellent")),
        (
            json!({"jitterMs": 12, "packetLossPct": 6, "roundTripMs": 120, "fps": 24, "resolution": "640x480"}),
            json!("good"),
        ),
        (json!({"fps": 30, "codec": "video/VP8"}), Value::Null),
        (json!({"iceState": "disconnected"}), json!("poor")),
    ] {
        let mut data = report.clone();
        data["callId"] = json!(call);
        assert_eq!(alice.must("call:quality", data).await, json!({"score": score}), "{report}");
    }
    alice.act("call:end", &call).await;
    bob.expect_end(&call, "completed").await;
    // What was measured before the end may come after it, in one go.
    let at = (chrono::Utc::now() - chrono::Duration::minutes(1)).to_rfc3339();
    let list = json!({"reports": [{"at": at, "roundTripMs": 700}, {"packetLossPct": 20}, {"jitterMs": 1}]});
    let rest = cluster.rest(1, "bob").at("phone");
    let mut data = list.clone();
    data["callId"] = json!(call);
    for _ in 0..2 {
        let answer = rest.send("call:quality", Some("once"), data.clone()).await;
        assert_eq!((answer.status, &answer.body), (200, &json!({"scores": ["fair", "poor", "excellent"]})));
    }
    let other = rest.send("call:quality", Some("once"), json!({"callId": call, "jitterMs": 9})).await;
    assert_eq!((other.status, other.code()), (409, "conflict"), "{other:?}");
    let sums = cluster.rest(0, "alice").request("GET", &path, None).await.body;
    assert_eq!(
        (&sums["callId"], &sums["reports"]),
        (&json!(call), &json!(7)),
        "repeated with its key it is there once"
    );
    let [of_alice, of_bob] = [0, 1].map(|n| &sums["participants"][n]);
    assert_eq!((&of_alice["userId"], &of_alice["reports"]), (&json!("alice"), &json!(4)), "{sums}");
    assert_eq!(of_alice["scores"], json!({"excellent": 1, "good": 1, "fair": 0, "poor": 1}), "{sums}");
    assert_eq!(of_alice["jitterMs"], json!({"mean": 8.0, "worst": 12.0}), "{sums}");
    assert_eq!(of_alice["fps"], json!({"mean": 27.0, "worst": 24.0}), "the worst is the least: {sums}");
    assert_eq!((&of_alice["usedTurn"], &of_bob["usedTurn"]), (&json!(true), &json!(false)), "{sums}");
    assert_eq!((&of_alice["score"], &of_bob["bandwidthKbps"]), (&json!("excellent"), &Value::Null), "{sums}");
    assert!(sums["score"].is_string(), "{sums}");
    // Strangers, and what cannot be.
    let mallory = cluster.connect(0, "mallory", "phone").await;
    for about in [call.as_str(), "none"] {
        let refused = mallory.refused("call:quality", json!({"callId": about, "jitterMs": 1})).await;
        assert_code(&refused, &["not_found"]);
        for method in ["GET", "POST"] {
            let body = (method == "POST").then(|| json!({"jitterMs": 1}));
            let refused =
                cluster.rest(1, "mallory").request(method, &format!("/api/v1/calls/{about}/quality"), body).await;
            assert_eq!((refused.status, refused.code()), (404, "not_found"), "{refused:?}");
        }
    }
    for wrong in [
        json!({}),
        json!({"jitterMs": -1}),
        json!({"at": "2020-01-01T00:00:00Z", "jitterMs": 1}),
        json!({"reports": []}),
    ] {
        let refused = rest.request("POST", &path, Some(wrong.clone())).await;
        assert_eq!((refused.status, refused.code()), (400, "invalid"), "{wrong}: {refused:?}");
    }
}

#[tokio::test]
async fn participants_report_quality_by_socket_and_by_rest_on_one_node() {
    reported(On::Embedded).await;
}

#[tokio::test]
async fn participants_report_quality_by_socket_and_by_rest_on_two_nodes() {
    reported(On::TwoNodes).await;
}

fn report(at: Timestamp) -> QualityReport {
    let measured = Measured { jitter_ms: Some(3.0), ..Measured::default() };
    QualityReport { id: Uuid::now_v7(), device: device("phone"), at, measured }
}

async fn stored(backend: Backend) {
    let store = backend.store().await;
    for n in 0..10 {
        let (commit, _) = begin(&opening(&format!("c{n}"), "alice", &["bob", "carol"]), &node("n1"));
        assert_eq!(store.commit(commit).await, Ok(CommitOutcome::Committed));
    }
    // A storm, strangers among them, who spoil nothing for the others.
    let ask = |n: usize| {
        let (store, who) = (&store, ["alice", "bob", "mallory"][n % 3]);
        async move { (who, store.record_quality(&call_id(&format!("c{}", n % 10)), &user(who), vec![report(now())]).await) }
    };
    for (who, outcome) in join_all((0..1500).map(ask)).await {
        let wanted = if who == "mallory" { ReportOutcome::NotParticipant } else { ReportOutcome::Recorded };
        assert_eq!(outcome, Ok(wanted));
    }
    assert_eq!(backend.count("quality_reports"), 1000);
    let sums = store.quality_of(&Viewer::from(&user("bob")), &call_id("c0")).await.unwrap();
    assert_eq!(
        sums.iter().map(|of| (of.user.as_str(), of.reports, of.excellent)).collect::<Vec<_>>(),
        [("alice", 50, 50), ("bob", 50, 50)]
    );
    // Old ones are forgotten, and only those.
    const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);
    let old = vec![report(now() - WEEK - Duration::from_secs(60)), report(now() - WEEK + Duration::from_secs(600))];
    store.record_quality(&call_id("c1"), &user("bob"), old).await.unwrap();
    assert_eq!(store.forget_old(Old::QualityReports, WEEK, 10).await, Ok(1));
    assert_eq!(store.forget_old(Old::QualityReports, WEEK, 10).await, Ok(0));
    assert_eq!(backend.count("quality_reports"), 1001);
}

#[test]
fn a_storm_of_reports_is_written_and_old_ones_are_forgotten_in_sqlite() {
    run(stored(Backend::sqlite()));
}

#[test]
fn a_storm_of_reports_is_written_and_old_ones_are_forgotten_in_postgres() {
    run(stored(Backend::postgres()));
}
