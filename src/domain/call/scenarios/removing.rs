//! Members who are taken out of a group while its call runs.

use super::*;

fn removed(scene: &mut Scene, users: &[&str]) -> Vec<&'static str> {
    scene.server(Command::Remove { users: users.iter().map(|name| user_id(name)).collect() })
}

/// A call of the group with alice and bob in it, that rings carol.
fn two_and_a_ring() -> Scene {
    let mut scene = Scene::group(&["bob", "carol"]);
    scene.user("bob", "phone").accept().unwrap();
    scene.connected(&["bob"]);
    scene
}

#[test]
fn who_is_removed_from_the_group_leaves_its_call_and_the_others_go_on() {
    let mut scene = two_and_a_ring();
    assert_eq!(removed(&mut scene, &["bob"]), ["left"]);
    assert_eq!(*scene.last_event(), Event::Left { user: user_id("bob"), reason: EndReason::Kicked });
    assert_eq!(scene.participant("bob").leave_reason, Some(EndReason::Kicked));
    let heard: Vec<_> = scene.audiences.last().unwrap().users.iter().map(|heard| heard.user.as_str()).collect();
    assert_eq!(heard, ["alice", "bob"], "who is removed hears it too");
    assert_eq!(scene.end(), None);
    assert_eq!(removed(&mut scene, &["bob"]), Vec::<&str>::new(), "again is nothing");
    assert_eq!(scene.outsider("bob", "phone").join(), Err(Rejection::NotFound));
    assert_eq!(scene.user("bob", "phone").join(), Ok(vec!["joined"]), "a member again");
}

#[test]
fn a_ring_of_who_is_removed_is_taken_back() {
    let mut scene = two_and_a_ring();
    assert_eq!(removed(&mut scene, &["carol"]), ["left"]);
    assert_eq!(scene.stands("carol"), ParticipantStatus::Left);
    assert_eq!(scene.outsider("carol", "phone").join(), Err(Rejection::NotFound));
    assert!(scene.outsider("carol", "phone").accept().is_err());
    assert_eq!(scene.after_secs(600), Vec::<&str>::new(), "nothing of the ring is left to run out");
}

#[test]
fn a_call_that_rings_only_those_who_are_removed_is_missed() {
    let mut scene = Scene::group(&["bob"]);
    assert_eq!(removed(&mut scene, &["bob"]), ["left", "ended"]);
    assert_eq!(scene.end(), Some((CallStatus::Missed, EndReason::NoAnswer, None)));
}

#[test]
fn a_call_whose_people_are_all_removed_ends_for_that_reason() {
    let mut scene = two_and_a_ring();
    assert_eq!(removed(&mut scene, &["alice", "bob", "carol"]), ["ended"]);
    assert_eq!(scene.end(), Some((CallStatus::Ended, EndReason::Kicked, None)));
    assert_eq!(removed(&mut scene, &["alice"]), Vec::<&str>::new());
}

#[test]
fn a_call_that_an_operator_ends_is_over_for_everybody_and_names_nobody() {
    let mut scene = two_and_a_ring();
    assert_eq!(scene.user("alice", "phone").does(Command::EndByOperator), Err(Rejection::Forbidden));
    assert_eq!(scene.server(Command::EndByOperator), ["ended"]);
    assert_eq!(scene.end(), Some((CallStatus::Ended, EndReason::Kicked, None)));
    assert_eq!(scene.server(Command::EndByOperator), Vec::<&str>::new(), "again is nothing");
    let mut ringing = Scene::group(&["bob"]);
    assert_eq!(ringing.server(Command::EndByOperator), ["ended"]);
    assert_eq!(ringing.end(), Some((CallStatus::Cancelled, EndReason::Kicked, None)));
}

#[test]
fn who_had_left_already_is_not_said_to_leave_again() {
    let mut scene = two_and_a_ring();
    scene.user("bob", "phone").leave().unwrap();
    assert_eq!(removed(&mut scene, &["bob", "dave"]), Vec::<&str>::new());
    assert_eq!(scene.participant("bob").leave_reason, Some(EndReason::Completed));
}
