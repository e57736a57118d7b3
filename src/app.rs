//! Puts the parts together: the one place that sees everything.

use std::{sync::Arc, time::Duration};

use actix::Arbiter;
use actix_web::{
    App, HttpServer,
    middleware::{ErrorHandlers, from_fn},
    web,
};
use anyhow::Context;
use dashmap::DashMap;
use tokio::sync::Semaphore;

use crate::{
    actors::{Node, NodeHandle, inbox::Inbox, media_watch, membership, node, polling, sweepers},
    build_info, clock,
    cluster::{
        bus::{Bus, BusLimits},
        bus_memory::{MemoryBus, MemoryHub},
        bus_redis::{RedisBus, RedisBusConfig},
    },
    config::{BusyPolicy, Database, Settings},
    domain::{NodeId, Rules, UserId, busy},
    gateway::{
        Gateway,
        auth::{TokenRequest, Verifier, mint, service::ServiceKeys},
        counts::Counts,
        headers, heartbeat,
        limits::{Limits, Shared},
        links::Links,
        openapi,
        passwords::Passwords,
        rest::{self, privileged::PrivilegedReads},
        web as pages, ws,
    },
    media::{LiveKitConfig, Media, MediaConfig, TurnConfig},
    secret::Secret,
    shutdown::{self, Leaving},
    store::{self, Kind, NodeInfo, Store, StoreOptions},
    trace,
    webhooks::{Surroundings, Webhooks},
};

/// How long the links that a development node prints are good.
const DEV_TOKEN_TTL: Duration = Duration::from_secs(24 * 60 * 60);
/// How many connections one worker accepts. The process's limit of open files is met before it on most machines.
const MAX_CONNECTIONS: usize = 200_000;
/// Connections that wait to be accepted. A storm of reconnecting clients must not be refused by the kernel.
const BACKLOG: u32 = 4096;
/// How long a closed connection waits for the other side to close too. None, and a client that still sends may lose our
/// Close frame to the reset. actix reckons from a clock that it reads twice a second: below that, or not far above it on
/// a busy machine, the deadline may be past when it is set, its timer is then never looked at, and the connection stays
/// for good.
const DISCONNECT_PATIENCE: Duration = Duration::from_secs(3);
/// Between two looks for the end of a migration. Shorter, and a rollout's pods keep the database busy with connecting;
/// longer, and each of them starts so much later.
const MIGRATION_POLL: Duration = Duration::from_secs(1);
/// How long the server waits for its last requests when it stops.
const STOP_PATIENCE_SECS: u64 = 2;

/// Files that are sent at once. More, and a store that is slow takes the memory of so many pieces; fewer, and people wait
/// for each other's downloads.
const MAX_DOWNLOADS: usize = 128;

