//! Who may write a call: leases and claims.

use std::time::Duration;

use carillon::{
    domain::{Command, NodeId},
    store::{ClaimOutcome, CommitOutcome, HandedOutcome, NodeInfo, NodeLoad, Old, Prospect, Store, StoreError},
};
use futures_util::future::join_all;

use crate::store::{
    backend::Backend,
    scene::{begin, call_id, node, opening},
};

const LONG: Duration = Duration::from_secs(60);

async fn register(store: &Store, name: &str, lease: Duration) -> NodeId {
    let id = node(name);
    store.register_node(&id, lease, &NodeInfo { version: "1".into(), address: None }).await.unwrap();
    id
}

pub async fn claims(backend: Backend) {
    let store = backend.store().await;
    let (n1, n2) = (register(&store, "n1", LONG).await, register(&store, "n2", LONG).await);
    let (commit, call) = begin(&opening("c1", "alice", &["bob"]), &n1);
    store.commit(commit).await.unwrap();
    let (id, seq) = (call.call.id.clone(), call.call.seq);
    assert_eq!(store.claim(&call_id("nope"), seq, &n2).await, Ok(ClaimOutcome::NotFound));
    assert_eq!(store.claim(&id, seq, &n2).await, Ok(ClaimOutcome::OwnedBy(n1.clone())));
    let owner = store.call_owner(&id).await.unwrap().unwrap();
    assert!(owner.alive && !owner.ended && owner.epoch == 1 && owner.node == n1);

    // Its own call, after a crash of the actor: the epoch moves on, so that a straggler cannot write.
    assert_eq!(store.claim(&id, seq, &n1).await, Ok(ClaimOutcome::Claimed { epoch: 2 }));
    let (late, _) = call.decide("bob", &Command::Ringing);
    assert_eq!(store.commit(late).await, Ok(CommitOutcome::Fenced));

    store.end_node(&n1).await.unwrap();
    assert!(!store.load_call(&id).await.unwrap().unwrap().owner_alive);
    for other in [seq - 1, seq + 1] {
        assert_eq!(store.claim(&id, other, &n2).await, Ok(ClaimOutcome::MovedOn), "it is not as it was read");
    }
    assert_eq!(store.claim(&id, seq, &n2).await, Ok(ClaimOutcome::Claimed { epoch: 3 }));
    assert!(store.load_call(&id).await.unwrap().unwrap().owner_alive);
    let mut taken = call.clone();
    (taken.node, taken.epoch) = (n2.clone(), 3);
    let (commit, taken) = taken.decide("bob", &Command::Decline { reason: None });
    assert_eq!(store.commit(commit).await, Ok(CommitOutcome::Committed));
    assert!(taken.call.status.is_final());
    assert_eq!(store.claim(&id, taken.call.seq, &n2).await, Ok(ClaimOutcome::Ended));
    assert!(store.call_owner(&id).await.unwrap().unwrap().ended);
}

