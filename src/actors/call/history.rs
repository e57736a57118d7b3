//! The recent events of a call, and the state before them, so that what a user missed can be told exactly.

use std::{collections::VecDeque, sync::Arc};

use super::CallActor;
use crate::{
    actors::messages::{Missed, Resume, Standing},
    clock,
    domain::{Call, CallId, Recorded, UserId, call::evolve},
    wire::render,
};

/// How many events are kept in memory. Fewer: a client that was away for long gets a snapshot in place of its events;
/// more: memory, at a few hundred bytes an event for every call.
const KEPT: usize = 256;
/// Beyond so many missed events a snapshot is shorter.
const MAX_REPLAYED: usize = 100;

/// Events in order, and the state they begin from.
pub(super) struct History {
    /// The state before `events`; `None`: they begin at the beginning.
    base: Option<Arc<Call>>,
    events: VecDeque<Recorded>,
}

impl History {
    pub(super) fn of(events: Vec<Recorded>) -> Self {
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

impl CallActor {
    /// What the user has not had; nothing if they ask for nothing.
    pub(super) fn missed(&self, user: &UserId, since: Option<Resume>) -> Missed {
        let mut missed = Missed {
            seq: self.call.seq,
            epoch: self.epoch,
            owner: self.node.id.clone(),
            standing: Standing::of(&self.call, user),
            items: Vec::new(),
            snapshot: None,
            signals: Vec::new(),
            signal_epoch: self.relay.epoch,
        };
        let Some(Resume { seq, sig }) = since else { return missed };
        // Who claims more than there is has it from somewhere else: the whole call sets them right.
        // Who has nothing of a call that does not ring them needs its state and not its story.
        let story = seq > 0 || missed.standing == Standing::Rung;
        let known = (story && seq <= self.call.seq).then(|| self.history.replay(&self.call.id, user, seq));
        match known.flatten() {
            Some(items) => missed.items = items,
            None => missed.snapshot = Some(render::snapshot(&self.call, clock::now())),
        }
        missed.signals = sig.map(|sig| self.relay.since(user, sig)).unwrap_or_default();
        missed
    }
}
