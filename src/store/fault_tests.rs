//! Connections that break, and panics, around the commit: `cargo test --features failpoints --lib`.

use std::sync::Arc;

use fail::FailScenario;

use super::{CommandId, Commit, CommitOutcome, Store, StoreError, StoreOptions, migrate};
use crate::{
    domain::{
        Call, CallId, CallMode, CallType, DeviceId, NodeId, Recorded, Rules, Start, Timestamp, UserId, call::start,
    },
    secret::Secret,
};

fn first_commit(id: &str) -> Commit {
    let opening = Start {
        call: CallId::new(id).unwrap(),
        call_type: CallType::Audio,
        mode: CallMode::P2p,
        escalates: false,
        initiator: UserId::new("alice").unwrap(),
        initiator_name: None,
        device: DeviceId::new("phone").unwrap(),
        group: None,
        callees: vec![UserId::new("bob").unwrap()],
        ring_timeout: None,
        offer: None,
        metadata: None,
    };
    let at = Timestamp::from_millis(1_700_000_000_000);
    let event = start(&opening, at, &Rules::default()).unwrap().remove(0);
    let events = vec![Recorded { seq: 1, at, event }];
    let after = Arc::new(Call::rebuild(opening.call.clone(), &events).unwrap());
    Commit {
        command: CommandId::now_v7(),
        node: NodeId::new("n1").unwrap(),
        epoch: 1,
        prev_seq: 0,
        before: None,
        after,
        events,
        slot: None,
        outcome: None,
        by: None,
        kind: "start",
        trace: None,
    }
}

fn with_store(case: impl AsyncFnOnce(Store)) {
    let scenario = FailScenario::setup();
    let folder = tempfile::tempdir().unwrap();
    let url = Secret::new(format!("sqlite://{}", folder.path().join("calls.db").display()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        migrate(&url, None).await.unwrap();
        let store = Store::open(&url, StoreOptions::default()).await.unwrap();
        case(store.clone()).await;
        store.close().await;
    });
    scenario.teardown();
}

async fn is_there_once(store: &Store, commit: &Commit) {
    assert!(store.command_committed(commit.command).await.unwrap());
    let stored = store.load_call(&commit.after.id).await.unwrap().unwrap();
    assert_eq!(stored.history, commit.events);
}

#[test]
fn a_connection_lost_around_the_commit_is_settled_by_the_command_id() {
    // A panic is as good as a lost connection: nobody knows how far it came.
    for point in ["store-before-commit", "store-after-commit"] {
        for action in ["1*return->off", "3*return->off", "1*panic->off"] {
            with_store(async |store| {
                fail::cfg(point, action).unwrap();
                let commit = first_commit("c1");
                assert_eq!(store.commit(commit.clone()).await, Ok(CommitOutcome::Committed), "{point} {action}");
                is_there_once(&store, &commit).await;
            });
        }
    }
}

#[test]
fn a_refusal_is_no_commit_though_the_connection_breaks_on_the_way() {
    with_store(async |store| {
        let first = first_commit("c1");
        store.commit(first.clone()).await.unwrap();
        fail::cfg("store-after-commit", "1*return->off").unwrap();
        assert_eq!(store.commit(first_commit("c1")).await, Ok(CommitOutcome::CallExists));
        is_there_once(&store, &first).await;
    });
}

#[test]
fn a_commit_that_stays_in_doubt_says_so_and_can_be_repeated() {
    with_store(async |store| {
        fail::cfg("store-after-commit", "return").unwrap();
        fail::cfg("store-in-doubt", "return").unwrap();
        let commit = first_commit("c1");
        let error = store.commit(commit.clone()).await.unwrap_err();
        assert_eq!(error, StoreError::Unavailable { unknown_outcome: true });
        fail::remove("store-after-commit");
        fail::remove("store-in-doubt");
        assert_eq!(store.commit(commit.clone()).await, Ok(CommitOutcome::Committed));
        is_there_once(&store, &commit).await;
    });
}
