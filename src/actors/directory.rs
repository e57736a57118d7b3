//! Who is on this node: from call, user and session ids to addresses, and to the nodes that own calls elsewhere.
//!
//! Owns only addresses. It must never be asked what is true of a call. An actor that died is still listed; whoever
//! finds its address disconnected removes it and rebuilds.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use actix::Addr;
use dashmap::{DashMap, Entry};

use super::{Outbox, call::CallActor, user::UserActor};
use crate::{
    domain::{CallId, CallStatus, NodeId, SessionId, Timestamp, UserId},
    metrics::Tally,
};

/// The directory of one node.
#[derive(Default)]
pub struct Directory {
    calls: DashMap<CallId, Listed>,
    users: DashMap<UserId, Addr<UserActor>>,
    sessions: DashMap<SessionId, (UserId, Arc<dyn Outbox>)>,
    followed: DashMap<CallId, Followed>,
    positions: DashMap<CallId, Position>,
    /// The same, counted by status.
    by_status: Tally<{ CallStatus::ALL.len() }>,
}

/// The actor of a call, and how many signals wait for it.
struct Listed {
    addr: Addr<CallActor>,
    signals: Arc<AtomicUsize>,
}

/// How many signals may wait for one call's actor. It relays hundreds of thousands a second: that many waiting means that
/// its thread is overloaded, and what waits is old.
pub const MAX_SIGNALS_WAITING: usize = 4096;

/// Too many signals wait for a call.
pub struct Overloaded;

/// A signal's place in the queue of a call's actor, given back when it is dropped.
pub struct SignalSlot(Arc<AtomicUsize>);

impl Drop for SignalSlot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A call that users of this node are told of.
struct Followed {
    owner: NodeId,
    users: Vec<UserId>,
}

/// How far a call of this node has come.
struct Position {
    epoch: u64,
    seq: u64,
    at: Timestamp,
    status: CallStatus,
}

impl Directory {
    /// The actor of a call that this node owns, if it lives.
    pub fn call(&self, call: &CallId) -> Option<Addr<CallActor>> {
        self.calls.get(call).map(|entry| entry.value().addr.clone()).filter(Addr::connected)
    }

    /// The same with a place for a signal; `Err`: too many wait already.
    pub fn call_for_signal(&self, call: &CallId) -> Option<Result<(Addr<CallActor>, SignalSlot), Overloaded>> {
        let entry = self.calls.get(call)?;
        let listed = entry.value();
        if !listed.addr.connected() {
            return None;
        }
        let slot = SignalSlot(listed.signals.clone());
        let waiting = listed.signals.fetch_add(1, Ordering::Relaxed);
        Some(if waiting < MAX_SIGNALS_WAITING { Ok((listed.addr.clone(), slot)) } else { Err(Overloaded) })
    }

    /// Lists the actor of a call.
    pub fn insert_call(&self, call: CallId, addr: Addr<CallActor>) {
        self.calls.insert(call, Listed { addr, signals: Arc::default() });
    }

    /// Takes a call's actor out, if it is still this one.
    pub fn remove_call(&self, call: &CallId, addr: &Addr<CallActor>) {
        if self.calls.remove_if(call, |_, listed| listed.addr == *addr).is_some() {
            self.forget_position(call);
        }
    }

    /// Takes out and returns the calls whose actors have died.
    pub fn take_dead_calls(&self) -> Vec<CallId> {
        let dead: Vec<CallId> = self
            .calls
            .iter()
            .filter(|entry| !entry.value().addr.connected())
            .map(|entry| entry.key().clone())
            .collect();
        dead.into_iter()
            .filter(|call| self.calls.remove_if(call, |_, listed| !listed.addr.connected()).is_some())
            .inspect(|call| self.forget_position(call))
            .collect()
    }

    /// The open calls of this node and their living actors. Those that have ended and still answer are left out.
    pub fn open_calls(&self) -> Vec<(CallId, Addr<CallActor>)> {
        let open = self.calls.iter().filter(|entry| {
            let ended = self.positions.get(entry.key()).is_some_and(|position| position.status.is_final());
            !ended && entry.value().addr.connected()
        });
        open.map(|entry| (entry.key().clone(), entry.value().addr.clone())).collect()
    }

    /// How many calls this node owns.
    pub fn call_count(&self) -> usize {
        self.calls.len()
    }

    /// The user's actor, if they have a session here.
    pub fn user(&self, user: &UserId) -> Option<Addr<UserActor>> {
        self.users.get(user).map(|entry| entry.value().clone()).filter(Addr::connected)
    }

    /// Takes out the users whose actors have died, and returns the sessions they leave behind.
    pub fn take_dead_users(&self) -> Vec<(UserId, Arc<dyn Outbox>)> {
        let dead: HashSet<UserId> =
            self.users.iter().filter(|entry| !entry.value().connected()).map(|entry| entry.key().clone()).collect();
        let dead: HashSet<UserId> =
            dead.into_iter().filter(|user| self.users.remove_if(user, |_, addr| !addr.connected()).is_some()).collect();
        if dead.is_empty() {
            return Vec::new();
        }
        self.sessions
            .iter()
            .filter(|entry| dead.contains(&entry.value().0))
            .map(|entry| entry.value().clone())
            .collect()
    }

    /// The user's living actor, made by `make` if there is none.
    pub fn user_or_insert(&self, user: &UserId, make: impl FnOnce() -> Addr<UserActor>) -> Addr<UserActor> {
        match self.users.entry(user.clone()) {
            Entry::Occupied(entry) if entry.get().connected() => entry.get().clone(),
            Entry::Occupied(mut entry) => {
                entry.insert(make());
                entry.get().clone()
            }
            Entry::Vacant(entry) => entry.insert(make()).value().clone(),
        }
    }

