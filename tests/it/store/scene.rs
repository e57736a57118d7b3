//! Calls that the rules of the domain make, as commits: what an owner would send to the store.

use std::{sync::Arc, time::Duration};

use carillon::{
    domain::{
        By, Call, CallId, CallMode, CallType, Command, DeviceId, Event, GroupId, Membership, NodeId, Recorded, Rules,
        Start, Timestamp, UserId,
        call::{self, glare::Slot},
    },
    store::{CommandId, Commit},
};

pub fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

pub fn device(name: &str) -> DeviceId {
    DeviceId::new(name).unwrap()
}

pub fn node(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

pub fn call_id(name: &str) -> CallId {
    CallId::new(name).unwrap()
}

pub fn now() -> Timestamp {
    Timestamp::from_datetime(chrono::Utc::now())
}

/// A call as its owner has it.
#[derive(Clone)]
pub struct Owned {
    pub call: Arc<Call>,
    pub node: NodeId,
    pub epoch: u64,
    pub history: Vec<Recorded>,
}

/// The opening of a call from `caller` to `callees`.
pub fn opening(id: &str, caller: &str, callees: &[&str]) -> Start {
    Start {
        call: call_id(id),
        call_type: CallType::Video,
        mode: CallMode::P2p,
        escalates: false,
        initiator: user(caller),
        initiator_name: None,
        device: device(&format!("{caller}-phone")),
        group: None,
        callees: callees.iter().map(|name| user(name)).collect(),
        ring_timeout: Some(Duration::from_secs(30)),
        offer: serde_json::from_str(r#"{"type":"offer","sdp":"v=0 \"quoted\" ünïcode"}"#).unwrap(),
        metadata: serde_json::from_str(r#"{"topic":"it's \\ 100%"}"#).unwrap(),
    }
}

/// The same in a group.
pub fn group_opening(id: &str, caller: &str, group: &str) -> Start {
    Start { group: Some(GroupId::new(group).unwrap()), ..opening(id, caller, &[]) }
}

/// The commit that begins the call, and the call as it is afterwards.
pub fn begin(start: &Start, node: &NodeId) -> (Commit, Owned) {
    let at = now();
    let events = call::start(start, at, &Rules::default()).unwrap();
    let history = numbered(events, 0, at);
    let call = Arc::new(Call::rebuild(start.call.clone(), &history).unwrap());
    let commit = Commit {
        trace: None,
        command: CommandId::now_v7(),
        node: node.clone(),
        epoch: 1,
        prev_seq: 0,
        before: None,
        after: call.clone(),
        events: history.clone(),
        slot: Slot::of(start),
        outcome: Some("{\"ok\":true}".into()),
        by: Some(start.initiator.clone()),
        kind: "start",
    };
    (commit, Owned { call, node: node.clone(), epoch: 1, history })
}

fn numbered(events: Vec<Event>, after: u64, at: Timestamp) -> Vec<Recorded> {
    events.into_iter().zip(after + 1..).map(|(event, seq)| Recorded { seq, at, event }).collect()
}

impl Owned {
    /// The commit that a command of a user leads to, and the call as it is afterwards.
    pub fn decide(&self, who: &str, command: &Command) -> (Commit, Owned) {
        let by = By::User { user: user(who), device: device(&format!("{who}-phone")), membership: Membership::Member };
        self.decide_by(&by, command)
    }

    /// The same for the server's own commands.
    pub fn decide_by(&self, by: &By, command: &Command) -> (Commit, Owned) {
        let at = now();
        let events = call::decide(&self.call, at, &Rules::default(), by, command).unwrap();
        assert!(!events.is_empty(), "{} changes nothing", command.name());
        let recorded = numbered(events, self.call.seq, at);
        let mut after = (*self.call).clone();
        for event in &recorded {
            call::evolve(&mut after, event);
        }
        let after = Arc::new(after);
        let commit = Commit {
            trace: None,
            command: CommandId::now_v7(),
            node: self.node.clone(),
            epoch: self.epoch,
            prev_seq: self.call.seq,
            before: Some(self.call.clone()),
            after: after.clone(),
            events: recorded.clone(),
            slot: None,
            outcome: None,
            by: match by {
                By::User { user, .. } => Some(user.clone()),
                By::System => None,
            },
            kind: command.name(),
        };
        let history = self.history.iter().cloned().chain(recorded).collect();
        (commit, Owned { call: after, node: self.node.clone(), epoch: self.epoch, history })
    }
}
