//! From the answer to media that flows.

use super::*;

#[test]
fn an_accepted_call_is_connecting_until_an_answer_has_passed() {
    let mut scene = Scene::pair();
    scene.user("bob", "phone").accept().unwrap();
    assert_eq!(scene.call.status, CallStatus::Connecting);
    assert_eq!(scene.stands("bob"), ParticipantStatus::Connecting);
    assert_eq!(scene.connected(&["alice", "bob"]), ["connected"]);
    assert_eq!(scene.call.status, CallStatus::Active);
    assert_eq!(scene.stands("bob"), ParticipantStatus::Joined);
    assert_eq!(scene.call.next_deadline(), None);
    assert!(scene.connected(&["alice", "bob"]).is_empty());
}

#[test]
fn an_answer_to_the_offer_of_the_start_connects_at_once() {
    let mut scene = Scene::of(&Start { offer: Some(opaque(r#"{"type":"offer"}"#)), ..start_of(&["bob"], None) });
    assert_eq!(scene.user("bob", "phone").accept_with_an_answer(), Ok(vec!["accepted", "connected"]));
    assert_eq!(scene.call.status, CallStatus::Active);
}

#[test]
fn an_answer_without_an_offer_connects_nothing() {
    let mut scene = Scene::pair();
    assert_eq!(scene.user("bob", "phone").accept_with_an_answer(), Ok(vec!["accepted"]));
    assert_eq!(scene.call.status, CallStatus::Connecting);
}

#[test]
fn who_stays_through_the_connect_timeout_is_taken_to_be_connected() {
    let mut scene = Scene::pair();
    scene.user("bob", "phone").accept().unwrap();
    assert!(scene.after_secs(29).is_empty());
    assert_eq!(scene.after_secs(1), ["connected"]);
    assert_eq!(scene.call.status, CallStatus::Active);
}

#[test]
fn the_duration_counts_from_the_answer_and_stops_at_the_end() {
    let mut scene = Scene::pair();
    scene.after_secs(10);
    assert_eq!(scene.call.duration(scene.now), Duration::ZERO);
    scene.user("bob", "phone").accept().unwrap();
    scene.after_secs(20);
    scene.user("alice", "laptop").leave().unwrap();
    scene.now = scene.now + Duration::from_secs(100);
    assert_eq!(scene.call.duration(scene.now), Duration::from_secs(20));
    assert_eq!(scene.participant("bob").duration(scene.now), Duration::from_secs(20));
}

#[test]
fn media_flags_change_for_those_in_the_call_and_only_when_they_differ() {
    let camera_on = || Command::Media { audio: None, video: Some(true), screen: None };
    let mut scene = Scene::pair();
    assert_eq!(scene.user("bob", "phone").does(camera_on()), Err(Rejection::NotParticipant));
    scene.user("bob", "phone").accept().unwrap();
    assert_eq!(scene.user("bob", "phone").does(camera_on()), Ok(vec!["media_changed"]));
    assert_eq!(scene.user("bob", "phone").does(camera_on()), Ok(vec![]));
    let nothing = Command::Media { audio: None, video: None, screen: None };
    assert_eq!(scene.user("bob", "phone").does(nothing), Ok(vec![]));
    assert!(scene.participant("bob").video && !scene.participant("alice").video);
    scene.user("bob", "phone").leave().unwrap();
    assert_eq!(scene.user("bob", "phone").does(camera_on()), Err(Rejection::AlreadyEnded));
}

#[test]
fn a_call_moves_to_another_device_of_the_same_user() {
    let mut scene = Scene::talking();
    assert_eq!(scene.user("bob", "tablet").join(), Ok(vec!["moved"]));
    assert_eq!(scene.participant("bob").device, Some(device_id("tablet")));
    assert_eq!(scene.stands("bob"), ParticipantStatus::Joined);
    assert_eq!(scene.user("bob", "tablet").join(), Ok(vec![]));
    assert!(scene.connection_lost("bob", "phone").is_empty(), "the old device is not in the call any more");
}

#[test]
fn a_move_before_media_flows_keeps_the_wait_for_it() {
    let mut scene = Scene::pair();
    scene.user("bob", "phone").accept().unwrap();
    assert_eq!(scene.user("bob", "tablet").join(), Ok(vec!["moved"]));
    assert_eq!(scene.stands("bob"), ParticipantStatus::Connecting);
    assert_eq!(scene.after_secs(30), ["connected"]);
}

#[test]
fn events_come_back_from_json_as_they_went_in() {
    let start =
        Start { offer: Some(opaque("null")), metadata: Some(opaque("{ \"a\" : [1.50] }")), ..start_of(&["bob"], None) };
    let mut scene = Scene::of(&start);
    let answer = Some(opaque("null"));
    scene.user("bob", "phone").does(Command::Accept { answer }).unwrap();
    for recorded in &scene.history {
        let json = serde_json::to_string(&recorded.event).unwrap();
        assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), recorded.event, "{json}");
    }
}

#[test]
fn an_event_written_without_the_optional_fields_is_read() {
    let json = r#"{"accepted":{"user":"bob","device":"phone","deadline":"2026-01-01T00:00:00.000Z","later":1}}"#;
    assert!(matches!(serde_json::from_str(json), Ok(Event::Accepted { answer: None, .. })));
}
