//! What stands in PostgreSQL: tables of which version, whose they are, what the role that serves may do, and which nodes
//! live.

use tokio::sync::oneshot;
use tokio_postgres::Client;

use super::{
    postgres::{ago, row, rows},
    report::{Findings, Verdict},
};
use crate::{build_info, config::Settings, store::inspect::known_in_postgres};

/// Tables, role, room for connections, nodes.
pub(super) async fn check(
    found: &Findings,
    settings: &Settings,
    client: &Client,
    tell_nodes: oneshot::Sender<Vec<String>>,
) {
    connections(found, settings, client).await;
    let Some(applied) = versions(found, settings, client).await else {
        return found.not_checked("postgres.role", "there are no tables to look at");
    };
    role(found, client).await;
    indexes(found, client).await;
    nodes(found, settings, client, tell_nodes).await;
    if applied.iter().any(|version| version.as_str() >= "0006") {
        service_keys(found, settings, client).await;
    }
    if settings.livekit.is_some() {
        webhooks(found, client).await;
    }
}

/// Versions of the tables. `None`: there are none, or they may not be seen.
async fn versions(found: &Findings, settings: &Settings, client: &Client) -> Option<Vec<String>> {
    const NAME: &str = "postgres.tables";
    let run = if settings.migration_url.is_some() {
        "run `carillon migrate`"
    } else {
        "run `carillon migrate` as the role that owns the tables (CARILLON_MIGRATION_DATABASE_URL, docs/row-security.md)"
    };
    let there = "SELECT to_regclass('__diesel_schema_migrations') IS NOT NULL, \
        coalesce(has_table_privilege(to_regclass('__diesel_schema_migrations'), 'SELECT'), false)";
    let Some(there) = row(client, there).await else {
        found.not_checked(NAME, "no answer");
        return None;
    };
    if there.get(0) != Some("t") {
        found.wrong(NAME, "there are none: the database was never migrated", run);
        return None;
    }
    if there.get(1) != Some("t") {
        found.wrong(NAME, "this role may not see them: nothing was granted to it", run);
        return None;
    }
    let applied = rows(client, "SELECT version::text FROM __diesel_schema_migrations ORDER BY 1").await?;
    let applied: Vec<String> = applied.iter().filter_map(|row| row.get(0).map(str::to_owned)).collect();
    versions_judged(found, NAME, &known_in_postgres(), &applied, run);
    Some(applied)
}

/// The migrations that this program knows beside those that were applied.
pub(super) fn versions_judged(found: &Findings, name: &'static str, known: &[String], applied: &[String], run: &str) {
    let missing: Vec<_> = known.iter().filter(|version| !applied.contains(version)).map(String::as_str).collect();
    let newer: Vec<_> = applied.iter().filter(|version| !known.contains(version)).map(String::as_str).collect();
    let at = applied.last().map_or("none", String::as_str);
    if !missing.is_empty() {
        found.wrong(name, format!("they are too old: migrations {} are missing", missing.join(", ")), run);
    } else if !newer.is_empty() {
        found.warning(
            name,
            format!(
                "they are newer than this program: {} {} not known to Carillon {}",
                newer.join(", "),
                if newer.len() == 1 { "is" } else { "are" },
                build_info::VERSION
            ),
            "well while a version is rolled out or back; otherwise run the program that made them",
        );
    } else {
        found.ok(name, format!("up to date, at migration {at}"));
    }
}

async fn role(found: &Findings, client: &Client) {
    const NAME: &str = "postgres.role";
    let sql = "SELECT r.rolname, r.rolsuper, r.rolbypassrls, row_security_active('calls'), \
        pg_has_role((SELECT relowner FROM pg_class WHERE oid = 'calls'::regclass), 'USAGE'), \
        (SELECT coalesce(string_agg(c.relname, ', '), '') FROM pg_class c \
         WHERE c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'calls'::regclass) \
         AND c.relkind = 'r' AND c.relname <> '__diesel_schema_migrations' AND NOT \
         (has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT') \
          AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE'))) \
        FROM pg_roles r WHERE r.rolname = current_user";
    let Some(row) = row(client, sql).await else {
        return found.not_checked(NAME, "it cannot be seen what this role may do");
    };
    let is = |column| row.get(column) == Some("t");
    let role = row.get(0).unwrap_or_default();
    let two_roles = "serve as a role that owns nothing, and migrate as another: docs/row-security.md, two roles";
    if is(1) || is(2) {
        let what = if is(1) { "a superuser" } else { "a role with BYPASSRLS" };
        found.wrong(
            NAME,
            format!(
                "{role} is {what}: row-level security does not hold for it, and the database shows any user anything"
            ),
            two_roles,
        );
    } else if !is(3) {
        found.wrong(
            NAME,
            format!("row-level security is not active for {role}"),
            "run `carillon migrate`; if it stays so, see docs/row-security.md",
        );
    } else if is(4) {
        found.warning(NAME, format!("{role} owns the tables, so it could take row-level security down"), two_roles);
    } else {
        found.ok(NAME, format!("row-level security holds for {role}, which owns nothing"));
    }
    match row.get(5).unwrap_or_default() {
        "" => found.ok("postgres.grants", format!("{role} may read and write rows of every table")),
        tables => found.wrong(
            "postgres.grants",
            format!("{role} may not read and write rows of {tables}"),
            "run `carillon migrate` with CARILLON_MIGRATION_DATABASE_URL: it grants what is missing",
        ),
    }
}

