//! The command line and the environment, as an operator meets them: the real program, in an empty folder.

use std::{
    path::Path,
    process::{Command, Output},
};

/// Every setting that outside programs rely on, besides OpenTelemetry's own.
const SETTINGS: [&str; 40] = [
    "CARILLON_LISTEN",
    "DATABASE_URL",
    "CARILLON_MIGRATION_DATABASE_URL",
    "CARILLON_MIGRATE",
    "REDIS_URL",
    "CARILLON_CLUSTER",
    "CARILLON_JWT_SECRET",
    "CARILLON_JWT_PUBLIC_KEY",
    "CARILLON_JWKS_URL",
    "CARILLON_JWT_ISSUER",
    "CARILLON_JWT_AUDIENCE",
    "CARILLON_JWT_LEEWAY_SECS",
    "CARILLON_SERVICE_KEY",
    "CARILLON_RING_TIMEOUT_SECS",
    "CARILLON_CONNECT_TIMEOUT_SECS",
    "CARILLON_RECONNECT_GRACE_SECS",
    "CARILLON_NODE_LEASE_SECS",
    "CARILLON_BUSY_POLICY",
    "CARILLON_MAX_PARTICIPANTS",
    "CARILLON_DRAIN_SECS",
    "CARILLON_RECONNECT_SPREAD_SECS",
    "CARILLON_RATE_LIMITS",
    "CARILLON_TRUSTED_PROXIES",
    "CARILLON_HSTS",
    "CARILLON_PING_INTERVAL_SECS",
    "CARILLON_WORKERS",
    "CARILLON_DB_CONNECTIONS",
    "CARILLON_ALLOWED_ORIGINS",
    "CARILLON_NODE_ID",
    "CARILLON_WEBHOOK_ALLOW_PRIVATE",
    "CARILLON_WEBHOOK_TIMEOUT_SECS",
    "CARILLON_WEBHOOK_RETRY_SECS",
    "LIVEKIT_URL",
    "LIVEKIT_API_KEY",
    "LIVEKIT_API_SECRET",
    "TURN_URLS",
    "TURN_SECRET",
    "STUN_URLS",
    "RUST_LOG",
    "CARILLON_LOG_FORMAT",
];

/// Runs the program to its end, with no variables but these.
fn carillon(folder: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_carillon"))
        .env_clear()
        .envs(variables.iter().copied())
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap()
}

/// Runs what must be refused, and returns what is said.
fn refused(variables: &[(&str, &str)], arguments: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let output = carillon(folder.path(), variables, arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{variables:?} {arguments:?}: {said}");
    assert!(output.stdout.is_empty());
    assert_eq!(folder.path().read_dir().unwrap().count(), 0, "a refused start leaves nothing behind");
    said
}

#[test]
fn help_lists_every_setting_and_shows_no_value() {
    let folder = tempfile::tempdir().unwrap();
    let canary = [("CARILLON_JWT_SECRET", "canary"), ("DATABASE_URL", "canary"), ("TURN_SECRET", "canary")];
    for arguments in [&["--help"][..], &["serve", "--help"], &["migrate", "--help"], &["token", "--help"]] {
        let output = carillon(folder.path(), &canary, arguments);
        let help = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success());
        for setting in SETTINGS {
            // Long lines are wrapped anywhere between words.
            assert!(help.contains(setting), "{arguments:?} lacks {setting}");
        }
        assert!(!help.contains("canary"));
    }
}

#[test]
fn a_wrong_setting_is_refused_by_name_from_the_environment_and_from_a_flag() {
    let secret = ("CARILLON_JWT_SECRET", "0123456789abcdef0123456789abcdef");
    let right =
        "CARILLON_RING_TIMEOUT_SECS (--ring-timeout-secs) is \"0\": give a whole number of seconds from 1 to 600";
    assert!(refused(&[secret, ("CARILLON_RING_TIMEOUT_SECS", "0")], &["serve"]).contains(right));
    assert!(refused(&[secret], &["serve", "--carillon-ring-timeout-secs", "0"]).contains(right));
    assert!(refused(&[secret], &["--ring-timeout-secs=0"]).contains(right));
    assert!(refused(&[secret, ("REDIS_URL", "redis://h")], &["serve"]).contains("REDIS_URL (--redis-url) is set, but"));
}

