//! Committing what was decided, and what follows from the outcome.

use std::{sync::Arc, time::Duration};

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use uuid::Uuid;

use super::{CallActor, Caller, RETRY_TIMER, Reply, publish::Prepared, relay::Relay};
use crate::{
    domain::{Event, Timestamp},
    store::{Commit, CommitOutcome, StoreError},
    wire::Refusal,
};

impl CallActor {
    #[allow(clippy::too_many_arguments, reason = "what a command is, and where its outcome goes")]
    pub(super) fn commit(
        &mut self,
        events: Vec<Event>,
        kind: &'static str,
        id: Option<Uuid>,
        caller: Option<Caller>,
        reply: Option<Reply>,
        now: Timestamp,
        ctx: &mut Context<Self>,
    ) {
        let prepared = Prepared::fold(&self.call, events, now);
        let commit = Commit {
            command: id.unwrap_or_else(Uuid::now_v7),
            node: self.node.id.clone(),
            epoch: self.epoch,
            prev_seq: self.call.seq,
            before: Some(self.call.clone()),
            after: prepared.after.clone(),
            events: prepared.recorded.clone(),
            slot: None,
            outcome: None,
            by: caller.as_ref().map(|c| c.user.clone()),
            kind,
        };
        self.busy = true;
        let store = self.node.store.clone();
        let committing = async move { store.commit(commit).await };
        ctx.spawn(committing.into_actor(self).map(move |outcome, actor, ctx| {
            actor.busy = false;
            actor.on_committed(outcome, prepared, caller, reply, ctx);
        }));
    }

    fn on_committed(
        &mut self,
        outcome: Result<CommitOutcome, StoreError>,
        prepared: Prepared,
        caller: Option<Caller>,
        reply: Option<Reply>,
        ctx: &mut Context<Self>,
    ) {
        fail::fail_point!("call-committed");
        match outcome {
            Ok(CommitOutcome::Committed) => {
                self.call = Arc::clone(&prepared.after);
                self.history.append(&self.call.id, prepared.recorded.clone());
                if let Some(caller) = caller.filter(|c| self.is_at(c)) {
                    self.link(&caller);
                }
                if self.call.status.is_final() {
                    // Nobody is left to be told of signals; the memory is the larger part of what lingers.
                    self.relay = Relay::new(self.epoch);
                }
                self.note_position();
                self.log(&prepared);
                fail::fail_point!("call-before-publish");
                self.publish(prepared, ctx);
                fail::fail_point!("call-after-publish");
                if let Some(reply) = reply {
                    // The client may have gone meanwhile; what it asked for is done all the same.
                    let _ = reply.send(Ok(self.call_answer()));
                }
                fail::fail_point!("call-after-reply");
                self.arm_timer(ctx, Duration::ZERO);
            }
            Ok(CommitOutcome::Fenced | CommitOutcome::CallExists | CommitOutcome::SlotTaken { .. }) => {
                // Dropping what waits makes every asker look for the owner anew.
                tracing::warn!(
                    call.id = %self.call.id, node.id = %self.node.id, epoch = self.epoch, seq = self.call.seq,
                    "commit refused: the call has moved on; its actor stops"
                );
                self.jobs.clear();
                drop(reply);
                self.retire(ctx);
                return;
            }
            Err(error) => {
                tracing::warn!(call.id = %self.call.id, node.id = %self.node.id, %error, "commit failed");
                if let Some(reply) = reply {
                    let _ = reply.send(Err(Refusal::from(error)));
                }
                self.arm_timer(ctx, RETRY_TIMER);
            }
        }
        self.pump(ctx);
    }

    fn log(&self, prepared: &Prepared) {
        for recorded in &prepared.recorded {
            match &recorded.event {
                Event::Ended { status, reason, by } => tracing::info!(
                    call.id = %self.call.id, node.id = %self.node.id, seq = recorded.seq, status = status.as_str(),
                    reason = reason.as_str(), by = by.as_ref().map_or("", |user| user.as_str()),
                    duration_secs = self.call.duration(recorded.at).as_secs(), "call ended"
                ),
                event => tracing::debug!(
                    call.id = %self.call.id, node.id = %self.node.id, seq = recorded.seq, event = event.kind(),
                    user.id = event.subject().map_or("", |user| user.as_str()), "call changed"
                ),
            }
        }
    }
}
