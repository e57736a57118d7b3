//! A call's part in being handed over: it holds still, gives away what only its memory has, and ends; or goes on.

use std::sync::Arc;

use actix::{Context, Handler};
use tokio::sync::oneshot;

use super::{CallActor, History, Job, Link, relay::Relay};
use crate::{
    actors::{NodeHandle, handoff::Parcel},
    clock,
    domain::{Call, NodeId, Recorded},
};

/// Finish what waits, then hold still and answer with what goes along. `None`: there is nothing to hand over.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub struct Freeze {
    pub reply: oneshot::Sender<Option<Parcel>>,
}

/// It could not be handed over: go on, in this epoch.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub struct Thaw {
    pub epoch: u64,
}

/// It has been handed over to this node.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub struct HandedOver {
    pub to: NodeId,
}

impl CallActor {
    /// The actor of a call that was handed over with this parcel.
    pub(in crate::actors) fn handed(
        node: NodeHandle,
        call: Call,
        history: Vec<Recorded>,
        epoch: u64,
        parcel: Parcel,
    ) -> Self {
        let mut actor = Self::new(node, Arc::new(call), History::of(history), epoch);
        actor.links = (parcel.links.into_iter())
            .map(|(user, node, session)| (user, Link { node, session, heard_at: clock::monotonic() }))
            .collect();
        actor.all_have_spoken = parcel.all_have_spoken;
        actor.rebuilt = parcel.told_of_owner.is_some();
        actor.told_of_owner = parcel.told_of_owner.into_iter().flatten().collect();
        match parcel.signals {
            Some(kept) => {
                actor.relay = Relay::unpack(kept);
                actor.moved = true;
            }
            None => {
                actor.rebuilt = true;
                actor.told_of_owner.clear();
            }
        }
        actor
    }

    /// Everything that was asked before is done; what comes now waits for the next owner.
    pub(super) fn freeze(&mut self, reply: oneshot::Sender<Option<Parcel>>) {
        let parcel = (!self.call.status.is_final() && self.node.membership.may_own()).then(|| self.pack());
        let leaves = parcel.is_some();
        // Who asked may have given up meanwhile: then nobody would thaw it.
        self.frozen = reply.send(parcel).is_ok() && leaves;
    }

    fn pack(&self) -> Parcel {
        Parcel {
            epoch: self.epoch,
            seq: self.call.seq,
            links: (self.links.iter())
                .map(|(user, link)| (user.clone(), link.node.clone(), link.session.clone()))
                .collect(),
            all_have_spoken: self.all_have_spoken,
            told_of_owner: self.rebuilt.then(|| self.told_of_owner.iter().cloned().collect()),
            signals: self.relay.pack().that_fit(),
        }
    }
}

impl Handler<Freeze> for CallActor {
    type Result = ();

    fn handle(&mut self, Freeze { reply }: Freeze, ctx: &mut Context<Self>) {
        self.jobs.push_back(Job::Freeze(reply));
        self.pump(ctx);
    }
}

impl Handler<Thaw> for CallActor {
    type Result = ();

    fn handle(&mut self, Thaw { epoch }: Thaw, ctx: &mut Context<Self>) {
        self.epoch = epoch;
        self.frozen = false;
        self.tend_room(ctx);
        self.pump(ctx);
    }
}

impl Handler<HandedOver> for CallActor {
    type Result = ();

    fn handle(&mut self, HandedOver { to }: HandedOver, ctx: &mut Context<Self>) {
        // Before the actor leaves the directory: who looks for the call finds the one or the other.
        self.node.directory.set_owner(&self.call.id, &to);
        let waiting = std::mem::take(&mut self.jobs);
        self.retire(ctx);
        for job in waiting {
            // Signals go along in their order. Of the others the dropped reply makes every asker look for the owner anew.
            if let Job::Signal(request) = job {
                self.node.pass_signal_on(&to, request);
            }
        }
    }
}