/// What somebody finds who would own the call.
pub async fn prospects(backend: Backend) {
    let store = backend.store().await;
    let (n1, n2) = (register(&store, "n1", LONG).await, register(&store, "n2", LONG).await);
    let (commit, call) = begin(&opening("c1", "alice", &["bob"]), &n1);
    store.commit(commit).await.unwrap();
    let id = call.call.id.clone();
    assert_eq!(store.prospect(&call_id("nope"), &n2).await, Ok(Prospect::NotFound));
    assert_eq!(store.prospect(&id, &n2).await, Ok(Prospect::OwnedBy(n1.clone())));
    let stored = store.load_call(&id).await.unwrap().unwrap();
    assert_eq!(store.prospect(&id, &n1).await, Ok(Prospect::Free(stored)), "its own, after a crash of the actor");
    store.end_node(&n1).await.unwrap();
    let stored = store.load_call(&id).await.unwrap().unwrap();
    assert_eq!(store.prospect(&id, &n2).await, Ok(Prospect::Free(stored)));
    let (commit, _) = call.decide("bob", &Command::Decline { reason: None });
    assert_eq!(store.commit(commit).await, Ok(CommitOutcome::Committed));
    let stored = store.load_call(&id).await.unwrap().unwrap();
    let last = stored.history.len() as u64;
    assert_eq!(store.prospect(&id, &n2).await, Ok(Prospect::Ended(stored)));
    // What a later version may write: a kind that this one does not know, or a known one with a word that it does not.
    for (kind, payload) in
        [("hologram_shown", r#"{"hologram_shown":{"user":"bob"}}"#), ("ended", r#"{"ended":"later"}"#)]
    {
        backend.execute(&format!(
            "UPDATE call_events SET kind = '{kind}', payload = '{payload}' WHERE call_id = 'c1' AND seq = {last}"
        ));
        let beyond = Prospect::Beyond { seq: last, kind: kind.to_owned() };
        assert_eq!(store.prospect(&id, &n2).await, Ok(beyond));
        assert_eq!(store.load_call(&id).await, Err(StoreError::Unreadable("an event")));
    }
}

pub async fn handover(backend: Backend) {
    let store = backend.store().await;
    let (n1, n2) = (register(&store, "n1", LONG).await, register(&store, "n2", LONG).await);
    let (commit, call) = begin(&opening("c1", "alice", &["bob"]), &n1);
    store.commit(commit).await.unwrap();
    let (id, seq) = (call.call.id.clone(), call.call.seq);
    let moved_on = Ok(HandedOutcome::MovedOn);
    assert_eq!(store.take_handed(&call_id("nope"), &n1, 1, seq, &n2).await, moved_on);
    assert_eq!(store.take_handed(&id, &n2, 1, seq, &n2).await, moved_on, "not its owner");
    assert_eq!(store.take_handed(&id, &n1, 2, seq, &n2).await, moved_on, "not its epoch");
    assert_eq!(store.take_handed(&id, &n1, 1, seq + 1, &n2).await, moved_on, "not where it stands");

    assert_eq!(store.take_handed(&id, &n1, 1, seq, &n2).await, Ok(HandedOutcome::Taken { epoch: 2 }));
    assert_eq!(store.take_handed(&id, &n1, 1, seq, &n2).await, Ok(HandedOutcome::Taken { epoch: 2 }), "again");
    assert_eq!(store.take_handed(&id, &n1, 1, seq, &node("n3")).await, moved_on);
    let (late, _) = call.decide("bob", &Command::Ringing);
    assert_eq!(store.commit(late).await, Ok(CommitOutcome::Fenced), "the owner before writes no more");

    let mut taken = call.clone();
    (taken.node, taken.epoch) = (n2.clone(), 2);
    let (commit, taken) = taken.decide("bob", &Command::Decline { reason: None });
    assert_eq!(store.commit(commit).await, Ok(CommitOutcome::Committed));
    assert!(taken.call.status.is_final());
    assert_eq!(store.take_handed(&id, &n2, 2, taken.call.seq, &n1).await, moved_on, "it has ended");
}

pub async fn races(backend: Backend) {
    let store = backend.store().await;
    let (commit, call) = begin(&opening("c1", "alice", &["bob"]), &node("dead"));
    store.commit(commit).await.unwrap();
    let nodes = join_all((0..10).map(|n| {
        let store = &store;
        async move { register(store, &format!("n{n}"), LONG).await }
    }))
    .await;
    let outcomes = join_all(nodes.iter().map(|me| store.claim(&call.call.id, call.call.seq, me))).await;
    let winners: Vec<_> = nodes
        .iter()
        .zip(&outcomes)
        .filter(|(_, outcome)| **outcome == Ok(ClaimOutcome::Claimed { epoch: 2 }))
        .map(|(node, _)| node.clone())
        .collect();
    assert_eq!(winners.len(), 1, "{outcomes:?}");
    let losers = outcomes.iter().filter(|o| **o == Ok(ClaimOutcome::OwnedBy(winners[0].clone()))).count();
    assert_eq!(losers, 9, "{outcomes:?}");
}

pub async fn leases(backend: Backend) {
    let store = backend.store().await;
    let short = register(&store, "short", Duration::from_millis(300)).await;
    let long = register(&store, "long", LONG).await;
    let live = store.live_nodes().await.unwrap();
    assert_eq!(live.iter().map(|n| n.id.as_str()).collect::<Vec<_>>(), ["long", "short"]);
    assert!(live[0].lease_until.since(live[0].started_at) >= Duration::from_secs(59));
    let at = store
        .renew_lease(&short, Duration::from_millis(300), &NodeLoad::default())
        .await
        .unwrap()
        .expect("the lease is good");
    let now = store.clock().await.unwrap();
    assert!(at <= now && now.since(at) < Duration::from_secs(5), "{at} is when it was renewed, before {now}");
    assert_eq!(store.renew_lease(&node("nobody"), LONG, &NodeLoad::default()).await, Ok(None));
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(store.renew_lease(&short, LONG, &NodeLoad::default()).await, Ok(None), "others may have taken over");
    assert_eq!(store.live_nodes().await.unwrap().len(), 1);
    assert_eq!(store.forget_old(Old::DeadNodes, LONG, 10).await, Ok(0));
    assert_eq!(store.forget_old(Old::DeadNodes, Duration::from_millis(50), 10).await, Ok(1));
    assert!(store.renew_lease(&long, LONG, &NodeLoad::default()).await.unwrap().is_some());
    store.end_node(&long).await.unwrap();
    assert_eq!(store.renew_lease(&long, LONG, &NodeLoad::default()).await, Ok(None));
}

pub async fn deaf(backend: Backend) {
    let store = backend.store().await;
    let (n1, _n2) = (register(&store, "n1", LONG).await, register(&store, "n2", LONG).await);
    let up = || async { store.live_nodes().await.unwrap().iter().map(|n| n.bus_up).collect::<Vec<_>>() };
    assert_eq!(up().await, [true, true]);
    store.set_bus_up(&n1, false).await.unwrap();
    assert_eq!(up().await, [false, true]);
    assert!(store.renew_lease(&n1, LONG, &NodeLoad::default()).await.unwrap().is_some());
    assert_eq!(up().await, [false, true], "a renewal says nothing of the bus");
    store.set_bus_up(&n1, true).await.unwrap();
    assert_eq!(up().await, [true, true]);
    assert_eq!(store.set_bus_up(&node("nobody"), false).await, Ok(()));
}
