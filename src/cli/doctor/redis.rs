//! Redis: the way in, what a node's commands need of it, and a message there and back on the cluster's own channels.

use std::{collections::HashMap, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, ProtocolVersion, PushInfo, PushKind, RedisError,
    Value, aio::MultiplexedConnection,
};
use tokio::sync::{mpsc, oneshot};

use super::{
    clock::Samples,
    net::{STEP, Trouble, millis, reach, within, written},
    report::{Findings, Verdict},
};
use crate::{clock, config::Settings, domain::Timestamp, secret::Secret};

const SETTING: &str = "REDIS_URL";
/// Questions of which the median is the round-trip time.
const PINGS: usize = 10;
/// From here on what crosses from node to node is felt to be late.
const FAR: Duration = Duration::from_millis(10);
/// A subscriber for whom less may wait is cut off by one burst of what a node may have on its way (16 MiB), and again when
/// it comes back.
const LEAST_BUFFER: u64 = 16 * 1024 * 1024;
/// What is asked for in an ACL, as in deploy/redis/start.sh.
const RIGHTS: &str = "give the user what deploy/redis/start.sh gives: ~* &* +@all -@admin -@dangerous; at least \
    ~CLUSTER:limit:* &carillon:CLUSTER:* +publish +subscribe +unsubscribe +pubsub|numsub +ping +time +get +set \
    +script|load +evalsha +client|setinfo +hello";

/// All that has to do with Redis. `nodes`: those that live, as the database knows them.
pub(super) async fn check(
    found: &Findings,
    settings: &Settings,
    samples: &Samples,
    nodes: oneshot::Receiver<Vec<String>>,
) {
    let Some(url) = &settings.redis_url else {
        return found.not_checked("redis", "REDIS_URL is empty: this node alone");
    };
    let (heard, mut pushes) = mpsc::unbounded_channel();
    let mut connection = match enter(url, heard).await {
        Ok((connection, place)) => {
            found.ok("redis.login", format!("let in at {place}"));
            connection
        }
        Err(trouble) => return found.wrong("redis.login", trouble.seen, trouble.mend),
    };
    version(found, &mut connection).await;
    round_trips(found, &mut connection).await;
    time(&mut connection, samples).await;
    pub_sub(found, &mut connection, &mut pushes, &settings.cluster).await;
    limits(found, &mut connection, &settings.cluster).await;
    memory(found, &mut connection).await;
    buffers(found, &mut connection).await;
    let nodes = within(nodes).await.and_then(Result::ok).unwrap_or_default();
    same_cluster(found, &mut connection, &settings.cluster, &nodes).await;
}

async fn enter(
    url: &Secret,
    heard: mpsc::UnboundedSender<PushInfo>,
) -> Result<(MultiplexedConnection, String), Trouble> {
    let unreadable = |_: RedisError| Trouble::new("REDIS_URL cannot be read", "correct REDIS_URL");
    let info = url.reveal().into_connection_info().map_err(unreadable)?;
    let (place, tls) = match info.addr() {
        ConnectionAddr::Tcp(host, port) => {
            reach(host, *port, SETTING).await?;
            (written(host, *port), false)
        }
        ConnectionAddr::TcpTls { host, port, .. } => {
            reach(host, *port, SETTING).await?;
            (written(host, *port), true)
        }
        _ => ("its socket".to_owned(), false),
    };
    // As the bus has it.
    let redis = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    let client = Client::open(info.set_redis_settings(redis)).map_err(unreadable)?;
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(STEP))
        .set_response_timeout(Some(STEP))
        .set_push_sender(move |push| heard.send(push).map_err(|_| ()));
    match within(client.get_multiplexed_async_connection_with_config(&config)).await {
        Some(Ok(connection)) => Ok((connection, place)),
        Some(Err(error)) => Err(why(&error, &place, tls)),
        None => Err(silent(&place)),
    }
}

