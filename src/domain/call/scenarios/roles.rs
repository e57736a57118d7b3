//! Who may do what to others: kick, mute, lock, lobby, roles, and the host's going.

use super::*;
use crate::domain::{Role, command::Track};

/// A group call with alice (host), bob and carol in it, their media running.
fn three_in_it() -> Scene {
    let mut scene = Scene::group(&[]);
    scene.user("bob", "phone").join().unwrap();
    scene.user("carol", "phone").join().unwrap();
    scene.connected(&["bob", "carol"]);
    scene
}

fn kick(user: &str) -> Command {
    Command::Kick { user: user_id(user) }
}

fn role(user: &str, role: Role) -> Command {
    Command::Role { user: user_id(user), role }
}

fn lock(locked: bool, lobby: Option<bool>) -> Command {
    Command::Lock { locked, lobby }
}

fn admit(user: &str) -> Command {
    Command::Admit { user: user_id(user) }
}

#[test]
fn a_participant_may_not_moderate_and_a_stranger_not_at_all() {
    let commands = [
        kick("carol"),
        role("bob", Role::Host),
        lock(true, None),
        admit("carol"),
        Command::Deny { user: user_id("carol") },
        Command::Mute { user: None, track: Track::Audio },
    ];
    for command in commands {
        let mut scene = three_in_it();
        assert_eq!(scene.user("bob", "phone").does(command.clone()), Err(Rejection::Forbidden), "{command:?}");
        assert_eq!(scene.user("dave", "phone").does(command.clone()), Err(Rejection::NotParticipant), "{command:?}");
        assert_eq!(scene.outsider("eve", "phone").does(command.clone()), Err(Rejection::NotFound), "{command:?}");
        scene.user("alice", "laptop").end().unwrap();
        assert_eq!(scene.user("alice", "laptop").does(command.clone()), Err(Rejection::AlreadyEnded), "{command:?}");
    }
}

#[test]
fn who_is_kicked_is_out_and_comes_back_only_when_somebody_in_charge_invites_them() {
    let mut scene = three_in_it();
    assert_eq!(scene.user("alice", "laptop").does(kick("bob")), Ok(vec!["kicked"]));
    assert_eq!(scene.user("alice", "laptop").does(kick("bob")), Ok(vec![]));
    assert_eq!(scene.stands("bob"), ParticipantStatus::Kicked);
    assert_eq!(scene.participant("bob").leave_reason, Some(EndReason::Kicked));
    assert_eq!(scene.user("bob", "phone").join(), Err(Rejection::Forbidden));
    assert_eq!(scene.user("bob", "tablet").accept(), Err(Rejection::Forbidden));
    assert_eq!(scene.user("carol", "phone").invite(&["bob"]), Err(Rejection::Forbidden));
    assert_eq!(scene.user("alice", "laptop").invite(&["bob"]), Ok(vec!["invited"]));
    assert_eq!(scene.user("bob", "phone").accept(), Ok(vec!["accepted"]));
}

#[test]
fn who_is_rung_or_has_left_can_be_kicked_too() {
    let mut scene = three_in_it();
    scene.user("bob", "phone").leave().unwrap();
    scene.user("alice", "laptop").invite(&["dave"]).unwrap();
    assert_eq!(scene.user("alice", "laptop").does(kick("dave")), Ok(vec!["kicked"]));
    assert_eq!(scene.user("dave", "phone").accept(), Err(Rejection::Forbidden));
    assert_eq!(scene.user("alice", "laptop").does(kick("bob")), Ok(vec!["kicked"]));
    assert_eq!(scene.user("bob", "phone").join(), Err(Rejection::Forbidden));
    assert_eq!(scene.user("alice", "laptop").does(kick("nobody")), Err(Rejection::NotParticipant));
    assert!(matches!(scene.user("alice", "laptop").does(kick("alice")), Err(Rejection::Invalid(_))));
}

#[test]
fn kicking_the_other_side_of_a_pair_ends_the_call() {
    let mut scene = Scene::talking();
    assert_eq!(scene.user("alice", "laptop").does(kick("bob")), Ok(vec!["kicked", "ended"]));
    assert_eq!(scene.end(), Some((CallStatus::Ended, EndReason::Kicked, Some("alice"))));
}

