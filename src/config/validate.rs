//! From text to settings: every value is judged, and everything that is wrong is said at once.
//!
//! Must never put a secret, or an address that may hold a password, into a message.

use std::{
    fs,
    io::IsTerminal,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    path::PathBuf,
    time::Duration,
};

use redis::IntoConnectionInfo;
use tracing_subscriber::EnvFilter;

use super::{BusyPolicy, Database, LiveKit, LogFormat, LogSettings, RawSettings, Settings, SettingsError, Turn};
use crate::{
    gateway::{
        address::TrustedProxies,
        auth::{AuthSettings, Url, VerifyingKey, normalized_origin},
        headers::Hsts,
        limits::Rules,
    },
    secret::Secret,
};

mod recordings;
mod traces;
mod webhooks;

/// Below this an HS256 secret or a service key can be guessed offline from one token, or online.
const MIN_SECRET_BYTES: usize = 16;
/// RFC 7518, 3.2: a secret of HS256 has at least the length of the hash.
const GOOD_SECRET_BYTES: usize = 32;
/// The longest value that a message repeats, in characters.
const MAX_SHOWN_CHARS: usize = 60;

impl RawSettings {
    /// Judges every value. On success every value is within its bounds; whether there is a key for tokens is another
    /// question, see [`Settings::with_keys_for_serving`].
    pub fn validate(self) -> Result<Settings, SettingsError> {
        let Self { node, store, token, call, media, recording, webhook, log, traces } = self;
        let mut check = Check::default();
        let database = check.database(&store.database_url);
        let migration_url = check.migration_url(given_secret(store.migration_database_url), &database);
        let redis_url = check.redis(given_secret(store.redis_url));
        if redis_url.is_some() && matches!(database, Database::Sqlite(_)) {
            check.wrong(
                "REDIS_URL",
                "is set, but DATABASE_URL is not PostgreSQL: nodes of a cluster share one \
                database. Set DATABASE_URL to postgres://…, or leave REDIS_URL empty for a single node",
            );
        }
        let settings = Settings {
            listen: check.listen(&node.listen),
            database,
            migration_url,
            db_connections: check.number("CARILLON_DB_CONNECTIONS", &store.db_connections, 1..=128) as u32,
            migrate: check.one_of("CARILLON_MIGRATE", &store.migrate, &[("auto", true), ("off", false)]),
            redis_url,
            cluster: check.name("CARILLON_CLUSTER", &store.cluster, "._-"),
            node_name: given(node.node_id).map(|name| check.name("CARILLON_NODE_ID", &name, "._~:@=+-")),
            node_lease: check.seconds("CARILLON_NODE_LEASE_SECS", &store.node_lease_secs, 2..=60),
            auth: AuthSettings {
                secret: check.secret("CARILLON_JWT_SECRET", token.jwt_secret),
                public_key: given(token.jwt_public_key).and_then(|path| check.public_key(&path)),
                jwks_url: given(token.jwks_url).and_then(|url| check.jwks_url(&url)),
                issuer: given(token.jwt_issuer),
                audience: given(token.jwt_audience),
                leeway: check.seconds("CARILLON_JWT_LEEWAY_SECS", &token.jwt_leeway_secs, 0..=300),
                service_key: check.secret("CARILLON_SERVICE_KEY", token.service_key),
            },
            allowed_origins: check.origins(node.allowed_origins),
            ring_timeout: check.seconds("CARILLON_RING_TIMEOUT_SECS", &call.ring_timeout_secs, 1..=600),
            connect_timeout: check.seconds("CARILLON_CONNECT_TIMEOUT_SECS", &call.connect_timeout_secs, 1..=600),
            escalation_timeout: check.seconds(
                "CARILLON_ESCALATION_TIMEOUT_SECS",
                &call.escalation_timeout_secs,
                1..=600,
            ),
            reconnect_grace: check.seconds("CARILLON_RECONNECT_GRACE_SECS", &call.reconnect_grace_secs, 0..=300),
            busy_policy: check.one_of(
                "CARILLON_BUSY_POLICY",
                &call.busy_policy,
                &[("reject", BusyPolicy::Reject), ("call_waiting", BusyPolicy::CallWaiting)],
            ),
            max_participants: check.number("CARILLON_MAX_PARTICIPANTS", &call.max_participants, 2..=1000) as u32,
            max_call: Some(check.seconds("CARILLON_MAX_CALL_SECS", &call.max_call_secs, 0..=2_592_000))
                .filter(|longest| !longest.is_zero()),
            sweep_interval: check.seconds("CARILLON_SWEEP_INTERVAL_SECS", &call.sweep_interval_secs, 1..=3600),
            audit_kept: Some(check.number("CARILLON_AUDIT_RETENTION_DAYS", &call.audit_retention_days, 0..=36_500))
                .filter(|days| *days > 0)
                .map(|days| Duration::from_secs(days * 24 * 60 * 60)),
            drain: check.seconds("CARILLON_DRAIN_SECS", &node.drain_secs, 0..=600),
            reconnect_spread: check.seconds("CARILLON_RECONNECT_SPREAD_SECS", &node.reconnect_spread_secs, 0..=600),
            rate_limits: check.rate_limits(&node.rate_limits),
            trusted_proxies: check.trusted_proxies(node.trusted_proxies),
            hsts: check.one_of(
                "CARILLON_HSTS",
                &node.hsts,
                &[("auto", Hsts::Auto), ("on", Hsts::Always), ("off", Hsts::Never)],
            ),
            ping_interval: check.seconds("CARILLON_PING_INTERVAL_SECS", &node.ping_interval_secs, 1..=120),
            workers: check.number("CARILLON_WORKERS", &node.workers, 1..=64) as usize,
            livekit: check.livekit(
                given(media.livekit_url),
                given(media.livekit_public_url),
                given(media.livekit_api_key),
                given_secret(media.livekit_api_secret),
            ),
            ice_relay_only: check.relay_only(&media.ice_relay_only, media.turn_urls.as_deref()),
            turn: check.turn(media.turn_urls, given_secret(media.turn_secret)),
            stun_urls: check.servers("STUN_URLS", media.stun_urls, &["stun:", "stuns:"]),
            recordings: check.recordings(recording),
            webhooks: check.webhooks(&webhook),
            log: check.log(log.rust_log, given(log.log_format)),
            traces: check.traces(traces),
            dev: given(node.dev).is_some_and(|dev| check.switch("CARILLON_DEV", &dev)),
            warnings: Vec::new(),
        };
        check.done(settings)
    }

