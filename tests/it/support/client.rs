//! One device of one user, speaking `carillon.v1` over a WebSocket.
//!
//! Keeps every event in order with its arrival time. When dropped it asserts that the server kept its promises on
//! order (see `inbox::Order`): every scenario tests these on the way.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::{SinkExt, StreamExt, stream};
use serde_json::{Value, json};
use tokio::{
    net::{TcpSocket, TcpStream},
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{self, Message, client::IntoClientRequest},
};

use super::{
    inbox::{Closed, Inbox, Order, Received, WireError},
    node::{Realm, TestNode},
};

/// How long a client waits for what must come. Far above any honest latency, far below a test's patience.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// A client's usual token outlives its test.
const TOKEN_TTL: Duration = Duration::from_secs(3600);

/// How to connect; [`TestClient::connect`] covers the usual.
pub struct Connect {
    address: SocketAddr,
    realm: Arc<Realm>,
    user: String,
    device: String,
    token: Option<String>,
    by_header: bool,
    hello: bool,
    order: Order,
    path: String,
    receive_buffer: Option<u32>,
}

/// Why there is no session.
#[derive(Debug)]
pub enum Refused {
    /// Nobody listens, or the connection broke before the upgrade was answered.
    Unreachable,
    /// The upgrade was answered with this HTTP status.
    Upgrade(u16),
    /// `session:hello` was refused.
    Hello(WireError, Option<Closed>),
}

impl Connect {
    /// To this node, as this device.
    pub fn to(node: &TestNode, user: &str, device: &str) -> Self {
        Self::at(node.address, node.realm.clone(), user, device)
    }

    /// To whoever listens there.
    pub fn at(address: SocketAddr, realm: Arc<Realm>, user: &str, device: &str) -> Self {
        Self {
            address,
            realm,
            user: user.to_owned(),
            device: device.to_owned(),
            token: None,
            by_header: false,
            hello: true,
            order: Order::default(),
            path: "/ws".to_owned(),
            receive_buffer: None,
        }
    }

    /// With this token, whatever it is.
    pub fn token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// With a good token that ends after `ttl`.
    pub fn token_ttl(mut self, ttl: Duration) -> Self {
        self.token = Some(self.realm.token(&self.user, ttl));
        self
    }

    /// The token goes into `Authorization` of the upgrade instead of the first frame.
    pub fn by_header(mut self) -> Self {
        self.by_header = true;
        self
    }

    /// Sends no `session:hello`.
    pub fn silent(mut self) -> Self {
        self.hello = false;
        self
    }

