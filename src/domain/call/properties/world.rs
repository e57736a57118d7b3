//! A small model of what surrounds the calls: the slots as the store enforces them, the members of the groups, the busy
//! policy, and one clock. What it must not do is to decide: it asks the rules, and checks what they say.

use std::collections::BTreeMap;
use std::mem::discriminant;

use super::super::{
    decide,
    glare::{Clash, Slot, clash},
    scenarios::{BEGINNING, Scene, device_id},
};
use super::steps::{GROUPS, Members, Step};
use crate::domain::{
    BusyPolicy, By, CallId, Command, DeviceId, Event, GroupId, Membership, ParticipantStatus, Rejection, Role, Rules,
    Start, Timestamp, UserId, busy::is_busy,
};

/// Few, so that calls fill up.
const MAX_PARTICIPANTS: u32 = 3;

/// An admin of every group they belong to.
const ADMIN: &str = "carol";

#[derive(Debug)]
pub(super) struct World {
    pub(super) now: Timestamp,
    policy: BusyPolicy,
    members: Members,
    pub(super) calls: Vec<Scene>,
    /// Which call holds a slot: the unique index of the store.
    slots: BTreeMap<Slot, usize>,
    /// How many starts were merged into the call of a pair, and into that of a group.
    pub(super) merged: (u32, u32),
}

impl World {
    pub(super) fn new(policy: BusyPolicy, members: Members) -> Self {
        Self { now: BEGINNING, policy, members, calls: Vec::new(), slots: BTreeMap::new(), merged: (0, 0) }
    }

    pub(super) fn take(&mut self, step: &Step) {
        match step {
            Step::Start(start) => self.start(start),
            Step::User { call, user, device, command } => {
                if let Some(call) = self.nth(*call) {
                    self.act(call, user, device, command).ok();
                }
            }
            Step::Host { call, command } => {
                if let Some((call, (user, device))) = self.nth(*call).and_then(|call| Some((call, self.host(call)?))) {
                    let command = self.about_who_waits(call, command);
                    self.act(call, &user, &device, &command).ok();
                }
            }
            Step::Someone { call, nth, command } => {
                let Some(call) = self.nth(*call) else { return };
                let command = self.about_who_waits(call, command);
                let people = &self.calls[call].call.participants;
                let actor = &people[nth % people.len()];
                let (user, device) = (actor.user.clone(), actor.device.clone());
                self.act(call, &user, &device.unwrap_or_else(|| device_id("phone")), &command).ok();
            }
            Step::Server { call, command } => {
                if let Some(call) = self.nth(*call) {
                    self.perform(call, &By::System, command).expect("the server is never refused");
                }
            }
            Step::Connection { call, user, back } => self.connection(*call, user, *back),
            Step::Room { call, nth, joined } => self.room(*call, *nth, *joined),
            Step::Clock { millis } => self.now = Timestamp::from_millis(self.now.as_millis() + millis),
            Step::Deadline { call, late_millis } => {
                if let Some(call) = self.nth(*call)
                    && let Some(deadline) = self.calls[call].call.next_deadline()
                {
                    self.now = Timestamp::from_millis(deadline.as_millis() + late_millis);
                    self.perform(call, &By::System, &Command::Tick).expect("a tick is never refused");
                }
            }
            Step::Membership { user, group, member } => {
                let entry = (group.clone(), user.clone());
                if *member {
                    self.members.insert(entry)
                } else {
                    self.members.remove(&entry)
                };
            }
        }
        self.check();
    }

    pub(super) fn nth(&self, n: usize) -> Option<usize> {
        n.checked_rem(self.calls.len())
    }

    /// What the owner of a new call and the store do with a start.
    fn start(&mut self, start: &Start) {
        let is_member = |group: &GroupId| self.members.contains(&(group.clone(), start.initiator.clone()));
        if start.group.as_ref().is_some_and(|group| !is_member(group)) {
            return;
        }
        let mut slot = Slot::of(start);
        if let Some(holder) = slot.as_ref().and_then(|slot| self.slots.get(slot)).copied() {
            match clash(&self.calls[holder].call, &start.initiator, &start.device) {
                Clash::Merge(command) => return self.merge(holder, start, &command),
                Clash::AlreadyIn => return self.assert_in(holder, start),
                Clash::Separate => slot = None,
            }
        }
        let rules =
            Rules { max_participants: MAX_PARTICIPANTS, media_server: true, recordings: true, ..Rules::default() };
        let call = CallId::new(format!("call-{}", self.calls.len())).unwrap();
        let Ok(scene) = Scene::open(&Start { call, ..start.clone() }, self.now, rules) else { return };
        self.calls.push(scene);
        let call = self.calls.len() - 1;
        if let Some(slot) = slot {
            self.slots.insert(slot, call);
        }
        for callee in &start.callees {
            let others = self.calls[..call].iter().filter(|other| !other.call.status.is_final());
            if is_busy(self.policy, others.filter_map(|other| other.call.participant(callee)).map(|p| p.status)) {
                self.perform(call, &By::System, &Command::BusyElsewhere { user: callee.clone() }).unwrap();
            }
        }
    }

    /// Glare: one call comes of two starts, or the second start is refused; never two.
    fn merge(&mut self, holder: usize, start: &Start, command: &Command) {
        match self.act(holder, &start.initiator, &start.device, command) {
            Ok(()) => {
                let merged = if start.group.is_some() { &mut self.merged.1 } else { &mut self.merged.0 };
                *merged += 1;
                self.assert_in(holder, start);
            }
            Err(refusal) => {
                let kept_out = [Rejection::CallFull, Rejection::CallLocked, Rejection::Forbidden];
                assert!(kept_out.contains(&refusal), "{refusal:?}");
            }
        }
    }

