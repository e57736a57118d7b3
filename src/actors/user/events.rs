//! Handing events and signals on: in order, once, and without holes.

use std::{collections::hash_map::Entry, sync::Arc, time::Duration};

use actix::{ActorFutureExt, AsyncContext, Context, Handler, WrapFuture};

use super::{Compare, CompareOne, Deliver, DeliverSignal, Digest, Held, Member, NewOwner, Tracked, UserActor};
use crate::{
    actors::{
        Answer, Ask, CloseCause,
        messages::{Delivery, Missed, Resume, Standing},
    },
    domain::{CallId, DeviceId, busy::is_busy},
    wire::{Frame, render::Item},
};

/// How many frames wait for a session while it is attached, which takes milliseconds. A session that is behind by more
/// than a client keeps is better begun anew.
const MAX_HELD: usize = 512;
/// How many calls that are over are remembered. What is told twice comes within seconds, and few have more calls in that
/// time.
const KEPT_OVER: usize = 32;
/// How long after missing events could not be found they are asked for again. Shorter is work for nothing while Redis or
/// the owner is away; longer keeps everybody waiting who is behind.
const REPAIR_AGAIN: Duration = Duration::from_millis(500);
/// How many deliveries wait while a hole is filled. More arrive only when the owner cannot be asked: then they are
/// dropped, and the next one after it, or a digest, finds the hole again.
const MAX_WAITING: usize = 64;

impl UserActor {
    /// Would a new ring find this user busy?
    fn is_busy(&self, but_for: &CallId) -> bool {
        let others = self.calls.iter().filter(|(call, _)| *call != but_for);
        is_busy(self.node.busy_policy, others.filter_map(|(_, tracked)| tracked.standing.as_status()))
    }