fn silent(place: &str) -> Trouble {
    Trouble::new(
        format!("{place} takes a connection and does not answer within {} s", STEP.as_secs()),
        "look whether Redis is stopped or busy with one slow command, whether it wants TLS (rediss://), and whether it is \
         Redis at all",
    )
}

fn why(error: &RedisError, place: &str, tls: bool) -> Trouble {
    if error.is_timeout() {
        return silent(place);
    }
    let words = error.to_string();
    let says = |what: &str| words.contains(what);
    if says("WRONGPASS") || says("invalid username-password") || says("invalid password") {
        return Trouble::new(
            format!("{place} does not take user and password of REDIS_URL"),
            "correct them: rediss://USER:PASSWORD@host, special characters as %XX; `ACL GETUSER` shows whether the user is on",
        );
    }
    if says("NOAUTH") {
        return Trouble::new(
            format!("{place} wants a password, and REDIS_URL has none"),
            "write user and password into REDIS_URL: rediss://USER:PASSWORD@host",
        );
    }
    if says("NOPERM") {
        return Trouble::new(format!("{place} lets the user in and forbids the greeting: {words}"), RIGHTS);
    }
    if says("LOADING") {
        return Trouble::new(format!("{place} is loading its data"), "wait until it has");
    }
    if says("RESP3") || says("unknown command") {
        return Trouble::new(format!("{place} does not speak RESP3"), "use Redis 7 or newer");
    }
    if tls {
        return Trouble::new(
            format!("no TLS with {place}: {words}"),
            "rediss:// wants a certificate of a public authority for the name in REDIS_URL; without TLS it is redis://",
        );
    }
    Trouble::new(
        format!("{place} does not let in: {words}"),
        "see whether it is Redis that REDIS_URL names, and whether it wants TLS (rediss://)",
    )
}

async fn version(found: &Findings, connection: &mut MultiplexedConnection) {
    let asked = redis::cmd("HELLO").query_async::<HashMap<String, Value>>(connection).await;
    let Ok(told) = asked else { return found.not_checked("redis.version", "it does not say") };
    let text =
        |name: &str| told.get(name).and_then(|v| redis::from_redis_value_ref::<String>(v).ok()).unwrap_or_default();
    let version = text("version");
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok()).unwrap_or(0);
    let verdict = if major < 7 { Verdict::Warning } else { Verdict::Ok };
    found.judged(
        "redis.version",
        verdict,
        format!("Redis {version}"),
        "use Redis 7 or newer: older ones are not tested",
    );
    match (text("mode").as_str(), text("role").as_str()) {
        ("cluster", _) => found.wrong(
            "redis.mode",
            "it is a Redis Cluster, which spreads channels and keys over servers that nodes do not know of",
            "give Carillon one Redis of its own; 128 MiB are enough, and nothing in it needs to be kept",
        ),
        (_, "replica" | "slave") => found.wrong(
            "redis.mode",
            "it is a replica: what is published there is not heard by who listens at the primary",
            "name the primary in REDIS_URL",
        ),
        (mode, _) => found.ok("redis.mode", format!("{mode}, the primary")),
    }
}

async fn round_trips(found: &Findings, connection: &mut MultiplexedConnection) {
    const NAME: &str = "redis.round_trip";
    let mut times = Vec::with_capacity(PINGS);
    for _ in 0..PINGS {
        let began = clock::monotonic();
        if let Err(error) = redis::cmd("PING").query_async::<Value>(connection).await {
            return found.wrong(NAME, format!("PING is not answered: {error}"), RIGHTS);
        }
        times.push(millis(began));
    }
    times.sort_by(f64::total_cmp);
    let median = times.get(PINGS / 2).copied().unwrap_or_default();
    let verdict = if median > FAR.as_secs_f64() * 1000.0 { Verdict::Warning } else { Verdict::Ok };
    let mend =
        "put nodes and Redis into one place, or look for slow commands (SLOWLOG GET) and a machine that is too busy";
    found.judged(NAME, verdict, format!("{median:.1} ms, the median of {PINGS}"), mend);
}

