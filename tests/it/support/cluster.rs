//! Nodes that belong together: one embedded node on SQLite, or several on PostgreSQL and Redis.

use std::{
    collections::{BTreeMap, BTreeSet},
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
    node::{Realm, Release, TestNode},
    postgres, process,
    proxy::{Mode, Proxy},
    redis,
    rest::RestUser,
};

/// How long the tokens of ordinary clients live: longer than any test.
const TOKEN_TTL: Duration = Duration::from_secs(3600);

/// What a cluster stands on. Tests that break one of these own it alone and pass it in.
enum Backing {
    Embedded,
    Cluster { database: Arc<postgres::Database>, redis: Arc<redis::Instance> },
}

/// The links of one node, when they go through proxies.
pub struct Links {
    pub database: Proxy,
    pub redis: Proxy,
}

/// A cluster that is not started yet.
pub struct ClusterBuilder {
    nodes: usize,
    backing: Backing,
    settings: Vec<(String, String)>,
    of_one: BTreeMap<usize, Vec<(String, String)>>,
    linked: BTreeMap<usize, (u64, Mode)>,
    previous: BTreeSet<usize>,
    forbidden: Vec<String>,
}

impl ClusterBuilder {
    fn new(nodes: usize, backing: Backing) -> Self {
        let (settings, forbidden) = (Vec::new(), Vec::new());
        let (of_one, linked, previous) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Self { nodes, backing, settings, of_one, linked, previous, forbidden }
    }

    /// A setting of every node, by its environment variable.
    pub fn set(mut self, name: &str, value: impl ToString) -> Self {
        self.settings.push((name.to_owned(), value.to_string()));
        self
    }

    /// A secret that no log of the cluster may hold.
    pub fn forbidding(mut self, secret: &str) -> Self {
        self.forbidden.push(secret.to_owned());
        self
    }

    /// A setting of one node, from 0, by its environment variable.
    pub fn set_on(mut self, number: usize, name: &str, value: impl ToString) -> Self {
        self.of_one.entry(number).or_default().push((name.to_owned(), value.to_string()));
        self
    }

    /// This node reaches PostgreSQL and Redis through proxies, so that it alone can be cut off from either.
    pub fn linked(self, number: usize, seed: u64) -> Self {
        self.linked_by(number, seed, Mode::Pass)
    }

    /// The same with links that do this from the start.
    pub fn linked_by(mut self, number: usize, seed: u64, mode: Mode) -> Self {
        self.linked.insert(number, (seed, mode));
        self
    }

    /// These nodes run the binary of the last release.
    pub fn previous(mut self, numbers: impl IntoIterator<Item = usize>) -> Self {
        self.previous.extend(numbers);
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
        self.forbidden.iter().for_each(|secret| realm.canaries.forbid(secret));
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
                settings.push(("CARILLON_MIGRATION_DATABASE_URL".into(), database.owner_url()));
                settings.push(("REDIS_URL".into(), redis.url()));
            }
        }
        settings.extend(self.settings);
        let mut of_one = self.of_one;
        let mut links = BTreeMap::new();
        for (number, (seed, mode)) in self.linked {
            let Backing::Cluster { database, redis } = &self.backing else { panic!("an embedded node has no links") };
            let through = Links {
                database: Proxy::start(database.port(), seed),
                redis: Proxy::start(redis.address().1, seed.rotate_left(32)),
            };
            through.database.set(mode.clone());
            through.redis.set(mode);
            let own: &mut Vec<_> = of_one.entry(number).or_default();
            own.push(("DATABASE_URL".into(), database.url_at(through.database.port())));
            let owner = database.owner_url_at(through.database.port());
            own.push(("CARILLON_MIGRATION_DATABASE_URL".into(), owner));
            own.push(("REDIS_URL".into(), format!("redis://127.0.0.1:{}", through.redis.port())));
            links.insert(number, through);
        }
        let (nodes, previous, backing) = (Vec::new(), self.previous, self.backing);
        let mut cluster = TestCluster { nodes, realm, folder, settings, of_one, links, previous, starts: 0, backing };
        let starting: Vec<_> = (0..self.nodes).map(|number| cluster.launch(number)).collect();
        cluster.nodes = futures_util::future::join_all(starting).await;
        cluster
    }
}

/// Running nodes. Dropped: the nodes end and are examined, then their database goes.
pub struct TestCluster {
    nodes: Vec<TestNode>,
    realm: Arc<Realm>,
    folder: PathBuf,
    settings: Vec<(String, String)>,
    of_one: BTreeMap<usize, Vec<(String, String)>>,
    links: BTreeMap<usize, Links>,
    /// Nodes of the last release, from their next start on.
    previous: BTreeSet<usize>,
    starts: usize,
    backing: Backing,
}

impl TestCluster {
    /// One node on SQLite with the in-process bus: what a newcomer runs.
    pub fn embedded() -> ClusterBuilder {
        ClusterBuilder::new(1, Backing::Embedded)
    }

    /// Two nodes on PostgreSQL and Redis.
    pub fn two_nodes() -> ClusterBuilder {
        Self::of(2)
    }

    /// So many nodes on PostgreSQL and Redis.
    pub fn of(nodes: usize) -> ClusterBuilder {
        let (database, redis) = (Arc::new(postgres::Database::create()), redis::shared());
        ClusterBuilder::new(nodes, Backing::Cluster { database, redis })
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

    /// Starts a node; the name tells its number, from 1, and later starts of it apart.
    fn launch(&mut self, number: usize) -> impl Future<Output = TestNode> + use<> {
        self.starts += 1;
        let later = if self.nodes.get(number).is_some() { format!("-{}", self.starts) } else { String::new() };
        let name = format!("node-{}{later}", number + 1);
        let own = self.of_one.get(&number).into_iter().flatten();
        let settings: Vec<_> = self.settings.iter().chain(own).cloned().collect();
        let (folder, realm) = (self.folder.clone(), self.realm.clone());
        let release = if self.previous.contains(&number) { Release::Previous } else { Release::This };
        async move { TestNode::start(release, &name, &folder, realm, &settings).await }
    }

    /// One node more, with the same settings; its number.
    pub async fn add_node(&mut self) -> usize {
        let node = self.launch(self.nodes.len()).await;
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// Puts a new node in the place of one that has ended.
    pub async fn replace(&mut self, number: usize) {
        self.nodes[number] = self.launch(number).await;
    }

    /// From its next start on, a node runs this binary.
    pub fn set_release(&mut self, number: usize, release: Release) {
        match release {
            Release::This => self.previous.remove(&number),
            Release::Previous => self.previous.insert(number),
        };
    }

    /// From its next start on, a node has this setting.
    pub fn set_on(&mut self, number: usize, name: &str, value: impl ToString) {
        let own = self.of_one.entry(number).or_default();
        own.retain(|(set, _)| set != name);
        own.push((name.to_owned(), value.to_string()));
    }

    /// The links of a node that was built with [`ClusterBuilder::linked`].
    pub fn links(&self, number: usize) -> &Links {
        self.links.get(&number).expect("the node reaches its servers through proxies")
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
