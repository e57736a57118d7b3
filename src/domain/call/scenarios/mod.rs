//! The rules of calls, told one scene at a time. Owns [`Scene`], on which the property tests build too: it plays the part
//! of a call's owner, and after every step checks all that must hold of any call, so that no test can forget to.

mod admins;
mod busy;
mod connecting;
mod ending;
mod escalating;
mod glare;
mod groups;
mod numbering;
mod reconnecting;
mod recording;
mod removing;
mod ringing;
mod roles;
mod starting;
mod sweeping;
mod transfer;

use std::{collections::BTreeMap, time::Duration};

use super::{Audience, Call, check, decide, evolve, start};
use crate::domain::{
    By, CallMode, CallStatus, CallType, Command, DeviceId, EndReason, Event, GroupId, Membership, Opaque, Participant,
    ParticipantStatus, Recorded, Rejection, Rules, Start, Timestamp, UserId,
};

/// The kinds of the events that a command led to, or why it was refused.
pub(super) type Outcome = Result<Vec<&'static str>, Rejection>;

/// When every scene begins.
pub(super) const BEGINNING: Timestamp = Timestamp::from_millis(1_700_000_000_000);

pub(super) fn user_id(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

pub(super) fn device_id(name: &str) -> DeviceId {
    DeviceId::new(name).unwrap()
}

pub(super) fn opaque(json: &str) -> Opaque {
    serde_json::from_str(json).unwrap()
}

/// alice, at her laptop, calls these.
pub(super) fn start_of(callees: &[&str], group: Option<&str>) -> Start {
    Start {
        call: crate::domain::CallId::new("call-1").unwrap(),
        call_type: CallType::Audio,
        mode: CallMode::P2p,
        escalates: false,
        initiator: user_id("alice"),
        initiator_name: None,
        device: device_id("laptop"),
        group: group.map(|name| GroupId::new(name).unwrap()),
        callees: callees.iter().map(|name| user_id(name)).collect(),
        ring_timeout: None,
        offer: None,
        metadata: None,
    }
}

/// One call with its history and a clock that the test moves.
#[derive(Debug)]
pub(super) struct Scene {
    pub call: Call,
    pub history: Vec<Recorded>,
    pub audiences: Vec<Audience>,
    pub now: Timestamp,
    pub rules: Rules,
    /// What each user, and the group, was last sent: kept apart from the call, to compare with its `prev`.
    sent: BTreeMap<UserId, u64>,
    sent_to_group: u64,
}

impl Scene {
    pub fn open(start_with: &Start, now: Timestamp, rules: Rules) -> Result<Self, Rejection> {
        let events = start(start_with, now, &rules)?;
        let [event] = <[Event; 1]>::try_from(events).expect("a start is one event");
        let first = Recorded { seq: 1, at: now, event };
        let (call, audience) = Call::open(start_with.call.clone(), &first).expect("a call begins with its creation");
        let mut scene =
            Self { call, history: vec![first], audiences: vec![], now, rules, sent: BTreeMap::new(), sent_to_group: 0 };
        scene.deliver(1, audience);
        scene.check();
        Ok(scene)
    }

    /// alice, at her laptop, rings bob.
    pub fn pair() -> Self {
        Self::of(&start_of(&["bob"], None))
    }

    /// alice rings bob, who took the call with his phone; media flows.
    pub fn talking() -> Self {
        let mut scene = Self::pair();
        scene.user("bob", "phone").accept().unwrap();
        scene.connected(&["bob"]);
        scene
    }

    /// alice opens a call in the group "team", and rings these of its members.
    pub fn group(callees: &[&str]) -> Self {
        Self::of(&start_of(callees, Some("team")))
    }

    pub fn of(start: &Start) -> Self {
        Self::open(start, BEGINNING, Rules::default()).unwrap()
    }

    /// A user at a device; a member of the group, if the call is one of a group.
    pub fn user(&mut self, user: &str, device: &str) -> At<'_> {
        let membership = if self.call.group.is_some() { Membership::Member } else { Membership::Outside };
        self.user_as(user, device, membership)
    }

    /// An admin of the group.
    pub fn admin(&mut self, user: &str, device: &str) -> At<'_> {
        self.user_as(user, device, Membership::Admin)
    }

    fn user_as(&mut self, user: &str, device: &str, membership: Membership) -> At<'_> {
        let by = By::User { user: user_id(user), device: device_id(device), membership };
        At { scene: self, by }
    }

    /// A user who is no member of the group.
    pub fn outsider(&mut self, user: &str, device: &str) -> At<'_> {
        self.user_as(user, device, Membership::Outside)
    }

    /// The server learned something; it is never refused.
    pub fn server(&mut self, command: Command) -> Vec<&'static str> {
        let events = self.perform(&By::System, &command).unwrap();
        events.iter().map(Event::kind).collect()
    }

    pub fn connected(&mut self, users: &[&str]) -> Vec<&'static str> {
        self.server(Command::Connected { users: users.iter().map(|name| user_id(name)).collect() })
    }

    pub fn connection_lost(&mut self, user: &str, device: &str) -> Vec<&'static str> {
        self.server(Command::ConnectionLost { user: user_id(user), device: device_id(device) })
    }

    /// The media server has seen them in the call's room, at the device they are in the call with.
    pub fn in_room(&mut self, user: &str) -> Vec<&'static str> {
        let device = self.participant(user).device.clone().unwrap();
        self.server(Command::RoomJoined { user: user_id(user), device })
    }

    pub fn connection_back(&mut self, user: &str, device: &str) -> Vec<&'static str> {
        self.server(Command::ConnectionBack { user: user_id(user), device: device_id(device) })
    }

    /// Time passes, and the call is told.
    pub fn after_secs(&mut self, secs: u64) -> Vec<&'static str> {
        self.now = self.now + Duration::from_secs(secs);
        self.server(Command::Tick)
    }

    pub fn participant(&self, user: &str) -> &Participant {
        self.call.participant(&user_id(user)).unwrap()
    }

    pub fn stands(&self, user: &str) -> ParticipantStatus {
        self.participant(user).status
    }

    /// How the call ended, and by whom; `None` while it is open.
    pub fn end(&self) -> Option<(CallStatus, EndReason, Option<&str>)> {
        let end = self.call.end.as_ref()?;
        Some((self.call.status, end.reason, end.by.as_ref().map(UserId::as_str)))
    }

    pub fn last_event(&self) -> &Event {
        &self.history.last().unwrap().event
    }

    /// What the owner of a call does with a command, but for storing and sending; then everything is checked.
    pub fn perform(&mut self, by: &By, command: &Command) -> Result<Vec<Event>, Rejection> {
        let events = decide(&self.call, self.now, &self.rules, by, command)?;
        for event in &events {
            assert!(!self.call.status.is_final(), "{} after the end", event.kind());
            let recorded = Recorded { seq: self.call.seq + 1, at: self.now, event: event.clone() };
            let audience = evolve(&mut self.call, &recorded);
            self.deliver(recorded.seq, audience);
            self.history.push(recorded);
        }
        if !events.is_empty() {
            self.check();
        }
        Ok(events)
    }

    /// Every `prev` is what was sent before. Whether a newcomer belongs to the group the call does not know: they are
    /// numbered as one who was sent what the group was.
    fn deliver(&mut self, seq: u64, audience: Audience) {
        let group = self.call.group.clone();
        for heard in &audience.users {
            let before = self.sent.insert(heard.user.clone(), seq).unwrap_or(self.sent_to_group);
            assert_eq!(heard.prev, before, "prev of {seq} for {}", heard.user);
            assert_eq!(self.call.prev_for(&heard.user), seq);
        }
        if let Some((to, prev)) = &audience.group {
            assert_eq!(Some(to), group.as_ref());
            assert_eq!(*prev, self.sent_to_group, "prev of {seq} for the group");
            self.sent_to_group = seq;
        }
        for p in self.call.engaged() {
            assert!(audience.users.iter().any(|heard| heard.user == p.user), "{} is in the call, deaf", p.user);
        }
        self.audiences.push(audience);
    }

    fn check(&self) {
        if let Err(violation) = check(&self.call, &self.history) {
            panic!("{violation}: {:#?}\n{:#?}", self.call, self.history);
        }
        let (mut again, first) = Call::open(self.call.id.clone(), &self.history[0]).unwrap();
        assert_eq!(first, self.audiences[0]);
        for (recorded, audience) in self.history.iter().zip(&self.audiences).skip(1) {
            assert_eq!(evolve(&mut again, recorded), *audience);
        }
        assert_eq!(again, self.call, "a rebuilt call is another");
    }
}

