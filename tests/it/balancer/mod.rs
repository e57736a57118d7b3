//! Two nodes behind the shipped balancer: a real nginx that sticks nobody to a node. It is the topology of compose.yaml, as
//! processes.

mod nginx;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use self::nginx::Nginx;
use crate::{
    load::{Holding, wait_until},
    support::{TestClient, TestCluster, client::Connect, http::Http},
};

/// Every call has two people.
const CALLS: u64 = 500;

/// From a node's death until all its clients are on the other one: seconds, but for a busy machine.
const COME_BACK: Duration = Duration::from_secs(90);

async fn through(nginx: &Nginx, cluster: &TestCluster, user: &str) -> TestClient {
    Connect::at(nginx.address, cluster.realm().clone(), user, "phone").go().await.expect("a socket through nginx")
}

/// The same device again, wherever the balancer sends it, going on from what it has seen.
async fn back_through(nginx: &Nginx, mut client: TestClient) -> TestClient {
    client.drop_connection().await;
    let options = Connect::at(nginx.address, client.realm().clone(), &client.user, &client.device);
    options.resuming(client.order()).go().await.expect("a socket through nginx")
}

async fn sessions_of(cluster: &TestCluster, number: usize) -> u64 {
    cluster.http(number).get("/readyz").await.body["sessions"].as_u64().expect("a number of sessions")
}

