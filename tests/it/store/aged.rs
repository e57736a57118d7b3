//! Rows of the past: statements that put them into either database, for what forgets them.

use std::time::Duration;

use carillon::store::Old;

/// A statement that adds `count` rows of a kind, the first of them so `old`, each `apart` younger than the one before.
pub fn plant(is_postgres: bool, kind: Old, count: u32, old: Duration, apart: Duration) -> String {
    let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap();
    let first = chrono::Utc::now().timestamp_millis() - millis(old);
    // In milliseconds, of row `n`.
    let at = format!("({first} + n * {})", millis(apart));
    let (time, numbers) = if is_postgres {
        (format!("to_timestamp({at} / 1000.0)"), format!("generate_series(0::bigint, {count} - 1) AS s(n)"))
    } else {
        let recursive = "WITH RECURSIVE s(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM s WHERE n < ";
        (format!("({at} * 1000)"), format!("({recursive}{count} - 1) SELECT n FROM s) AS s"))
    };
    // The time in front, or for one made of a key the highest bit set.
    let id = |version: &str, head: &str| {
        if is_postgres {
            let hex = |number: &str| format!("lpad(to_hex({number}), 12, '0')");
            format!("('{head}' || substr({}, 2) || '{version}0008000' || {})::uuid", hex(&at), hex("n"))
        } else {
            let hex = |number: &str| format!("printf('%012x', {number})");
            format!("unhex('{head}' || substr({}, 2) || '{version}0008000' || {})", hex(&at), hex("n"))
        }
    };
    let (in_order, of_a_key) = (id("7", "0"), id("8", "c"));
    let (columns, values) = match kind {
        Old::AuditRecords => (
            "audit_log (id, at, actor_kind, actor, action, target_kind, target, outcome)",
            format!("{in_order}, {time}, 'user', 'u', 'planted', 'k', 't', 'done'"),
        ),
        Old::QualityReports => (
            "quality_reports (call_id, user_id, id, device_id, at)",
            format!("'planted-' || (n % 1000), 'u', {in_order}, 'd', {time}"),
        ),
        Old::KeyedAnswers => (
            "command_results (command_id, call_id, seq, kind, outcome, at)",
            format!("{of_a_key}, 'planted', 0, 'start', '{{}}', {time}"),
        ),
        Old::CommandRecords => (
            "command_results (command_id, call_id, seq, kind, at)",
            format!("{in_order}, 'planted', 1, 'start', {time}"),
        ),
        Old::DeadNodes => (
            "nodes (id, version, started_at, lease_until)",
            format!("'planted-' || {at} || '-' || n, '1', {time}, {time}"),
        ),
        Old::SweepActions => (
            "sweep_actions (run, n, call_id, what, why, outcome)",
            format!("{in_order}, 1, 'planted', 'a', 'b', 'done'"),
        ),
        Old::SweepRequests => {
            ("sweep_requests (id, sweeper, dry_run, requested_at)", format!("{in_order}, 'planted', false, {time}"))
        }
        Old::SweepRuns => (
            "sweep_runs (id, sweeper, node, by_hand, dry_run, runs, started_at, finished_at, found, acted, failed)",
            format!("{in_order}, 'planted', 'n', false, false, 1, {time}, {time}, 0, 0, 0"),
        ),
        Old::LivekitEvents => ("livekit_events (id, taken_at)", format!("'planted-' || {at} || '-' || n, {time}")),
    };
    format!("INSERT INTO {columns} SELECT {values} FROM {numbers}")
}

/// The planted rows of a kind: a table and a condition.
pub const fn planted(kind: Old) -> &'static str {
    match kind {
        Old::AuditRecords => "audit_log WHERE action = 'planted'",
        Old::QualityReports => "quality_reports WHERE call_id LIKE 'planted%'",
        Old::KeyedAnswers => "command_results WHERE call_id = 'planted' AND outcome IS NOT NULL",
        Old::CommandRecords => "command_results WHERE call_id = 'planted' AND outcome IS NULL",
        Old::DeadNodes => "nodes WHERE id LIKE 'planted%'",
        Old::SweepActions => "sweep_actions WHERE call_id = 'planted'",
        Old::SweepRequests => "sweep_requests WHERE sweeper = 'planted'",
        Old::SweepRuns => "sweep_runs WHERE sweeper = 'planted'",
        Old::LivekitEvents => "livekit_events WHERE id LIKE 'planted%'",
    }
}
