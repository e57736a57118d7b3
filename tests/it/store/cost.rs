//! What calls cost PostgreSQL. Not part of the suite: `cargo test --release -- --ignored --nocapture cost_in`.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::{backend::Backend, cases::batches::whole_call, run};

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
