//! The call's room on the media server: what the call's state wants there, brought about after commits.
//!
//! Owns the effects: the room is opened while the call is there or on its way, and closed when it is not; who has no
//! business in it is put out; a mute and what a role may do are passed on. Each is repeatable and follows from the state,
//! so a new owner begins by doing it again. Never part of a commit and never waited for by commands: requests run beside
//! them, and what comes of one is a command like any other. Never acts without owning the call, nor takes "could not ask"
//! for "not there". Survives lost webhooks: it looks who is in the room every few seconds, and more seldom once all are.

use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Context, SpawnHandle, WrapFuture};

use super::{CallActor, Job};
use crate::{
    actors::{NodeHandle, media_facts::strangers},
    domain::{Call, CallId, CallMode, CallStatus, Command, DeviceId, Event, ParticipantStatus, Recorded, UserId},
    media::{MediaError, Permissions, RoomParticipant},
};

/// Between two looks into the room while something depends on who is there. Shorter costs the media server requests for
/// what its webhooks tell; longer, and a lost webhook takes a large part of the time that a move there has.
const LOOK_SOON: Duration = Duration::from_secs(2);
/// The same when nothing does: only to put out who has no business there.
const LOOK_LATE: Duration = Duration::from_secs(10);
/// How long after a request that failed the next is made, doubled each time up to [`LOOK_LATE`].
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// For how long the room of a call that has ended is tried to be closed. What is left then is swept.
const CLOSING_PATIENCE: Duration = Duration::from_secs(120);

/// What the actor knows of the call's room.
#[derive(Default)]
pub(super) struct Room {
    /// Opened by this actor, or closed by it; `None`: not known, or not any more.
    open: Option<bool>,
    /// A request is under way: one at a time.
    asking: bool,
    failures: u32,
    timer: Option<SpawnHandle>,
}

/// The call has, or had at some time, business with a room.
fn may_have_room(call: &Call) -> bool {
    call.mode == CallMode::Sfu || call.escalation.is_some() || call.no_escalation_before.is_some()
}

impl CallActor {
    /// What a commit means for the room: `self.call` is the state after it.
    pub(super) fn perform_room_effects(&mut self, before: &Call, recorded: &[Recorded], ctx: &mut Context<Self>) {
        if !self.node.media.is_configured() {
            return;
        }
        if before.needs_room() && self.call.needs_room() {
            let gone = before.engaged().filter(|p| !self.is_engaged(&p.user)).map(|p| p.user.clone());
            for user in gone.collect::<Vec<_>>() {
                self.put_out(user);
            }
            for recorded in recorded {
                self.pass_on(&recorded.event);
            }
        }
        if may_have_room(before) || may_have_room(&self.call) {
            self.tend_room(ctx);
        }
    }

    fn is_engaged(&self, user: &UserId) -> bool {
        self.call.participant(user).is_some_and(|p| p.status.is_engaged())
    }

    /// What the media server enforces of an event.
    fn pass_on(&self, event: &Event) {
        let (node, call) = (self.node.clone(), self.call.id.clone());
        match event {
            Event::MuteRequested { users, track, .. } => {
                let (users, track) = (users.clone(), *track);
                self.node.spawn(async move {
                    for user in users {
                        let muted = node.media.mute(&call, &user, track, true).await;
                        note(&call, &user, "mute", muted);
                    }
                });
            }
            Event::RoleChanged { user, role, .. } => {
                let (user, permissions) = (user.clone(), Permissions::of(*role));
                self.node.spawn(async move {
                    let set = node.media.set_permissions(&call, &user, permissions).await;
                    note(&call, &user, "set_permissions", set);
                });
            }
            _ => {}
        }
    }

    /// Who is put out and cannot be is found by the next look.
    fn put_out(&self, user: UserId) {
        let (node, call) = (self.node.clone(), self.call.id.clone());
        self.node.spawn(async move { note(&call, &user, "remove", node.media.remove(&call, &user).await) });
    }

    /// Brings the room closer to what the state wants. Called whenever either may have changed; asks for one thing at a time.
    pub(super) fn tend_room(&mut self, ctx: &mut Context<Self>) {
        if !self.node.media.is_configured() || !may_have_room(&self.call) {
            return;
        }
        if self.call.status.is_final() {
            self.stop_looking(ctx);
            if self.room.open != Some(false) {
                self.room.open = Some(false);
                self.node.spawn(close_for_good(self.node.clone(), self.call.id.clone()));
            }
            return;
        }
        if self.room.asking {
            return;
        }
        if !self.node.membership.may_own() || self.in_doubt || self.frozen {
            return self.look_in(TRY_AGAIN, ctx);
        }
        match (self.call.needs_room(), self.room.open) {
            (true, Some(true)) => self.look_in(self.until_next_look(), ctx),
            (true, _) => self.open_room(ctx),
            (false, Some(false)) => self.stop_looking(ctx),
            (false, _) => self.close_room(ctx),
        }
    }

    fn until_next_look(&self) -> Duration {
        let waits = self.call.engaged().any(|p| p.status == ParticipantStatus::Connecting);
        let calm = self.call.escalation.is_none() && self.call.status == CallStatus::Active && !waits;
        if calm { LOOK_LATE } else { LOOK_SOON }
    }

    fn after_failure(&mut self) -> Duration {
        self.room.failures = self.room.failures.saturating_add(1);
        TRY_AGAIN.saturating_mul(1 << self.room.failures.min(6)).min(LOOK_LATE)
    }

    fn stop_looking(&mut self, ctx: &mut Context<Self>) {
        if let Some(timer) = self.room.timer.take() {
            ctx.cancel_future(timer);
        }
    }

