//! Traces: one command over two nodes is one tree, and its id stands in logs, timelines and refusals.

mod collector;
mod delivery;
mod ids;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use self::collector::{Collector, Seen, paths, tree};
use crate::support::{TestClient, TestCluster, node::field};

/// A client's own trace, sampled; drawn by the test so that tests do not find each other's.
struct Parent {
    trace: String,
    span: String,
}

impl Parent {
    fn new() -> Self {
        let (trace, span): (u128, u64) = (rand::random(), rand::random());
        Self { trace: format!("{:032x}", trace | 1), span: format!("{:016x}", span | 1) }
    }

    fn header(&self, sampled: bool) -> String {
        format!("00-{}-{}-{:02x}", self.trace, self.span, u8::from(sampled))
    }

    async fn must(&self, client: &TestClient, command: &str, data: Value) -> Value {
        let member = Some(("traceparent", json!(self.header(true))));
        client.call_with(command, member, data).await.unwrap_or_else(|error| panic!("{command}: {error:?}"))
    }
}

fn node_of(client: &TestClient) -> String {
    client.welcome["nodeId"].as_str().unwrap().to_owned()
}

fn named<'a>(spans: &'a [Seen], name: &str) -> Vec<&'a Seen> {
    spans.iter().filter(|span| span.name == name).collect()
}

/// Log lines of a node with this trace.
fn logged_in(cluster: &TestCluster, node: usize, trace: &str) -> Vec<Value> {
    let lines = cluster.node(node).log_lines();
    lines.into_iter().filter(|line| field(line, "trace_id") == Some(trace)).collect()
}

#[tokio::test]
async fn one_accept_over_two_nodes_is_one_tree() {
    let collector = Collector::start().await;
    let cluster = TestCluster::two_nodes()
        .set("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint())
        .set("OTEL_EXPORTER_OTLP_HEADERS", "x-collector-key=a%20canary-collector-key")
        .set("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=tests")
        .forbidding("canary-collector-key")
        .start()
        .await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let call = alice.start(&["bob"]).await;
    bob.expect_of("call:incoming", &call).await;
    let parent = Parent::new();
    parent.must(&bob, "call:accept", json!({"callId": call})).await;
    alice.expect_of("call:accepted", &call).await;
    bob.expect_of("call:accepted", &call).await;

    let root = "call:accept on callee's";
    let served = format!("{root} > ask owner on callee's > serve ask on caller's > owner on caller's");
    let told = format!("{served} > publish on caller's");
    let mut wanted = vec![
        root.to_owned(),
        format!("{root} > write on callee's"),
        format!("{root} > ask owner on callee's"),
        format!("{root} > ask owner on callee's > serve ask on caller's"),
        served.clone(),
        format!("{served} > commit on caller's"),
        format!("{served} > commit on caller's > commit wait on caller's"),
        format!("{served} > commit on caller's > transaction on caller's"),
        told.clone(),
        format!("{told} > deliver on caller's"),
        format!("{told} > deliver on caller's > write on caller's"),
        format!("{told} > deliver on callee's"),
        format!("{told} > deliver on callee's > write on callee's"),
    ];
    wanted.sort();
    let (callers, callees) = (node_of(&alice), node_of(&bob));
    let names = BTreeMap::from([(callers.as_str(), "caller's"), (callees.as_str(), "callee's")]);
    let spans = collector.expect(&parent.trace, |spans| paths(spans, &names) == wanted).await;
    println!("{}", tree(&spans));
    assert_eq!(named(&spans, "call:accept")[0].parent, parent.span, "the client's span is above all");

    // Kinds and attributes, by the conventions where there are some.
    let kinds: BTreeSet<(&str, i32)> = spans.iter().map(|span| (span.name.as_str(), span.kind)).collect();
    let (internal, server, client, producer, consumer) = (1, 2, 3, 4, 5);
    let expected = [
        ("ask owner", client),
        ("call:accept", server),
        ("commit", internal),
        ("commit wait", internal),
        ("deliver", consumer),
        ("owner", internal),
        ("publish", producer),
        ("serve ask", server),
        ("transaction", client),
        ("write", internal),
    ];
    assert_eq!(kinds, BTreeSet::from(expected));
    for span in &spans {
        assert!(!span.failed, "{span:?}");
        assert!(span.began <= span.ended, "{span:?}");
        let of = |name: &str| span.attributes.get(name).map(String::as_str);
        if !["write", "commit wait", "transaction"].contains(&span.name.as_str()) {
            assert_eq!(of("carillon.call.id"), Some(call.as_str()), "{span:?}");
        }
        let named = |name: &str, value: &str| assert_eq!(of(name), Some(value), "{span:?}");
        match span.name.as_str() {
            "call:accept" => named("carillon.command", "call:accept"),
            "owner" | "commit" => named("carillon.command", "accept"),
            "ask owner" | "serve ask" | "publish" => named("messaging.system", "redis"),
            "transaction" => {
                named("db.system.name", "postgresql");
                named("db.operation.name", "COMMIT");
            }
            _ => {}
        }
        let resource = &span.resource;
        assert_eq!((&*resource["service.name"], &*resource["deployment.environment.name"]), ("carillon", "tests"));
        assert_eq!(resource["service.instance.id"], span.node());
        // Nothing of what people said, and not who they are.
        let text = format!("{span:?}");
        assert!(!text.contains("alice") && !text.contains("bob"), "{text}");
        if let Some(parent) = spans.iter().find(|parent| parent.id == span.parent && parent.node() == span.node()) {
            assert!(parent.began <= span.began, "{parent:?} begins after {span:?}");
        }
    }
    let (commit, transaction) = (named(&spans, "commit")[0], named(&spans, "transaction")[0]);
    assert_eq!((&commit.links, &transaction.links), (&vec![transaction.id.clone()], &vec![commit.id.clone()]));
    for head in collector.headers() {
        assert!(head.starts_with("post /v1/traces http/1.1\r\n"), "{head}");
        assert!(head.contains("x-collector-key: a canary-collector-key\r\n"), "{head}");
        assert!(head.contains("content-type: application/x-protobuf\r\n"), "{head}");
    }

    // The same id in the owner's log and in the timeline.
    let logged = logged_in(&cluster, 0, &parent.trace);
    let accepted = |line: &Value| field(line, "event") == Some("accepted") && field(line, "call.id") == Some(&*call);
    assert!(logged.iter().any(accepted), "{logged:?}");
    let path = format!("/api/v1/calls/{call}/timeline");
    let timeline = cluster.rest(1, "bob").request("GET", &path, None).await.body;
    let trace_of = |kind: &str| {
        let event = timeline["events"].as_array().unwrap().iter().find(|event| event["kind"] == kind);
        event.unwrap_or_else(|| panic!("no {kind} in {timeline}"))["traceId"].as_str().unwrap().to_owned()
    };
    assert_eq!(trace_of("accepted"), parent.trace);
    assert_ne!(trace_of("created"), parent.trace, "the start had a trace of its own");
    // The start too is one tree, with the ring on the other node.
    let rung = |spans: &[Seen]| named(spans, "deliver").iter().any(|span| span.node() == callees);
    let whole = |spans: &[Seen]| rung(spans) && !named(spans, "call:start").is_empty();
    let start = collector.expect(&trace_of("created"), whole).await;
    let orphans: Vec<&Seen> = start.iter().filter(|span| !start.iter().any(|other| other.id == span.parent)).collect();
    assert_eq!((orphans.len(), orphans[0].parent.as_str()), (1, ""), "{}", tree(&start));
}
