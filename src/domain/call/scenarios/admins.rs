//! Admins of the group: what they may do in its calls whatever their role there, and from outside.

use super::*;
use crate::domain::{Role, call::admin_may, command::Track};

/// A group call with alice (host), bob (cohost) and carol in it; dave and erin are not.
fn running() -> Scene {
    let mut scene = Scene::group(&[]);
    scene.user("bob", "phone").join().unwrap();
    scene.user("carol", "phone").join().unwrap();
    scene.connected(&["bob", "carol"]);
    let cohost = Command::Role { user: user_id("bob"), role: Role::Cohost };
    scene.user("alice", "laptop").does(cohost).unwrap();
    scene
}

fn kick(user: &str) -> Command {
    Command::Kick { user: user_id(user) }
}

fn lock(lobby: bool) -> Command {
    Command::Lock { locked: true, lobby: Some(lobby) }
}

#[test]
fn an_admin_in_the_call_moderates_it_as_its_host_does() {
    let audio = Command::Media { audio: Some(true), video: None, screen: None };
    let mut scene = running();
    scene.user("bob", "phone").does(audio).unwrap();
    let mute = Command::Mute { user: None, track: Track::Audio };
    assert_eq!(scene.admin("carol", "phone").does(mute), Ok(vec!["mute_requested"]));
    assert_eq!(scene.admin("carol", "phone").does(lock(true)), Ok(vec!["lock_changed"]));
    scene.user("dave", "phone").join().unwrap();
    scene.user("erin", "phone").join().unwrap();
    let (admit, deny) = (Command::Admit { user: user_id("dave") }, Command::Deny { user: user_id("erin") });
    assert_eq!(scene.admin("carol", "phone").does(admit), Ok(vec!["admitted", "joined"]));
    assert_eq!(scene.admin("carol", "phone").does(deny), Ok(vec!["denied"]));
    assert_eq!(scene.admin("carol", "phone").does(kick("bob")), Ok(vec!["kicked"]), "a cohost");
    assert_eq!(scene.admin("carol", "phone").invite(&["bob"]), Ok(vec!["invited"]), "locked, and bob was kicked");
    assert_eq!(scene.admin("carol", "phone").does(kick("alice")), Ok(vec!["kicked", "role_changed"]), "the host");
    let host = Command::Role { user: user_id("carol"), role: Role::Host };
    let mut scene = running();
    assert_eq!(scene.admin("carol", "phone").does(host), Err(Rejection::Forbidden), "roles are the host's to give");
    assert_eq!(scene.admin("carol", "phone").end(), Ok(vec!["ended"]));
}

#[test]
fn no_door_is_closed_to_an_admin_but_after_a_kick() {
    for lobby in [false, true] {
        let mut scene = running();
        scene.user("alice", "laptop").does(lock(lobby)).unwrap();
        assert_eq!(scene.admin("dave", "phone").join(), Ok(vec!["joined"]), "lobby {lobby}");
        scene.user("alice", "laptop").does(kick("dave")).unwrap();
        assert_eq!(scene.admin("dave", "phone").join(), Err(Rejection::Forbidden), "lobby {lobby}");
    }
}

#[test]
fn from_outside_an_admin_may_end_the_call_and_nothing_else() {
    let mute = Command::Mute { user: None, track: Track::Audio };
    for command in [kick("carol"), mute, lock(true), Command::Admit { user: user_id("carol") }] {
        let mut scene = running();
        assert_eq!(scene.admin("dave", "phone").does(command.clone()), Err(Rejection::NotParticipant), "{command:?}");
        assert!(!admin_may(&scene.call, &user_id("dave"), &command), "{command:?}");
    }
    let mut scene = running();
    assert_eq!(scene.admin("dave", "phone").end(), Ok(vec!["ended"]));
    assert_eq!(scene.end(), Some((CallStatus::Ended, EndReason::Completed, Some("dave"))));
    let mut waiting = Scene::group(&[]);
    assert_eq!(waiting.admin("dave", "phone").end(), Ok(vec!["ended"]));
    assert_eq!(waiting.end(), Some((CallStatus::Cancelled, EndReason::Cancelled, Some("dave"))));
}

#[test]
fn admins_of_groups_have_no_rights_in_calls_of_two() {
    let mut scene = Scene::pair();
    assert_eq!(scene.admin("dave", "phone").end(), Err(Rejection::NotFound));
    scene.user("bob", "phone").accept().unwrap();
    assert_eq!(scene.admin("bob", "phone").does(kick("alice")), Err(Rejection::Forbidden));
    assert!(!admin_may(&scene.call, &user_id("bob"), &kick("alice")));
}

/// Else commands of those in charge would wait for the database.
#[test]
fn it_is_not_asked_who_is_an_admin_where_the_call_itself_allows_it() {
    let scene = running();
    let mute = Command::Mute { user: None, track: Track::Audio };
    for command in [kick("carol"), mute, lock(true), Command::End { reason: None }] {
        for (user, asked) in [("alice", false), ("bob", false), ("carol", true)] {
            assert_eq!(admin_may(&scene.call, &user_id(user), &command), asked, "{user}: {command:?}");
        }
    }
    assert!(admin_may(&scene.call, &user_id("bob"), &kick("alice")), "a cohost may not, an admin may");
    let invite = Command::Invite { users: vec![user_id("dave")], guests: vec![] };
    assert!(!admin_may(&scene.call, &user_id("carol"), &invite), "the call is not locked");
    let own = Command::Media { audio: Some(true), video: None, screen: None };
    assert!(!admin_may(&scene.call, &user_id("carol"), &own));
}
