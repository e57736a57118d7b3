//! One real `carillon serve` process, its log and its end.
//!
//! A node that is dropped is ended by its pid, and must until then have neither died by itself, nor panicked, nor
//! logged a secret: the test that owns it fails otherwise.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    canary::Canaries,
    http::Http,
    process::{POLL, Process},
};

/// From start to ready, migrations of an empty database included. An unoptimised build on two busy cores takes
/// seconds; more than this is a hang.
const READY_LIMIT: Duration = Duration::from_secs(30);

/// What nodes log in tests: more than in production, so that the canaries watch more than production shows.
const LOG_FILTER: &str = "info,carillon=debug";

/// Settings that a developer's shell may hold and a test must not inherit.
const FOREIGN_SETTINGS: [&str; 8] =
    ["CARILLON_", "DATABASE_URL", "REDIS_URL", "LIVEKIT_", "TURN_", "STUN_", "RECORDINGS_", "OTEL_"];

/// Which binary a node runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Release {
    /// The one under test.
    #[default]
    This,
    /// That of the last release, see `tests/previous/build`.
    Previous,
}

impl Release {
    /// Its program.
    pub fn program(self) -> PathBuf {
        static PREVIOUS: LazyLock<PathBuf> = LazyLock::new(previous);
        match self {
            Self::This => env!("CARGO_BIN_EXE_carillon").into(),
            Self::Previous => PREVIOUS.clone(),
        }
    }
}

/// Beside the binary under test, or where `CARILLON_PREVIOUS` says. Never skipped: without it nothing is known of upgrades.
fn previous() -> PathBuf {
    let beside = Path::new(env!("CARGO_BIN_EXE_carillon")).parent().and_then(Path::parent).expect("a target folder");
    let program =
        std::env::var_os("CARILLON_PREVIOUS").map_or_else(|| beside.join("previous/debug/carillon"), PathBuf::from);
    let kept = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/previous")).expect("tests/previous");
    let kept: Vec<String> = kept.flatten().filter_map(|file| file.file_name().into_string().ok()).collect();
    let version = kept.iter().find_map(|name| name.strip_prefix("carillon-")?.strip_suffix(".tar.gz"));
    let version = version.expect("tests/previous/keep keeps a release");
    let said = Command::new(&program).arg("--version").output().map(|output| output.stdout).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    assert!(
        said.starts_with(&format!("carillon {version} ")),
        "{} is not the release {version} ({said:?}): build it by tests/previous/build",
        program.display()
    );
    program
}

/// What all nodes of a cluster and their clients share.
pub struct Realm {
    /// Signs the tokens of the tests.
    pub jwt_secret: String,
    /// `CARILLON_SERVICE_KEY`.
    pub service_key: String,
    /// What no log may hold.
    pub canaries: Canaries,
}

/// One server process.
pub struct TestNode {
    /// The name in messages and of the log file: `node-1`.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// Secrets shared with its cluster.
    pub realm: Arc<Realm>,
    log: PathBuf,
    process: Process,
    ended_by_test: bool,
    may_panic: bool,
}

impl TestNode {
    /// Starts a node and waits until it takes calls. `settings` are environment variables.
    pub async fn start(
        release: Release,
        name: &str,
        folder: &Path,
        realm: Arc<Realm>,
        settings: &[(String, String)],
    ) -> Self {
        let mut node = Self::spawn(release, name, folder, realm, settings).await;
        let deadline = Instant::now() + READY_LIMIT;
        while node.http().status("/readyz").await != Some(200) {
            node.must_run();
            assert!(Instant::now() < deadline, "{name} listens but is not ready\n{}", node.log_tail());
            tokio::time::sleep(POLL).await;
        }
        node
    }

    /// Starts a node and waits until it listens, ready or not.
    pub async fn spawn(
        release: Release,
        name: &str,
        folder: &Path,
        realm: Arc<Realm>,
        settings: &[(String, String)],
    ) -> Self {
        let log = folder.join(format!("{name}.log"));
        let process = Process::spawn(name, command_of(release, &["serve"], settings), &log, libc::SIGKILL);
        let address = ([127, 0, 0, 1], 0).into();
        let mut node =
            Self { name: name.to_owned(), address, realm, log, process, ended_by_test: false, may_panic: false };
        let deadline = Instant::now() + READY_LIMIT;
        loop {
            if let Some(address) = node.logged("listening").iter().find_map(|line| field(line, "address")?.parse().ok())
            {
                node.address = address;
                return node;
            }
            node.must_run();
            assert!(Instant::now() < deadline, "{name} does not listen\n{}", node.log_tail());
            tokio::time::sleep(POLL).await;
        }
    }

    fn must_run(&mut self) {
        if let Some(status) = self.process.exited() {
            self.ended_by_test = true;
            panic!("{} ended while starting: {status}\n{}", self.name, self.log_tail());
        }
    }

    /// Its HTTP side.
    pub fn http(&self) -> Http {
        Http::new(self.address, self.realm.clone())
    }

    /// The address of its WebSocket.
    pub fn ws_url(&self) -> String {
        format!("ws://{}/ws", self.address)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Sends a real signal that it survives (SIGSTOP, SIGCONT).
    pub fn signal(&self, signal: i32) {
        self.process.signal(signal);
    }

    /// SIGSTOP, and waits until every thread has stopped: until one of them takes the signal, the others go on.
    pub async fn freeze(&self) {
        self.signal(libc::SIGSTOP);
        let tasks = format!("/proc/{}/task", self.pid());
        let stopped = || {
            let Ok(threads) = std::fs::read_dir(&tasks) else { return true };
            threads.flatten().all(|thread| {
                let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
                // The state stands behind the name, which is in brackets and may hold anything.
                stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('T'))
            })
        };
        while !stopped() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }

