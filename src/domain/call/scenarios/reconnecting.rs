//! A dropped connection is not a hang-up, until the grace is over.

use super::*;

#[test]
fn who_loses_the_connection_is_waited_for_and_comes_back() {
    let mut scene = Scene::talking();
    assert_eq!(scene.connection_lost("bob", "phone"), ["reconnecting"]);
    assert_eq!(scene.stands("bob"), ParticipantStatus::Reconnecting);
    assert_eq!(scene.call.status, CallStatus::Active);
    assert!(scene.after_secs(14).is_empty());
    assert_eq!(scene.connection_back("bob", "phone"), ["reconnected"]);
    assert_eq!(scene.stands("bob"), ParticipantStatus::Joined);
    assert!(scene.after_secs(60).is_empty());
}

#[test]
fn who_does_not_come_back_within_the_grace_has_left_with_a_lost_connection() {
    let mut scene = Scene::talking();
    scene.connection_lost("bob", "phone");
    assert_eq!(scene.after_secs(15), ["left", "ended"]);
    assert_eq!(scene.end(), Some((CallStatus::Ended, EndReason::ConnectionLost, None)));
    assert_eq!(scene.participant("bob").leave_reason, Some(EndReason::ConnectionLost));
}

#[test]
fn a_lost_connection_is_told_once_and_so_is_its_return() {
    let mut scene = Scene::talking();
    scene.connection_lost("bob", "phone");
    assert!(scene.connection_lost("bob", "phone").is_empty());
    scene.connection_back("bob", "phone");
    assert!(scene.connection_back("bob", "phone").is_empty());
}

#[test]
fn the_connection_of_a_device_that_is_not_in_the_call_is_nobodys_loss() {
    let mut scene = Scene::talking();
    assert!(scene.connection_lost("bob", "tablet").is_empty());
    assert!(scene.connection_lost("carol", "phone").is_empty());
    let mut scene = Scene::pair();
    assert!(scene.connection_lost("bob", "phone").is_empty(), "he is only rung");
    assert_eq!(scene.call.status, CallStatus::Ringing);
}

#[test]
fn accepting_or_joining_again_from_the_same_device_is_coming_back() {
    let mut scene = Scene::talking();
    scene.connection_lost("bob", "phone");
    assert_eq!(scene.user("bob", "phone").accept(), Ok(vec!["reconnected"]));
    scene.connection_lost("bob", "phone");
    assert_eq!(scene.user("bob", "phone").join(), Ok(vec!["reconnected"]));
}

#[test]
fn another_device_takes_the_call_over_from_one_that_is_gone() {
    let mut scene = Scene::talking();
    scene.connection_lost("bob", "phone");
    assert!(scene.connection_back("bob", "tablet").is_empty(), "that it is online does not bring it into the call");
    assert_eq!(scene.user("bob", "tablet").join(), Ok(vec!["moved"]));
    assert_eq!(scene.stands("bob"), ParticipantStatus::Joined);
    assert!(scene.connection_back("bob", "phone").is_empty());
    assert!(scene.after_secs(60).is_empty());
}

#[test]
fn who_comes_back_before_media_flowed_is_given_a_new_wait_for_it() {
    let mut scene = Scene::pair();
    scene.user("bob", "phone").accept().unwrap();
    scene.after_secs(20);
    scene.connection_lost("bob", "phone");
    scene.after_secs(12);
    assert_eq!(scene.connection_back("bob", "phone"), ["reconnected"]);
    assert_eq!(scene.stands("bob"), ParticipantStatus::Connecting);
    assert!(scene.after_secs(29).is_empty());
    assert_eq!(scene.after_secs(1), ["connected"]);
}

#[test]
fn a_caller_who_is_lost_while_it_rings_and_comes_back_goes_on_ringing() {
    let mut scene = Scene::pair();
    assert_eq!(scene.connection_lost("alice", "laptop"), ["reconnecting"]);
    scene.after_secs(10);
    assert_eq!(scene.connection_back("alice", "laptop"), ["reconnected"]);
    assert_eq!(scene.user("bob", "phone").accept(), Ok(vec!["accepted"]));
}

#[test]
fn a_caller_who_is_lost_while_it_rings_and_stays_away_ends_the_ringing() {
    let mut scene = Scene::pair();
    scene.connection_lost("alice", "laptop");
    assert_eq!(scene.after_secs(15), ["left", "ended"]);
    assert_eq!(scene.end(), Some((CallStatus::Cancelled, EndReason::ConnectionLost, None)));
    assert_eq!(scene.stands("bob"), ParticipantStatus::Missed);
}

#[test]
fn a_call_may_be_answered_while_its_caller_reconnects() {
    let mut scene = Scene::pair();
    scene.connection_lost("alice", "laptop");
    assert_eq!(scene.user("bob", "phone").accept(), Ok(vec!["accepted"]));
    assert_eq!(scene.connection_back("alice", "laptop"), ["reconnected"]);
    assert_eq!(scene.stands("alice"), ParticipantStatus::Joined);
}

#[test]
fn both_may_be_lost_at_once_and_both_come_back() {
    let mut scene = Scene::talking();
    scene.connection_lost("alice", "laptop");
    scene.connection_lost("bob", "phone");
    assert!(scene.call.next_deadline().is_some());
    scene.connection_back("alice", "laptop");
    scene.connection_back("bob", "phone");
    assert_eq!(scene.call.next_deadline(), None);
}

#[test]
fn both_lost_for_good_is_one_end() {
    let mut scene = Scene::talking();
    scene.connection_lost("alice", "laptop");
    scene.connection_lost("bob", "phone");
    assert_eq!(scene.after_secs(3_600), ["left", "left", "ended"]);
}

#[test]
fn hanging_up_while_reconnecting_is_a_hang_up() {
    let mut scene = Scene::talking();
    scene.connection_lost("bob", "phone");
    assert_eq!(scene.user("bob", "tablet").leave(), Ok(vec!["left", "ended"]));
    assert_eq!(scene.end(), Some((CallStatus::Ended, EndReason::Completed, Some("bob"))));
}
