//! The whole load against a stand-in: a server of a hundred lines that relays as the protocol says, and can be told to misbehave.

use std::{
    collections::{HashMap, HashSet},
    process::ExitCode,
    sync::{Arc, Mutex},
};

use clap::{CommandFactory, Parser};
use futures_util::{SinkExt, StreamExt, stream::SplitStream};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc::{UnboundedSender, unbounded_channel},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        handshake::server::{Request, Response},
        http::HeaderValue,
    },
};

use super::{report::Report, *};

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    load: LoadArgs,
}

pub fn parse(words: &str) -> Result<LoadArgs, clap::Error> {
    Command::try_parse_from(std::iter::once("load").chain(words.split_whitespace())).map(|command| command.load)
}

/// What the stand-in does wrong.
#[derive(Clone, Copy, PartialEq)]
enum Vice {
    None,
    RefusesStarts,
    LosesEveryTenthSignal,
    HangsUpOnSignals,
    RefusesTokens,
}

#[derive(Default)]
struct Desk {
    users: HashMap<String, UnboundedSender<Value>>,
    calls: HashMap<String, [String; 2]>,
    signals: u64,
    connected: HashSet<String>,
    connections: u64,
}

/// The user of a token, unchecked.
fn subject(token: &str) -> String {
    let claims: Value = jsonwebtoken::dangerous::insecure_decode(token).unwrap().claims;
    claims["sub"].as_str().unwrap().to_owned()
}

#[expect(clippy::result_large_err, reason = "the signature is the library's")]
async fn serve_one(stream: TcpStream, desk: Arc<Mutex<Desk>>, vice: Vice) {
    let subprotocol = |request: &Request, mut response: Response| {
        assert_eq!(request.headers()["sec-websocket-protocol"], "carillon.v1");
        response.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("carillon.v1"));
        Ok(response)
    };
    let Ok(socket) = tokio_tungstenite::accept_hdr_async(stream, subprotocol).await else { return };
    let (mut sink, mut source) = socket.split();
    let (sender, mut receiver) = unbounded_channel::<Value>();
    tokio::spawn(async move {
        while let Some(frame) = receiver.recv().await {
            if sink.send(Message::text(frame.to_string())).await.is_err() {
                return;
            }
        }
        let _ = sink.close().await;
    });
    let mut user = String::new();
    talk(&mut source, &sender, &mut user, &desk, vice).await;
    // Without its sender the writer ends and closes the socket. A newer session of the user stays.
    let mut desk = desk.lock().unwrap();
    if desk.users.get(&user).is_some_and(|newest| newest.same_channel(&sender)) {
        desk.users.remove(&user);
    }
}

async fn talk(
    source: &mut SplitStream<WebSocketStream<TcpStream>>,
    sender: &UnboundedSender<Value>,
    user: &mut String,
    desk: &Mutex<Desk>,
    vice: Vice,
) {
    while let Some(Ok(Message::Text(text))) = source.next().await {
        let frame: Value = serde_json::from_str(&text).unwrap();
        let (event, data) = (frame["event"].as_str().unwrap(), &frame["data"]);
        let mut desk = desk.lock().unwrap();
        let mut refusal = None;
        if event == "session:hello" {
            *user = subject(data["token"].as_str().unwrap());
            desk.connected.insert(user.clone());
            desk.connections += 1;
            desk.users.insert(user.clone(), sender.clone());
            refusal = (vice == Vice::RefusesTokens).then_some("unauthenticated");
        } else if event == "call:start" && vice == Vice::RefusesStarts {
            refusal = Some("rate_limited");
        }
        if let Some(id) = frame["id"].as_str() {
            let reply = match refusal {
                None => json!({"reply": id, "ok": true, "data": {"activeCalls": []}}),
                Some(code) => json!({"reply": id, "ok": false, "error": {"code": code, "message": "no"}}),
            };
            let _ = sender.send(reply);
        }
        if refusal.is_some() || event == "session:hello" {
            continue;
        }
        let call_id = data["callId"].as_str().unwrap().to_owned();
        if event == "call:start" {
            let callee = data["calleeIds"][0].as_str().unwrap().to_owned();
            desk.calls.insert(call_id.clone(), [user.clone(), callee]);
        }
        let Some(sides) = desk.calls.get(&call_id).cloned() else { continue };
        let other = sides.iter().find(|side| *side != user).unwrap();
        let tell = |to: &String, event: &str, data: Value| {
            if let Some(sender) = desk.users.get(to) {
                let _ = sender.send(json!({"event": event, "data": data}));
            }
        };
        match event {
            "call:start" => tell(other, "call:incoming", json!({"callId": call_id, "call": {"callId": call_id}})),
            "call:accept" => tell(other, "call:accepted", json!({"callId": call_id, "userId": user})),
            "call:signal" => {
                let lost = vice == Vice::LosesEveryTenthSignal && desk.signals % 10 == 9;
                if vice == Vice::HangsUpOnSignals {
                    return;
                }
                if !lost {
                    let data = json!({"callId": call_id, "from": user, "payload": data["payload"], "sig": 1});
                    tell(other, "call:signal", data);
                }
                desk.signals += 1;
            }
            "call:end" | "call:cancel" => {
                for side in &sides {
                    tell(side, "call:ended", json!({"callId": call_id, "reason": "completed"}));
                }
            }
            other => panic!("the load sent {other}"),
        }
    }
}

