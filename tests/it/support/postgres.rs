//! A private PostgreSQL: one shared by the whole test binary, and instances that a test owns alone to break them.
//!
//! Nodes use it as they should: they log in as a role that owns nothing, and another role owns and makes the tables.
//! Durable like a real one (fsync on). Must never touch a PostgreSQL that runs on the machine already. As root it runs
//! as user `postgres` or `nobody`, since PostgreSQL refuses root.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use std::os::unix::process::CommandExt;
use tokio_postgres::NoTls;

use super::process::{self, Process, free_port};

/// The password in every URL given out: PostgreSQL does not ask for it, the log canary looks for it.
pub const PASSWORD: &str = "canary-database-password-c41e";

/// Who serves, and who owns the tables. Tests themselves look and act as the superuser, who sees everything.
const SERVES: &str = "carillon_app";
const OWNS: &str = "carillon_owner";
const SUPERUSER: &str = "carillon";

/// What operators are told to do, to be done as told.
const GUIDE: &str = include_str!("../../../docs/row-security.md");

/// All tests of a binary together: a few tests at a time, up to three nodes each, a pool per node.
const MAX_CONNECTIONS: &str = "max_connections=300";

/// From start to the first answer. A cold disk takes seconds; more means that it will not come.
const START_LIMIT: Duration = Duration::from_secs(30);

static SHARED: LazyLock<Arc<Instance>> = LazyLock::new(|| Arc::new(Instance::start()));

/// One server. Ended, and its files removed, when dropped or at the end of the test process.
pub struct Instance {
    folder: PathBuf,
    port: u16,
    account: Option<(u32, u32)>,
    /// Settings besides those of every test.
    more: Vec<String>,
    process: std::sync::Mutex<Option<Process>>,
}

impl Instance {
    /// A new server with an empty cluster of databases.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with `pg_stat_statements` loaded.
    pub fn start_counting() -> Self {
        Self::start_with(&["shared_preload_libraries=pg_stat_statements"])
    }

    /// The same with these settings, which win over those of every test.
    pub fn start_with(more: &[&str]) -> Self {
        let account = unprivileged_account();
        let folder = process::new_folder("postgres");
        if let Some((uid, gid)) = account {
            std::os::unix::fs::chown(&folder, Some(uid), Some(gid)).expect("hand the folder to PostgreSQL's user");
        }
        let mut initdb = Command::new(program("initdb"));
        initdb.args(["--username=carillon", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]);
        initdb.args(["--no-instructions", "--pgdata"]).arg(folder.join("data"));
        run_as(&mut initdb, account, &folder);
        let made = initdb.output().expect("run initdb");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let more: Vec<String> = more.iter().map(|setting| (*setting).to_owned()).collect();
        // Somebody else may take the port between the choice and the start.
        for _ in 0..5 {
            let instance =
                Self { folder: folder.clone(), port: free_port(), account, more: more.clone(), process: None.into() };
            if instance.launch() {
                instance.try_sql("postgres", guided(0)).expect("make the roles");
                return instance;
            }
        }
        panic!("PostgreSQL does not start: {}", std::fs::read_to_string(folder.join("log")).unwrap_or_default());
    }

    fn launch(&self) -> bool {
        let mut command = Command::new(program("postgres"));
        command.arg("-D").arg(self.folder.join("data"));
        let port = format!("port={}", self.port);
        let settings = [
            port.as_str(),
            MAX_CONNECTIONS,
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "fsync=on",
            "shared_buffers=64MB",
            // Inside the data folder, so that nothing is left in /dev/shm.
            "dynamic_shared_memory_type=mmap",
            "log_min_messages=warning",
        ];
        for setting in settings.into_iter().chain(self.more.iter().map(String::as_str)) {
            command.args(["-c", setting]);
        }
        run_as(&mut command, self.account, &self.folder);
        // SIGQUIT is PostgreSQL's immediate shutdown: it ends its children too.
        let mut server = Process::spawn("postgres", command, &self.folder.join("log"), libc::SIGQUIT);
        let deadline = Instant::now() + START_LIMIT;
        while server.exited().is_none() && Instant::now() < deadline {
            if process::is_listening(self.port) && self.try_sql("postgres", "SELECT 1").is_ok() {
                *process::lock(&self.process) = Some(server);
                return true;
            }
            std::thread::sleep(process::POLL);
        }
        false
    }

    /// A fresh, empty database, dropped with the value returned.
    pub fn create_database(self: &Arc<Self>) -> Database {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.try_sql("postgres", &format!("CREATE DATABASE {name} OWNER {OWNS}")).expect("create a database");
        Database { name, instance: self.clone() }
    }

    /// A fresh database, made to the letter of the guide for operators.
    pub fn create_guided_database(self: &Arc<Self>) -> Database {
        self.try_sql("postgres", guided(1)).expect("create the database");
        Database { name: "carillon".into(), instance: self.clone() }
    }

    fn url(&self, role: &str, port: u16, database: &str) -> String {
        format!("postgres://{role}:{PASSWORD}@127.0.0.1:{port}/{database}")
    }