/// A user at a device, about to do something.
pub(super) struct At<'a> {
    scene: &'a mut Scene,
    by: By,
}

impl At<'_> {
    pub fn does(self, command: Command) -> Outcome {
        let events = self.scene.perform(&self.by, &command)?;
        Ok(events.iter().map(Event::kind).collect())
    }

    pub fn alerts(self) -> Outcome {
        self.does(Command::Ringing)
    }

    pub fn accept(self) -> Outcome {
        self.does(Command::Accept { answer: None })
    }

    pub fn accept_with_an_answer(self) -> Outcome {
        self.does(Command::Accept { answer: Some(opaque(r#"{"type":"answer"}"#)) })
    }

    pub fn decline(self) -> Outcome {
        self.does(Command::Decline { reason: None })
    }

    pub fn cancel(self) -> Outcome {
        self.does(Command::Cancel)
    }

    pub fn join(self) -> Outcome {
        self.does(Command::Join)
    }

    pub fn leave(self) -> Outcome {
        self.does(Command::Leave)
    }

    pub fn end(self) -> Outcome {
        self.does(Command::End { reason: None })
    }

    pub fn invite(self, users: &[&str]) -> Outcome {
        self.does(Command::Invite { users: users.iter().map(|name| user_id(name)).collect(), guests: vec![] })
    }
}
