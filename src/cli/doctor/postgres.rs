//! PostgreSQL, from its name to its settings: each step of the way in told apart, then what a node's promises rest on.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

use super::{
    clock::Samples,
    net::{STEP, Trouble, millis, reach, within, written},
    report::{Findings, Verdict},
    schema,
};
use crate::{clock, config::Settings, domain::Timestamp, secret::Secret, store::inspect::PgAddress};

/// The oldest release that the tests run on; the migrations use what came with it.
const OLDEST: u32 = 15;
/// Questions of which the median is the round-trip time.
const PINGS: usize = 10;
/// From here on a round trip is felt in each command, which waits for one commit.
const FAR: Duration = Duration::from_millis(10);

/// All that has to do with PostgreSQL. `tell_nodes` learns which nodes live.
pub(super) async fn check(
    found: &Findings,
    settings: &Settings,
    url: &Secret,
    samples: &Samples,
    tell_nodes: oneshot::Sender<Vec<String>>,
) {
    let Some((client, address)) = enter(found, url, "postgres.login", "DATABASE_URL").await else {
        return found.not_checked("postgres.server", "there is no way in");
    };
    pooler(found, &client, &address).await;
    round_trips(found, &client).await;
    time(&client, samples).await;
    server(found, &client).await;
    schema::check(found, settings, &client, tell_nodes).await;
    if let Some(owner) = &settings.migration_url
        && let Some((owner, _)) =
            enter(found, owner, "postgres.migration_login", "CARILLON_MIGRATION_DATABASE_URL").await
    {
        schema::migrates(found, &client, &owner).await;
    }
}

/// Name, TCP, TLS, login, database: the first that fails is named.
async fn enter(found: &Findings, url: &Secret, name: &'static str, setting: &str) -> Option<(Client, PgAddress)> {
    let address = match PgAddress::parse(url) {
        Ok(address) => address,
        Err(error) => {
            found.wrong(name, error.to_string(), format!("correct {setting}"));
            return None;
        }
    };
    let hosts = address.hosts();
    let place = hosts.iter().map(|(host, port)| written(host, *port)).collect::<Vec<_>>().join(", ");
    let mut reached = hosts.is_empty();
    let mut last = None;
    for (host, port) in &hosts {
        match reach(host, *port, setting).await {
            Ok(_) => reached = true,
            Err(trouble) => last = Some(trouble),
        }
    }
    if let Some(trouble) = last {
        if !reached {
            found.wrong(name, trouble.seen, trouble.mend);
            return None;
        }
        found.warning(name, trouble.seen, trouble.mend);
    }
    let role = address.role();
    match within(address.session(STEP)).await {
        Some(Ok(client)) => {
            found.ok(name, format!("{role} is let in to {} at {place}", address.database()));
            Some((client, address))
        }
        Some(Err(error)) => {
            let Trouble { seen, mend } = why(&error, role, address.database(), setting);
            found.wrong(name, format!("{place}: {seen}"), mend);
            None
        }
        None => {
            let mend = "look whether the server is overloaded or stopped, and whether it is PostgreSQL at all";
            found.wrong(
                name,
                format!("{place} takes a connection and does not answer within {} s", STEP.as_secs()),
                mend,
            );
            None
        }
    }
}