    /// Stops it as a power cut would: connections break, recovery at the next start.
    pub fn stop_immediate(&self) {
        if let Some(mut server) = process::lock(&self.process).take() {
            server.end();
        }
    }

    /// Starts it again on the same files and port, and waits until it answers.
    pub fn start_again(&self) {
        assert!(self.launch(), "PostgreSQL comes back");
    }

    /// Freezes the postmaster alone: new connections are not answered, open ones go on.
    pub fn pause(&self) {
        self.signal(libc::SIGSTOP);
    }

    /// Ends the pause.
    pub fn resume(&self) {
        self.signal(libc::SIGCONT);
    }

    fn signal(&self, signal: i32) {
        process::lock(&self.process).as_ref().expect("PostgreSQL runs").signal(signal);
    }

    /// Runs statements on a connection of their own; the rows of the last one, as text.
    pub fn try_sql(&self, database: &str, sql: &str) -> Result<Vec<Vec<Option<String>>>, tokio_postgres::Error> {
        let url = self.url(SUPERUSER, self.port, database);
        // A thread with a runtime of its own, so that tests and destructors may call this from within theirs.
        std::thread::scope(|scope| {
            let work = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                runtime.block_on(async {
                    let (client, connection) = tokio_postgres::connect(&url, NoTls).await?;
                    let driver = tokio::spawn(connection);
                    let messages = client.simple_query(sql).await;
                    drop(client);
                    let _ = driver.await;
                    Ok(messages?.iter().filter_map(as_text).collect())
                })
            });
            work.join().expect("the SQL thread ends")
        })
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.stop_immediate();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The SQL of the guide, by its number from 0.
fn guided(number: usize) -> &'static str {
    let block = GUIDE.split("```sql\n").nth(number + 1).expect("a block of SQL in the guide");
    block.split("```").next().expect("its end")
}

fn as_text(message: &tokio_postgres::SimpleQueryMessage) -> Option<Vec<Option<String>>> {
    match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|i| row.get(i).map(str::to_owned)).collect())
        }
        _ => None,
    }
}

/// One database of one test.
pub struct Database {
    name: String,
    instance: Arc<Instance>,
}

impl Database {
    /// A fresh database in the shared PostgreSQL.
    pub fn create() -> Self {
        SHARED.create_database()
    }

    /// The address as `DATABASE_URL` wants it: of the role that serves.
    pub fn url(&self) -> String {
        self.url_at(self.port())
    }

    /// The same by way of a proxy on this port.
    pub fn url_at(&self, port: u16) -> String {
        self.instance.url(SERVES, port, &self.name)
    }

    /// The address as `CARILLON_MIGRATION_DATABASE_URL` wants it: of the role that owns the tables.
    pub fn owner_url(&self) -> String {
        self.owner_url_at(self.port())
    }

    /// The same by way of a proxy on this port.
    pub fn owner_url_at(&self, port: u16) -> String {
        self.instance.url(OWNS, port, &self.name)
    }

    /// For tests that meddle over a connection of their own.
    pub fn superuser_url(&self) -> String {
        self.instance.url(SUPERUSER, self.port(), &self.name)
    }

    /// The port of its server.
    pub fn port(&self) -> u16 {
        self.instance.port
    }

    /// Runs statements; the rows of the last one, as text.
    pub fn sql(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        self.instance.try_sql(&self.name, sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"))
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // A test that stopped its instance has nothing to drop; the folder goes with the instance.
        let _ = self.instance.try_sql("postgres", &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
    }
}

/// The user to run as, when the tests run as root.
fn unprivileged_account() -> Option<(u32, u32)> {
    // SAFETY: asks the kernel for a number.
    if unsafe { libc::geteuid() } != 0 {
        return None;
    }
    let accounts = std::fs::read_to_string("/etc/passwd").expect("read /etc/passwd");
    let find = |name: &str| {
        accounts.lines().map(|line| line.split(':').collect::<Vec<_>>()).find_map(|fields| match fields[..] {
            [user, _, uid, gid, ..] if user == name => Some((uid.parse().ok()?, gid.parse().ok()?)),
            _ => None,
        })
    };
    Some(find("postgres").or_else(|| find("nobody")).expect("a user `postgres` or `nobody` to run PostgreSQL as"))
}

fn run_as(command: &mut Command, account: Option<(u32, u32)>, folder: &Path) {
    if let Some((uid, gid)) = account {
        command.uid(uid).gid(gid);
    }
    // The environment may name another server, the working folder may be closed to the other user.
    command.current_dir(folder).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
}

/// A server program, from PATH or where Debian keeps it: the newest version there.
fn program(name: &str) -> PathBuf {
    let on_path = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .map(|dir| dir.join(name))
        .find(|p| p.exists());
    let packaged = || {
        let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
        let newest = versions.flatten().max_by_key(|v| v.file_name().to_string_lossy().parse::<u32>().unwrap_or(0))?;
        Some(newest.path().join("bin").join(name)).filter(|p| p.exists())
    };
    on_path
        .or_else(packaged)
        .unwrap_or_else(|| panic!("{name} is not installed; `tests/run` installs it (Debian: postgresql)"))
}
