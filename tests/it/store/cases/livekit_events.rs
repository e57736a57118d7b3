//! Webhooks of LiveKit, and the calls that its rooms are named by.

use carillon::{domain::CallId, store::CallFate};

use crate::store::{
    backend::Backend,
    scene::{begin, node, opening},
};

pub async fn taken_once(backend: Backend) {
    let store = backend.store().await;
    assert_eq!(store.take_livekit_event("e1").await, Ok(true));
    assert_eq!(store.take_livekit_event("e1").await, Ok(false));
    assert_eq!(store.take_livekit_event("e2").await, Ok(true));
    store.give_livekit_event_back("e1").await.unwrap();
    assert_eq!(store.take_livekit_event("e1").await, Ok(true), "it came again");
    let at_once = futures_util::future::join_all((0..20).map(|_| store.take_livekit_event("e3"))).await;
    assert_eq!(at_once.into_iter().filter(|taken| *taken == Ok(true)).count(), 1);
    assert_eq!(backend.count("livekit_events"), 3);
}

pub async fn fates(backend: Backend) {
    let store = backend.store().await;
    let (commit, _) = begin(&opening("open", "alice", &["bob"]), &node("n1"));
    store.commit(commit).await.unwrap();
    let (commit, _) = begin(&opening("over", "carol", &["dave"]), &node("n1"));
    store.commit(commit).await.unwrap();
    backend.execute("UPDATE calls SET open = false, status = 'ended' WHERE id = 'over'");
    let ids = ["open", "over", "unknown"].map(|id| CallId::new(id).unwrap());
    let fates = store.call_fates(&ids).await.unwrap();
    assert_eq!(fates.get(&ids[0]), Some(&CallFate::Open));
    assert!(matches!(fates.get(&ids[1]), Some(CallFate::Over(_))), "{fates:?}");
    assert_eq!(fates.get(&ids[2]), None);
    assert_eq!(store.call_fates(&[]).await, Ok(Default::default()));
}