    fn on_delivery(&mut self, delivery: Arc<Delivery>, ctx: &mut Context<Self>) {
        if self.over.contains(&delivery.call) {
            // Its end was handed on: this comes by another way.
            return;
        }
        let rings = delivery.items.iter().any(|item| item.rings);
        let busy = rings && delivery.standing == Standing::Rung && self.is_busy(&delivery.call);
        let tracked = match self.calls.entry(delivery.call.clone()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                // A call not heard of before: either it begins with this, or what came before was for others.
                let seq = delivery.items.first().map_or(0, |item| item.prev);
                entry.insert(Tracked {
                    epoch: delivery.epoch,
                    // Signals of earlier epochs may come first: the call may have been handed over.
                    signal_epoch: 0,
                    seq,
                    checked: seq,
                    standing: Standing::Bystander,
                    suppressed: false,
                    repairing: None,
                    asked: 0,
                })
            }
        };
        if delivery.epoch < tracked.epoch {
            return;
        }
        // A ring that is sent again says nothing: no database is needed for it.
        let committed = delivery.owner != self.node.id && delivery.items.iter().any(|item| item.seq > tracked.seq);
        if let Some(waiting) = &mut tracked.repairing {
            if waiting.len() < MAX_WAITING {
                waiting.push(delivery);
            }
            return;
        }
        let hole =
            delivery.items.iter().find(|item| item.seq > tracked.seq).is_some_and(|item| item.prev > tracked.seq);
        if hole {
            tracked.repairing = Some(vec![delivery.clone()]);
            self.repair(delivery.call.clone(), ctx);
            return;
        }
        // Only a ring that is new can find the user busy: one that is sent again has rung before they took another call.
        if delivery.items.iter().any(|item| item.rings && item.seq > tracked.seq) {
            tracked.suppressed = busy;
        }
        if rings && tracked.suppressed {
            self.tell_busy(delivery.call.clone());
        }
        self.hand_on(&delivery);
        if committed {
            self.doubt_this_node(ctx);
        }
    }

    /// Hands the items on that were not handed on before.
    fn hand_on(&mut self, delivery: &Delivery) {
        let Some(tracked) = self.calls.get_mut(&delivery.call) else { return };
        tracked.epoch = tracked.epoch.max(delivery.epoch);
        for item in &delivery.items {
            if item.seq <= tracked.seq {
                continue;
            }
            tracked.seq = item.seq;
            if !tracked.suppressed {
                push(&mut self.members, &delivery.call, item);
            }
        }
        tracked.standing = delivery.standing.clone();
        self.node.directory.follow(&delivery.call, &delivery.owner, &self.user);
        if delivery.standing == Standing::Over {
            self.forget(&delivery.call);
            if self.over.len() >= KEPT_OVER {
                self.over.pop_front();
            }
            self.over.push_back(delivery.call.clone());
        }
    }

    pub(super) fn forget(&mut self, call: &CallId) {
        self.calls.remove(call);
        self.node.directory.unfollow(call, &self.user);
    }

    /// Asks the owner (or the store) for what is missing.
    pub(super) fn repair(&mut self, call: CallId, ctx: &mut Context<Self>) {
        let Some(member) = self.members.first() else { return };
        let caller = self.caller(&member.session, &member.device);
        let Some(tracked) = self.calls.get_mut(&call) else { return };
        tracked.asked = tracked.asked.wrapping_add(1);
        let this = tracked.asked;
        tracing::debug!(call.id = %call, user.id = %self.user, seq = tracked.seq, "events missing; asking for them");
        let asked = self.node.ask(&call, caller, Ask::Sync(Resume { seq: tracked.seq, sig: None }));
        ctx.spawn(asked.into_actor(self).map(move |answer, actor, ctx| {
            match answer {
                Ok(Answer::Missed(missed)) => actor.fill(&call, missed, ctx),
                Ok(_) => {}
                Err(refusal) => {
                    tracing::warn!(call.id = %call, user.id = %actor.user, error = %refusal.message, "missing events not found");
                    let latest = |tracked: &&mut Tracked| tracked.asked == this && tracked.repairing.is_some();
                    let Some(tracked) = actor.calls.get_mut(&call).filter(latest) else { return };
                    if refusal.retryable {
                        // What is missing may be the last that happens for long, or a ring: nothing else would find it.
                        ctx.run_later(REPAIR_AGAIN, move |actor, ctx| actor.repair_again(call, this, ctx));
                    } else {
                        tracked.repairing = None;
                    }
                }
            }
        }));
    }

    fn repair_again(&mut self, call: CallId, last: u32, ctx: &mut Context<Self>) {
        if self.calls.get(&call).is_some_and(|tracked| tracked.asked == last && tracked.repairing.is_some()) {
            self.repair(call, ctx);
        }
    }

    fn fill(&mut self, call: &CallId, missed: Missed, ctx: &mut Context<Self>) {
        let Some(tracked) = self.calls.get_mut(call) else { return };
        let waiting = tracked.repairing.take().unwrap_or_default();
        tracked.checked = tracked.checked.max(missed.seq);
        // An older answer may come after a newer one.
        if let Some(snapshot) = missed.snapshot.filter(|_| missed.seq > tracked.seq) {
            tracked.seq = missed.seq;
            // A session that is being attached is told where things stand by that.
            let attached = |member: &&Member| member.holding.is_none() && !member.late.contains_key(call);
            let told = self.members.iter().filter(|member| !tracked.suppressed && attached(member));
            told.for_each(|member| member.outbox.push(snapshot.clone()));
        }
        let Missed { epoch, owner, standing, items, .. } = missed;
        self.hand_on(&Delivery { call: call.clone(), epoch, owner, items, standing });
        for delivery in waiting {
            self.on_delivery(delivery, ctx);
        }
    }
}

fn push(members: &mut [Member], call: &CallId, item: &Item) {
    for member in members {
        let frame = item.for_device(&member.device).clone();
        member.send(call, frame, |frame| Held::Event { call: call.clone(), seq: item.seq, frame });
    }
}

