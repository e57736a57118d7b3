//! What is asked of a call: who may ask, and the answer, at once or when a command has been carried out.

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use uuid::Uuid;

use super::{CallActor, Job, LEASE_LOST, LINK_FRESH, Reply};
use crate::{
    actors::{
        Answer, Ask, Caller,
        messages::{Attached, MissedSignal, Request, Resume, Standing},
    },
    clock,
    domain::{
        By, Command, Prey, Rejection,
        call::{
            decide,
            glare::{Clash, clash},
        },
    },
    wire::{CallObject, Frame, Refusal, frame::Writer, render},
};

impl CallActor {
    /// `member`: whether the caller belongs to the call's group, once that was looked up.
    pub(super) fn perform_ask(&mut self, request: Request, member: Option<bool>, ctx: &mut Context<Self>) {
        if !self.call.status.is_final() && !self.node.membership.may_own() {
            // Another node may own the call by now: what is remembered here may be the past, also for who only looks.
            let _ = request.reply.send(Err(Refusal::unavailable(LEASE_LOST)));
            return;
        }
        let Some(caller) = request.caller.clone() else {
            let _ = request.reply.send(Ok(self.call_answer()));
            return;
        };
        let stranger = self.call.participant(&caller.user).is_none();
        if stranger
            && member.is_none()
            && !matches!(request.ask, Ask::Notice(_))
            && let Some(group) = self.call.group.clone()
        {
            self.busy = true;
            let store = self.node.store.clone();
            let user = caller.user;
            let lookup = async move { store.is_member(&group, &user).await };
            ctx.spawn(lookup.into_actor(self).map(move |found, actor, ctx| {
                actor.busy = false;
                match found {
                    Ok(member) => actor.jobs.push_front(Job::AskAsMember(request, member)),
                    Err(error) => {
                        let _ = request.reply.send(Err(error.into()));
                    }
                }
                actor.pump(ctx);
            }));
            return;
        }
        let member = member.unwrap_or(false);
        if stranger && !member && !matches!(request.ask, Ask::Notice(_)) {
            let _ = request.reply.send(Err(Rejection::NotFound.into()));
            return;
        }
        let Request { command, ask, reply, .. } = request;
        match ask {
            Ask::Do(asked) => {
                let by = By::User { user: caller.user.clone(), device: caller.device.clone(), group_member: member };
                self.perform(&by, &asked, Some(command), Some(caller), Some(reply), ctx);
            }
            Ask::Notice(noticed) => self.notice(&caller, noticed, command, reply, ctx),
            Ask::Get => {
                let _ = reply.send(Ok(self.call_answer()));
            }
            Ask::Sync(since) => {
                let missed = self.missed(&caller.user, Some(since));
                let _ = reply.send(Ok(Answer::Missed(missed)));
            }
            Ask::Attach { resume } => {
                let at_this_device = self
                    .call
                    .participant(&caller.user)
                    .is_some_and(|p| p.status.is_engaged() && p.device.as_ref() == Some(&caller.device));
                if at_this_device {
                    self.link(&caller);
                    let back = Command::ConnectionBack { user: caller.user.clone(), device: caller.device.clone() };
                    self.jobs.push_front(Job::Attached { caller, resume, reply });
                    self.jobs.push_front(Job::System(back));
                } else {
                    self.jobs.push_front(Job::Attached { caller, resume, reply });
                }
            }
            Ask::Clash => match clash(&self.call, &caller.user, &caller.device) {
                Clash::AlreadyIn => {
                    let _ = reply.send(Ok(self.call_answer()));
                }
                Clash::Separate => {
                    let _ = reply.send(Ok(Answer::Separate));
                }
                Clash::Merge(merged) => {
                    let by =
                        By::User { user: caller.user.clone(), device: caller.device.clone(), group_member: member };
                    self.perform(&by, &merged, Some(command), Some(caller), Some(reply), ctx);
                }
            },
        }
    }

    /// What a node noticed; it counts only while the device is still connected where it says, and of what a sweeper takes
    /// for left behind only what is. [`Answer::Done`]: it did not count.
    pub(super) fn notice(
        &mut self,
        caller: &Caller,
        noticed: Command,
        command: Uuid,
        reply: Reply,
        ctx: &mut Context<Self>,
    ) {
        let stale = match &noticed {
            Command::ConnectionLost { .. } => {
                self.links.get(&caller.user).is_some_and(|link| link.session != caller.session)
            }
            Command::BusyElsewhere { user } => *user != caller.user,
            Command::Sweep(prey) => self.is_heard_of(prey) || self.would_change_nothing(&noticed),
            _ => true,
        };
        if stale {
            let _ = reply.send(Ok(Answer::Done));
            return;
        }
        self.perform(&By::System, &noticed, Some(command), None, Some(reply), ctx);
    }

    /// The sweeper has seen somebody gone who has come back meanwhile.
    fn is_heard_of(&self, prey: &Prey) -> bool {
        let Prey::LeftBehind { user, .. } = prey else { return false };
        self.links.get(user).is_some_and(|link| clock::monotonic().duration_since(link.heard_at) < LINK_FRESH)
    }

    fn would_change_nothing(&self, noticed: &Command) -> bool {
        decide(&self.call, clock::now(), &self.node.rules, &By::System, noticed).is_ok_and(|events| events.is_empty())
    }

    pub(super) fn is_at(&self, caller: &Caller) -> bool {
        self.call
            .participant(&caller.user)
            .is_some_and(|p| p.status.is_engaged() && p.device.as_ref() == Some(&caller.device))
    }

    pub(super) fn call_answer(&self) -> Answer {
        Answer::Call(self.call_object())
    }

    pub(super) fn call_object(&self) -> Frame {
        let mut out = Writer::with_capacity(1024);
        out.value(&CallObject::new(&self.call, clock::now()));
        out.done()
    }

    pub(super) fn attached(&mut self, caller: &Caller, resume: Option<Resume>) -> Answer {
        // A device that knows nothing of the call is given the call object; only a ring must come as the event it is.
        let rung = Standing::of(&self.call, &caller.user) == Standing::Rung;
        let resume = resume.or_else(|| rung.then_some(Resume { seq: 0, sig: Some(0) }));
        let mut missed = self.missed(&caller.user, resume);
        if self.rebuilt && self.is_at(caller) && self.told_of_owner.insert(caller.user.clone()) {
            // Who was connected when the owner changed was told then; who comes now hears it first of all.
            let frame = render::renegotiate(&self.call, self.epoch);
            missed.signals.insert(0, MissedSignal { sig: 0, frame, device: Some(caller.device.clone()) });
        }
        Answer::Attached(Box::new(Attached { call: self.call_object(), missed }))
    }
}