#[test]
fn kicking_all_who_are_rung_takes_the_call_back() {
    let mut scene = Scene::pair();
    assert_eq!(scene.user("alice", "laptop").does(kick("bob")), Ok(vec!["kicked", "ended"]));
    assert_eq!(scene.end(), Some((CallStatus::Cancelled, EndReason::Cancelled, Some("alice"))));
    assert_eq!(scene.user("alice", "laptop").does(kick("bob")), Ok(vec![]), "again");
}

#[test]
fn a_cohost_moderates_but_neither_host_nor_cohosts() {
    let mut scene = three_in_it();
    assert_eq!(scene.user("alice", "laptop").does(role("bob", Role::Cohost)), Ok(vec!["role_changed"]));
    assert_eq!(scene.user("alice", "laptop").does(role("bob", Role::Cohost)), Ok(vec![]));
    assert_eq!(scene.user("bob", "phone").does(kick("alice")), Err(Rejection::Forbidden));
    assert_eq!(scene.user("bob", "phone").does(role("carol", Role::Cohost)), Err(Rejection::Forbidden));
    assert_eq!(scene.user("bob", "phone").does(kick("carol")), Ok(vec!["kicked"]));
    assert_eq!(scene.user("alice", "laptop").does(kick("bob")), Ok(vec!["kicked"]));
    assert_eq!(scene.participant("bob").role, Role::Participant, "the role does not come back with them");
}

#[test]
fn the_host_names_another_and_stays_in_charge_as_cohost() {
    let mut scene = three_in_it();
    let itself = scene.user("alice", "laptop").does(role("alice", Role::Participant));
    assert!(matches!(itself, Err(Rejection::WrongState(_))));
    assert_eq!(scene.user("alice", "laptop").does(role("bob", Role::Host)), Ok(vec!["role_changed"]));
    assert_eq!((scene.participant("alice").role, scene.participant("bob").role), (Role::Cohost, Role::Host));
}

#[test]
fn when_the_host_goes_a_cohost_follows_and_without_one_who_came_first() {
    let mut scene = three_in_it();
    assert_eq!(scene.user("alice", "laptop").leave(), Ok(vec!["left", "role_changed"]));
    assert_eq!(scene.participant("bob").role, Role::Host);
    assert_eq!(scene.user("alice", "laptop").join(), Ok(vec!["joined"]));
    assert_eq!(scene.participant("alice").role, Role::Cohost);
    scene.connection_lost("bob", "phone");
    assert_eq!(scene.after_secs(15), ["left", "role_changed"]);
    assert_eq!(scene.participant("alice").role, Role::Host, "a cohost before others");
}

#[test]
fn a_mute_asks_only_those_who_send() {
    let mut scene = three_in_it();
    let mute = |user: Option<&str>| Command::Mute { user: user.map(user_id), track: Track::Audio };
    assert_eq!(scene.user("alice", "laptop").does(mute(None)), Ok(vec![]));
    for user in ["alice", "bob"] {
        let device = if user == "alice" { "laptop" } else { "phone" };
        let speak = Command::Media { audio: Some(true), video: None, screen: None };
        scene.user(user, device).does(speak).unwrap();
    }
    assert_eq!(scene.user("alice", "laptop").does(mute(None)), Ok(vec!["mute_requested"]));
    let Event::MuteRequested { users, .. } = scene.last_event() else { panic!("{:?}", scene.last_event()) };
    assert_eq!(*users, [user_id("bob")]);
    assert_eq!(scene.user("alice", "laptop").does(mute(Some("carol"))), Ok(vec![]));
    assert_eq!(scene.user("alice", "laptop").does(mute(Some("bob"))), Ok(vec!["mute_requested"]));
    assert_eq!(scene.user("alice", "laptop").does(mute(Some("nobody"))), Err(Rejection::NotParticipant));
}

#[test]
fn a_locked_call_refuses_who_is_not_invited_and_lets_in_who_is() {
    let mut scene = three_in_it();
    assert_eq!(scene.user("alice", "laptop").does(lock(true, None)), Ok(vec!["lock_changed"]));
    assert_eq!(scene.user("alice", "laptop").does(lock(true, None)), Ok(vec![]));
    assert_eq!(scene.user("dave", "phone").join(), Err(Rejection::CallLocked));
    assert_eq!(scene.user("bob", "phone").invite(&["dave"]), Err(Rejection::CallLocked));
    scene.user("alice", "laptop").invite(&["dave"]).unwrap();
    assert_eq!(scene.user("dave", "phone").join(), Ok(vec!["accepted"]));
    assert_eq!(scene.user("alice", "laptop").does(lock(false, None)), Ok(vec!["lock_changed"]));
    assert_eq!(scene.user("erin", "phone").join(), Ok(vec!["joined"]));
}

