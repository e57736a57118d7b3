//! A private redis-server: one shared by the whole test binary (tests keep apart by `CARILLON_CLUSTER`), and instances
//! that a test owns alone to break them. Keeps nothing on disk: Redis is never the truth.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::Command,
    sync::{Arc, LazyLock, Mutex},
    time::{Duration, Instant},
};

use super::process::{self, Process, free_port, lock};

/// From start to the first PONG.
const START_LIMIT: Duration = Duration::from_secs(15);

static SHARED: LazyLock<Arc<Instance>> = LazyLock::new(|| Arc::new(Instance::start()));

/// The Redis that tests share which do not break it.
pub fn shared() -> Arc<Instance> {
    SHARED.clone()
}

/// One server, ended when dropped or at the end of the test process.
pub struct Instance {
    folder: PathBuf,
    port: u16,
    process: Mutex<Option<Process>>,
}

impl Instance {
    /// A new, empty server.
    pub fn start() -> Self {
        let folder = process::new_folder("redis");
        for _ in 0..5 {
            let instance = Self { folder: folder.clone(), port: free_port(), process: Mutex::new(None) };
            if instance.launch() {
                return instance;
            }
        }
        panic!("redis-server does not start: {}", std::fs::read_to_string(folder.join("log")).unwrap_or_default());
    }

    fn launch(&self) -> bool {
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &self.port.to_string(), "--save", "", "--appendonly", "no"]);
        command.arg("--dir").arg(&self.folder);
        let mut server = Process::spawn("redis-server", command, &self.folder.join("log"), libc::SIGKILL);
        let deadline = Instant::now() + START_LIMIT;
        while server.exited().is_none() && Instant::now() < deadline {
            if self.ask("PING").is_ok_and(|answer| answer.starts_with("+PONG")) {
                *lock(&self.process) = Some(server);
                return true;
            }
            std::thread::sleep(process::POLL);
        }
        false
    }

    /// Sends one command and gives the first bytes of the answer.
    pub fn ask(&self, command: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(self.address())?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(format!("{command}\r\n").as_bytes())?;
        let mut answer = [0; 4096];
        let length = stream.read(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Where it listens.
    pub fn address(&self) -> (&'static str, u16) {
        ("127.0.0.1", self.port)
    }

    /// The address as `REDIS_URL` wants it.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// SIGKILL: nobody is told, and everything in it is gone.
    pub fn kill(&self) {
        if let Some(mut server) = lock(&self.process).take() {
            server.end();
        }
    }

    /// Starts it again, empty, on the same port.
    pub fn start_again(&self) {
        assert!(self.launch(), "redis-server comes back");
    }

    /// Freezes it: connections stand and nothing is answered, a silent partition.
    pub fn pause(&self) {
        self.signal(libc::SIGSTOP);
    }

    /// Ends the pause.
    pub fn resume(&self) {
        self.signal(libc::SIGCONT);
    }

    fn signal(&self, signal: i32) {
        lock(&self.process).as_ref().expect("redis-server runs").signal(signal);
    }
}
