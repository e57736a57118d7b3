//! The settings after they were judged: typed, within their bounds, consistent with each other.

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

use crate::{
    gateway::{address::TrustedProxies, auth::AuthSettings, headers::Hsts, limits::Rules},
    media::FilesConfig,
    secret::Secret,
    trace::ExportSettings,
};

/// Every setting of a node. `Debug` shows no secret.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where state lives.
    pub database: Database,
    /// The same database by the role that owns its tables, for migrations; `None`: by the role that serves.
    pub migration_url: Option<Secret>,
    /// Whether a starting node migrates the database, rather than refuse one that is not migrated.
    pub migrate: bool,
    /// Connections that serve calls (PostgreSQL), besides those for leases and locks.
    pub db_connections: u32,
    /// The bus of a cluster; `None`: a single node, in-process.
    pub redis_url: Option<Secret>,
    /// The beginning of this cluster's channels in Redis.
    pub cluster: String,
    /// The beginning of the node's id; the run adds a random end.
    pub node_name: Option<String>,
    /// After how long without renewal a node loses its calls.
    pub node_lease: Duration,
    /// How tokens and the service key are checked.
    pub auth: AuthSettings,
    /// Origins that may open a socket and read what REST answers, besides our own page, normalized (see `gateway::auth::origin_allowed`).
    pub allowed_origins: Vec<String>,
    /// How long a call rings.
    pub ring_timeout: Duration,
    /// How long an accepted call may take to connect.
    pub connect_timeout: Duration,
    /// How long a move to the media server may take.
    pub escalation_timeout: Duration,
    /// How long a participant without a connection stays in the call.
    pub reconnect_grace: Duration,
    /// What happens to a call for somebody who is in one.
    pub busy_policy: BusyPolicy,
    /// The most participants of a call.
    pub max_participants: u32,
    /// How long a call may last; `None`: for ever.
    pub max_call: Option<Duration>,
    /// About how often each sweeper looks, but for takeovers.
    pub sweep_interval: Duration,
    /// How long the audit log is kept; `None`: for ever.
    pub audit_kept: Option<Duration>,
    /// How long a stopping node takes at most to hand its calls over and close its sessions.
    pub drain: Duration,
    /// Over how long the clients of a stopping node are asked to spread their return.
    pub reconnect_spread: Duration,
    /// The rate limits in force; `None`: none.
    pub rate_limits: Option<Rules>,
    /// Proxies whose word on where a client is counts.
    pub trusted_proxies: TrustedProxies,
    /// Whether browsers are told to come by https only.
    pub hsts: Hsts,
    /// Between two pings of the server.
    pub ping_interval: Duration,
    /// Threads that serve connections.
    pub workers: usize,
    /// LiveKit, if calls may be escalated to it.
    pub livekit: Option<LiveKit>,
    /// TURN servers and the secret shared with them.
    pub turn: Option<Turn>,
    /// STUN servers for clients.
    pub stun_urls: Vec<String>,
    /// Clients are told to use TURN servers only.
    pub ice_relay_only: bool,
    /// Where recordings are kept, if they are.
    pub recordings: Recordings,
    /// How webhooks are sent.
    pub webhooks: crate::webhooks::Config,
    /// What is logged, and how.
    pub log: LogSettings,
    /// Where traces are sent; `None`: nowhere.
    pub traces: Option<ExportSettings>,
    /// Development mode: print ready links.
    pub dev: bool,
    /// What the operator should know, to be logged once the log is there. No secret in them.
    pub warnings: Vec<String>,
}

/// Recordings of calls.
#[derive(Debug, Clone)]
pub struct Recordings {
    /// `None`: nothing is recorded.
    pub files: Option<FilesConfig>,
    /// Days for which one is kept whose start does not say.
    pub retention_days: u32,
    /// What links are signed with.
    pub link_secret: Option<Secret>,
}

/// Where state lives.
#[derive(Debug, Clone)]
pub enum Database {
    /// The whole connection string; it may hold a password.
    Postgres(Secret),
    /// The file of the embedded database.
    Sqlite(PathBuf),
}

/// What happens to a call for somebody who is in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BusyPolicy {
    /// The caller hears busy.
    Reject,
    /// It rings nevertheless.
    CallWaiting,
}

/// A LiveKit server.
#[derive(Debug, Clone)]
pub struct LiveKit {
    /// `ws://`, `wss://`, `http://` or `https://`.
    pub url: String,
    /// Where browsers reach it, `ws://` or `wss://`.
    pub public_url: String,
    /// The API key; not secret, it stands in every token.
    pub api_key: String,
    /// What tokens for it are signed with.
    pub api_secret: Secret,
}

/// TURN servers.
#[derive(Debug, Clone)]
pub struct Turn {
    /// `turn:` and `turns:` addresses, at least one.
    pub urls: Vec<String>,
    /// What short-lived credentials are derived from.
    pub secret: Secret,
}

/// What is logged, and how.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// A filter that `tracing_subscriber::EnvFilter` takes.
    pub filter: String,
    /// One object a line, or for people.
    pub format: LogFormat,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// One line of text for people.
    Pretty,
}

/// What is wrong with the settings, one line each; none holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError(pub Vec<String>);

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for SettingsError {}