    /// Goes on from what an earlier connection has seen.
    pub fn resuming(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// Another path or a query string.
    pub fn path(mut self, path: &str) -> Self {
        self.path = path.to_owned();
        self
    }

    /// The kernel's receive buffer in bytes: small, to be a slow reader soon.
    pub fn receive_buffer(mut self, bytes: u32) -> Self {
        self.receive_buffer = Some(bytes);
        self
    }

    /// Connects; with a hello, says it and waits for the answer.
    pub async fn go(self) -> Result<TestClient, Refused> {
        let token = self.token.clone().unwrap_or_else(|| self.realm.token(&self.user, TOKEN_TTL));
        self.realm.canaries.forbid_token(&token);
        let mut request = format!("ws://{}{}", self.address, self.path).into_client_request().expect("a ws request");
        request.headers_mut().insert("sec-websocket-protocol", "carillon.v1".parse().expect("a header"));
        if self.by_header {
            request.headers_mut().insert("authorization", format!("Bearer {token}").parse().expect("a header"));
        }
        let socket = TcpSocket::new_v4().expect("a socket");
        if let Some(bytes) = self.receive_buffer {
            socket.set_recv_buffer_size(bytes).expect("a receive buffer");
        }
        let Ok(stream) = socket.connect(self.address).await else { return Err(Refused::Unreachable) };
        stream.set_nodelay(true).expect("no delay");
        let local_port = stream.local_addr().expect("a local address").port();
        let websocket = match tokio_tungstenite::client_async(request, stream).await {
            Ok((websocket, _)) => websocket,
            Err(tungstenite::Error::Http(response)) => return Err(Refused::Upgrade(response.status().as_u16())),
            Err(tungstenite::Error::Io(_) | tungstenite::Error::Protocol(_)) => return Err(Refused::Unreachable),
            Err(error) => panic!("{} cannot upgrade: {error}", self.user),
        };
        let resume = self.order.resume();
        let mut client = TestClient::new(websocket, &self, local_port);
        if self.hello {
            let mut hello = json!({"deviceId": self.device, "deviceName": "test device", "resume": resume});
            if !self.by_header {
                hello["token"] = Value::String(token);
            }
            match client.call("session:hello", hello).await {
                Ok(welcome) => client.welcome = welcome,
                Err(error) => {
                    let closed = client.inbox.closed(Duration::from_secs(1)).await;
                    return Err(Refused::Hello(error, closed));
                }
            }
        }
        Ok(client)
    }
}

/// A connected device.
pub struct TestClient {
    pub user: String,
    pub device: String,
    /// The answer to the hello; Null without one.
    pub welcome: Value,
    /// The client's end of the TCP connection.
    pub local_port: u16,
    realm: Arc<Realm>,
    inbox: Arc<Inbox>,
    outgoing: mpsc::UnboundedSender<Message>,
    reading: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    next_id: AtomicU32,
}

impl TestClient {
    /// Connects a device with a fresh token and says hello by the first frame.
    pub async fn connect(node: &TestNode, user: &str, device: &str) -> Self {
        let connected = Connect::to(node, user, device).go().await;
        connected.unwrap_or_else(|refused| panic!("{user}/{device} is refused: {refused:?}\n{}", node.log_tail()))
    }

    fn new(websocket: WebSocketStream<TcpStream>, options: &Connect, local_port: u16) -> Self {
        let inbox = Arc::new(Inbox::new(options.order.clone()));
        let (outgoing, queue) = mpsc::unbounded_channel();
        let reading = watch::Sender::new(true);
        let (sink, frames) = websocket.split();
        let tasks =
            vec![tokio::spawn(write(sink, queue)), tokio::spawn(read(frames, inbox.clone(), reading.subscribe()))];
        Self {
            user: options.user.clone(),
            device: options.device.clone(),
            welcome: Value::Null,
            local_port,
            realm: options.realm.clone(),
            inbox,
            outgoing,
            reading,
            tasks,
            next_id: AtomicU32::new(1),
        }
    }

    fn name(&self) -> String {
        format!("{}/{}", self.user, self.device)
    }

    /// Sends a command and waits for its reply.
    pub async fn call(&self, command: &str, data: Value) -> Result<Value, WireError> {
        self.call_keyed(command, None, data).await
    }

    /// The same under an idempotency key.
    pub async fn call_keyed(&self, command: &str, key: Option<&str>, data: Value) -> Result<Value, WireError> {
        let key = key.map(|key| ("idempotencyKey", key.into()));
        self.call_with(command, key, data).await
    }

    /// The same with this member of the frame beside its data, whatever it is.
    pub async fn call_with(
        &self,
        command: &str,
        member: Option<(&str, Value)>,
        data: Value,
    ) -> Result<Value, WireError> {
        match self.answer_within(2 * PATIENCE, command, member, data).await {
            Some(reply) => reply,
            None => panic!("{} gets no reply to {command}\n{}", self.name(), self.inbox.describe()),
        }
    }

    /// Sends a command and waits so long for its reply.
    pub async fn call_within(&self, limit: Duration, command: &str, data: Value) -> Option<Result<Value, WireError>> {
        self.answer_within(limit, command, None, data).await
    }

