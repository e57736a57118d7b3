//! Everything a client has received, in order, and whether the order was what the protocol promises.

use std::{
    collections::{HashMap, HashSet},
    sync::Mutex,
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::sync::{oneshot, watch};

use super::process::lock;

/// One event.
#[derive(Debug, Clone)]
pub struct Received {
    pub at: Instant,
    pub event: String,
    pub data: Value,
}

/// A refusal, by reply or by close.
#[derive(Debug, Clone)]
pub struct WireError {
    pub code: String,
    pub message: String,
    pub retryable: bool,
    pub details: Value,
    /// The trace of the refused command.
    pub trace_id: Option<String>,
}

impl WireError {
    /// From the `error` object of a reply.
    pub fn from_json(error: &Value) -> Self {
        Self {
            code: error["code"].as_str().unwrap_or_default().to_owned(),
            message: error["message"].as_str().unwrap_or_default().to_owned(),
            retryable: error["retryable"].as_bool().unwrap_or(false),
            details: error["details"].clone(),
            trace_id: error["traceId"].as_str().map(str::to_owned),
        }
    }
}

/// How the connection ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Closed {
    /// The close code; none when the TCP connection broke without a close frame.
    pub code: Option<u16>,
    /// The reason: JSON by the protocol, Null when it is not.
    pub reason: Value,
}

/// What a client knows of each call: enough to resume, and to see a fault in the order.
#[derive(Default, Clone)]
pub struct Order {
    seqs: HashMap<String, u64>,
    /// Calls last heard of by a snapshot: it covers events this user was never sent.
    whole: HashSet<String>,
    sigs: HashMap<(String, u64), u64>,
    ended: HashMap<String, String>,
    violations: Vec<String>,
}

impl Order {
    /// Checks one event: per call `seq` strictly increases and `prev` is the last one seen, `sig` increases within an
    /// epoch, nothing comes after the end. And it is what the AsyncAPI document says.
    fn observe(&mut self, event: &str, data: &Value) {
        self.violations.extend(crate::documents::observed::undocumented(event, data));
        let Some(call) = data["callId"].as_str().or_else(|| data["call"]["callId"].as_str()) else { return };
        if event == "call:signal" {
            self.observe_signal(call, data);
            return;
        }
        let Some(seq) = data["seq"].as_u64() else { return };
        let snapshot = data["snapshot"].as_bool() == Some(true);
        if let Some(end) = self.ended.get(call)
            && !snapshot
        {
            self.violations.push(format!("{event} {seq} of {call} after its end ({end})"));
        }
        if let Some(&last) = self.seqs.get(call)
            && !snapshot
        {
            if seq <= last {
                self.violations.push(format!("{event} of {call} has seq {seq} after {last}"));
            }
            let prev = data["prev"].as_u64();
            let follows = if self.whole.remove(call) { prev <= Some(last) } else { prev == Some(last) };
            if !follows {
                self.violations.push(format!("{event} {seq} of {call} has prev {} after {last}", data["prev"]));
            }
        }
        self.seqs.insert(call.to_owned(), seq);
        if snapshot {
            self.whole.insert(call.to_owned());
        }
        if event == "call:ended" {
            self.ended.insert(call.to_owned(), data["reason"].to_string());
        }
    }

    fn observe_signal(&mut self, call: &str, data: &Value) {
        let (Some(sig), Some(epoch)) = (data["sig"].as_u64(), data["epoch"].as_u64()) else {
            self.violations.push(format!("a signal of {call} without sig or epoch: {data}"));
            return;
        };
        let last = self.sigs.insert((call.to_owned(), epoch), sig);
        // Numbers count per user: those in between may have gone to another device.
        if let Some(last) = last
            && sig <= last
        {
            self.violations.push(format!("signal {sig} of {call} in epoch {epoch} after {last}"));
        }
    }

    /// What `session:hello` wants as `resume`: calls not seen to end.
    pub fn resume(&self) -> Value {
        let open = self.seqs.iter().filter(|(call, _)| !self.ended.contains_key(*call));
        open.map(|(call, seq)| {
            let newest = self.sigs.iter().filter(|((of, _), _)| of == call).max_by_key(|((_, epoch), _)| *epoch);
            serde_json::json!({"callId": call, "seq": seq, "sig": newest.map_or(0, |(_, sig)| *sig)})
        })
        .collect()
    }

    /// Whether the call's end was seen.
    pub fn has_ended(&self, call: &str) -> bool {
        self.ended.contains_key(call)
    }

    /// The last `seq` seen of a call.
    pub fn seq(&self, call: &str) -> Option<u64> {
        self.seqs.get(call).copied()
    }
}

type Reply = Result<Value, WireError>;

#[derive(Default)]
struct State {
    pending: Vec<Received>,
    history: Vec<Received>,
    replies: HashMap<String, oneshot::Sender<Reply>>,
    order: Order,
    closed: Option<Closed>,
}