async fn indexes(found: &Findings, client: &Client) {
    const NAME: &str = "postgres.indexes";
    let sql = "SELECT i.indexrelid::regclass::text FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid \
        WHERE NOT i.indisvalid AND c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'calls'::regclass)";
    let Some(rows) = rows(client, sql).await else { return found.not_checked(NAME, "no answer") };
    let broken: Vec<_> = rows.iter().filter_map(|row| row.get(0)).collect();
    match broken.first() {
        None => found.ok(NAME, "all are valid"),
        Some(first) => found.wrong(
            NAME,
            format!("{} not valid: building was broken off, and looks are slow", broken.join(", ")),
            format!("as the owner: REINDEX INDEX CONCURRENTLY {first}, and so on; while a migration runs, wait for it"),
        ),
    }
}

/// Connections of one node with these settings.
fn needed(settings: &Settings) -> u64 {
    let serve = u64::from(settings.db_connections);
    serve + (serve / 2).max(1) + 2
}

/// Room for the nodes that live, or for this one, and one more in a rollout.
async fn connections(found: &Findings, settings: &Settings, client: &Client) {
    const NAME: &str = "postgres.connections";
    let sql = "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int \
        - coalesce(current_setting('reserved_connections', true), '0')::int, \
        (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user), \
        (SELECT datconnlimit FROM pg_database WHERE datname = current_database()), \
        (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND application_name NOT LIKE 'carillon%')";
    // Before there are tables there are no nodes.
    let living = "SELECT count(*) FROM nodes WHERE lease_until > clock_timestamp()";
    let Some(limits) = row(client, sql).await else { return found.not_checked(NAME, "no answer") };
    let living = row(client, living).await.and_then(|row| row.get(0)?.parse::<u64>().ok()).unwrap_or(0).max(1);
    let number = |column| limits.get(column).and_then(|text| text.parse::<i64>().ok()).unwrap_or(-1);
    // -1: no limit.
    let given = [number(0), number(1), number(2)].into_iter().filter_map(|limit| u64::try_from(limit).ok());
    let most = given.min().unwrap_or(0);
    let others = u64::try_from(number(3)).unwrap_or(0);
    let each = needed(settings);
    let nodes = if living == 1 { "1 node".to_owned() } else { format!("{living} nodes") };
    let seen = format!("{nodes} with {each} each, {others} of others, and room for {most}");
    let verdict = match most {
        most if most < living * each => Verdict::Wrong,
        most if most < (living + 1) * each + others => Verdict::Warning,
        _ => Verdict::Ok,
    };
    let mend = "raise max_connections (or the limit of role or database), or lower CARILLON_DB_CONNECTIONS; a rollout has one \
        node more";
    found.judged(NAME, verdict, seen, mend);
}

async fn nodes(found: &Findings, settings: &Settings, client: &Client, tell: oneshot::Sender<Vec<String>>) {
    const NAME: &str = "postgres.nodes";
    let sql = "SELECT id, version, extract(epoch FROM lease_until - clock_timestamp())::float8, bus_up FROM nodes \
        WHERE lease_until > clock_timestamp() ORDER BY id LIMIT 100";
    let Some(rows) = rows(client, sql).await else { return found.not_checked(NAME, "no answer") };
    let text = |row: &tokio_postgres::SimpleQueryRow, column| row.get(column).unwrap_or_default().to_owned();
    let living: Vec<_> = rows.iter().map(|row| (text(row, 0), text(row, 1))).collect();
    let lease = |row: &tokio_postgres::SimpleQueryRow| row.get(2).and_then(|secs| secs.parse().ok()).unwrap_or(0.0);
    let shown: Vec<_> =
        rows.iter().map(|row| format!("{} ({}, lease for {:.1} s)", text(row, 0), text(row, 1), lease(row))).collect();
    let ids: Vec<_> = living.iter().map(|(id, _)| id.clone()).collect();
    let count = ids.len();
    // Nobody may be listening, if there is no Redis.
    let _ = tell.send(ids);
    let mut versions: Vec<_> = living.iter().map(|(_, version)| version.as_str()).collect();
    versions.sort_unstable();
    versions.dedup();
    let cut_off: Vec<_> = rows.iter().filter(|row| row.get(3) == Some("f")).map(|row| text(row, 0)).collect();
    if shown.is_empty() {
        found.ok(NAME, "none lives on this database now");
    } else if settings.redis_url.is_none() && count > 1 {
        found.wrong(
            NAME,
            format!(
                "{} live on this database, and REDIS_URL is empty: a node with these settings hears none of them",
                shown.join(", ")
            ),
            "set REDIS_URL, the same on all nodes",
        );
    } else if !cut_off.is_empty() && settings.redis_url.is_some() {
        found.warning(
            NAME,
            format!("{} say that they do not reach the others over Redis", cut_off.join(", ")),
            "see what the checks of Redis say on that machine, and docs/operations.md",
        );
    } else if versions.len() > 1 {
        found.warning(
            NAME,
            format!("{} versions live: {}", versions.len(), shown.join(", ")),
            "well while a version is rolled out or back; otherwise replace the old ones",
        );
    } else {
        found.ok(NAME, shown.join(", "));
    }
}

