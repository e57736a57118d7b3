//! What a commit writes, and when it is refused.

use carillon::{
    domain::{By, Call, CallStatus, Command, Membership},
    store::{CommandId, CommitOutcome, StoreError},
};

use crate::store::{
    backend::Backend,
    scene::{begin, node, opening, user},
};

pub async fn rebuild(backend: Backend) {
    let store = backend.store().await;
    let (commit, call) = begin(&opening("c1", "alice", &["bob", "carol"]), &node("n1"));
    assert_eq!(store.commit(commit).await, Ok(CommitOutcome::Committed));
    let mut call = call;
    for (who, command) in [
        ("bob", Command::Ringing),
        ("bob", Command::Accept { answer: None }),
        ("carol", Command::Decline { reason: Some("later".into()) }),
        ("alice", Command::Media { audio: Some(true), video: None, screen: None }),
        ("alice", Command::End { reason: None }),
    ] {
        let (commit, after) = call.decide(who, &command);
        let id = commit.command;
        assert_eq!(store.commit(commit).await, Ok(CommitOutcome::Committed), "{}", command.name());
        assert!(store.command_committed(id).await.unwrap());
        call = after;
        let stored = store.load_call(&call.call.id).await.unwrap().unwrap();
        assert_eq!(stored.history, call.history);
        assert_eq!((stored.owner, stored.epoch), (node("n1"), 1));
        assert_eq!(Call::rebuild(call.call.id.clone(), &stored.history).as_ref(), Some(&*call.call));
    }
    assert_eq!(call.call.status, CallStatus::Ended);
}

pub async fn derived_rows(backend: Backend) {
    let store = backend.store().await;
    let (commit, call) = begin(&opening("c1", "alice", &["bob", "carol", "dave"]), &node("n1"));
    let start = commit.command;
    store.commit(commit).await.unwrap();
    assert_eq!(backend.texts("outcome", "invitations"), ["pending", "pending", "pending"]);
    let (commit, call) = call.decide("bob", &Command::Accept { answer: None });
    store.commit(commit).await.unwrap();
    let (commit, call) = call.decide("carol", &Command::Decline { reason: None });
    store.commit(commit).await.unwrap();
    let (commit, call) =
        call.decide("alice", &Command::Invite { users: vec![user("erin"), user("carol")], guests: vec![] });
    store.commit(commit).await.unwrap();
    assert_eq!(backend.count("participants WHERE open"), 5);
    assert_eq!(backend.texts("device_id", "participants WHERE user_id = 'bob'"), ["bob-phone"]);
    let (commit, _) = call.decide("alice", &Command::End { reason: None });
    store.commit(commit).await.unwrap();
    let outcomes = backend.texts("user_id || ' ' || outcome", "invitations");
    assert_eq!(
        outcomes,
        ["bob accepted", "carol cancelled", "carol declined", "dave cancelled", "erin cancelled"],
        "carol was rung twice"
    );
    assert_eq!(backend.count("participants WHERE open"), 0);
    assert_eq!(backend.texts("status", "calls"), ["ended"]);
    assert_eq!(backend.count("calls WHERE open"), 0);
    assert_eq!(backend.count("calls WHERE ended_at IS NOT NULL AND peak_participants = 2"), 1);
    let record = store.command_outcome(start).await.unwrap().unwrap();
    assert_eq!((record.seq, record.kind.as_str(), record.by), (1, "start", Some(user("alice"))));
    assert_eq!(record.outcome.as_deref(), Some("{\"ok\":true}"));
}

/// Everything in the database that a commit could change, as numbers.
fn footprint(backend: &Backend) -> Vec<i64> {
    let mut numbers: Vec<i64> = ["calls", "call_events", "participants", "invitations", "command_results", "slots"]
        .into_iter()
        .map(|table| backend.count(table))
        .collect();
    numbers.push(backend.number("sum(seq)", "calls"));
    numbers.push(backend.number("sum(epoch)", "calls"));
    numbers.push(backend.count("invitations WHERE outcome = 'pending'"));
    numbers
}

pub async fn stale(backend: Backend) {
    let store = backend.store().await;
    let (commit, call) = begin(&opening("c1", "alice", &["bob"]), &node("n1"));
    store.commit(commit).await.unwrap();
    let (ringing, rung) = call.decide("bob", &Command::Ringing);
    store.commit(ringing).await.unwrap();
    let before = footprint(&backend);

    // Decided on the state before the one that is stored.
    let (commit, _) = call.decide("bob", &Command::Accept { answer: None });
    assert_eq!(store.commit(commit).await, Ok(CommitOutcome::Fenced));
    for (owner, epoch) in [("n1", 2), ("n1", 0), ("n2", 1)] {
        let (mut commit, _) = rung.decide("bob", &Command::Decline { reason: None });
        commit.node = node(owner);
        commit.epoch = epoch;
        assert_eq!(store.commit(commit).await, Ok(CommitOutcome::Fenced), "{owner} {epoch}");
    }
    assert_eq!(footprint(&backend), before);
}

