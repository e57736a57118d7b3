//! Groups and members.

use carillon::{
    domain::{GroupId, Opaque},
    store::{MemberRole, PutOutcome},
};

use crate::store::{backend::Backend, scene::user};

pub async fn groups(backend: Backend) {
    let store = backend.store().await;
    let team = GroupId::new("team 'ä'").unwrap();
    let other = GroupId::new("other").unwrap();
    let metadata: Opaque = serde_json::from_str(r#"{"colour": "red"}"#).unwrap();
    assert_eq!(store.put_member(&team, &user("alice"), MemberRole::Member).await, Ok(PutOutcome::GroupNotFound));
    assert_eq!(store.get_group(&team).await, Ok(None));
    assert_eq!(store.put_group(&team, Some("Team"), Some(&metadata)).await, Ok(PutOutcome::Created));
    assert_eq!(store.put_group(&team, Some("The team"), Some(&metadata)).await, Ok(PutOutcome::Updated));
    let stored = store.get_group(&team).await.unwrap().unwrap();
    assert_eq!((stored.name.as_deref(), stored.metadata), (Some("The team"), Some(metadata)));
    store.put_group(&other, None, None).await.unwrap();
    store.put_group(&other, None, None).await.unwrap();
    assert_eq!(store.get_group(&other).await.unwrap().unwrap().name, None);

    assert_eq!(store.put_member(&team, &user("bob"), MemberRole::Member).await, Ok(PutOutcome::Created));
    assert_eq!(store.put_member(&team, &user("alice"), MemberRole::Member).await, Ok(PutOutcome::Created));
    assert_eq!(store.put_member(&team, &user("alice"), MemberRole::Admin).await, Ok(PutOutcome::Updated));
    assert_eq!(store.member_role(&team, &user("alice")).await, Ok(Some(MemberRole::Admin)));
    assert_eq!(store.members_of(&team, 10).await, Ok(vec![user("alice"), user("bob")]));
    assert_eq!(store.members_of(&team, 1).await, Ok(vec![user("alice")]));
    assert_eq!(store.is_member(&team, &user("bob")).await, Ok(true));
    assert_eq!(store.is_member(&other, &user("bob")).await, Ok(false));
    assert_eq!(store.remove_member(&team, &user("bob")).await, Ok(true));
    assert_eq!(store.remove_member(&team, &user("bob")).await, Ok(false));
    assert_eq!(store.is_member(&team, &user("bob")).await, Ok(false));

    assert_eq!(store.delete_group(&team).await, Ok(true));
    assert_eq!(store.delete_group(&team).await, Ok(false));
    assert_eq!(backend.count("group_members"), 0);
    assert_eq!(store.members_of(&team, 10).await, Ok(vec![]));
}
