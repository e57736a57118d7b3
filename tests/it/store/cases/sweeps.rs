//! What sweepers look for, and their books.

use std::time::Duration;

use carillon::{
    domain::{By, CallId, Command, NodeId},
    store::{NodeInfo, Store, SweepAction, SweepRequest, SweepRun},
};
use futures_util::future::join_all;
use uuid::Uuid;

use crate::store::{
    backend::Backend,
    scene::{Owned, begin, call_id, device, node, now, opening, user},
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Moves a time column of a call's rows back by an hour.
fn an_hour_ago(backend: &Backend, table: &str, column: &str, key: &str, call: &str) {
    let back = match backend {
        Backend::Sqlite(_) => format!("{column} - 3600000000"),
        Backend::Postgres(_) => format!("{column} - interval '1 hour'"),
    };
    backend.execute(&format!("UPDATE {table} SET {column} = {back} WHERE {key} = '{call}'"));
}

async fn called(store: &Store, id: &str, caller: &str, callee: &str) -> Owned {
    let (commit, call) = begin(&opening(id, caller, &[callee]), &node("n1"));
    store.commit(commit).await.unwrap();
    call
}

async fn does(store: &Store, call: Owned, who: &str, command: Command) -> Owned {
    let (commit, call) = call.decide(who, &command);
    store.commit(commit).await.unwrap();
    call
}

async fn learns(store: &Store, call: Owned, command: Command) -> Owned {
    let (commit, call) = call.decide_by(&By::System, &command);
    store.commit(commit).await.unwrap();
    call
}

fn ids<T>(found: &[T], id: impl Fn(&T) -> &CallId) -> Vec<String> {
    found.iter().map(|found| id(found).to_string()).collect()
}

pub async fn rings(backend: Backend) {
    let store = backend.store().await;
    for (id, caller) in [("c1", "a1"), ("c2", "a2"), ("c3", "a3"), ("c4", "a4"), ("c5", "a5")] {
        called(&store, id, caller, "bob").await;
    }
    let answered = called(&store, "answered", "a6", "bob").await;
    does(&store, answered, "bob", Command::Accept { answer: None }).await;
    let over = called(&store, "over", "a7", "bob").await;
    does(&store, over, "a7", Command::Cancel).await;
    for id in ["c2", "c3", "c5", "answered", "over"] {
        an_hour_ago(&backend, "invitations", "deadline", "call_id", id);
    }
    // Damaged: no deadline at all, rung for longer than any ring.
    backend.execute("UPDATE invitations SET deadline = NULL WHERE call_id = 'c4'");
    assert_eq!(ids(&store.stale_rings(SECOND, None, 10).await.unwrap(), |o| &o.call), ["c2", "c3", "c5"]);
    an_hour_ago(&backend, "invitations", "at", "call_id", "c4");
    let found = store.stale_rings(SECOND, None, 10).await.unwrap();
    assert_eq!(ids(&found, |o| &o.call), ["c2", "c3", "c4", "c5"]);
    // They ring for 30 s.
    assert!(found[0].age > HOUR - 35 * SECOND && found[0].age < HOUR, "{:?}", found[0].age);
    assert!(found[2].age > HOUR - 600 * SECOND - SECOND && found[2].age < HOUR - 500 * SECOND, "{:?}", found[2].age);
    let batch = store.stale_rings(SECOND, Some(&call_id("c2")), 2).await.unwrap();
    assert_eq!(ids(&batch, |o| &o.call), ["c3", "c4"], "batch after batch");
    assert!(store.stale_rings(2 * HOUR, None, 10).await.unwrap().is_empty(), "the margin counts");
}

pub async fn long(backend: Backend) {
    let store = backend.store().await;
    called(&store, "ringing", "a1", "bob").await;
    let connecting = called(&store, "connecting", "a2", "bob").await;
    does(&store, connecting, "bob", Command::Accept { answer: None }).await;
    let active = called(&store, "active", "a3", "bob").await;
    let active = does(&store, active, "bob", Command::Accept { answer: None }).await;
    learns(&store, active, Command::Connected { users: vec![user("bob")] }).await;
    let over = called(&store, "over", "a4", "bob").await;
    does(&store, over, "a4", Command::Cancel).await;
    assert!(store.stale_connecting(SECOND, SECOND, None, 10).await.unwrap().is_empty());
    assert!(store.longest_calls(SECOND, SECOND, None, 10).await.unwrap().is_empty());
    for id in ["ringing", "connecting", "active", "over"] {
        an_hour_ago(&backend, "participants", "joined_at", "call_id", id);
        an_hour_ago(&backend, "calls", "started_at", "id", id);
        an_hour_ago(&backend, "calls", "created_at", "id", id);
    }
    let found = store.stale_connecting(60 * SECOND, SECOND, None, 10).await.unwrap();
    assert_eq!(ids(&found, |o| &o.call), ["connecting"]);
    assert!(found[0].age >= HOUR - 60 * SECOND && found[0].age < HOUR, "past the deadline: {:?}", found[0].age);
    assert!(store.stale_connecting(HOUR, HOUR, None, 10).await.unwrap().is_empty());
    let found = store.longest_calls(60 * SECOND, SECOND, None, 10).await.unwrap();
    assert_eq!(ids(&found, |o| &o.call), ["active", "connecting", "ringing"]);
    let rest = store.longest_calls(60 * SECOND, SECOND, Some(&call_id("active")), 1).await.unwrap();
    assert_eq!(ids(&rest, |o| &o.call), ["connecting"]);
}

pub async fn engaged(backend: Backend) {
    let store = backend.store().await;
    let c1 = called(&store, "c1", "alice", "bob").await;
    let c1 = does(&store, c1, "bob", Command::Accept { answer: None }).await;
    called(&store, "c2", "carol", "dave").await;
    assert!(store.engaged_parts(SECOND * 60, None, 10).await.unwrap().is_empty(), "they have just come");
    let found = store.engaged_parts(Duration::ZERO, None, 10).await.unwrap();
    let parts: Vec<_> = found.iter().map(|p| (p.call.as_str(), p.user.as_str(), p.device.as_str())).collect();
    assert_eq!(parts, [("c1", "alice", "alice-phone"), ("c1", "bob", "bob-phone"), ("c2", "carol", "carol-phone")]);
    let rest = store.engaged_parts(Duration::ZERO, Some((&found[0].call, &found[0].user)), 1).await.unwrap();
    assert_eq!(rest.len(), 1);
    assert_eq!((rest[0].call.as_str(), rest[0].user.as_str()), ("c1", "bob"), "within a call too");

    let lost = Command::ConnectionLost { user: user("bob"), device: device("bob-phone") };
    learns(&store, c1, lost).await;
    assert_eq!(store.engaged_parts(Duration::ZERO, None, 10).await.unwrap().len(), 2);
    assert!(store.stale_reconnecting(15 * SECOND, SECOND, 10).await.unwrap().is_empty());
    an_hour_ago(&backend, "call_events", "at", "call_id", "c1");
    let found = store.stale_reconnecting(15 * SECOND, SECOND, 10).await.unwrap();
    assert_eq!(found.iter().map(|p| p.user.as_str()).collect::<Vec<_>>(), ["bob"]);
}

pub async fn orphans(backend: Backend) {
    let store = backend.store().await;
    let register = async |name: &str, lease| {
        store.register_node(&node(name), lease, &NodeInfo::default()).await.unwrap();
        node(name)
    };
    let living = register("living", HOUR).await;
    let expired = register("expired", Duration::from_millis(1)).await;
    for (n, owner) in [&living, &expired, &node("never"), &expired].into_iter().enumerate() {
        let (commit, call) = begin(&opening(&format!("c{n}"), &format!("a{n}"), &["bob"]), owner);
        store.commit(commit).await.unwrap();
        if n == 3 {
            store.commit(call.decide(&format!("a{n}"), &Command::Cancel).0).await.unwrap();
        }
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    let found = store.orphaned_calls(None, 10).await.unwrap();
    assert_eq!(ids(&found, |o| &o.call), ["c1", "c2"]);
    assert_eq!((&found[0].owner, &found[1].owner), (&expired, &node("never")));
    assert!(found[0].age.is_some_and(|age| age >= Duration::from_millis(15) && age < 60 * SECOND));
    assert_eq!(found[1].age, None, "nobody knows since when");
    assert_eq!(ids(&store.orphaned_calls(Some(&call_id("c1")), 10).await.unwrap(), |o| &o.call), ["c2"]);
    assert_eq!(store.orphaned_calls(None, 1).await.unwrap().len(), 1);
}

pub async fn one_runner(backend: Backend) {
    let store = backend.store().await;
    let nodes: Vec<NodeId> = (0..10).map(|n| node(&format!("n{n}"))).collect();
    store.enter_sweeper("mops", HOUR).await.unwrap();
    store.enter_sweeper("mops", Duration::ZERO).await.unwrap();
    assert_eq!(store.claim_sweeper("mops", &nodes[0], SECOND, Some(HOUR)).await, Ok(false), "it is not due");
    let claims = join_all(nodes.iter().map(|me| store.claim_sweeper("mops", me, 60 * SECOND, None))).await;
    let winners: Vec<_> =
        nodes.iter().zip(claims).filter(|(_, claim)| *claim == Ok(true)).map(|(node, _)| node).collect();
    assert_eq!(winners.len(), 1, "one runner in the cluster");
    let loser = nodes.iter().find(|node| *node != winners[0]).unwrap();
    assert_eq!(store.hold_sweeper("mops", winners[0], 60 * SECOND).await, Ok(true));
    assert_eq!(store.hold_sweeper("mops", loser, 60 * SECOND).await, Ok(false));
    let (states, _) = store.sweeps_wanted().await.unwrap();
    assert!(states.len() == 1 && states[0].held && states[0].due_in > HOUR - 60 * SECOND, "{states:?}");
    assert_eq!(states[0].holder.as_deref(), Some(winners[0].as_str()));

    // Given back, or run out: it is free.
    store.release_sweeper("mops", winners[0]).await.unwrap();
    assert_eq!(store.claim_sweeper("mops", loser, Duration::from_millis(1), None).await, Ok(true));
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(store.claim_sweeper("mops", winners[0], 60 * SECOND, None).await, Ok(true));
    assert_eq!(store.hold_sweeper("mops", loser, SECOND).await, Ok(false), "who held it before hears of it");

    store.enter_sweeper("broom", Duration::ZERO).await.unwrap();
    assert_eq!(store.claim_sweeper("broom", loser, Duration::ZERO, Some(HOUR)).await, Ok(true));
    assert_eq!(store.claim_sweeper("broom", loser, Duration::ZERO, Some(HOUR)).await, Ok(false), "due in an hour");
    assert_eq!(store.claim_sweeper("nobody", loser, SECOND, None).await, Ok(false));
}

pub async fn books(backend: Backend) {
    let store = backend.store().await;
    let request = SweepRequest { id: Uuid::now_v7(), sweeper: "mops".into(), dry_run: true };
    store.request_sweep(&request).await.unwrap();
    assert_eq!(store.sweeps_wanted().await.unwrap().1, std::slice::from_ref(&request));
    let (mine, other) = (Uuid::now_v7(), Uuid::now_v7());
    assert_eq!(store.run_of_request(request.id).await, Ok(None));
    assert_eq!(store.take_request(request.id, mine).await, Ok(true));
    assert_eq!(store.take_request(request.id, mine).await, Ok(true), "twice is once");
    assert_eq!(store.take_request(request.id, other).await, Ok(false));
    assert_eq!(store.withdraw_request(request.id).await, Ok(false));
    assert_eq!(store.run_of_request(request.id).await, Ok(Some(mine)));
    assert!(store.sweeps_wanted().await.unwrap().1.is_empty());
    let withdrawn = SweepRequest { id: Uuid::now_v7(), ..request };
    store.request_sweep(&withdrawn).await.unwrap();
    assert_eq!(store.withdraw_request(withdrawn.id).await, Ok(true));
    assert_eq!(store.take_request(withdrawn.id, other).await, Ok(false));

    let mut run = SweepRun {
        id: mine,
        sweeper: "mops".into(),
        node: "n1".into(),
        by_hand: true,
        dry_run: true,
        runs: 1,
        found: 0,
        acted: 0,
        failed: 0,
        outcome: None,
        note: None,
    };
    store.record_run(&run, SECOND, Duration::ZERO).await.unwrap();
    let begun = store.sweep_run(mine).await.unwrap().unwrap();
    assert_eq!((&begun.run, begun.finished_at), (&run, None));
    (run.found, run.acted, run.failed, run.runs) = (3, 2, 1, 7);
    (run.outcome, run.note) = (Some("failed".into()), Some("it was wet".into()));
    store.record_run(&run, HOUR, Duration::ZERO).await.unwrap();
    let done = store.sweep_run(mine).await.unwrap().unwrap();
    assert_eq!(done.run, run);
    assert_eq!(done.started_at, begun.started_at, "a run begins once");
    assert!(now().since(done.finished_at.unwrap()) < 60 * SECOND);
    assert_eq!(store.last_runs("mops", 5).await.unwrap(), [done]);
    assert!(store.last_runs("broom", 5).await.unwrap().is_empty());

    let action = |n, user: Option<&str>, age| SweepAction {
        n,
        call: "c1".into(),
        user: user.map(str::to_owned),
        what: "mop".into(),
        why: "it is wet".into(),
        age,
        outcome: "done".into(),
        recording: None,
    };
    let actions = [action(1, None, None), action(2, Some("bob"), Some(SECOND))];
    store.record_actions(mine, &actions).await.unwrap();
    store.record_actions(mine, &actions).await.unwrap();
    assert_eq!(store.actions_of(mine, 0).await.unwrap(), actions);
    assert_eq!(store.actions_of(mine, 1).await.unwrap(), actions[1..]);
}
