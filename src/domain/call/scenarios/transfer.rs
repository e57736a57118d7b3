//! Handing one's part in a call of two to somebody else; holding it.

use super::*;

fn transfer(to: &str) -> Command {
    Command::Transfer { to: user_id(to) }
}

/// alice and bob talk, and bob wants carol to take his place.
fn under_way() -> Scene {
    let mut scene = Scene::talking();
    assert_eq!(scene.user("bob", "phone").does(transfer("carol")), Ok(vec!["invited"]));
    scene
}

#[test]
fn who_accepts_a_transfer_takes_the_place_of_who_asked_for_it() {
    let mut scene = under_way();
    assert_eq!(scene.user("bob", "phone").does(transfer("carol")), Ok(vec![]));
    assert_eq!(scene.user("carol", "phone").accept(), Ok(vec!["accepted", "transferred"]));
    assert_eq!(scene.stands("bob"), ParticipantStatus::Left);
    assert_eq!(scene.participant("bob").leave_reason, Some(EndReason::Completed));
    assert!(!scene.call.is_group);
    scene.connected(&["carol"]);
    assert_eq!(scene.user("carol", "phone").end(), Ok(vec!["ended"]));
    assert_eq!(scene.end(), Some((CallStatus::Ended, EndReason::Completed, Some("carol"))));
}

#[test]
fn when_the_host_transfers_who_stays_is_host() {
    let mut scene = Scene::talking();
    scene.user("alice", "laptop").does(transfer("carol")).unwrap();
    assert_eq!(scene.user("carol", "phone").accept(), Ok(vec!["accepted", "transferred", "role_changed"]));
    assert_eq!(scene.participant("bob").role, crate::domain::Role::Host);
}

#[test]
fn a_transfer_that_is_declined_busy_or_not_answered_leaves_the_call_as_it_was() {
    type Failure = fn(&mut Scene);
    let failures: [Failure; 4] = [
        |scene| drop(scene.user("carol", "phone").decline().unwrap()),
        |scene| drop(scene.user("carol", "phone").does(Command::Busy).unwrap()),
        |scene| drop(scene.server(Command::BusyElsewhere { user: user_id("carol") })),
        |scene| drop(scene.after_secs(45)),
    ];
    for failure in failures {
        let mut scene = under_way();
        failure(&mut scene);
        assert_eq!((scene.end(), scene.call.transfer.as_ref()), (None, None));
        assert_eq!(
            (scene.stands("alice"), scene.stands("bob")),
            (ParticipantStatus::Joined, ParticipantStatus::Joined)
        );
        assert_eq!(scene.user("alice", "laptop").does(transfer("dave")), Ok(vec!["invited"]), "another may be tried");
    }
}

#[test]
fn who_asked_may_hang_up_before_it_is_answered() {
    let mut scene = under_way();
    assert_eq!(scene.user("bob", "phone").leave(), Ok(vec!["left"]));
    assert_eq!(scene.user("carol", "phone").accept(), Ok(vec!["accepted", "transferred"]));
    let mut scene = under_way();
    scene.user("bob", "phone").leave().unwrap();
    assert_eq!(scene.user("carol", "phone").decline(), Ok(vec!["declined", "ended"]));
}

#[test]
fn when_the_other_side_goes_there_is_nobody_left_to_transfer() {
    let mut scene = under_way();
    assert_eq!(scene.user("alice", "laptop").leave(), Ok(vec!["left", "ended"]));
    assert_eq!(scene.stands("carol"), ParticipantStatus::Missed);
}

#[test]
fn only_a_call_of_two_that_was_answered_is_transferred_and_to_one_who_is_not_in_it() {
    let mut ringing = Scene::pair();
    assert!(matches!(ringing.user("alice", "laptop").does(transfer("carol")), Err(Rejection::WrongState(_))));
    let mut group = Scene::group(&[]);
    group.user("bob", "phone").join().unwrap();
    assert!(matches!(group.user("bob", "phone").does(transfer("carol")), Err(Rejection::WrongState(_))));
    let mut scene = under_way();
    assert!(matches!(scene.user("alice", "laptop").does(transfer("dave")), Err(Rejection::WrongState(_))));
    let mut scene = Scene::talking();
    assert!(matches!(scene.user("alice", "laptop").does(transfer("bob")), Err(Rejection::Invalid(_))));
    assert_eq!(scene.outsider("eve", "phone").does(transfer("carol")), Err(Rejection::NotFound));
}

#[test]
fn a_transfer_needs_no_room_for_a_third() {
    let rules = Rules { max_participants: 2, ..Rules::default() };
    let mut scene = Scene::open(&start_of(&["bob"], None), BEGINNING, rules).unwrap();
    scene.user("bob", "phone").accept().unwrap();
    scene.user("bob", "phone").does(transfer("carol")).unwrap();
    assert_eq!(scene.user("carol", "phone").accept(), Ok(vec!["accepted", "transferred"]));
}

#[test]
fn a_call_is_held_and_resumed() {
    let mut scene = Scene::pair();
    assert!(matches!(scene.user("alice", "laptop").does(Command::Hold), Err(Rejection::WrongState(_))));
    let mut scene = Scene::talking();
    assert_eq!(scene.user("bob", "phone").does(Command::Hold), Ok(vec!["held"]));
    assert_eq!(scene.user("bob", "phone").does(Command::Hold), Ok(vec![]));
    assert!(scene.participant("bob").held && !scene.participant("alice").held);
    assert_eq!(scene.user("alice", "laptop").does(Command::Resume), Ok(vec![]));
    assert_eq!(scene.user("bob", "phone").does(Command::Resume), Ok(vec!["resumed"]));
    assert!(!scene.participant("bob").held);
}
