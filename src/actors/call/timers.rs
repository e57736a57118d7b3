//! What a call does by itself: its deadlines, reminders of a ring, and who is missed after a takeover.

use std::time::Duration;

use actix::{AsyncContext, Context};

use super::{CallActor, Job, LINGER, REMIND_AFTER};
use crate::{
    actors::messages::Resume,
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
        let Some(deadline) = self.call.next_deadline() else { return };
        // One millisecond late rather than one early: a tick before the deadline would find nothing due.
        let wait = deadline.since(clock::now()).max(at_least) + Duration::from_millis(1);
        self.timer = Some(ctx.run_later(wait, |actor, ctx| {
            actor.timer = None;
            actor.jobs.push_back(Job::System(Command::Tick));
            actor.pump(ctx);
        }));
    }

    /// Participants whose device no node has named since the takeover went with the node that died.
    pub(super) fn miss_the_silent(&mut self, ctx: &mut Context<Self>) {
        self.miss(ctx, |actor, user| !actor.links.contains_key(user));
    }

    /// Counts the devices of these participants as having lost their connection.
    pub(super) fn miss(&mut self, ctx: &mut Context<Self>, lost: impl Fn(&Self, &UserId) -> bool) {
        let there = |p: &&Participant| p.status.is_engaged() && lost(self, &p.user);
        let missed: Vec<Command> = (self.call.participants.iter().filter(there))
            .filter_map(|p| Some(Command::ConnectionLost { user: p.user.clone(), device: p.device.clone()? }))
            .collect();
        self.jobs.extend(missed.into_iter().map(Job::System));
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
