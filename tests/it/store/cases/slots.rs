//! At most one open call per slot.

use std::collections::{BTreeMap, BTreeSet};

use carillon::{domain::Command, store::CommitOutcome};
use futures_util::future::join_all;

use crate::store::{
    backend::Backend,
    scene::{begin, call_id, group_opening, node, opening},
};

pub async fn concurrent(backend: Backend) {
    let store = backend.store().await;
    // Three nodes of their own, and five slots: two groups, two pairs from either side.
    let stores = [store, backend.store().await, backend.store().await];
    let starts: Vec<_> = (0..100)
        .map(|n| {
            let id = format!("c{n}");
            let start = match n % 5 {
                0 => group_opening(&id, "alice", "g1"),
                1 => group_opening(&id, "bob", "g2"),
                2 => opening(&id, "alice", &["bob"]),
                3 => opening(&id, "bob", &["alice"]),
                _ => opening(&id, "dave", &["erin"]),
            };
            let slot = if n % 5 == 3 { 2 } else { n % 5 };
            (slot, n, begin(&start, &node(&format!("n{}", n % 3))).0)
        })
        .collect();
    let outcomes = join_all(starts.into_iter().map(|(slot, n, commit)| {
        let store = &stores[n % 3];
        async move { (slot, commit.after.id.clone(), store.commit(commit).await.unwrap()) }
    }))
    .await;
    let mut winners = BTreeMap::new();
    for (slot, id, outcome) in &outcomes {
        if *outcome == CommitOutcome::Committed {
            assert_eq!(winners.insert(*slot, id.clone()), None, "two open calls in slot {slot}");
        }
    }
    assert_eq!(winners.len(), 4);
    for (slot, id, outcome) in &outcomes {
        if winners[slot] != *id {
            assert_eq!(*outcome, CommitOutcome::SlotTaken { holder: winners[slot].clone() });
        }
    }
    assert_eq!(backend.count("calls"), 4);
    assert_eq!(backend.count("call_events"), 4);
    let held: BTreeSet<String> = backend.texts("call_id", "slots").into_iter().collect();
    assert_eq!(held, winners.values().map(|id| id.as_str().to_owned()).collect());
}

pub async fn freed(backend: Backend) {
    let store = backend.store().await;
    for round in 0..3 {
        let (commit, call) = begin(&opening(&format!("c{round}"), "alice", &["bob"]), &node("n1"));
        assert_eq!(store.commit(commit).await, Ok(CommitOutcome::Committed));
        let (second, _) = begin(&opening(&format!("d{round}"), "bob", &["alice"]), &node("n1"));
        let holder = call_id(&format!("c{round}"));
        assert_eq!(store.commit(second).await, Ok(CommitOutcome::SlotTaken { holder }));
        let (accepted, call) = call.decide("bob", &Command::Accept { answer: None });
        store.commit(accepted).await.unwrap();
        let (ended, _) = call.decide("bob", &Command::Leave);
        assert_eq!(store.commit(ended).await, Ok(CommitOutcome::Committed));
        assert_eq!(backend.count("slots"), 0);
    }
}

pub async fn ends_at_once(backend: Backend) {
    let store = backend.store().await;
    let make = |id: &str| {
        let (mut commit, call) = begin(&opening(id, "alice", &["bob"]), &node("n1"));
        let (ending, over) = call.decide("alice", &Command::Cancel);
        commit.events.extend(ending.events);
        commit.after = over.call;
        commit
    };
    assert_eq!(store.commit(make("c1")).await, Ok(CommitOutcome::Committed));
    assert_eq!(backend.count("slots"), 0);
    assert_eq!(backend.count("call_events"), 3);
    assert_eq!(backend.texts("outcome", "invitations"), ["cancelled"]);
    let (commit, call) = begin(&opening("c2", "alice", &["bob"]), &node("n1"));
    store.commit(commit).await.unwrap();
    let holder = call.call.id.clone();
    assert_eq!(store.commit(make("c3")).await, Ok(CommitOutcome::SlotTaken { holder }));
    // A call that does not use the slot neither takes nor frees it.
    let (mut commit, separate) = begin(&opening("c4", "alice", &["bob"]), &node("n1"));
    commit.slot = None;
    store.commit(commit).await.unwrap();
    let (commit, _) = separate.decide("alice", &Command::Cancel);
    store.commit(commit).await.unwrap();
    assert_eq!(backend.texts("call_id", "slots"), ["c2"]);
}
