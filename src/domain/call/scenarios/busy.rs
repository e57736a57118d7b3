//! A callee who is in another call: what each policy makes of it.

use super::*;
use crate::domain::{BusyPolicy, busy::is_busy};

/// What whoever rings bob does: asks the policy, given where he stands elsewhere, and tells the call.
fn ring_bob(scene: &mut Scene, policy: BusyPolicy, elsewhere: &Scene) -> Vec<&'static str> {
    if is_busy(policy, std::iter::once(elsewhere.stands("bob"))) {
        scene.server(Command::BusyElsewhere { user: user_id("bob") })
    } else {
        vec![]
    }
}

#[test]
fn under_reject_a_callee_in_another_call_is_busy_and_the_call_ends() {
    let mut scene = Scene::pair();
    assert_eq!(ring_bob(&mut scene, BusyPolicy::Reject, &Scene::talking()), ["busy", "ended"]);
    assert_eq!(scene.end(), Some((CallStatus::Busy, EndReason::Busy, None)));
    assert_eq!(scene.stands("bob"), ParticipantStatus::Busy);
}

#[test]
fn under_reject_a_callee_who_is_only_being_rung_elsewhere_is_rung_here_too() {
    let mut scene = Scene::pair();
    assert!(ring_bob(&mut scene, BusyPolicy::Reject, &Scene::pair()).is_empty());
    assert_eq!(scene.user("bob", "phone").accept(), Ok(vec!["accepted"]));
}

#[test]
fn under_reject_a_callee_who_reconnects_elsewhere_is_busy() {
    let mut elsewhere = Scene::talking();
    elsewhere.connection_lost("bob", "phone");
    let mut scene = Scene::pair();
    assert_eq!(ring_bob(&mut scene, BusyPolicy::Reject, &elsewhere), ["busy", "ended"]);
}

#[test]
fn under_call_waiting_a_callee_in_another_call_is_rung_and_may_answer() {
    let mut scene = Scene::pair();
    assert!(ring_bob(&mut scene, BusyPolicy::CallWaiting, &Scene::talking()).is_empty());
    assert_eq!(scene.call.status, CallStatus::Ringing);
    assert_eq!(scene.user("bob", "phone").accept(), Ok(vec!["accepted"]));
}

#[test]
fn under_call_waiting_the_callee_may_say_busy_themselves() {
    let mut scene = Scene::pair();
    assert_eq!(scene.user("bob", "phone").does(Command::Busy), Ok(vec!["busy", "ended"]));
    assert_eq!(scene.end(), Some((CallStatus::Busy, EndReason::Busy, Some("bob"))));
    assert_eq!(scene.user("bob", "phone").does(Command::Busy), Ok(vec![]));
}

#[test]
fn one_busy_callee_among_several_leaves_the_others_ringing() {
    let mut scene = Scene::of(&start_of(&["bob", "carol"], None));
    assert_eq!(scene.server(Command::BusyElsewhere { user: user_id("bob") }), ["busy"]);
    assert_eq!(scene.user("carol", "phone").accept(), Ok(vec!["accepted"]));
}

#[test]
fn that_a_callee_is_busy_comes_too_late_when_they_have_answered() {
    let mut scene = Scene::pair();
    scene.user("bob", "phone").accept().unwrap();
    assert!(scene.server(Command::BusyElsewhere { user: user_id("bob") }).is_empty());
    assert!(matches!(scene.user("bob", "phone").does(Command::Busy), Err(Rejection::WrongState(_))));
}

#[test]
fn a_decline_counts_for_more_than_busy_and_busy_for_more_than_silence() {
    let mut scene = Scene::of(&start_of(&["bob", "carol"], None));
    scene.server(Command::BusyElsewhere { user: user_id("bob") });
    assert_eq!(scene.after_secs(45), ["missed", "ended"]);
    assert_eq!(scene.end(), Some((CallStatus::Busy, EndReason::Busy, None)));

    let mut scene = Scene::of(&start_of(&["bob", "carol"], None));
    scene.server(Command::BusyElsewhere { user: user_id("bob") });
    assert_eq!(scene.user("carol", "phone").decline(), Ok(vec!["declined", "ended"]));
    assert_eq!(scene.end(), Some((CallStatus::Declined, EndReason::Declined, Some("carol"))));
}
