//! Two who call each other at once, and two who open a call in their group at once: one call.

use super::*;
use crate::domain::call::glare::{Clash, Slot, clash};

fn start_by(user: &str, device: &str, callees: &[&str], group: Option<&str>) -> Start {
    Start { initiator: user_id(user), device: device_id(device), ..start_of(callees, group) }
}

#[test]
fn both_directions_of_a_pair_want_the_same_slot() {
    let there = Slot::of(&start_by("alice", "laptop", &["bob"], None));
    assert!(there.is_some());
    assert_eq!(there, Slot::of(&start_by("bob", "phone", &["alice"], None)));
    assert_ne!(there, Slot::of(&start_by("alice", "laptop", &["carol"], None)));
}

#[test]
fn pairs_whose_names_read_the_same_when_joined_have_slots_of_their_own() {
    let slot = |a, b: &'static str| Slot::of(&start_by(a, "laptop", &[b], None));
    assert_ne!(slot("a", "bc"), slot("ab", "c"));
    assert_ne!(slot("1:a", "b"), slot("1", ":ab"));
}

#[test]
fn a_group_has_one_slot_whoever_is_rung_and_a_call_to_several_has_none() {
    let slot = Slot::of(&start_by("alice", "laptop", &["bob"], Some("team")));
    assert_eq!(slot, Slot::of(&start_by("carol", "phone", &[], Some("team"))));
    assert_ne!(slot, Slot::of(&start_by("alice", "laptop", &["bob"], Some("other"))));
    assert_ne!(slot, Slot::of(&start_by("alice", "laptop", &["bob"], None)));
    assert_eq!(Slot::of(&start_by("alice", "laptop", &["bob", "carol"], None)), None);
}

#[test]
fn two_who_call_each_other_at_once_are_in_one_connected_call() {
    let mut scene = Scene::pair();
    let Clash::Merge(command) = clash(&scene.call, &user_id("bob"), &device_id("phone")) else { panic!() };
    assert_eq!(scene.user("bob", "phone").does(command), Ok(vec!["accepted"]));
    assert_eq!(scene.call.engaged().count(), 2);
    assert_eq!(clash(&scene.call, &user_id("bob"), &device_id("phone")), Clash::AlreadyIn);
}

#[test]
fn in_glare_one_device_of_the_second_caller_wins_like_in_any_ring() {
    let mut scene = Scene::pair();
    scene.user("bob", "tablet").alerts().unwrap();
    let Clash::Merge(command) = clash(&scene.call, &user_id("bob"), &device_id("phone")) else { panic!() };
    scene.user("bob", "phone").does(command).unwrap();
    assert_eq!(scene.user("bob", "tablet").accept(), Err(Rejection::AcceptedElsewhere));
}

#[test]
fn the_same_side_calling_again_is_no_glare() {
    let scene = Scene::pair();
    assert_eq!(clash(&scene.call, &user_id("alice"), &device_id("laptop")), Clash::Separate);
    assert_eq!(clash(&scene.call, &user_id("alice"), &device_id("phone")), Clash::Separate);
}

#[test]
fn calling_from_another_device_those_you_talk_to_is_a_call_of_its_own() {
    let scene = Scene::talking();
    assert_eq!(clash(&scene.call, &user_id("bob"), &device_id("tablet")), Clash::Separate);
}

#[test]
fn two_members_who_open_a_call_at_once_are_in_one() {
    let mut scene = Scene::group(&[]);
    assert_eq!(clash(&scene.call, &user_id("bob"), &device_id("phone")), Clash::Merge(Command::Join));
    assert_eq!(scene.user("bob", "phone").join(), Ok(vec!["joined"]));
    assert_eq!(clash(&scene.call, &user_id("bob"), &device_id("phone")), Clash::AlreadyIn);
    assert_eq!(clash(&scene.call, &user_id("alice"), &device_id("laptop")), Clash::AlreadyIn);
}

#[test]
fn a_rung_member_who_opens_the_call_themselves_accepts_it() {
    let mut scene = Scene::group(&["bob"]);
    let Clash::Merge(command) = clash(&scene.call, &user_id("bob"), &device_id("phone")) else { panic!() };
    assert_eq!(scene.user("bob", "phone").does(command), Ok(vec!["accepted"]));
}

#[test]
fn opening_the_groups_call_from_another_device_moves_you_there() {
    let mut scene = Scene::group(&[]);
    let Clash::Merge(command) = clash(&scene.call, &user_id("alice"), &device_id("phone")) else { panic!() };
    assert_eq!(scene.user("alice", "phone").does(command), Ok(vec!["moved"]));
}
