//! The same files in a bucket, on an S3 server that checks signatures (versitygw).

use std::{io::Write, path::PathBuf, process::Command, time::Instant};

use serde_json::json;

use super::{PATIENCE, SELDOM, name_of, record, talk_on_server, tell};
use crate::{
    support::{
        TestCluster,
        livekit::{self, Instance},
        process::{self, Process, free_port, is_listening},
    },
    sweepers::carillon_sweep,
};

pub const KEY: &str = "carillon-tests";
pub const S3_SECRET: &str = "canary-s3-secret-of-32-bytes-long";

/// A private S3 server with one bucket, which is a folder.
pub struct S3 {
    pub port: u16,
    pub bucket: PathBuf,
    _process: Process,
}

impl S3 {
    /// `VERSITYGW_PROGRAM`, or `versitygw` from PATH or from target/tools/bin. Without one the test says so and passes; with
    /// `CI=true` it fails.
    pub async fn start() -> Option<Self> {
        let given =
            std::env::var_os("VERSITYGW_PROGRAM").map(PathBuf::from).filter(|path| !path.as_os_str().is_empty());
        let path = std::env::var_os("PATH").unwrap_or_default();
        let built = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/bin"));
        let mut places = std::env::split_paths(&path).chain([built]).map(|folder| folder.join("versitygw"));
        let Some(program) = given.or_else(|| places.find(|file| file.is_file())) else {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "no versitygw, and CI=true");
            let test = std::thread::current().name().unwrap_or("a test").to_owned();
            // Read by tests/run; written so that it is not kept back with what a test that passes prints.
            let _ = writeln!(std::io::stderr(), "\nnot run, no versitygw: {test}");
            return None;
        };
        let folder = process::new_folder("s3");
        let (bucket, beside, port) = (folder.join("root/recordings"), folder.join("beside"), free_port());
        std::fs::create_dir_all(&bucket).unwrap();
        std::fs::create_dir_all(&beside).unwrap();
        let mut command = Command::new(program);
        command.env("ROOT_ACCESS_KEY", KEY).env("ROOT_SECRET_KEY", S3_SECRET);
        command.arg("--port").arg(format!("127.0.0.1:{port}"));
        // Attributes beside the files: not every file system keeps them.
        command.arg("posix").arg("--sidecar").arg(&beside).arg(folder.join("root"));
        let process = Process::spawn("versitygw", command, &folder.join("log"), libc::SIGKILL);
        let deadline = Instant::now() + PATIENCE;
        while !is_listening(port) {
            assert!(Instant::now() < deadline, "versitygw does not listen");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        Some(Self { port, bucket, _process: process })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_in_a_bucket_is_seen_sent_by_range_and_deleted() {
    let Some(program) = livekit::program() else { return };
    let Some(s3) = S3::start().await else { return };
    let livekit = Instance::start(program).await;
    let settings = |redirect: &str| {
        TestCluster::two_nodes()
            .with_livekit(&livekit)
            .set("RECORDINGS_S3_BUCKET", "recordings")
            .set("RECORDINGS_S3_ENDPOINT", format!("http://127.0.0.1:{}", s3.port))
            .set("RECORDINGS_S3_ACCESS_KEY", KEY)
            .set("RECORDINGS_S3_SECRET_KEY", S3_SECRET)
            .set("RECORDINGS_S3_PREFIX", "calls/")
            .set("RECORDINGS_S3_REDIRECT", redirect)
            .set(SELDOM.0, SELDOM.1)
            .forbidding(S3_SECRET)
    };
    for redirect in ["off", "on"] {
        let cluster = settings(redirect).start().await;
        let alice = cluster.connect(0, "alice", "laptop").await;
        let bob = cluster.connect(1, "bob", "phone").await;
        let call = talk_on_server(&alice, &bob).await;
        let recording = record(&alice, &call, json!({})).await;
        let key = format!("calls/{}", name_of(&recording));
        std::fs::create_dir_all(s3.bucket.join("calls")).unwrap();
        std::fs::write(s3.bucket.join(&key), b"0123456789").unwrap();
        assert!(tell(&cluster, &livekit.api_secret, &call, &key, "egress_ended", "EGRESS_COMPLETE", "EG_1").await.ok());
        let ready =
            bob.expect_within(PATIENCE, "recording:ready", |data| data["recordingId"] == recording.as_str()).await;
        assert_eq!(ready.data["sizeBytes"], json!(10));

        let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let path = format!("/api/v1/recordings/{recording}/download");
        let url = format!("http://{}{path}", cluster.node(1).address);
        let ask = client.get(url).bearer_auth(cluster.token("bob")).header("range", "bytes=2-4");
        let mut answer = ask.send().await.unwrap();
        if redirect == "on" {
            assert_eq!(answer.status(), 307);
            let elsewhere = answer.headers()["location"].to_str().unwrap().to_owned();
            assert!(elsewhere.contains("X-Amz-Signature="), "{elsewhere}");
            answer = client.get(&elsewhere).header("range", "bytes=2-4").send().await.unwrap();
            let forged = client.get(elsewhere.replace("X-Amz-Expires=", "X-Amz-Expires=9")).send().await.unwrap();
            assert_eq!(forged.status(), 403, "the server looks at signatures");
        }
        assert_eq!((answer.status().as_u16(), answer.text().await.unwrap()), (206, "234".to_owned()));

        let expire = format!(
            "UPDATE recordings SET expires_at = now() - interval '1 hour', version = version + 1 WHERE id = '{recording}'"
        );
        cluster.database().unwrap().sql(&expire);
        let swept = carillon_sweep(&cluster, &["expired_recordings"]).await;
        assert!(swept.ended("done; found 1, acted 1, failed 0"), "{swept:?}");
        assert!(!s3.bucket.join(&key).exists());
    }
}