/// Starts the stand-in on two addresses with one memory, as a cluster looks from outside.
fn stand_in(vice: Vice) -> (String, Arc<Mutex<Desk>>) {
    let desk = Arc::new(Mutex::new(Desk::default()));
    let (ready, addresses) = std::sync::mpsc::channel();
    let shared = desk.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listeners =
                [TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap()];
            ready.send(listeners.each_ref().map(|listener| listener.local_addr().unwrap())).unwrap();
            loop {
                let (stream, _) = tokio::select! {
                    accepted = listeners[0].accept() => accepted.unwrap(),
                    accepted = listeners[1].accept() => accepted.unwrap(),
                };
                stream.set_nodelay(true).unwrap();
                tokio::spawn(serve_one(stream, shared.clone(), vice));
            }
        });
    });
    let [first, second] = addresses.recv().unwrap();
    (format!("{first},http://{second}"), desk)
}

fn run_against(vice: Vice, words: &str) -> anyhow::Result<Report> {
    let (targets, _) = stand_in(vice);
    let args = parse(&format!("--target {targets} --jwt-secret s --warm-up 100ms --timeout 2s {words}"))?;
    args.check()?;
    runner::run(args)
}

#[test]
fn the_arguments_are_consistent() {
    Command::command().debug_assert();
    let args = parse("--target ws://a:1,http://b:2 --target c:3").unwrap();
    let targets: Vec<String> = args.targets.iter().map(ToString::to_string).collect();
    assert_eq!(targets, ["ws://a:1/ws", "ws://b:2/ws", "ws://c:3/ws"]);
    assert_eq!((args.mode, args.pairs, args.signals_per_call, args.signal_bytes), (Mode::Calls, 50, 18, 300));
    assert_eq!((args.warm_up, args.duration), (Duration::from_secs(5), Duration::from_secs(30)));
}

#[test]
fn processes_may_be_named_and_grouped() {
    let args = parse("--target a:1 --pid 12,carillon=13 --pid carillon=14").unwrap();
    let pids: Vec<_> = args.pids.iter().map(|watched| (watched.group.as_deref(), watched.pid)).collect();
    assert_eq!(pids, [(None, 12), (Some("carillon"), 13), (Some("carillon"), 14)]);
}

#[test]
fn times_have_units() {
    for (text, millis) in [("5s", 5_000), ("500ms", 500), ("2m", 120_000), ("3", 3_000), ("1.5s", 1_500), ("0", 0)] {
        assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
    }
    for text in ["", "s", "-1s", "5d", "1e99s", "NaN", "25h"] {
        assert!(parse_duration(text).is_err(), "{text}");
    }
}

#[test]
fn wrong_settings_are_refused_by_name() {
    for (words, name) in [
        ("", "--target"),
        ("--target ftp://x", "--target"),
        ("--target a:1 --pairs 0", "--pairs"),
        ("--target a:1 --calls-per-second=-1", "--calls-per-second"),
        ("--target a:1 --calls-per-second inf", "--calls-per-second"),
        ("--target a:1 --signal-bytes 70000", "--signal-bytes"),
        ("--target a:1 --max-error-rate 2", "--max-error-rate"),
        ("--target a:1 --pid x", "--pid"),
        ("--target a:1 --mode dance", "--mode"),
    ] {
        let message = parse(words).unwrap_err().to_string();
        assert!(message.contains(name), "{message}");
    }
    for (words, name) in [
        ("--jwt-secret s --mode idle", "--idle"),
        ("--jwt-secret s --duration 0", "--duration"),
        ("--jwt-secret s --mode signals --calls-per-second 3", "--calls-per-second"),
        ("--jwt-secret s --signals-per-second 3", "--signals-per-second"),
    ] {
        let message = parse(&format!("--target a:1 {words}")).unwrap().check().unwrap_err().to_string();
        assert!(message.contains(name), "{message}");
    }
}

#[test]
fn the_secret_is_neither_shown_by_help_nor_by_debug() {
    let args = parse("--target a:1 --jwt-secret hunter2").unwrap();
    assert!(!format!("{args:?}").contains("hunter2"));
}