async fn service_keys(found: &Findings, settings: &Settings, client: &Client) {
    let sql =
        "SELECT count(*) FROM service_keys WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())";
    let made = row(client, sql).await.and_then(|row| row.get(0)?.parse::<usize>().ok());
    service_keys_judged(found, settings, made);
}

/// Keys of the service API: that of the settings, and those that were made. `None`: it is not known how many.
pub(super) fn service_keys_judged(found: &Findings, settings: &Settings, made: Option<usize>) {
    const NAME: &str = "settings.service_key";
    match (settings.auth.service_key.is_some(), made) {
        (true, _) => found.ok(NAME, "CARILLON_SERVICE_KEY is set"),
        (false, Some(0)) => found.warning(
            NAME,
            "there is no key: nobody can use the service API (groups, admission, audit)",
            "carillon service-key create NAME, or set CARILLON_SERVICE_KEY to 32 random bytes",
        ),
        (false, Some(made)) => found.ok(NAME, format!("{made} made, and none in the settings")),
        (false, None) => found.not_checked(NAME, "none in the settings; whether some were made cannot be seen"),
    }
}

async fn webhooks(found: &Findings, client: &Client) {
    const NAME: &str = "livekit.webhook";
    let sql = "SELECT extract(epoch FROM clock_timestamp() - max(taken_at))::float8 FROM livekit_events";
    let last = row(client, sql).await.and_then(|row| row.get(0)?.parse::<f64>().ok());
    match last {
        Some(seconds) => found.ok(NAME, format!("LiveKit was last heard {}", ago(seconds))),
        None => found.by_hand(
            NAME,
            "LiveKit cannot be asked whom it tells, and it has told us nothing so far",
            "in livekit.yaml: webhook.api_key and webhook.urls: [https://…/api/v1/livekit/webhook] (docs/media.md); move a \
             call to the media server and look again",
        ),
    }
}

/// What `carillon migrate` needs, as the role that owns the tables.
pub(super) async fn migrates(found: &Findings, serves: &Client, owner: &Client) {
    const NAME: &str = "postgres.migration_role";
    let which = "SELECT current_database(), (SELECT oid FROM pg_database WHERE datname = current_database()), \
        pg_postmaster_start_time()";
    let (one, other) = (row(serves, which).await, row(owner, which).await);
    let same = |column| {
        let [one, other] = [&one, &other].map(|row| row.as_ref().and_then(|row| row.get(column)));
        one.is_some() && one == other
    };
    if !(0..3).all(same) {
        return found.wrong(
            NAME,
            "CARILLON_MIGRATION_DATABASE_URL leads to another database than DATABASE_URL",
            "name the same server and database in both; only role and password differ",
        );
    }
    let may = "SELECT current_user, coalesce(has_schema_privilege(current_schema(), 'CREATE'), false), \
        coalesce((SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = to_regclass('calls')), true)";
    let Some(row) = row(owner, may).await else { return found.not_checked(NAME, "no answer") };
    let role = row.get(0).unwrap_or_default();
    match (row.get(1), row.get(2)) {
        (Some("t"), Some("t")) => found.ok(NAME, format!("{role} may migrate")),
        (Some("t"), _) => found.wrong(
            NAME,
            format!("{role} does not own the tables, so it cannot change them"),
            "migrate as the role that made them, or REASSIGN OWNED BY … TO …",
        ),
        _ => found.wrong(
            NAME,
            format!("{role} may make no tables"),
            format!("ALTER DATABASE … OWNER TO {role}, or GRANT CREATE ON SCHEMA public TO {role}"),
        ),
    }
}