#[test]
fn a_flag_wins_over_the_environment() {
    let said = refused(&[("CARILLON_WORKERS", "98")], &["serve", "--workers", "99"]);
    assert!(said.contains("\"99\"") && !said.contains("\"98\""), "{said}");
}

#[test]
fn an_unknown_flag_is_refused_without_its_value() {
    let said = refused(&[], &["serve", "--jwt-secrt=canary"]);
    assert!(said.contains("--jwt-secrt") && !said.contains("canary"), "{said}");
}

#[test]
fn a_refusal_repeats_no_secret() {
    let said = refused(
        &[
            ("CARILLON_JWT_SECRET", "canary"),
            ("CARILLON_SERVICE_KEY", "canary"),
            ("DATABASE_URL", "mysql://u:canary@h/d"),
            ("REDIS_URL", "http://:canary@h"),
            ("TURN_SECRET", "canary"),
            ("LIVEKIT_API_SECRET", "canary"),
        ],
        &["serve"],
    );
    assert_eq!(said.matches("carillon: ").count(), 8, "{said}");
    assert!(!said.contains("canary"), "{said}");
}

#[test]
fn without_a_key_for_tokens_a_node_refuses_to_start() {
    for arguments in
        [&["serve"][..], &["--listen=127.0.0.1:0"], &["serve", "--dev=off"], &["--dev", "--listen=0.0.0.0:0"]]
    {
        let said = refused(&[], arguments);
        assert!(said.contains("CARILLON_JWT_SECRET (--jwt-secret)") && said.contains("--dev"), "{said}");
    }
    assert!(refused(&[("CARILLON_DEV", "off")], &[]).contains("all empty"));
    assert!(refused(&[("CARILLON_LISTEN", "0.0.0.0:0")], &[]).contains("development mode"));
}

#[test]
fn empty_variables_count_as_not_set() {
    let empty: Vec<_> = SETTINGS.iter().map(|name| (*name, "")).collect();
    assert!(refused(&empty, &["serve"]).starts_with("carillon: CARILLON_JWT_SECRET (--jwt-secret), "));
}

#[test]
fn token_prints_a_token_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let secret = [("CARILLON_JWT_SECRET", "0123456789abcdef0123456789abcdef")];
    let output = carillon(folder.path(), &secret, &["token", "--user", "alice", "--ttl", "1h", "--role", "admin"]);
    assert!(output.status.success() && output.stderr.is_empty());
    let token = String::from_utf8(output.stdout).unwrap();
    assert_eq!((token.lines().count(), token.trim().split('.').count()), (1, 3), "{token}");
    for wrong in [
        &["token"][..],
        &["token", "--user="],
        &["token", "--user=a", "--ttl=1w"],
        &["token", "--user=a", "--role=root"],
    ] {
        refused(&secret, wrong);
    }
}

#[test]
fn token_finds_the_development_secret_and_says_so_or_says_what_is_missing() {
    assert!(refused(&[], &["token", "--user=alice"]).contains("CARILLON_JWT_SECRET (--jwt-secret) is empty"));
    let folder = tempfile::tempdir().unwrap();
    let made = carillon(folder.path(), &[], &["token", "--user=alice", "--dev"]);
    assert!(made.status.success() && folder.path().join("carillon-dev.secret").exists());
    let found = carillon(folder.path(), &[], &["token", "--user=alice"]);
    assert!(found.status.success());
    assert!(String::from_utf8(found.stderr).unwrap().contains("development secret in carillon-dev.secret"));
}
