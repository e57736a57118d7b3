//! Recordings, from the wish to the end of the file. LiveKit's part is played by signed webhooks as its egress would send
//! them and by files put where egress would put them; where a real livekit-server answers, a test says so.

#[cfg(feature = "failpoints")]
mod crashes;
mod downloads;
mod from_peers;
mod lifecycle;
mod lists;
pub mod s3;
mod server;
mod sweeps;
mod told;

use std::{path::PathBuf, time::Duration};

use serde_json::{Value, json};

use crate::{
    media_webhooks,
    support::{
        TestClient, TestCluster,
        cluster::ClusterBuilder,
        http::Answer,
        livekit::{self, Instance},
        moves::id_of,
        process,
    },
};

/// What must come, comes within it, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);
/// No sweep by itself while a test runs.
const SELDOM: (&str, u64) = ("CARILLON_SWEEP_INTERVAL_SECS", 3600);

/// A cluster that records into a directory.
struct Studio {
    cluster: TestCluster,
    folder: PathBuf,
    secret: String,
    /// Ends with it.
    livekit: Option<Instance>,
}

impl Studio {
    /// With a LiveKit of its own, which has no egress; `None`: there is no livekit-server to be had.
    async fn open(builder: ClusterBuilder) -> Option<Self> {
        let livekit = Instance::start(livekit::program()?).await;
        let mut studio = Self::with(builder.with_livekit(&livekit), &livekit.api_secret).await;
        studio.livekit = Some(livekit);
        Some(studio)
    }

    /// With the LiveKit that the builder names.
    async fn with(builder: ClusterBuilder, secret: &str) -> Self {
        let folder = process::new_folder("recordings");
        let cluster = builder.set("RECORDINGS_DIR", folder.display()).set(SELDOM.0, SELDOM.1).start().await;
        Self { cluster, folder, secret: secret.to_owned(), livekit: None }
    }

    /// alice and bob in a call on the media server.
    async fn talk(&self) -> (TestClient, TestClient, String) {
        let alice = self.cluster.connect(0, "alice", "laptop").await;
        let bob = self.cluster.connect(self.cluster.size() - 1, "bob", "phone").await;
        let call = talk_on_server(&alice, &bob).await;
        (alice, bob, call)
    }

    /// Where egress was told to put it.
    fn file(&self, recording: &str) -> PathBuf {
        self.folder.join(name_of(recording))
    }

    /// LiveKit tells how far the egress of a recording is.
    async fn tell(&self, call: &str, recording: &str, kind: &str, status: &str) -> Answer {
        let path = self.file(recording).display().to_string();
        tell(&self.cluster, &self.secret, call, &path, kind, status, "EG_1").await
    }

    /// The same by way of the first node, which may die of it; whether it has answered.
    #[cfg(feature = "failpoints")]
    async fn tell_to_death(&self, call: &str, recording: &str, kind: &str, status: &str) -> bool {
        let (path, id) = (self.file(recording).display().to_string(), event_id());
        let event = egress_event(call, &path, kind, status, "EG_1");
        media_webhooks::tell_to_death(&self.cluster, 0, &self.secret, &id, event).await
    }

    /// How often LiveKit was asked for an egress, by nodes that may be dead by now.
    fn egresses_asked_for(&self) -> usize {
        (0..self.cluster.size()).map(|node| self.cluster.node(node).logged("egress asked for").len()).sum()
    }

    /// A recording that is there, with this as its file.
    async fn recorded(&self, contents: &[u8]) -> (TestClient, TestClient, String, String) {
        let (alice, bob, call) = self.talk().await;
        let recording = record(&alice, &call, json!({})).await;
        assert!(self.tell(&call, &recording, "egress_started", "EGRESS_ACTIVE").await.ok());
        std::fs::write(self.file(&recording), contents).unwrap();
        assert!(self.tell(&call, &recording, "egress_ended", "EGRESS_COMPLETE").await.ok());
        alice.expect_within(PATIENCE, "recording:ready", |data| data["recordingId"] == recording.as_str()).await;
        (alice, bob, call, recording)
    }

    async fn get(&self, user: &str, path: &str) -> Answer {
        self.cluster.rest(0, user).request("GET", path, None).await
    }

    /// The recording as this user sees it.
    async fn recording(&self, user: &str, recording: &str) -> Value {
        let answer = self.get(user, &format!("/api/v1/recordings/{recording}")).await;
        assert!(answer.ok(), "{answer:?}");
        answer.body["recording"].clone()
    }

    /// The address of the first node.
    fn address(&self) -> String {
        format!("http://{}", self.cluster.node(0).address)
    }
}

/// The name of the file of a recording's first attempt.
fn name_of(recording: &str) -> String {
    format!("{recording}-1.mp4")
}

async fn talk_on_server(alice: &TestClient, bob: &TestClient) -> String {
    let start = json!({"calleeIds": ["bob"], "type": "video", "mode": "sfu"});
    let call = id_of(&alice.must("call:start", start).await);
    bob.expect_of("call:incoming", &call).await;
    bob.act("call:accept", &call).await;
    alice.expect_of("call:accepted", &call).await;
    call
}

/// Begins a recording; its id.
async fn record(client: &TestClient, call: &str, mut wish: Value) -> String {
    wish["callId"] = json!(call);
    let reply = client.must("recording:start", wish).await;
    reply["recording"]["recordingId"].as_str().unwrap_or_else(|| panic!("{reply}")).to_owned()
}

/// LiveKit tells of an egress that writes to `path`.
async fn tell(
    cluster: &TestCluster,
    secret: &str,
    call: &str,
    path: &str,
    kind: &str,
    status: &str,
    egress: &str,
) -> Answer {
    media_webhooks::tell(cluster, 0, secret, &event_id(), egress_event(call, path, kind, status, egress)).await
}

fn event_id() -> String {
    format!("EV_{:032x}", rand::random::<u128>())
}

fn egress_event(call: &str, path: &str, kind: &str, status: &str, egress: &str) -> Value {
    let info = json!({
        "egressId": egress, "roomName": call, "status": status,
        "roomComposite": {"roomName": call, "layout": "grid", "fileOutputs": [{"filepath": path}]},
    });
    json!({"event": kind, "egressInfo": info})
}
