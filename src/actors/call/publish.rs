//! Telling everybody concerned what has happened to a call.

use std::sync::Arc;

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};

use super::{CallActor, Job};
use crate::{
    actors::messages::{Delivery, Standing},
    domain::{
        Call, CallId, Command, Event, GroupId, Recorded, Timestamp, UserId,
        call::{Audience, evolve},
    },
    wire::render::{self, Item},
};

/// Events that were decided, applied and rendered; to be published once they are committed.
pub struct Prepared {
    pub(in crate::actors) after: Arc<Call>,
    pub(in crate::actors) recorded: Vec<Recorded>,
    told: Told,
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
        Self::go_on(before.clone(), Vec::new(), Told::default(), events, at)
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
        Self { after: Arc::new(call), recorded, told }
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
        })
    }

    fn is_unlinked(&self, user: &UserId) -> bool {
        !self.links.contains_key(user) && self.call.participant(user).is_some_and(|p| p.status.is_engaged())
    }

    /// Sends what was prepared; `self.call` is the state after it.
    pub(super) fn publish(&mut self, prepared: Prepared, ctx: &mut Context<Self>) {
        let Told { users, group } = prepared.told;
        for (user, items) in users {
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
            self.publish_to_group(group, items, ctx);
        }
    }

    fn publish_to_group(&mut self, group: GroupId, items: Vec<Item>, ctx: &mut Context<Self>) {
        if let Some(members) = self.members.clone() {
            for member in members.iter().filter(|user| self.call.participant(user).is_none()) {
                self.node.deliver(member, self.delivery(member, items.clone()));
            }
            return;
        }
        let store = self.node.store.clone();
        let limit = MAX_GROUP_AUDIENCE;
        let looking = {
            let group = group.clone();
            async move { store.members_of(&group, limit).await }
        };
        ctx.spawn(looking.into_actor(self).map(move |members, actor, ctx| match members {
            Ok(members) => {
                actor.members = Some(members.into());
                actor.publish_to_group(group, items, ctx);
            }
            Err(error) => tracing::warn!(
                call.id = %actor.call.id, node.id = %actor.node.id, %error,
                "members of the group not told: they could not be read"
            ),
        }));
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
