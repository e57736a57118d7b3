//! Ringing: every device alerts, one of them settles it, silence runs out.

use super::*;
use crate::domain::command::MAX_RINGING_DEVICES;

#[test]
fn the_caller_learns_of_each_device_that_alerts_once() {
    let mut scene = Scene::pair();
    assert_eq!(scene.user("bob", "phone").alerts(), Ok(vec!["ringing"]));
    assert_eq!(scene.user("bob", "tablet").alerts(), Ok(vec!["ringing"]));
    assert_eq!(scene.user("bob", "phone").alerts(), Ok(vec![]));
    assert_eq!(scene.stands("bob"), ParticipantStatus::Ringing);
    assert_eq!(scene.participant("bob").ringing_devices, [device_id("phone"), device_id("tablet")]);
}

#[test]
fn ever_new_devices_that_alert_do_not_grow_the_history_without_bound() {
    let mut scene = Scene::pair();
    for i in 0..MAX_RINGING_DEVICES {
        assert_eq!(scene.user("bob", &format!("d{i}")).alerts(), Ok(vec!["ringing"]));
    }
    assert_eq!(scene.user("bob", "one-more").alerts(), Ok(vec![]));
    assert_eq!(scene.user("bob", "one-more").accept(), Ok(vec!["accepted"]));
}

#[test]
fn the_first_device_that_accepts_wins_and_the_others_are_told_so() {
    let mut scene = Scene::pair();
    scene.user("bob", "phone").alerts().unwrap();
    scene.user("bob", "tablet").alerts().unwrap();
    assert_eq!(scene.user("bob", "tablet").accept(), Ok(vec!["accepted"]));
    assert_eq!(scene.user("bob", "phone").accept(), Err(Rejection::AcceptedElsewhere));
    assert_eq!(scene.user("bob", "phone").decline(), Err(Rejection::AcceptedElsewhere));
    assert_eq!(scene.user("bob", "phone").does(Command::Busy), Err(Rejection::AcceptedElsewhere));
    assert_eq!(scene.user("bob", "phone").alerts(), Err(Rejection::AcceptedElsewhere));
    assert_eq!(scene.participant("bob").device, Some(device_id("tablet")));
}

#[test]
fn accepting_again_by_the_device_that_won_is_ok_and_changes_nothing() {
    let mut scene = Scene::pair();
    scene.user("bob", "phone").accept().unwrap();
    assert_eq!(scene.user("bob", "phone").accept(), Ok(vec![]));
    scene.connected(&["bob"]);
    assert_eq!(scene.user("bob", "phone").accept(), Ok(vec![]));
}

#[test]
fn a_device_that_never_alerted_may_accept() {
    let mut scene = Scene::pair();
    scene.user("bob", "phone").alerts().unwrap();
    assert_eq!(scene.user("bob", "watch").accept(), Ok(vec!["accepted"]));
}

#[test]
fn joining_a_call_that_rings_you_is_accepting_it() {
    let mut scene = Scene::pair();
    assert_eq!(scene.user("bob", "phone").join(), Ok(vec!["accepted"]));
}

#[test]
fn a_decline_ends_a_call_of_two_and_says_why() {
    let mut scene = Scene::pair();
    let reason = Some("driving".to_owned());
    let outcome = scene.user("bob", "phone").does(Command::Decline { reason: reason.clone() });
    assert_eq!(outcome, Ok(vec!["declined", "ended"]));
    assert_eq!(scene.end(), Some((CallStatus::Declined, EndReason::Declined, Some("bob"))));
    assert!(matches!(&scene.history[1].event, Event::Declined { reason: said, .. } if *said == reason));
}

#[test]
fn declining_again_is_ok_from_every_device() {
    let mut scene = Scene::pair();
    scene.user("bob", "phone").decline().unwrap();
    assert_eq!(scene.user("bob", "phone").decline(), Ok(vec![]));
    assert_eq!(scene.user("bob", "tablet").decline(), Ok(vec![]));
}

#[test]
fn an_accept_after_a_decline_elsewhere_comes_too_late() {
    let mut scene = Scene::pair();
    scene.user("bob", "phone").decline().unwrap();
    assert_eq!(scene.user("bob", "tablet").accept(), Err(Rejection::AlreadyEnded));

    let mut scene = Scene::of(&start_of(&["bob", "carol"], None));
    scene.user("bob", "phone").decline().unwrap();
    assert!(matches!(scene.user("bob", "tablet").accept(), Err(Rejection::WrongState(_))));
}

#[test]
fn hanging_up_while_it_rings_is_declining() {
    let mut scene = Scene::pair();
    assert_eq!(scene.user("bob", "phone").leave(), Ok(vec!["declined", "ended"]));
    assert_eq!(scene.user("bob", "phone").leave(), Ok(vec![]));
    let mut scene = Scene::pair();
    assert_eq!(scene.user("bob", "phone").end(), Ok(vec!["declined", "ended"]));
    assert_eq!(scene.user("bob", "phone").end(), Ok(vec![]));
}

