//! Handing events and signals on: in order, once, and without holes.

use std::{collections::hash_map::Entry, sync::Arc, time::Duration};

use actix::{ActorFutureExt, AsyncContext, Context, Handler, WrapFuture};

use super::{Compare, CompareOne, Deliver, DeliverSignal, Digest, Held, Member, NewOwner, Stands, Tracked, UserActor};
use crate::{
    actors::{
        Answer, Ask, Caller, CloseCause, Node,
        messages::{Delivery, Missed, Resume, Standing},
        spans,
    },
    clock,
    domain::{CallId, DeviceId, NodeId, UserId, busy::is_busy},
    trace,
    wire::{
        ErrorCode, Frame,
        render::{self, Item},
    },
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
/// How soon, and in the end how often, a call's new owner that cannot be reached is told again where a device is. It takes
/// who is not named within [`crate::actors::call`]'s patience for gone.
const TOLD_AGAIN: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(1);
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
                // A call not heard of before. Who is rung was told so first: if it does not begin with this, the ring was
                // lost, and is looked for. For others, what came before may have been told to another node.
                let begins = delivery.items.first().map_or(0, |item| item.prev);
                let seq = if delivery.standing == Standing::Rung { 0 } else { begins };
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
        let reaches = delivery.items.last().map_or(0, |item| item.seq);
        self.hand_on(&delivery, reaches);
        if committed {
            self.doubt_this_node(ctx);
        }
    }

    /// Hands the items on that were not handed on before. `reaches`: how far the call had come when this was said. What is
    /// older than what was heard by another way says nothing of where the user stands now.
    fn hand_on(&mut self, delivery: &Delivery, reaches: u64) {
        let Some(tracked) = self.calls.get_mut(&delivery.call) else { return };
        let newest = delivery.epoch >= tracked.epoch && reaches >= tracked.seq;
        tracked.epoch = tracked.epoch.max(delivery.epoch);
        for item in &delivery.items {
            if item.seq <= tracked.seq {
                continue;
            }
            tracked.seq = item.seq;
            if !tracked.suppressed {
                push(&self.node, &self.user, &mut self.members, &delivery.call, item);
            }
        }
        if !newest {
            return;
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
        self.node.metrics.gap_repairs.inc();
        let asked = self.node.ask(&call, caller, Ask::Sync(Resume { seq: tracked.seq, sig: None }));
        ctx.spawn(asked.into_actor(self).map(move |answer, actor, ctx| {
            match answer {
                Ok(Answer::Missed(missed)) => actor.fill(&call, missed, ctx),
                Ok(_) => {}
                Err(refusal) => {
                    let why = &*refusal.message;
                    if refusal.code == ErrorCode::NotFound {
                        // It is none of the user's business any more: they were taken out of its group. The last that
                        // they are told of it may have come while the question was under way.
                        let tracked = actor.calls.get_mut(&call);
                        for delivery in tracked.and_then(|tracked| tracked.repairing.take()).unwrap_or_default() {
                            actor.hand_on(&delivery, 0);
                        }
                        return actor.forget(&call);
                    }
                    if refusal.retryable {
                        tracing::debug!(call.id = %call, user.id = %actor.user, why, "missing events not found yet");
                    } else {
                        tracing::warn!(call.id = %call, user.id = %actor.user, why, "missing events not found");
                    }
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
            let attached = |member: &&Member| {
                member.holding.is_none() && member.late.get(call).is_none_or(|late| late.signals_only)
            };
            let told = self.members.iter().filter(|member| !tracked.suppressed && attached(member));
            for member in told {
                let pass = missed.pass.as_ref();
                member.outbox.push(self.node.with_media(&snapshot, pass, &self.user, &member.device));
            }
        }
        let Missed { seq, epoch, owner, standing, items, .. } = missed;
        let rings = items.iter().any(|item| item.rings && item.seq > tracked.seq);
        if rings && standing == Standing::Rung && self.is_busy(call) {
            if let Some(tracked) = self.calls.get_mut(call) {
                tracked.suppressed = true;
            }
            self.tell_busy(call.clone());
        }
        let (call, unlinked, trace, at) = (call.clone(), false, None, clock::monotonic());
        self.hand_on(&Delivery { call, epoch, owner, items, standing, unlinked, trace, at }, seq);
        for delivery in waiting {
            self.on_delivery(delivery, ctx);
        }
    }
}

fn push(node: &Node, user: &UserId, members: &mut [Member], call: &CallId, item: &Item) {
    for member in members {
        let frame = node.with_media(item.for_device(&member.device), item.pass.as_ref(), user, &member.device);
        member.send(call, frame, false, |frame| Held::Event { call: call.clone(), seq: item.seq, frame });
    }
}

impl Member {
    /// Sends now, or holds what comes while the session is being attached. Too much of that, and the client begins anew.
    fn send(&mut self, call: &CallId, frame: Frame, signal: bool, hold: impl FnOnce(Frame) -> Held) {
        let held = match (&mut self.holding, self.late.get_mut(call)) {
            (Some(held), _) => held,
            (None, Some(late)) if signal || !late.signals_only => &mut late.held,
            (None, _) => return self.outbox.push(frame),
        };
        if held.len() < MAX_HELD {
            held.push(hold(frame));
        } else {
            self.outbox.close(CloseCause::TryAgain);
        }
    }
}

impl Handler<Deliver> for UserActor {
    type Result = ();

    fn handle(&mut self, Deliver(delivery): Deliver, ctx: &mut Self::Context) {
        let span = spans::deliver(&self.node, &delivery, self.members.len());
        let _within = trace::enter(span.context().or(delivery.trace));
        self.on_delivery(delivery.clone(), ctx);
        self.node.metrics.on_delivered(delivery.owner == self.node.id, delivery.at.elapsed());
        if let (true, Standing::Engaged { device }) = (delivery.unlinked, &delivery.standing) {
            self.tell_where(&delivery.call, device);
        }
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
            member.send(&signal.call, signal.frame.clone(), true, |frame| Held::Signal { call, epoch, sig, frame });
        }
    }
}

impl UserActor {
    /// Tells a call's owner which session here the device in the call has, if any.
    pub(super) fn tell_where(&self, call: &CallId, device: &DeviceId) {
        for member in self.members.iter().filter(|member| member.device == *device) {
            self.tell_where_session(call.clone(), self.caller(&member.session, &member.device));
        }
    }

    pub(super) fn compare(&mut self, call: CallId, ctx: &mut Context<Self>) {
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
        let Some(frame) = frame else {
            tracked.epoch = epoch;
            // What the owner before sent last may come after this, and is then dropped.
            let behind = seq > tracked.seq.max(tracked.checked);
            self.node.directory.follow(&call, &owner, &self.user);
            if behind {
                self.compare(call, ctx);
            }
            return;
        };
        tracked.signal_epoch = epoch;
        self.on_new_owner(call, epoch, &owner, &frame, ctx);
    }
}

impl UserActor {
    fn on_new_owner(&mut self, call: CallId, epoch: u64, owner: &NodeId, frame: &Frame, ctx: &mut Context<Self>) {
        let Some(tracked) = self.calls.get_mut(&call).filter(|tracked| epoch > tracked.epoch) else { return };
        tracked.epoch = epoch;
        self.node.directory.follow(&call, owner, &self.user);
        if let Standing::Engaged { device } = &tracked.standing {
            let device = device.clone();
            for member in self.members.iter().filter(|member| member.device == device) {
                member.outbox.push(frame.clone());
            }
            self.tell_where(&call, &device);
        }
        self.compare(call, ctx);
        self.doubt_this_node(ctx);
    }

    /// Tells a call's owner where a device in it is. Nothing else follows from the answer.
    fn tell_where_session(&self, call: CallId, caller: Caller) {
        let node = self.node.clone();
        self.node.spawn(async move {
            let mut wait = TOLD_AGAIN;
            // For as long as the session is here and the owner cannot be reached.
            while caller.session.as_ref().is_some_and(|session| node.directory.session(session).is_some()) {
                match node.ask(&call, caller.clone(), Ask::Attach { resume: None }).await {
                    Ok(Answer::Attached(attached)) if !attached.owner_knows => {}
                    Err(refusal) if refusal.retryable => {}
                    _ => return,
                }
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(LONGEST_WAIT);
            }
        });
    }
}

impl Handler<Stands> for UserActor {
    type Result = ();

    fn handle(&mut self, Stands { call, owner, epoch, seq, open }: Stands, ctx: &mut Self::Context) {
        if self.over.contains(&call) {
            return;
        }
        let Some(tracked) = self.calls.get(&call) else {
            if open {
                self.discover(call, ctx);
            }
            return;
        };
        if open && tracked.epoch > 0 && epoch > tracked.epoch {
            // The new owner said so, and was not heard.
            let frame = render::renegotiate(&call, epoch);
            self.on_new_owner(call, epoch, &owner, &frame, ctx);
        } else if epoch >= tracked.epoch && seq > tracked.seq.max(tracked.checked) {
            self.compare(call, ctx);
        }
    }
}
