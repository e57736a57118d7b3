//! What can be said of the settings by themselves, and of the address that the node is to listen on.

use std::{
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use super::{
    net::{STEP, http},
    report::Findings,
};
use crate::{
    config::{Database, Settings},
    gateway::auth::AuthSettings,
};

/// What the settings say.
pub(super) fn check(found: &Findings, settings: &Settings, unknown: &[String]) {
    found.ok("settings", "every setting can be read, as serve reads it");
    if !unknown.is_empty() {
        found.warning(
            "settings.unknown",
            format!("{} is no setting and has no effect", unknown.join(", ")),
            "correct the name (`carillon --help` lists all), or take it away",
        );
    }
    secrets(found, settings);
    tokens(found, &settings.auth, settings.dev);
    origins(found, settings);
    proxies(found, settings);
    cluster(found, settings);
    if settings.rate_limits.is_none() {
        found.warning(
            "settings.rate_limits",
            "CARILLON_RATE_LIMITS is off: any client may send as much as it likes",
            "leave CARILLON_RATE_LIMITS empty, or change single limits; off is for benchmarks",
        );
    }
}

/// The words of `serve` on secrets that are short.
fn secrets(found: &Findings, settings: &Settings) {
    for warning in &settings.warnings {
        found.warning("settings.secrets", warning.as_str(), "make another: openssl rand -hex 32");
    }
    if settings.warnings.is_empty() {
        found.ok("settings.secrets", "none is short");
    }
}

fn tokens(found: &Findings, auth: &AuthSettings, dev: bool) {
    const NAME: &str = "settings.tokens";
    let ways = [
        ("a shared secret (HS256)", auth.secret.is_some()),
        ("a public key", auth.public_key.is_some()),
        ("a key server (JWKS)", auth.jwks_url.is_some()),
    ];
    let ways: Vec<_> = ways.into_iter().filter(|(_, set)| *set).map(|(way, _)| way).collect();
    let missing: Vec<_> = [("issuer", auth.issuer.is_none()), ("audience", auth.audience.is_none())]
        .into_iter()
        .filter(|(_, missing)| *missing)
        .map(|(what, _)| what)
        .collect();
    // Keys of an identity provider sign tokens for others too; a secret is shared with nobody else.
    let others_sign = auth.public_key.is_some() || auth.jwks_url.is_some();
    if ways.is_empty() && dev {
        found.warning(
            NAME,
            "development mode: tokens are signed with a secret that the node makes",
            "set CARILLON_JWT_SECRET, CARILLON_JWT_PUBLIC_KEY or CARILLON_JWKS_URL, and leave CARILLON_DEV empty",
        );
    } else if others_sign && !missing.is_empty() {
        found.warning(
            NAME,
            format!(
                "checked with {}; no {} is asked for, so a token for another service is good here",
                ways.join(" and "),
                missing.join(" and no ")
            ),
            "set CARILLON_JWT_ISSUER and CARILLON_JWT_AUDIENCE to what your tokens say",
        );
    } else {
        found.ok(NAME, format!("checked with {}", ways.join(" and ")));
    }
}

fn origins(found: &Findings, settings: &Settings) {
    const NAME: &str = "settings.origins";
    let plain: Vec<_> = settings
        .allowed_origins
        .iter()
        .filter(|origin| {
            let host = origin.strip_prefix("http://").map(|rest| rest.rsplit_once(':').map_or(rest, |(host, _)| host));
            host.is_some_and(|host| host != "localhost" && !host.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback()))
        })
        .map(String::as_str)
        .collect();
    if !plain.is_empty() {
        found.warning(
            NAME,
            format!(
                "{} is http: whoever is on the way can be that page, and browsers give it no microphone",
                plain.join(", ")
            ),
            "serve the page by https, and name it so in CARILLON_ALLOWED_ORIGINS",
        );
    } else if settings.allowed_origins.is_empty() {
        found.ok(NAME, "only the node's own page may open sockets");
    } else {
        found.ok(NAME, format!("sockets from {}", settings.allowed_origins.join(", ")));
    }
}

