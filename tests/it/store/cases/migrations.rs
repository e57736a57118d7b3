//! Making the tables, and opening and closing a store.

use carillon::{
    secret::Secret,
    store::{CommitOutcome, Store, StoreError, StoreOptions, migrate},
};
use futures_util::future::{Either, join_all, ready, select};

use crate::store::{
    backend::Backend,
    scene::{begin, node, opening},
};

pub async fn ten_at_once(backend: Backend) {
    let (url, owner) = (backend.url(), backend.owner());
    let applied = join_all((0..10).map(|_| migrate(&url, owner.as_ref()))).await;
    let applied: Vec<_> = applied.into_iter().map(Result::unwrap).filter(|versions| !versions.is_empty()).collect();
    assert_eq!(applied.len(), 1, "{applied:?}");
    assert_eq!(backend.count("__diesel_schema_migrations"), applied[0].len() as i64);
    assert_eq!(migrate(&url, owner.as_ref()).await, Ok(vec![]));
    assert_eq!(migrate(&url, None).await, Ok(vec![]), "where nothing is missing, any role will do");
}

pub async fn outdated(backend: Backend) {
    let Err(StoreError::Setup(hint)) = Store::open(&backend.url(), StoreOptions::default()).await else {
        panic!("opened without tables");
    };
    assert!(hint.contains("carillon migrate"), "{hint}");
    let nowhere = Secret::new("postgres://u:hunter2@127.0.0.1:1/db");
    let Err(StoreError::Setup(reason)) = migrate(&nowhere, None).await else {
        panic!("migrated nothing");
    };
    assert!(!reason.contains("hunter2"), "{reason}");
}

pub async fn closed(backend: Backend) {
    let store = backend.store().await;
    let commits: Vec<_> =
        (0..200).map(|n| begin(&opening(&format!("c{n}"), &format!("a{n}"), &["bob"]), &node("n1")).0).collect();
    let waiting = join_all(commits.into_iter().map(|commit| store.commit(commit)));
    // One look at it puts all of them into the queue.
    let Either::Right(((), waiting)) = select(waiting, ready(())).await else { panic!("done already") };
    store.close().await;
    for outcome in waiting.await {
        assert_eq!(outcome, Ok(CommitOutcome::Committed));
    }
    let (late, _) = begin(&opening("late", "alice", &["bob"]), &node("n1"));
    assert!(store.commit(late).await.is_err());
    assert!(store.ping().await.is_err());
    assert_eq!(backend.count("calls"), 200);
}
