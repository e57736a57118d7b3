//! Attaching a session: subscribe, learn the user's open calls, ask each call's owner what this device has missed, and
//! only then hand on what happened meanwhile.
//!
//! The order matters: whatever is committed before the look into the store is found there, whatever is published after
//! the subscription arrives here, and nothing falls between.

use std::{collections::HashMap, time::Duration};

use actix::{ActorFutureExt, AsyncContext, Context, Handler, WrapFuture};
use futures_util::future::join_all;

use super::{Caller, Held, Join, Late, Member, Tracked, UserActor, Welcome};
use crate::{
    actors::{
        Answer, Ask, Node, NodeHandle,
        messages::{Attached, Resume, Standing},
    },
    clock,
    domain::{CallId, SessionId, UserId},
    wire::{ErrorCode, Frame, Refusal},
};

/// How long after a call's owner could not be asked about it, it is asked again. Longer: somebody who came back right
/// after a node died is taken for gone by the next owner; shorter: work for nothing while Redis is away.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// What a device has that was told nothing.
const NOTHING: Resume = Resume { seq: 0, sig: Some(0) };

/// How long a session that says hello waits for the owner of a call, before it is told what the store knows. Shorter, and
/// a busy owner costs reads; longer, and who comes back after a node died sees nothing until its lease has run out.
const OWNER_PATIENCE: Duration = Duration::from_secs(1);

fn attach_later(session: SessionId, call: CallId, resume: Option<Resume>, ctx: &mut Context<UserActor>) {
    ctx.run_later(ASK_AGAIN, move |actor, ctx| actor.attach_late(session, call, resume, ctx));
}

/// How far a session that was attached has been told.
#[derive(Clone, Copy)]
struct Has {
    seq: u64,
    signal_epoch: u64,
    sig: u64,
}

impl Has {
    fn of(attached: &Attached) -> Self {
        let missed = &attached.missed;
        Self {
            seq: missed.seq,
            signal_epoch: missed.signal_epoch,
            sig: missed.signals.last().map_or(0, |signal| signal.sig),
        }
    }
}

impl Member {
    fn catch_up(&self, node: &Node, user: &UserId, attached: &Attached) {
        for frame in attached.missed.for_device(node, user, &self.device) {
            self.outbox.push(frame);
        }
    }

    fn catch_up_signals(&self, attached: &Attached) {
        for frame in attached.missed.signals_for(&self.device) {
            self.outbox.push(frame);
        }
    }

    /// Sends what was held, unless the session `has` it.
    fn hand_over(&self, held: Held, has: Option<Has>) {
        match held {
            Held::Event { seq, frame, .. } if has.is_none_or(|has| seq > has.seq) => self.outbox.push(frame),
            Held::Signal { epoch, sig, frame, .. }
                if has.is_none_or(|has| epoch != has.signal_epoch || sig > has.sig) =>
            {
                self.outbox.push(frame);
            }
            Held::Event { .. } | Held::Signal { .. } => {}
        }
    }
}