    async fn answer_within(
        &self,
        limit: Duration,
        command: &str,
        member: Option<(&str, Value)>,
        data: Value,
    ) -> Option<Result<Value, WireError>> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed).to_string();
        let reply = self.inbox.await_reply(&id);
        let mut frame = json!({"id": id, "event": command, "data": data});
        if let Some((name, value)) = member {
            frame[name] = value;
        }
        self.send_text(frame.to_string());
        tokio::time::timeout(limit, reply).await.ok()?.ok()
    }

    /// Sends this frame as it is, and waits for the reply to its `id`.
    pub async fn reply_to(&self, frame: &Value) -> Result<Value, WireError> {
        let id = frame["id"].as_str().expect("an id");
        let reply = self.inbox.await_reply(id);
        self.send_text(frame.to_string());
        match tokio::time::timeout(2 * PATIENCE, reply).await {
            Ok(Ok(reply)) => reply,
            _ => panic!("{} gets no reply to {frame}\n{}", self.name(), self.inbox.describe()),
        }
    }

    /// Sends a command that must succeed.
    pub async fn must(&self, command: &str, data: Value) -> Value {
        match self.call(command, data.clone()).await {
            Ok(reply) => reply,
            Err(error) => panic!("{}: {command} {data} is refused: {error:?}\n{}", self.name(), self.inbox.describe()),
        }
    }

    /// Sends a command that must be refused; the refusal.
    pub async fn refused(&self, command: &str, data: Value) -> WireError {
        match self.call(command, data.clone()).await {
            Err(error) => error,
            Ok(reply) => panic!("{}: {command} {data} is not refused but answered {reply}", self.name()),
        }
    }

    /// Sends a command without an id: no reply unless it fails.
    pub fn cast(&self, command: &str, data: Value) {
        self.send_text(json!({"event": command, "data": data}).to_string());
    }

    /// Sends a text frame as it is.
    pub fn send_text(&self, text: impl Into<String>) {
        self.send_raw(Message::text(text.into()));
    }

    /// Sends any frame as it is. On a closed connection it goes nowhere, as with a real one.
    pub fn send_raw(&self, message: Message) {
        let _ = self.outgoing.send(message);
    }

    /// Waits for an event of this kind for which `is` holds, and consumes it.
    pub async fn expect(&self, event: &str, is: impl Fn(&Value) -> bool) -> Value {
        self.expect_within(PATIENCE, event, is).await.data
    }

    /// The same with a limit of its own; with its arrival time.
    pub async fn expect_within(&self, limit: Duration, event: &str, is: impl Fn(&Value) -> bool) -> Received {
        match self.inbox.take(limit, |r| r.event == event && is(&r.data)).await {
            Some(received) => received,
            None => panic!("{} gets no such {event} within {limit:?}\n{}", self.name(), self.inbox.describe()),
        }
    }

    /// Waits for an event of a call and consumes it.
    pub async fn expect_of(&self, event: &str, call: &str) -> Value {
        self.expect(event, |data| call_of(data) == Some(call)).await
    }

    /// Watches for a while: no event of this kind may come, nor have come unconsumed.
    pub async fn expect_none(&self, event: &str, watch: Duration) {
        self.expect_none_where(event, watch, |_| true).await;
    }

    /// Watches for a while: no such event may come, nor have come unconsumed.
    pub async fn expect_none_where(&self, event: &str, watch: Duration, is: impl Fn(&Value) -> bool) {
        if let Some(received) = self.inbox.take(watch, |r| r.event == event && is(&r.data)).await {
            panic!("{} gets an unwanted {event}: {}\n{}", self.name(), received.data, self.inbox.describe());
        }
    }

    /// Waits until the server closes the connection.
    pub async fn expect_closed(&self, limit: Duration) -> Closed {
        match self.inbox.closed(limit).await {
            Some(closed) => closed,
            None => panic!("{} is not closed within {limit:?}\n{}", self.name(), self.inbox.describe()),
        }
    }

    /// Whether the connection is over.
    pub fn is_closed(&self) -> Option<Closed> {
        self.inbox.is_closed()
    }

    /// Every event of a call so far, in order of arrival.
    pub fn history_of(&self, call: &str) -> Vec<Received> {
        self.inbox.history().into_iter().filter(|r| call_of(&r.data) == Some(call)).collect()
    }

    /// Every event so far, in order of arrival.
    pub fn history(&self) -> Vec<Received> {
        self.inbox.history()
    }

    /// Forgets events that nobody has consumed.
    pub fn discard_pending(&self) {
        self.inbox.discard_pending();
    }

    /// What this device has seen, to resume from.
    pub fn order(&self) -> Order {
        self.inbox.order()
    }

    /// The secrets of its cluster.
    pub fn realm(&self) -> &Arc<Realm> {
        &self.realm
    }

    /// A command that any session may send at any time: shows that this one is alive.
    pub async fn assert_alive(&self) {
        self.must("presence:get", json!({"userIds": [self.user]})).await;
    }

    /// Stops reading from the socket, which stays open: the slow client.
    pub fn stop_reading(&self) {
        self.reading.send_replace(false);
    }

    /// Breaks the TCP connection without a close frame, soon: nothing more is taken from it.
    pub fn cut(&self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        self.inbox.close(Closed { code: None, reason: Value::Null });
    }

    /// Breaks the TCP connection without a close frame, and waits until it is gone on this side.
    pub async fn drop_connection(&mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
            let _ = task.await;
        }
        self.inbox.close(Closed { code: None, reason: Value::Null });
    }

    /// Closes as a well-behaved client does, and waits for the server's answer.
    pub async fn close(&self) -> Closed {
        self.send_raw(Message::Close(None));
        self.expect_closed(PATIENCE).await
    }

    /// The same device on this node again, going on from what it has seen. The old connection is broken first, if it
    /// still stands.
    pub async fn resume(mut self, node: &TestNode) -> Self {
        self.drop_connection().await;
        let options = Connect::to(node, &self.user, &self.device).resuming(self.inbox.order());
        match options.go().await {
            Ok(client) => client,
            Err(refused) => panic!("{} cannot resume: {refused:?}\n{}", self.name(), node.log_tail()),
        }
    }
}

