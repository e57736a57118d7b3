//! `carillon doctor` against real servers: all well, then one thing wrong at a time, each named in words of its own.
//!
//! Every run is searched for secrets, and must end within its time, whatever is wrong.

mod bus;
mod database;
mod machine;
mod media;
mod well;

use std::{
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use carillon::{secret::Secret, store::migrate};
use serde_json::Value;

use crate::support::{
    node::command,
    postgres::{self, Database, Instance},
    redis,
};

const JWT_SECRET: &str = "canary-doctor-jwt-secret-of-enough-bytes";
const SERVICE_KEY: &str = "canary-doctor-service-key-of-enough-bytes";
pub const TURN_SECRET: &str = "canary-doctor-turn-secret";
/// The doctor's own limit is 20 s; more is a machine that is busy with other tests.
const LIMIT: Duration = Duration::from_secs(60);

/// Settings of a node, to be made worse.
#[derive(Clone)]
struct Scene {
    settings: Vec<(String, String)>,
    secrets: Vec<String>,
}

impl Scene {
    /// One node on SQLite, in a folder of its own.
    fn embedded() -> Self {
        let folder = crate::support::process::new_folder("doctor");
        let url = format!("sqlite:{}", folder.join("carillon.db").display());
        Self::new().set("DATABASE_URL", url)
    }

    /// On PostgreSQL and the shared Redis.
    fn on(database: &Database) -> Self {
        Self::new()
            .set("DATABASE_URL", database.url())
            .set("CARILLON_MIGRATION_DATABASE_URL", database.owner_url())
            .set("REDIS_URL", redis::shared().url())
            .set("CARILLON_CLUSTER", format!("doctor-{:016x}", rand::random::<u64>()))
    }

    fn new() -> Self {
        let secrets = [JWT_SECRET, SERVICE_KEY, TURN_SECRET, postgres::PASSWORD];
        let scene = Self { settings: Vec::new(), secrets: secrets.map(str::to_owned).to_vec() };
        scene
            .set("CARILLON_JWT_SECRET", JWT_SECRET)
            .set("CARILLON_SERVICE_KEY", SERVICE_KEY)
            .set("CARILLON_RATE_LIMITS", "on")
    }

    /// The later of two counts.
    fn set(mut self, name: &str, value: impl ToString) -> Self {
        self.settings.push((name.to_owned(), value.to_string()));
        self
    }

    /// What may stand nowhere.
    fn forbidding(mut self, secret: &str) -> Self {
        self.secrets.push(secret.to_owned());
        self
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let arguments: Vec<_> = ["doctor"].iter().chain(arguments).copied().collect();
        command(&arguments, &self.settings)
    }

    /// Examines, and reads what is said.
    fn examine(&self) -> Examined {
        self.examined(self.command(&["--json"]))
    }

    fn examined(&self, command: Command) -> Examined {
        let (code, said, complaints) = self.run(command);
        let report = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}\n{complaints}"));
        Examined { code, report }
    }

    /// Exit code, standard output and standard error, without a secret in them.
    fn run(&self, mut command: Command) -> (i32, String, String) {
        let began = Instant::now();
        let output = command.output().expect("run carillon doctor");
        assert!(began.elapsed() < LIMIT, "took {:?}", began.elapsed());
        let [said, complaints] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("UTF-8"));
        for secret in &self.secrets {
            assert!(!said.contains(secret) && !complaints.contains(secret), "{secret} in {said}\n{complaints}");
        }
        assert!(!complaints.contains("panicked"), "{complaints}");
        (output.status.code().expect("it ends by itself"), said, complaints)
    }
}

/// What was said.
#[derive(Debug)]
struct Examined {
    code: i32,
    report: Value,
}

impl Examined {
    /// Every finding of this name.
    fn all(&self, name: &str) -> Vec<&Value> {
        let checks = self.report["checks"].as_array().expect("checks");
        checks.iter().filter(|check| check["name"] == name).collect()
    }

    /// The verdict of the only check of this name.
    fn verdict(&self, name: &str) -> &str {
        let [check] = self.all(name)[..] else { panic!("one check {name} in {:#}", self.report) };
        check["verdict"].as_str().expect("a verdict")
    }

    /// A check of this name has this verdict and says this, with advice in these words unless it is well.
    fn says(&self, verdict: &str, name: &str, seen: &str, mend: &str) -> &Self {
        let fits = |check: &&&Value| {
            let text = |field: &str| check[field].as_str().unwrap_or_default().to_owned();
            check["verdict"] == verdict && text("seen").contains(seen) && text("mend").contains(mend)
        };
        let found = self.all(name);
        assert!(found.iter().any(|check| fits(&check)), "{verdict} {name} {seen:?} {mend:?} in {:#}", self.report);
        self
    }

    /// That is wrong.
    fn is_wrong(&self, name: &str, seen: &str, mend: &str) -> &Self {
        assert_eq!(self.code, 1, "{:#}", self.report);
        assert_eq!(self.report["verdict"], "wrong");
        self.says("wrong", name, seen, mend)
    }

    /// That is a warning, and nothing else is wrong.
    fn warns(&self, name: &str, seen: &str, mend: &str) -> &Self {
        self.nothing_wrong().says("warning", name, seen, mend)
    }

    fn nothing_wrong(&self) -> &Self {
        assert_eq!(self.code, 0, "{:#}", self.report);
        self
    }

    /// Names of what is wrong, each once.
    fn wrong(&self) -> Vec<&str> {
        let checks = self.report["checks"].as_array().expect("checks");
        let mut names: Vec<_> =
            checks.iter().filter(|check| check["verdict"] == "wrong").filter_map(|c| c["name"].as_str()).collect();
        names.dedup();
        names
    }
}

/// A database with the tables of this program.
async fn migrated() -> Database {
    migrated_in(Database::create()).await
}

async fn migrated_in(database: Database) -> Database {
    let (serves, owns) = (Secret::new(database.url()), Secret::new(database.owner_url()));
    migrate(&serves, Some(&owns)).await.expect("migrate");
    database
}

/// A server of the test's own, with a database on it.
async fn own_server() -> (Arc<Instance>, Database) {
    let instance = Arc::new(Instance::start());
    let database = migrated_in(instance.create_database()).await;
    (instance, database)
}