/// What an error of connecting says.
fn why(error: &tokio_postgres::Error, role: &str, database: &str, setting: &str) -> Trouble {
    if let Some(said) = error.as_db_error() {
        let message = said.message();
        return match said.code().code() {
            "28P01" => Trouble::new(
                format!("the password of role {role} is not the one in {setting}"),
                format!(
                    "correct the password in {setting} (special characters as %XX), or set it: ALTER ROLE {role} PASSWORD '…'"
                ),
            ),
            "28000" => Trouble::new(
                format!("role {role} is not let in: {message}"),
                "make the role (docs/row-security.md), or let it in from this address in pg_hba.conf",
            ),
            "3D000" => Trouble::new(
                format!("there is no database {database}"),
                format!("CREATE DATABASE {database} (docs/row-security.md), or correct the name in {setting}"),
            ),
            "42501" => Trouble::new(
                format!("role {role} may not connect to {database}: {message}"),
                format!("GRANT CONNECT ON DATABASE {database} TO {role}"),
            ),
            "53300" => Trouble::new(
                "all connections are taken",
                "raise max_connections, or lower CARILLON_DB_CONNECTIONS of the nodes (docs/deployment.md, sizing)",
            ),
            "57P03" => Trouble::new(format!("it takes nobody in now: {message}"), "wait until it has started"),
            code => Trouble::new(format!("refused: {message} ({code})"), "look it up in PostgreSQL's log"),
        };
    }
    let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    let words = format!("{error}: {cause}");
    if words.contains("TLS") || words.contains("certificate") {
        return Trouble::new(
            format!("no TLS: {words}"),
            "sslmode=require, verify-ca and verify-full check the certificate: give the authority's file by sslrootcert=, \
             use the name that stands in the certificate, and see that the server has ssl=on",
        );
    }
    if words.contains("password missing") {
        return Trouble::new(
            format!("role {role} needs a password, and {setting} has none"),
            format!("write it into {setting}: postgres://{role}:PASSWORD@…"),
        );
    }
    Trouble::new(words, format!("see whether it is PostgreSQL that {setting} names, and look into its log"))
}

/// Rows as text. `None`: an error, or no answer.
pub(super) async fn rows(client: &Client, sql: &str) -> Option<Vec<SimpleQueryRow>> {
    let messages = within(client.simple_query(sql)).await?.ok()?;
    let row = |message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    };
    Some(messages.into_iter().filter_map(row).collect())
}

/// The first row.
pub(super) async fn row(client: &Client, sql: &str) -> Option<SimpleQueryRow> {
    rows(client, sql).await?.into_iter().next()
}

/// Two sessions that are both idle have a server process each, unless somebody in between lends one out.
async fn pooler(found: &Findings, first: &Client, address: &PgAddress) {
    const NAME: &str = "postgres.pooler";
    const WHO: &str = "SELECT pg_backend_pid()";
    let pid = |row: Option<SimpleQueryRow>| row.and_then(|row| row.get(0).map(str::to_owned));
    let Some(Ok(second)) = within(address.session(STEP)).await else {
        return found.not_checked(NAME, "no second session was to be had");
    };
    let (one, other) = (pid(row(first, WHO).await), pid(row(&second, WHO).await));
    match (one, other) {
        (Some(one), Some(other)) if one == other => found.wrong(
            NAME,
            "two sessions share one process of the server: a pooler in between lends it out by transaction or statement",
            "nodes keep settings and locks in their sessions: give them the server itself, or a pooler in session mode",
        ),
        (Some(_), Some(_)) => found.ok(NAME, "sessions are the server's own"),
        _ => found.not_checked(NAME, "no answer"),
    }
}

async fn round_trips(found: &Findings, client: &Client) {
    const NAME: &str = "postgres.round_trip";
    let mut times = Vec::with_capacity(PINGS);
    for _ in 0..PINGS {
        let began = clock::monotonic();
        if row(client, "SELECT 1").await.is_none() {
            return found.wrong(NAME, "a simple question is not answered", "look into PostgreSQL's log");
        }
        times.push(millis(began));
    }
    times.sort_by(f64::total_cmp);
    let median = times.get(PINGS / 2).copied().unwrap_or_default();
    let verdict = if median > FAR.as_secs_f64() * 1000.0 { Verdict::Warning } else { Verdict::Ok };
    let mend = "each command waits for a commit: put nodes and database into one place, or look for what is busy";
    found.judged(NAME, verdict, format!("{median:.1} ms, the median of {PINGS}"), mend);
}

async fn time(client: &Client, samples: &Samples) {
    let asked = clock::now();
    let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
    let said = row(client, sql).await.and_then(|row| row.get(0)?.parse().ok());
    if let Some(said) = said {
        samples.add("clock.database", Timestamp::from_millis(said), asked, Duration::from_millis(1));
    }
}