/// Filled by the reader of a connection, emptied by the test.
pub struct Inbox {
    state: Mutex<State>,
    changes: watch::Sender<u64>,
}

impl Inbox {
    /// An empty inbox that goes on from what an earlier connection of the device has seen.
    pub fn new(order: Order) -> Self {
        Self { state: Mutex::new(State { order, ..State::default() }), changes: watch::Sender::new(0) }
    }

    /// Takes one frame from the server.
    pub fn receive(&self, text: &str) {
        let at = Instant::now();
        let mut state = lock(&self.state);
        if state.closed.is_some() {
            // Another connection of this device may have gone on from what was seen until then.
            return;
        }
        match serde_json::from_str::<Value>(text) {
            Ok(frame) if frame.get("reply").is_some() => {
                let id = frame["reply"].as_str().unwrap_or_default();
                match (state.replies.remove(id), frame["ok"].as_bool()) {
                    (Some(waiting), Some(true)) => drop(waiting.send(Ok(frame["data"].clone()))),
                    (Some(waiting), Some(false)) => drop(waiting.send(Err(WireError::from_json(&frame["error"])))),
                    _ => state.order.violations.push(format!("a reply to nothing, or without ok: {text}")),
                }
            }
            Ok(frame) if frame["event"].is_string() => {
                let event = frame["event"].as_str().unwrap_or_default().to_owned();
                let received = Received { at, event, data: frame["data"].clone() };
                state.order.observe(&received.event, &received.data);
                state.history.push(received.clone());
                state.pending.push(received);
            }
            _ => state.order.violations.push(format!("neither reply nor event: {text}")),
        }
        drop(state);
        self.changes.send_modify(|n| *n += 1);
    }

    /// The connection is over; whoever waits for a reply hears so.
    pub fn close(&self, closed: Closed) {
        let mut state = lock(&self.state);
        state.closed.get_or_insert(closed);
        for (_, waiting) in state.replies.drain() {
            let _ = waiting.send(Err(connection_closed()));
        }
        drop(state);
        self.changes.send_modify(|n| *n += 1);
    }

    /// Registers a command's id before it is sent.
    pub fn await_reply(&self, id: &str) -> oneshot::Receiver<Reply> {
        let (sender, receiver) = oneshot::channel();
        let mut state = lock(&self.state);
        if state.closed.is_some() {
            let _ = sender.send(Err(connection_closed()));
        } else {
            state.replies.insert(id.to_owned(), sender);
        }
        receiver
    }

    /// Removes and returns the first event that is so, waiting for it until the limit.
    pub async fn take(&self, limit: Duration, mut is: impl FnMut(&Received) -> bool) -> Option<Received> {
        self.wait(limit, |state| state.pending.iter().position(&mut is).map(|at| state.pending.remove(at))).await
    }

    /// Waits until the connection is over.
    pub async fn closed(&self, limit: Duration) -> Option<Closed> {
        self.wait(limit, |state| state.closed.clone()).await
    }

    async fn wait<T>(&self, limit: Duration, mut found: impl FnMut(&mut State) -> Option<T>) -> Option<T> {
        let deadline = tokio::time::Instant::now() + limit;
        let mut changes = self.changes.subscribe();
        loop {
            if let Some(result) = found(&mut lock(&self.state)) {
                return Some(result);
            }
            if !matches!(tokio::time::timeout_at(deadline, changes.changed()).await, Ok(Ok(()))) {
                return None;
            }
        }
    }

    /// Whether and how the connection is over.
    pub fn is_closed(&self) -> Option<Closed> {
        lock(&self.state).closed.clone()
    }

    /// Every event so far, consumed or not.
    pub fn history(&self) -> Vec<Received> {
        lock(&self.state).history.clone()
    }

    /// Forgets events that nobody has consumed.
    pub fn discard_pending(&self) {
        lock(&self.state).pending.clear();
    }

    /// What has been seen of each call.
    pub fn order(&self) -> Order {
        lock(&self.state).order.clone()
    }

    /// Breaches of the promised order so far.
    pub fn violations(&self) -> Vec<String> {
        lock(&self.state).order.violations.clone()
    }

    /// What a failed test wants to know: the last events and what became of the connection.
    pub fn describe(&self) -> String {
        let state = lock(&self.state);
        let line = |r: &Received| format!("  {} {}", r.event, r.data.to_string().chars().take(300).collect::<String>());
        let recent: Vec<String> = state.history.iter().rev().take(25).rev().map(line).collect();
        format!(
            "received:\n{}\nclosed: {:?}\nviolations: {:?}",
            recent.join("\n"),
            state.closed,
            state.order.violations
        )
    }
}

fn connection_closed() -> WireError {
    WireError {
        code: "closed".into(),
        message: "the connection is closed".into(),
        retryable: true,
        details: Value::Null,
        trace_id: None,
    }
}
