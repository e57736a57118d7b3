//! What a call may begin as, and what it then is.

use super::*;
use crate::domain::command::MAX_RING_TIMEOUT;

fn refusal(start: &Start) -> Rejection {
    Scene::open(start, BEGINNING, Rules::default()).unwrap_err()
}

#[test]
fn a_call_that_rings_somebody_is_ringing_at_once_with_a_deadline() {
    let scene = Scene::pair();
    assert_eq!(scene.call.status, CallStatus::Ringing);
    assert_eq!(scene.call.ring_deadline(), Some(BEGINNING + Duration::from_secs(45)));
    assert_eq!(scene.call.next_deadline(), scene.call.ring_deadline());
    assert_eq!(scene.stands("alice"), ParticipantStatus::Joined);
    assert_eq!(scene.stands("bob"), ParticipantStatus::Invited);
    assert_eq!(scene.call.seq, 1);
}

#[test]
fn a_group_call_that_rings_nobody_waits_without_a_deadline() {
    let scene = Scene::group(&[]);
    assert_eq!(scene.call.status, CallStatus::Waiting);
    assert_eq!(scene.call.next_deadline(), None);
}

#[test]
fn a_call_of_two_is_no_group_and_a_call_of_three_or_in_a_group_is() {
    assert!(!Scene::pair().call.is_group);
    assert!(Scene::of(&start_of(&["bob", "carol"], None)).call.is_group);
    assert!(Scene::group(&["bob"]).call.is_group);
}

#[test]
fn a_call_to_nobody_outside_a_group_is_refused() {
    assert!(matches!(refusal(&start_of(&[], None)), Rejection::Invalid(_)));
}

#[test]
fn nobody_calls_themselves_and_nobody_is_called_twice() {
    assert!(matches!(refusal(&start_of(&["alice"], None)), Rejection::Invalid(_)));
    assert!(matches!(refusal(&start_of(&["bob", "alice"], Some("team"))), Rejection::Invalid(_)));
    assert!(matches!(refusal(&start_of(&["bob", "carol", "bob"], None)), Rejection::Invalid(_)));
}

#[test]
fn a_call_to_more_people_than_it_takes_is_refused() {
    let rules = Rules { max_participants: 3, ..Rules::default() };
    let three = start_of(&["bob", "carol", "dave"], None);
    assert_eq!(Scene::open(&three, BEGINNING, rules).unwrap_err(), Rejection::CallFull);
    assert!(Scene::open(&start_of(&["bob", "carol"], None), BEGINNING, rules).is_ok());
}

#[test]
fn the_caller_chooses_how_long_it_rings_within_bounds() {
    let rings_for = |secs| Start { ring_timeout: Some(Duration::from_secs(secs)), ..start_of(&["bob"], None) };
    let mut scene = Scene::of(&rings_for(5));
    assert!(scene.after_secs(4).is_empty());
    assert_eq!(scene.after_secs(1), ["missed", "ended"]);
    assert!(matches!(refusal(&rings_for(0)), Rejection::Invalid(_)));
    assert!(Scene::open(&rings_for(MAX_RING_TIMEOUT.as_secs()), BEGINNING, Rules::default()).is_ok());
    assert!(matches!(refusal(&rings_for(MAX_RING_TIMEOUT.as_secs() + 1)), Rejection::Invalid(_)));
}

#[test]
fn a_history_that_does_not_begin_with_the_creation_is_no_call() {
    let mut scene = Scene::pair();
    scene.user("bob", "phone").accept().unwrap();
    assert_eq!(Call::rebuild(scene.call.id.clone(), &scene.history[1..]), None);
    assert_eq!(Call::rebuild(scene.call.id.clone(), &[]), None);
    assert_eq!(Call::rebuild(scene.call.id.clone(), &scene.history), Some(scene.call));
}
