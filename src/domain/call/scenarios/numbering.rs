//! Who is sent what, and the `prev` by which they see a hole. That every `prev` is right, and the same in a rebuilt call,
//! [`Scene`] checks after each step; here is who hears.

use super::*;

/// The `(seq, prev)` of all that a user was sent by name.
fn sent_to(scene: &Scene, user: &str) -> Vec<(u64, u64)> {
    let numbered = scene.audiences.iter().zip(1..);
    numbered
        .flat_map(|(audience, seq)| audience.users.iter().map(move |heard| (seq, heard)))
        .filter(|(_, heard)| heard.user.as_str() == user)
        .map(|(seq, heard)| (seq, heard.prev))
        .collect()
}

fn sent_to_the_group(scene: &Scene) -> Vec<(u64, u64)> {
    let numbered = scene.audiences.iter().zip(1..);
    numbered.filter_map(|(audience, seq)| audience.group.as_ref().map(|(_, prev)| (seq, *prev))).collect()
}

#[test]
fn whoever_is_in_the_call_is_sent_everything() {
    let mut scene = Scene::of(&start_of(&["bob", "carol"], None));
    scene.user("bob", "phone").alerts().unwrap();
    scene.user("carol", "phone").accept().unwrap();
    scene.user("bob", "phone").decline().unwrap();
    scene.user("carol", "phone").leave().unwrap();
    scene.user("alice", "laptop").leave().unwrap();
    assert_eq!(sent_to(&scene, "alice"), [(1, 0), (2, 1), (3, 2), (4, 3), (5, 4), (6, 5), (7, 6)]);
}

#[test]
fn who_is_only_rung_is_sent_what_happens_to_them_and_how_it_ends() {
    let mut scene = Scene::of(&start_of(&["bob", "carol"], None));
    scene.user("bob", "phone").alerts().unwrap();
    scene.user("carol", "phone").alerts().unwrap();
    scene.user("alice", "laptop").cancel().unwrap();
    assert_eq!(sent_to(&scene, "bob"), [(1, 0), (2, 1), (4, 2), (5, 4)]);
    assert_eq!(sent_to(&scene, "carol"), [(1, 0), (3, 1), (4, 3), (5, 4)]);
}

#[test]
fn who_has_left_is_sent_only_the_end() {
    let mut scene = Scene::group(&[]);
    scene.user("bob", "phone").join().unwrap();
    scene.user("carol", "phone").join().unwrap();
    scene.user("bob", "phone").leave().unwrap();
    scene.connected(&["carol"]);
    scene.user("alice", "laptop").end().unwrap();
    assert_eq!(sent_to(&scene, "bob"), [(2, 1), (3, 2), (4, 3), (6, 4)]);
}

#[test]
fn the_members_of_the_group_are_sent_the_opening_and_the_end() {
    let mut scene = Scene::group(&["bob"]);
    scene.user("bob", "phone").accept().unwrap();
    scene.user("alice", "laptop").end().unwrap();
    assert_eq!(sent_to_the_group(&scene), [(1, 0), (3, 1)]);
    assert_eq!(scene.call.prev_for(&user_id("dave")), 3);
}

#[test]
fn a_member_who_joins_has_been_sent_the_opening_before() {
    let mut scene = Scene::group(&["bob"]);
    scene.user("bob", "phone").accept().unwrap();
    scene.user("carol", "phone").join().unwrap();
    assert_eq!(sent_to(&scene, "carol"), [(3, 1)]);
}

#[test]
fn who_is_asked_into_a_call_of_no_group_has_been_sent_nothing_before() {
    let mut scene = Scene::talking();
    scene.user("bob", "phone").invite(&["carol"]).unwrap();
    assert_eq!(sent_to(&scene, "carol"), [(4, 0)]);
}

#[test]
fn a_call_of_no_group_is_sent_to_no_group() {
    let mut scene = Scene::talking();
    scene.user("bob", "phone").leave().unwrap();
    assert!(sent_to_the_group(&scene).is_empty());
    assert_eq!(scene.call.prev_for(&user_id("eve")), 0);
}

#[test]
fn a_rebuilt_call_goes_on_numbering_where_the_first_one_stood() {
    let mut scene = Scene::group(&["bob"]);
    scene.user("bob", "phone").accept().unwrap();
    scene.call = Call::rebuild(scene.call.id.clone(), &scene.history).unwrap();
    scene.user("carol", "phone").join().unwrap();
    scene.user("bob", "phone").leave().unwrap();
    assert_eq!(sent_to(&scene, "bob"), [(1, 0), (2, 1), (3, 2), (4, 3)]);
}