/// What attaching a device to the user's calls has found.
struct Found {
    attached: Vec<(CallId, Option<Resume>, Box<Attached>)>,
    /// Calls the device asked about that it has nothing to do with, or that could not be asked; with what it has of them.
    refused: Vec<(CallId, Option<Resume>, Refusal)>,
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
        self.members.push(Member {
            session: session.clone(),
            device,
            outbox,
            since: clock::now(),
            holding: Some(Vec::new()),
            late: HashMap::new(),
        });
        let known = self.loaded.then(|| self.open_calls());
        let attaching = attach(self.node.clone(), caller, known, resume.into_iter().collect());
        ctx.spawn(attaching.into_actor(self).map(move |found, actor, ctx| {
            let outcome = match found {
                Ok(found) => {
                    actor.loaded = true;
                    actor.welcome(&session, welcome, found, ctx);
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
        let (node, caller) = (&node, &caller);
        let mut answer = node.ask(&call, caller.clone(), Ask::Attach { resume });
        async move {
            let answered = match tokio::time::timeout(OWNER_PATIENCE, &mut answer).await {
                Ok(answered) => answered,
                Err(_) => {
                    // It may have died just now. The question goes on: the next owner hears of the device by it.
                    node.spawn(async move { drop(answer.await) });
                    let late = Refusal::unavailable("the call's owner does not answer");
                    node.read_call(&call, Some(caller), Ask::Attach { resume }, late).await
                }
            };
            (call, resume, answered)
        }
    });
    let mut found = Found { attached: Vec::new(), refused: Vec::new() };
    for (call, resume, answer) in join_all(asked).await {
        match answer {
            Ok(Answer::Attached(attached)) => found.attached.push((call, resume, attached)),
            Ok(_) => found.refused.push((call, resume, Refusal::new(ErrorCode::Internal, "an answer of another kind"))),
            Err(refusal) => found.refused.push((call, resume, refusal)),
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
        // It may have ended while others were still asked.
        if missed.standing == Standing::Over || self.over.contains(call) {
            return;
        }
        self.node.directory.follow(call, &missed.owner, &self.user);
        let alone = self.members.len() == 1;
        let tracked = self.calls.entry(call.clone()).or_insert_with(|| Tracked {
            epoch: missed.epoch,
            signal_epoch: missed.signal_epoch,
            seq: missed.seq,
            checked: missed.seq,
            standing: missed.standing.clone(),
            suppressed: false,
            repairing: None,
            asked: 0,
        });
        if alone {
            // Others that were here before have still to be handed what this one is told by being attached.
            tracked.seq = tracked.seq.max(missed.seq);
        }
    }

    fn welcome(&mut self, session: &SessionId, welcome: Welcome, found: Found, ctx: &mut Context<Self>) {
        for (call, _, attached) in &found.attached {
            self.track(call, attached);
        }
        let Some(member) = self.members.iter_mut().find(|member| member.session == *session) else { return };
        let open = found.attached.iter().filter(|(_, _, a)| a.missed.standing != Standing::Over);
        let calls: Vec<Frame> = open.map(|(_, _, attached)| attached.call.clone()).collect();
        member.outbox.push(welcome(&calls));
        let mut has = HashMap::new();
        for (call, resume, attached) in &found.attached {
            member.catch_up(&self.node, &self.user, attached);
            has.insert(call, Has::of(attached));
            if !attached.owner_knows && attached.missed.standing != Standing::Over {
                member.late.insert(call.clone(), Late { signals_only: true, ..Late::default() });
                attach_later(session.clone(), call.clone(), *resume, ctx);
            }
        }
        for (call, resume, refusal) in &found.refused {
            let mut told = refusal.clone();
            told.details = Some(serde_json::json!({ "callId": call }));
            member.outbox.push(Frame::error_event(Some("session:hello"), &told));
            if refusal.retryable {
                member.late.insert(call.clone(), Late::default());
                attach_later(session.clone(), call.clone(), *resume, ctx);
            }
        }
        for held in member.holding.take().unwrap_or_default() {
            let (Held::Event { call, .. } | Held::Signal { call, .. }) = &held;
            let signal = matches!(held, Held::Signal { .. });
            match member.late.get_mut(call) {
                Some(late) if signal || !late.signals_only => late.held.push(held),
                _ => {
                    let had = has.get(call).copied();
                    member.hand_over(held, had);
                }
            }
        }
    }

    /// Asks again about a call whose owner could not be asked when the session was attached.
    fn attach_late(&mut self, session: SessionId, call: CallId, resume: Option<Resume>, ctx: &mut Context<Self>) {
        let Some(member) = self.members.iter().find(|member| member.session == session) else { return };
        let Some(late) = member.late.get(&call) else { return };
        let caller = self.caller(&session, &member.device);
        let seq = self.calls.get(&call).map_or(0, |tracked| tracked.seq);
        let has = match resume {
            _ if !late.signals_only => Some(resume.unwrap_or(NOTHING)),
            // It was told by what the store knows: only the signals are wanted.
            Some(resume) => Some(Resume { seq, ..resume }),
            None => None,
        };
        let asked = self.node.ask(&call, caller, Ask::Attach { resume: has });
        ctx.spawn(asked.into_actor(self).map(move |answer, actor, ctx| {
            let answer = match answer {
                Ok(Answer::Attached(attached)) => Some(attached),
                Err(refusal) if refusal.retryable => return attach_later(session, call, resume, ctx),
                _ => None,
            };
            let Some(member) = actor.members.iter_mut().find(|member| member.session == session) else { return };
            let Some(late) = member.late.remove(&call) else { return };
            let Some(attached) = answer else {
                // Nothing to do with the device any more, or over. Its events come as they do for the others.
                return;
            };
            let owner_knows = attached.owner_knows;
            if late.signals_only && !owner_knows {
                member.late.insert(call.clone(), late);
                return attach_later(session, call, resume, ctx);
            }
            let has = Has::of(&attached);
            if late.signals_only {
                member.catch_up_signals(&attached);
            } else {
                // The session was welcomed without this call, so it is told of it whatever it has.
                member.catch_up(&actor.node, &actor.user, &attached);
            }
            let (signals, events): (Vec<Held>, Vec<Held>) =
                late.held.into_iter().partition(|held| matches!(held, Held::Signal { .. }));
            for held in events {
                member.hand_over(held, Some(has));
            }
            if owner_knows {
                signals.into_iter().for_each(|held| member.hand_over(held, Some(has)));
            } else {
                member.late.insert(call.clone(), Late { held: signals, signals_only: true });
                attach_later(session, call.clone(), resume, ctx);
            }
            if late.signals_only {
                actor.node.directory.follow(&call, &attached.missed.owner, &actor.user);
                if attached.missed.seq > seq {
                    actor.compare(call, ctx);
                }
            } else {
                actor.track(&call, &attached);
            }
        }));
    }

    /// Looks for calls that began while messages were lost.
    pub(super) fn look_for_calls(&mut self, ctx: &mut Context<Self>) {
        let store = self.node.store.clone();
        let user = self.user.clone();
        let looking = async move { store.open_calls_of(&user).await };
        ctx.spawn(looking.into_actor(self).map(|found, actor, ctx| match found {
            Ok(calls) => calls.into_iter().for_each(|call| actor.discover(call, ctx)),
            Err(error) => tracing::warn!(user.id = %actor.user, %error, "open calls not compared"),
        }));
    }

    /// Finds out about an open call of the user's that was not heard of.
    pub(super) fn discover(&mut self, call: CallId, ctx: &mut Context<Self>) {
        // The look may be older than what was heard meanwhile.
        if self.calls.contains_key(&call) || self.over.contains(&call) {
            return;
        }
        let tracked = Tracked {
            epoch: 0,
            signal_epoch: 0,
            seq: 0,
            checked: 0,
            standing: Standing::Bystander,
            suppressed: false,
            repairing: Some(Vec::new()),
            asked: 0,
        };
        self.calls.insert(call.clone(), tracked);
        self.repair(call, ctx);
    }
}
