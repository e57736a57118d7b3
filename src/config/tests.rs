use std::{fs, net::SocketAddr, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use clap::{Args, FromArgMatches, builder::Resettable};

use super::{BusyPolicy, Database, LogFormat, RawSettings, Settings, SettingsError, validate::flag};
use crate::gateway::{address::TrustedProxies, headers::Hsts, limits::Rules};

mod traces;

fn command() -> clap::Command {
    // Without the environment: tests set flags, and the machine's variables are not theirs.
    RawSettings::augment_args(clap::Command::new("test"))
        .mut_args(|arg| arg.env(Resettable::<clap::builder::OsStr>::Reset))
}

fn raw(flags: &[&str]) -> RawSettings {
    let matches = command().try_get_matches_from(["test"].iter().chain(flags)).unwrap();
    RawSettings::from_arg_matches(&matches).unwrap()
}

fn settings(flags: &[&str]) -> Result<Settings, SettingsError> {
    raw(flags).validate()
}

/// What is said about a value that is refused.
fn refusal(flags: &[&str]) -> String {
    settings(flags).map(|_| format!("{flags:?} was accepted")).unwrap_or_else(|error| error.to_string())
}

const SECRET: &str = "--jwt-secret=canary-0123456789-0123456789-0123";

#[test]
fn the_defaults_are_good_and_as_documented() {
    let settings = settings(&[]).unwrap();
    assert_eq!(settings.listen, SocketAddr::from(([127, 0, 0, 1], 8080)));
    assert!(matches!(&settings.database, Database::Sqlite(path) if path == Path::new("carillon.db")));
    assert!(settings.redis_url.is_none() && settings.livekit.is_none() && settings.turn.is_none());
    assert!(settings.allowed_origins.is_empty() && settings.stun_urls.is_empty() && settings.node_name.is_none());
    assert_eq!(settings.cluster, "carillon");
    assert_eq!(settings.auth.leeway, Duration::from_secs(5));
    assert_eq!(settings.ring_timeout, Duration::from_secs(45));
    assert_eq!(settings.connect_timeout, Duration::from_secs(30));
    assert_eq!(settings.reconnect_grace, Duration::from_secs(15));
    assert_eq!(settings.node_lease, Duration::from_secs(5));
    assert_eq!(settings.drain, Duration::from_secs(10));
    assert_eq!(settings.reconnect_spread, Duration::from_secs(2));
    assert_eq!(settings.ping_interval, Duration::from_secs(20));
    assert_eq!((settings.busy_policy, settings.max_participants), (BusyPolicy::Reject, 100));
    assert_eq!(settings.max_call, Some(Duration::from_secs(86_400)));
    assert_eq!(settings.sweep_interval, Duration::from_secs(15));
    assert_eq!((settings.workers, settings.db_connections, settings.migrate), (1, 8, true));
    assert_eq!(settings.rate_limits, Some(Rules::default()));
    assert_eq!((settings.trusted_proxies, settings.hsts), (TrustedProxies::default(), Hsts::Auto));
    assert!(!settings.dev && settings.warnings.is_empty() && !settings.auth.has_key());
}

#[test]
fn a_maximum_duration_of_zero_is_none() {
    assert_eq!(settings(&["--max-call-secs", "0"]).unwrap().max_call, None);
}

#[test]
fn every_setting_has_help_a_variable_and_the_flag_of_the_same_name() {
    let command = RawSettings::augment_args(clap::Command::new("test"));
    for arg in command.get_arguments() {
        let variable = arg.get_env().expect("a variable").to_str().unwrap().to_owned();
        let long = arg.get_long().unwrap();
        let kebab = variable.to_ascii_lowercase().replace('_', "-");
        let aliases = arg.get_visible_aliases().unwrap_or_default();
        assert!(long == kebab || aliases.contains(&kebab.as_str()), "{variable}");
        let short = flag(&variable).trim_start_matches("--").to_owned();
        assert!(long == short || aliases.contains(&short.as_str()), "{variable}");
        let help = arg.get_help().expect("help").to_string();
        let is_text = arg.get_default_values().iter().all(|value| value.to_str().unwrap().parse::<u64>().is_err());
        assert!(is_text || help.contains(" to "), "{variable} is a number and its help names no bounds");
        assert!(arg.is_hide_env_values_set(), "{variable} would be shown by --help");
    }
}

#[test]
fn a_number_outside_its_bounds_is_refused_with_its_name_and_the_bounds() {
    for (flag, name, least, most) in [
        ("ring-timeout-secs", "CARILLON_RING_TIMEOUT_SECS", 1, 600),
        ("connect-timeout-secs", "CARILLON_CONNECT_TIMEOUT_SECS", 1, 600),
        ("escalation-timeout-secs", "CARILLON_ESCALATION_TIMEOUT_SECS", 1, 600),
        ("reconnect-grace-secs", "CARILLON_RECONNECT_GRACE_SECS", 0, 300),
        ("node-lease-secs", "CARILLON_NODE_LEASE_SECS", 2, 60),
        ("ping-interval-secs", "CARILLON_PING_INTERVAL_SECS", 1, 120),
        ("drain-secs", "CARILLON_DRAIN_SECS", 0, 600),
        ("reconnect-spread-secs", "CARILLON_RECONNECT_SPREAD_SECS", 0, 600),
        ("jwt-leeway-secs", "CARILLON_JWT_LEEWAY_SECS", 0, 300),
        ("max-participants", "CARILLON_MAX_PARTICIPANTS", 2, 1000),
        ("workers", "CARILLON_WORKERS", 1, 64),
        ("webhook-timeout-secs", "CARILLON_WEBHOOK_TIMEOUT_SECS", 1, 30),
        ("db-connections", "CARILLON_DB_CONNECTIONS", 1, 128),
    ] {
        for good in [least, most] {
            assert!(settings(&[&format!("--{flag}={good}")]).is_ok(), "{flag} {good}");
        }
        for wrong in [(least - 1).to_string(), (most + 1).to_string(), "soon".into(), "1.5".into(), "5s".into()] {
            let said = refusal(&[&format!("--{flag}={wrong}")]);
            let right = format!("from {least} to {most}");
            assert!(said.starts_with(&format!("{name} (--{flag}) is \"{wrong}\"")) && said.ends_with(&right), "{said}");
        }
    }
}

#[test]
fn words_are_taken_in_any_case_and_others_refused_with_the_right_ones() {
    assert_eq!(settings(&["--busy-policy=CALL_WAITING"]).unwrap().busy_policy, BusyPolicy::CallWaiting);
    assert_eq!(settings(&["--log-format=Json"]).unwrap().log.format, LogFormat::Json);
    assert!(settings(&["--rate-limits=OFF"]).unwrap().rate_limits.is_none());
    assert!(settings(&["--rate-limits=false"]).unwrap().rate_limits.is_none());
    assert!(settings(&["--rate-limits=start=10/60s"]).unwrap().rate_limits.is_some());
    assert!(settings(&["--dev"]).unwrap().dev && !settings(&["--dev=off"]).unwrap().dev);
    assert_eq!(
        refusal(&["--busy-policy=wait"]),
        "CARILLON_BUSY_POLICY (--busy-policy) is \"wait\": give reject or call_waiting"
    );
    assert!(refusal(&["--log-format=xml"]).ends_with("give json or pretty"));
    let refused = refusal(&["--rate-limits=maybe"]);
    assert!(refused.starts_with("CARILLON_RATE_LIMITS (--rate-limits) holds \"maybe\": give on, off, or"), "{refused}");
    let refused = refusal(&["--trusted-proxies=10.0.0.0/8,proxy.example"]);
    assert!(refused.starts_with("CARILLON_TRUSTED_PROXIES (--trusted-proxies) holds \"proxy.example\": "), "{refused}");
    assert!(refusal(&["--hsts=maybe"]).ends_with("give auto or on or off"));
    assert!(refusal(&["--dev=maybe"]).ends_with("give on or off"));
    assert!(refusal(&["--rust-log=carillon=loud"]).starts_with("RUST_LOG (--rust-log)"));
}

#[test]
fn addresses_are_judged() {
    for good in ["0.0.0.0:80", "[::]:8080", "localhost:0", "127.0.0.1:65535"] {
        assert!(settings(&["--listen", good]).is_ok(), "{good}");
    }
    for wrong in ["", "8080", ":8080", "example.org:80", "127.0.0.1", "127.0.0.1:65536"] {
        assert!(refusal(&["--listen", wrong]).starts_with("CARILLON_LISTEN (--listen)"), "{wrong}");
    }
    for good in ["https://id.example/keys", "http://localhost:9/keys", "http://127.0.0.1/k", "http://[::1]:8/k"] {
        assert!(settings(&["--jwks-url", good]).is_ok(), "{good}");
    }
    for wrong in ["http://id.example/keys", "http://localhost.evil.example/", "ftp://x/", "id.example", "file:///k"] {
        assert!(refusal(&["--jwks-url", wrong]).starts_with("CARILLON_JWKS_URL (--jwks-url)"), "{wrong}");
    }
    let origins = settings(&["--allowed-origins= https://A.example/, http://b.example:81,"]).unwrap().allowed_origins;
    assert_eq!(origins, ["https://a.example", "http://b.example:81"]);
    for wrong in ["*", "null", "a.example", "https://a.example/app"] {
        assert!(refusal(&["--allowed-origins", wrong]).starts_with("CARILLON_ALLOWED_ORIGINS"), "{wrong}");
    }
    assert!(refusal(&["--cluster=a:b"]).starts_with("CARILLON_CLUSTER (--cluster)"));
    assert!(refusal(&["--node-id=a b"]).starts_with("CARILLON_NODE_ID (--node-id)"));
}

#[test]
fn the_database_is_postgres_or_a_file_and_redis_needs_postgres() {
    let database = |url: &str| settings(&["--database-url", url]);
    let checked = "postgres://h/d?sslmode=verify-full&sslrootcert=/etc/ca.pem";
    for good in ["postgres://u:p@h:5432/d?sslmode=require", "postgresql://h/d", checked] {
        assert!(matches!(database(good).unwrap().database, Database::Postgres(_)), "{good}");
    }
    for (good, file) in
        [("sqlite:a.db", "a.db"), ("sqlite:/var/a.db", "/var/a.db"), ("sqlite:///var/a.db", "/var/a.db")]
    {
        assert!(
            matches!(database(good).unwrap().database, Database::Sqlite(path) if path == Path::new(file)),
            "{good}"
        );
    }
    for wrong in ["", "mysql://canary@h/d", "postgres://u:canary@h:port/d", "sqlite:", "sqlite::memory:", "a.db"] {
        let said = refusal(&["--database-url", wrong]);
        assert!(said.starts_with("DATABASE_URL (--database-url)") && !said.contains("canary"), "{said}");
    }
    let migrating = |url: &str, database: &str| refusal(&["--migration-database-url", url, "--database-url", database]);
    for good in ["", "postgres://owner:p@h/d", checked] {
        assert!(migrating(good, "postgres://h/d").ends_with("was accepted"), "{good}");
    }
    for (wrong, database) in [("sqlite:canary.db", "postgres://h/d"), ("postgres://u:canary@h/d", "sqlite:a.db")] {
        let said = migrating(wrong, database);
        let named = "CARILLON_MIGRATION_DATABASE_URL (--migration-database-url)";
        assert!(said.starts_with(named) && !said.contains("canary"), "{said}");
    }
    let redis = |url: &str, database: &str| refusal(&["--redis-url", url, "--database-url", database]);
    assert!(redis("redis://h", "postgres://h/d").ends_with("was accepted"));
    assert!(redis("rediss://u:p@h:6380/1", "postgres://h/d").ends_with("was accepted"));
    assert!(redis("", "sqlite:a.db").ends_with("was accepted"));
    assert!(redis("redis://h", "sqlite:a.db").starts_with("REDIS_URL (--redis-url) is set, but DATABASE_URL"));
    for wrong in ["h:6379", "http://:canary@h", "redis://:canary@"] {
        let said = redis(wrong, "postgres://h/d");
        assert!(said.starts_with("REDIS_URL (--redis-url)") && !said.contains("canary"), "{said}");
    }
}

#[test]
fn settings_that_belong_together_are_set_together() {
    let turn =
        settings(&["--turn-urls=turn:a.example:3478?transport=udp, turns:b.example", "--turn-secret=s"]).unwrap();
    assert_eq!(turn.turn.unwrap().urls.len(), 2);
    assert!(refusal(&["--turn-urls=turn:a.example"]).starts_with("TURN_SECRET"));
    assert!(refusal(&["--turn-secret=canary"]).starts_with("TURN_URLS"));
    for wrong in ["a.example", "turn://a.example", "stun:a.example", "turn:", "turn:u:p@a.example"] {
        assert!(refusal(&["--turn-urls", wrong, "--turn-secret=s"]).starts_with("TURN_URLS"), "{wrong}");
    }
    assert!(refusal(&["--stun-urls=turn:a.example"]).starts_with("STUN_URLS"));
    let livekit = ["--livekit-url=wss://l.example", "--livekit-api-key=k", "--livekit-api-secret=canary"];
    assert!(settings(&livekit).unwrap().livekit.is_some());
    for left_out in 0..3 {
        let two: Vec<_> = livekit.iter().enumerate().filter(|(n, _)| *n != left_out).map(|(_, flag)| *flag).collect();
        let name = ["LIVEKIT_URL ", "LIVEKIT_API_KEY ", "LIVEKIT_API_SECRET "][left_out];
        assert!(refusal(&two).starts_with(name));
    }
    assert!(refusal(&["--livekit-url=l.example", livekit[1], livekit[2]]).starts_with("LIVEKIT_URL"));
    let public = |url: &str, public: &str| {
        let (url, public) = (format!("--livekit-url={url}"), format!("--livekit-public-url={public}"));
        settings(&[&url, livekit[1], livekit[2], &public]).unwrap().livekit.unwrap().public_url
    };
    assert_eq!(public("http://livekit:7880", ""), "ws://livekit:7880", "browsers open sockets");
    assert_eq!(public("http://livekit:7880", "https://l.example"), "wss://l.example");
    assert!(refusal(&["--livekit-public-url=wss://l.example"]).starts_with("LIVEKIT_PUBLIC_URL"));
    let odd = ["--livekit-public-url=l.example", livekit[0], livekit[1], livekit[2]];
    assert!(refusal(&odd).starts_with("LIVEKIT_PUBLIC_URL"));
    assert!(refusal(&["--ice-relay-only=on"]).starts_with("CARILLON_ICE_RELAY_ONLY"));
    assert!(
        settings(&["--ice-relay-only=on", "--turn-urls=turn:a.example", "--turn-secret=s"]).unwrap().ice_relay_only
    );
}

#[test]
fn short_secrets_are_refused_and_doubtful_ones_accepted_with_a_warning() {
    let said = refusal(&["--jwt-secret=canary", "--service-key=canary"]);
    assert!(said.contains("CARILLON_JWT_SECRET (--jwt-secret) is 6 bytes long: give at least 16"), "{said}");
    assert!(said.contains("CARILLON_SERVICE_KEY (--service-key) is 6 bytes long"), "{said}");
    assert!(!said.contains("canary"), "{said}");
    let doubtful = settings(&["--jwt-secret=0123456789abcdef"]).unwrap();
    assert_eq!(doubtful.warnings.len(), 1);
    assert!(settings(&[SECRET]).unwrap().warnings.is_empty());
}

#[test]
fn a_public_key_is_the_path_of_a_readable_pem_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.pem");
    let flag = format!("--jwt-public-key={}", path.display());
    assert!(refusal(&[&flag]).contains("cannot be read"));
    fs::write(&path, include_str!("../gateway/auth/test_keys/ed.private.pem")).unwrap();
    assert!(refusal(&[&flag]).contains("holds a private key"));
    fs::write(&path, include_str!("../gateway/auth/test_keys/ed.public.pem")).unwrap();
    assert!(settings(&[&flag]).unwrap().auth.has_key());
    assert!(refusal(&["--jwt-public-key=-----BEGIN PUBLIC KEY-----"]).contains("give the path"));
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let said = refusal(&["--workers=0", "--listen=x", "--busy-policy=x", "--redis-url=redis://h"]);
    assert_eq!(said.lines().count(), 4, "{said}");
}

