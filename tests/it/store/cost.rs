//! What calls cost PostgreSQL. Not part of the suite: `cargo test --release -- --ignored --nocapture cost_in`.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::{backend::Backend, cases::batches::whole_call, run};

const HOUR: Duration = Duration::from_secs(3600);

/// CPU of a PostgreSQL, all its processes, dead ones included.
fn cpu(database: &crate::support::postgres::Database) -> Duration {
    let checkpointer = database.sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'");
    let checkpointer: u32 = checkpointer[0][0].as_deref().unwrap().parse().unwrap();
    let stat = |pid: u32| -> Option<Vec<u64>> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let rest = text.rsplit_once(") ")?.1;
        Some(rest.split(' ').skip(1).map(|field| field.parse().unwrap_or(0)).collect())
    };
    let postmaster = u32::try_from(stat(checkpointer).unwrap()[0]).unwrap();
    let own = stat(postmaster).unwrap();
    let mut ticks = own[10] + own[11] + own[12] + own[13];
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        if let Some(fields) = stat(pid).filter(|fields| fields[0] == u64::from(postmaster)) {
            ticks += fields[10] + fields[11];
        }
    }
    // A tick is a hundredth of a second on every Linux this runs on.
    Duration::from_millis(ticks * 10)
}

#[test]
#[ignore = "a measurement"]
fn cost_in_postgres_of_a_whole_call() {
    run(async {
        for at_once in [1, 4, 16, 64, 500] {
            let backend = Backend::postgres();
            let Backend::Postgres(database) = &backend else { unreachable!() };
            let store = backend.store().await;
            let mut n = 0;
            let (started, before) = (Instant::now(), cpu(database));
            while started.elapsed() < Duration::from_secs(5) {
                let round = (0..at_once).map(|_| {
                    n += 1;
                    let store = &store;
                    async move { whole_call(store, &format!("c{n}"), &format!("a{n}"), &format!("b{n}"), "n1").await }
                });
                join_all(round).await;
            }
            let (took, used) = (started.elapsed(), cpu(database) - before);
            let stats = store.writer_stats();
            println!(
                "{at_once} at once: {:.0} calls/s, {:.1} commits a transaction, {:.3} ms of PostgreSQL per call",
                f64::from(n) / took.as_secs_f64(),
                stats.commits as f64 / stats.transactions as f64,
                used.as_secs_f64() * 1000.0 / f64::from(n)
            );
        }
    });
}

/// What each call pays for the indexes by which lists of the past are read.
#[test]
#[ignore = "a measurement"]
fn cost_in_postgres_of_the_indexes_of_history() {
    run(async {
        for round in 0..6 {
            let backend = Backend::postgres();
            let Backend::Postgres(database) = &backend else { unreachable!() };
            let store = backend.store().await;
            let with = round % 2 == 0;
            if !with {
                backend.execute("DROP INDEX participants_by_user; DROP INDEX calls_by_group");
            }
            let mut n = 0;
            let (started, before) = (Instant::now(), cpu(database));
            while started.elapsed() < Duration::from_secs(5) {
                let calls = (0..64).map(|_| {
                    n += 1;
                    let store = &store;
                    // A thousand people who call each other again and again.
                    let (caller, callee) = (format!("a{}", n % 1000), format!("b{}", n * 7 % 1000));
                    async move { whole_call(store, &format!("c{n}"), &caller, &callee, "n1").await }
                });
                join_all(calls).await;
            }
            let used = cpu(database) - before;
            println!("with them: {with}, {:.3} ms of PostgreSQL per call", used.as_secs_f64() * 1000.0 / f64::from(n));
        }
    });
}

/// What the looks of the sweepers cost beside many calls that have ended: they must not read those.
#[test]
#[ignore = "a measurement"]
fn cost_of_the_sweepers_looks_beside_two_hundred_thousand_ended_calls() {
    run(async {
        for backend in [Backend::sqlite(), Backend::postgres()] {
            let store = backend.store().await;
            let (numbers, now) = match &backend {
                Backend::Sqlite(_) => {
                    let numbers = "(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 200000) SELECT n FROM s)";
                    (numbers, "CAST(unixepoch() AS integer) * 1000000")
                }
                Backend::Postgres(_) => ("generate_series(1, 200000) AS s(n)", "now()"),
            };
            let open = if matches!(backend, Backend::Sqlite(_)) { ("0", "1") } else { ("false", "true") };
            for (kind, count, status, open) in [("e", 200_000, "ended", open.0), ("o", 2000, "active", open.1)] {
                backend.execute(&format!(
                    "INSERT INTO calls (id, owner_node, epoch, seq, prev_seq, open, status, call_type, mode, initiator, is_group, \
                     max_participants, peak_participants, created_at, started_at) SELECT '{kind}' || n, 'n1', 1, 3, 2, {open}, \
                     '{status}', 'audio', 'p2p', 'u' || n, {0}, 100, 2, {now}, {now} FROM {numbers} WHERE n <= {count}",
                    if open == "0" || open == "1" { "0" } else { "false" }
                ));
                for part in ["a", "b"] {
                    backend.execute(&format!(
                        "INSERT INTO participants (call_id, user_id, role, status, open, device_id, ringing_devices, invited_at, \
                         joined_at, earlier_stays_ms) SELECT '{kind}' || n, '{part}' || n, 'host', 'joined', {open}, 'd', '[]', \
                         {now}, {now}, 0 FROM {numbers} WHERE n <= {count}"
                    ));
                }
            }
            store
                .register_node(&carillon::domain::NodeId::new("n1").unwrap(), HOUR, &Default::default())
                .await
                .unwrap();
            for analyzed in [false, true] {
                if analyzed {
                    backend.execute("ANALYZE");
                }
                let mut took = Vec::new();
                for look in 0..6 {
                    let began = Instant::now();
                    match look {
                        0 => drop(store.stale_rings(HOUR, None, 200).await.unwrap()),
                        1 => drop(store.stale_connecting(HOUR, HOUR, None, 200).await.unwrap()),
                        2 => drop(store.longest_calls(HOUR, HOUR, None, 200).await.unwrap()),
                        3 => drop(store.engaged_parts(HOUR, None, 200).await.unwrap()),
                        4 => drop(store.stale_reconnecting(HOUR, HOUR, 200).await.unwrap()),
                        _ => drop(store.orphaned_calls(None, 200).await.unwrap()),
                    }
                    took.push(began.elapsed());
                }
                println!("{:?}, analyzed: {analyzed}: {took:?}", store.kind());
            }
        }
    });
}