    fn assert_in(&self, holder: usize, start: &Start) {
        let p = self.calls[holder].call.participant(&start.initiator).expect("who starts is in the call");
        assert!(p.status.is_present() && p.device.as_ref() == Some(&start.device));
    }

    pub(super) fn connection(&mut self, call: usize, user: &UserId, back: bool) {
        let Some(call) = self.nth(call) else { return };
        let Some(device) = self.calls[call].call.participant(user).and_then(|p| p.device.clone()) else { return };
        let user = user.clone();
        let command =
            if back { Command::ConnectionBack { user, device } } else { Command::ConnectionLost { user, device } };
        self.perform(call, &By::System, &command).expect("what became of a connection is never refused");
    }

    fn room(&mut self, call: usize, nth: usize, joined: bool) {
        let Some(call) = self.nth(call) else { return };
        let people = &self.calls[call].call.participants;
        let p = &people[nth % people.len()];
        let Some((user, device)) = p.device.clone().map(|device| (p.user.clone(), device)) else { return };
        let command = if joined { Command::RoomJoined { user, device } } else { Command::RoomLeft { user, device } };
        self.perform(call, &By::System, &command).expect("what the media server has seen is never refused");
    }

    /// The same command, about somebody who waits in the lobby if anybody does.
    fn about_who_waits(&self, call: usize, command: &Command) -> Command {
        let waiting = self.calls[call].call.participants.iter().find(|p| p.status == ParticipantStatus::Lobby);
        match (command, waiting.map(|p| p.user.clone())) {
            (Command::Admit { .. }, Some(user)) => Command::Admit { user },
            (Command::Deny { .. }, Some(user)) => Command::Deny { user },
            (other, _) => other.clone(),
        }
    }

    /// Who is host of a call, and their device in it.
    pub(super) fn host(&self, call: usize) -> Option<(UserId, DeviceId)> {
        let host = self.calls[call].call.engaged().find(|p| p.role == Role::Host)?;
        Some((host.user.clone(), host.device.clone()?))
    }

    pub(super) fn act(
        &mut self,
        call: usize,
        user: &UserId,
        device: &DeviceId,
        command: &Command,
    ) -> Result<(), Rejection> {
        let group = self.calls[call].call.group.clone();
        let member = group.is_some_and(|group| self.members.contains(&(group, user.clone())));
        let membership = match (member, user.as_str()) {
            (false, _) => Membership::Outside,
            (true, ADMIN) => Membership::Admin,
            (true, _) => Membership::Member,
        };
        let by = By::User { user: user.clone(), device: device.clone(), membership };
        self.perform(call, &by, command)
    }

    pub(super) fn perform(&mut self, call: usize, by: &By, command: &Command) -> Result<(), Rejection> {
        let scene = &mut self.calls[call];
        let (before, seq) = (scene.call.clone(), scene.call.seq);
        scene.now = self.now;
        let outcome = scene.perform(by, command);
        match &outcome {
            Ok(events) => {
                assert!(!before.status.is_final() || events.is_empty(), "{} after the end", command.name());
                assert_eq!(scene.call.seq, seq + events.len() as u64);
            }
            Err(_) => assert_eq!(scene.call, before, "a refusal changed something"),
        }
        if events_of(&outcome).is_empty() {
            assert_eq!(scene.call, before, "something changed without an event");
        }
        let again = decide(&scene.call, scene.now, &scene.rules, by, command);
        match (&outcome, &again) {
            // A request to others, and one more.
            (Ok(_), Ok(_)) if matches!(command, Command::Mute { .. }) => {}
            (Ok(_), Ok(events)) => assert!(events.is_empty(), "{} again does {events:?}", command.name()),
            (Err(first), Err(second)) => assert_eq!(discriminant(first), discriminant(second)),
            (first, second) => panic!("{} is {first:?}, and then {second:?}", command.name()),
        }
        if matches!(command, Command::Tick) && *by == By::System {
            assert!(scene.call.next_deadline().is_none_or(|deadline| deadline > scene.now), "a deadline was left");
        }
        for event in events_of(&outcome) {
            assert_round_trip(event);
        }
        if scene.call.status.is_final() {
            self.slots.retain(|_, holder| *holder != call);
        }
        outcome.map(drop)
    }

    fn check(&self) {
        for group in GROUPS {
            let open = self.calls.iter().filter(|scene| !scene.call.status.is_final());
            let open = open.filter(|scene| scene.call.group.as_ref().is_some_and(|g| g.as_str() == group));
            assert!(open.count() <= 1, "two open calls in {group}");
        }
        for (slot, holder) in &self.slots {
            assert!(!self.calls[*holder].call.status.is_final(), "{slot:?} is held by a call that has ended");
        }
    }
}

fn events_of(outcome: &Result<Vec<Event>, Rejection>) -> &[Event] {
    outcome.as_deref().unwrap_or_default()
}

fn assert_round_trip(event: &Event) {
    let json = serde_json::to_string(event).unwrap();
    assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), *event, "{json}");
    let name = json.trim_start_matches("{\"").split('"').next();
    assert_eq!(name, Some(event.kind()), "the name in the database is the one in the JSON");
}
