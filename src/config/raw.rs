//! The settings as text: names, flags, defaults and the help that `carillon --help` prints.
//!
//! Owns the names. Judges nothing: every value is text here, and `validate.rs` says what is wrong with it, in one way
//! for flags and environment, and without the value where that is a secret.
//!
//! A variable `CARILLON_X_Y` is also the flag `--carillon-x-y`, for short `--x-y`; `DATABASE_URL` is `--database-url`.
//! A flag wins over the environment. A variable that is set to nothing counts as not set.

use clap::Args;

use crate::secret::Secret;

pub(super) mod traces;

/// Every setting, as it was given or by default.
#[derive(Debug, Clone, Args)]
pub struct RawSettings {
    #[command(flatten)]
    pub(super) node: NodeArgs,
    #[command(flatten)]
    pub(super) store: StoreArgs,
    #[command(flatten)]
    pub(super) token: KeyArgs,
    #[command(flatten)]
    pub(super) call: CallArgs,
    #[command(flatten)]
    pub(super) media: MediaArgs,
    #[command(flatten)]
    pub(super) recording: RecordingArgs,
    #[command(flatten)]
    pub(super) webhook: WebhookArgs,
    #[command(flatten)]
    pub(super) log: LogArgs,
    #[command(flatten)]
    pub(super) traces: traces::TraceArgs,
}

/// The node itself.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Node")]
pub(super) struct NodeArgs {
    /// Address and port to listen on. Port 0 takes a free one.
    #[arg(long = "carillon-listen", visible_alias = "listen", env = "CARILLON_LISTEN", hide_env_values = true)]
    #[arg(value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    pub(super) listen: String,

    /// Pages that may open a socket here and read what REST answers, besides the node's own: origins such as https://app.example, separated by
    /// commas. Empty: the node's own page only.
    #[arg(long = "carillon-allowed-origins", visible_alias = "allowed-origins", env = "CARILLON_ALLOWED_ORIGINS")]
    #[arg(value_name = "ORIGINS", hide_env_values = true)]
    pub(super) allowed_origins: Option<String>,

    /// Threads that serve connections, 1 to 64. One is best: a signal whose sender and receiver share a thread costs
    /// half of one that changes threads. To use more cores, run more nodes.
    #[arg(long = "carillon-workers", visible_alias = "workers", env = "CARILLON_WORKERS", hide_env_values = true)]
    #[arg(value_name = "THREADS", default_value = "1")]
    pub(super) workers: String,

    /// The beginning of this node's id in logs and in the database; every run adds a random end to it. At most 64 of
    /// letters, digits and ._~:@=+- (default: random only).
    #[arg(long = "carillon-node-id", visible_alias = "node-id", env = "CARILLON_NODE_ID", hide_env_values = true)]
    #[arg(value_name = "NAME")]
    pub(super) node_id: Option<String>,

    /// Seconds between the server's pings, 1 to 120; a session that misses two is over.
    #[arg(long = "carillon-ping-interval-secs", visible_alias = "ping-interval-secs")]
    #[arg(env = "CARILLON_PING_INTERVAL_SECS", hide_env_values = true)]
    #[arg(value_name = "SECONDS", default_value = "20")]
    pub(super) ping_interval_secs: String,

    /// Seconds that a stopping node takes at most to hand its calls over and close its sessions, 0 to 600.
    #[arg(long = "carillon-drain-secs", visible_alias = "drain-secs", env = "CARILLON_DRAIN_SECS")]
    #[arg(value_name = "SECONDS", default_value = "10", hide_env_values = true)]
    pub(super) drain_secs: String,

    /// Seconds over which the clients of a stopping node are asked to spread their return, 0 to 600.
    #[arg(long = "carillon-reconnect-spread-secs", visible_alias = "reconnect-spread-secs")]
    #[arg(env = "CARILLON_RECONNECT_SPREAD_SECS", value_name = "SECONDS", default_value = "2", hide_env_values = true)]
    pub(super) reconnect_spread_secs: String,

    /// Rate limits per user and address: on, off (for benchmarks), or changes to single ones, separated by commas: how
    /// many at once and in how much time, such as start=20/20s,start.address=off. docs/settings.md lists them.
    #[arg(long = "carillon-rate-limits", visible_alias = "rate-limits", env = "CARILLON_RATE_LIMITS")]
    #[arg(value_name = "ON|OFF|LIMITS", default_value = "on", hide_env_values = true)]
    pub(super) rate_limits: String,

