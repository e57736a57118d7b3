//! Attaching a session: subscribe, learn the user's open calls, ask each call's owner what this device has missed, and
//! only then hand on what happened meanwhile.
//!
//! The order matters: whatever is committed before the look into the store is found there, whatever is published after
//! the subscription arrives here, and nothing falls between.

use std::collections::HashMap;

use actix::{ActorFutureExt, AsyncContext, Context, Handler, WrapFuture};
use futures_util::future::join_all;

use super::{Caller, Held, Join, Member, Tracked, UserActor, Welcome};
use crate::{
    actors::{
        Answer, Ask, NodeHandle,
        messages::{Attached, Resume, Standing},
    },
    domain::{CallId, SessionId},
    wire::{ErrorCode, Frame, Refusal},
};

/// What attaching a device to the user's calls has found.
struct Found {
    attached: Vec<(CallId, Box<Attached>)>,
    /// Calls the device asked about that it has nothing to do with, or that could not be asked.
    refused: Vec<(CallId, Refusal)>,
}

impl Handler<Join> for UserActor {
    type Result = ();

    fn handle(&mut self, join: Join, ctx: &mut Self::Context) {
        let Join { session, device, outbox, resume, welcome, joined } = join;
        self.replace(&device, &session);
        self.announce(&device, &session);
        let caller = self.caller(&session, &device);
        // A session may say hello again: it is attached anew, and nobody need think that its device was away.
        self.members.retain(|member| member.session != session);
        self.members.push(Member { session: session.clone(), device, outbox, holding: Some(Vec::new()) });
        let known = self.loaded.then(|| self.open_calls());
        let attaching = attach(self.node.clone(), caller, known, resume.into_iter().collect());
        ctx.spawn(attaching.into_actor(self).map(move |found, actor, ctx| {
            let outcome = match found {
                Ok(found) => {
                    actor.loaded = true;
                    actor.welcome(&session, welcome, found);
                    Ok(())
                }
                Err(refusal) => {
                    actor.part(&session, ctx);
                    Err(refusal)
                }
            };
            // The session may have ended meanwhile; it has taken itself out then.
            let _ = joined.send(outcome);
        }));
    }
}

/// Finds what a device must be told. `known`: the user's open calls, if this node knows them already.
async fn attach(
    node: NodeHandle,
    caller: Caller,
    known: Option<Vec<CallId>>,
    mut resume: HashMap<CallId, Resume>,
) -> Result<Found, Refusal> {
    let calls = match known {
        Some(calls) => calls,
        None => {
            if let Some(bus) = node.bus()
                && let Err(error) = bus.subscribe_user(&caller.user).await
            {
                // Without the bus the sessions of this node still hear what happens on it; the bus subscribes when it
                // is back, and then everything is compared.
                tracing::warn!(user.id = %caller.user, node.id = %node.id, %error, "user not subscribed yet");
            }
            node.store.open_calls_of(&caller.user).await?
        }
    };
    let mut wanted: Vec<(CallId, Option<Resume>)> = Vec::with_capacity(calls.len());
    for call in calls {
        let has = resume.remove(&call);
        wanted.push((call, has));
    }
    wanted.extend(resume.into_iter().map(|(call, has)| (call, Some(has))));
    let asked = wanted.into_iter().map(|(call, resume)| {
        let answer = node.ask(&call, caller.clone(), Ask::Attach { resume });
        async move { (call, answer.await) }
    });
    let mut found = Found { attached: Vec::new(), refused: Vec::new() };
    for (call, answer) in join_all(asked).await {
        match answer {
            Ok(Answer::Attached(attached)) => found.attached.push((call, attached)),
            Ok(_) => found.refused.push((call, Refusal::new(ErrorCode::Internal, "an answer of another kind"))),
            Err(refusal) => found.refused.push((call, refusal)),
        }
    }
    Ok(found)
}

impl UserActor {
    fn open_calls(&self) -> Vec<CallId> {
        let concerns = |standing: &Standing| matches!(standing, Standing::Rung | Standing::Engaged { .. });
        self.calls
            .iter()
            .filter(|(_, t)| concerns(&t.standing) && !t.suppressed)
            .map(|(call, _)| call.clone())
            .collect()
    }

    /// Remembers where the user stands in a call, as its owner said.
    fn track(&mut self, call: &CallId, attached: &Attached) {
        let missed = &attached.missed;
        if missed.standing == Standing::Over {
            return;
        }
        self.node.directory.follow(call, &missed.owner, &self.user);
        let alone = self.members.len() == 1;
        let tracked = self.calls.entry(call.clone()).or_insert_with(|| Tracked {
            epoch: missed.epoch,
            seq: missed.seq,
            checked: missed.seq,
            standing: missed.standing.clone(),
            suppressed: false,
            repairing: None,
        });
        if alone {
            // Others that were here before have still to be handed what this one is told by being attached.
            tracked.seq = tracked.seq.max(missed.seq);
        }
    }

    fn welcome(&mut self, session: &SessionId, welcome: Welcome, found: Found) {
        for (call, attached) in &found.attached {
            self.track(call, attached);
        }
        let Some(member) = self.members.iter_mut().find(|member| member.session == *session) else { return };
        let open = found.attached.iter().filter(|(_, a)| a.missed.standing != Standing::Over);
        let calls: Vec<Frame> = open.map(|(_, attached)| attached.call.clone()).collect();
        member.outbox.push(welcome(&calls));
        let mut has: HashMap<&CallId, (u64, u64, u64)> = HashMap::new();
        for (call, attached) in &found.attached {
            for frame in attached.missed.for_device(&member.device) {
                member.outbox.push(frame);
            }
            let sig = attached.missed.signals.last().map_or(0, |signal| signal.sig);
            has.insert(call, (attached.missed.seq, attached.missed.epoch, sig));
        }
        for (call, refusal) in &found.refused {
            let mut refusal = refusal.clone();
            refusal.details = Some(serde_json::json!({ "callId": call }));
            member.outbox.push(Frame::error_event(Some("session:hello"), &refusal));
        }
        for held in member.holding.take().unwrap_or_default() {
            match held {
                Held::Event { call, seq, frame } => {
                    if has.get(&call).is_none_or(|(had, _, _)| seq > *had) {
                        member.outbox.push(frame);
                    }
                }
                Held::Signal { call, epoch, sig, frame } => {
                    if has.get(&call).is_none_or(|(_, e, had)| epoch != *e || sig > *had) {
                        member.outbox.push(frame);
                    }
                }
            }
        }
    }

    /// Looks for calls that began while messages were lost.
    pub(super) fn look_for_calls(&mut self, ctx: &mut Context<Self>) {
        let store = self.node.store.clone();
        let user = self.user.clone();
        let looking = async move { store.open_calls_of(&user).await };
        ctx.spawn(looking.into_actor(self).map(|found, actor, ctx| match found {
            Ok(calls) => {
                for call in calls {
                    if actor.calls.contains_key(&call) {
                        continue;
                    }
                    let tracked = Tracked {
                        epoch: 0,
                        seq: 0,
                        checked: 0,
                        standing: Standing::Bystander,
                        suppressed: false,
                        repairing: Some(Vec::new()),
                    };
                    actor.calls.insert(call.clone(), tracked);
                    actor.repair(call, ctx);
                }
            }
            Err(error) => tracing::warn!(user.id = %actor.user, %error, "open calls not compared"),
        }));
    }
}
