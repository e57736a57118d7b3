//! Calls of more than two: joining, leaving, coming back, asking more people in.

use super::*;

/// A call of the group with alice, bob and carol in it.
fn three_in_it() -> Scene {
    let mut scene = Scene::group(&[]);
    scene.user("bob", "phone").join().unwrap();
    scene.user("carol", "phone").join().unwrap();
    scene
}

#[test]
fn a_member_joins_a_call_that_waits_and_it_connects() {
    let mut scene = Scene::group(&[]);
    assert_eq!(scene.user("bob", "phone").join(), Ok(vec!["joined"]));
    assert_eq!(scene.user("bob", "phone").join(), Ok(vec![]));
    assert_eq!(scene.call.status, CallStatus::Connecting);
    assert_eq!(scene.call.started_at, Some(scene.now));
}

#[test]
fn who_is_no_member_finds_no_call() {
    let mut scene = Scene::group(&[]);
    assert_eq!(scene.outsider("eve", "phone").join(), Err(Rejection::NotFound));
}

#[test]
fn a_member_who_is_not_in_the_call_may_not_act_in_it() {
    let mut scene = Scene::group(&["bob"]);
    assert_eq!(scene.user("carol", "phone").leave(), Err(Rejection::NotParticipant));
    assert_eq!(scene.user("carol", "phone").end(), Err(Rejection::NotParticipant));
    assert_eq!(scene.user("carol", "phone").invite(&["dave"]), Err(Rejection::NotParticipant));
    assert!(matches!(scene.user("carol", "phone").accept(), Err(Rejection::WrongState(_))));
}

#[test]
fn the_call_goes_on_until_the_last_one_leaves() {
    let mut scene = three_in_it();
    assert_eq!(scene.user("alice", "laptop").leave(), Ok(vec!["left", "role_changed"]));
    assert_eq!(scene.user("bob", "phone").leave(), Ok(vec!["left", "role_changed"]));
    assert_eq!(scene.end(), None);
    assert_eq!(scene.user("carol", "phone").leave(), Ok(vec!["left", "ended"]));
    assert_eq!(scene.end(), Some((CallStatus::Ended, EndReason::Completed, Some("carol"))));
    assert_eq!(scene.call.peak_participants, 3);
}

#[test]
fn the_last_one_who_is_lost_ends_the_call_with_a_lost_connection() {
    let mut scene = three_in_it();
    scene.user("alice", "laptop").leave().unwrap();
    scene.user("bob", "phone").leave().unwrap();
    scene.connection_lost("carol", "phone");
    assert_eq!(scene.after_secs(15), ["left", "ended"]);
    assert_eq!(scene.end(), Some((CallStatus::Ended, EndReason::ConnectionLost, None)));
}

#[test]
fn who_opened_a_call_that_nobody_joined_cancels_it_by_leaving() {
    let mut scene = Scene::group(&[]);
    assert_eq!(scene.user("alice", "laptop").leave(), Ok(vec!["cancelled", "ended"]));
}

#[test]
fn who_left_may_come_back_and_their_time_adds_up() {
    let mut scene = three_in_it();
    let screen_on = Command::Media { audio: None, video: None, screen: Some(true) };
    scene.user("bob", "phone").does(screen_on).unwrap();
    scene.after_secs(10);
    scene.user("bob", "phone").leave().unwrap();
    scene.after_secs(100);
    assert_eq!(scene.user("bob", "tablet").join(), Ok(vec!["joined"]));
    assert!(!scene.participant("bob").screen, "what he shared before he left is not shared now");
    scene.after_secs(5);
    assert_eq!(scene.participant("bob").duration(scene.now), Duration::from_secs(15));
    assert_eq!(scene.participant("bob").device, Some(device_id("tablet")));
    assert_eq!(scene.call.participants.len(), 3);
}

#[test]
fn who_declined_missed_or_was_busy_may_join_while_the_call_lasts() {
    let mut scene = Scene::group(&["bob", "carol", "dave", "erin"]);
    scene.user("erin", "phone").accept().unwrap();
    scene.user("bob", "phone").decline().unwrap();
    scene.user("carol", "phone").does(Command::Busy).unwrap();
    scene.after_secs(45);
    assert_eq!(scene.stands("dave"), ParticipantStatus::Missed);
    for late in ["bob", "carol", "dave"] {
        assert_eq!(scene.user(late, "phone").join(), Ok(vec!["joined"]));
    }
}

#[test]
fn who_comes_back_after_leaving_a_call_of_two_finds_it_over() {
    let mut scene = Scene::talking();
    scene.user("bob", "phone").leave().unwrap();
    assert_eq!(scene.user("bob", "phone").join(), Err(Rejection::AlreadyEnded));
}

#[test]
fn a_group_call_that_nobody_answers_is_missed() {
    let mut scene = Scene::group(&["bob", "carol"]);
    scene.user("bob", "phone").alerts().unwrap();
    assert_eq!(scene.after_secs(45), ["missed", "missed", "ended"]);
    assert_eq!(scene.end(), Some((CallStatus::Missed, EndReason::NoAnswer, None)));
}