    /// Proxies in front of the node, whose word on a client's address counts (`Forwarded`, `X-Forwarded-For`): addresses
    /// and networks such as 10.0.0.0/8, separated by commas. Empty: none, such headers are ignored.
    #[arg(long = "carillon-trusted-proxies", visible_alias = "trusted-proxies", env = "CARILLON_TRUSTED_PROXIES")]
    #[arg(value_name = "NETWORKS", hide_env_values = true)]
    pub(super) trusted_proxies: Option<String>,

    /// Whether browsers are told to come by https only (`Strict-Transport-Security`): on, off, or auto: when a trusted
    /// proxy says that the request came by https.
    #[arg(long = "carillon-hsts", visible_alias = "hsts", env = "CARILLON_HSTS")]
    #[arg(value_name = "AUTO|ON|OFF", default_value = "auto", hide_env_values = true)]
    pub(super) hsts: String,

    /// Development mode: without a key for tokens, makes a secret and keeps it in carillon-dev.secret beside the
    /// database. On loopback addresses only, unless a key is set. It is the default of `carillon` without any argument
    /// and without a key.
    #[arg(long = "dev", visible_alias = "carillon-dev", env = "CARILLON_DEV", hide_env_values = true)]
    #[arg(value_name = "ON|OFF", num_args = 0..=1, require_equals = true, default_missing_value = "on")]
    pub(super) dev: Option<String>,
}

/// Where state lives.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Storage and cluster")]
pub(super) struct StoreArgs {
    /// The database: postgres://user:password@host/name, or sqlite:PATH for a single node.
    #[arg(long = "database-url", env = "DATABASE_URL", hide_env_values = true)]
    #[arg(value_name = "URL", default_value = "sqlite:carillon.db")]
    pub(super) database_url: Secret,

    /// The same PostgreSQL database by the role that owns its tables, for `migrate`, and for `serve` before it starts.
    /// The role of DATABASE_URL is then granted what it needs. Empty: DATABASE_URL. See docs/row-security.md.
    #[arg(long = "carillon-migration-database-url", visible_alias = "migration-database-url")]
    #[arg(env = "CARILLON_MIGRATION_DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub(super) migration_database_url: Option<Secret>,

    /// Connections to PostgreSQL that serve calls, 1 to 128; half as many more, at least one, are for what users look
    /// up, and two for leases and commits.
    #[arg(long = "carillon-db-connections", visible_alias = "db-connections", env = "CARILLON_DB_CONNECTIONS")]
    #[arg(value_name = "CONNECTIONS", default_value = "8", hide_env_values = true)]
    pub(super) db_connections: String,

    /// Whether a node brings the database's tables up to date when it starts: auto, or off where `carillon migrate` does
    /// it beforehand, as somebody who may; the node then refuses to start on tables that are too old.
    #[arg(long = "carillon-migrate", visible_alias = "migrate", env = "CARILLON_MIGRATE", hide_env_values = true)]
    #[arg(value_name = "AUTO|OFF", default_value = "auto")]
    pub(super) migrate: String,

    /// Redis, for a cluster of several nodes: redis://… or rediss://… (TLS); needs PostgreSQL. Empty: this node alone.
    #[arg(long = "redis-url", env = "REDIS_URL", hide_env_values = true, value_name = "URL")]
    pub(super) redis_url: Option<Secret>,

    /// The cluster's name: the beginning of its channels in Redis, so that several may share one. At most 64 of
    /// letters, digits and ._-
    #[arg(long = "carillon-cluster", visible_alias = "cluster", env = "CARILLON_CLUSTER", hide_env_values = true)]
    #[arg(value_name = "NAME", default_value = "carillon")]
    pub(super) cluster: String,

    /// Seconds after which a node that gives no sign of life loses its calls to others, 2 to 60. The same on all
    /// nodes.
    #[arg(long = "carillon-node-lease-secs", visible_alias = "node-lease-secs", env = "CARILLON_NODE_LEASE_SECS")]
    #[arg(value_name = "SECONDS", default_value = "5", hide_env_values = true)]
    pub(super) node_lease_secs: String,
}

/// Who may do what.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Tokens and keys (at least one of secret, public key, JWKS)")]
pub(super) struct KeyArgs {
    /// Secret of HS256 tokens, at least 16 bytes, better 32. Rather in the environment than as a flag.
    #[arg(long = "carillon-jwt-secret", visible_alias = "jwt-secret", env = "CARILLON_JWT_SECRET")]
    #[arg(value_name = "SECRET", hide_env_values = true)]
    pub(super) jwt_secret: Option<Secret>,

