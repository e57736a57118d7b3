//! What a PostgreSQL elsewhere can do to a store: cut its connections, stop, come back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use carillon::{
    domain::Command,
    secret::Secret,
    store::{CommitOutcome, Health, Store, StoreError, StoreOptions, migrate},
};
use futures_util::future::join_all;

use super::{
    backend::Backend,
    run,
    scene::{Owned, begin, call_id, node, opening},
};
use crate::support::postgres::Instance;

async fn eventually<F: AsyncFnMut() -> bool>(what: &str, limit: Duration, mut holds: F) {
    let deadline = Instant::now() + limit;
    while !holds().await {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Cuts all connections to the database again and again, until it is dropped.
struct Cutter {
    stop: Arc<AtomicBool>,
    cuts: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Cutter {
    fn start(backend: Arc<Backend>, every: Duration) -> Self {
        let (stop, cuts) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, counted) = (stop.clone(), cuts.clone());
        let cut = move || {
            let Backend::Postgres(database) = &*backend else { return };
            while !stopped.load(Ordering::SeqCst) {
                std::thread::sleep(every);
                let cut = database.sql(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                     WHERE datname = current_database() AND pid <> pg_backend_pid()",
                );
                counted.fetch_add(cut.len(), Ordering::SeqCst);
            }
        };
        Self { stop, cuts, thread: Some(std::thread::spawn(cut)) }
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A call that begins and ends. `None`: a commit was refused as retryable.
async fn short_call(store: &Store, n: usize) -> Option<Owned> {
    let caller = format!("a{n}");
    let committed = |outcome: Result<CommitOutcome, StoreError>| match outcome {
        Ok(outcome) => {
            assert_eq!(outcome, CommitOutcome::Committed);
            true
        }
        Err(error) => {
            assert!(error.is_retryable(), "{error}");
            false
        }
    };
    let (commit, call) = begin(&opening(&format!("c{n}"), &caller, &["bob"]), &node("n1"));
    if !committed(store.commit(commit).await) {
        return None;
    }
    let (commit, over) = call.decide(&caller, &Command::Cancel);
    committed(store.commit(commit).await).then_some(over)
}

/// Often enough to hit every moment of a commit, also the one between the rows of its answer and its end.
#[test]
fn commits_survive_connections_that_are_cut_fifty_times_a_second() {
    run(async {
        let backend = Arc::new(Backend::postgres());
        let store = backend.store().await;
        let cutter = Cutter::start(backend.clone(), Duration::from_millis(20));
        let (began, mut n, mut acknowledged) = (Instant::now(), 0, Vec::new());
        // On a slow machine few connections live for long enough to write anything.
        let enough = |n: usize| n > 200 || began.elapsed() > Duration::from_secs(60);
        while began.elapsed() < Duration::from_secs(6) || !enough(acknowledged.len()) {
            let round = join_all((n..n + 20).map(|n| short_call(&store, n))).await;
            acknowledged.extend(round.into_iter().flatten());
            n += 20;
        }
        let cuts = cutter.cuts.load(Ordering::SeqCst);
        drop(cutter);
        println!("{} of {n} calls acknowledged, {cuts} connections cut", acknowledged.len());
        assert!(cuts > 50 && acknowledged.len() > 200);
        for calls in acknowledged.chunks(100) {
            let stored = join_all(calls.iter().map(|call| store.load_call(&call.call.id))).await;
            for (call, stored) in calls.iter().zip(stored) {
                assert_eq!(stored.unwrap().unwrap().history, call.history, "acknowledged, so there, once");
            }
        }
        assert_eq!(backend.count("slots WHERE call_id IN (SELECT id FROM calls WHERE NOT open)"), 0);
        let results = backend.count("command_results");
        assert_eq!(results, backend.count("(SELECT DISTINCT command_id FROM call_events) e"));
    });
}

#[test]
fn a_postgres_that_stops_and_comes_back_is_an_outage_and_nothing_more() {
    run(async {
        let instance = Arc::new(Instance::start());
        let database = instance.create_database();
        let (url, owner) = (Secret::new(database.url()), Secret::new(database.owner_url()));
        migrate(&url, Some(&owner)).await.unwrap();
        let store = Store::open(&url, StoreOptions { connections: 2 }).await.unwrap();
        let (commit, call) = begin(&opening("c1", "alice", &["bob"]), &node("n1"));
        assert_eq!(store.commit(commit).await, Ok(CommitOutcome::Committed));
        store.ping().await.unwrap();

        instance.stop_immediate();
        let (commit, after) = call.decide("bob", &Command::Ringing);
        let error = store.commit(commit.clone()).await.unwrap_err();
        assert!(error.is_retryable(), "{error}");
        assert!(store.ping().await.unwrap_err().is_retryable());
        eventually("the store says that it is down", Duration::from_secs(5), async || {
            matches!(store.health(), Health::Down { .. })
        })
        .await;
        let asked = Instant::now();
        for _ in 0..20 {
            let (commit, _) = begin(&opening("c2", "carol", &["dave"]), &node("n1"));
            assert_eq!(store.commit(commit).await, Err(StoreError::Unavailable { unknown_outcome: false }));
            assert!(store.ping().await.unwrap_err().is_retryable());
        }
        assert!(asked.elapsed() < Duration::from_secs(2), "refused at once: {:?}", asked.elapsed());

        let restarted = instance.clone();
        std::thread::spawn(move || restarted.start_again()).join().unwrap();
        eventually("the store is back", Duration::from_secs(10), async || store.ping().await.is_ok()).await;
        eventually("the writer is back", Duration::from_secs(10), async || store.health() == Health::Up).await;
        assert_eq!(store.commit(commit).await, Ok(CommitOutcome::Committed), "the same commit again");
        let stored = store.load_call(&after.call.id).await.unwrap().unwrap();
        assert_eq!(stored.history, after.history);
    });
}

#[test]
fn a_commit_that_waits_for_a_lock_gives_up_and_does_not_hold_up_others_for_ever() {
    run(async {
        let backend = Backend::postgres();
        let Backend::Postgres(database) = &backend else { unreachable!() };
        let store = backend.store().await;
        let (commit, call) = begin(&opening("c1", "alice", &["bob"]), &node("n1"));
        store.commit(commit).await.unwrap();
        let url = database.superuser_url();
        let (client, io) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(io);
        client.batch_execute("BEGIN; UPDATE calls SET status = status WHERE id = 'c1'").await.unwrap();
        let (locked, _) = call.decide("bob", &Command::Ringing);
        let others = (0..20).map(|n| begin(&opening(&format!("d{n}"), &format!("a{n}"), &["bob"]), &node("n1")).0);
        let all: Vec<_> = std::iter::once(locked.clone()).chain(others).map(|commit| store.commit(commit)).collect();
        let outcomes = join_all(all).await;
        assert_eq!(outcomes[0], Err(StoreError::Unavailable { unknown_outcome: false }));
        for outcome in &outcomes[1..] {
            assert_eq!(*outcome, Ok(CommitOutcome::Committed));
        }
        client.batch_execute("ROLLBACK").await.unwrap();
        assert_eq!(store.commit(locked).await, Ok(CommitOutcome::Committed));
    });
}

#[test]
fn a_backend_that_falls_silent_is_given_up_and_what_it_does_later_does_no_harm() {
    run(async {
        let backend = Backend::postgres();
        let Backend::Postgres(database) = &backend else { unreachable!() };
        let store = backend.store().await;
        let (commit, call) = begin(&opening("c1", "alice", &["bob"]), &node("n1"));
        store.commit(commit).await.unwrap();
        let writer = database.sql(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'WITH input%' \
             AND pid <> pg_backend_pid()",
        );
        assert_eq!(writer.len(), 1);
        let writer: libc::pid_t = writer[0][0].as_deref().unwrap().parse().unwrap();
        // SAFETY: the pid is that of a backend of our own PostgreSQL, which lives as long as the store's connection.
        unsafe { libc::kill(writer, libc::SIGSTOP) };
        let began = Instant::now();
        let (commit, after) = call.decide("bob", &Command::Ringing);
        assert_eq!(store.commit(commit).await, Ok(CommitOutcome::Committed));
        assert!(began.elapsed() > Duration::from_secs(5), "the stopped backend did not answer");
        // Now it finds the same commit in its socket, and finds it overtaken.
        unsafe { libc::kill(writer, libc::SIGCONT) };
        eventually("the old backend ends", Duration::from_secs(10), async || {
            database.sql(&format!("SELECT 1 FROM pg_stat_activity WHERE pid = {writer}")).is_empty()
        })
        .await;
        let stored = store.load_call(&after.call.id).await.unwrap().unwrap();
        assert_eq!(stored.history, after.history);
        assert_eq!(backend.count("command_results"), 2);
    });
}

#[test]
fn every_session_has_its_limits() {
    run(async {
        let backend = Backend::postgres();
        let Backend::Postgres(database) = &backend else { unreachable!() };
        let store = backend.store().await;
        store.ping().await.unwrap();
        // A statement that would take for ever, run by a reader: a lock that is not given.
        let (client, io) = tokio_postgres::connect(&database.superuser_url(), tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(io);
        client.batch_execute("BEGIN; LOCK TABLE groups, nodes IN ACCESS EXCLUSIVE MODE").await.unwrap();
        let began = Instant::now();
        let group = carillon::domain::GroupId::new("g").unwrap();
        assert_eq!(store.get_group(&group).await, Err(StoreError::Unavailable { unknown_outcome: false }));
        let waited = began.elapsed();
        assert!(waited > Duration::from_secs(1) && waited < Duration::from_secs(4), "{waited:?}");
        client.batch_execute("ROLLBACK").await.unwrap();
        assert_eq!(store.get_group(&group).await, Ok(None));
    });
}

#[test]
fn what_fails_at_the_very_end_of_its_transaction_is_not_acknowledged() {
    // PostgreSQL sends a statement's rows before the commit that follows it: a server that is stopped in between has
    // sent them and committed nothing. A constraint that is checked at the commit does the same, every time.
    run(async {
        let backend = Backend::postgres();
        let store = backend.store().await;
        let (commit, _) = begin(&opening("before", "ann", &["bob"]), &node("n1"));
        assert_eq!(store.commit(commit).await, Ok(CommitOutcome::Committed));
        let Backend::Postgres(database) = &backend else { unreachable!() };
        database.sql(
            "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'at the end'; END $$; \
             CREATE CONSTRAINT TRIGGER fail AFTER INSERT OR UPDATE ON calls DEFERRABLE INITIALLY DEFERRED \
             FOR EACH ROW EXECUTE FUNCTION fail()",
        );
        let (commit, _) = begin(&opening("after", "cid", &["dan"]), &node("n1"));
        assert!(store.commit(commit).await.is_err(), "nothing was committed");
        assert_eq!(backend.count("calls WHERE id = 'after'"), 0);
        let claimed = store.claim(&call_id("before"), 1, &node("n2")).await;
        assert!(claimed.is_err(), "nothing was claimed: {claimed:?}");
        assert_eq!(backend.count("calls WHERE epoch = 1"), 1);
        drop(store);
    });
}