impl Drop for TestClient {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        let violations = self.inbox.violations();
        if std::thread::panicking() {
            eprintln!("{} {}", self.name(), self.inbox.describe());
        } else if !violations.is_empty() {
            let history = self.inbox.describe();
            panic!("{} saw broken promises: {}\n{history}", self.name(), violations.join("\n"));
        }
    }
}

/// The call an event is about.
pub fn call_of(data: &Value) -> Option<&str> {
    data["callId"].as_str().or_else(|| data["call"]["callId"].as_str())
}

async fn write(
    mut sink: stream::SplitSink<WebSocketStream<TcpStream>, Message>,
    mut queue: mpsc::UnboundedReceiver<Message>,
) {
    while let Some(message) = queue.recv().await {
        if sink.send(message).await.is_err() {
            // The reader tells why.
            return;
        }
    }
}

async fn read(
    mut frames: stream::SplitStream<WebSocketStream<TcpStream>>,
    inbox: Arc<Inbox>,
    mut reading: watch::Receiver<bool>,
) {
    let mut closed = Closed { code: None, reason: Value::Null };
    loop {
        if reading.wait_for(|reading| *reading).await.is_err() {
            return;
        }
        let frame = tokio::select! {
            frame = frames.next() => frame,
            _ = reading.changed() => continue,
        };
        match frame {
            Some(Ok(Message::Text(text))) => inbox.receive(&text),
            Some(Ok(Message::Close(frame))) => {
                closed.code = frame.as_ref().map(|f| f.code.into());
                closed.reason = frame.and_then(|f| serde_json::from_str(&f.reason).ok()).unwrap_or(Value::Null);
            }
            Some(Ok(_)) => {}
            // The answer to a close frame goes out while reading on to the end.
            Some(Err(_)) | None => break,
        }
    }
    inbox.close(closed);
}

/// Milliseconds since an earlier point, for messages.
pub fn millis_since(start: Instant) -> u128 {
    start.elapsed().as_millis()
}
