//! Nodes that belong together: one embedded node on SQLite, or several on PostgreSQL and Redis.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::{
    canary::Canaries,
    client::TestClient,
    http::Http,
    node::{Realm, TestNode},
    postgres, process, redis,
    rest::RestUser,
};

/// How long the tokens of ordinary clients live: longer than any test.
const TOKEN_TTL: Duration = Duration::from_secs(3600);

/// What a cluster stands on. Tests that break one of these own it alone and pass it in.
enum Backing {
    Embedded,
    Cluster { database: Arc<postgres::Database>, redis: Arc<redis::Instance> },
}

/// A cluster that is not started yet.
pub struct ClusterBuilder {
    nodes: usize,
    backing: Backing,
    settings: Vec<(String, String)>,
    /// Of single nodes, by number.
    own_settings: Vec<(usize, String, String)>,
}

impl ClusterBuilder {
    /// A setting of one node, by number from 0.
    pub fn set_at(mut self, number: usize, name: &str, value: impl ToString) -> Self {
        self.own_settings.push((number, name.to_owned(), value.to_string()));
        self
    }

    /// A setting of every node, by its environment variable.
    pub fn set(mut self, name: &str, value: impl ToString) -> Self {
        self.settings.push((name.to_owned(), value.to_string()));
        self
    }

    /// A setting of one node alone, by its number from 0.
    pub fn set_on(mut self, node: usize, name: &str, value: impl ToString) -> Self {
        self.own_settings.push((node, name.to_owned(), value.to_string()));
        self
    }

    /// On a Redis that the test owns.
    pub fn on_redis(mut self, own: Arc<redis::Instance>) -> Self {
        if let Backing::Cluster { redis, .. } = &mut self.backing {
            *redis = own;
        }
        self
    }

    /// On a database that the test brings.
    pub fn on_database(mut self, own: Arc<postgres::Database>) -> Self {
        if let Backing::Cluster { database, .. } = &mut self.backing {
            *database = own;
        }
        self
    }

    /// Starts all nodes at once and waits until each takes calls.
    pub async fn start(self) -> TestCluster {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = process::new_folder("cluster");
        let realm = Arc::new(Realm {
            jwt_secret: format!("canary-jwt-secret-{number}-{:032x}", rand::random::<u128>()),
            service_key: format!("canary-service-key-{number}-{:016x}", rand::random::<u64>()),
            canaries: Canaries::default(),
        });
        realm.canaries.forbid(&realm.jwt_secret);
        realm.canaries.forbid(&realm.service_key);
        let mut settings = vec![
            ("CARILLON_JWT_SECRET".to_owned(), realm.jwt_secret.clone()),
            ("CARILLON_SERVICE_KEY".to_owned(), realm.service_key.clone()),
            ("CARILLON_CLUSTER".to_owned(), format!("t{}-{number}", std::process::id())),
        ];
        match &self.backing {
            Backing::Embedded => {
                settings.push(("DATABASE_URL".into(), format!("sqlite:{}", folder.join("carillon.db").display())));
            }
            Backing::Cluster { database, redis } => {
                settings.push(("DATABASE_URL".into(), database.url()));
                settings.push(("REDIS_URL".into(), redis.url()));
            }
        }
        settings.extend(self.settings);
        let starting = (1..=self.nodes).map(|n| {
            let (folder, realm, mut settings) = (folder.clone(), realm.clone(), settings.clone());
            let own = self.own_settings.iter().filter(|(number, ..)| *number == n - 1);
            settings.extend(own.map(|(_, name, value)| (name.clone(), value.clone())));
            async move { TestNode::start(&format!("node-{n}"), &folder, realm, &settings).await }
        });
        let nodes = futures_util::future::join_all(starting).await;
        TestCluster { nodes, realm, folder, settings, backing: self.backing }
    }
}

/// Running nodes. Dropped: the nodes end and are examined, then their database goes.
pub struct TestCluster {
    nodes: Vec<TestNode>,
    realm: Arc<Realm>,
    folder: PathBuf,
    settings: Vec<(String, String)>,
    backing: Backing,
}

