//! In place of LiveKit, for what a real one says only of people who send media: who is joined, and what they send. It
//! answers requests as LiveKit's API does (Twirp: protocol buffers over HTTP) and keeps what it was asked.

use std::{
    sync::{Arc, Mutex},
    time::Instant,
};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{PATIENCE, asked_in, expect};
use crate::support::{TestCluster, moves::id_of, process::lock};

/// See the module.
#[derive(Clone, Default)]
struct FakeLiveKit(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Identities whose media flow, each with a microphone and a camera on.
    joined: Vec<String>,
    /// The method and the body of each request, as text as far as it is some.
    asked: Vec<(String, String)>,
}

impl FakeLiveKit {
    async fn start() -> (Self, u16) {
        let fake = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = fake.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        (fake, port)
    }

    /// One request of a connection.
    async fn serve(self, mut stream: TcpStream) {
        let mut read = Vec::new();
        let (head, length) = loop {
            let mut chunk = [0; 4096];
            let Ok(more @ 1..) = stream.read(&mut chunk).await else { return };
            read.extend_from_slice(&chunk[..more]);
            let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            let head = String::from_utf8_lossy(&read[..end]).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            let length: usize = length.unwrap_or(0);
            if read.len() >= end + 4 + length {
                break (String::from_utf8_lossy(&read[..end]).into_owned(), end + 4);
            }
        };
        let path = head.split(' ').nth(1).unwrap_or_default();
        let method = path.rsplit('/').next().unwrap_or_default().to_owned();
        let answer = self.answer(&method);
        lock(&self.0).asked.push((method, String::from_utf8_lossy(&read[length..]).into_owned()));
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/protobuf\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            answer.len()
        );
        let _ = stream.write_all(&[head.as_bytes(), &answer].concat()).await;
    }

    /// Of most messages the empty one will do.
    fn answer(&self, method: &str) -> Vec<u8> {
        if method != "ListParticipants" {
            return Vec::new();
        }
        let (active, camera, microphone) = (2, 1, 2);
        let track = |identity: &str, source: u8| {
            let sid = format!("TR_{identity}_{source}");
            [bytes(1, sid.as_bytes()), number(9, source)].concat()
        };
        let participant = |identity: &String| {
            let tracks = [microphone, camera].map(|source| bytes(4, &track(identity, source))).concat();
            [bytes(2, identity.as_bytes()), number(3, active), tracks].concat()
        };
        lock(&self.0).joined.iter().flat_map(|identity| bytes(1, &participant(identity))).collect()
    }

    fn joins(&self, identity: &str) {
        lock(&self.0).joined.push(identity.to_owned());
    }

    /// Waits for a request whose body holds this.
    async fn until_asked(&self, method: &str, with: &[&str]) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let fits =
                |(asked, body): &&(String, String)| asked == method && with.iter().all(|part| body.contains(part));
            if let Some((_, body)) = lock(&self.0).asked.iter().find(fits) {
                return body.clone();
            }
            assert!(Instant::now() < deadline, "no {method} with {with:?}: {:?}", lock(&self.0).asked);
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    fn count(&self, method: &str, with: &str) -> usize {
        lock(&self.0).asked.iter().filter(|(asked, body)| asked == method && body.contains(with)).count()
    }
}

/// A field of bytes, shorter than 128.
fn bytes(field: u8, value: &[u8]) -> Vec<u8> {
    let length = u8::try_from(value.len()).ok().filter(|length| *length < 128).expect("a short field");
    [&[field << 3 | 2, length], value].concat()
}

fn number(field: u8, value: u8) -> Vec<u8> {
    vec![field << 3, value]
}

async fn cluster(port: u16) -> TestCluster {
    let settings = TestCluster::embedded().set("LIVEKIT_URL", format!("ws://127.0.0.1:{port}"));
    settings.set("LIVEKIT_API_KEY", "key").set("LIVEKIT_API_SECRET", "canary-livekit-secret-of-32-bytes").start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_in_the_room_is_found_there_when_every_webhook_is_lost() {
    let (fake, port) = FakeLiveKit::start().await;
    let cluster = cluster(port).await;
    let (alice, bob) = (cluster.connect(0, "alice", "phone").await, cluster.connect(0, "bob", "phone").await);
    let call = alice.call_through(&bob).await;
    alice.act("call:escalate", &call).await;
    asked_in(&alice, &call).await;
    fake.until_asked("CreateRoom", &[&call]).await;
    fake.joins("alice#phone");
    fake.joins("mallory#phone");
    let there = |e: &serde_json::Value| e["userId"] == "alice" && e["changes"]["inRoom"] == true;
    bob.expect_within(PATIENCE, "call:participant_updated", there).await;
    fake.until_asked("RemoveParticipant", &["mallory#phone"]).await;
    fake.joins("bob#phone");
    for side in [&alice, &bob] {
        expect(side, "call:escalated", &call).await;
    }
    alice.act("call:end", &call).await;
    fake.until_asked("DeleteRoom", &[&call]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mute_and_what_a_role_may_do_are_the_media_servers_to_enforce() {
    let (fake, port) = FakeLiveKit::start().await;
    let cluster = cluster(port).await;
    let (alice, bob) = (cluster.connect(0, "alice", "phone").await, cluster.connect(0, "bob", "phone").await);
    fake.joins("alice#phone");
    fake.joins("bob#phone");
    let call = id_of(&alice.must("call:start", json!({"calleeIds": ["bob"], "mode": "sfu"})).await);
    bob.expect_of("call:incoming", &call).await;
    bob.act("call:accept", &call).await;
    bob.expect_within(PATIENCE, "call:state", |e| e["status"] == "active").await;
    bob.must("call:media", json!({"callId": call, "audio": true, "video": true})).await;
    alice.must("call:mute", json!({"callId": call, "userId": "bob", "track": "audio"})).await;
    fake.until_asked("MutePublishedTrack", &["bob#phone", "TR_bob#phone_2"]).await;
    alice.must("call:role", json!({"callId": call, "userId": "bob", "role": "cohost"})).await;
    fake.until_asked("UpdateParticipant", &["bob#phone"]).await;
    assert_eq!(fake.count("MutePublishedTrack", "TR_bob#phone_1"), 0, "his camera stays on");
    assert_eq!(fake.count("MutePublishedTrack", "alice"), 0);
}
