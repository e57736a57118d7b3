//! Moving to the media server, make before break, and starting there.

use super::*;
use crate::domain::{
    AbortReason, EscalationCause,
    call::{ESCALATION_PAUSE, escalation},
};

fn with_media_server() -> Rules {
    Rules { media_server: true, ..Rules::default() }
}

fn begun(start_with: &Start) -> Scene {
    Scene::open(start_with, BEGINNING, with_media_server()).unwrap()
}

/// alice and bob talk; nobody comes by whom it moves by itself.
fn talking() -> Scene {
    let mut scene = begun(&start_of(&["bob"], None));
    scene.user("bob", "phone").accept().unwrap();
    scene.connected(&["bob"]);
    scene
}

/// alice and bob talk in the group's call, which moves when it outgrows them.
fn group() -> Scene {
    let mut scene = begun(&Start { escalates: true, ..start_of(&["bob"], Some("team")) });
    scene.user("bob", "phone").accept().unwrap();
    scene.connected(&["bob"]);
    scene
}

fn moving() -> Scene {
    let mut scene = talking();
    assert_eq!(scene.user("bob", "phone").does(Command::Escalate), Ok(vec!["escalating"]));
    scene
}

fn started_there() -> Scene {
    let mut scene = begun(&Start { mode: CallMode::Sfu, ..start_of(&["bob"], None) });
    scene.user("bob", "phone").accept().unwrap();
    scene
}

#[test]
fn a_call_moves_on_request_once_everybody_is_in_the_room() {
    let mut scene = moving();
    assert_eq!(scene.call.mode, CallMode::P2p, "until all are there");
    assert_eq!(scene.user("alice", "laptop").does(Command::Escalate), Ok(vec![]), "it is under way");
    assert_eq!(scene.in_room("alice"), ["room_joined"]);
    assert_eq!(scene.in_room("alice"), Vec::<&str>::new());
    assert_eq!(scene.in_room("bob"), ["room_joined", "escalated"]);
    assert_eq!((scene.call.mode, scene.call.escalation.as_ref()), (CallMode::Sfu, None));
    assert_eq!(scene.user("bob", "phone").does(Command::Escalate), Ok(vec![]), "it is there");
    assert_eq!(scene.after_secs(60), Vec::<&str>::new());
}

#[test]
fn everybody_is_asked_in_once_the_room_is_open() {
    let mut scene = moving();
    assert!(!scene.call.admits_to_room(&user_id("alice")));
    assert_eq!(scene.server(Command::RoomOpened), ["room_opened"]);
    assert_eq!(scene.server(Command::RoomOpened), Vec::<&str>::new(), "a new owner opens it again");
    assert!(scene.call.admits_to_room(&user_id("alice")));
    assert_eq!(scene.user("bob", "tablet").join(), Ok(vec!["moved", "escalating"]));
    assert!(scene.call.admits_to_room(&user_id("bob")), "it is still open");
    scene.after_secs(15);
    assert_eq!(scene.server(Command::RoomOpened), Vec::<&str>::new(), "too late");
}

#[test]
fn a_third_who_comes_in_moves_the_call_and_connects_by_the_room() {
    let mut scene = group();
    assert_eq!(scene.user("carol", "phone").join(), Ok(vec!["joined", "escalating"]));
    let cause = scene.call.escalation.as_ref().map(|escalation| (escalation.cause, escalation.by.clone()));
    assert_eq!(cause, Some((EscalationCause::ThirdParticipant, None)));
    scene.in_room("carol");
    scene.in_room("alice");
    assert_eq!(scene.in_room("bob"), ["room_joined", "escalated", "connected"]);
    assert_eq!(scene.stands("carol"), ParticipantStatus::Joined);
}

#[test]
fn a_call_that_was_asked_to_stay_peer_to_peer_moves_only_on_request() {
    let mut scene = begun(&start_of(&["bob"], Some("team")));
    scene.user("bob", "phone").accept().unwrap();
    assert_eq!(scene.user("carol", "phone").join(), Ok(vec!["joined"]));
    assert_eq!(scene.user("carol", "phone").does(Command::Escalate), Ok(vec!["escalating"]));
}

#[test]
fn who_takes_anothers_place_in_a_call_of_two_does_not_move_it() {
    let mut scene = begun(&Start { escalates: true, ..start_of(&["bob"], None) });
    scene.user("bob", "phone").accept().unwrap();
    scene.user("bob", "phone").does(Command::Transfer { to: user_id("carol") }).unwrap();
    assert_eq!(scene.user("carol", "phone").accept(), Ok(vec!["accepted", "transferred"]));
}