    /// File with a public key in PEM: RSA (tokens of RS256), EC P-256 (ES256) or Ed25519 (EdDSA).
    #[arg(long = "carillon-jwt-public-key", visible_alias = "jwt-public-key", env = "CARILLON_JWT_PUBLIC_KEY")]
    #[arg(value_name = "FILE", hide_env_values = true)]
    pub(super) jwt_public_key: Option<String>,

    /// Address of a key server (JWKS): https, or http on a loopback address. Fetched at most once a minute.
    #[arg(long = "carillon-jwks-url", visible_alias = "jwks-url", env = "CARILLON_JWKS_URL")]
    #[arg(value_name = "URL", hide_env_values = true)]
    pub(super) jwks_url: Option<String>,

    /// The issuer (`iss`) that tokens must name. Empty: not looked at.
    #[arg(long = "carillon-jwt-issuer", visible_alias = "jwt-issuer", env = "CARILLON_JWT_ISSUER")]
    #[arg(value_name = "TEXT", hide_env_values = true)]
    pub(super) jwt_issuer: Option<String>,

    /// The audience (`aud`) that tokens must name. Empty: not looked at.
    #[arg(long = "carillon-jwt-audience", visible_alias = "jwt-audience", env = "CARILLON_JWT_AUDIENCE")]
    #[arg(value_name = "TEXT", hide_env_values = true)]
    pub(super) jwt_audience: Option<String>,

    /// Seconds that the clock of whoever makes tokens may be off, 0 to 300.
    #[arg(long = "carillon-jwt-leeway-secs", visible_alias = "jwt-leeway-secs", env = "CARILLON_JWT_LEEWAY_SECS")]
    #[arg(value_name = "SECONDS", default_value = "5", hide_env_values = true)]
    pub(super) jwt_leeway_secs: String,

    /// Key of the service API, at least 16 bytes, sent as `Authorization: Bearer`. Empty: only keys that were made are accepted.
    #[arg(long = "carillon-service-key", visible_alias = "service-key", env = "CARILLON_SERVICE_KEY")]
    #[arg(value_name = "KEY", hide_env_values = true)]
    pub(super) service_key: Option<Secret>,
}

/// The rules of calls.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Calls")]
pub(super) struct CallArgs {
    /// Seconds a call rings before it is missed, 1 to 600.
    #[arg(long = "carillon-ring-timeout-secs", visible_alias = "ring-timeout-secs")]
    #[arg(env = "CARILLON_RING_TIMEOUT_SECS", hide_env_values = true)]
    #[arg(value_name = "SECONDS", default_value = "45")]
    pub(super) ring_timeout_secs: String,

    /// Seconds an accepted call has to connect, 1 to 600.
    #[arg(long = "carillon-connect-timeout-secs", visible_alias = "connect-timeout-secs")]
    #[arg(env = "CARILLON_CONNECT_TIMEOUT_SECS", hide_env_values = true)]
    #[arg(value_name = "SECONDS", default_value = "30")]
    pub(super) connect_timeout_secs: String,

    /// Seconds everybody has to come into the room of a call that moves to the media server, 1 to 600.
    #[arg(long = "carillon-escalation-timeout-secs", visible_alias = "escalation-timeout-secs")]
    #[arg(env = "CARILLON_ESCALATION_TIMEOUT_SECS", hide_env_values = true)]
    #[arg(value_name = "SECONDS", default_value = "15")]
    pub(super) escalation_timeout_secs: String,

    /// Seconds a participant whose connection broke has to come back, 0 to 300.
    #[arg(long = "carillon-reconnect-grace-secs", visible_alias = "reconnect-grace-secs")]
    #[arg(env = "CARILLON_RECONNECT_GRACE_SECS", hide_env_values = true)]
    #[arg(value_name = "SECONDS", default_value = "15")]
    pub(super) reconnect_grace_secs: String,

    /// What happens to a call for somebody who is in one: reject (the caller hears busy) or call_waiting (it rings).
    #[arg(long = "carillon-busy-policy", visible_alias = "busy-policy", env = "CARILLON_BUSY_POLICY")]
    #[arg(value_name = "REJECT|CALL_WAITING", default_value = "reject", hide_env_values = true)]
    pub(super) busy_policy: String,

    /// The most participants of a call, 2 to 1000.
    #[arg(long = "carillon-max-participants", visible_alias = "max-participants", env = "CARILLON_MAX_PARTICIPANTS")]
    #[arg(value_name = "PARTICIPANTS", default_value = "100", hide_env_values = true)]
    pub(super) max_participants: String,

