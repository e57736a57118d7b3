//! A private livekit-server, with a Redis of its own (its messages between nodes go by pub/sub, which knows no database
//! numbers), on free ports of the loopback. Ended by pid, when dropped or at the end of the test process.
//!
//! The program is `LIVEKIT_SERVER`, or `livekit-server` from PATH or from target/tools/bin, where tests/run puts it.
//! Without one the tests that need it say so on standard error and pass; tests/run names them. With `CI=true` they fail.

use std::{
    io::Write,
    path::PathBuf,
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use carillon::{
    domain::{CallId, DeviceId, UserId},
    media::{LiveKitConfig, Media, MediaConfig, Permissions},
    secret::Secret,
};
use futures_util::StreamExt;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::{
    cluster::ClusterBuilder,
    process::{self, Process, free_port, lock},
    redis,
};

/// From start to the first answer, on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(30);
/// What the tests' LiveKit servers are asked with.
pub const API_KEY: &str = "carillon-tests";

/// The program, if there is one. A test begins with `let Some(livekit) = livekit::program() else { return };`
pub fn program() -> Option<PathBuf> {
    let given = std::env::var_os("LIVEKIT_SERVER").map(PathBuf::from).filter(|path| !path.as_os_str().is_empty());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let built = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/bin"));
    let mut places = std::env::split_paths(&path).chain([built]).map(|folder| folder.join("livekit-server"));
    let found = given.or_else(|| places.find(|file| file.is_file()));
    if found.is_none() {
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{test}: no livekit-server, and CI=true");
        // Read by tests/run; written so that it is not kept back with what a test that passes prints.
        let _ = writeln!(std::io::stderr(), "\nnot run, no livekit-server: {test}");
    }
    found
}

/// One server.
pub struct Instance {
    program: PathBuf,
    folder: PathBuf,
    port: u16,
    pub api_secret: String,
    redis: redis::Instance,
    webhooks: Vec<String>,
    auto_create: bool,
    process: Mutex<Option<Process>>,
}

impl Instance {
    /// A server that tells nobody anything; not started. Its port is known.
    pub fn prepare(program: PathBuf) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self {
            program,
            folder: process::new_folder("livekit"),
            port: free_port(),
            api_secret: format!("canary-livekit-secret-{number}-{:032x}", rand::random::<u128>()),
            redis: redis::Instance::start(),
            webhooks: Vec::new(),
            auto_create: false,
            process: Mutex::new(None),
        }
    }

    /// A running server.
    pub async fn start(program: PathBuf) -> Self {
        let instance = Self::prepare(program);
        instance.launch().await;
        instance
    }

    /// Tells this address; before the start.
    pub fn telling(mut self, url: impl Into<String>) -> Self {
        self.webhooks.push(url.into());
        self
    }

    /// Rooms come into being by joining, as LiveKit does if nothing is said; before the start.
    pub fn auto_create(mut self) -> Self {
        self.auto_create = true;
        self
    }

    /// Starts it, and waits until it answers.
    pub async fn launch(&self) {
        let config = self.folder.join("livekit.yaml");
        std::fs::write(&config, self.config()).expect("write LiveKit's configuration");
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(&config);
        let mut server = Process::spawn("livekit-server", command, &self.folder.join("log"), libc::SIGKILL);
        let media = self.media();
        let deadline = Instant::now() + START_LIMIT;
        while media.probe().await.is_err() {
            assert!(server.exited().is_none(), "livekit-server ended: {}", self.log());
            assert!(Instant::now() < deadline, "livekit-server does not answer: {}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        *lock(&self.process) = Some(server);
    }

    fn config(&self) -> String {
        let (tcp, udp) = (free_port(), free_port());
        let (port, secret, redis, auto_create) =
            (self.port, &self.api_secret, self.redis.address().1, self.auto_create);
        let urls: String = self.webhooks.iter().map(|url| format!("    - {url}\n")).collect();
        let webhook =
            if urls.is_empty() { String::new() } else { format!("webhook:\n  api_key: {API_KEY}\n  urls:\n{urls}") };
        format!(
            "port: {port}\nbind_addresses: [127.0.0.1]\n\
             rtc:\n  tcp_port: {tcp}\n  udp_port: {udp}\n  use_external_ip: false\n  node_ip: 127.0.0.1\n  \
             enable_loopback_candidate: true\n\
             redis:\n  address: 127.0.0.1:{redis}\n\
             keys:\n  {API_KEY}: {secret}\n\
             room:\n  auto_create: {auto_create}\n  enable_remote_unmute: true\n\
             logging:\n  level: info\n{webhook}"
        )
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address as `LIVEKIT_URL` wants it.
    pub fn url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.port)
    }

    /// Its Redis, which LiveKit's egress service would share.
    pub fn redis(&self) -> &redis::Instance {
        &self.redis
    }

    /// Asks this server, as a node does.
    pub fn media(&self) -> Media {
        self.media_at(&self.url())
    }

    /// The same through this address, such as a proxy's.
    pub fn media_at(&self, url: &str) -> Media {
        let livekit = LiveKitConfig {
            url: url.to_owned(),
            public_url: self.url(),
            api_key: API_KEY.to_owned(),
            api_secret: Secret::new(&self.api_secret),
        };
        Media::start(MediaConfig { livekit: Some(livekit), ..MediaConfig::default() }).expect("a way to LiveKit")
    }

    /// SIGKILL.
    pub fn kill(&self) {
        if let Some(mut server) = lock(&self.process).take() {
            server.end();
        }
    }

    /// Freezes it: connections stand and nothing is answered.
    pub fn pause(&self) {
        lock(&self.process).as_ref().expect("livekit-server runs").signal(libc::SIGSTOP);
    }

    /// Ends the pause.
    pub fn resume(&self) {
        lock(&self.process).as_ref().expect("livekit-server runs").signal(libc::SIGCONT);
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// A token as a node would give it.
    pub fn token(&self, call: &str, user: &str, device: &str) -> String {
        let (call, user, device) = (call_id(call), UserId::new(user).unwrap(), DeviceId::new(device).unwrap());
        let permissions = Permissions { audio: true, video: true, screen: true, subscribe: true };
        let access = self.media().access_token(&call, &user, &device, permissions, carillon::clock::now());
        access.expect("a token").token.reveal().to_owned()
    }
}

/// A call's id.
pub fn call_id(text: &str) -> CallId {
    CallId::new(text).expect("an id of a call")
}

/// A participant as LiveKit sees one who has come in by its signal socket and sends no media.
pub struct Joined {
    socket: WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>,
}

impl Joined {
    /// Joins with a token; `Err`: why LiveKit does not let it in.
    pub async fn join(livekit: &Instance, token: &str) -> Result<Self, String> {
        let address = format!("{}/rtc?access_token={token}&protocol=9&sdk=rust&auto_subscribe=1", livekit.url());
        match connect_async(address).await {
            Ok((mut socket, _)) => match socket.next().await {
                Some(Ok(frame)) if frame.is_binary() => Ok(Self { socket }),
                other => Err(format!("{other:?}")),
            },
            Err(error) => Err(error.to_string()),
        }
    }

    /// Waits until LiveKit has closed the socket.
    pub async fn closed(mut self, limit: Duration) -> bool {
        let close = async {
            while let Some(Ok(frame)) = self.socket.next().await {
                if frame.is_close() {
                    return;
                }
            }
        };
        tokio::time::timeout(limit, close).await.is_ok()
    }
}

impl ClusterBuilder {
    /// Every node is to use this LiveKit.
    pub fn with_livekit(self, livekit: &Instance) -> Self {
        self.with_livekit_at(livekit, &livekit.url())
    }

    /// The same by this address, such as a proxy's.
    pub fn with_livekit_at(self, livekit: &Instance, url: &str) -> Self {
        self.set("LIVEKIT_URL", url)
            .set("LIVEKIT_PUBLIC_URL", livekit.url())
            .set("LIVEKIT_API_KEY", API_KEY)
            .set("LIVEKIT_API_SECRET", &livekit.api_secret)
            .forbidding(&livekit.api_secret)
    }
}