/// Runs a node until it is told to stop.
pub async fn serve(settings: Settings) -> anyhow::Result<()> {
    let url = database_url(&settings.database);
    if settings.migrate {
        let owner = settings.migration_url.as_ref();
        store::migrate(&url, owner).await.context("the database could not be migrated")?;
    }
    let options = StoreOptions { connections: settings.db_connections as usize };
    let store = Store::open(&url, options).await.context("the database could not be opened")?;
    if store.kind() == Kind::Postgres && !store.is_walled() {
        tracing::warn!(
            "row-level security does not hold for this role of PostgreSQL (a superuser, or BYPASSRLS): the database would \
             show a user's request whatever it asks for; see docs/row-security.md"
        );
    }
    let id = node_id(settings.node_name.as_deref())?;
    if let Some(traces) = settings.traces.clone() {
        trace::start(traces, &id).context("traces cannot be sent")?;
    }
    let info = NodeInfo { version: build_info::VERSION.to_owned(), address: None };
    let media = Media::start(media_config(&settings)).map_err(|error| anyhow::anyhow!("the media server: {error}"))?;
    let node = Node::new(id.clone(), store.clone(), rules(&settings), busy_policy(settings.busy_policy), media);
    node.enter(settings.node_lease, &info).await.context("the node could not be entered")?;
    let bus = join_bus(&settings, &node).await?;
    let shared = settings.redis_url.clone().map(|url| Shared { url, cluster: settings.cluster.clone() });
    if let Some(kept) = settings.audit_kept {
        // Set once: here.
        let _ = node.audit_kept.set(kept);
    }
    let surroundings = Surroundings { store: store.clone(), node: id.clone(), bus: bus.clone() };
    let webhooks = Webhooks::start(settings.webhooks.clone(), surroundings).await;
    let gateway = web::Data::new(Gateway {
        node: node.clone(),
        counts: Counts::default(),
        verifier: Verifier::start(settings.auth.clone()).context("tokens cannot be checked")?,
        service_keys: ServiceKeys::default(),
        privileged_reads: PrivilegedReads::default(),
        sockets: DashMap::new(),
        ping_interval: settings.ping_interval,
        limits: Limits::start(settings.rate_limits.clone(), shared),
        trusted_proxies: settings.trusted_proxies.clone(),
        hsts: settings.hsts,
        allowed_origins: settings.allowed_origins.clone(),
        links: Links::new(&link_secret(&settings)),
        passwords: Passwords::start().map_err(|error| anyhow::anyhow!("passwords cannot be checked: {error}"))?,
        downloads: Arc::new(Semaphore::new(MAX_DOWNLOADS)),
        webhooks: webhooks.map_err(|error| anyhow::anyhow!("webhooks cannot be sent: {error}"))?,
    });

    let leaving = Leaving { drain: settings.drain, spread: settings.reconnect_spread };
    let edge = gateway.clone();
    let (workers_node, workers_gateway) = (node.clone(), gateway.clone());
    let server = HttpServer::new(move || {
        // Runs once on each worker's thread.
        node::this_thread_runs_actors();
        workers_node.add_arbiter(Arbiter::current());
        App::new()
            .app_data(workers_gateway.clone())
            .wrap(ErrorHandlers::new().default_handler_client(rest::as_problem))
            .wrap(from_fn(headers::pass))
            .route("/ws", web::get().to(ws::upgrade))
            .configure(rest::routes)
            .configure(openapi::page::routes)
            .configure(pages::routes)
    })
    .on_connect(ws::on_connect)
    .workers(settings.workers)
    .max_connections(MAX_CONNECTIONS)
    .backlog(BACKLOG)
    .client_disconnect_timeout(DISCONNECT_PATIENCE)
    .shutdown_timeout(STOP_PATIENCE_SECS)
    .shutdown_signal(shutdown::asked_to_stop(gateway.clone().into_inner(), leaving))
    .bind(settings.listen)
    .with_context(|| format!("CARILLON_LISTEN: cannot listen on {}", settings.listen))?;

    let address = server.addrs().first().copied().unwrap_or(settings.listen);
    tokio::task::spawn_local(heartbeat::run(gateway.clone().into_inner()));
    tokio::task::spawn_local(sweepers::run(node.clone(), settings.sweep_interval));
    tokio::task::spawn_local(membership::keep_lease(node.clone(), settings.node_lease, info));
    tokio::task::spawn_local(membership::watch(node.clone()));
    tokio::task::spawn_local(polling::run(node.clone()));
    tokio::task::spawn_local(media_watch::run(node.clone()));
    tracing::info!(address = %address, node.id = %id, version = build_info::described(), "listening");
    if settings.dev {
        print_links(&settings, &address.to_string());
    }
    let served = server.run().await;

    tracing::info!(node.id = %id, "stopping");
    edge.webhooks.stop().await;
    bus.shutdown().await;
    if let Err(error) = store.end_node(&id).await {
        tracing::warn!(node.id = %id, %error, "the node's lease could not be ended; it runs out by itself");
    }
    store.close().await;
    trace::finish().await;
    served.context("the server failed")
}

/// Brings the database's tables up to date.
pub async fn migrate(settings: Settings) -> anyhow::Result<()> {
    let applied = store::migrate(&database_url(&settings.database), settings.migration_url.as_ref()).await?;
    tracing::info!(migrations = applied.len(), versions = applied.join(" "), "the database is up to date");
    Ok(())
}

/// Succeeds if the tables are as this program needs them. Until they are, asks again for as long as `wait`: what starts
/// before a migration has ended waits here for it.
pub async fn check_migrated(settings: Settings, wait: Option<Duration>) -> anyhow::Result<()> {
    let url = database_url(&settings.database);
    let until = clock::monotonic() + wait.unwrap_or_default();
    let mut told = String::new();
    loop {
        let why = match store::is_migrated(&url).await {
            Ok(true) => return Ok(()),
            Ok(false) => "the database is not migrated: run `carillon migrate`".to_owned(),
            Err(error) => error.to_string(),
        };
        if clock::monotonic() >= until {
            anyhow::bail!(why);
        }
        if told != why {
            tracing::info!(why, "waiting for the database");
            told = why;
        }
        tokio::time::sleep(MIGRATION_POLL).await;
    }
}