#[test]
fn debug_output_of_settings_shows_no_secret() {
    let flags = [SECRET, "--service-key=canary-canary-canary", "--database-url=postgres://u:canary@h/d"];
    let more = ["--redis-url=redis://:canary@h", "--turn-urls=turn:a.example", "--turn-secret=canary"];
    let all: Vec<_> = flags.into_iter().chain(more).collect();
    let shown = format!("{:?} {:?}", raw(&all), settings(&all).unwrap());
    assert!(!shown.contains("canary"), "{shown}");
}

/// Settings of a node whose database is in `folder`.
fn in_folder(folder: &Path, flags: &[&str]) -> Settings {
    let database = format!("--database-url=sqlite:{}/carillon.db", folder.display());
    let all: Vec<_> = flags.iter().copied().chain([database.as_str()]).collect();
    settings(&all).unwrap()
}

#[test]
fn without_a_key_a_node_starts_in_development_mode_only_if_that_was_meant() {
    let folder = tempfile::tempdir().unwrap();
    let refused = in_folder(folder.path(), &[]).with_keys_for_serving(false).unwrap_err().to_string();
    assert!(refused.contains("CARILLON_JWT_SECRET") && refused.contains("--dev"), "{refused}");
    assert!(!folder.path().join("carillon-dev.secret").exists());
    let bare = in_folder(folder.path(), &[]).with_keys_for_serving(true).unwrap();
    assert!(bare.dev && bare.auth.has_key() && bare.warnings[0].starts_with("development mode"));
    let asked = in_folder(folder.path(), &["--dev"]).with_keys_for_serving(false).unwrap();
    assert!(asked.dev && asked.auth.secret == bare.auth.secret, "the same secret after a restart");
}

