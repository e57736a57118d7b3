//! Service keys, and the record of who did what.

use std::time::Duration;

use carillon::{
    domain::GroupId,
    store::{Act, Actor, ActorKind, AuditFilter, CreateKeyOutcome, NewServiceKey, RevokeOutcome},
};
use uuid::Uuid;

use super::groups::act;
use crate::store::{
    backend::Backend,
    scene::{now, user},
};

fn new_key(hash: &str) -> NewServiceKey {
    NewServiceKey { id: Uuid::now_v7(), name: "backend".into(), hash: hash.into(), expires_at: None }
}

pub async fn keys(backend: Backend) {
    let store = backend.store().await;
    let made = |key: &NewServiceKey| act("service_key.create", &key.id.to_string());
    let expires_at = Some(now() + Duration::from_secs(60));
    let (first, second) = (new_key("aa"), NewServiceKey { expires_at, ..new_key("bb") });
    for key in [&first, &first, &second] {
        assert_eq!(store.create_service_key(key, &made(key)).await, Ok(CreateKeyOutcome::Created));
    }
    let other = NewServiceKey { id: first.id, ..new_key("cc") };
    assert_eq!(store.create_service_key(&other, &made(&other)).await, Ok(CreateKeyOutcome::IdTaken));
    assert_eq!(store.use_service_key("cc").await, Ok(None));

    let found = store.use_service_key("aa").await.unwrap().unwrap();
    assert_eq!((found.id, found.name.as_str(), found.last_used_at), (first.id, "backend", None));
    let used = store.use_service_key("aa").await.unwrap().unwrap();
    assert!(used.last_used_at.is_some() && used.is_good(now()));
    assert_eq!(store.use_service_key("aa").await.unwrap().unwrap(), used, "not written again at once");
    let second_found = store.use_service_key("bb").await.unwrap().unwrap();
    assert!(second_found.is_good(now()) && !second_found.is_good(now() + Duration::from_secs(61)));

    let listed = store.service_keys_after(None, 10).await.unwrap();
    assert_eq!(listed.iter().map(|key| key.id).collect::<Vec<_>>(), [first.id, second.id]);
    assert_eq!(store.service_keys_after(Some(first.id), 10).await.unwrap().len(), 1);

    let revoke = |id: Uuid| act("service_key.revoke", &id.to_string());
    assert_eq!(store.revoke_service_key(first.id, &revoke(first.id)).await, Ok(RevokeOutcome::Revoked));
    assert_eq!(store.revoke_service_key(first.id, &revoke(first.id)).await, Ok(RevokeOutcome::AlreadyRevoked));
    let nobody = Uuid::now_v7();
    assert_eq!(store.revoke_service_key(nobody, &revoke(nobody)).await, Ok(RevokeOutcome::NotFound));
    assert!(!store.use_service_key("aa").await.unwrap().unwrap().is_good(now()));
    let outcomes = backend.texts("outcome", "audit_log WHERE action = 'service_key.revoke'");
    assert_eq!(outcomes.len(), 3);
    assert!(outcomes.contains(&"revoked".into()) && outcomes.contains(&"not_found".into()), "{outcomes:?}");
}

pub async fn audit(backend: Backend) {
    let store = backend.store().await;
    let actor = |id: &str| Actor { kind: ActorKind::User, id: id.into(), name: None };
    let begin = now();
    for n in 0u64..6 {
        let at = begin + Duration::from_millis(n * 10);
        let action = if n % 2 == 0 { "call.end" } else { "user.disconnect" };
        let act = Act::new(&actor(if n < 3 { "ann" } else { "ben" }), at, action, "call", format!("c{n}"));
        let act = act.about(&user("bob")).asked("request-1", "node-1");
        // Twice is once.
        store.record_act(&act, "done").await.unwrap();
        store.record_act(&act, "done").await.unwrap();
    }
    let store = &store;
    let listed = async |filter: AuditFilter, limit| {
        let entries = store.audit_entries(&filter, limit).await.unwrap();
        entries.into_iter().map(|entry| entry.target).collect::<Vec<_>>().join(" ")
    };
    let all = AuditFilter::default();
    assert_eq!(listed(all.clone(), 10).await, "c5 c4 c3 c2 c1 c0");
    assert_eq!(listed(all.clone(), 2).await, "c5 c4");
    let after_two = store.audit_entries(&all, 2).await.unwrap()[1].id;
    assert_eq!(listed(AuditFilter { before: Some(after_two), ..all.clone() }, 2).await, "c3 c2");
    assert_eq!(listed(AuditFilter { actor: Some("ann".into()), ..all.clone() }, 10).await, "c2 c1 c0");
    assert_eq!(listed(AuditFilter { action: Some("call.end".into()), ..all.clone() }, 10).await, "c4 c2 c0");
    let (since, until) = (Some(begin + Duration::from_millis(10)), Some(begin + Duration::from_millis(30)));
    assert_eq!(listed(AuditFilter { since, until, ..all.clone() }, 10).await, "c2 c1");
    let entry = &store.audit_entries(&all, 1).await.unwrap()[0];
    assert_eq!(
        (entry.actor_kind.as_str(), entry.user.as_deref(), entry.node.as_deref()),
        ("user", Some("bob"), Some("node-1"))
    );

    let team = GroupId::new("team").unwrap();
    let put = act("group.put", "team");
    store.put_group(&team, None, None, &put).await.unwrap();
    let entry = &store.audit_entries(&AuditFilter { actor: Some("key-1".into()), ..all }, 1).await.unwrap()[0];
    assert_eq!((entry.action.as_str(), entry.outcome.as_str()), ("group.put", "created"));
    assert_eq!((entry.actor_name.as_deref(), entry.request_id.as_deref()), (Some("backend"), Some("request-1")));
}