#[test]
fn without_a_media_server_a_third_just_comes_in_and_who_asks_is_refused() {
    let mut scene = Scene::of(&Start { escalates: true, ..start_of(&["bob", "carol"], None) });
    scene.user("bob", "phone").accept().unwrap();
    assert_eq!(scene.user("carol", "phone").accept(), Ok(vec!["accepted"]));
    let refused = scene.user("bob", "phone").does(Command::Escalate);
    assert!(matches!(refused, Err(Rejection::MediaUnavailable(_))), "{refused:?}");
    let there = Start { mode: CallMode::Sfu, ..start_of(&["bob"], None) };
    let refused = Scene::open(&there, BEGINNING, Rules::default()).map(drop);
    assert!(matches!(refused, Err(Rejection::MediaUnavailable(_))), "{refused:?}");
}

#[test]
fn only_who_is_in_the_call_may_ask_and_only_once_it_was_answered() {
    let mut scene = begun(&start_of(&["bob"], None));
    assert!(matches!(scene.user("alice", "laptop").does(Command::Escalate), Err(Rejection::WrongState(_))));
    assert_eq!(scene.user("bob", "phone").does(Command::Escalate), Err(Rejection::NotParticipant));
    assert_eq!(scene.user("eve", "phone").does(Command::Escalate), Err(Rejection::NotFound));
    scene.user("alice", "laptop").cancel().unwrap();
    assert_eq!(scene.user("alice", "laptop").does(Command::Escalate), Err(Rejection::AlreadyEnded));
}

#[test]
fn who_does_not_come_into_the_room_in_time_leaves_the_call_as_it_was() {
    let mut scene = moving();
    scene.in_room("alice");
    assert_eq!(scene.after_secs(14), Vec::<&str>::new());
    assert_eq!(scene.after_secs(1), ["escalation_aborted"]);
    assert_eq!((scene.call.mode, scene.call.status), (CallMode::P2p, CallStatus::Active));
    assert!(matches!(scene.last_event(), Event::EscalationAborted { reason: AbortReason::NotConnected, .. }));
    assert_eq!(scene.in_room("bob"), Vec::<&str>::new(), "too late");
}

#[test]
fn a_room_that_cannot_be_opened_ends_the_move_and_the_next_waits_a_while() {
    let mut scene = moving();
    assert_eq!(scene.server(Command::RoomUnavailable), ["escalation_aborted"]);
    assert_eq!(scene.server(Command::RoomUnavailable), Vec::<&str>::new());
    let refused = scene.user("bob", "phone").does(Command::Escalate);
    assert!(matches!(refused, Err(Rejection::MediaUnavailable(_))), "{refused:?}");
    scene.after_secs(ESCALATION_PAUSE.as_secs());
    assert_eq!(scene.user("bob", "phone").does(Command::Escalate), Ok(vec!["escalating"]));
}

#[test]
fn who_joins_during_the_pause_comes_in_without_a_new_attempt() {
    let mut scene = group();
    scene.user("carol", "phone").join().unwrap();
    scene.server(Command::RoomUnavailable);
    assert_eq!(scene.user("dave", "phone").join(), Ok(vec!["joined"]));
    scene.after_secs(ESCALATION_PAUSE.as_secs());
    assert_eq!(scene.user("erin", "phone").join(), Ok(vec!["joined", "escalating"]));
}

#[test]
fn who_comes_in_during_a_move_is_asked_into_the_room_and_given_time() {
    let mut scene = group();
    scene.user("carol", "phone").join().unwrap();
    scene.after_secs(14);
    assert_eq!(scene.user("dave", "phone").join(), Ok(vec!["joined", "escalating"]));
    ["alice", "bob", "carol"].into_iter().for_each(|user| drop(scene.in_room(user)));
    assert_eq!(scene.after_secs(14), Vec::<&str>::new());
    assert_eq!(scene.in_room("dave"), ["room_joined", "escalated", "connected"]);
}

#[test]
fn who_goes_on_at_another_device_is_awaited_there() {
    let mut scene = moving();
    scene.in_room("bob");
    assert_eq!(scene.user("bob", "tablet").join(), Ok(vec!["moved", "escalating"]));
    scene.in_room("alice");
    let stale = Command::RoomJoined { user: user_id("bob"), device: device_id("phone") };
    assert_eq!(scene.server(stale), Vec::<&str>::new());
    assert_eq!(scene.in_room("bob"), ["room_joined", "escalated"]);
}

#[test]
fn who_leaves_during_a_move_does_not_hold_it_up() {
    let mut scene = group();
    scene.user("carol", "phone").join().unwrap();
    scene.in_room("alice");
    scene.in_room("bob");
    assert_eq!(scene.user("carol", "phone").leave(), Ok(vec!["left", "escalated"]));
    let mut scene = group();
    scene.user("carol", "phone").join().unwrap();
    scene.in_room("bob");
    scene.in_room("carol");
    assert_eq!(scene.user("alice", "laptop").leave(), Ok(vec!["left", "role_changed", "escalated", "connected"]));
}

#[test]
fn a_call_that_ends_during_a_move_has_just_ended() {
    let mut scene = moving();
    scene.in_room("alice");
    assert_eq!(scene.user("bob", "phone").leave(), Ok(vec!["left", "ended"]));
    assert_eq!(scene.call.escalation, None);
}

