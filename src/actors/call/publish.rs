//! Telling everybody concerned what has happened to a call.

use std::{collections::HashSet, sync::Arc};

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};

use super::{CallActor, Job};
use crate::{
    actors::{
        messages::{Delivery, Standing},
        spans,
    },
    clock,
    domain::{
        Call, CallId, Command, Event, GroupId, Recorded, Timestamp, UserId,
        call::{Audience, evolve, is_absent},
    },
    store::StoreError,
    trace,
    wire::render::{self, Item},
};

/// Events that were decided, applied and rendered; to be published once they are committed.
pub struct Prepared {
    pub(in crate::actors) after: Arc<Call>,
    pub(in crate::actors) recorded: Vec<Recorded>,
    told: Told,
    /// Who took part in the group's call once and does not now: told as long as they are members.
    absent: Vec<UserId>,
}

/// What is told to whom.
#[derive(Default)]
struct Told {
    users: Vec<(UserId, Vec<Item>)>,
    /// For the members of the group who take no part.
    group: Option<(GroupId, Vec<Item>)>,
}

impl Told {
    fn add(&mut self, call: &Call, recorded: &Recorded, audience: &Audience) {
        for heard in &audience.users {
            let item = render::item(call, recorded, &heard.user, heard.prev);
            match self.users.iter_mut().find(|(user, _)| *user == heard.user) {
                Some((_, items)) => items.push(item),
                None => self.users.push((heard.user.clone(), vec![item])),
            }
        }
        if let Some((group, prev)) = &audience.group {
            // Rendered as for somebody who takes no part, which no participant's event is.
            let item = render::item_for_group(call, recorded, *prev);
            self.group.get_or_insert_with(|| (group.clone(), Vec::new())).1.push(item);
        }
    }
}

impl Prepared {
    /// Applies events to a call that exists.
    pub(super) fn fold(before: &Call, events: Vec<Event>, at: Timestamp) -> Self {
        let mut prepared = Self::go_on(before.clone(), Vec::new(), Told::default(), events, at);
        if before.group.is_some() {
            let was_absent = before.participants.iter().filter(|p| p.status.is_final());
            let absent = was_absent.filter(|p| is_absent(&prepared.after, &p.user)).map(|p| p.user.clone());
            prepared.absent = absent.collect();
        }
        prepared
    }

    /// Opens a call; `None` if the first event does not.
    pub(in crate::actors) fn open(id: CallId, events: Vec<Event>, at: Timestamp) -> Option<Self> {
        let mut events = events.into_iter();
        let first = Recorded { seq: 1, at, event: events.next()? };
        let (call, audience) = Call::open(id, &first)?;
        let mut told = Told::default();
        told.add(&call, &first, &audience);
        Some(Self::go_on(call, vec![first], told, events, at))
    }

    fn go_on(
        mut call: Call,
        mut recorded: Vec<Recorded>,
        mut told: Told,
        events: impl IntoIterator<Item = Event>,
        at: Timestamp,
    ) -> Self {
        for event in events {
            let next = Recorded { seq: call.seq + 1, at, event };
            let audience = evolve(&mut call, &next);
            told.add(&call, &next, &audience);
            recorded.push(next);
        }
        Self { after: Arc::new(call), recorded, told, absent: Vec::new() }
    }
}

impl CallActor {
    pub(super) fn delivery(&self, user: &UserId, items: Vec<Item>) -> Arc<Delivery> {
        Arc::new(Delivery {
            call: self.call.id.clone(),
            epoch: self.epoch,
            owner: self.node.id.clone(),
            items,
            standing: Standing::of(&self.call, user),
            unlinked: self.is_unlinked(user),
            trace: trace::current(),
            at: clock::monotonic(),
        })
    }

    fn is_unlinked(&self, user: &UserId) -> bool {
        !self.links.contains_key(user) && self.call.participant(user).is_some_and(|p| p.status.is_engaged())
    }