#[test]
fn development_mode_without_a_key_is_refused_where_others_can_reach_the_node() {
    let folder = tempfile::tempdir().unwrap();
    for listen in ["--listen=0.0.0.0:8080", "--listen=[::]:8080", "--listen=192.168.1.2:8080"] {
        for (flags, bare) in [(vec![listen, "--dev"], false), (vec![listen], true)] {
            let refused = in_folder(folder.path(), &flags).with_keys_for_serving(bare).unwrap_err().to_string();
            assert!(refused.starts_with("CARILLON_LISTEN (--listen) is "), "{refused}");
        }
        let with_key = in_folder(folder.path(), &[listen, "--dev", SECRET]).with_keys_for_serving(false).unwrap();
        assert!(with_key.dev);
    }
    assert!(!folder.path().join("carillon-dev.secret").exists());
}

#[test]
fn a_configured_key_turns_the_development_default_off() {
    let folder = tempfile::tempdir().unwrap();
    let settings = in_folder(folder.path(), &[SECRET]).with_keys_for_serving(true).unwrap();
    assert!(!settings.dev);
    assert!(!folder.path().join("carillon-dev.secret").exists());
}

#[test]
fn the_development_secret_is_for_its_owner_alone_and_never_short() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("carillon-dev.secret");
    let first = in_folder(folder.path(), &["--dev"]).with_keys_for_serving(false).unwrap();
    let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600);
    assert_eq!(first.auth.secret.unwrap().reveal().len(), 64);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    in_folder(folder.path(), &["--dev"]).with_keys_for_serving(false).unwrap();
    assert_eq!(mode(), 0o600);
    fs::write(&path, "short").unwrap();
    let refused = in_folder(folder.path(), &["--dev"]).with_keys_for_serving(false).unwrap_err().to_string();
    assert!(refused.contains("too short") && !refused.contains("short\n"), "{refused}");
}