/// Waits until all clients of the calls have a session on one of these nodes.
async fn wait_for_sessions(cluster: &TestCluster, nodes: &[usize]) {
    let begun = Instant::now();
    loop {
        let mut there = 0;
        for number in nodes {
            there += sessions_of(cluster, *number).await;
        }
        if there >= 2 * CALLS {
            return;
        }
        assert!(begun.elapsed() < COME_BACK, "{there} of them are there");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_thousand_clients_behind_a_plain_balancer_lose_a_node_and_their_calls_go_on() {
    // While the load sets its calls up it answers no ping. On a machine that is busy with other tests that may take longer
    // than a node has patience; who was let go then comes back, and must still be in the call.
    let cluster = TestCluster::two_nodes().set("CARILLON_PING_INTERVAL_SECS", 60);
    let mut cluster = cluster.set("CARILLON_RECONNECT_GRACE_SECS", 300).start().await;
    let nginx = Nginx::start(&cluster).await;
    let calls = CALLS.to_string();
    // Slow turns: the nodes are unoptimised, and what counts is that nothing is lost.
    let arguments = ["--pairs", &calls, "--every", "5s", "--patience", "120s"];
    let mut holding = Holding::at(&nginx.ws_url(), &cluster, &arguments);
    wait_for_sessions(&cluster, &[0, 1]).await;
    let before = [sessions_of(&cluster, 0).await, sessions_of(&cluster, 1).await];
    assert!(before.iter().all(|count| *count > 300), "round robin: {before:?}");
    holding.next_phase();
    cluster.node_mut(0).kill();
    let owners = "SELECT DISTINCT owner_node FROM calls WHERE open";
    wait_until("all calls are taken over", || cluster.database().unwrap().sql(owners).len() == 1).await;
    wait_for_sessions(&cluster, &[1]).await;
    holding.next_phase();
    let (code, report) = holding.end();
    assert_eq!((code, &report["callsEnded"]), (Some(0), &Value::from(CALLS)), "{report}");
    let counts = report["findings"].as_object().unwrap();
    assert!(counts.len() == 7 && counts.values().all(|count| *count == 0), "{report}");
    let lost: u64 = report["phases"].as_array().unwrap().iter().filter_map(|p| p["connectionsLost"].as_u64()).sum();
    assert!(lost > 300, "who was on the node that died lost their socket: {report}");
}

#[tokio::test]
async fn a_caller_and_a_callee_who_come_by_the_same_address_are_on_two_nodes_and_come_back_anywhere() {
    let cluster = TestCluster::two_nodes().start().await;
    let nginx = Nginx::start(&cluster).await;
    // Two workers take turns each for themselves: a few sockets, and both nodes have some.
    let mut clients = Vec::new();
    for number in 0..8 {
        clients.push(through(&nginx, &cluster, &format!("user-{number}")).await);
    }
    let nodes: Vec<&Value> = clients.iter().map(|client| &client.welcome["nodeId"]).collect();
    let other = nodes.iter().position(|node| *node != nodes[0]).expect("round robin reaches both nodes");
    let call = clients[0].call_through(&clients[other]).await;
    let mut bob = clients.remove(other);
    let mut seen = Vec::new();
    // Comes back until it has been on both: each time with its call.
    while seen.len() < 2 {
        bob = back_through(&nginx, bob).await;
        assert_eq!(bob.welcome["activeCalls"][0]["callId"], call, "{}", bob.welcome);
        let node = bob.welcome["nodeId"].clone();
        if !seen.contains(&node) {
            seen.push(node);
        }
        bob.must("call:media", json!({"callId": call, "screen": true})).await;
    }
    clients[0].expect("call:participant_updated", |e| e["callId"] == *call && e["changes"]["screen"] == true).await;
}

#[tokio::test]
async fn a_node_that_leaves_refuses_new_sockets_and_the_balancer_gives_them_to_the_other() {
    let mut cluster = TestCluster::two_nodes().start().await;
    let nginx = Nginx::start(&cluster).await;
    // Never answers the Close, so that the node is still there, leaving, while others come.
    let stubborn = cluster.connect(0, "stubborn", "phone").await;
    stubborn.stop_reading();
    let stays = cluster.connect(1, "stays", "phone").await;
    cluster.node(0).signal(libc::SIGTERM);
    wait_until("the node is leaving", || !cluster.node(0).logged("told to stop; handing over calls").is_empty()).await;
    for number in 0..6 {
        let client = through(&nginx, &cluster, &format!("late-{number}")).await;
        assert_eq!(client.welcome["nodeId"], stays.welcome["nodeId"]);
    }
    cluster.node_mut(0).terminate(Duration::from_secs(30)).await;
}

#[tokio::test]
async fn the_balancer_hides_what_is_for_operators_and_logs_no_token() {
    let cluster = TestCluster::two_nodes().start().await;
    let nginx = Nginx::start(&cluster).await;
    let http = Http::new(nginx.address, cluster.realm().clone());
    for path in ["/metrics", "/readyz", "/livez"] {
        assert_eq!(http.status(path).await, Some(404), "{path}");
    }
    assert_eq!(http.status("/carillon-client.js").await, Some(200));
    let token = cluster.token("alice");
    let call = http.request("GET", "/api/v1/calls/nobodys", Some(&token), None).await.unwrap();
    assert_eq!((call.status, call.code()), (404, "not_found"), "{call:?}");
    assert!(!nginx.log().contains(&token), "a token in the balancer's log");
    assert!(nginx.log().contains(r#""path":"/api/v1/calls/nobodys""#), "{}", nginx.log());
}

#[tokio::test]
async fn an_address_that_a_client_made_up_ends_at_the_balancer() {
    let limits = "auth.address=3/600s";
    let settings = [("CARILLON_TRUSTED_PROXIES", "127.0.0.1"), ("CARILLON_RATE_LIMITS", limits)];
    let cluster = settings.iter().fold(TestCluster::two_nodes(), |cluster, (name, value)| cluster.set(name, value));
    let cluster = cluster.start().await;
    let nginx = Nginx::start(&cluster).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut seen = Vec::new();
    for number in 0..20 {
        let request = client.get(format!("http://{}/api/v1/calls/x", nginx.address)).bearer_auth("nonsense");
        let made_up = format!("203.0.113.{number}");
        let request = request.header("X-Forwarded-For", &made_up).header("Forwarded", format!("for={made_up}"));
        seen.push(request.send().await.unwrap().status().as_u16());
    }
    // Each of the two nodes lets a few through before it hears of the other's.
    assert_eq!((seen[0], seen[19]), (401, 429), "{seen:?}");
}