    /// SIGKILL: the crash. Its sockets close, its memory is gone.
    pub fn kill(&mut self) {
        self.ended_by_test = true;
        self.process.end();
    }

    /// Waits until it has died by itself, as the test has told it to.
    pub async fn expect_death(&mut self, limit: Duration) {
        let Some(status) = self.process.exit(limit).await else {
            panic!("{} still lives\n{}", self.name, self.log_tail());
        };
        assert!(!status.success(), "{} died and did not leave: {status}", self.name);
        self.ended_by_test = true;
    }

    /// SIGTERM, and waits until it has drained and left.
    pub async fn terminate(&mut self, limit: Duration) -> ExitStatus {
        self.ended_by_test = true;
        self.process.signal(libc::SIGTERM);
        match self.process.exit(limit).await {
            Some(status) => status,
            None => panic!("{} is still there {limit:?} after SIGTERM\n{}", self.name, self.log_tail()),
        }
    }

    /// Waits until it has left by itself, as it was told to in another way than by a signal.
    pub async fn expect_leave(&mut self, limit: Duration) -> ExitStatus {
        let Some(status) = self.process.exit(limit).await else {
            panic!("{} is still there after {limit:?}\n{}", self.name, self.log_tail());
        };
        self.ended_by_test = true;
        status
    }

    /// SIGCONT: a frozen node goes on.
    pub fn thaw(&self) {
        self.process.signal(libc::SIGCONT);
    }

    /// Panics in its log are what the test is about.
    pub fn expect_panics(&mut self) {
        self.may_panic = true;
    }

    /// Whether anything in it has panicked so far.
    pub fn has_panicked(&self) -> bool {
        self.log_text().lines().any(is_panic)
    }

    /// Every line of its log so far that is JSON.
    pub fn log_lines(&self) -> Vec<Value> {
        self.log_text().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The log lines with this message.
    pub fn logged(&self, message: &str) -> Vec<Value> {
        self.log_lines().into_iter().filter(|line| field(line, "message") == Some(message)).collect()
    }

    /// The whole log so far.
    pub fn log_text(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The last lines of its log, for the message of a failed test.
    pub fn log_tail(&self) -> String {
        let text = self.log_text();
        let lines: Vec<&str> = text.lines().collect();
        format!("--- {} ({})\n{}", self.name, self.log.display(), lines[lines.len().saturating_sub(60)..].join("\n"))
    }

    /// Memory in use, in KiB (VmRSS).
    pub fn memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the node runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        line.trim().trim_end_matches("kB").trim().parse().expect("a number of KiB")
    }

    /// The kernel's sockets of this node towards a client's port, as `/proc/net/tcp` shows their state.
    pub fn kernel_sockets_to(&self, client_port: u16) -> Vec<String> {
        let port_of = |address: &str| address.rsplit(':').next().and_then(|hex| u16::from_str_radix(hex, 16).ok());
        let table = std::fs::read_to_string("/proc/net/tcp").expect("read /proc/net/tcp");
        let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
        rows.filter(|row| port_of(row[1]) == Some(self.address.port()) && port_of(row[2]) == Some(client_port))
            .map(|row| format!("state {} queues {}", row[3], row[4]))
            .collect()
    }

    fn complaints(&mut self) -> Vec<String> {
        let mut complaints = Vec::new();
        if let Some(status) = self.process.exited()
            && !self.ended_by_test
        {
            complaints.push(format!("{} died by itself: {status}", self.name));
        }
        self.process.end();
        if !self.may_panic
            && let Some(line) = self.log_text().lines().find(|line| is_panic(line))
        {
            complaints.push(format!("{} panicked: {line}", self.name));
        }
        let secrets = self.realm.canaries.find_in(&self.log);
        complaints.extend(secrets.into_iter().map(|hit| format!("{} logged a secret: {hit}", self.name)));
        complaints
    }
}

impl Drop for TestNode {
    fn drop(&mut self) {
        let complaints = self.complaints();
        if std::thread::panicking() {
            complaints.iter().for_each(|complaint| eprintln!("{complaint}"));
            eprintln!("{}", self.log_tail());
        } else {
            assert!(complaints.is_empty(), "{}\n{}", complaints.join("\n"), self.log_tail());
        }
    }
}

/// What the standard library, and a hook that logs, say of a panic.
fn is_panic(line: &str) -> bool {
    line.contains("panicked at")
}

/// The binary under test with a subcommand and these settings, free of those of the shell.
pub fn command(arguments: &[&str], settings: &[(String, String)]) -> Command {
    command_of(Release::This, arguments, settings)
}

/// The same of a release.
pub fn command_of(release: Release, arguments: &[&str], settings: &[(String, String)]) -> Command {
    let mut command = Command::new(release.program());
    command.args(arguments);
    for (name, _) in std::env::vars_os() {
        if FOREIGN_SETTINGS.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    command.env("CARILLON_LOG_FORMAT", "json").env("RUST_LOG", LOG_FILTER);
    command.env("CARILLON_LISTEN", "127.0.0.1:0").env("CARILLON_RATE_LIMITS", "off");
    command.envs(settings.iter().map(|(name, value)| (name, value)));
    command
}

/// A field of a JSON log line, whether the formatter keeps fields apart or flat.
pub fn field<'a>(line: &'a Value, name: &str) -> Option<&'a str> {
    line.get("fields").and_then(|fields| fields.get(name)).or_else(|| line.get(name))?.as_str()
}
