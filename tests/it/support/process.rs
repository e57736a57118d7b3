//! Processes that the tests start: databases and Carillon nodes.
//!
//! Owns their whole life, the folder for what they write, and the ports they are given. Must never leave one
//! running: the kernel ends them when this process ends, however it ends. Survives a test binary that was killed
//! before it could tidy up: the next run removes its folder.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::TcpListener,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{LazyLock, Mutex, MutexGuard, OnceLock, PoisonError, mpsc},
    time::{Duration, Instant},
};

/// How often a state that can only be asked for is asked for: long against the cost of asking, short against
/// anything a test waits for.
pub const POLL: Duration = Duration::from_millis(10);

/// How long a process may take to end after its polite signal, before SIGKILL. PostgreSQL writes nothing on an
/// immediate shutdown, so more would only hide a hang.
const END_LIMIT: Duration = Duration::from_secs(5);

/// A lock that a panicking test has poisoned is still good: every write under it is complete in one step.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One child process, ended when dropped.
pub struct Process {
    name: String,
    child: Child,
    end_signal: i32,
}

impl Process {
    /// Starts `command` with its output appended to `log`. `end_signal` ends it for good (SIGKILL where nothing has
    /// to be tidied up by it), and is what the kernel sends when this test process is gone.
    pub fn spawn(name: &str, mut command: Command, log: &Path, end_signal: i32) -> Self {
        let output = std::fs::OpenOptions::new().create(true).append(true).open(log).expect("open a log file");
        command.stdin(Stdio::null()).stderr(output.try_clone().expect("share a log file")).stdout(output);
        // SAFETY: prctl is async-signal-safe and touches nothing but the calling process.
        unsafe {
            command.pre_exec(move || match libc::prctl(libc::PR_SET_PDEATHSIG, end_signal as libc::c_ulong) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
        let shown = format!("{command:?}");
        let child = on_spawner(move || command.spawn()).unwrap_or_else(|error| panic!("start {shown}: {error}"));
        lock(&RUNNING).insert(child.id(), end_signal);
        Self { name: name.to_owned(), child, end_signal }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a real signal.
    pub fn signal(&self, signal: i32) {
        send_signal(self.pid(), signal);
    }

    /// Its exit status if it has ended.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().expect("ask for a child's state");
        if status.is_some() {
            lock(&RUNNING).remove(&self.child.id());
        }
        status
    }

    /// Waits for it to end, without blocking the runtime.
    pub async fn exit(&mut self, limit: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            match self.exited() {
                None if Instant::now() < deadline => tokio::time::sleep(POLL).await,
                status => return status,
            }
        }
    }

    /// Ends it now and waits until the kernel has let it go.
    pub fn end(&mut self) {
        if self.exited().is_some() {
            return;
        }
        self.signal(self.end_signal);
        // One that a test has frozen would otherwise not notice.
        self.signal(libc::SIGCONT);
        let deadline = Instant::now() + END_LIMIT;
        while self.exited().is_none() {
            if Instant::now() > deadline {
                self.signal(libc::SIGKILL);
                let _ = self.child.wait();
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

impl std::fmt::Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (pid {})", self.name, self.pid())
    }
}

fn send_signal(pid: u32, signal: i32) {
    let pid = libc::pid_t::try_from(pid).expect("a pid");
    // SAFETY: the pid is that of a child that nobody has waited for yet, so it cannot have been given to another.
    unsafe { libc::kill(pid, signal) };
}

/// Children of this process that have not been waited for, with the signal that ends each.
static RUNNING: Mutex<BTreeMap<u32, i32>> = Mutex::new(BTreeMap::new());

type Job = Box<dyn FnOnce() + Send>;

/// The one thread that starts processes. PR_SET_PDEATHSIG fires when the *thread* that forked is gone, and the
/// threads of tests come and go; this one stays as long as the test process.
static SPAWNER: LazyLock<Mutex<mpsc::Sender<Job>>> = LazyLock::new(|| {
    let (jobs, work) = mpsc::channel::<Job>();
    std::thread::Builder::new()
        .name("spawner".into())
        .spawn(move || work.iter().for_each(|job| job()))
        .expect("start the spawner thread");
    Mutex::new(jobs)
});

fn on_spawner<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> T {
    let (answer, result) = mpsc::channel();
    lock(&SPAWNER).send(Box::new(move || drop(answer.send(job())))).expect("the spawner thread lives");
    result.recv().expect("the spawner thread answers")
}

/// The folder of this test process, removed when it ends. Everybody may pass through it: PostgreSQL runs as another
/// user when the tests run as root. With `CARILLON_TEST_KEEP` set it stays.
pub fn workspace() -> &'static Path {
    static WORKSPACE: OnceLock<PathBuf> = OnceLock::new();
    WORKSPACE.get_or_init(|| {
        remove_abandoned();
        let path = std::env::temp_dir().join(format!("{PREFIX}{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("make the workspace");
        // SAFETY: registers a plain function; it runs once, when the process exits.
        unsafe { libc::atexit(tidy_up) };
        path
    })
}

/// A new empty folder in the workspace.
pub fn new_folder(kind: &str) -> PathBuf {
    static NEXT: Mutex<u32> = Mutex::new(0);
    let number = {
        let mut next = lock(&NEXT);
        *next += 1;
        *next
    };
    let path = workspace().join(format!("{kind}-{number}"));
    std::fs::create_dir(&path).expect("make a folder");
    path
}

const PREFIX: &str = "carillon-it-";

/// Removes what a killed test process has left. A pid that is in use again only keeps a folder for longer.
fn remove_abandoned() {
    let Ok(entries) = std::fs::read_dir(std::env::temp_dir()) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|n| n.strip_prefix(PREFIX)).and_then(|p| p.parse::<u32>().ok()) else {
            continue;
        };
        if !Path::new("/proc").join(pid.to_string()).exists() {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Runs at exit, on whichever thread: so it takes no lock that it would have to wait for.
extern "C" fn tidy_up() {
    if let Ok(running) = RUNNING.try_lock() {
        for (&pid, &signal) in running.iter() {
            send_signal(pid, libc::SIGCONT);
            send_signal(pid, signal);
        }
        let deadline = Instant::now() + END_LIMIT;
        for &pid in running.keys() {
            let pid = libc::pid_t::try_from(pid).unwrap_or(-1);
            // SAFETY: waits for a child of ours; the status may be null.
            while unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::WNOHANG) } == 0 && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }
    if std::env::var_os("CARILLON_TEST_KEEP").is_none() {
        let _ = std::fs::remove_dir_all(workspace());
    }
}

/// A free TCP port of 127.0.0.1, given out once per test process. It lies below the ports that the kernel gives to
/// outgoing connections, so that a server can come back to it after a restart.
pub fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let port = rand::random_range(20_000..32_000);
        if lock(&GIVEN).insert(port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Whether something listens on this port of 127.0.0.1.
pub fn is_listening(port: u16) -> bool {
    std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
}