impl TestCluster {
    /// One node on SQLite with the in-process bus: what a newcomer runs.
    pub fn embedded() -> ClusterBuilder {
        ClusterBuilder { nodes: 1, backing: Backing::Embedded, settings: Vec::new(), own_settings: Vec::new() }
    }

    /// Two nodes on PostgreSQL and Redis.
    pub fn two_nodes() -> ClusterBuilder {
        Self::of(2)
    }

    /// So many nodes on PostgreSQL and Redis.
    pub fn of(nodes: usize) -> ClusterBuilder {
        let (database, redis) = (Arc::new(postgres::Database::create()), redis::shared());
        ClusterBuilder {
            nodes,
            backing: Backing::Cluster { database, redis },
            settings: Vec::new(),
            own_settings: Vec::new(),
        }
    }

    /// A node by number, from 0, counted round: on a single node every number is that node.
    pub fn node(&self, number: usize) -> &TestNode {
        &self.nodes[number % self.nodes.len()]
    }

    /// The same, to end it.
    pub fn node_mut(&mut self, number: usize) -> &mut TestNode {
        let count = self.nodes.len();
        &mut self.nodes[number % count]
    }

    /// One node more, with the same settings; its number.
    pub async fn add_node(&mut self) -> usize {
        let name = format!("node-{}", self.nodes.len() + 1);
        self.nodes.push(TestNode::start(&name, &self.folder, self.realm.clone(), &self.settings).await);
        self.nodes.len() - 1
    }

    /// How many nodes it has, dead ones included.
    pub fn size(&self) -> usize {
        self.nodes.len()
    }

    /// Its database; none when embedded.
    pub fn database(&self) -> Option<&postgres::Database> {
        match &self.backing {
            Backing::Embedded => None,
            Backing::Cluster { database, .. } => Some(database),
        }
    }

    /// The environment of its nodes.
    pub fn settings(&self) -> &[(String, String)] {
        &self.settings
    }

    /// The secrets of the cluster.
    pub fn realm(&self) -> &Arc<Realm> {
        &self.realm
    }

    /// The HTTP side of a node.
    pub fn http(&self, number: usize) -> Http {
        self.node(number).http()
    }

    /// Asserts that no call has changed its owner: while no node dies, each stays where it began.
    pub fn assert_no_takeovers(&self) {
        let takeovers: Vec<Value> = self.nodes.iter().flat_map(|node| node.logged("call taken over")).collect();
        assert!(takeovers.is_empty(), "{takeovers:?}");
    }

    /// Connects a device to a node and says hello.
    pub async fn connect(&self, number: usize, user: &str, device: &str) -> TestClient {
        TestClient::connect(self.node(number), user, device).await
    }

    /// A user who speaks REST with a node, without a session.
    pub fn rest(&self, number: usize, user: &str) -> RestUser {
        RestUser::new(self.http(number), self.token(user))
    }

    /// A token of this user that lasts for the whole test.
    pub fn token(&self, user: &str) -> String {
        self.realm.token(user, TOKEN_TTL)
    }

    /// Makes a group with these members over the service API.
    pub async fn group(&self, id: &str, members: &[&str]) {
        let http = self.http(0);
        let made = http.service("PUT", &format!("/api/v1/groups/{id}"), Some(json!({"name": id}))).await;
        assert!(made.ok(), "make group {id}: {made:?}");
        for member in members {
            let path = format!("/api/v1/groups/{id}/members/{member}");
            let added = http.service("PUT", &path, Some(json!({"role": "member"}))).await;
            assert!(added.ok(), "add {member} to {id}: {added:?}");
        }
    }
}

impl Realm {
    /// A token that ends after `ttl`.
    pub fn token(&self, user: &str, ttl: Duration) -> String {
        let expires = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock past 1970") + ttl;
        self.token_with(&json!({"sub": user, "exp": expires.as_secs()}))
    }

    /// A token with these claims, whatever they are, signed with the right key.
    pub fn token_with(&self, claims: &Value) -> String {
        let key = EncodingKey::from_secret(self.jwt_secret.as_bytes());
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key).expect("sign a token");
        self.canaries.forbid_token(&token);
        token
    }
}