#[test]
fn who_was_seen_in_the_room_and_left_it_is_awaited_again() {
    let mut scene = moving();
    scene.in_room("alice");
    let left = |device| Command::RoomLeft { user: user_id("alice"), device: device_id(device) };
    assert_eq!(scene.server(left("phone")), Vec::<&str>::new(), "another device of hers");
    assert_eq!(scene.server(left("laptop")), ["room_left"]);
    assert_eq!(scene.in_room("bob"), ["room_joined"]);
    assert_eq!(scene.in_room("alice"), ["room_joined", "escalated"]);
}

#[test]
fn who_has_lost_their_connection_is_awaited_to_the_deadline_and_no_longer() {
    let mut scene = group();
    scene.user("carol", "phone").join().unwrap();
    scene.in_room("alice");
    scene.in_room("bob");
    scene.after_secs(5);
    assert_eq!(scene.connection_lost("carol", "phone"), ["reconnecting"], "there is time yet");
    assert_eq!(scene.after_secs(10), ["escalated"]);
    assert_eq!(scene.connection_back("carol", "phone"), ["reconnected"]);
    assert_eq!(scene.in_room("carol"), Vec::<&str>::from(["connected"]));
}

#[test]
fn a_move_of_people_who_are_all_away_is_given_up() {
    let mut scene = moving();
    scene.after_secs(5);
    scene.connection_lost("alice", "laptop");
    scene.connection_lost("bob", "phone");
    assert_eq!(scene.after_secs(10), ["escalation_aborted"]);
}

#[test]
fn a_call_that_starts_on_the_media_server_is_active_with_two_in_the_room() {
    let mut scene = started_there();
    assert_eq!(scene.in_room("bob"), ["room_joined"]);
    assert_eq!(scene.call.status, CallStatus::Connecting);
    assert_eq!(scene.in_room("alice"), ["room_joined", "connected"]);
    assert_eq!(scene.call.status, CallStatus::Active);
    assert_eq!(scene.in_room("alice"), Vec::<&str>::new(), "nothing depends on it any more");
}

#[test]
fn who_waits_in_the_room_for_an_answer_is_not_forgotten() {
    let mut scene = begun(&Start { mode: CallMode::Sfu, ..start_of(&["bob"], None) });
    assert_eq!(scene.in_room("alice"), ["room_joined"]);
    scene.user("bob", "phone").accept().unwrap();
    assert_eq!(scene.in_room("bob"), ["room_joined", "connected"]);
}

#[test]
fn a_call_on_the_media_server_that_it_does_not_speak_of_is_active_all_the_same() {
    let mut scene = started_there();
    assert_eq!(scene.after_secs(30), ["connected"]);
    assert_eq!(scene.call.status, CallStatus::Active);
    assert_eq!(scene.server(Command::RoomUnavailable), Vec::<&str>::new(), "it is tried again");
}

#[test]
fn who_joins_a_call_on_the_media_server_is_connected_when_it_has_seen_them() {
    let mut scene = group();
    scene.user("carol", "phone").join().unwrap();
    ["alice", "bob", "carol"].into_iter().for_each(|user| drop(scene.in_room(user)));
    assert_eq!(scene.user("dave", "phone").join(), Ok(vec!["joined"]));
    assert_eq!(scene.in_room("dave"), ["connected"]);
}

#[test]
fn who_is_not_in_the_call_has_no_place_in_its_room() {
    let mut scene = begun(&Start { mode: CallMode::Sfu, ..start_of(&["bob"], Some("team")) });
    let admitted = |scene: &Scene, user| scene.call.admits_to_room(&user_id(user));
    assert!(admitted(&scene, "alice"));
    assert!(!admitted(&scene, "bob"), "he has not accepted");
    assert!(!admitted(&scene, "eve"));
    scene.user("bob", "phone").accept().unwrap();
    assert!(admitted(&scene, "bob"));
    scene.user("alice", "laptop").does(Command::Kick { user: user_id("bob") }).unwrap();
    assert!(!admitted(&scene, "bob"));
    scene.user("alice", "laptop").leave().unwrap();
    assert!(!admitted(&scene, "alice") && !scene.call.needs_room());
}

#[test]
fn what_begins_a_move_does_nothing_while_one_is_under_way() {
    let scene = moving();
    let mut events = vec![];
    let again = escalation::begin(&scene.call, scene.now, &scene.rules, EscalationCause::Recording, None, &mut events);
    assert_eq!((again, events), (Ok(()), vec![]));
}

#[test]
fn a_call_of_before_is_one_that_stays_peer_to_peer() {
    let stored = r#"{"created":{"call_type":"audio","mode":"p2p","initiator":"alice","device":"laptop","callees":["bob"],
                     "max_participants":100}}"#;
    let event: Event = serde_json::from_str(stored).unwrap();
    let first = Recorded { seq: 1, at: BEGINNING, event };
    let (call, _) = Call::open(crate::domain::CallId::new("call-1").unwrap(), &first).unwrap();
    assert!(!call.escalates && call.mode == CallMode::P2p);
}
