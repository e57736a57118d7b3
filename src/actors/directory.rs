//! Who is on this node: from call, user and session ids to addresses, and to the nodes that own calls elsewhere.
//!
//! Owns only addresses. It must never be asked what is true of a call. An actor that died is still listed; whoever
//! finds its address disconnected removes it and rebuilds.

use std::{collections::HashSet, sync::Arc};

use actix::Addr;
use dashmap::{DashMap, Entry};

use super::{Outbox, call::CallActor, user::UserActor};
use crate::domain::{CallId, NodeId, SessionId, UserId};

/// The directory of one node.
#[derive(Default)]
pub struct Directory {
    calls: DashMap<CallId, Addr<CallActor>>,
    users: DashMap<UserId, Addr<UserActor>>,
    sessions: DashMap<SessionId, (UserId, Arc<dyn Outbox>)>,
    owners: DashMap<CallId, NodeId>,
}

impl Directory {
    /// The actor of a call that this node owns, if it lives.
    pub fn call(&self, call: &CallId) -> Option<Addr<CallActor>> {
        self.calls.get(call).map(|entry| entry.value().clone()).filter(Addr::connected)
    }

    /// Lists the actor of a call.
    pub fn insert_call(&self, call: CallId, addr: Addr<CallActor>) {
        self.owners.remove(&call);
        self.calls.insert(call, addr);
    }

    /// Takes a call's actor out, if it is still this one.
    pub fn remove_call(&self, call: &CallId, addr: &Addr<CallActor>) {
        self.calls.remove_if(call, |_, listed| listed == addr);
    }

    /// Takes out and returns the calls whose actors have died.
    pub fn take_dead_calls(&self) -> Vec<CallId> {
        let dead: Vec<CallId> =
            self.calls.iter().filter(|entry| !entry.value().connected()).map(|entry| entry.key().clone()).collect();
        dead.into_iter().filter(|call| self.calls.remove_if(call, |_, addr| !addr.connected()).is_some()).collect()
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
        self.owners.get(call).map(|entry| entry.value().clone())
    }

    /// Remembers who owns a call that a user here takes part in. Taken back by [`Directory::forget_owner`], when they
    /// no longer do.
    pub fn remember_owner(&self, call: &CallId, owner: &NodeId) {
        match self.owners.get(call) {
            Some(known) if known.value() == owner => {}
            known => {
                drop(known);
                self.owners.insert(call.clone(), owner.clone());
            }
        }
    }

    /// Forgets who owns a call.
    pub fn forget_owner(&self, call: &CallId) {
        self.owners.remove(call);
    }
}
