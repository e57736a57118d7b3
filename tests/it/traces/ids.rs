//! Ids of traces: in refusals, in headers, in logs and timelines, whether or not anything is recorded.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{
    Parent,
    collector::{Collector, tree},
    logged_in, named,
};
use crate::support::{TestCluster, node::field, process::POLL};

fn is_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase())
}

/// A request with these headers: its status, its trace id as the header says, and its body.
async fn rest(cluster: &TestCluster, method: &str, path: &str, headers: &[(&str, &str)]) -> (u16, String, Value) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}{path}", cluster.node(0).address);
    let mut request = client.request(method.parse().unwrap(), url).bearer_auth(cluster.token("hank"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.unwrap();
    let trace = answer.headers()["x-trace-id"].to_str().unwrap().to_owned();
    (answer.status().as_u16(), trace, answer.json().await.unwrap_or_default())
}

/// The log line of a refusal may be written a moment after the answer.
async fn logged_refusal(cluster: &TestCluster, trace: &str, code: &str) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let lines = logged_in(cluster, 0, trace);
        if lines.iter().any(|line| field(line, "code") == Some(code)) {
            return;
        }
        assert!(Instant::now() < deadline, "no line about {code} in trace {trace}: {lines:?}");
        tokio::time::sleep(POLL).await;
    }
}