#[test]
fn who_comes_to_a_lobby_waits_until_admitted_or_denied() {
    let mut scene = three_in_it();
    scene.user("alice", "laptop").does(lock(false, Some(true))).unwrap();
    assert_eq!(scene.user("dave", "phone").join(), Ok(vec!["lobby_waiting"]));
    assert_eq!(scene.user("dave", "phone").join(), Ok(vec![]));
    assert_eq!(scene.stands("dave"), ParticipantStatus::Lobby);
    assert_eq!(scene.user("dave", "phone").invite(&["frank"]), Err(Rejection::NotParticipant));
    assert_eq!(scene.user("alice", "laptop").does(admit("dave")), Ok(vec!["admitted", "joined"]));
    assert_eq!(scene.user("alice", "laptop").does(admit("dave")), Ok(vec![]));
    assert_eq!(scene.participant("dave").device, Some(device_id("phone")));
    scene.user("erin", "phone").join().unwrap();
    let deny = Command::Deny { user: user_id("erin") };
    assert_eq!(scene.user("alice", "laptop").does(deny.clone()), Ok(vec!["denied"]));
    assert_eq!(scene.user("alice", "laptop").does(deny), Ok(vec![]));
    assert_eq!(
        (scene.stands("erin"), scene.participant("erin").leave_reason),
        (ParticipantStatus::Left, Some(EndReason::Declined))
    );
    assert_eq!(scene.user("erin", "phone").join(), Ok(vec!["lobby_waiting"]), "they may knock again");
    assert_eq!(scene.user("alice", "laptop").does(admit("nobody")), Err(Rejection::NotParticipant));
}

#[test]
fn who_waits_may_go_or_lose_the_connection_and_the_end_sends_them_away() {
    let mut scene = three_in_it();
    scene.user("alice", "laptop").does(lock(false, Some(true))).unwrap();
    scene.user("dave", "phone").join().unwrap();
    assert_eq!(scene.user("dave", "phone").leave(), Ok(vec!["left"]));
    scene.user("dave", "phone").join().unwrap();
    assert_eq!(scene.connection_lost("dave", "tablet"), Vec::<&str>::new());
    assert_eq!(scene.connection_lost("dave", "phone"), ["left"]);
    scene.user("erin", "phone").join().unwrap();
    scene.user("alice", "laptop").end().unwrap();
    assert_eq!(scene.stands("erin"), ParticipantStatus::Left);
}

#[test]
fn taking_the_lobby_away_lets_in_who_waits_as_far_as_there_is_room() {
    let rules = Rules { max_participants: 4, ..Rules::default() };
    let mut scene = Scene::open(&start_of(&[], Some("team")), BEGINNING, rules).unwrap();
    scene.user("bob", "phone").join().unwrap();
    scene.user("carol", "phone").join().unwrap();
    scene.user("alice", "laptop").does(lock(true, Some(true))).unwrap();
    scene.user("dave", "phone").join().unwrap();
    scene.user("erin", "phone").join().unwrap();
    let opened = scene.user("alice", "laptop").does(lock(false, Some(false)));
    assert_eq!(opened, Ok(vec!["lock_changed", "admitted", "joined", "denied"]));
    assert_eq!((scene.stands("dave"), scene.stands("erin")), (ParticipantStatus::Connecting, ParticipantStatus::Left));
}

#[test]
fn a_hand_is_raised_lowered_and_forgotten_on_leaving() {
    let mut scene = three_in_it();
    let raise = |raised| Command::RaiseHand { raised };
    assert_eq!(scene.user("bob", "phone").does(raise(true)), Ok(vec!["hand_raised"]));
    assert_eq!(scene.user("bob", "phone").does(raise(true)), Ok(vec![]));
    scene.user("bob", "phone").leave().unwrap();
    assert!(!scene.participant("bob").hand_raised);
    assert_eq!(scene.user("bob", "phone").does(raise(false)), Err(Rejection::NotParticipant));
}
