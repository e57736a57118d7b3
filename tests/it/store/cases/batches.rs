//! Commits that share a transaction.

use std::time::Instant;

use carillon::{
    domain::Command,
    store::{CommitOutcome, Store, StoreError},
};
use futures_util::future::join_all;

use crate::store::{
    backend::Backend,
    scene::{Owned, begin, node, opening},
};

pub async fn poison(backend: Backend) {
    let store = backend.store().await;
    let (first, _) = begin(&opening("first", "zoe", &["yan"]), &node("n1"));
    let used = first.command;
    store.commit(first).await.unwrap();
    let commits = (0..60).map(|n| {
        let (mut commit, _) = begin(&opening(&format!("c{n}"), &format!("a{n}"), &["bob"]), &node("n1"));
        if n % 20 == 7 {
            commit.command = used; // its result cannot be recorded: the whole statement fails
        }
        let store = store.clone();
        async move { store.commit(commit).await }
    });
    for (n, outcome) in join_all(commits).await.into_iter().enumerate() {
        if n % 20 == 7 {
            assert!(matches!(outcome, Err(StoreError::Permanent(_))), "{outcome:?}");
        } else {
            assert_eq!(outcome, Ok(CommitOutcome::Committed));
        }
    }
    assert_eq!(backend.count("calls"), 58);
    assert_eq!(backend.count("command_results"), 58);
    assert_eq!(backend.count("slots"), 58);
}

pub async fn shared(backend: Backend) {
    let store = backend.store().await;
    let commits: Vec<_> =
        (0..300).map(|n| begin(&opening(&format!("c{n}"), &format!("a{n}"), &["bob"]), &node("n1")).0).collect();
    for outcome in join_all(commits.into_iter().map(|commit| store.commit(commit))).await {
        assert_eq!(outcome, Ok(CommitOutcome::Committed));
    }
    assert_eq!(backend.count("calls"), 300);
    let stats = store.writer_stats();
    assert_eq!(stats.commits, 300);
    assert!(stats.transactions < 100, "{} transactions", stats.transactions);
    assert_eq!(stats.waiting, 0);
}

pub async fn same_call(backend: Backend) {
    let store = backend.store().await;
    let (commit, mut call) = begin(&opening("c1", "alice", &["bob", "carol"]), &node("n1"));
    let mut commits = vec![commit];
    for n in 0..20 {
        let (commit, after) =
            call.decide("alice", &Command::Media { audio: Some(n % 2 == 0), video: None, screen: None });
        commits.push(commit);
        call = after;
    }
    for outcome in join_all(commits.into_iter().map(|commit| store.commit(commit))).await {
        assert_eq!(outcome, Ok(CommitOutcome::Committed));
    }
    let stored = store.load_call(&call.call.id).await.unwrap().unwrap();
    assert_eq!(stored.history, call.history);
}

/// A whole call: start, ringing, accept, end.
pub async fn whole_call(store: &Store, id: &str, caller: &str, callee: &str, owner: &str) -> Owned {
    let (commit, mut call) = begin(&opening(id, caller, &[callee]), &node(owner));
    assert_eq!(store.commit(commit).await, Ok(CommitOutcome::Committed));
    for (who, command) in [
        (callee, Command::Ringing),
        (callee, Command::Accept { answer: None }),
        (caller, Command::End { reason: None }),
    ] {
        let (commit, after) = call.decide(who, &command);
        assert_eq!(store.commit(commit).await, Ok(CommitOutcome::Committed));
        call = after;
    }
    call
}

pub async fn two_stores(backend: Backend) {
    let stores = [backend.store().await, backend.store().await];
    let calls = (0..100).map(|n| {
        let store = &stores[n % 2];
        async move { whole_call(store, &format!("c{n}"), &format!("a{n}"), &format!("b{n}"), "n1").await }
    });
    let calls = join_all(calls).await;
    for call in &calls {
        let stored = stores[0].load_call(&call.call.id).await.unwrap().unwrap();
        assert_eq!(stored.history, call.history);
    }
    assert_eq!(backend.count("slots"), 0);
    assert_eq!(backend.count("participants WHERE open"), 0);
    assert_eq!(backend.count("command_results"), 400);
}

/// No benchmark, only a floor that a mistake (a transaction per commit, a scan per commit) would fall through.
pub async fn speed(backend: Backend) {
    let store = backend.store().await;
    const CALLS: usize = 1000;
    let started = Instant::now();
    let calls = (0..CALLS).map(|n| {
        let store = &store;
        async move { whole_call(store, &format!("c{n}"), &format!("a{n}"), &format!("b{n}"), "n1").await }
    });
    join_all(calls).await;
    let per_second = (CALLS * 4) as f64 / started.elapsed().as_secs_f64();
    println!("{:?}: {per_second:.0} commits/s, {:?}", store.kind(), store.writer_stats());
    assert!(per_second > 500.0, "{per_second:.0} commits/s");
}
