//! A real nginx in front of nodes, with the configuration that is shipped.
//!
//! Owns the rendering: the shipped file with other addresses and paths, and nothing else changed. Each replacement must
//! find its text, so that the file cannot drift away from what is tested.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::support::{
    TestCluster,
    http::Http,
    node::Realm,
    process::{self, Process, free_port},
};

const SHIPPED: &str = "deploy/nginx/nginx.conf";

/// From start to the first answer.
const START_LIMIT: Duration = Duration::from_secs(20);

/// A balancer, ended when dropped.
pub struct Nginx {
    pub address: SocketAddr,
    folder: PathBuf,
    _process: Process,
}

impl Nginx {
    /// Starts it in front of a cluster of two.
    pub async fn start(cluster: &TestCluster) -> Self {
        assert_eq!(cluster.size(), 2, "the shipped file names two nodes");
        let nodes = [cluster.node(0).address, cluster.node(1).address];
        let folder = process::new_folder("nginx");
        for _ in 0..5 {
            if let Some(nginx) = Self::launch(&folder, nodes, cluster.realm()).await {
                return nginx;
            }
        }
        panic!("nginx does not start: {}", std::fs::read_to_string(folder.join("log")).unwrap_or_default());
    }

    async fn launch(folder: &Path, nodes: [SocketAddr; 2], realm: &Arc<Realm>) -> Option<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let file = folder.join("nginx.conf");
        std::fs::write(&file, rendered(folder, address, nodes)).expect("write the configuration");
        let mut command = Command::new(program());
        command.arg("-c").arg(&file).arg("-p").arg(folder).args(["-e", "stderr", "-g", "daemon off;"]);
        let mut process = Process::spawn("nginx", command, &folder.join("log"), libc::SIGTERM);
        let http = Http::new(address, realm.clone());
        let deadline = Instant::now() + START_LIMIT;
        while process.exited().is_none() && Instant::now() < deadline {
            if http.status("/-/healthy").await == Some(204) {
                return Some(Self { address, folder: folder.to_owned(), _process: process });
            }
            tokio::time::sleep(process::POLL).await;
        }
        None
    }

    /// The address of the WebSocket behind it.
    pub fn ws_url(&self) -> String {
        format!("ws://{}/ws", self.address)
    }

    /// What it has logged so far, requests included.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

/// Debian keeps it where only root's PATH leads.
fn program() -> &'static str {
    if Path::new("/usr/sbin/nginx").exists() { "/usr/sbin/nginx" } else { "nginx" }
}

fn rendered(folder: &Path, address: SocketAddr, nodes: [SocketAddr; 2]) -> String {
    let shipped = std::fs::read_to_string(SHIPPED).expect("read the shipped configuration");
    let replacements = [
        ("worker_processes auto;", "worker_processes 2;".to_owned()),
        ("listen 8080;", format!("listen {address};")),
        ("server carillon-1:8080 ", format!("server {} ", nodes[0])),
        ("server carillon-2:8080 ", format!("server {} ", nodes[1])),
    ];
    let mut text = shipped;
    for (from, to) in replacements {
        assert_eq!(text.matches(from).count(), 1, "{from:?} in {SHIPPED}");
        text = text.replace(from, &to);
    }
    let folder = folder.to_str().expect("a path in UTF-8");
    assert!(text.matches(" /tmp/").count() > 1, "{SHIPPED} writes below /tmp");
    // As root, nginx would become nobody, who may not write into the folder.
    let user = if is_root() { "user root;\n" } else { "" };
    format!("{user}{}", text.replace(" /tmp/", &format!(" {folder}/")))
}

fn is_root() -> bool {
    // SAFETY: asks for a number.
    unsafe { libc::geteuid() == 0 }
}
