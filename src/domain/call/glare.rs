//! Glare: two people call each other at the same moment, or two members open a call in their group.
//!
//! Whichever start commits first holds the slot; what the other start becomes is decided here.

use super::{Call, CallStatus};
use crate::domain::{Command, DeviceId, GroupId, Start, UserId};

/// What at most one open call may hold in the whole cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(String);

impl Slot {
    /// The slot that a call opened by `start` takes, if any: the group's, or the pair's of a one-to-one call.
    pub fn of(start: &Start) -> Option<Self> {
        match (&start.group, start.callees.as_slice()) {
            (Some(group), _) => Some(Self::of_group(group)),
            (None, [callee]) => Some(Self::pair(&start.initiator, callee)),
            _ => None,
        }
    }

    /// The slot of a group's one open call.
    pub fn of_group(group: &GroupId) -> Self {
        Self(format!("group:{group}"))
    }

    fn pair(a: &UserId, b: &UserId) -> Self {
        let (first, second) = if a <= b { (a, b) } else { (b, a) };
        // The length keeps "a" + "bc" apart from "ab" + "c", whatever the ids hold.
        Self(format!("pair:{}:{first}{second}", first.as_str().len()))
    }

    /// As stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What becomes of a start whose slot is held by an open call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clash {
    /// Both wanted the same: this command brings the starter into the call that holds the slot.
    Merge(Command),
    /// They already talk in it, from this device: a repetition of what was answered so before.
    AlreadyIn,
    /// Not glare (the same side calls again, or they talk on other devices): a call of its own, without the slot.
    Separate,
}

/// Decides what a start by `user` at `device` becomes, when `holder` has its slot.
pub fn clash(holder: &Call, user: &UserId, device: &DeviceId) -> Clash {
    let here = holder.participant(user).is_some_and(|p| p.status.is_engaged() && p.device.as_ref() == Some(device));
    if holder.group.is_some() {
        return if here { Clash::AlreadyIn } else { Clash::Merge(Command::Join) };
    }
    if holder.initiator == *user {
        return Clash::Separate;
    }
    if here {
        return Clash::AlreadyIn;
    }
    let rung = holder.participant(user).is_some_and(|p| p.status.is_rung());
    if rung && matches!(holder.status, CallStatus::Ringing | CallStatus::Initiating) {
        Clash::Merge(Command::Accept { answer: None })
    } else {
        Clash::Separate
    }
}
