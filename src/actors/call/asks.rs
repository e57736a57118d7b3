//! What is asked of a call: who may ask, and the answer, at once or when a command has been carried out.

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use uuid::Uuid;

use super::{CallActor, Job, LEASE_LOST, LINK_FRESH, LookedUp, Reply, membership};
use crate::{
    actors::{
        Answer, Ask, Caller,
        keyed::CommandKey,
        messages::{Attached, MissedSignal, Request, Resume},
    },
    clock,
    domain::{
        By, Call, Command, Membership, ParticipantStatus, Prey, UserId,
        call::{
            decide,
            glare::{Clash, clash},
        },
    },
    wire::{Refusal, render},
};

/// Whether the user waits to be let in.
pub(super) fn waits(call: &Call, user: &UserId) -> bool {
    call.participant(user).is_some_and(|p| p.status == ParticipantStatus::Lobby)
}

impl CallActor {
    pub(super) fn perform_ask(&mut self, request: Request, found: LookedUp, ctx: &mut Context<Self>) {
        if !self.call.status.is_final() && !self.node.membership.may_own() {
            // Another node may own the call by now: what is remembered here may be the past, also for who only looks.
            let _ = request.reply.send(Err(Refusal::unavailable(LEASE_LOST)));
            return;
        }
        if matches!(request.ask, Ask::Members) {
            return self.compare_members(request, ctx);
        }
        let Some(caller) = request.caller.clone() else {
            let _ = request.reply.send(Ok(self.call_answer()));
            return;
        };
        let stranger = self.call.participant(&caller.user).is_none() && !matches!(request.ask, Ask::Notice(_));
        if stranger && found.membership.is_none() {
            return self.look_up_stranger(caller.user, request, found, ctx);
        }
        if let Ask::Keyed { key, .. } = &request.ask
            && !(found.unheard || stranger && found.membership == Some(Membership::Outside))
        {
            let key = *key;
            return self.look_up_key(key, request, found, ctx);
        }
        let asked_for = membership::asked_for(&self.call, &caller.user, &request.ask);
        if !asked_for.is_empty()
            && found.membership.is_none()
            && let Some(group) = self.call.group.clone()
        {
            return self.look_up_members(group, asked_for, request, found, ctx);
        }
        let membership = found.membership.unwrap_or_default();
        let is_member = membership >= Membership::Member;
        if let Err(rejection) = membership::admits(&self.call, &caller.user, &request.ask, is_member) {
            let last_words = self.last_words(&caller.user, &request.ask);
            let _ = request.reply.send(last_words.ok_or_else(|| rejection.into()));
            return;
        }
        let Request { command, ask, reply, span, .. } = request;
        let (ask, key) = ask.without_key();
        let reply = Reply { to: reply, key, kept: None, span };
        match ask {
            Ask::Do(asked) => {
                let by = By::User { user: caller.user.clone(), device: caller.device.clone(), membership };
                self.perform(&by, &asked, Some(command), Some(caller), Some(reply), ctx);
            }
            Ask::Notice(noticed) => self.notice(&caller, noticed, command, reply, ctx),
            // A key has no key.
            Ask::Get | Ask::Keyed { .. } | Ask::Members => reply.send(Ok(self.call_answer())),
            Ask::Sync(since) => {
                let missed = self.missed(&caller.user, Some(since));
                reply.send(Ok(Answer::Missed(missed)));
            }
            Ask::Attach { resume } => {
                let at_this_device = self
                    .call
                    .participant(&caller.user)
                    .is_some_and(|p| p.status.is_present() && p.device.as_ref() == Some(&caller.device));
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
                Clash::AlreadyIn => reply.send(Ok(self.answer_to(Some(&caller.user)))),
                Clash::Separate => reply.send(Ok(Answer::Separate)),
                Clash::Merge(merged) => {
                    let by = By::User { user: caller.user.clone(), device: caller.device.clone(), membership };
                    self.perform(&by, &merged, Some(command), Some(caller), Some(reply), ctx);
                }
            },
        }
    }

    /// Looks whether the command was answered before, in its turn: none of its repetitions is carried out meanwhile.
    fn look_up_key(&mut self, key: CommandKey, request: Request, found: LookedUp, ctx: &mut Context<Self>) {
        self.busy = true;
        let node = self.node.clone();
        let looking = async move { node.recall(&key).await };
        ctx.spawn(looking.into_actor(self).map(move |recalled, actor, ctx| {
            actor.busy = false;
            let answer = match recalled {
                Ok(None) => {
                    actor.jobs.push_front(Job::Ask(request, LookedUp { unheard: true, ..found }));
                    return actor.pump(ctx);
                }
                Ok(Some(first)) => Ok(Answer::OnRecord(Box::new(first))),
                Err(refusal) => Err(refusal),
            };
            let _ = request.reply.send(answer);
            actor.pump(ctx);
        }));
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
                self.links.get(&caller.user).is_some_and(|link| Some(&link.session) != caller.session.as_ref())
            }
            Command::BusyElsewhere { user } => *user != caller.user,
            Command::RecordingChanged { .. } => self.would_change_nothing(&noticed),
            Command::RoomJoined { .. } | Command::RoomLeft { .. } => false,
            Command::EndByOperator => self.call.status.is_final(),
            Command::Sweep(prey) => self.is_heard_of(prey) || self.would_change_nothing(&noticed),
            _ => true,
        };
        if stale {
            return reply.send(Ok(Answer::Done));
        }
        if let Command::ConnectionLost { user, .. } = &noticed {
            // That the owner has changed may have been on its way to the connection that is gone: it is said again to
            // the next, which costs a client that knows it a restart of ICE.
            self.told_of_owner.remove(user);
        }
        self.perform(&By::System, &noticed, Some(command), None, Some(reply), ctx);
    }

    /// The sweeper has seen somebody gone who has come back meanwhile.
    fn is_heard_of(&self, prey: &Prey) -> bool {
        let Prey::LeftBehind { user, .. } = prey else { return false };
        self.links.get(user).is_some_and(|link| clock::monotonic().duration_since(link.heard_at) < LINK_FRESH)
    }

    pub(super) fn would_change_nothing(&self, noticed: &Command) -> bool {
        decide(&self.call, clock::now(), &self.node.rules_now(), &By::System, noticed)
            .is_ok_and(|events| events.is_empty())
    }

    pub(super) fn is_at(&self, caller: &Caller) -> bool {
        self.call
            .participant(&caller.user)
            .is_some_and(|p| p.status.is_present() && p.device.as_ref() == Some(&caller.device))
    }

    /// The call, or that they wait to be let in.
    pub(super) fn answer_to(&self, user: Option<&UserId>) -> Answer {
        if user.is_some_and(|user| waits(&self.call, user)) { Answer::Lobby } else { self.call_answer() }
    }

    pub(super) fn call_answer(&self) -> Answer {
        Answer::Call(self.known().call_object())
    }

    pub(super) fn attached(&mut self, caller: &Caller, resume: Option<Resume>) -> Answer {
        let mut missed = self.missed_by_device(&caller.user, resume);
        if self.rebuilt && self.is_at(caller) && self.told_of_owner.insert(caller.user.clone()) {
            // Who was connected when the owner changed was told then; who comes now hears it first of all.
            let frame = render::renegotiate(&self.call.id, self.relay.epoch);
            missed.signals.insert(0, MissedSignal { sig: 0, frame, device: Some(caller.device.clone()) });
        }
        let call = self.known().call_object();
        Answer::Attached(Box::new(Attached { call, missed, owner_knows: true }))
    }
}
