//! ICE servers: what a node gives its users is taken by a real coturn, and by nobody else's name or time.

use std::time::{Duration, Instant};

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha1::Sha1;

use crate::support::{
    TestCluster,
    coturn::{self, Credential},
};

const SECRET: &str = "canary-turn-secret-5b1e0c";
/// What the tests' relays need besides: peers on the loopback.
const LOCAL: &str = "use-auth-secret\nrealm=turn.test\nuser-quota=4\nallow-loopback-peers\nstatic-auth-secret=";

async fn cluster(turn: &coturn::Instance) -> TestCluster {
    let settings = TestCluster::embedded().set("TURN_URLS", turn.url()).set("TURN_SECRET", SECRET);
    settings.set("STUN_URLS", "stun:stun.test:3478").forbidding(SECRET).start().await
}

/// The TURN server of a user, as the node gives it.
async fn turn_of(cluster: &TestCluster, user: &str) -> (String, String) {
    let answer = cluster.rest(0, user).request("GET", "/api/v1/ice-servers", None).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let servers = answer.body["iceServers"].as_array().unwrap().clone();
    assert_eq!(servers[0]["urls"][0], "stun:stun.test:3478");
    let text = |name: &str| servers[1][name].as_str().unwrap().to_owned();
    cluster.realm().canaries.forbid(&text("credential"));
    (text("username"), text("credential"))
}

