//! A private Prometheus (Debian's package) that reads nodes every second, with the alerts of `deploy/`; its questions by
//! its HTTP API. Ended when dropped or at the end of the test process.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::process::{self, Process, free_port};

/// From start to ready, on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How often a state that can only be asked for is asked for; Prometheus learns something new once a second.
const AGAIN: Duration = Duration::from_millis(200);

/// A file of the repository.
pub fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// See the module.
pub struct Prometheus {
    folder: PathBuf,
    port: u16,
    client: reqwest::Client,
    process: Process,
}

impl Prometheus {
    /// One that reads these nodes as the job `carillon`, with these alerts.
    pub async fn start(nodes: &[SocketAddr], alerts: &Path) -> Self {
        let folder = process::new_folder("prometheus");
        let targets: Vec<String> = nodes.iter().map(|node| format!("\"{node}\"")).collect();
        let config = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\nrule_files: [{}]\n\
             scrape_configs:\n- job_name: carillon\n  static_configs: [{{targets: [{}]}}]\n",
            alerts.display(),
            targets.join(", "),
        );
        std::fs::write(folder.join("prometheus.yml"), config).expect("write Prometheus' configuration");
        let port = free_port();
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", folder.join("prometheus.yml").display()));
        command.arg(format!("--storage.tsdb.path={}", folder.join("data").display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}")).arg("--log.level=warn");
        let process = Process::spawn("prometheus", command, &folder.join("log"), libc::SIGKILL);
        let client = reqwest::Client::builder().timeout(Duration::from_secs(30)).no_proxy().build();
        let mut prometheus = Self { folder, port, client: client.expect("an HTTP client"), process };
        let deadline = Instant::now() + START_LIMIT;
        while !prometheus.is_ready().await {
            assert!(prometheus.process.exited().is_none(), "prometheus ended: {}", prometheus.log());
            assert!(Instant::now() < deadline, "prometheus is not ready: {}", prometheus.log());
            tokio::time::sleep(AGAIN).await;
        }
        prometheus
    }

    async fn is_ready(&self) -> bool {
        let answer = self.client.get(format!("http://127.0.0.1:{}/-/ready", self.port)).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    /// What it has logged: trouble only.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// The data of an answer of its API, or what it says is wrong.
    async fn ask(&self, path: &str, form: String) -> Result<Value, String> {
        let request = self.client.post(format!("http://127.0.0.1:{}/api/v1/{path}", self.port));
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(form);
        let answer: Value = request.send().await.expect("Prometheus answers").json().await.expect("in JSON");
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"].clone()),
            _ => Err(answer["error"].to_string()),
        }
    }

    /// The series that an expression yields now.
    pub async fn query(&self, expression: &str) -> Result<Vec<Value>, String> {
        let data = self.ask("query", format!("query={}", encoded(expression))).await?;
        Ok(data["result"].as_array().cloned().unwrap_or_default())
    }

    /// The one number that an expression yields; 0 if it yields none.
    pub async fn number(&self, expression: &str) -> f64 {
        let series = self.query(expression).await.unwrap_or_else(|error| panic!("{expression}: {error}"));
        assert!(series.len() <= 1, "{expression} yields {series:?}");
        series.first().and_then(|one| one["value"][1].as_str()?.parse().ok()).unwrap_or(0.0)
    }

    /// Waits until a number is at least this.
    pub async fn expect_at_least(&self, expression: &str, least: f64, limit: Duration) {
        let deadline = Instant::now() + limit;
        loop {
            let found = self.number(expression).await;
            if found >= least {
                return;
            }
            assert!(Instant::now() < deadline, "{expression} is {found}, not {least}, after {limit:?}: {}", self.log());
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Every rule, once all have been evaluated.
    pub async fn rules(&self, limit: Duration) -> Vec<Value> {
        let deadline = Instant::now() + limit;
        loop {
            let answer = self.client.get(format!("http://127.0.0.1:{}/api/v1/rules", self.port)).send().await;
            let answer: Value = answer.expect("Prometheus answers").json().await.expect("in JSON");
            let groups = answer["data"]["groups"].as_array().cloned().unwrap_or_default();
            let rules: Vec<Value> =
                groups.iter().flat_map(|g| g["rules"].as_array().cloned().unwrap_or_default()).collect();
            if !rules.is_empty() && rules.iter().all(|rule| rule["health"] != "unknown") {
                return rules;
            }
            assert!(Instant::now() < deadline, "rules are not evaluated after {limit:?}: {rules:#?}");
            tokio::time::sleep(AGAIN).await;
        }
    }
}

/// Runs promtool; what it said if it is not content.
pub fn promtool(arguments: &[&str]) -> Result<String, String> {
    let output =
        Command::new("promtool").args(arguments).output().expect("promtool runs (Debian's package prometheus)");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() { Ok(said) } else { Err(said) }
}

fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric();
    let one = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(one).collect()
}