    /// Seconds a call may last, from the second person's coming in, 0 to 2592000 (30 days). 0: for ever. The same on all
    /// nodes.
    #[arg(long = "carillon-max-call-secs", visible_alias = "max-call-secs", env = "CARILLON_MAX_CALL_SECS")]
    #[arg(value_name = "SECONDS", default_value = "86400", hide_env_values = true)]
    pub(super) max_call_secs: String,

    /// Seconds between two looks of each sweeper for what was left behind, about, 1 to 3600. Takeovers are looked for each
    /// second, whatever this says.
    #[arg(long = "carillon-sweep-interval-secs", visible_alias = "sweep-interval-secs")]
    #[arg(env = "CARILLON_SWEEP_INTERVAL_SECS", hide_env_values = true)]
    #[arg(value_name = "SECONDS", default_value = "15")]
    pub(super) sweep_interval_secs: String,

    /// Days that the audit log is kept, 0 to 36500. 0: for ever. The same on all nodes.
    #[arg(long = "carillon-audit-retention-days", visible_alias = "audit-retention-days")]
    #[arg(env = "CARILLON_AUDIT_RETENTION_DAYS", hide_env_values = true)]
    #[arg(value_name = "DAYS", default_value = "365")]
    pub(super) audit_retention_days: String,
}

/// What media needs.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Media")]
pub(super) struct MediaArgs {
    /// STUN servers for clients, separated by commas: stun:host:port. Empty: none, which is enough within one network.
    #[arg(long = "stun-urls", env = "STUN_URLS", hide_env_values = true, value_name = "URLS")]
    pub(super) stun_urls: Option<String>,

    /// TURN servers for clients, separated by commas: turn:host:port?transport=udp or turns:… Needs TURN_SECRET.
    #[arg(long = "turn-urls", env = "TURN_URLS", hide_env_values = true, value_name = "URLS")]
    pub(super) turn_urls: Option<String>,

    /// The secret shared with the TURN servers (coturn's static-auth-secret). Needs TURN_URLS.
    #[arg(long = "turn-secret", env = "TURN_SECRET", hide_env_values = true, value_name = "SECRET")]
    pub(super) turn_secret: Option<Secret>,

    /// Whether clients are told to use the TURN servers only, so that nobody learns another's address: on or off. Needs
    /// TURN_URLS.
    #[arg(long = "carillon-ice-relay-only", visible_alias = "ice-relay-only", env = "CARILLON_ICE_RELAY_ONLY")]
    #[arg(value_name = "ON|OFF", default_value = "off", hide_env_values = true)]
    pub(super) ice_relay_only: String,

    /// LiveKit server, as this node reaches it: wss://… or ws://… Needs LIVEKIT_API_KEY and LIVEKIT_API_SECRET.
    #[arg(long = "livekit-url", env = "LIVEKIT_URL", hide_env_values = true, value_name = "URL")]
    pub(super) livekit_url: Option<String>,

    /// LiveKit server, as browsers reach it: wss://… or ws://… Empty: as this node does.
    #[arg(long = "livekit-public-url", env = "LIVEKIT_PUBLIC_URL", hide_env_values = true, value_name = "URL")]
    pub(super) livekit_public_url: Option<String>,

    /// LiveKit's API key.
    #[arg(long = "livekit-api-key", env = "LIVEKIT_API_KEY", hide_env_values = true, value_name = "KEY")]
    pub(super) livekit_api_key: Option<String>,

    /// LiveKit's API secret.
    #[arg(long = "livekit-api-secret", env = "LIVEKIT_API_SECRET", hide_env_values = true, value_name = "SECRET")]
    pub(super) livekit_api_secret: Option<Secret>,
}

/// Where recordings are kept.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Recordings (a directory or a bucket; neither: nothing is recorded)")]
pub(super) struct RecordingArgs {
    /// Directory for the files of recordings, shared with LiveKit's egress.
    #[arg(long = "recordings-dir", env = "RECORDINGS_DIR", hide_env_values = true, value_name = "DIRECTORY")]
    pub(super) recordings_dir: Option<String>,

    /// The same directory where egress runs. Empty: as RECORDINGS_DIR.
    #[arg(long = "recordings-egress-dir", env = "RECORDINGS_EGRESS_DIR", hide_env_values = true)]
    #[arg(value_name = "DIRECTORY")]
    pub(super) recordings_egress_dir: Option<String>,

    /// Bucket of an S3-compatible store for the files of recordings, in place of RECORDINGS_DIR.
    #[arg(long = "recordings-s3-bucket", env = "RECORDINGS_S3_BUCKET", hide_env_values = true, value_name = "BUCKET")]
    pub(super) recordings_s3_bucket: Option<String>,

