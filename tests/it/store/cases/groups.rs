//! Groups and members.

use carillon::{
    domain::{GroupId, Opaque},
    store::{Act, Actor, ActorKind, MemberRole, PutOutcome, Store},
};

use crate::store::{
    backend::Backend,
    scene::{begin, group_opening, node, now, user},
};

pub fn act(action: &'static str, target: &str) -> Act {
    let actor = Actor { kind: ActorKind::ServiceKey, id: "key-1".into(), name: Some("backend".into()) };
    Act::new(&actor, now(), action, "group", target).asked("request-1", "node-1")
}

fn group(name: &str) -> GroupId {
    GroupId::new(name).unwrap()
}

async fn put_member(store: &Store, group: &GroupId, name: &str, role: MemberRole) -> PutOutcome {
    store.put_member(group, &user(name), role, &act("member.put", group.as_str())).await.unwrap()
}

pub async fn groups(backend: Backend) {
    let store = backend.store().await;
    let (team, other) = (group("team 'ä'"), group("other"));
    let put = |id: &GroupId| act("group.put", id.as_str());
    let metadata: Opaque = serde_json::from_str(r#"{"colour": "red"}"#).unwrap();
    assert_eq!(put_member(&store, &team, "alice", MemberRole::Member).await, PutOutcome::GroupNotFound);
    assert_eq!(store.get_group(&team).await, Ok(None));
    assert_eq!(store.put_group(&team, Some("Team"), Some(&metadata), &put(&team)).await, Ok(PutOutcome::Created));
    assert_eq!(store.put_group(&team, Some("The team"), Some(&metadata), &put(&team)).await, Ok(PutOutcome::Updated));
    let stored = store.get_group(&team).await.unwrap().unwrap();
    assert_eq!((stored.name.as_deref(), stored.metadata), (Some("The team"), Some(metadata)));
    assert!(stored.created_at <= stored.updated_at);
    store.put_group(&other, None, None, &put(&other)).await.unwrap();
    store.put_group(&other, None, None, &put(&other)).await.unwrap();
    assert_eq!(store.get_group(&other).await.unwrap().unwrap().name, None);
    let ids = |groups: Vec<carillon::store::Group>| groups.into_iter().map(|group| group.id).collect::<Vec<_>>();
    assert_eq!(ids(store.groups_after(None, 10).await.unwrap()), [other.clone(), team.clone()]);
    assert_eq!(ids(store.groups_after(Some(&other), 10).await.unwrap()), std::slice::from_ref(&team));
    assert_eq!(ids(store.groups_after(None, 1).await.unwrap()), std::slice::from_ref(&other));

    assert_eq!(put_member(&store, &team, "bob", MemberRole::Member).await, PutOutcome::Created);
    assert_eq!(put_member(&store, &team, "alice", MemberRole::Member).await, PutOutcome::Created);
    assert_eq!(put_member(&store, &team, "alice", MemberRole::Admin).await, PutOutcome::Updated);
    assert_eq!(store.member_role(&team, &user("alice")).await, Ok(Some(MemberRole::Admin)));
    assert_eq!(store.members_of(&team, 10).await, Ok(vec![user("alice"), user("bob")]));
    assert_eq!(store.members_of(&team, 1).await, Ok(vec![user("alice")]));
    let members = store.members_after(&team, None, 10).await.unwrap();
    let shown: Vec<_> = members.iter().map(|member| (member.user.as_str(), member.role)).collect();
    assert_eq!(shown, [("alice", MemberRole::Admin), ("bob", MemberRole::Member)]);
    assert_eq!(store.members_after(&team, Some(&user("alice")), 10).await.unwrap().len(), 1);
    assert_eq!(store.count_members(&team).await, Ok(2));
    let asked = [user("bob"), user("eve"), user("bob")];
    assert_eq!(store.members_among(&team, &asked).await, Ok(vec![user("bob")]));
    assert_eq!(store.members_among(&other, &asked).await, Ok(vec![]));
    assert_eq!(store.is_member(&team, &user("bob")).await, Ok(true));
    assert_eq!(store.is_member(&other, &user("bob")).await, Ok(false));
    let removal = || act("member.remove", team.as_str());
    assert_eq!(store.remove_member(&team, &user("bob"), &removal()).await, Ok(true));
    assert_eq!(store.remove_member(&team, &user("bob"), &removal()).await, Ok(false));
    assert_eq!(store.is_member(&team, &user("bob")).await, Ok(false));

    let delete = || act("group.delete", team.as_str());
    assert_eq!(store.delete_group(&team, &delete()).await, Ok(true));
    assert_eq!(store.delete_group(&team, &delete()).await, Ok(false));
    assert_eq!(backend.count("group_members"), 0);
    assert_eq!(store.members_of(&team, 10).await, Ok(vec![]));
}

pub async fn open_call(backend: Backend) {
    let store = backend.store().await;
    let (team, other) = (group("team"), group("other"));
    assert_eq!(store.open_call_of_group(&team).await, Ok(None));
    let (commit, call) = begin(&group_opening("call-1", "alice", "team"), &node("n1"));
    store.commit(commit).await.unwrap();
    assert_eq!(store.open_call_of_group(&team).await.unwrap().map(|id| id.as_str().to_owned()), Some("call-1".into()));
    assert_eq!(store.open_call_of_group(&other).await, Ok(None));
    let (commit, _) = call.decide("alice", &carillon::domain::Command::Leave);
    store.commit(commit).await.unwrap();
    assert_eq!(store.open_call_of_group(&team).await, Ok(None));
}