#[tokio::test]
async fn a_refusal_names_the_trace_that_its_log_line_and_its_spans_are_of() {
    let collector = Collector::start().await;
    let cluster = TestCluster::embedded().set("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint()).start().await;
    let hank = cluster.connect(0, "hank", "phone").await;
    let refused = hank.refused("call:accept", json!({"callId": "none"})).await;
    let trace = refused.trace_id.clone().unwrap();
    assert!(refused.code == "not_found" && is_id(&trace), "{refused:?}");
    logged_refusal(&cluster, &trace, "not_found").await;
    let spans = collector.expect(&trace, |spans| !named(spans, "call:accept").is_empty()).await;
    let root = named(&spans, "call:accept")[0];
    assert!(root.failed && root.attributes["error.type"] == "not_found", "{}", tree(&spans));

    let parent = Parent::new();
    let headers = [("traceparent", &*parent.header(true))];
    let (status, trace, body) = rest(&cluster, "POST", "/api/v1/calls/none/end", &headers).await;
    assert_eq!((status, &trace, &body["traceId"]), (404, &parent.trace, &json!(parent.trace)));
    logged_refusal(&cluster, &trace, "not_found").await;
    let name = "POST /api/v1/calls/{callId}/{action}";
    let spans = collector.expect(&trace, |spans| !named(spans, name).is_empty()).await;
    let root = named(&spans, name)[0];
    assert_eq!((&root.parent, &*root.attributes["http.response.status_code"]), (&parent.span, "404"));
    assert!(root.failed && root.attributes["error.type"] == "not_found", "{root:?}");
    // Of a refusal that is decided at the door too, and of a frame that names no command that there is.
    for (command, data) in [("call:accept", json!({})), ("call:nonsense", json!({}))] {
        let refused = hank.refused(command, data).await;
        assert!(refused.code == "invalid" && is_id(refused.trace_id.as_deref().unwrap()), "{refused:?}");
    }
    // Signals are in no trace.
    let signal = json!({"callId": "none", "type": "offer", "payload": "x"});
    assert_eq!(hank.refused("call:signal", signal).await.trace_id, None);
}

#[tokio::test]
async fn ids_are_there_without_a_collector_and_what_is_no_traceparent_counts_as_not_sent() {
    let cluster = TestCluster::embedded().start().await;
    let hank = cluster.connect(0, "hank", "phone").await;
    let parent = Parent::new();
    let good = parent.header(true);
    let refused = hank.call_with("call:get", Some(("traceparent", json!(good))), json!({"callId": "none"})).await;
    assert_eq!(refused.unwrap_err().trace_id.unwrap(), parent.trace);
    let wrong = [
        json!(""),
        json!(good.to_uppercase()),
        json!(format!("{good}-x")),
        json!(format!("ff{}", &good[2..])),
        json!(good.replace(&parent.trace, &"0".repeat(32))),
        json!("é\n\"\\"),
        json!(7),
        json!(null),
        json!({"a": [good]}),
    ];
    for traceparent in wrong {
        let member = Some(("traceparent", traceparent.clone()));
        let refused = hank.call_with("call:get", member, json!({"callId": "none"})).await.unwrap_err();
        let id = refused.trace_id.unwrap();
        assert!(refused.code == "not_found" && is_id(&id) && id != parent.trace, "{traceparent}");
        hank.call_with("presence:get", Some(("traceparent", traceparent)), json!({"userIds": []})).await.unwrap();
        let header = [("traceparent", "00-nonsense")];
        let (status, id, _) = rest(&cluster, "GET", "/api/v1/calls", &header).await;
        assert!(status == 200 && is_id(&id));
    }
    let (_, id, _) = rest(&cluster, "GET", "/api/v1/calls", &[("traceparent", &good)]).await;
    assert_eq!(id, parent.trace);
    let twice = [("traceparent", &*good), ("traceparent", &*good)];
    let (status, id, _) = rest(&cluster, "GET", "/api/v1/calls", &twice).await;
    assert!(status == 200 && id != parent.trace, "two are as good as none");
}

#[tokio::test]
async fn a_repeated_command_is_answered_as_the_first_time_and_with_the_trace_of_this_time() {
    let cluster = TestCluster::embedded().start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let call = alice.start(&["bob"]).await;
    let data = json!({"callId": call, "userId": "nobody"});
    let mut seen = Vec::new();
    for _ in 0..3 {
        let mut refused = alice.call_keyed("call:kick", Some("k"), data.clone()).await.unwrap_err();
        let trace = refused.trace_id.take().unwrap();
        assert!(!logged_in(&cluster, 0, &trace).is_empty(), "{trace} is the trace of this request");
        seen.push((trace, format!("{refused:?}")));
    }
    assert!(seen[0].0 != seen[1].0 && seen[1].0 != seen[2].0, "{seen:?}");
    assert!(seen[0].1 == seen[1].1 && seen[1].1 == seen[2].1, "{seen:?}");
    // Whichever trace it is said to be of, it is the same command.
    let parent = Parent::new();
    let keyed = json!({"id": "r", "event": "call:kick", "idempotencyKey": "k", "traceparent": parent.header(true), "data": data});
    let reply = alice.reply_to(&keyed).await.unwrap_err();
    assert_eq!(reply.trace_id.as_deref(), Some(&*parent.trace), "{reply:?}");
    assert_ne!(reply.code, "conflict");
    alice.act("call:cancel", &call).await;
}

#[tokio::test]
async fn what_a_call_does_by_itself_is_a_trace_of_its_own() {
    let cluster = TestCluster::embedded().set("CARILLON_RING_TIMEOUT_SECS", 1).start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(0, "bob", "phone").await;
    let call = alice.start(&["bob"]).await;
    bob.expect_of("call:incoming", &call).await;
    alice.expect_end(&call, "no_answer").await;
    let path = format!("/api/v1/calls/{call}/timeline");
    let timeline = cluster.rest(0, "alice").request("GET", &path, None).await.body;
    let events = timeline["events"].as_array().unwrap();
    let traces: Vec<&str> = events.iter().map(|event| event["traceId"].as_str().unwrap()).collect();
    assert!(traces.iter().all(|id| is_id(id)), "{timeline}");
    let (first, last) = (traces[0], traces[traces.len() - 1]);
    assert_ne!(first, last, "the timer's is not the start's: {timeline}");
    assert_eq!(last, traces[traces.len() - 2], "what came of one timer is of one trace: {timeline}");
    let ended = |line: &Value| field(line, "message") == Some("call ended");
    assert!(logged_in(&cluster, 0, last).iter().any(ended));
}

#[tokio::test]
async fn a_trace_that_is_not_sampled_has_an_id_and_no_spans() {
    let collector = Collector::start().await;
    let cluster = TestCluster::embedded().set("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint()).start().await;
    let hank = cluster.connect(0, "hank", "phone").await;
    let (not_sampled, sampled) = (Parent::new(), Parent::new());
    for (parent, flag) in [(&not_sampled, false), (&sampled, true)] {
        let member = Some(("traceparent", json!(parent.header(flag))));
        let refused = hank.call_with("call:get", member, json!({"callId": "none"})).await.unwrap_err();
        assert_eq!(refused.trace_id.as_deref(), Some(&*parent.trace));
    }
    collector.expect(&sampled.trace, |spans| named(spans, "call:get").len() == 1).await;
    assert!(collector.spans_of(&not_sampled.trace).is_empty());
    logged_refusal(&cluster, &not_sampled.trace, "not_found").await;
    // Where the client's word does not count.
    let cluster = TestCluster::embedded()
        .set("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint())
        .set("OTEL_TRACES_SAMPLER", "always_off")
        .start()
        .await;
    let (hank, before) = (cluster.connect(0, "hank", "phone").await, collector.spans().len());
    let parent = Parent::new();
    let member = Some(("traceparent", json!(parent.header(true))));
    let refused = hank.call_with("call:get", member, json!({"callId": "none"})).await.unwrap_err();
    assert_eq!(refused.trace_id.as_deref(), Some(&*parent.trace));
    drop(hank);
    drop(cluster);
    assert_eq!(collector.spans().len(), before);
}
