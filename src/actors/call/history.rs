//! The recent events of a call, and the state before them, so that what a user missed can be told exactly: by the call's
//! actor, or by whoever has read them from the store.

use std::{collections::VecDeque, sync::Arc};

use super::CallActor;
use crate::{
    actors::messages::{Missed, MissedSignal, Resume, Standing},
    clock,
    domain::{Call, CallId, NodeId, Recorded, Timestamp, UserId, call::evolve},
    wire::{
        CallObject, Frame,
        frame::Writer,
        render::{self, RoomPass},
    },
};

/// How many events are kept in memory. Fewer: a client that was away for long gets a snapshot in place of its events;
/// more: memory, at a few hundred bytes an event for every call.
const KEPT: usize = 256;
/// Beyond so many missed events a snapshot is shorter.
const MAX_REPLAYED: usize = 100;

/// Events in order, and the state they begin from.
pub(in crate::actors) struct History {
    /// The state before `events`; `None`: they begin at the beginning.
    base: Option<Arc<Call>>,
    events: VecDeque<Recorded>,
}

impl History {
    pub(in crate::actors) fn of(events: Vec<Recorded>) -> Self {
        Self { base: None, events: events.into() }
    }

    pub(super) fn append(&mut self, call: &CallId, events: Vec<Recorded>) {
        self.events.extend(events);
        while self.events.len() > KEPT {
            let Some(first) = self.events.pop_front() else { break };
            match &mut self.base {
                Some(base) => {
                    evolve(Arc::make_mut(base), &first);
                }
                None => self.base = Call::open(call.clone(), &first).map(|(call, _)| Arc::new(call)),
            }
        }
    }

    /// What `user` was sent after `seq`; `None` when that goes back further than is kept, is too much, or never was:
    /// who claims to have seen what has not happened knows another history, and is told the whole of this one.
    fn replay(&self, call: &CallId, user: &UserId, seq: u64) -> Option<Vec<render::Item>> {
        let kept_after = self.base.as_ref().map_or(0, |base| base.seq);
        let newest = self.events.back().map_or(kept_after, |last| last.seq);
        if seq < kept_after || seq > newest {
            return None;
        }
        let mut items = Vec::new();
        let mut state = self.base.as_deref().cloned();
        for recorded in &self.events {
            let audience = match &mut state {
                Some(state) => evolve(state, recorded),
                None => {
                    let (opened, audience) = Call::open(call.clone(), recorded)?;
                    state = Some(opened);
                    audience
                }
            };
            let state = state.as_ref()?;
            if recorded.seq <= seq {
                continue;
            }
            let heard = audience.users.iter().find(|heard| heard.user == *user);
            match (heard, &audience.group) {
                (Some(heard), _) => items.push(render::item(state, recorded, user, heard.prev)),
                (None, Some((_, prev))) if state.participant(user).is_none() => {
                    items.push(render::item_for_group(state, recorded, *prev));
                }
                _ => {}
            }
            if items.len() > MAX_REPLAYED {
                return None;
            }
        }
        Some(items)
    }
}

/// A call as it is known somewhere: to its actor, or read from the store.
pub(in crate::actors) struct Known<'a> {
    pub call: &'a Call,
    pub history: &'a History,
    pub epoch: u64,
    pub owner: &'a NodeId,
}

impl Known<'_> {
    /// What the user has not had; nothing if they ask for nothing. Without signals: only the owner has them.
    pub fn missed(&self, user: &UserId, since: Option<Resume>) -> Missed {
        let mut missed = Missed {
            seq: self.call.seq,
            epoch: self.epoch,
            owner: self.owner.clone(),
            standing: Standing::of(self.call, user),
            items: Vec::new(),
            snapshot: None,
            pass: None,
            signals: Vec::new(),
            signal_epoch: 0,
        };
        let Some(Resume { seq, .. }) = since else { return missed };
        // Who claims more than there is has it from somewhere else: the whole call sets them right.
        // Who has nothing of a call that does not ring them needs its state and not its story.
        let story = seq > 0 || missed.standing == Standing::Rung;
        let known = (story && seq <= self.call.seq).then(|| self.history.replay(&self.call.id, user, seq));
        // An event of the past asks only those into the room who belong there now.
        let pass = RoomPass::of(self.call, user);
        match known.flatten() {
            Some(mut items) => {
                items.iter_mut().filter(|item| item.pass.is_some()).for_each(|item| item.pass = pass.clone());
                missed.items = items;
            }
            None => {
                missed.snapshot = Some(render::snapshot(self.call, clock::now()));
                missed.pass = pass;
            }
        }
        missed
    }

    /// What a device of the user that connects has missed, if it says what it has. A device that knows nothing of the
    /// call is given the call object; only a ring must come as the event it is.
    pub fn missed_by_device(&self, user: &UserId, resume: Option<Resume>) -> Missed {
        self.missed(user, self.wanted_by_device(user, resume))
    }

    fn wanted_by_device(&self, user: &UserId, resume: Option<Resume>) -> Option<Resume> {
        let rung = Standing::of(self.call, user) == Standing::Rung;
        resume.or_else(|| rung.then_some(Resume { seq: 0, sig: Some(0) }))
    }

    /// The call object.
    pub fn call_object(&self) -> Frame {
        call_object(self.call, clock::now())
    }
}

/// The call object as of `now`.
pub(in crate::actors) fn call_object(call: &Call, now: Timestamp) -> Frame {
    let mut out = Writer::with_capacity(1024);
    out.value(&CallObject::new(call, now));
    out.done()
}

impl CallActor {
    pub(super) fn known(&self) -> Known<'_> {
        Known { call: &self.call, history: &self.history, epoch: self.epoch, owner: &self.node.id }
    }

    /// What the user has not had; nothing if they ask for nothing.
    pub(super) fn missed(&self, user: &UserId, since: Option<Resume>) -> Missed {
        let mut missed = self.known().missed(user, since);
        missed.signals = self.signals_since(user, since);
        missed.signal_epoch = self.relay.epoch;
        missed
    }

    /// The same for a device that connects.
    pub(super) fn missed_by_device(&self, user: &UserId, resume: Option<Resume>) -> Missed {
        let known = self.known();
        let since = known.wanted_by_device(user, resume);
        self.missed(user, since)
    }

    fn signals_since(&self, user: &UserId, since: Option<Resume>) -> Vec<MissedSignal> {
        let sig = since.and_then(|resume| resume.sig);
        sig.map(|sig| self.relay.since(user, sig)).unwrap_or_default()
    }
}
