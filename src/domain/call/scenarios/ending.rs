//! How calls end: cancelled, hung up, left alone. Once, and for good.

use super::*;

#[test]
fn the_caller_cancels_before_anybody_answers() {
    let mut scene = Scene::pair();
    assert_eq!(scene.user("alice", "laptop").cancel(), Ok(vec!["cancelled", "ended"]));
    assert_eq!(scene.end(), Some((CallStatus::Cancelled, EndReason::Cancelled, Some("alice"))));
    assert_eq!(scene.stands("bob"), ParticipantStatus::Missed);
}

#[test]
fn cancelling_again_is_ok() {
    let mut scene = Scene::pair();
    scene.user("alice", "laptop").cancel().unwrap();
    assert_eq!(scene.user("alice", "laptop").cancel(), Ok(vec![]));
    assert_eq!(scene.user("alice", "laptop").leave(), Ok(vec![]));
    assert_eq!(scene.user("alice", "laptop").end(), Ok(vec![]));
}

#[test]
fn a_cancel_that_comes_before_the_accept_wins() {
    let mut scene = Scene::pair();
    scene.user("alice", "laptop").cancel().unwrap();
    assert_eq!(scene.user("bob", "phone").accept(), Err(Rejection::AlreadyEnded));
    assert_eq!(scene.stands("bob"), ParticipantStatus::Missed);
}

#[test]
fn an_accept_that_comes_before_the_cancel_wins() {
    let mut scene = Scene::pair();
    scene.user("bob", "phone").accept().unwrap();
    assert!(matches!(scene.user("alice", "laptop").cancel(), Err(Rejection::WrongState(_))));
    assert_eq!(scene.call.status, CallStatus::Connecting);
}

#[test]
fn only_the_caller_cancels() {
    let mut scene = Scene::pair();
    assert_eq!(scene.user("bob", "phone").cancel(), Err(Rejection::Forbidden));
    let mut scene = Scene::group(&["bob"]);
    assert_eq!(scene.user("carol", "phone").cancel(), Err(Rejection::Forbidden));
}

#[test]
fn a_caller_who_hangs_up_while_it_rings_cancels() {
    let mut scene = Scene::pair();
    assert_eq!(scene.user("alice", "laptop").leave(), Ok(vec!["cancelled", "ended"]));
    let mut scene = Scene::pair();
    assert_eq!(scene.user("alice", "laptop").end(), Ok(vec!["cancelled", "ended"]));
    assert_eq!(scene.end(), Some((CallStatus::Cancelled, EndReason::Cancelled, Some("alice"))));
}

#[test]
fn when_one_of_two_leaves_the_call_is_over_for_both() {
    for (who, device) in [("alice", "laptop"), ("bob", "phone")] {
        let mut scene = Scene::talking();
        assert_eq!(scene.user(who, device).leave(), Ok(vec!["left", "ended"]));
        assert_eq!(scene.end(), Some((CallStatus::Ended, EndReason::Completed, Some(who))));
        assert_eq!(scene.stands("alice"), ParticipantStatus::Left);
        assert_eq!(scene.stands("bob"), ParticipantStatus::Left);
    }
}

#[test]
fn either_side_of_a_call_of_two_may_end_it() {
    for (who, device) in [("alice", "laptop"), ("bob", "phone")] {
        let mut scene = Scene::talking();
        assert_eq!(scene.user(who, device).end(), Ok(vec!["ended"]));
        assert_eq!(scene.end(), Some((CallStatus::Ended, EndReason::Completed, Some(who))));
        assert_eq!(scene.user(who, device).end(), Ok(vec![]));
    }
}

#[test]
fn an_end_because_media_failed_is_a_failed_call() {
    let mut scene = Scene::talking();
    scene.user("bob", "phone").does(Command::End { reason: Some(EndReason::MediaFailed) }).unwrap();
    assert_eq!(scene.end(), Some((CallStatus::Failed, EndReason::MediaFailed, Some("bob"))));
}

#[test]
fn nothing_happens_to_a_call_that_has_ended() {
    let mut scene = Scene::talking();
    scene.user("bob", "phone").leave().unwrap();
    let before = scene.call.clone();
    for (user, device) in [("alice", "laptop"), ("bob", "phone"), ("bob", "tablet")] {
        for command in [
            Command::Ringing,
            Command::Accept { answer: None },
            Command::Join,
            Command::Invite { users: vec![user_id("carol")], guests: vec![] },
            Command::Decline { reason: None },
            Command::Busy,
        ] {
            let name = command.name();
            assert_eq!(scene.user(user, device).does(command), Err(Rejection::AlreadyEnded), "{name}");
        }
        assert_eq!(scene.user(user, device).leave(), Ok(vec![]));
        assert_eq!(scene.user(user, device).end(), Ok(vec![]));
    }
    assert!(scene.connection_lost("bob", "phone").is_empty());
    assert!(scene.connection_back("bob", "phone").is_empty());
    assert!(scene.after_secs(1_000).is_empty());
    assert_eq!(scene.call, before);
}

#[test]
fn the_end_is_the_last_event_and_there_is_one() {
    let mut scene = Scene::talking();
    scene.user("alice", "laptop").leave().unwrap();
    let ends = scene.history.iter().filter(|recorded| matches!(recorded.event, Event::Ended { .. })).count();
    assert_eq!(ends, 1);
    assert!(matches!(scene.last_event(), Event::Ended { .. }));
}