#[test]
fn a_ring_that_runs_out_is_a_missed_call() {
    let mut scene = Scene::pair();
    scene.user("bob", "phone").alerts().unwrap();
    assert!(scene.after_secs(44).is_empty());
    assert_eq!(scene.after_secs(1), ["missed", "ended"]);
    assert_eq!(scene.end(), Some((CallStatus::Missed, EndReason::NoAnswer, None)));
    assert_eq!(scene.stands("bob"), ParticipantStatus::Missed);
    assert_eq!(scene.user("bob", "phone").accept(), Err(Rejection::AlreadyEnded));
}

#[test]
fn a_missed_call_that_reached_no_device_says_so() {
    let mut scene = Scene::pair();
    assert_eq!(scene.server(Command::Unreachable { user: user_id("bob") }), ["unreachable"]);
    assert!(scene.server(Command::Unreachable { user: user_id("bob") }).is_empty());
    assert_eq!(scene.after_secs(45), ["missed", "ended"]);
    assert_eq!(scene.end(), Some((CallStatus::Missed, EndReason::Unreachable, None)));
}

#[test]
fn who_was_unreachable_goes_on_being_rung_and_may_yet_answer() {
    let mut scene = Scene::pair();
    scene.server(Command::Unreachable { user: user_id("bob") });
    assert_eq!(scene.user("bob", "phone").alerts(), Ok(vec!["ringing"]));
    assert!(!scene.participant("bob").unreachable);
    assert!(scene.server(Command::Unreachable { user: user_id("bob") }).is_empty(), "a device alerts");
    assert_eq!(scene.user("bob", "phone").accept(), Ok(vec!["accepted"]));
}

#[test]
fn one_tick_says_of_each_callee_that_they_missed_it() {
    let mut scene = Scene::of(&start_of(&["bob", "carol"], None));
    assert_eq!(scene.after_secs(50), ["missed", "missed", "ended"]);
}

#[test]
fn an_answer_that_comes_before_the_tick_still_counts() {
    let mut scene = Scene::pair();
    scene.now = scene.now + Duration::from_secs(46);
    assert_eq!(scene.user("bob", "phone").accept(), Ok(vec!["accepted"]));
    assert!(scene.server(Command::Tick).is_empty());
}

#[test]
fn a_clock_that_goes_back_neither_rings_out_nor_counts_below_nothing() {
    let mut scene = Scene::pair();
    scene.user("bob", "phone").accept().unwrap();
    scene.now = Timestamp::from_millis(BEGINNING.as_millis() - 3_000);
    assert!(scene.server(Command::Tick).is_empty());
    assert_eq!(scene.user("bob", "phone").leave(), Ok(vec!["left", "ended"]));
    assert_eq!(scene.call.duration(scene.now), Duration::ZERO);
    assert_eq!(scene.participant("bob").duration(scene.now), Duration::ZERO);
}

#[test]
fn the_caller_cannot_answer_their_own_call() {
    let mut scene = Scene::pair();
    assert!(matches!(scene.user("alice", "laptop").accept(), Err(Rejection::WrongState(_))));
    assert!(matches!(scene.user("alice", "phone").accept(), Err(Rejection::WrongState(_))));
    assert!(matches!(scene.user("alice", "laptop").decline(), Err(Rejection::WrongState(_))));
}

#[test]
fn a_call_is_nobody_elses_business() {
    let mut scene = Scene::pair();
    assert_eq!(scene.user("eve", "phone").accept(), Err(Rejection::NotFound));
    assert_eq!(scene.user("eve", "phone").end(), Err(Rejection::NotFound));
    // Membership of some group is no key to a call that is not of a group.
    let member = By::User { user: user_id("eve"), device: device_id("phone"), membership: Membership::Admin };
    assert_eq!(scene.perform(&member, &Command::Join), Err(Rejection::NotFound));
}

#[test]
fn what_only_the_server_knows_no_user_may_say() {
    let mut scene = Scene::pair();
    let (bob, phone) = (user_id("bob"), device_id("phone"));
    for command in [
        Command::Tick,
        Command::Connected { users: vec![bob.clone()] },
        Command::Unreachable { user: bob.clone() },
        Command::BusyElsewhere { user: bob.clone() },
        Command::ConnectionLost { user: bob.clone(), device: phone.clone() },
        Command::ConnectionBack { user: bob, device: phone },
    ] {
        assert_eq!(scene.user("alice", "laptop").does(command), Err(Rejection::Forbidden));
    }
    assert_eq!(scene.perform(&By::System, &Command::Join), Err(Rejection::Forbidden));
}
