//! Reading what is stored.

use carillon::{
    domain::Command,
    store::{BATCH_POSITIONS, Health, Position},
};
use futures_util::future::join_all;

use crate::store::{
    backend::Backend,
    scene::{begin, call_id, node, opening, user},
};

pub async fn open_calls(backend: Backend) {
    let store = backend.store().await;
    let (commit, call) = begin(&opening("c1", "alice", &["bob", "carol"]), &node("n1"));
    store.commit(commit).await.unwrap();
    let (commit, _) = begin(&opening("c2", "bob", &["dave"]), &node("n2"));
    store.commit(commit).await.unwrap();
    let mut of_bob = store.open_calls_of(&user("bob")).await.unwrap();
    of_bob.sort();
    assert_eq!(of_bob, [call_id("c1"), call_id("c2")]);
    let all = store.open_calls_of_all(&[user("carol"), user("dave"), user("nobody"), user("carol")]).await.unwrap();
    let mut all: Vec<_> = all.iter().map(|o| (o.user.to_string(), o.call.to_string(), o.owner.to_string())).collect();
    all.sort();
    let expected = [("carol", "c1", "n1"), ("dave", "c2", "n2")];
    assert_eq!(all, expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned())));
    let (commit, call) = call.decide("bob", &Command::Decline { reason: None });
    store.commit(commit).await.unwrap();
    assert_eq!(store.open_calls_of(&user("bob")).await.unwrap(), [call_id("c2")]);
    assert_eq!(store.open_calls_of(&user("alice")).await.unwrap(), [call_id("c1")]);
    let (commit, _) = call.decide("alice", &Command::Cancel);
    store.commit(commit).await.unwrap();
    assert!(store.open_calls_of(&user("alice")).await.unwrap().is_empty());
    assert!(store.open_calls_of(&user("carol")).await.unwrap().is_empty());
    assert!(store.open_calls_of_all(&[]).await.unwrap().is_empty());
}

pub async fn storm(backend: Backend) {
    let store = backend.store().await;
    for n in 0..20 {
        let (commit, _) = begin(&opening(&format!("c{n}"), &format!("a{n}"), &["bob"]), &node("n1"));
        store.commit(commit).await.unwrap();
    }
    let users: Vec<_> = (0..1000).map(|n| user(&format!("a{n}"))).collect();
    let answers = join_all(users.iter().map(|user| store.open_calls_of(user))).await;
    for (n, answer) in answers.into_iter().enumerate() {
        let expected = if n < 20 { vec![call_id(&format!("c{n}"))] } else { vec![] };
        assert_eq!(answer, Ok(expected));
    }
    assert_eq!(store.open_calls_of(&user("bob")).await.unwrap().len(), 20);
}

pub async fn positions(backend: Backend) {
    let store = backend.store().await;
    let (commit, call) = begin(&opening("c1", "alice", &["bob", "carol"]), &node("n1"));
    store.commit(commit).await.unwrap();
    let (commit, _) = begin(&opening("c2", "bob", &["dave"]), &node("n2"));
    store.commit(commit).await.unwrap();
    let at = |owner: &str, seq, open| Position { owner: node(owner), epoch: 1, seq, open };
    let mut of_two = store.open_positions_of(&[user("bob"), user("carol"), user("nobody")]).await.unwrap();
    of_two.sort_by_key(|(user, call, _)| (user.to_string(), call.to_string()));
    let expected = [
        (user("bob"), call_id("c1"), at("n1", 1, true)),
        (user("bob"), call_id("c2"), at("n2", 1, true)),
        (user("carol"), call_id("c1"), at("n1", 1, true)),
    ];
    assert_eq!(of_two, expected);
    let (commit, call) = call.decide("alice", &Command::Cancel);
    store.commit(commit).await.unwrap();
    assert!(store.open_positions_of(&[user("carol")]).await.unwrap().is_empty());
    let found = store.positions_of(&[call_id("c1"), call_id("c2"), call_id("nope")]).await.unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(found[&call_id("c1")], at("n1", call.call.seq, false));
    assert_eq!(found[&call_id("c2")], at("n2", 1, true));
    assert!(store.positions_of(&[]).await.unwrap().is_empty());
    let many: Vec<_> = (0..BATCH_POSITIONS).map(|n| call_id(&format!("c{n}"))).collect();
    assert_eq!(store.positions_of(&many).await.unwrap().len(), 2);
}

pub async fn absent(backend: Backend) {
    let store = backend.store().await;
    assert_eq!(store.load_call(&call_id("nope")).await, Ok(None));
    assert_eq!(store.call_owner(&call_id("nope")).await, Ok(None));
    assert_eq!(store.events_after(&call_id("nope"), 0, 10).await, Ok(vec![]));
    assert_eq!(store.ping().await, Ok(()));
    assert_eq!(store.health(), Health::Up);
}

pub async fn since(backend: Backend) {
    let store = backend.store().await;
    let (commit, mut call) = begin(&opening("c1", "alice", &["bob"]), &node("n1"));
    store.commit(commit).await.unwrap();
    for n in 0..11 {
        let media = Command::Media { audio: Some(n % 2 == 0), video: None, screen: None };
        let (commit, after) = call.decide("alice", &media);
        store.commit(commit).await.unwrap();
        call = after;
    }
    assert_eq!(store.events_after(&call.call.id, 8, 100).await.unwrap(), call.history[8..]);
    assert_eq!(store.events_after(&call.call.id, 2, 3).await.unwrap(), call.history[2..5]);
    assert_eq!(store.events_after(&call.call.id, 12, 3).await.unwrap(), []);
}
