//! Random walks through the rules: several users with several devices, several calls, clocks that jump and go back.
//!
//! After every step [`super::scenarios::Scene`] checks the invariants, the numbering and that a rebuilt call is the same,
//! and [`world::World`] what concerns a command (its repetition, its refusal) and several calls together.

mod steps;
mod world;

use std::collections::BTreeSet;

use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};

use self::steps::{Members, Step, USERS, walks};
use self::world::World;
use super::scenarios::{device_id, start_of, user_id};
use crate::domain::{BusyPolicy, By, Command, ParticipantStatus, Start};

fn walk(policy: BusyPolicy, members: Members, steps: &[Step]) -> World {
    let mut world = World::new(policy, members);
    for step in steps {
        world.take(step);
    }
    world
}

proptest! {
    // A failure prints its few steps: what is worth keeping of it is a scene with a name, not a file of seeds.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_invariants_hold((policy, members, steps) in walks()) {
        walk(policy, members, &steps);
    }

    #[test]
    fn every_call_whose_people_are_all_lost_ends_by_its_deadlines((policy, members, steps) in walks()) {
        let mut world = walk(policy, members, &steps);
        for call in 0..world.calls.len() {
            for user in USERS {
                world.connection(call, &user_id(user), false);
            }
            let mut ticks = 0;
            while let Some(deadline) = world.calls[call].call.next_deadline() {
                world.now = world.now.max(deadline);
                world.perform(call, &By::System, &Command::Tick).unwrap();
                // Each tick settles somebody; the connecting are lost again once they count as connected.
                for user in USERS {
                    world.connection(call, &user_id(user), false);
                }
                ticks += 1;
                // And once a move to the media server is given up.
                prop_assert!(ticks <= 2 * USERS.len() + 1, "deadlines without end");
            }
            prop_assert!(world.calls[call].call.status.is_final(), "{:#?}", world.calls[call].call);
        }
    }
}

/// A property over walks that never get anywhere would prove nothing: together they reach every kind of event, every
/// end, every refusal of the rules, and both ways of glare.
#[test]
fn the_random_walks_reach_every_corner() {
    let mut runner = TestRunner::deterministic();
    let (mut kinds, mut ends, mut refusals) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut merged = (0, 0);
    for _ in 0..512 {
        let (policy, members, steps) = walks().new_tree(&mut runner).unwrap().current();
        let mut world = World::new(policy, members);
        for step in &steps {
            if let Step::Host { call, command } = step
                && let Some(call) = world.nth(*call)
                && let Some((user, device)) = world.host(call)
                && let Err(refusal) = world.act(call, &user, &device, command)
            {
                refusals.insert(format!("{refusal:?}").split('(').next().unwrap().to_owned());
            }
            if let Step::User { call, user, device, command } = step
                && let Some(call) = world.nth(*call)
                && let Err(refusal) = world.act(call, user, device, command)
            {
                refusals.insert(format!("{refusal:?}").split('(').next().unwrap().to_owned());
            }
            world.take(step);
        }
        merged = (merged.0 + world.merged.0, merged.1 + world.merged.1);
        for scene in &world.calls {
            kinds.extend(scene.history.iter().map(|recorded| recorded.event.kind()));
            ends.extend(scene.call.status.is_final().then(|| scene.call.status.as_str()));
        }
    }
    assert!(merged.0 > 0 && merged.1 > 0, "glare merged {merged:?}");
    let all_kinds = "accepted admitted busy cancelled connected created declined denied ended escalated \
                     escalating escalation_aborted hand_raised held invited joined kicked left lobby_waiting \
                     lock_changed media_changed missed moved mute_requested reconnected reconnecting recording_changed \
                     recording_started recording_stopped resumed ringing role_changed room_joined room_left \
                     room_opened transferred unreachable";
    assert_eq!(kinds.into_iter().collect::<Vec<_>>().join(" "), all_kinds);
    let all_ends = ["busy", "cancelled", "declined", "ended", "failed", "missed"];
    assert_eq!(ends.into_iter().collect::<Vec<_>>(), all_ends);
    let all_refusals = ["AcceptedElsewhere", "AlreadyEnded", "CallFull", "Forbidden", "NotFound", "NotParticipant"];
    for refusal in all_refusals.into_iter().chain(["WrongState", "CallLocked", "MediaUnavailable"]) {
        assert!(refusals.contains(refusal), "{refusal} never happened");
    }
}

#[test]
fn in_a_walk_both_starts_of_a_pair_become_one_call() {
    let start = |initiator, callee, device| {
        let (initiator, device) = (user_id(initiator), device_id(device));
        Step::Start(Start { initiator, device, ..start_of(&[callee], None) })
    };
    let steps = [start("alice", "bob", "phone"), start("bob", "alice", "tablet"), start("bob", "alice", "tablet")];
    let world = walk(BusyPolicy::Reject, BTreeSet::new(), &steps);
    assert_eq!(world.calls.len(), 1);
    assert_eq!(world.calls[0].stands("bob"), ParticipantStatus::Connecting);
}