/// Settings of the server that what Carillon promises rests on.
async fn server(found: &Findings, client: &Client) {
    // As they are for a new session of this role; ours has some of its own.
    let sql = "SELECT name, coalesce(reset_val, '') FROM pg_settings WHERE name IN ('server_version', 'server_version_num', \
        'server_encoding', 'fsync', 'full_page_writes', 'synchronous_commit', 'default_transaction_isolation', \
        'default_transaction_read_only', 'idle_session_timeout', 'transaction_timeout') UNION ALL SELECT 'standby', pg_is_in_recovery()::text";
    let Some(rows) = rows(client, sql).await else {
        return found.not_checked("postgres.server", "its settings cannot be read");
    };
    let of = |name: &str| {
        let row = rows.iter().find(|row| row.get(0) == Some(name));
        row.and_then(|row| row.get(1)).unwrap_or_default().to_owned()
    };
    let number = of("server_version_num").parse::<u32>().unwrap_or(0) / 10_000;
    let verdict = if number < OLDEST { Verdict::Wrong } else { Verdict::Ok };
    let version = of("server_version");
    found.judged("postgres.version", verdict, format!("PostgreSQL {version}"), "use PostgreSQL 15 or newer");

    match (of("standby").as_str(), of("default_transaction_read_only").as_str()) {
        ("true", _) => found.wrong(
            "postgres.primary",
            "it is a standby: nothing can be written",
            "name the primary in DATABASE_URL, or promote this one",
        ),
        (_, "on") => found.wrong(
            "postgres.primary",
            "default_transaction_read_only is on for this role: nothing can be written",
            "ALTER ROLE … RESET default_transaction_read_only, and the same of the database",
        ),
        _ => found.ok("postgres.primary", "it is the primary, and takes writes"),
    }

    let lost: Vec<_> =
        ["fsync", "full_page_writes", "synchronous_commit"].into_iter().filter(|name| of(name) == "off").collect();
    if lost.is_empty() {
        found.ok("postgres.durability", "what was committed is on disk");
    } else {
        found.wrong(
            "postgres.durability",
            format!(
                "{} off: a power cut loses calls and answers that were acknowledged, or the whole database",
                is(&lost)
            ),
            "set it on in postgresql.conf (synchronous_commit also by ALTER ROLE or ALTER DATABASE), and reload",
        );
    }

    let encoding = of("server_encoding");
    let verdict = if encoding == "UTF8" { Verdict::Ok } else { Verdict::Wrong };
    let mend = "names hold any character: make the database anew with ENCODING 'UTF8' TEMPLATE template0";
    found.judged("postgres.encoding", verdict, encoding, mend);

    let isolation = of("default_transaction_isolation");
    let verdict = if isolation == "read committed" { Verdict::Ok } else { Verdict::Warning };
    let mend = "stricter ones refuse transactions that nodes must then repeat: ALTER ROLE … RESET default_transaction_isolation";
    found.judged("postgres.isolation", verdict, isolation, mend);

    let cuts: Vec<_> = ["idle_session_timeout", "transaction_timeout"]
        .into_iter()
        .filter(|name| !matches!(of(name).as_str(), "" | "0"))
        .collect();
    let seen = if cuts.is_empty() {
        "none cuts off a node; nodes set those of statements themselves".to_owned()
    } else {
        format!("{} set for this role: connections that nodes keep are cut off", is(&cuts))
    };
    let verdict = if cuts.is_empty() { Verdict::Ok } else { Verdict::Warning };
    let mend = "ALTER ROLE … SET idle_session_timeout = 0, and transaction_timeout = 0";
    found.judged("postgres.timeouts", verdict, seen, mend);
}

/// "a is", "a and b are".
fn is(names: &[&str]) -> String {
    format!("{} {}", names.join(" and "), if names.len() == 1 { "is" } else { "are" })
}

/// How long ago something was, for people.
pub(super) fn ago(seconds: f64) -> String {
    match seconds.max(0.0) as u64 {
        seconds @ 0..120 => format!("{seconds} s ago"),
        seconds @ 120..7200 => format!("{} min ago", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h ago", seconds / 3600),
        seconds => format!("{} days ago", seconds / 86_400),
    }
}