#[test]
fn tokens_are_made_with_the_configured_secret_or_the_development_secret_that_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = |flags: &[&str]| in_folder(folder.path(), flags).with_keys_for_tokens();
    assert!(tokens(&[]).unwrap_err().to_string().contains("CARILLON_JWT_SECRET"));
    assert!(tokens(&["--jwks-url=https://id.example"]).unwrap_err().to_string().contains("cannot sign"));
    assert!(tokens(&[SECRET]).is_ok());
    let node = in_folder(folder.path(), &["--dev"]).with_keys_for_serving(false).unwrap();
    assert_eq!(tokens(&[]).unwrap().auth.secret, node.auth.secret);
    assert!(tokens(&["--jwks-url=https://id.example"]).is_err());
}

#[test]
fn the_waits_between_attempts_at_webhooks_are_a_list_within_bounds() {
    let retries = |value: &str| settings(&[&format!("--webhook-retry-secs={value}")]).map(|s| s.webhooks.retries);
    let secs = |secs: &[u64]| secs.iter().copied().map(std::time::Duration::from_secs).collect::<Vec<_>>();
    assert_eq!(retries("1, 86400").unwrap(), secs(&[1, 86400]));
    assert_eq!(settings(&[]).unwrap().webhooks.retries, secs(&[5, 30, 120, 600, 1800, 7200, 21600]));
    let many = ["1"; 21].join(",");
    for wrong in ["", "0", "86401", "1,soon", "5s", &many] {
        let said = refusal(&[&format!("--webhook-retry-secs={wrong}")]);
        assert!(said.starts_with("CARILLON_WEBHOOK_RETRY_SECS (--webhook-retry-secs) is "), "{said}");
    }
    assert!(!settings(&[]).unwrap().webhooks.allow_private);
    let allowing = settings(&["--webhook-allow-private=true"]).unwrap();
    assert!(allowing.webhooks.allow_private && allowing.warnings.iter().any(|w| w.contains("WEBHOOK_ALLOW_PRIVATE")));
}