#[test]
fn one_who_does_not_answer_does_not_end_a_call_that_others_are_in() {
    let mut scene = Scene::group(&["bob", "carol"]);
    scene.user("bob", "phone").accept().unwrap();
    scene.connected(&["bob"]);
    assert_eq!(scene.after_secs(45), ["missed"]);
    assert_eq!(scene.call.status, CallStatus::Active);
}

#[test]
fn the_host_ends_the_call_for_all_and_others_may_not() {
    let mut scene = three_in_it();
    assert_eq!(scene.user("bob", "phone").end(), Err(Rejection::Forbidden));
    assert_eq!(scene.user("alice", "laptop").end(), Ok(vec!["ended"]));
    assert_eq!(scene.stands("bob"), ParticipantStatus::Left);
}

#[test]
fn a_participant_asks_more_people_in_and_they_are_rung() {
    let mut scene = three_in_it();
    assert_eq!(scene.user("bob", "phone").invite(&["dave", "carol", "dave"]), Ok(vec!["invited"]));
    assert_eq!(scene.stands("dave"), ParticipantStatus::Invited);
    assert_eq!(scene.participant("dave").invited_by, Some(user_id("bob")));
    assert_eq!(scene.user("bob", "phone").invite(&["dave"]), Ok(vec![]), "he rings already");
    assert_eq!(scene.user("dave", "phone").accept(), Ok(vec!["accepted"]));
}

#[test]
fn who_was_asked_and_is_asked_again_can_answer_the_second_time() {
    let mut scene = three_in_it();
    scene.user("bob", "phone").invite(&["dave"]).unwrap();
    scene.user("dave", "phone").alerts().unwrap();
    scene.user("dave", "phone").decline().unwrap();
    assert_eq!(scene.user("bob", "phone").invite(&["dave"]), Ok(vec!["invited"]));
    assert_eq!(scene.user("dave", "phone").alerts(), Ok(vec!["ringing"]));
    assert_eq!(scene.user("dave", "tablet").accept(), Ok(vec!["accepted"]));
    assert_eq!(scene.user("dave", "phone").accept(), Err(Rejection::AcceptedElsewhere));
}

#[test]
fn a_call_that_waits_goes_on_waiting_when_an_invited_one_declines() {
    let mut scene = Scene::group(&[]);
    scene.user("alice", "laptop").invite(&["bob"]).unwrap();
    assert_eq!(scene.user("bob", "phone").decline(), Ok(vec!["declined"]));
    assert_eq!(scene.call.status, CallStatus::Waiting);
    assert_eq!(scene.end(), None);
}

#[test]
fn a_call_of_two_that_asks_a_third_in_becomes_a_group_call() {
    let mut scene = Scene::talking();
    assert_eq!(scene.user("bob", "phone").invite(&["carol"]), Ok(vec!["invited"]));
    assert!(scene.call.is_group);
    assert_eq!(scene.user("carol", "phone").accept(), Ok(vec!["accepted"]));
    assert_eq!(scene.user("alice", "laptop").leave(), Ok(vec!["left", "role_changed"]));
    assert_eq!(scene.end(), None);
}

#[test]
fn a_full_call_takes_nobody_more_until_somebody_leaves() {
    let rules = Rules { max_participants: 2, ..Rules::default() };
    let mut scene = Scene::open(&start_of(&[], Some("team")), BEGINNING, rules).unwrap();
    scene.user("bob", "phone").join().unwrap();
    assert_eq!(scene.user("carol", "phone").join(), Err(Rejection::CallFull));
    assert_eq!(scene.user("bob", "phone").invite(&["carol"]), Err(Rejection::CallFull));
    assert_eq!(scene.user("bob", "tablet").join(), Ok(vec!["moved"]), "he is in it already");
    scene.user("alice", "laptop").leave().unwrap();
    assert_eq!(scene.user("carol", "phone").join(), Ok(vec!["joined"]));
}

#[test]
fn who_is_rung_while_others_fill_the_call_is_refused_when_they_answer() {
    let rules = Rules { max_participants: 2, ..Rules::default() };
    let mut scene = Scene::open(&start_of(&["bob"], Some("team")), BEGINNING, rules).unwrap();
    scene.user("carol", "phone").join().unwrap();
    assert_eq!(scene.user("bob", "phone").accept(), Err(Rejection::CallFull));
    assert_eq!(scene.stands("bob"), ParticipantStatus::Invited);
}

#[test]
fn a_member_who_joins_a_call_that_rings_others_starts_it() {
    let mut scene = Scene::group(&["bob"]);
    assert_eq!(scene.user("carol", "phone").join(), Ok(vec!["joined"]));
    assert_eq!(scene.after_secs(45), ["missed", "connected"]);
    assert_eq!(scene.end(), None, "alice and carol talk");
}