async fn time(connection: &mut MultiplexedConnection, samples: &Samples) {
    let asked = clock::now();
    if let Ok((secs, micros)) = redis::cmd("TIME").query_async::<(i64, i64)>(connection).await {
        let theirs = Timestamp::from_millis(secs.saturating_mul(1000).saturating_add(micros / 1000));
        samples.add("clock.redis", theirs, asked, Duration::from_millis(1));
    }
}

/// A message there and back, as a node's go, on channels that nobody else listens to.
async fn pub_sub(
    found: &Findings,
    connection: &mut MultiplexedConnection,
    pushes: &mut mpsc::UnboundedReceiver<PushInfo>,
    cluster: &str,
) {
    const NAME: &str = "redis.messages";
    let probe = uuid::Uuid::new_v4().simple().to_string();
    for kind in ["node", "user"] {
        let channel = format!("carillon:{cluster}:{kind}:doctor-{probe}");
        let refused = |what: &str, error: &RedisError| {
            let seen = format!("{what} on the channels carillon:{cluster}:{kind}:… is refused: {error}");
            found.wrong(NAME, seen, RIGHTS.replace("CLUSTER", cluster));
        };
        let began = clock::monotonic();
        if let Err(error) = connection.subscribe(&channel).await {
            return refused("SUBSCRIBE", &error);
        }
        if let Err(error) = redis::cmd("PUBLISH").arg(&channel).arg(&probe).query_async::<u64>(connection).await {
            return refused("PUBLISH", &error);
        }
        if within(heard(pushes, &channel)).await.is_none() {
            let mend = "look whether a proxy in between carries pub/sub; it must lead to one server";
            return found.wrong(NAME, "what was published is not heard by who has subscribed", mend);
        }
        let took = millis(began);
        let mut listening = redis::cmd("PUBSUB");
        listening.arg("NUMSUB").arg(&channel);
        match listening.query_async::<Vec<(String, u64)>>(connection).await {
            Ok(counts) if counts.first().is_some_and(|(_, listening)| *listening == 1) => {}
            Ok(_) => {
                return found.wrong(
                    NAME,
                    "PUBSUB NUMSUB does not count who has subscribed",
                    "look whether a proxy in between spreads over several servers; it must lead to one",
                );
            }
            Err(error) => return refused("PUBSUB NUMSUB", &error),
        }
        if let Err(error) = connection.unsubscribe(&channel).await {
            return refused("UNSUBSCRIBE", &error);
        }
        if kind == "user" {
            found.ok(
                NAME,
                format!("a message was there and back in {took:.1} ms, on carillon:{cluster}:node and :user"),
            );
        }
    }
}

/// Waits for a message on this channel.
async fn heard(pushes: &mut mpsc::UnboundedReceiver<PushInfo>, channel: &str) {
    while let Some(push) = pushes.recv().await {
        let on = push.data.first().and_then(|value| redis::from_redis_value_ref::<String>(value).ok());
        if push.kind == PushKind::Message && on.as_deref() == Some(channel) {
            return;
        }
    }
    // Closed: then nothing comes any more.
    std::future::pending().await
}

/// What the counting of rate limits does, on a key that ends by itself.
async fn limits(found: &Findings, connection: &mut MultiplexedConnection, cluster: &str) {
    const NAME: &str = "redis.counting";
    const SCRIPT: &str =
        "redis.call('TIME') redis.call('SET', KEYS[1], '1', 'PX', ARGV[1]) return redis.call('GET', KEYS[1])";
    let key = format!("{cluster}:limit:doctor:{}", uuid::Uuid::new_v4().simple());
    let counted = async {
        let script: String = redis::cmd("SCRIPT").arg("LOAD").arg(SCRIPT).query_async(connection).await?;
        redis::cmd("EVALSHA").arg(script).arg(1).arg(key).arg(1000).query_async::<String>(connection).await
    };
    match counted.await {
        Ok(_) => found.ok(NAME, format!("rate limits can be shared, under {cluster}:limit:…")),
        Err(error) => found.wrong(
            NAME,
            format!("rate limits cannot be shared, so each node counts for itself: {error}"),
            RIGHTS.replace("CLUSTER", cluster),
        ),
    }
}