impl Member {
    /// Sends now, or holds what comes while the session is being attached. Too much of that, and the client begins anew.
    fn send(&mut self, call: &CallId, frame: Frame, hold: impl FnOnce(Frame) -> Held) {
        match self.holding.as_mut().or_else(|| self.late.get_mut(call)) {
            None => self.outbox.push(frame),
            Some(held) if held.len() < MAX_HELD => held.push(hold(frame)),
            Some(_) => self.outbox.close(CloseCause::TryAgain),
        }
    }
}

impl Handler<Deliver> for UserActor {
    type Result = ();

    fn handle(&mut self, Deliver(delivery): Deliver, ctx: &mut Self::Context) {
        self.on_delivery(delivery, ctx);
    }
}

impl Handler<DeliverSignal> for UserActor {
    type Result = ();

    fn handle(&mut self, DeliverSignal(signal): DeliverSignal, _: &mut Self::Context) {
        if let Some(tracked) = self.calls.get_mut(&signal.call) {
            if signal.epoch < tracked.signal_epoch || tracked.suppressed {
                return;
            }
            tracked.signal_epoch = signal.epoch;
        }
        let meant = |device: &DeviceId| signal.device.as_ref().is_none_or(|only| only == device);
        for member in self.members.iter_mut().filter(|member| meant(&member.device)) {
            let (call, epoch, sig) = (signal.call.clone(), signal.epoch, signal.sig);
            member.send(&signal.call, signal.frame.clone(), |frame| Held::Signal { call, epoch, sig, frame });
        }
    }
}

impl UserActor {
    fn compare(&mut self, call: CallId, ctx: &mut Context<Self>) {
        if let Some(tracked) = self.calls.get_mut(&call).filter(|tracked| tracked.repairing.is_none()) {
            tracked.repairing = Some(Vec::new());
            self.repair(call, ctx);
        }
    }
}

impl Handler<Compare> for UserActor {
    type Result = ();

    fn handle(&mut self, Compare: Compare, ctx: &mut Self::Context) {
        let calls: Vec<CallId> = self.calls.keys().cloned().collect();
        for call in calls {
            if let Some(tracked) = self.calls.get_mut(&call) {
                // Also while one is being repaired: question or answer may be among what was lost.
                tracked.repairing.get_or_insert_default();
                self.repair(call, ctx);
            }
        }
        self.look_for_calls(ctx);
    }
}

impl Handler<CompareOne> for UserActor {
    type Result = ();

    fn handle(&mut self, CompareOne(call): CompareOne, ctx: &mut Self::Context) {
        self.compare(call, ctx);
    }
}

impl Handler<Digest> for UserActor {
    type Result = ();

    fn handle(&mut self, Digest { call, epoch, seq }: Digest, ctx: &mut Self::Context) {
        let behind = |t: &Tracked| epoch >= t.epoch && seq > t.seq.max(t.checked);
        if self.calls.get(&call).is_some_and(behind) {
            self.compare(call, ctx);
        }
    }
}

impl Handler<NewOwner> for UserActor {
    type Result = ();

    fn handle(&mut self, NewOwner { call, epoch, owner, seq, frame }: NewOwner, ctx: &mut Self::Context) {
        let Some(tracked) = self.calls.get_mut(&call).filter(|tracked| epoch > tracked.epoch) else { return };
        tracked.epoch = epoch;
        self.node.directory.follow(&call, &owner, &self.user);
        let Some(frame) = frame else {
            // What the owner before sent last may come after this, and is then dropped.
            if seq > tracked.seq.max(tracked.checked) {
                self.compare(call, ctx);
            }
            return;
        };
        tracked.signal_epoch = epoch;
        if let Standing::Engaged { device } = &tracked.standing {
            let device = device.clone();
            for member in self.members.iter().filter(|member| member.device == device) {
                member.outbox.push(frame.clone());
                // The owner learns where the device is; nothing else follows from the answer.
                let caller = self.caller(&member.session, &member.device);
                let told = self.node.ask(&call, caller, Ask::Attach { resume: None });
                self.node.spawn(async move { drop(told.await) });
            }
        }
        self.compare(call, ctx);
        self.doubt_this_node(ctx);
    }
}