/// The address that the store is opened with.
pub(crate) fn database_url(database: &Database) -> Secret {
    match database {
        Database::Postgres(url) => url.clone(),
        Database::Sqlite(path) => Secret::new(format!("sqlite:{}", path.display())),
    }
}

fn node_id(name: Option<&str>) -> anyhow::Result<NodeId> {
    let run = uuid::Uuid::new_v4().simple().to_string();
    let run = run.get(..12).unwrap_or(&run);
    Ok(NodeId::new(format!("{}-{run}", name.unwrap_or("node")))?)
}

fn rules(settings: &Settings) -> Rules {
    Rules {
        ring_timeout: settings.ring_timeout,
        connect_timeout: settings.connect_timeout,
        reconnect_grace: settings.reconnect_grace,
        max_participants: settings.max_participants,
        max_duration: settings.max_call,
        media_server: settings.livekit.is_some(),
        recordings: settings.livekit.is_some() && settings.recordings.files.is_some(),
        retention_days: settings.recordings.retention_days,
        escalation_timeout: settings.escalation_timeout,
    }
}

/// What links to recordings are signed with: the same on all nodes, but where there is neither secret a link is good on
/// the node that gave it only.
fn link_secret(settings: &Settings) -> Secret {
    let livekit = || settings.livekit.as_ref().map(|livekit| livekit.api_secret.clone());
    let own = || Secret::new(format!("{}{}", uuid::Uuid::new_v4(), uuid::Uuid::new_v4()));
    settings.recordings.link_secret.clone().or_else(livekit).unwrap_or_else(own)
}

fn media_config(settings: &Settings) -> MediaConfig {
    MediaConfig {
        livekit: settings.livekit.clone().map(|livekit| LiveKitConfig {
            url: livekit.url,
            public_url: livekit.public_url,
            api_key: livekit.api_key,
            api_secret: livekit.api_secret,
        }),
        stun_urls: settings.stun_urls.clone(),
        turn: settings.turn.clone().map(|turn| TurnConfig { urls: turn.urls, secret: turn.secret }),
        relay_only: settings.ice_relay_only,
        files: settings.recordings.files.clone(),
    }
}

fn busy_policy(policy: BusyPolicy) -> busy::BusyPolicy {
    match policy {
        BusyPolicy::Reject => busy::BusyPolicy::Reject,
        BusyPolicy::CallWaiting => busy::BusyPolicy::CallWaiting,
    }
}

async fn join_bus(settings: &Settings, node: &NodeHandle) -> anyhow::Result<Arc<dyn Bus>> {
    let inbox = Inbox::new(node.clone());
    let limits = BusLimits::default();
    let bus: Arc<dyn Bus> = match &settings.redis_url {
        Some(url) => {
            let config =
                RedisBusConfig { url: url.clone(), cluster: settings.cluster.clone(), node: node.id.clone(), limits };
            let bus = RedisBus::start(config, inbox).context("REDIS_URL")?;
            if !bus.wait_until_up(Duration::from_secs(5)).await {
                tracing::warn!(node.id = %node.id, "redis is not there yet; calls between nodes wait for it");
            }
            Arc::new(bus)
        }
        None => Arc::new(MemoryBus::join(&MemoryHub::new(), node.id.clone(), limits, inbox)?),
    };
    node.join_bus(bus.clone());
    Ok(bus)
}

/// Two links to try a call with, on standard output: they hold tokens, which the log must not.
#[allow(clippy::print_stdout, reason = "a token must not go into the log")]
fn print_links(settings: &Settings, address: &str) {
    println!("\nCarillon runs in development mode. Open these two links in two tabs, and call:\n");
    for name in ["alice", "bob"] {
        let Ok(user) = UserId::new(name) else { continue };
        let request = TokenRequest { user, name: None, admin: false, ttl: DEV_TOKEN_TTL };
        match mint(&settings.auth, &request, clock::now()) {
            Ok(token) => println!("  {name:<6} http://{address}/#token={token}"),
            Err(error) => println!("  no link for {name}: {error}"),
        }
    }
    println!();
}
