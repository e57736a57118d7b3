//! What a sweeper may do to a call: only what its timer has missed.

use super::*;
use crate::domain::{Prey, command::MAX_RING_TIMEOUT};

fn sweep(scene: &mut Scene, prey: &Prey) -> Vec<&'static str> {
    scene.server(Command::Sweep(prey.clone()))
}

fn left_behind(user: &str, device: &str) -> Prey {
    Prey::LeftBehind { user: user_id(user), device: device_id(device) }
}

fn later(scene: &mut Scene, secs: u64) {
    scene.now = scene.now + Duration::from_secs(secs);
}

#[test]
fn a_ring_that_its_timer_forgot_is_missed_as_by_the_timer() {
    let mut scene = Scene::pair();
    later(&mut scene, 46);
    assert!(sweep(&mut scene, &Prey::StaleRinging).is_empty(), "within the margin the timer may still come");
    later(&mut scene, 1);
    assert!(sweep(&mut scene, &Prey::StaleConnecting).is_empty(), "it is no such prey");
    assert_eq!(sweep(&mut scene, &Prey::StaleRinging), ["missed", "ended"]);
    assert_eq!(scene.end(), Some((CallStatus::Missed, EndReason::NoAnswer, None)));
    assert!(sweep(&mut scene, &Prey::StaleRinging).is_empty(), "twice is once");
}

#[test]
fn who_is_rung_in_vain_in_a_call_that_goes_on_is_missed_and_the_call_goes_on() {
    let mut scene = Scene::talking();
    scene.user("alice", "laptop").invite(&["carol"]).unwrap();
    later(&mut scene, 60);
    assert_eq!(sweep(&mut scene, &Prey::StaleRinging), ["missed"]);
    assert_eq!(scene.stands("carol"), ParticipantStatus::Missed);
    assert_eq!(scene.call.status, CallStatus::Active);
}

#[test]
fn a_wait_for_media_that_its_timer_forgot_ends_as_by_the_timer() {
    let mut scene = Scene::pair();
    scene.user("bob", "phone").accept().unwrap();
    later(&mut scene, 31);
    assert!(sweep(&mut scene, &Prey::StaleConnecting).is_empty());
    later(&mut scene, 1);
    assert_eq!(sweep(&mut scene, &Prey::StaleConnecting), ["connected"]);
    assert_eq!(scene.call.status, CallStatus::Active);
}

#[test]
fn a_call_ends_by_itself_when_it_has_lasted_for_the_maximum_duration() {
    let mut scene = Scene::talking();
    assert_eq!(scene.call.next_tick(&scene.rules), Some(BEGINNING + Duration::from_secs(24 * 3600)));
    assert!(scene.after_secs(24 * 3600 - 1).is_empty());
    assert_eq!(scene.after_secs(1), ["ended"]);
    assert_eq!(scene.end(), Some((CallStatus::Ended, EndReason::MaxDuration, None)));
    assert_eq!(scene.call.next_tick(&scene.rules), None);
}

#[test]
fn the_maximum_duration_counts_anew_from_the_second_persons_coming_in() {
    let mut scene = Scene::group(&[]);
    later(&mut scene, 3600);
    scene.user("bob", "phone").join().unwrap();
    scene.connected(&["bob"]);
    assert!(scene.after_secs(24 * 3600 - 1).is_empty());
    assert_eq!(scene.after_secs(1), ["ended"]);
    let mut alone = Scene::group(&[]);
    assert_eq!(alone.after_secs(24 * 3600), ["ended"], "also a call that nobody came to");
}

#[test]
fn a_call_past_the_maximum_duration_is_swept_and_one_that_may_last_for_ever_is_not() {
    let mut scene = Scene::talking();
    later(&mut scene, 24 * 3600 + 1);
    assert!(sweep(&mut scene, &Prey::PastMaxDuration).is_empty(), "within the margin");
    later(&mut scene, 1);
    let mut endless = Scene::talking();
    endless.rules.max_duration = None;
    endless.now = scene.now;
    assert_eq!(sweep(&mut scene, &Prey::PastMaxDuration), ["ended"]);
    assert_eq!(scene.end(), Some((CallStatus::Ended, EndReason::MaxDuration, None)));
    assert!(sweep(&mut endless, &Prey::PastMaxDuration).is_empty());
    assert!(endless.after_secs(1).is_empty());
}

#[test]
fn who_is_left_behind_has_the_usual_grace_and_then_has_left() {
    let mut scene = Scene::talking();
    assert!(sweep(&mut scene, &left_behind("bob", "tablet")).is_empty(), "it is another device that is in the call");
    assert_eq!(sweep(&mut scene, &left_behind("bob", "phone")), ["reconnecting"]);
    later(&mut scene, 16);
    assert!(sweep(&mut scene, &left_behind("bob", "phone")).is_empty(), "within the margin");
    later(&mut scene, 1);
    assert_eq!(sweep(&mut scene, &left_behind("bob", "phone")), ["left", "ended"]);
    assert_eq!(scene.end(), Some((CallStatus::Ended, EndReason::ConnectionLost, None)));
}

#[test]
fn what_has_no_deadline_at_all_is_ended_as_swept() {
    let mut scene = Scene::pair();
    for p in &mut scene.call.participants {
        p.deadline = None;
    }
    let decided =
        |scene: &Scene, prey| decide(&scene.call, scene.now, &scene.rules, &By::System, &Command::Sweep(prey));
    later(&mut scene, MAX_RING_TIMEOUT.as_secs());
    assert_eq!(decided(&scene, Prey::StaleRinging), Ok(vec![]), "no ring may last longer, and the margin");
    later(&mut scene, 2);
    let ended = Event::Ended { status: CallStatus::Failed, reason: EndReason::Swept, by: None };
    assert_eq!(decided(&scene, Prey::StaleRinging), Ok(vec![ended]));
    let mut scene = Scene::pair();
    scene.user("bob", "phone").accept().unwrap();
    scene.call.participants[1].deadline = None;
    later(&mut scene, 40);
    let left = Event::Left { user: user_id("bob"), reason: EndReason::Swept };
    assert_eq!(decided(&scene, Prey::StaleConnecting).unwrap()[0], left);
}

#[test]
fn a_sweep_is_nothing_that_a_user_may_ask_for_nor_that_a_call_that_is_over_feels() {
    let mut scene = Scene::pair();
    later(&mut scene, 100);
    assert_eq!(scene.user("bob", "phone").does(Command::Sweep(Prey::StaleRinging)), Err(Rejection::Forbidden));
    scene.user("alice", "laptop").cancel().unwrap();
    assert!(sweep(&mut scene, &Prey::StaleRinging).is_empty());
}
