//! Whose membership in the call's group decides about a question, and what follows when somebody is no member any more.
//!
//! Only members, and guests whom somebody in the call has asked in by name, start, join or see a group's calls. Who is in
//! one counts as a member until the store says otherwise: it is asked when somebody from outside comes or looks, when the
//! application says that the members have changed, and when the call is begun or rebuilt (the change may have come in
//! between). Must never let somebody stay because the store could not be asked: then the asker is refused, and asks again.

use std::collections::HashSet;

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{CallActor, Job, LookedUp, Reply};
use crate::{
    actors::{
        Answer, Ask,
        messages::{Request, Resume},
    },
    domain::{
        By, Call, Command, GroupId, Membership, Rejection, UserId,
        call::{admin_may, is_absent, is_guest},
    },
    store::{MemberRole, Standing},
    trace::{self, Span},
};

/// Whose membership, and role in the group, must be known before the question is answered; nobody's, if the call has no
/// group.
pub(in crate::actors) fn asked_for(call: &Call, user: &UserId, ask: &Ask) -> Vec<UserId> {
    if call.group.is_none() || matches!(ask, Ask::Notice(_)) {
        return Vec::new();
    }
    if is_outsider(call, user, ask) {
        return vec![user.clone()];
    }
    let Ask::Do(command) = bare(ask) else { return Vec::new() };
    // Only where it would else be refused: who is in charge of the call does not wait for the database.
    let asker = admin_may(call, user, command).then(|| user.clone());
    let Command::Invite { users, .. } = command else { return asker.into_iter().collect() };
    if !call.participant(user).is_some_and(|p| p.status.is_engaged()) {
        // Who may not ask anybody in is refused for that.
        return Vec::new();
    }
    let mut seen = HashSet::new();
    let new: Vec<UserId> = users.iter().filter(|user| is_absent(call, user) && seen.insert(*user)).cloned().collect();
    // More than the call takes are refused for that alone.
    if new.len() > call.max_participants as usize { Vec::new() } else { asker.into_iter().chain(new).collect() }
}

/// Whether the question may be asked; `members`: all of [`asked_for`] are.
pub(in crate::actors) fn admits(call: &Call, user: &UserId, ask: &Ask, members: bool) -> Result<(), Rejection> {
    if members || matches!(ask, Ask::Notice(_)) {
        return Ok(());
    }
    if call.participant(user).is_none() || (call.group.is_some() && is_outsider(call, user, ask)) {
        return Err(Rejection::NotFound);
    }
    Ok(())
}

/// Has no part in the call that would give them this. Who was in it may repeat what they did then, but not look or come
/// back.
fn is_outsider(call: &Call, user: &UserId, ask: &Ask) -> bool {
    let repeats = matches!(bare(ask), Ask::Do(command) if !matches!(command, Command::Join));
    if repeats { call.participant(user).is_none() } else { is_absent(call, user) && !is_guest(call, user) }
}

fn bare(ask: &Ask) -> &Ask {
    if let Ask::Keyed { ask, .. } = ask { ask } else { ask }
}

fn bare_mut(ask: &mut Ask) -> &mut Ask {
    if let Ask::Keyed { ask, .. } = ask { ask } else { ask }
}

impl CallActor {
    /// Looks whether these are members, and comes back to the question with that.
    pub(super) fn look_up_members(
        &mut self,
        group: GroupId,
        users: Vec<UserId>,
        request: Request,
        found: LookedUp,
        ctx: &mut Context<Self>,
    ) {
        self.busy = true;
        let store = self.node.store.clone();
        let lookup = async move { (store.roles_among(&group, &users).await, users) };
        ctx.spawn(lookup.into_actor(self).map(move |(roles, users), actor, ctx| {
            actor.busy = false;
            match roles {
                Ok(roles) => {
                    let mut request = request;
                    let asker = request.caller.as_ref().map(|caller| caller.user.clone());
                    let membership = match &asker {
                        Some(asker) if users.contains(asker) => membership_of(asker, &roles),
                        // In the call, and so a member until the application says otherwise.
                        _ => Membership::Member,
                    };
                    if let Ask::Do(Command::Invite { guests, .. }) = bare_mut(&mut request.ask) {
                        // Asked in by name: they need not be members.
                        let others = users.into_iter().filter(|user| Some(user) != asker.as_ref());
                        *guests = others.filter(|user| membership_of(user, &roles) == Membership::Outside).collect();
                    }
                    actor.jobs.push_front(Job::Ask(request, LookedUp { membership: Some(membership), ..found }));
                }
                Err(error) => {
                    let _ = request.reply.send(Err(error.into()));
                }
            }
            actor.pump(ctx);
        }));
    }