    /// The store's address: https://… or http://… Empty: Amazon's.
    #[arg(long = "recordings-s3-endpoint", env = "RECORDINGS_S3_ENDPOINT", hide_env_values = true, value_name = "URL")]
    pub(super) recordings_s3_endpoint: Option<String>,

    /// The store's region.
    #[arg(long = "recordings-s3-region", env = "RECORDINGS_S3_REGION", hide_env_values = true)]
    #[arg(value_name = "REGION", default_value = "us-east-1")]
    pub(super) recordings_s3_region: String,

    /// The store's access key.
    #[arg(long = "recordings-s3-access-key", env = "RECORDINGS_S3_ACCESS_KEY", hide_env_values = true)]
    #[arg(value_name = "KEY")]
    pub(super) recordings_s3_access_key: Option<String>,

    /// The store's secret key. Egress is given it too.
    #[arg(long = "recordings-s3-secret-key", env = "RECORDINGS_S3_SECRET_KEY", hide_env_values = true)]
    #[arg(value_name = "SECRET")]
    pub(super) recordings_s3_secret_key: Option<Secret>,

    /// What the names of files in the bucket begin with, such as recordings/
    #[arg(long = "recordings-s3-prefix", env = "RECORDINGS_S3_PREFIX", hide_env_values = true, value_name = "TEXT")]
    pub(super) recordings_s3_prefix: Option<String>,

    /// Whether downloads are sent to the store itself, by an address that is signed for a short time: on, or off (they go
    /// through the node).
    #[arg(long = "recordings-s3-redirect", env = "RECORDINGS_S3_REDIRECT", hide_env_values = true)]
    #[arg(value_name = "ON|OFF", default_value = "off")]
    pub(super) recordings_s3_redirect: String,

    /// Days for which recordings are kept, 1 to 3650, unless their start says.
    #[arg(long = "recordings-retention-days", env = "RECORDINGS_RETENTION_DAYS", hide_env_values = true)]
    #[arg(value_name = "DAYS", default_value = "30")]
    pub(super) recordings_retention_days: String,

    /// Secret that links to recordings are signed with, at least 16 bytes, the same on all nodes. Empty: derived from
    /// LIVEKIT_API_SECRET.
    #[arg(long = "recordings-link-secret", env = "RECORDINGS_LINK_SECRET", hide_env_values = true)]
    #[arg(value_name = "SECRET")]
    pub(super) recordings_link_secret: Option<Secret>,
}

/// How the application's backend is told of what happens.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Webhooks (which there are is said over the service API)")]
pub(super) struct WebhookArgs {
    /// Whether webhooks may go to addresses that are not public, and by http: on or off. For development: whoever has a
    /// service key can then have any address within the network asked.
    #[arg(long = "carillon-webhook-allow-private", visible_alias = "webhook-allow-private")]
    #[arg(env = "CARILLON_WEBHOOK_ALLOW_PRIVATE", hide_env_values = true)]
    #[arg(value_name = "ON|OFF", default_value = "off")]
    pub(super) webhook_allow_private: String,

    /// Seconds an endpoint may take to answer, 1 to 30.
    #[arg(long = "carillon-webhook-timeout-secs", visible_alias = "webhook-timeout-secs")]
    #[arg(env = "CARILLON_WEBHOOK_TIMEOUT_SECS", hide_env_values = true)]
    #[arg(value_name = "SECONDS", default_value = "10")]
    pub(super) webhook_timeout_secs: String,

    /// The waits between attempts at a delivery that fails, about: seconds, each 1 to 86400, at most 20 of them, separated by
    /// commas. After the last attempt it is a dead letter.
    #[arg(long = "carillon-webhook-retry-secs", visible_alias = "webhook-retry-secs")]
    #[arg(env = "CARILLON_WEBHOOK_RETRY_SECS", hide_env_values = true)]
    #[arg(value_name = "SECONDS,…", default_value = "5,30,120,600,1800,7200,21600")]
    pub(super) webhook_retry_secs: String,
}

/// What is written to standard error.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Logs")]
pub(super) struct LogArgs {
    /// What is logged: a level (error, warn, info, debug, trace), or levels by module such as info,carillon=debug.
    #[arg(long = "rust-log", env = "RUST_LOG", hide_env_values = true)]
    #[arg(value_name = "FILTER", default_value = "info")]
    pub(super) rust_log: String,

    /// How: json (one object a line) or pretty (for people) (default: pretty on a terminal, json otherwise).
    #[arg(long = "carillon-log-format", visible_alias = "log-format", env = "CARILLON_LOG_FORMAT")]
    #[arg(value_name = "JSON|PRETTY", hide_env_values = true)]
    pub(super) log_format: Option<String>,
}