fn proxies(found: &Findings, settings: &Settings) {
    const NAME: &str = "settings.proxies";
    let proxies = &settings.trusted_proxies;
    if proxies.trusts_everybody() {
        found.warning(
            NAME,
            "CARILLON_TRUSTED_PROXIES trusts every address: any client may say that it comes from elsewhere",
            "name the addresses of the balancer only",
        );
    } else if !proxies.trusts_somebody() && !settings.listen.ip().is_loopback() {
        found.warning(
            NAME,
            "no proxy is trusted: behind a balancer all clients seem to have one address, and share its rate limits",
            "name the balancer's addresses in CARILLON_TRUSTED_PROXIES, such as 10.0.0.0/8; without a balancer all is well",
        );
    } else {
        found.ok(NAME, if proxies.trusts_somebody() { "some are trusted" } else { "none, on this machine alone" });
    }
}

fn cluster(found: &Findings, settings: &Settings) {
    const NAME: &str = "settings.cluster";
    let others_reach = !settings.listen.ip().is_loopback();
    match (&settings.database, &settings.redis_url) {
        (Database::Postgres(_), Some(_)) => found.ok(NAME, "several nodes: PostgreSQL and Redis"),
        (Database::Postgres(_), None) => found.warning(
            NAME,
            "PostgreSQL without Redis: a single node; a second one on this database would not be heard by the first",
            "set REDIS_URL before there is a second node",
        ),
        (Database::Sqlite(_), _) if others_reach => found.warning(
            NAME,
            "SQLite on an address that others reach: one node, whose end interrupts all calls until it is back",
            "for more than trying out: DATABASE_URL=postgres://…, REDIS_URL, and two nodes or more",
        ),
        (Database::Sqlite(_), _) => found.ok(NAME, "a single node on SQLite"),
    }
}

/// Whether the address is free, or this program has it already.
pub(super) async fn listening(found: &Findings, settings: &Settings) {
    const NAME: &str = "listen";
    let listen = settings.listen;
    if listen.port() == 0 {
        return found.ok(NAME, "port 0: a free one is taken");
    }
    match std::net::TcpListener::bind(listen) {
        Ok(_) => found.ok(NAME, format!("{listen} is free")),
        Err(error) => match error.kind() {
            ErrorKind::AddrInUse => in_use(found, listen).await,
            ErrorKind::AddrNotAvailable => found.wrong(
                NAME,
                format!("{} is no address of this machine", listen.ip()),
                "set CARILLON_LISTEN to 0.0.0.0 and a port, or to an address of this machine",
            ),
            ErrorKind::PermissionDenied => found.wrong(
                NAME,
                format!("this user may not listen on {listen}"),
                "take a port above 1023 in CARILLON_LISTEN, and let the balancer have 443",
            ),
            _ => found.wrong(NAME, format!("cannot listen on {listen}: {error}"), "correct CARILLON_LISTEN"),
        },
    }
}

async fn in_use(found: &Findings, listen: SocketAddr) {
    const NAME: &str = "listen";
    let somebody_else = |what: &str| {
        found.wrong(
            NAME,
            format!("{listen} is taken, {what}"),
            "end what listens there (ss -ltnp shows it), or take another port in CARILLON_LISTEN",
        );
    };
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let here = SocketAddr::new(ip, listen.port());
    let Ok(client) = http() else { return somebody_else("and cannot be asked by whom") };
    let ask = async {
        let document = client.get(format!("http://{here}/api/v1/openapi.json")).send().await.ok()?;
        let document: serde_json::Value = document.json().await.ok()?;
        let info = document.get("info")?;
        let title = info.get("title")?.as_str()?.to_owned();
        let version = info.get("version")?.as_str()?.to_owned();
        let alive = client.get(format!("http://{here}/livez")).send().await.ok()?.status().is_success();
        Some((title, version, alive))
    };
    match tokio::time::timeout(STEP, ask).await {
        Ok(Some((title, version, true))) if title.contains("Carillon") => {
            found.ok(NAME, format!("{listen} is taken by a node of Carillon {version}, which is alive"));
        }
        Ok(Some((title, version, false))) if title.contains("Carillon") => found.wrong(
            NAME,
            format!("{listen} is taken by a node of Carillon {version}, which says that it is not alive"),
            "look at its log, and start it again",
        ),
        Ok(_) => somebody_else("not by Carillon"),
        Err(_) => somebody_else("by something that does not answer"),
    }
}