    /// Looks how somebody who has no part in the call stands to it. That costs as much as to find that there is no such
    /// call, also where no look is needed: what one may not see answers as what is not there, in the same time.
    pub(super) fn look_up_stranger(
        &mut self,
        user: UserId,
        request: Request,
        found: LookedUp,
        ctx: &mut Context<Self>,
    ) {
        // Of a group's call they may be a member, and what they ask next must wait for this. Nobody else's does.
        let in_turn = self.call.group.is_some();
        self.busy |= in_turn;
        let (store, call) = (self.node.store.clone(), self.call.id.clone());
        let lookup = async move { store.standing(&call, &user).await };
        ctx.spawn(lookup.into_actor(self).map(move |standing, actor, ctx| {
            if in_turn {
                actor.busy = false;
            }
            match standing {
                Ok(Standing { role, .. }) => {
                    let membership = role.map_or(Membership::Outside, of_role);
                    let job = Job::Ask(request, LookedUp { membership: Some(membership), ..found });
                    if in_turn { actor.jobs.push_front(job) } else { actor.jobs.push_back(job) }
                }
                Err(error) => {
                    let _ = request.reply.send(Err(error.into()));
                }
            }
            actor.pump(ctx);
        }));
    }

    /// What somebody who was taken out of the call was sent up to then, if they ask for what they missed of it: that they
    /// are out may be what was lost on its way. `None`: they have had it all, or it cannot be told without the rest.
    pub(super) fn last_words(&self, user: &UserId, ask: &Ask) -> Option<Answer> {
        let Ask::Sync(since) = *ask else { return None };
        let me = self.call.participant(user)?;
        // What is sent at the end is sent to members; with it the last of theirs is not known any more.
        if self.call.status.is_final() || since.seq == 0 || since.seq >= me.last_seq {
            return None;
        }
        let missed = self.missed(user, Some(Resume { sig: None, ..since }));
        missed.snapshot.is_none().then_some(Answer::Missed(missed))
    }

    /// Takes those out of the call who are members of its group no more. [`Answer::Done`]: there was nobody.
    pub(super) fn compare_members(&mut self, request: Request, ctx: &mut Context<Self>) {
        let (present, group) = (self.present(), self.call.group.clone());
        let Some(group) = group.filter(|_| !present.is_empty()) else {
            let _ = request.reply.send(Ok(Answer::Done));
            return;
        };
        // Busy: nobody comes or goes until it is known.
        self.busy = true;
        let store = self.node.store.clone();
        let lookup = async move { (store.members_among(&group, &present).await, present) };
        ctx.spawn(lookup.into_actor(self).map(move |(members, present), actor, ctx| {
            actor.busy = false;
            let _within = trace::enter(request.span.context().or(request.trace));
            let Request { command, reply, span, .. } = request;
            match members.map(|members| without(present, &members)) {
                Ok(users) if users.is_empty() => {
                    let _ = reply.send(Ok(Answer::Done));
                }
                Ok(users) => {
                    tracing::info!(
                        call.id = %actor.call.id, node.id = %actor.node.id, users = users.len(),
                        "taken out of the call with their membership"
                    );
                    let reply = Reply { to: reply, key: None, kept: None, span };
                    actor.perform(&By::System, &Command::Remove { users }, Some(command), None, Some(reply), ctx);
                }
                Err(error) => {
                    let _ = reply.send(Err(error.into()));
                }
            }
            actor.pump(ctx);
        }));
    }

    /// Looks whether all who are there are members, while commands go on; does what follows in its turn.
    pub(super) fn look_for_former_members(&mut self, ctx: &mut Context<Self>) {
        let (present, group) = (self.present(), self.call.group.clone());
        let Some(group) = group.filter(|_| !present.is_empty()) else { return };
        let store = self.node.store.clone();
        let lookup = async move { (store.members_among(&group, &present).await, present) };
        ctx.spawn(lookup.into_actor(self).map(|(members, present), actor, ctx| match members {
            Ok(members) if without(present, &members).is_empty() => {}
            Ok(_) => {
                // Nobody waits for the answer.
                let (reply, _) = oneshot::channel();
                let (trace, span) = (None, Span::none());
                let request = Request { command: Uuid::now_v7(), caller: None, ask: Ask::Members, reply, trace, span };
                actor.jobs.push_back(Job::Ask(request, LookedUp::default()));
                actor.pump(ctx);
            }
            Err(error) => tracing::warn!(
                call.id = %actor.call.id, node.id = %actor.node.id, %error,
                "not known whether all in the call are members of its group"
            ),
        }));
    }

    fn present(&self) -> Vec<UserId> {
        let there = self.call.participants.iter().filter(|p| !p.status.is_final() && !is_guest(&self.call, &p.user));
        there.map(|p| p.user.clone()).collect()
    }
}

fn membership_of(user: &UserId, roles: &[(UserId, MemberRole)]) -> Membership {
    roles.iter().find(|(member, _)| member == user).map_or(Membership::Outside, |(_, role)| of_role(*role))
}

fn of_role(role: MemberRole) -> Membership {
    match role {
        MemberRole::Admin => Membership::Admin,
        MemberRole::Member => Membership::Member,
    }
}

fn without(users: Vec<UserId>, members: &[UserId]) -> Vec<UserId> {
    let members: HashSet<&UserId> = members.iter().collect();
    users.into_iter().filter(|user| !members.contains(user)).collect()
}
