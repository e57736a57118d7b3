//! An endpoint of the tests: a small HTTP server that keeps what it was sent and answers as it is told.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

use super::PATIENCE;

/// A request, as it came.
#[derive(Debug, Clone)]
pub struct Received {
    pub headers: HashMap<String, String>,
    pub raw: Vec<u8>,
    pub body: Value,
    pub path: String,
    /// The same delivery was being answered when it came.
    pub overlaps: bool,
}

impl Received {
    pub fn kind(&self) -> &str {
        self.body["type"].as_str().unwrap_or_default()
    }

    pub fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }

    pub fn data(&self) -> &Value {
        &self.body["data"]
    }

    pub fn call(&self) -> &str {
        self.data()["callId"].as_str().unwrap_or_default()
    }

    /// Whether one of its signatures is by this secret.
    pub fn is_signed_by(&self, secret: &str) -> bool {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").expect("a secret")).expect("base64");
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        mac.update(format!("{}.{}.", self.id(), self.headers["webhook-timestamp"]).as_bytes());
        mac.update(&self.raw);
        let wanted = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        self.headers["webhook-signature"].split(' ').any(|given| given == wanted)
    }
}

/// What is answered, and after how long.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: String,
    pub body: String,
    pub delay: Duration,
    /// Not before this is true.
    pub gate: Option<watch::Receiver<bool>>,
    /// The body goes on for ever.
    pub endless: bool,
}

impl Reply {
    pub fn of(status: u16) -> Self {
        Self { status, headers: String::new(), body: String::new(), delay: Duration::ZERO, gate: None, endless: false }
    }

    pub fn after(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    pub fn header(mut self, header: &str) -> Self {
        self.headers += &format!("{header}\r\n");
        self
    }

    pub fn body(self, body: &str) -> Self {
        Self { body: body.to_owned(), ..self }
    }
}

type Answering = dyn Fn(&Received) -> Reply + Send + Sync;

#[derive(Default)]
struct State {
    received: Vec<Received>,
    answering: HashMap<String, usize>,
}

/// See the module.
pub struct Receiver {
    port: u16,
    state: Arc<Mutex<State>>,
    accepting: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Receiver {
    /// One that takes everything.
    pub async fn start() -> Self {
        Self::answering(|_| Reply::of(200)).await
    }

    /// One that answers like this.
    pub async fn answering(reply: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::<Mutex<State>>::default();
        let (kept, reply): (_, Arc<Answering>) = (state.clone(), Arc::new(reply));
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, kept.clone(), reply.clone()));
            }
        });
        Self { port, state, accepting }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn all(&self) -> Vec<Received> {
        self.state.lock().unwrap().received.clone()
    }

    /// What is about this call, in the order it came.
    pub fn of(&self, call: &str) -> Vec<Received> {
        self.all().into_iter().filter(|received| received.call() == call).collect()
    }

    pub fn kinds_of(&self, call: &str) -> Vec<String> {
        self.of(call).iter().map(|received| received.kind().to_owned()).collect()
    }

    /// Waits for a request like this.
    pub async fn expect(&self, what: &str, is: impl Fn(&Received) -> bool) -> Received {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let Some(found) = self.all().into_iter().find(&is) {
                return found;
            }
            let came = || self.all().iter().map(|r| format!("{} {}", r.kind(), r.data())).collect::<Vec<_>>();
            assert!(tokio::time::Instant::now() < deadline, "no {what} came, but {:#?}", came());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits for an event of a call.
    pub async fn expect_of(&self, kind: &str, call: &str) -> Received {
        self.expect(kind, |received| received.kind() == kind && received.call() == call).await
    }
}

async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>, reply: Arc<Answering>) {
    let mut buffer = Vec::new();
    while let Some(received) = read(&mut stream, &mut buffer, &state).await {
        let id = received.headers.get("webhook-id").cloned().unwrap_or_default();
        let answer = reply(&received);
        tokio::time::sleep(answer.delay).await;
        if let Some(mut gate) = answer.gate.clone() {
            let _ = gate.wait_for(|open| *open).await;
        }
        let ended = |state: &Mutex<State>| {
            if let Some(count) = state.lock().unwrap().answering.get_mut(&id) {
                *count -= 1;
            }
        };
        let length = if answer.endless {
            "transfer-encoding: chunked".to_owned()
        } else {
            format!("content-length: {}", answer.body.len())
        };
        let head = format!("HTTP/1.1 {} Said\r\n{}{length}\r\n\r\n{}", answer.status, answer.headers, answer.body);
        ended(&state);
        if stream.write_all(head.as_bytes()).await.is_err() {
            return;
        }
        if answer.endless {
            let chunk = format!("400\r\n{}\r\n", "x".repeat(1024));
            while stream.write_all(chunk.as_bytes()).await.is_ok() {}
            return;
        }
    }
}

async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>, state: &Mutex<State>) -> Option<Received> {
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(buffer[..end].to_vec()).unwrap();
    let mut lines = head.lines();
    let path = lines.next().unwrap().split(' ').nth(1).unwrap().to_owned();
    let headers: HashMap<String, String> =
        lines.filter_map(|line| line.split_once(": ")).map(|(n, v)| (n.to_lowercase(), v.to_owned())).collect();
    let length: usize = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    while buffer.len() < end + 4 + length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    let raw = buffer[end + 4..end + 4 + length].to_vec();
    buffer.drain(..end + 4 + length);
    let body = serde_json::from_slice(&raw).unwrap_or(Value::Null);
    let mut state = state.lock().unwrap();
    let answering = state.answering.entry(headers.get("webhook-id").cloned().unwrap_or_default()).or_default();
    *answering += 1;
    let received = Received { headers, raw, body, path, overlaps: *answering > 1 };
    state.received.push(received.clone());
    Some(received)
}