    fn look_in(&mut self, wait: Duration, ctx: &mut Context<Self>) {
        self.stop_looking(ctx);
        let wait = wait.mul_f64(rand::random_range(0.8..1.2));
        self.room.timer = Some(ctx.run_later(wait, |actor, ctx| {
            actor.room.timer = None;
            if actor.room.open == Some(true) && actor.call.needs_room() && !actor.room.asking {
                actor.look_into_room(ctx);
            } else {
                actor.tend_room(ctx);
            }
        }));
    }

    fn open_room(&mut self, ctx: &mut Context<Self>) {
        self.room.asking = true;
        let (media, call, places) = (self.node.media.clone(), self.call.id.clone(), self.call.max_participants);
        let opening = async move { media.open_room(&call, places).await };
        ctx.spawn(opening.into_actor(self).map(|outcome, actor, ctx| {
            actor.room.asking = false;
            match outcome {
                Ok(()) => {
                    actor.room.failures = 0;
                    actor.room.open = Some(true);
                    if !actor.would_change_nothing(&Command::RoomOpened) {
                        actor.jobs.push_back(Job::System(Command::RoomOpened));
                    }
                    actor.look_into_room(ctx);
                    actor.pump(ctx);
                }
                Err(error) => {
                    tracing::warn!(call.id = %actor.call.id, node.id = %actor.node.id, %error, "room not opened");
                    let wait = actor.after_failure();
                    actor.jobs.push_back(Job::System(Command::RoomUnavailable));
                    actor.look_in(wait, ctx);
                    actor.pump(ctx);
                }
            }
        }));
    }

    /// Of a call that has stayed peer to peer.
    fn close_room(&mut self, ctx: &mut Context<Self>) {
        self.room.asking = true;
        let (media, call) = (self.node.media.clone(), self.call.id.clone());
        let closing = async move { media.close_room(&call).await };
        ctx.spawn(closing.into_actor(self).map(|outcome, actor, ctx| {
            actor.room.asking = false;
            // It may be wanted again by now: whatever came of this, it is not known to be open.
            actor.room.open = outcome.is_ok().then_some(false);
            if outcome.is_ok() || actor.call.needs_room() {
                actor.room.failures = 0;
                return actor.tend_room(ctx);
            }
            let wait = actor.after_failure();
            actor.look_in(wait, ctx);
        }));
    }

    fn look_into_room(&mut self, ctx: &mut Context<Self>) {
        if !self.node.membership.may_own() || self.in_doubt || self.frozen {
            return self.look_in(TRY_AGAIN, ctx);
        }
        self.room.asking = true;
        let (media, call) = (self.node.media.clone(), self.call.id.clone());
        let looking = async move { media.room_participants(&call).await };
        ctx.spawn(looking.into_actor(self).map(|seen, actor, ctx| {
            actor.room.asking = false;
            if !actor.call.needs_room() {
                return actor.tend_room(ctx);
            }
            match seen {
                Ok(present) => {
                    actor.room.failures = 0;
                    if present.is_empty() {
                        // It may have been closed for being empty: the next look opens it again.
                        actor.room.open = None;
                    }
                    let wait = actor.until_next_look();
                    actor.look_in(wait, ctx);
                    actor.on_seen_in_room(&present, ctx);
                }
                Err(error) => {
                    tracing::debug!(call.id = %actor.call.id, %error, "who is in the room is not known");
                    let wait = actor.after_failure();
                    actor.look_in(wait, ctx);
                }
            }
        }));
    }

    /// What a look has shown: the same commands as of the webhooks that may have been lost.
    fn on_seen_in_room(&mut self, present: &[RoomParticipant], ctx: &mut Context<Self>) {
        for user in strangers(present, |user| self.is_engaged(user)) {
            tracing::info!(call.id = %self.call.id, user.id = %user, "put out of the room: not in the call");
            self.put_out(user);
        }
        let is_there =
            |user: &UserId, device: &DeviceId| present.iter().any(|p| p.user == *user && p.device == *device);
        let joined = present.iter().filter(|p| p.joined);
        let joined = joined.map(|p| Command::RoomJoined { user: p.user.clone(), device: p.device.clone() });
        let left = self.call.engaged().filter(|p| p.in_room).filter_map(|p| {
            let device = p.device.as_ref().filter(|device| !is_there(&p.user, device))?;
            Some(Command::RoomLeft { user: p.user.clone(), device: device.clone() })
        });
        let news: Vec<Job> =
            joined.chain(left).filter(|seen| !self.would_change_nothing(seen)).map(Job::System).collect();
        self.jobs.extend(news);
        self.pump(ctx);
    }
}

fn note(call: &CallId, user: &UserId, what: &'static str, outcome: Result<(), MediaError>) {
    if let Err(error) = outcome {
        tracing::warn!(call.id = %call, user.id = %user, %error, what, "the media server has not done it");
    }
}

/// Closes the room of a call that has ended. The call stays ended, so nothing can want the room again.
async fn close_for_good(node: NodeHandle, call: CallId) {
    let begun = crate::clock::monotonic();
    let mut wait = TRY_AGAIN;
    loop {
        match node.media.close_room(&call).await {
            Ok(()) => return,
            Err(MediaError::Unavailable) if crate::clock::monotonic().duration_since(begun) < CLOSING_PATIENCE => {}
            Err(error) => {
                tracing::warn!(call.id = %call, %error, "room not closed; it is left to be swept");
                return;
            }
        }
        tokio::time::sleep(wait.mul_f64(rand::random_range(0.8..1.2))).await;
        wait = (wait * 2).min(LOOK_LATE);
    }
}
