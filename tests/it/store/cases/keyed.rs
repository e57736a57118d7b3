//! Command ids that are made of a key: what is on record under one stays, whoever comes second and with whatever.

use carillon::{
    domain::Command,
    store::{CommandId, CommandRecord, Commit, CommitOutcome, is_keyed},
};

use crate::store::{
    backend::Backend,
    scene::{begin, call_id, node, opening, user},
};

/// As a key makes one.
fn id(number: u128) -> CommandId {
    let id = CommandId::from_u128((0xc0 << 120) | (8 << 76) | (2 << 62) | number);
    assert!(is_keyed(id));
    id
}

fn under(mut commit: Commit, id: CommandId, outcome: &str) -> Commit {
    commit.command = id;
    commit.outcome = Some(outcome.to_owned());
    commit
}

fn refused(outcome: &str) -> CommandRecord {
    let outcome = Some(outcome.to_owned());
    CommandRecord { call: call_id("c1"), seq: 0, kind: "busy".into(), by: Some(user("bob")), outcome }
}

/// The same start by two nodes, and twice by one: the second must not take the call for its own.
pub async fn starts(backend: Backend) {
    let store = backend.store().await;
    let make = |owner: &str| under(begin(&opening("c1", "alice", &["bob"]), &node(owner)).0, id(1), "first");
    assert_eq!(store.commit(make("n1")).await, Ok(CommitOutcome::Committed));
    for owner in ["n1", "n2"] {
        assert_eq!(store.commit(make(owner)).await, Ok(CommitOutcome::CallExists), "{owner}");
    }
    // Another call under the same key.
    let other = under(begin(&opening("c2", "alice", &["carol"]), &node("n2")).0, id(1), "second");
    assert_eq!(store.commit(other).await, Ok(CommitOutcome::Repeated));
    assert_eq!((backend.count("calls"), backend.count("call_events"), backend.count("slots")), (1, 1, 1));
    assert_eq!(store.command_outcome(id(1)).await.unwrap().unwrap().outcome.as_deref(), Some("first"));
}

pub async fn commands(backend: Backend) {
    let store = backend.store().await;
    let (commit, call) = begin(&opening("c1", "alice", &["bob"]), &node("n1"));
    store.commit(commit).await.unwrap();
    let (ringing, rung) = call.decide("bob", &Command::Ringing);
    assert_eq!(store.commit(under(ringing.clone(), id(2), "first")).await, Ok(CommitOutcome::Committed));
    // Decided on the same state by who does not know of it.
    assert_eq!(store.commit(under(ringing, id(2), "second")).await, Ok(CommitOutcome::Fenced));
    let (accept, _) = rung.decide("bob", &Command::Accept { answer: None });
    let (other, _) = begin(&opening("c2", "dave", &["erin"]), &node("n1"));
    // Together with one that has nothing to do with it.
    let (repeated, other) = tokio::join!(store.commit(under(accept.clone(), id(2), "third")), store.commit(other));
    assert_eq!((repeated, other), (Ok(CommitOutcome::Repeated), Ok(CommitOutcome::Committed)));
    assert_eq!(backend.count("call_events WHERE call_id = 'c1'"), 2);
    assert_eq!(store.command_outcome(id(2)).await.unwrap().unwrap().outcome.as_deref(), Some("first"));
    assert_eq!(store.commit(under(accept, id(3), "an accept")).await, Ok(CommitOutcome::Committed));
}

pub async fn outcomes(backend: Backend) {
    let store = backend.store().await;
    assert_eq!(store.keep_outcome(id(4), refused("first")).await, Ok(None));
    assert_eq!(store.keep_outcome(id(4), refused("second")).await, Ok(Some(refused("first"))));
    assert_eq!(store.command_outcome(id(4)).await, Ok(Some(refused("first"))));
    let (commit, _) = begin(&opening("c1", "alice", &["bob"]), &node("n1"));
    assert_eq!(store.commit(under(commit.clone(), id(4), "third")).await, Ok(CommitOutcome::Repeated));
    assert_eq!((backend.count("calls"), backend.count("slots")), (0, 0));
    assert_eq!(store.commit(under(commit, id(5), "a start")).await, Ok(CommitOutcome::Committed));
    let keeping = (0..20).map(|n| store.keep_outcome(id(6), refused(&n.to_string())));
    let kept = futures_util::future::join_all(keeping).await;
    assert_eq!(kept.iter().filter(|kept| **kept == Ok(None)).count(), 1, "{kept:?}");
    let first = store.command_outcome(id(6)).await.unwrap();
    assert!(kept.into_iter().all(|kept| kept == Ok(None) || kept == Ok(first.clone())));
}

/// A command carried out by its call's next owner is not taken for the commit of the one before, though it led to the
/// same.
pub async fn two_owners(backend: Backend) {
    let store = backend.store().await;
    let (commit, call) = begin(&opening("c1", "alice", &["bob"]), &node("n1"));
    store.commit(commit).await.unwrap();
    let (old, _) = call.decide("bob", &Command::Ringing);
    let claimed = store.claim(&call.call.id, call.call.seq, &node("n2")).await;
    assert!(matches!(claimed, Ok(carillon::store::ClaimOutcome::Claimed { .. })));
    let mut new = old.clone();
    (new.node, new.epoch) = (node("n2"), 2);
    assert_eq!(store.commit(new).await, Ok(CommitOutcome::Committed));
    assert_eq!(store.commit(old).await, Ok(CommitOutcome::Fenced));
}