pub async fn ended(backend: Backend) {
    let store = backend.store().await;
    let (commit, call) = begin(&opening("c1", "alice", &["bob"]), &node("n1"));
    store.commit(commit).await.unwrap();
    let (commit, over) = call.decide("alice", &Command::Cancel);
    store.commit(commit).await.unwrap();
    let before = footprint(&backend);
    let (mut commit, _) = call.decide("bob", &Command::Ringing);
    commit.prev_seq = over.call.seq;
    for event in &mut commit.events {
        event.seq = over.call.seq + 1;
    }
    let mut after = (*commit.after).clone();
    after.seq = over.call.seq + 1;
    commit.after = after.into();
    assert_eq!(store.commit(commit).await, Ok(CommitOutcome::Fenced));
    assert_eq!(footprint(&backend), before);
}

pub async fn missing(backend: Backend) {
    let store = backend.store().await;
    let (_, call) = begin(&opening("c1", "alice", &["bob"]), &node("n1"));
    let (commit, _) = call.decide("bob", &Command::Ringing);
    assert_eq!(store.commit(commit).await, Ok(CommitOutcome::Fenced));
    assert_eq!(backend.count("calls"), 0);
    assert_eq!(backend.count("call_events"), 0);
}

pub async fn used_id(backend: Backend) {
    let store = backend.store().await;
    let (commit, _) = begin(&opening("c1", "alice", &["bob"]), &node("n1"));
    store.commit(commit).await.unwrap();
    let (commit, _) = begin(&opening("c1", "alice", &["bob"]), &node("n1"));
    assert_eq!(store.commit(commit).await, Ok(CommitOutcome::CallExists), "the same pair");
    let (commit, _) = begin(&opening("c1", "mallory", &["dave"]), &node("n1"));
    assert_eq!(store.commit(commit).await, Ok(CommitOutcome::CallExists), "another pair");
    assert_eq!(backend.count("slots"), 1);
    assert_eq!(backend.count("call_events"), 1);
    let (commit, _) = begin(&opening("c2", "dave", &["mallory"]), &node("n1"));
    assert_eq!(store.commit(commit).await, Ok(CommitOutcome::Committed), "the slot was not taken");
}

pub async fn repeated(backend: Backend) {
    let store = backend.store().await;
    let (commit, call) = begin(&opening("c1", "alice", &["bob"]), &node("n1"));
    assert_eq!(store.commit(commit.clone()).await, Ok(CommitOutcome::Committed));
    assert_eq!(store.commit(commit).await, Ok(CommitOutcome::Committed));
    let (commit, _) = call.decide("bob", &Command::Ringing);
    assert_eq!(store.commit(commit.clone()).await, Ok(CommitOutcome::Committed));
    assert_eq!(store.commit(commit).await, Ok(CommitOutcome::Committed));
    assert_eq!(backend.count("call_events"), 2);
    assert_eq!(backend.count("command_results"), 2);
}

pub async fn reused_command(backend: Backend) {
    let store = backend.store().await;
    let (commit, call) = begin(&opening("c1", "alice", &["bob"]), &node("n1"));
    let used = commit.command;
    store.commit(commit).await.unwrap();
    let (mut commit, _) = call.decide("bob", &Command::Ringing);
    commit.command = used;
    let error = store.commit(commit).await.unwrap_err();
    assert!(matches!(&error, StoreError::Permanent(_)) && !error.is_retryable(), "{error}");
    assert_eq!(backend.count("call_events"), 1);
    assert_eq!(backend.texts("status", "participants WHERE user_id = 'bob'"), ["invited"]);
}

pub async fn malformed(backend: Backend) {
    let store = backend.store().await;
    let (commit, call) = begin(&opening("c1", "alice", &["bob"]), &node("n1"));
    store.commit(commit.clone()).await.unwrap();
    let (good, _) = call.decide("bob", &Command::Ringing);
    let mut hole = good.clone();
    hole.events[0].seq += 1;
    let mut empty = good.clone();
    empty.events.clear();
    let mut late_slot = good.clone();
    late_slot.slot = commit.slot;
    for bad in [hole, empty, late_slot] {
        assert!(matches!(store.commit(bad).await, Err(StoreError::Permanent(_))));
    }
    assert_eq!(store.commit(good).await, Ok(CommitOutcome::Committed));
}

pub async fn large(backend: Backend) {
    let store = backend.store().await;
    let names: Vec<String> = (0..99).map(|n| format!("callee-{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    // Sixteen such calls in one batch are more rows than one statement of SQLite takes.
    let calls: Vec<_> = (0..16).map(|n| begin(&opening(&format!("c{n}"), "alice", &names), &node("n1"))).collect();
    let commits = calls.iter().map(|(commit, _)| store.commit(commit.clone()));
    for outcome in futures_util::future::join_all(commits).await {
        assert_eq!(outcome, Ok(CommitOutcome::Committed));
    }
    assert_eq!(backend.count("participants WHERE open"), 1600);
    assert_eq!(backend.count("invitations WHERE outcome = 'pending'"), 1584);
    let ends = calls.iter().map(|(_, call)| store.commit(call.decide_by(&alice(), &Command::Cancel).0));
    for outcome in futures_util::future::join_all(ends).await {
        assert_eq!(outcome, Ok(CommitOutcome::Committed));
    }
    assert_eq!(backend.count("participants WHERE open"), 0);
    assert_eq!(backend.count("invitations WHERE outcome = 'cancelled'"), 1584);
    assert!(!store.command_committed(CommandId::now_v7()).await.unwrap());
}

fn alice() -> By {
    By::User {
        user: user("alice"),
        device: super::super::scene::device("alice-phone"),
        membership: Membership::Outside,
    }
}