    /// Sends what was prepared; `self.call` is the state after it.
    pub(super) fn publish(&mut self, prepared: Prepared, ctx: &mut Context<Self>) {
        let Told { users, group } = prepared.told;
        let span = spans::publish(&self.node, &self.call, users.len());
        let _within = trace::enter(span.context_or_current());
        let mut to_absent = Vec::new();
        for (user, items) in users {
            if prepared.absent.contains(&user) {
                to_absent.push((user, items));
                continue;
            }
            let rings = items.iter().any(|item| item.rings);
            let delivery = self.delivery(&user, items);
            if !rings {
                self.node.deliver(&user, delivery);
                continue;
            }
            let reached = self.node.deliver_counted(&user, delivery);
            ctx.spawn(reached.into_actor(self).map(move |reached, actor, ctx| {
                if reached == Some(false) {
                    actor.jobs.push_back(Job::System(Command::Unreachable { user }));
                    actor.pump(ctx);
                }
            }));
        }
        if let Some((group, items)) = group {
            self.publish_to_group(group, items, to_absent, ctx);
        }
    }

    /// Tells the members of the group who are not in the call. The members are read anew, but at its very beginning:
    /// somebody who was removed meanwhile is told nothing more.
    fn publish_to_group(
        &mut self,
        group: GroupId,
        items: Vec<Item>,
        to_absent: Vec<(UserId, Vec<Item>)>,
        ctx: &mut Context<Self>,
    ) {
        if let Some(members) = self.members.take() {
            return self.tell_members(&members, &items, Vec::new());
        }
        let (store, within) = (self.node.store.clone(), trace::current());
        let looking = async move {
            let members = store.members_of(&group, MAX_GROUP_AUDIENCE).await?;
            let absent: Vec<UserId> = to_absent.iter().map(|(user, _)| user.clone()).collect();
            let still: HashSet<UserId> = store.members_among(&group, &absent).await?.into_iter().collect();
            Ok::<_, StoreError>((members, to_absent.into_iter().filter(|(user, _)| still.contains(user)).collect()))
        };
        ctx.spawn(looking.into_actor(self).map(move |members, actor, _| match members {
            Ok((members, to_absent)) => {
                let _within = trace::enter(within);
                actor.tell_members(&members, &items, to_absent);
            }
            Err(error) => tracing::warn!(
                call.id = %actor.call.id, node.id = %actor.node.id, %error,
                "members of the group not told: they could not be read"
            ),
        }));
    }

    fn tell_members(&self, members: &[UserId], items: &[Item], to_absent: Vec<(UserId, Vec<Item>)>) {
        for member in members.iter().filter(|user| self.call.participant(user).is_none()) {
            self.node.deliver(member, self.delivery(member, items.to_vec()));
        }
        for (user, items) in to_absent {
            self.node.deliver(&user, self.delivery(&user, items));
        }
    }

    /// Tells everybody concerned that the call's owner is new and signals under way were lost; their nodes then say
    /// where their devices are.
    pub(super) fn tell_new_owner(&self) {
        let frame = render::renegotiate(&self.call.id, self.epoch);
        for p in self.call.participants.iter().filter(|p| !p.status.is_final()) {
            self.node.tell_new_owner(&p.user, &self.call.id, self.epoch, self.call.seq, Some(&frame));
        }
    }

    /// Tells the nodes of everybody concerned where the call is now. Nothing was lost, so nobody else need know.
    pub(super) fn tell_moved(&self) {
        for p in self.call.participants.iter().filter(|p| !p.status.is_final()) {
            self.node.tell_new_owner(&p.user, &self.call.id, self.epoch, self.call.seq, None);
        }
    }
}

/// How many members of a group are told of a call they take no part in. More would make one call's opening a burst that
/// holds up everything behind it.
pub(in crate::actors) const MAX_GROUP_AUDIENCE: usize = 10_000;
