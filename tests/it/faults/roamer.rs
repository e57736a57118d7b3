//! A device that comes back by itself, as a good client does: when its connection is gone it connects to the next node,
//! with what it has seen, and tries its command again.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rand::RngExt;
use serde_json::{Value, json};

use super::checker::{History, PERSIST};
use crate::support::{
    Connect, TestClient, TestCluster,
    moves::id_of,
    node::Realm,
    process::{POLL, lock},
};

/// The first pause before a try again; doubled up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Where nodes listen: what a load balancer knows that asks nobody how they are.
pub struct Balancer {
    nodes: Mutex<Vec<SocketAddr>>,
    realm: Arc<Realm>,
}

impl Balancer {
    /// In front of all nodes of a cluster.
    pub fn of(cluster: &TestCluster) -> Arc<Self> {
        let nodes = (0..cluster.size()).map(|number| cluster.node(number).address).collect();
        Arc::new(Self { nodes: Mutex::new(nodes), realm: cluster.realm().clone() })
    }

    /// In place of an ended node another one listens, elsewhere.
    pub fn replace(&self, number: usize, address: SocketAddr) {
        lock(&self.nodes)[number] = address;
    }

    fn pick(&self, number: usize) -> SocketAddr {
        let nodes = lock(&self.nodes);
        nodes[number % nodes.len()]
    }
}

/// See the module.
pub struct Roamer {
    balancer: Arc<Balancer>,
    client: Mutex<Arc<TestClient>>,
    at: Mutex<usize>,
}

impl Roamer {
    /// A device connected to this node at first.
    pub async fn connect(balancer: &Arc<Balancer>, number: usize, user: &str) -> Self {
        let address = balancer.pick(number);
        let client = Connect::at(address, balancer.realm.clone(), user, "phone").go().await;
        let client = client.unwrap_or_else(|refused| panic!("{user} is refused: {refused:?}"));
        Self::of(balancer, number, client)
    }

    /// A device that is connected already.
    pub fn of(balancer: &Arc<Balancer>, number: usize, client: TestClient) -> Self {
        Self { balancer: balancer.clone(), client: Mutex::new(Arc::new(client)), at: Mutex::new(number) }
    }

    /// Its connection of now.
    pub fn client(&self) -> Arc<TestClient> {
        lock(&self.client).clone()
    }

    /// Breaks its connection, whatever is under way on it.
    pub fn cut(&self) {
        self.client().cut();
    }

    /// How many connections it has had after the first.
    pub fn moves(&self, first: usize) -> usize {
        *lock(&self.at) - first
    }

    /// Connects to the next node that takes it, if the connection is gone. One task at a time may do so.
    async fn come_back(&self) {
        let began = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let old = self.client();
            if old.is_closed().is_none() {
                return;
            }
            let number = {
                let mut at = lock(&self.at);
                *at += 1;
                *at
            };
            let connect = Connect::at(self.balancer.pick(number), self.balancer.realm.clone(), &old.user, &old.device);
            match connect.resuming(old.order()).go().await {
                Ok(client) => *lock(&self.client) = Arc::new(client),
                Err(refused) => {
                    assert!(began.elapsed() < PERSIST, "{} finds no node that takes it: {refused:?}", old.user);
                    // Jitter, so that not all come at once.
                    tokio::time::sleep(pause.mul_f64(rand::rng().random_range(0.5..1.0))).await;
                    pause = LONGEST_PAUSE.min(pause * 2);
                }
            }
        }
    }

    /// Tries a command until it is acknowledged, coming back when it must.
    pub async fn must(&self, history: &History, command: &str, data: Value) -> Value {
        let began = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            self.come_back().await;
            match history.once(&self.client(), command, data.clone()).await {
                Ok(reply) => {
                    history.recovered(began.elapsed());
                    return reply;
                }
                Err(error) => {
                    let client = self.client();
                    let patient = error.retryable && began.elapsed() < PERSIST;
                    assert!(patient, "{}: {command} {data} is never done: {error:?}", client.user);
                    if error.code == "silence" {
                        client.cut();
                    }
                    tokio::time::sleep(pause).await;
                    pause = LONGEST_PAUSE.min(pause * 2);
                }
            }
        }
    }

    /// Waits until it has heard so much, coming back when it must.
    pub async fn hears(&self, what: &str, heard: impl Fn(&TestClient) -> bool) {
        let began = Instant::now();
        while !heard(&self.client()) {
            self.come_back().await;
            assert!(began.elapsed() < PERSIST, "{} never hears {what}", self.client().user);
            tokio::time::sleep(POLL).await;
        }
    }
}

/// A whole call between two roamers, every command acknowledged in the end and the end heard by both.
pub async fn whole_call(history: &History, caller: &Roamer, callee: &Roamer) {
    let call = format!("c-{:032x}", rand::random::<u128>());
    history.include(&call);
    let user = callee.client().user.clone();
    let start = json!({"callId": call, "calleeIds": [user], "type": "video"});
    assert_eq!(id_of(&caller.must(history, "call:start", start).await), call);
    callee.hears(&format!("the ring of {call}"), |client| client.order().seq(&call).is_some()).await;
    callee.must(history, "call:accept", json!({"callId": call})).await;
    for (side, screen) in [(caller, true), (callee, true), (caller, false)] {
        side.must(history, "call:media", json!({"callId": call, "screen": screen})).await;
    }
    callee.must(history, "call:end", json!({"callId": call})).await;
    for side in [caller, callee] {
        side.hears(&format!("the end of {call}"), |client| client.order().has_ended(&call)).await;
    }
}