#[test]
fn calls_are_made_in_a_closed_loop_and_measured() {
    let me = std::process::id();
    let report = run_against(Vice::None, &format!("--pairs 3 --duration 500ms --idle 2 --pid servers={me}")).unwrap();
    assert!(report.passed && report.errors.total == 0, "{report}");
    assert!(report.calls.count > 5, "{report}");
    assert!(report.latency_ms["signalOneWay"].count > 18 * 5, "{report}");
    for key in ["startToIncoming", "startToReply", "acceptToAccepted", "endToEnded"] {
        assert!(report.latency_ms[key].count >= report.calls.count, "{key}: {report}");
    }
    assert_eq!(report.latency_ms["connect"].count, 8);
    assert!(report.processes[0].cpu_micros_per_call.is_some());
}

#[test]
fn calls_are_made_at_the_rate_asked_for() {
    let report = run_against(Vice::None, "--pairs 4 --calls-per-second 50 --duration 1s --same-node").unwrap();
    assert!(report.passed, "{report}");
    assert!((48..=51).contains(&report.errors.attempts), "{report}");
}

#[test]
fn a_rate_that_the_pairs_cannot_keep_is_an_error() {
    let words = "--pairs 1 --calls-per-second 50 --hold-ms 100 --duration 600ms --signals-per-call 0";
    let report = run_against(Vice::None, words).unwrap();
    assert!(!report.passed && report.errors.by_code["not_begun"] > 10, "{report}");
    assert!(report.latency_ms["startToIncoming"].max > 100.0, "latency counts from when the call was due: {report}");
}

#[test]
fn signals_saturate_the_window_or_keep_their_rate() {
    let report = run_against(Vice::None, "--mode signals --pairs 2 --duration 400ms").unwrap();
    assert!(report.passed && report.signals.count > 20, "{report}");
    let report = run_against(Vice::None, "--mode signals --pairs 2 --duration 400ms --batch-writes").unwrap();
    assert!(report.passed && report.signals.count > 20, "{report}");
    let report = run_against(Vice::None, "--mode signals --pairs 4 --duration 1s --signals-per-second 400").unwrap();
    // Far from what it would be without a rate; a busy machine delivers some of the warm-up late.
    assert!(report.passed && (40..800).contains(&report.signals.count), "{report}");
}

#[test]
fn lost_signals_are_counted() {
    let report = run_against(Vice::LosesEveryTenthSignal, "--mode signals --pairs 1 --duration 400ms --window 30");
    let report = report.unwrap();
    assert!(!report.passed && report.errors.by_code["signal_lost"] > 5, "{report}");
    assert!((0.05..0.15).contains(&report.errors.rate), "{report}");
}

#[test]
fn a_storm_opens_a_new_connection_each_time() {
    let (targets, desk) = stand_in(Vice::None);
    let words = format!("--target {targets} --jwt-secret s --mode connect --pairs 2 --duration 300ms --warm-up 0");
    let report = runner::run(parse(&words).unwrap()).unwrap();
    assert!(report.passed && report.connections.count > 2, "{report}");
    let desk = desk.lock().unwrap();
    assert!(desk.connected.len() as u64 == desk.connections, "each with a user of its own");
}

#[test]
fn idle_connections_are_held() {
    let report = run_against(Vice::None, "--mode idle --idle 20 --duration 200ms").unwrap();
    assert!(report.passed && report.errors.attempts == 20, "{report}");
}

#[test]
fn refusals_are_counted_and_fail_the_run() {
    let report = run_against(Vice::RefusesStarts, "--pairs 2 --duration 400ms").unwrap();
    assert!(!report.passed && report.errors.by_code["rate_limited"] > 2, "{report}");
    assert_eq!(report.errors.rate, 1.0);
}

#[test]
fn a_broken_connection_is_counted_and_made_anew() {
    let report = run_against(Vice::HangsUpOnSignals, "--pairs 1 --duration 1500ms").unwrap();
    let closed = report.errors.by_code.iter().filter(|(code, _)| code.starts_with("closed_")).map(|(_, n)| n);
    assert!(closed.sum::<u64>() >= 2, "{report}");
}

#[test]
fn a_cluster_that_refuses_the_users_or_is_not_there_is_told_in_plain_words() {
    let message = run_against(Vice::RefusesTokens, "--pairs 1").unwrap_err().to_string();
    assert!(message.contains("unauthenticated"), "{message}");
    let args = parse("--target 127.0.0.1:1 --jwt-secret s").unwrap();
    let message = run(args).map(|_: ExitCode| ()).unwrap_err().to_string();
    assert!(message.contains("cannot connect to ws://127.0.0.1:1/ws"), "{message}");
}