async fn memory(found: &Findings, connection: &mut MultiplexedConnection) {
    const NAME: &str = "redis.memory";
    let asked = redis::cmd("INFO").arg("memory").query_async::<String>(connection).await;
    let Ok(told) = asked else {
        return found.not_checked(NAME, "the user may not ask for it (INFO), which is well");
    };
    let field = |name: &str| {
        let line = told.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|value| value.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    let (used, most) = (field("used_memory"), field("maxmemory"));
    let (used_mib, most_mib) = (used / 1024 / 1024, most / 1024 / 1024);
    match most {
        0 => found.ok(NAME, format!("{used_mib} MiB used, no limit")),
        most if used > most / 10 * 9 => found.warning(
            NAME,
            format!("{used_mib} MiB of {most_mib} MiB used: near the end, rate limits are forgotten or not taken"),
            "raise maxmemory, or see who else keeps what there; Carillon needs some MiB",
        ),
        _ => found.ok(NAME, format!("{used_mib} MiB of {most_mib} MiB used")),
    }
}

async fn buffers(found: &Findings, connection: &mut MultiplexedConnection) {
    const NAME: &str = "redis.buffers";
    let mut ask = redis::cmd("CONFIG");
    ask.arg("GET").arg("client-output-buffer-limit");
    let Ok(told) = ask.query_async::<HashMap<String, String>>(connection).await else {
        return found.by_hand(
            NAME,
            "the user may not ask for it (CONFIG GET), which is well",
            "in redis.conf: client-output-buffer-limit pubsub 32mb 8mb 60, or more",
        );
    };
    let words: Vec<_> = told.values().flat_map(|limits| limits.split_whitespace()).collect();
    let of_pubsub = words.iter().position(|word| *word == "pubsub").and_then(|at| words.get(at + 1));
    match of_pubsub.and_then(|hard| hard.parse::<u64>().ok()) {
        Some(hard) if hard != 0 && hard < LEAST_BUFFER => found.warning(
            NAME,
            format!("a subscriber for whom {} KiB wait is cut off: one burst of messages is more", hard / 1024),
            "in redis.conf: client-output-buffer-limit pubsub 32mb 8mb 60, or more",
        ),
        Some(0) => found.ok(NAME, "no limit for subscribers"),
        Some(hard) => found.ok(NAME, format!("{} MiB may wait for a subscriber", hard / 1024 / 1024)),
        None => found.not_checked(NAME, "it does not say"),
    }
}

/// Whether the nodes that live on the database listen on this Redis, under this name.
async fn same_cluster(found: &Findings, connection: &mut MultiplexedConnection, cluster: &str, nodes: &[String]) {
    const NAME: &str = "redis.nodes";
    if nodes.is_empty() {
        return found.not_checked(NAME, "no node is known to live, so none can be expected here");
    }
    let mut listening = redis::cmd("PUBSUB");
    listening.arg("NUMSUB");
    for node in nodes {
        listening.arg(format!("carillon:{cluster}:node:{node}"));
    }
    let Ok(counts) = listening.query_async::<Vec<(String, u64)>>(connection).await else {
        return found.not_checked(NAME, "PUBSUB NUMSUB is refused");
    };
    let deaf: Vec<_> = nodes
        .iter()
        .zip(&counts)
        .filter(|(_, (_, listening))| *listening == 0)
        .map(|(node, _)| node.as_str())
        .collect();
    if deaf.is_empty() {
        return found.ok(NAME, format!("all {} that live listen here", nodes.len()));
    }
    found.wrong(
        NAME,
        format!("{} on this database, and not on this Redis as cluster {cluster}", deaf.join(", ") + if deaf.len() == 1 { " lives" } else { " live" }),
        "REDIS_URL and CARILLON_CLUSTER must be the same on all nodes of a database; or the node is cut off from Redis (see \
         its log)",
    );
}
