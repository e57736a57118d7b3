//! A collector of traces: takes OTLP over HTTP on a real port, reads the bytes as the protocol has them, keeps the spans.
//!
//! Can be away, hang and refuse, as the test says.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
    trace::v1::status::StatusCode,
};
use prost::Message;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::support::process::{POLL, lock};

/// How long spans may take to arrive: they are gathered for a second, on a machine that may be busy.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the collector does with a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Take,
    /// Reads it and does not answer.
    Hang,
    /// Answers with this status.
    Refuse(u16),
}

/// A span as it arrived.
#[derive(Debug, Clone)]
pub struct Seen {
    pub name: String,
    pub trace: String,
    pub id: String,
    /// Empty: none.
    pub parent: String,
    pub kind: i32,
    pub attributes: BTreeMap<String, String>,
    pub failed: bool,
    /// Of the process that sent it.
    pub resource: BTreeMap<String, String>,
    /// Ids of the spans it has links to.
    pub links: Vec<String>,
    pub began: u64,
    pub ended: u64,
}

impl Seen {
    /// The node that recorded it.
    pub fn node(&self) -> &str {
        &self.resource["carillon.node.id"]
    }
}

struct State {
    mode: Mode,
    spans: Vec<Seen>,
    requests: usize,
    headers: Vec<String>,
}

/// See the module. Dropped: it is away.
pub struct Collector {
    port: u16,
    state: Arc<Mutex<State>>,
    serving: JoinHandle<()>,
}

impl Collector {
    /// One that takes everything.
    pub async fn start() -> Self {
        Self::start_at(0).await
    }

    /// The same on this port.
    pub async fn start_at(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = State { mode: Mode::Take, spans: Vec::new(), requests: 0, headers: Vec::new() };
        let state = Arc::new(Mutex::new(state));
        let kept = state.clone();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let kept = kept.clone();
                tokio::spawn(async move { serve(stream, &kept).await });
            }
        });
        Self { port, state, serving }
    }

    /// What `OTEL_EXPORTER_OTLP_ENDPOINT` names.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// From the next request on.
    pub fn set(&self, mode: Mode) {
        lock(&self.state).mode = mode;
    }

    /// How many requests have come.
    pub fn requests(&self) -> usize {
        lock(&self.state).requests
    }

    /// The heads of all requests.
    pub fn headers(&self) -> Vec<String> {
        lock(&self.state).headers.clone()
    }

    /// The spans of one trace so far.
    pub fn spans_of(&self, trace: &str) -> Vec<Seen> {
        lock(&self.state).spans.iter().filter(|span| span.trace == trace).cloned().collect()
    }

    /// Every span so far.
    pub fn spans(&self) -> Vec<Seen> {
        lock(&self.state).spans.clone()
    }

    /// Waits until the spans of a trace are so.
    pub async fn expect(&self, trace: &str, are: impl Fn(&[Seen]) -> bool) -> Vec<Seen> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let spans = self.spans_of(trace);
            if are(&spans) {
                return spans;
            }
            assert!(Instant::now() < deadline, "of trace {trace} came only:\n{}", tree(&spans));
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until so many requests have come.
    pub async fn expect_requests(&self, at_least: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.requests() < at_least {
            assert!(Instant::now() < deadline, "only {} requests came", self.requests());
            tokio::time::sleep(POLL).await;
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(stream: TcpStream, state: &Mutex<State>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).await.ok()? == 0 {
                return None;
            }
        }
        let head = head.to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?.trim().parse().ok()?;
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.ok()?;
        let mode = {
            let mut state = lock(state);
            state.requests += 1;
            state.headers.push(head);
            if state.mode == Mode::Take {
                state.spans.extend(read(&body));
            }
            state.mode
        };
        let status = match mode {
            Mode::Take => "200 OK".to_owned(),
            Mode::Refuse(status) => format!("{status} No"),
            Mode::Hang => return std::future::pending().await,
        };
        let answer = format!("HTTP/1.1 {status}\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n");
        stream.get_mut().write_all(answer.as_bytes()).await.ok()?;
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn pairs(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |value: &KeyValue| match value.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("an attribute of another kind: {other:?}"),
    };
    attributes.iter().map(|pair| (pair.key.clone(), text(pair))).collect()
}

fn read(body: &[u8]) -> Vec<Seen> {
    let request = ExportTraceServiceRequest::decode(body).expect("an export request of OTLP");
    let mut seen = Vec::new();
    for of_resource in request.resource_spans {
        let resource = pairs(&of_resource.resource.expect("a resource").attributes);
        for span in of_resource.scope_spans.into_iter().flat_map(|of_scope| of_scope.spans) {
            assert_eq!((span.trace_id.len(), span.span_id.len()), (16, 8));
            seen.push(Seen {
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                kind: span.kind,
                attributes: pairs(&span.attributes),
                failed: span.status.is_some_and(|status| status.code == StatusCode::Error as i32),
                resource: resource.clone(),
                links: span.links.iter().map(|link| hex(&link.span_id)).collect(),
                began: span.start_time_unix_nano,
                ended: span.end_time_unix_nano,
                name: span.name,
            });
        }
    }
    seen
}

/// The spans as a tree, one a line: name, node, children further in.
pub fn tree(spans: &[Seen]) -> String {
    let known = |id: &str| spans.iter().any(|span| span.id == id);
    let mut text = String::new();
    for root in spans.iter().filter(|span| !known(&span.parent)) {
        write_tree(spans, root, 0, &mut text);
    }
    text
}

fn write_tree(spans: &[Seen], span: &Seen, depth: usize, text: &mut String) {
    let micros = (span.ended - span.began) / 1000;
    text.push_str(&format!("{}{} [{}] {micros} µs\n", "  ".repeat(depth), span.name, span.node()));
    let mut children: Vec<&Seen> = spans.iter().filter(|child| child.parent == span.id).collect();
    children.sort_by_key(|child| (child.began, child.name.clone()));
    children.into_iter().for_each(|child| write_tree(spans, child, depth + 1, text));
}

/// Where each span stands: the names from the root down, each with its node.
pub fn paths(spans: &[Seen], names: &BTreeMap<&str, &str>) -> Vec<String> {
    let mut paths: Vec<String> = spans.iter().map(|span| path(spans, span, names)).collect();
    paths.sort();
    paths
}

fn path(spans: &[Seen], span: &Seen, names: &BTreeMap<&str, &str>) -> String {
    let own = format!("{} on {}", span.name, names.get(span.node()).copied().unwrap_or("?"));
    match spans.iter().find(|parent| parent.id == span.parent) {
        Some(parent) => format!("{} > {own}", path(spans, parent, names)),
        None => own,
    }
}