fn signed(username: &str) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(username.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_users_credentials_open_a_relay_and_expired_or_forged_ones_do_not() {
    let turn = coturn::Instance::start(&format!("{LOCAL}{SECRET}\n"));
    let cluster = cluster(&turn).await;
    for user in ["alice", "odd user: 'ü' #1"] {
        let (username, password) = turn_of(&cluster, user).await;
        let relayed = turn.relay(Credential { username: &username, password: &password }, None).await;
        assert!(relayed.ok, "{user}: {relayed:?}\n{}", turn.log());
    }
    let (username, _) = turn_of(&cluster, "alice").await;
    let forged = turn.relay(Credential { username: &username, password: &signed("1:mallory") }, None).await;
    assert!(!forged.ok && forged.words.contains("Cannot complete Allocation"), "{forged:?}");
    let expired = "1700000000:alice";
    let expired = turn.relay(Credential { username: expired, password: &signed(expired) }, None).await;
    assert!(!expired.ok && expired.words.contains("Cannot complete Allocation"), "{expired:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_has_used_up_their_quota_leaves_that_of_others_alone() {
    let turn = coturn::Instance::start(&format!("{LOCAL}{SECRET}\n"));
    let cluster = cluster(&turn).await;
    let (alice, alices) = turn_of(&cluster, "alice").await;
    let _held = turn.hold(Credential { username: &alice, password: &alices }, 2);
    let deadline = Instant::now() + Duration::from_secs(30);
    while !turn.client_log().contains("tot_recv_msgs") {
        assert!(Instant::now() < deadline, "alice has her relays: {}", turn.client_log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let more = turn.relay(Credential { username: &alice, password: &alices }, None).await;
    assert!(!more.ok && more.words.contains("486"), "{more:?}");
    // Another credential is no other user.
    let expiry: u64 = alice.split(':').next().unwrap().parse().unwrap();
    let later = format!("{}:alice", expiry + 60);
    let more = turn.relay(Credential { username: &later, password: &signed(&later) }, None).await;
    assert!(!more.ok && more.words.contains("486"), "{more:?}");
    let (bob, bobs) = turn_of(&cluster, "bob").await;
    let others = turn.relay(Credential { username: &bob, password: &bobs }, None).await;
    assert!(others.ok, "{others:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shipped_configuration_is_taken_by_coturn_and_relays_into_no_private_network() {
    let turn = coturn::Instance::start(&coturn::shipped(SECRET));
    let log = turn.log();
    assert!(!log.contains("Bad configuration") && !log.to_lowercase().contains("unknown"), "{log}");
    let denied = coturn::shipped(SECRET).lines().filter(|line| line.starts_with("denied-peer-ip=")).count();
    assert_eq!(log.matches("Black listing:").count(), denied, "every range is understood: {log}");
    for mapped in ["::-::ffff:ffff:ffff", "127.0.0.0-127.255.255.255", "169.254.0.0-169.254.255.255"] {
        assert!(log.contains(mapped), "{mapped}: {log}");
    }
    let cluster = cluster(&turn).await;
    let (username, password) = turn_of(&cluster, "alice").await;
    for peer in ["127.0.0.1", "10.1.2.3", "192.168.1.1", "169.254.169.254", "172.16.0.1", "100.64.0.1", "0.0.0.1"] {
        let relayed = turn.relay(Credential { username: &username, password: &password }, Some(peer)).await;
        assert!(!relayed.ok && relayed.words.contains("403 (Forbidden IP)"), "{peer}: {relayed:?}");
    }
    // The credential was good: it was the address that was refused.
    assert!(!turn.log().contains("Cannot find credentials"), "{}", turn.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn ice_servers_are_the_users_own_and_equal_within_their_period() {
    let settings = TestCluster::embedded().set("TURN_URLS", "turn:turn.test:3478").set("TURN_SECRET", SECRET);
    let cluster = settings.set("STUN_URLS", "stun:stun.test:3478").forbidding(SECRET).start().await;
    assert_eq!(cluster.http(0).get("/api/v1/ice-servers").await.status, 401);
    let (alice, bob) = (turn_of(&cluster, "alice").await, turn_of(&cluster, "bob").await);
    assert!(alice.0.ends_with(":alice") && bob.0.ends_with(":bob") && alice.1 != bob.1);
    assert_eq!(alice.1, signed(&alice.0));
    // A period may have ended in between, once.
    let again = [turn_of(&cluster, "alice").await, turn_of(&cluster, "alice").await];
    assert!(again.contains(&alice) || again[0] == again[1]);

    // The same servers in replies.
    let (alice, bob) = (cluster.connect(0, "alice", "phone").await, cluster.connect(0, "bob", "phone").await);
    let begun = alice.must("call:start", serde_json::json!({"calleeIds": ["bob"]})).await;
    let call = begun["call"]["callId"].as_str().unwrap().to_owned();
    let of = |reply: &Value| {
        let media = &reply["media"];
        assert_eq!(media["mode"], "p2p", "{media}");
        assert!(media.get("url").is_none() && media.get("token").is_none(), "{media}");
        media["iceServers"][1]["username"].as_str().unwrap().to_owned()
    };
    assert!(of(&begun).ends_with(":alice"));
    bob.expect_of("call:incoming", &call).await;
    assert!(of(&bob.act("call:accept", &call).await).ends_with(":bob"));
    assert!(of(&alice.act("call:token", &call).await).ends_with(":alice"));
}

#[tokio::test(flavor = "multi_thread")]
async fn relay_only_gives_relays_only_and_says_so() {
    let settings = TestCluster::embedded().set("TURN_URLS", "turn:turn.test:3478").set("TURN_SECRET", SECRET);
    let settings = settings.set("STUN_URLS", "stun:stun.test:3478").set("CARILLON_ICE_RELAY_ONLY", "on");
    let cluster = settings.forbidding(SECRET).start().await;
    let answer = cluster.rest(0, "alice").request("GET", "/api/v1/ice-servers", None).await.body;
    assert_eq!(answer["iceTransportPolicy"], "relay");
    assert_eq!(answer["iceServers"].as_array().unwrap().len(), 1, "{answer}");
    assert_eq!(answer["iceServers"][0]["urls"][0], "turn:turn.test:3478");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_ice_servers_all_the_time_is_told_to_wait() {
    let cluster = TestCluster::embedded().set("CARILLON_RATE_LIMITS", "read=3/60s").start().await;
    let alice = cluster.rest(0, "alice");
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(alice.request("GET", "/api/v1/ice-servers", None).await.status);
    }
    assert_eq!(statuses[..3], [200; 3]);
    assert_eq!(statuses[4], 429, "{statuses:?}");
}