    /// Whether development mode was asked for or refused in words, rather than left to the circumstances.
    pub fn says_whether_dev(&self) -> bool {
        self.node.dev.as_deref().is_some_and(|dev| !dev.trim().is_empty())
    }
}

/// A value that was set to something.
fn given(value: Option<String>) -> Option<String> {
    value.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

fn given_secret(value: Option<Secret>) -> Option<Secret> {
    value.filter(|value| !value.reveal().is_empty())
}

/// A value as a message may show it: short, and on one line.
fn shown(value: &str) -> String {
    let short: String = value.chars().take(MAX_SHOWN_CHARS).collect();
    format!("{short:?}{}", if short.len() < value.len() { "…" } else { "" })
}

/// Whether it is the address of a PostgreSQL. Those options of libpq that the store itself understands are passed over.
fn is_postgres(url: &str) -> bool {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let ours = |pair: &&str| {
        pair.starts_with("sslrootcert=") || matches!(*pair, "sslmode=verify-ca" | "sslmode=verify-full" | "")
    };
    let rest: Vec<&str> = query.split('&').filter(|pair| !ours(pair)).collect();
    let named = base.starts_with("postgres://") || base.starts_with("postgresql://");
    named && format!("{base}?{}", rest.join("&")).parse::<tokio_postgres::Config>().is_ok()
}

/// The flag of a setting.
pub(super) fn flag(name: &str) -> String {
    format!("--{}", name.strip_prefix("CARILLON_").unwrap_or(name).to_ascii_lowercase().replace('_', "-"))
}

/// Collects what is wrong and what is doubtful.
#[derive(Default)]
struct Check {
    errors: Vec<String>,
    warnings: Vec<String>,
}

impl Check {
    fn done(mut self, settings: Settings) -> Result<Settings, SettingsError> {
        if self.errors.is_empty() {
            Ok(Settings { warnings: std::mem::take(&mut self.warnings), ..settings })
        } else {
            Err(SettingsError(self.errors))
        }
    }

    /// Notes that a setting is wrong. `what` must not hold its value if that may be secret.
    fn wrong(&mut self, name: &str, what: impl std::fmt::Display) {
        self.errors.push(format!("{name} ({}) {what}", flag(name)));
    }

    /// The number, or the least one allowed after noting that it is wrong: nothing is started with it then.
    fn number(&mut self, name: &str, value: &str, range: RangeInclusive<u64>) -> u64 {
        self.whole_number(name, value, range, "a whole number")
    }

    fn seconds(&mut self, name: &str, value: &str, range: RangeInclusive<u64>) -> Duration {
        Duration::from_secs(self.whole_number(name, value, range, "a whole number of seconds"))
    }

    fn whole_number(&mut self, name: &str, value: &str, range: RangeInclusive<u64>, what: &str) -> u64 {
        match value.trim().parse() {
            Ok(number) if range.contains(&number) => number,
            _ => {
                let (least, most) = (range.start(), range.end());
                self.wrong(name, format!("is {}: give {what} from {least} to {most}", shown(value)));
                *least
            }
        }
    }

    fn one_of<T: Copy>(&mut self, name: &str, value: &str, words: &[(&str, T)]) -> T {
        let value = value.trim();
        if let Some((_, meaning)) = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(value)) {
            return *meaning;
        }
        let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        self.wrong(name, format!("is {}: give {}", shown(value), known.join(" or ")));
        words[0].1
    }

    fn switch(&mut self, name: &str, value: &str) -> bool {
        match value.trim().to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" => true,
            "false" | "0" | "no" => false,
            word => self.one_of(name, word, &[("on", true), ("off", false)]),
        }
    }

    fn name(&mut self, name: &str, value: &str, marks: &str) -> String {
        let value = value.trim();
        let fits = value.chars().all(|c| c.is_ascii_alphanumeric() || marks.contains(c));
        if !fits || !(1..=64).contains(&value.len()) {
            self.wrong(name, format!("is {}: give 1 to 64 of letters, digits and {marks}", shown(value)));
        }
        value.to_owned()
    }

    fn listen(&mut self, value: &str) -> SocketAddr {
        let value = value.trim();
        let numeric = value.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
        numeric.as_deref().unwrap_or(value).parse().unwrap_or_else(|_| {
            let right = "give an IP address and a port, such as 127.0.0.1:8080, 0.0.0.0:8080 or [::]:8080";
            self.wrong("CARILLON_LISTEN", format!("is {}: {right}", shown(value)));
            SocketAddr::from(([127, 0, 0, 1], 0))
        })
    }

    fn database(&mut self, value: &Secret) -> Database {
        let url = value.reveal().trim();
        if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() || path.contains('?') || path == ":memory:" {
                self.wrong("DATABASE_URL", "needs a file after sqlite:, such as sqlite:carillon.db");
            }
            return Database::Sqlite(PathBuf::from(path));
        }
        if !is_postgres(url) {
            self.wrong(
                "DATABASE_URL",
                "is neither postgres://user:password@host/name nor sqlite:PATH (its value is \
                not shown: it may hold a password; special characters in a password are written as %XX)",
            );
        }
        Database::Postgres(Secret::new(url))
    }

    fn migration_url(&mut self, value: Option<Secret>, database: &Database) -> Option<Secret> {
        const NAME: &str = "CARILLON_MIGRATION_DATABASE_URL";
        let value = value?;
        let url = value.reveal().trim();
        match database {
            Database::Postgres(_) if is_postgres(url) => {}
            Database::Sqlite(_) => self.wrong(NAME, "is set, but DATABASE_URL is not PostgreSQL"),
            _ => self.wrong(
                NAME,
                "is not postgres://user:password@host/name (its value is not shown: it may hold a password)",
            ),
        }
        Some(Secret::new(url))
    }

    fn redis(&mut self, value: Option<Secret>) -> Option<Secret> {
        let value = value?;
        let url = value.reveal().trim();
        let named = url.starts_with("redis://") || url.starts_with("rediss://");
        if !named || url.into_connection_info().is_err() {
            self.wrong(
                "REDIS_URL",
                "is not redis://[user:password@]host[:port][/database], or rediss:// for TLS \
                (its value is not shown: it may hold a password)",
            );
        }
        Some(Secret::new(url))
    }

    fn secret(&mut self, name: &str, value: Option<Secret>) -> Option<Secret> {
        let value = given_secret(value)?;
        let bytes = value.reveal().len();
        if bytes < MIN_SECRET_BYTES {
            self.wrong(
                name,
                format!(
                    "is {bytes} bytes long: give at least {MIN_SECRET_BYTES} bytes, better \
                {GOOD_SECRET_BYTES} random ones (openssl rand -hex 32)"
                ),
            );
        } else if bytes < GOOD_SECRET_BYTES {
            self.warnings
                .push(format!("{name} is shorter than {GOOD_SECRET_BYTES} bytes; use a longer one in production"));
        }
        Some(value)
    }

    fn public_key(&mut self, path: &str) -> Option<VerifyingKey> {
        let name = "CARILLON_JWT_PUBLIC_KEY";
        if path.contains("-----BEGIN") {
            self.wrong(name, "holds a key: give the path of a file that holds it");
            return None;
        }
        let pem = fs::read_to_string(path)
            .map_err(|error| self.wrong(name, format!("cannot be read from {}: {error}", shown(path))))
            .ok()?;
        VerifyingKey::from_pem(&pem).map_err(|error| self.wrong(name, format!("({}) {error}", shown(path)))).ok()
    }

    fn jwks_url(&mut self, value: &str) -> Option<Url> {
        let url = Url::parse(value).ok().filter(|url| match url.scheme() {
            "https" => true,
            // Keys that come over the network unprotected could be anybody's.
            "http" => is_loopback(url),
            _ => false,
        });
        if url.is_none() {
            self.wrong("CARILLON_JWKS_URL", "is not an https:// address (http:// is for loopback addresses only)");
        }
        url
    }

    fn origins(&mut self, value: Option<String>) -> Vec<String> {
        let mut origins = Vec::new();
        for origin in list(value) {
            match normalized_origin(&origin) {
                Some(origin) => origins.push(origin),
                None => self.wrong(
                    "CARILLON_ALLOWED_ORIGINS",
                    format!(
                        "holds {}: give exact origins, such as \
                    https://app.example or http://localhost:3000, separated by commas",
                        shown(&origin)
                    ),
                ),
            }
        }
        origins
    }

    fn rate_limits(&mut self, value: &str) -> Option<Rules> {
        Rules::parse(value).unwrap_or_else(|what| {
            self.wrong("CARILLON_RATE_LIMITS", what);
            None
        })
    }

    fn trusted_proxies(&mut self, value: Option<String>) -> TrustedProxies {
        let entries = list(value);
        TrustedProxies::parse(entries.iter().map(String::as_str)).unwrap_or_else(|entry| {
            let right = "give IP addresses or networks, such as 10.0.0.0/8 or 192.0.2.1, separated by commas";
            self.wrong("CARILLON_TRUSTED_PROXIES", format!("holds {}: {right}", shown(entry)));
            TrustedProxies::default()
        })
    }

    fn servers(&mut self, name: &str, value: Option<String>, schemes: &[&str]) -> Vec<String> {
        let urls = list(value);
        for url in &urls {
            let rest = schemes.iter().find_map(|scheme| url.strip_prefix(scheme));
            let host =
                |rest: &str| !rest.is_empty() && !rest.starts_with(['/', '?', ':']) && !rest.contains(['@', ' ']);
            if !rest.is_some_and(host) {
                self.wrong(
                    name,
                    format!(
                        "holds {}: give addresses such as {}turn.example:3478, separated by commas",
                        shown(url),
                        schemes[0]
                    ),
                );
            }
        }
        urls
    }

    fn turn(&mut self, urls: Option<String>, secret: Option<Secret>) -> Option<Turn> {
        let urls = self.servers("TURN_URLS", urls, &["turn:", "turns:"]);
        match secret {
            Some(secret) if !urls.is_empty() => return Some(Turn { urls, secret }),
            Some(_) => self.wrong("TURN_URLS", "is empty, but TURN_SECRET is set: set both or neither"),
            None if !urls.is_empty() => self.wrong(
                "TURN_SECRET",
                "is empty, but TURN_URLS is set: clients get \
                credentials derived from the secret shared with the TURN servers",
            ),
            None => {}
        }
        None
    }

    fn relay_only(&mut self, value: &str, turn_urls: Option<&str>) -> bool {
        let on = self.switch("CARILLON_ICE_RELAY_ONLY", value);
        if on && turn_urls.is_none_or(|urls| urls.trim().is_empty()) {
            self.wrong("CARILLON_ICE_RELAY_ONLY", "is on, but TURN_URLS is empty: no client could reach another");
        }
        on
    }

    fn livekit(
        &mut self,
        url: Option<String>,
        public_url: Option<String>,
        key: Option<String>,
        secret: Option<Secret>,
    ) -> Option<LiveKit> {
        let missing = [
            ("LIVEKIT_URL", url.is_none()),
            ("LIVEKIT_API_KEY", key.is_none()),
            ("LIVEKIT_API_SECRET", secret.is_none()),
        ];
        if public_url.is_some() && url.is_none() {
            self.wrong("LIVEKIT_PUBLIC_URL", "is set, but LIVEKIT_URL is empty");
        }
        if missing.iter().any(|(_, absent)| *absent) && !missing.iter().all(|(_, absent)| *absent) {
            for (name, _) in missing.iter().filter(|(_, absent)| *absent) {
                self.wrong(
                    name,
                    "is empty: LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET are set together or not at all",
                );
            }
        }
        let (url, api_key, api_secret) = (url?, key?, secret?);
        let known = |url: Url| matches!(url.scheme(), "ws" | "wss" | "http" | "https") && url.has_host();
        if !Url::parse(&url).is_ok_and(known) {
            self.wrong("LIVEKIT_URL", format!("is {}: give wss://host or ws://host:port", shown(&url)));
        }
        if let Some(public) = &public_url
            && !Url::parse(public).is_ok_and(known)
        {
            self.wrong("LIVEKIT_PUBLIC_URL", format!("is {}: give wss://host or ws://host:port", shown(public)));
        }
        let public_url = browsers(public_url.unwrap_or_else(|| url.clone()));
        Some(LiveKit { url, public_url, api_key, api_secret })
    }

    fn log(&mut self, filter: String, format: Option<String>) -> LogSettings {
        if let Err(error) = EnvFilter::try_new(&filter) {
            let right = "give a level, or levels by module such as info,carillon=debug";
            self.wrong("RUST_LOG", format!("is {}: {right} ({error})", shown(&filter)));
        }
        let words = [("json", LogFormat::Json), ("pretty", LogFormat::Pretty)];
        let format = match format {
            Some(format) => self.one_of("CARILLON_LOG_FORMAT", &format, &words),
            None if std::io::stderr().is_terminal() => LogFormat::Pretty,
            None => LogFormat::Json,
        };
        LogSettings { filter, format }
    }
}

/// An address as browsers open sockets to it.
fn browsers(url: String) -> String {
    let plain = url.strip_prefix("http://").map(|rest| format!("ws://{rest}"));
    let secure = || url.strip_prefix("https://").map(|rest| format!("wss://{rest}"));
    plain.or_else(secure).unwrap_or(url)
}

fn list(value: Option<String>) -> Vec<String> {
    let value = value.unwrap_or_default();
    value.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
