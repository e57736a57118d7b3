//! What a call does by itself: its deadlines, reminders of a ring, and who is missed after a takeover.

use std::time::Duration;

use actix::{AsyncContext, Context};

use super::{CallActor, Job, LINGER, LINK_PATIENCE, REMIND_AFTER};
use crate::{
    actors::{degraded::Dependency, messages::Resume},
    clock,
    domain::{Command, Participant, ParticipantStatus, UserId},
};

impl CallActor {
    pub(super) fn arm_timer(&mut self, ctx: &mut Context<Self>, at_least: Duration) {
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        if self.call.status.is_final() {
            self.timer = Some(ctx.run_later(LINGER, |actor, ctx| actor.retire(ctx)));
            return;
        }
        // A timer that is forgotten is what the sweepers are for.
        fail::fail_point!("call-arm-timer", |_| ());
        let wait = match self.call.next_tick(&self.node.rules) {
            Some(deadline) => deadline.since(clock::now()).max(at_least),
            None if at_least.is_zero() => return,
            // Something failed that no deadline stands for.
            None => at_least,
        };
        // One millisecond late rather than one early: a tick before the deadline would find nothing due.
        self.timer = Some(ctx.run_later(wait + Duration::from_millis(1), |actor, ctx| {
            actor.timer = None;
            actor.jobs.push_back(Job::System(Command::Tick));
            // Pumps. What could not be committed when it was noticed is noticed again.
            actor.miss_the_gone(ctx);
        }));
    }

    /// From now on, participants whose device no node has named since the takeover went with the node that died.
    pub(super) fn miss_the_silent(&mut self, ctx: &mut Context<Self>) {
        if self.node.degraded.is_without(Dependency::Redis) {
            // They may have spoken and not been heard.
            ctx.run_later(LINK_PATIENCE, |actor, ctx| actor.miss_the_silent(ctx));
            return;
        }
        self.all_have_spoken = true;
        self.miss_the_gone(ctx);
    }

    /// Gives the sessions of devices that are in the call, and of which none is known, time to show themselves.
    pub(super) fn await_sessions(&mut self, ctx: &mut Context<Self>) {
        let until = clock::monotonic() + LINK_PATIENCE;
        let engaged = self.call.engaged().map(|p| &p.user);
        let unknown: Vec<UserId> = engaged.filter(|user| !self.links.contains_key(*user)).cloned().collect();
        if unknown.is_empty() {
            return;
        }
        for user in unknown {
            self.awaited.entry(user).or_insert(until);
        }
        ctx.run_later(LINK_PATIENCE, |actor, ctx| {
            let now = clock::monotonic();
            actor.awaited.retain(|_, until| *until > now);
            actor.miss_the_gone(ctx);
        });
    }

    /// Counts devices on nodes that are gone as having lost their connection. Who is known to be away is not counted again.
    pub(super) fn miss_the_gone(&mut self, ctx: &mut Context<Self>) {
        let gone = |user| match self.links.get(user) {
            Some(link) => link.node != self.node.id && self.node.membership.is_gone(&link.node),
            None => self.all_have_spoken && !self.awaited.contains_key(user),
        };
        let connected = |p: &&Participant| p.status.is_present() && p.status != ParticipantStatus::Reconnecting;
        let lost: Vec<Job> = (self.call.participants.iter().filter(connected).filter(|p| gone(&p.user)))
            .filter_map(|p| Some(Command::ConnectionLost { user: p.user.clone(), device: p.device.clone()? }))
            .map(Job::System)
            .collect();
        self.jobs.extend(lost);
        self.pump(ctx);
    }

    /// A ring that was lost on its way leaves no hole that anybody could see: it is sent again while no device has said
    /// that it alerts. Who has it drops it by its `seq`.
    pub(super) fn remind_later(&mut self, ctx: &mut Context<Self>, left: u32) {
        if left == 0 {
            return;
        }
        ctx.run_later(REMIND_AFTER, move |actor, ctx| {
            let silent = |p: &&Participant| p.status == ParticipantStatus::Invited && !p.unreachable;
            let users: Vec<UserId> = actor.call.participants.iter().filter(silent).map(|p| p.user.clone()).collect();
            if users.is_empty() {
                return;
            }
            for user in users {
                let missed = actor.missed(&user, Some(Resume { seq: 0, sig: None }));
                actor.node.deliver(&user, actor.delivery(&user, missed.items));
            }
            actor.remind_later(ctx, left - 1);
        });
    }
}
