//! Many calls that have been, made by the database itself.
//!
//! Call `n` began `n` seconds after the beginning; each had three participants. Users are `a0`…, `b0`…, `c0`…, with some
//! sixty calls each at any size, and `heavy`, who was in every tenth call. Every fiftieth call was of the group `big`, of
//! which `a0` to `a4998` and `nobody` are members.

use carillon::domain::Timestamp;

use crate::store::backend::Backend;

/// 2026-01-01T00:00:00Z, in milliseconds.
pub const BEGINNING: i64 = 1_767_225_600_000;
/// Every so many-th call has a timeline and reports of quality.
pub const KEPT_IN_FULL: usize = 100;
/// The last calls are still open.
pub const OPEN: usize = 50;

/// When call `n` began.
pub fn begun(n: usize) -> Timestamp {
    Timestamp::from_millis(BEGINNING + n as i64 * 1000)
}

/// A call's id: in an order of its own, as ids that clients choose are.
pub fn id(n: usize) -> String {
    format!("{}-{n}", n * 7919 % 1000)
}

pub fn seed(backend: &Backend, calls: usize) {
    let (numbers, is_postgres) = match backend {
        Backend::Postgres(_) => ("generate_series(0, {last}) AS s(n)", true),
        Backend::Sqlite(_) => (
            "(WITH RECURSIVE s(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM s WHERE n < {last}) SELECT n FROM s) AS s",
            false,
        ),
    };
    let numbers = |count: usize| numbers.replace("{last}", &(count - 1).to_string());
    let time = |seconds: &str| {
        if is_postgres {
            format!("(timestamptz '2026-01-01T00:00:00Z' + ({seconds}) * interval '1 second')")
        } else {
            format!("(({BEGINNING} + ({seconds}) * 1000) * 1000)")
        }
    };
    let yes = |condition: String| if is_postgres { condition } else { format!("iif({condition}, 1, 0)") };
    let of_bytes = |text: String| {
        if is_postgres { format!("md5({text})::uuid") } else { format!("randomblob(16 + 0 * length({text}))") }
    };
    let (users, first_open) = (calls / 20, calls - OPEN);
    let id = "((n % 1000 * 7919 % 1000) || '-' || n)";
    let open = yes(format!("n >= {first_open}"));
    let status = format!(
        "CASE WHEN n >= {first_open} THEN 'active' WHEN n % 1000 = 7 THEN 'failed' WHEN n % 10 = 6 THEN 'missed' \
         WHEN n % 10 = 7 THEN 'declined' WHEN n % 10 = 8 THEN 'cancelled' ELSE 'ended' END"
    );
    let ended = format!("CASE WHEN n < {first_open} THEN {} END", time("n + 60"));
    backend.execute(&format!(
        "INSERT INTO calls (id, owner_node, epoch, seq, prev_seq, open, status, call_type, mode, group_id, initiator, \
         is_group, max_participants, peak_participants, created_at, started_at, ended_at) \
         SELECT {id}, 'n1', 1, 9, 8, {open}, {status}, 'audio', 'p2p', CASE WHEN n % 50 = 0 THEN 'big' \
         WHEN n % 5 = 0 THEN 'g' || (n % 1000) END, 'a' || (n % {users}), {}, 100, 3, {}, \
         CASE WHEN n % 10 < 6 OR n % 10 = 9 THEN {} END, {ended} FROM {}",
        yes("n % 5 = 0".into()),
        time("n"),
        time("n + 5"),
        numbers(calls),
    ));
    let people = [
        ("a", format!("'a' || (n % {users})"), "'left'"),
        ("b", format!("'b' || (n * 7 % {users})"), "CASE WHEN n % 10 = 6 THEN 'missed' ELSE 'left' END"),
        ("c", format!("CASE WHEN n % 10 = 0 THEN 'heavy' ELSE 'c' || (n * 13 % {users}) END"), "'left'"),
    ];
    for (role, user, part) in people {
        backend.execute(&format!(
            "INSERT INTO participants (call_id, user_id, role, status, open, device_id, ringing_devices, invited_at, \
             joined_at, left_at, earlier_stays_ms) SELECT {id}, {user}, '{}', CASE WHEN n >= {first_open} THEN 'joined' \
             ELSE {part} END, {open}, 'phone', '[]', {}, {}, {ended}, 0 FROM {}",
            if role == "a" { "host" } else { "participant" },
            time("n"),
            time("n + 5"),
            numbers(calls),
        ));
    }
    // A group with members enough that nobody would look for one of them by reading all.
    let beginning = time("0");
    backend.execute(&format!(
        "INSERT INTO groups (id, created_at, updated_at) VALUES ('big', {beginning}, {beginning}); \
         INSERT INTO group_members (group_id, user_id, role, added_at) SELECT 'big', CASE WHEN n = 4999 THEN 'nobody' \
         ELSE 'a' || n END, 'member', {beginning} FROM {}",
        numbers(5000),
    ));
    let kept = format!("(n * {KEPT_IN_FULL})");
    let kept_id = id.replace('n', &kept);
    backend.execute(&format!(
        "INSERT INTO call_events (call_id, seq, at, kind, payload, node, epoch, command_id) SELECT {kept_id}, e.k, {}, \
         'ringing', '{{\"ringing\":{{\"user\":\"b\",\"device\":\"phone\"}}}}', 'n1', 1, {} FROM {}, \
         (SELECT 1 AS k UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5) AS e",
        time(&format!("{kept} + e.k")),
        of_bytes("n || 'e' || e.k".into()),
        numbers(calls / KEPT_IN_FULL),
    ));
    backend.execute(&format!(
        "INSERT INTO quality_reports (call_id, user_id, id, device_id, at, jitter_ms, score) SELECT {kept_id}, \
         'a' || ({kept} % {users}), {}, 'phone', {}, 5.0, 'excellent' FROM {}, \
         (SELECT 1 AS k UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5) AS e",
        of_bytes("n || 'q' || e.k".into()),
        time(&format!("{kept} + e.k")),
        numbers(calls / KEPT_IN_FULL),
    ));
    backend.execute("ANALYZE");
}
