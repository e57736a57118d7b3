//! The history of what clients asked for and were told, and the checker over it.
//!
//! A command is acknowledged, refused for good, or unknown (refused as retryable, or its connection broke): only of the
//! unknown may be anything true afterwards.

use std::{
    collections::BTreeSet,
    io::Write,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::rounds::Rounds;
use crate::support::{
    TestClient, TestCluster,
    client::call_of,
    inbox::WireError,
    moves::{id_of, participant},
    process::{POLL, lock},
};

/// How long a command is tried again: longer than any fault of these tests lasts, and than the takeover after it.
pub const PERSIST: Duration = Duration::from_secs(25);
/// Between tries: what a client does.
const AGAIN: Duration = Duration::from_millis(100);
/// How long a reply is waited for: longer than a node takes to give up on a database that is silent.
const REPLY: Duration = Duration::from_secs(12);
/// When everything works again, every client holds every event after at most this, which is two digests and a repair.
const SETTLED: Duration = Duration::from_secs(8);

/// What became of a command, as its client knows.
#[derive(Debug, Clone, PartialEq)]
enum Outcome {
    Invoked,
    Ok,
    Failed(String),
    Unknown(String),
}

#[derive(Debug)]
struct Operation {
    user: String,
    device: String,
    command: String,
    data: Value,
    outcome: Outcome,
}

/// Everything that was asked for in a scenario.
#[derive(Default)]
pub struct History {
    operations: Mutex<Vec<Operation>>,
    started: Mutex<Vec<String>>,
    checked: AtomicUsize,
    slowest: Mutex<Duration>,
}

impl History {
    /// Notes how long somebody had to wait until something worked, tries that did not included.
    pub fn recovered(&self, after: Duration) {
        let mut slowest = lock(&self.slowest);
        *slowest = after.max(*slowest);
    }

    /// Sends a command once and notes what became of it.
    pub async fn once(&self, client: &TestClient, command: &str, data: Value) -> Result<Value, WireError> {
        let at = {
            let mut operations = lock(&self.operations);
            operations.push(Operation {
                user: client.user.clone(),
                device: client.device.clone(),
                command: command.to_owned(),
                data: data.clone(),
                outcome: Outcome::Invoked,
            });
            operations.len() - 1
        };
        let silence = || WireError {
            code: "silence".into(),
            message: "no reply in time".into(),
            retryable: true,
            details: Value::Null,
            trace_id: None,
        };
        let answer = client.call_within(REPLY, command, data).await.unwrap_or_else(|| Err(silence()));
        lock(&self.operations)[at].outcome = match &answer {
            Ok(_) => Outcome::Ok,
            Err(error) if error.retryable => Outcome::Unknown(error.code.clone()),
            Err(error) => Outcome::Failed(error.code.clone()),
        };
        answer
    }

    /// Tries a command again while it is refused as retryable.
    pub async fn persist(&self, client: &TestClient, command: &str, data: Value) -> Result<Value, WireError> {
        let began = Instant::now();
        loop {
            match self.once(client, command, data.clone()).await {
                Err(error) if error.retryable && error.code != "closed" && began.elapsed() < PERSIST => {
                    tokio::time::sleep(AGAIN).await;
                }
                outcome => {
                    if outcome.is_ok() {
                        self.recovered(began.elapsed());
                    }
                    return outcome;
                }
            }
        }
    }

    /// The same with a command that must be acknowledged in the end.
    pub async fn must(&self, client: &TestClient, command: &str, data: Value) -> Value {
        match self.persist(client, command, data.clone()).await {
            Ok(reply) => reply,
            Err(error) => panic!("{}: {command} {data} is never done: {error:?}", client.user),
        }
    }

    /// Starts a call under an id of the client's, so that it can be tried again; the id.
    pub async fn start(&self, client: &TestClient, callees: &[&str]) -> String {
        let call = format!("c-{:032x}", rand::random::<u128>());
        let data = json!({"callId": call, "calleeIds": callees, "type": "video"});
        assert_eq!(id_of(&self.must(client, "call:start", data).await), call);
        lock(&self.started).push(call.clone());
        call
    }

    /// A call that was started by other means and is to be checked too.
    pub fn include(&self, call: &str) {
        lock(&self.started).push(call.to_owned());
    }

    /// A whole call with every command acknowledged in the end, and every event heard by both.
    pub async fn whole_call(&self, caller: &TestClient, callee: &TestClient) {
        let call = self.start(caller, &[&callee.user]).await;
        let of_call = |e: &Value| call_of(e) == Some(&call);
        callee.expect_within(PERSIST, "call:incoming", of_call).await;
        self.must(callee, "call:accept", json!({"callId": call})).await;
        caller.expect_within(PERSIST, "call:accepted", of_call).await;
        for (side, screen) in [(caller, true), (callee, true), (caller, false)] {
            self.must(side, "call:media", json!({"callId": call, "screen": screen})).await;
        }
        self.must(callee, "call:end", json!({"callId": call})).await;
        for side in [caller, callee] {
            side.expect_within(PERSIST, "call:ended", of_call).await;
        }
    }

    /// Compares what was begun since the last look with what is stored, and with what these clients have heard: once everything works again.
    pub async fn check(&self, cluster: &TestCluster, clients: &[&TestClient]) {
        let calls = std::mem::take(&mut *lock(&self.started));
        self.checked.fetch_add(calls.len(), Ordering::Relaxed);
        assert!(!calls.is_empty(), "a scenario has calls");
        for call in &calls {
            let stored = stored_events(cluster, call);
            assert_sound(call, &stored);
            self.assert_acknowledged(call, &stored);
            let over = stored.last().is_some_and(|last| last.kind == "ended");
            for client in clients {
                let concerned = stored.iter().any(|event| event.names(&client.user));
                if concerned && over {
                    self.assert_shown(client, call, &stored).await;
                    assert_heard(client, call, stored.len() as u64).await;
                }
            }
        }
    }

    /// One line, past the test runner's capture: the figures are for whoever reads the log of a run that went well.
    pub fn print_figures(&self, rounds: Rounds) {
        assert!(lock(&self.started).is_empty(), "a scenario ends with the checker");
        let thread = std::thread::current();
        let scenario = thread.name().unwrap_or("a scenario").rsplit("faults::").next().unwrap_or_default();
        let _ = writeln!(std::io::stdout(), "figures of {scenario}: {rounds}, {}", self.figures());
    }

    fn figures(&self) -> String {
        let operations = lock(&self.operations);
        let count = |is: fn(&Outcome) -> bool| operations.iter().filter(|op| is(&op.outcome)).count();
        format!(
            "{} calls, {} commands: {} ok, {} failed, {} unknown; slowest recovery {:.1} s",
            self.checked.load(Ordering::Relaxed),
            operations.len(),
            count(|o| *o == Outcome::Ok),
            count(|o| matches!(o, Outcome::Failed(_))),
            count(|o| matches!(o, Outcome::Unknown(_))),
            lock(&self.slowest).as_secs_f64(),
        )
    }

    /// No acknowledged command is lost, and at most one device has won.
    fn assert_acknowledged(&self, call: &str, stored: &[Stored]) {
        let operations = lock(&self.operations);
        let acknowledged = operations.iter().filter(|op| op.data["callId"] == call && op.outcome == Outcome::Ok);
        let mut winners = BTreeSet::new();
        for op in acknowledged {
            let happened = |kind: &str| stored.iter().any(|e| e.kind == kind && e.payload["user"] == *op.user);
            let done = match op.command.as_str() {
                "call:accept" => {
                    winners.insert((&op.user, &op.device));
                    stored.iter().any(|e| e.is_accept_of(&op.user, &op.device))
                }
                "call:decline" => happened("declined"),
                "call:cancel" => stored.iter().any(|e| e.kind == "cancelled"),
                "call:end" => stored.iter().any(|e| e.kind == "ended"),
                "call:media" => stored.iter().any(|e| {
                    e.kind == "media_changed"
                        && e.payload["user"] == *op.user
                        && e.payload["screen"] == op.data["screen"]
                }),
                _ => true,
            };
            assert!(done, "{op:?} was acknowledged and is lost: {stored:#?}");
        }
        let users: BTreeSet<&String> = winners.iter().map(|(user, _)| *user).collect();
        assert_eq!(users.len(), winners.len(), "one device of a user wins: {winners:?}");
    }

    /// What the server says of a call that is over is what is stored of it.
    async fn assert_shown(&self, client: &TestClient, call: &str, stored: &[Stored]) {
        let shown = self.must(client, "call:get", json!({"callId": call})).await["call"].clone();
        assert_eq!(shown["seq"], stored.len(), "{shown}");
        let end = stored.last().map(|last| last.payload.clone()).unwrap_or_default();
        assert_eq!((&shown["status"], &shown["endReason"]), (&end["status"], &end["reason"]), "{shown}");
        for accept in stored.iter().filter(|e| e.kind == "accepted") {
            let user = accept.payload["user"].as_str().unwrap_or_default();
            assert_eq!(participant(&shown, user)["deviceId"], accept.payload["device"], "{shown}");
        }
    }
}

/// An event as it is stored.
#[derive(Debug)]
struct Stored {
    seq: u64,
    epoch: u64,
    kind: String,
    payload: Value,
}

impl Stored {
    fn is_accept_of(&self, user: &str, device: &str) -> bool {
        self.kind == "accepted" && self.payload["user"] == user && self.payload["device"] == device
    }

    fn names(&self, user: &str) -> bool {
        let callees = self.payload["callees"].as_array().is_some_and(|all| all.iter().any(|callee| callee == user));
        callees || self.payload["initiator"] == user
    }
}

fn stored_events(cluster: &TestCluster, call: &str) -> Vec<Stored> {
    let database = cluster.database().expect("a cluster has a database");
    let sql = format!("SELECT seq, epoch, kind, payload FROM call_events WHERE call_id = '{call}' ORDER BY seq");
    let rows = database.sql(&sql).into_iter().map(|row| {
        let field = |n: usize| row[n].clone().unwrap_or_default();
        let event: Value = serde_json::from_str(&field(3)).expect("an event is JSON");
        let kind = field(2);
        Stored {
            seq: field(0).parse().expect("a seq"),
            epoch: field(1).parse().expect("an epoch"),
            payload: event[&kind].clone(),
            kind,
        }
    });
    rows.collect()
}

/// Numbered without a hole, by owners that followed one another; accepted once by each; ended once, and nothing after.
fn assert_sound(call: &str, stored: &[Stored]) {
    assert_eq!(stored.first().map(|first| first.kind.as_str()), Some("created"), "{call}: {stored:#?}");
    for (number, event) in (1..).zip(stored) {
        assert_eq!(event.seq, number, "{call} has a hole: {stored:#?}");
    }
    assert!(stored.windows(2).all(|pair| pair[0].epoch <= pair[1].epoch), "{call}: an old owner wrote: {stored:#?}");
    let ends: Vec<u64> = stored.iter().filter(|e| e.kind == "ended").map(|e| e.seq).collect();
    assert!(ends.is_empty() || ends == [stored.len() as u64], "{call} ends once, at the end: {stored:#?}");
    let accepts: Vec<&Value> = stored.iter().filter(|e| e.kind == "accepted").map(|e| &e.payload["user"]).collect();
    let once: BTreeSet<String> = accepts.iter().map(ToString::to_string).collect();
    assert_eq!(once.len(), accepts.len(), "{call} is accepted once by each: {stored:#?}");
}

/// The client has heard the last event of a call (and those before: it asserts the order by itself), and one end.
async fn assert_heard(client: &TestClient, call: &str, last: u64) {
    let deadline = Instant::now() + SETTLED;
    while client.order().seq(call) != Some(last) {
        let heard = client.order().seq(call);
        let who = format!("{}/{}", client.user, client.device);
        assert!(Instant::now() < deadline, "{who} has heard {heard:?} of {call}, which has come to {last}");
        tokio::time::sleep(POLL).await;
    }
    let ends = client.history_of(call).iter().filter(|e| e.event == "call:ended").count();
    assert!(ends <= 1, "{} hears of one end of {call}", client.user);
}