    /// Takes a user's actor out, if it is still this one.
    pub fn remove_user(&self, user: &UserId, addr: &Addr<UserActor>) {
        self.users.remove_if(user, |_, listed| listed == addr);
    }

    /// Every user with a session here.
    pub fn all_users(&self) -> Vec<Addr<UserActor>> {
        self.users.iter().map(|entry| entry.value().clone()).collect()
    }

    /// Lists a session.
    pub fn insert_session(&self, session: SessionId, user: UserId, outbox: Arc<dyn Outbox>) {
        self.sessions.insert(session, (user, outbox));
    }

    /// A session on this node.
    pub fn session(&self, session: &SessionId) -> Option<Arc<dyn Outbox>> {
        self.sessions.get(session).map(|entry| entry.value().1.clone())
    }

    /// Takes a session out.
    pub fn remove_session(&self, session: &SessionId) {
        self.sessions.remove(session);
    }

    /// How many sessions are open here.
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// The node that was last heard to own a call.
    pub fn owner(&self, call: &CallId) -> Option<NodeId> {
        self.followed.get(call).map(|entry| entry.value().owner.clone())
    }

    /// Remembers that a user here is told of a call, and who owns it.
    pub fn follow(&self, call: &CallId, owner: &NodeId, user: &UserId) {
        let mut entry =
            self.followed.entry(call.clone()).or_insert_with(|| Followed { owner: owner.clone(), users: Vec::new() });
        if entry.owner != *owner {
            entry.owner = owner.clone();
        }
        if !entry.users.contains(user) {
            entry.users.push(user.clone());
        }
    }

    /// A user here is told of a call no longer.
    pub fn unfollow(&self, call: &CallId, user: &UserId) {
        if let Some(mut entry) = self.followed.get_mut(call) {
            entry.users.retain(|other| other != user);
        }
        self.followed.remove_if(call, |_, followed| followed.users.is_empty());
    }

    /// A call that users here may be told of has a new owner.
    pub fn set_owner(&self, call: &CallId, owner: &NodeId) {
        if let Some(mut entry) = self.followed.get_mut(call) {
            entry.owner = owner.clone();
        }
    }

    /// The calls that users here are told of and whose owners are among these.
    pub fn followed_of(&self, owners: &HashSet<NodeId>) -> Vec<CallId> {
        let theirs = self.followed.iter().filter(|entry| owners.contains(&entry.value().owner));
        theirs.map(|entry| entry.key().clone()).collect()
    }

    /// Whether this user here is told of the call.
    pub fn follows(&self, call: &CallId, user: &UserId) -> bool {
        self.followed.get(call).is_some_and(|entry| entry.users.contains(user))
    }

    /// The users here who are told of a call.
    pub fn followers(&self, call: &CallId) -> Vec<UserId> {
        self.followed.get(call).map(|entry| entry.users.clone()).unwrap_or_default()
    }

    /// Notes how far a call of this node has come.
    pub fn set_position(&self, call: &CallId, epoch: u64, seq: u64, at: Timestamp, status: CallStatus) {
        self.by_status.inc(status as usize);
        if let Some(before) = self.positions.insert(call.clone(), Position { epoch, seq, at, status }) {
            self.by_status.dec(before.status as usize);
        }
    }

    fn forget_position(&self, call: &CallId) {
        if let Some((_, last)) = self.positions.remove(call) {
            self.by_status.dec(last.status as usize);
        }
    }

    /// How many calls of this node stand so; those that have ended are listed for a few seconds more.
    pub fn calls_by_status(&self) -> impl Iterator<Item = (CallStatus, u64)> {
        CallStatus::ALL.iter().copied().zip(self.by_status.read())
    }

    /// How many signals wait for the call for which most do, of [`MAX_SIGNALS_WAITING`].
    pub fn most_signals_waiting(&self) -> usize {
        self.calls.iter().map(|entry| entry.value().signals.load(Ordering::Relaxed)).max().unwrap_or(0)
    }

    /// How far this node's calls have come that changed after `since`.
    pub fn positions_since(&self, since: Timestamp) -> Vec<(CallId, u64, u64)> {
        let recent = self.positions.iter().filter(|entry| entry.value().at >= since);
        recent.map(|entry| (entry.key().clone(), entry.value().epoch, entry.value().seq)).collect()
    }

    /// The calls whose actors are here, each with the epoch it was last heard to have.
    pub fn owned_calls(&self) -> Vec<(CallId, Option<u64>)> {
        let calls: Vec<CallId> = self.calls.iter().map(|entry| entry.key().clone()).collect();
        let epoch = |call: &CallId| self.positions.get(call).map(|entry| entry.value().epoch);
        calls.into_iter().map(|call| (call.clone(), epoch(&call))).collect()
    }

    /// The ids of everybody with a session here.
    pub fn all_user_ids(&self) -> Vec<UserId> {
        self.users.iter().map(|entry| entry.key().clone()).collect()
    }

    /// The calls that users here are told of, and these users.
    pub fn all_followed(&self) -> Vec<(CallId, Vec<UserId>)> {
        self.followed.iter().map(|entry| (entry.key().clone(), entry.value().users.clone())).collect()
    }

    /// The actors of this node's calls.
    pub fn all_calls(&self) -> Vec<Addr<CallActor>> {
        self.calls.iter().map(|entry| entry.value().addr.clone()).collect()
    }
}
