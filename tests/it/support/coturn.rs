//! A private coturn on free ports of the loopback, ended by pid; and coturn's own client, which says whether a relay is to
//! be had.

use std::{
    net::UdpSocket,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

use super::process::{self, Process, free_port};

/// From start to the first answer.
const START_LIMIT: Duration = Duration::from_secs(20);

/// One server.
pub struct Instance {
    port: u16,
    folder: PathBuf,
    _process: Process,
}

/// Username and password.
pub struct Credential<'a> {
    pub username: &'a str,
    pub password: &'a str,
}

impl Instance {
    /// A server with these lines of configuration, and what keeps it on the loopback and to itself.
    pub fn start(lines: &str) -> Self {
        let folder = process::new_folder("coturn");
        let config = folder.join("turnserver.conf");
        std::fs::write(&config, lines).expect("write coturn's configuration");
        let port = free_port();
        let mut command = Command::new("turnserver");
        command.arg("-c").arg(&config);
        command.args(["--listening-ip", "127.0.0.1", "--relay-ip", "127.0.0.1", "--no-tls", "--no-dtls", "--no-cli"]);
        command.args(["--listening-port", &port.to_string(), "--min-port", "32100", "--max-port", "32700"]);
        command.arg("--pidfile").arg(folder.join("pid")).arg("--userdb").arg(folder.join("db"));
        command.args(["--log-file", "stdout", "--simple-log"]);
        let mut server = Process::spawn("turnserver", command, &folder.join("log"), libc::SIGKILL);
        let deadline = Instant::now() + START_LIMIT;
        while !answers(port) {
            let log = || std::fs::read_to_string(folder.join("log")).unwrap_or_default();
            assert!(server.exited().is_none(), "turnserver ended: {}", log());
            assert!(Instant::now() < deadline, "turnserver does not answer: {}", log());
        }
        Self { port, folder, _process: server }
    }

    /// The address as `TURN_URLS` wants it.
    pub fn url(&self) -> String {
        format!("turn:127.0.0.1:{}?transport=udp", self.port)
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// A relay to a peer, or (`None`) between two relays of this server: two of them for one client. Its word on it.
    pub async fn relay(&self, as_whom: Credential<'_>, peer: Option<&str>) -> Relayed {
        let output = self.client(&as_whom, peer, &["-n", "3", "-m", "1"]);
        let output = tokio::task::spawn_blocking(move || {
            let mut output = output;
            output.output()
        });
        Relayed::of(&output.await.expect("a thread").expect("run turnutils_uclient"))
    }

    /// Takes so many pairs of relays and keeps them until dropped.
    pub fn hold(&self, as_whom: Credential<'_>, pairs: u32) -> Process {
        // By itself: who ends `timeout` at once would leave what it started behind.
        let mut command = Command::new("turnutils_uclient");
        self.arguments(&mut command, &as_whom, None, &["-h", "-n", "3", "-m", &pairs.to_string()]);
        Process::spawn("turnutils_uclient", command, &self.folder.join("client.log"), libc::SIGKILL)
    }

    /// Where a client that holds relays says what it does.
    pub fn client_log(&self) -> String {
        std::fs::read_to_string(self.folder.join("client.log")).unwrap_or_default()
    }

    fn client(&self, as_whom: &Credential<'_>, peer: Option<&str>, more: &[&str]) -> Command {
        let mut command = Command::new("timeout");
        self.arguments(command.args(["60", "turnutils_uclient"]), as_whom, peer, more);
        command
    }

    fn arguments(&self, command: &mut Command, as_whom: &Credential<'_>, peer: Option<&str>, more: &[&str]) {
        command.args(["-c", "-u", as_whom.username, "-w", as_whom.password]);
        command.args(["-p", &self.port.to_string()]).args(more);
        match peer {
            Some(peer) => command.args(["-e", peer]),
            None => command.arg("-y"),
        };
        command.arg("127.0.0.1");
    }
}

/// What became of an attempt at a relay.
#[derive(Debug)]
pub struct Relayed {
    pub ok: bool,
    pub words: String,
}

impl Relayed {
    fn of(output: &Output) -> Self {
        let words = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        // It exits with 0 too when all it sent was lost.
        let ok = output.status.success() && words.contains("Total lost packets 0 ");
        Self { ok, words }
    }
}

/// The configuration that is shipped, with a secret.
pub fn shipped(secret: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/coturn/turnserver.conf");
    let text = std::fs::read_to_string(path).expect("the shipped configuration of coturn");
    assert!(text.contains("static-auth-secret=CHANGE-ME"));
    text.replace("static-auth-secret=CHANGE-ME", &format!("static-auth-secret={secret}"))
}

/// Asks with a STUN binding request (RFC 8489, 5).
fn answers(port: u16) -> bool {
    let mut request = [0; 20];
    request[1] = 1;
    request[4..8].copy_from_slice(&0x2112_a442_u32.to_be_bytes());
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a UDP socket");
    socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a time limit");
    let mut answer = [0; 512];
    socket.send_to(&request, ("127.0.0.1", port)).is_ok() && socket.recv(&mut answer).is_ok_and(|length| length >= 20)
}
