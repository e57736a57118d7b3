//! Committing what was decided, and what follows from the outcome.

use std::{sync::Arc, time::Duration};

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use uuid::Uuid;

use super::{CallActor, Caller, RETRY_TIMER, Reply, asks::waits, call_object, publish::Prepared, relay::Relay};
use crate::{
    actors::{Answer, keyed, recordings},
    clock,
    domain::{Call, Event, Recorded, Timestamp, UserId},
    store::{Commit, CommitOutcome, StoreError},
    trace::{self, Kind, Span, TraceContext},
    wire::Refusal,
};

impl Reply {
    /// What the commit records of the answer to a command with a key: the answer is made before, to be the same.
    fn keep(&mut self, kind: &str, after: &Call, by: Option<&UserId>) -> Option<String> {
        let key = self.key?;
        let first = if !keyed::answers_with_call(kind) {
            Answer::Done
        } else if by.is_some_and(|user| waits(after, user)) {
            Answer::Lobby
        } else {
            Answer::Call(call_object(after, clock::now()))
        };
        self.kept = Some(first.clone());
        key.record(&Ok(first))
    }
}

impl CallActor {
    #[allow(clippy::too_many_arguments, reason = "what a command is, and where its outcome goes")]
    pub(super) fn commit(
        &mut self,
        events: Vec<Event>,
        kind: &'static str,
        id: Option<Uuid>,
        caller: Option<Caller>,
        mut reply: Option<Reply>,
        now: Timestamp,
        ctx: &mut Context<Self>,
    ) {
        // What nobody asked for, a timer or a fact that was noticed, is a trace of its own.
        let (within, root) = match trace::current() {
            Some(context) => (context, Span::none()),
            None => self.begin_trace(kind),
        };
        let prepared = Prepared::fold(&self.call, events, now);
        let by = caller.as_ref().map(|caller| &caller.user);
        let outcome = reply.as_mut().and_then(|reply| reply.keep(kind, &prepared.after, by));
        let commit = Commit {
            command: id.unwrap_or_else(Uuid::now_v7),
            node: self.node.id.clone(),
            epoch: self.epoch,
            prev_seq: self.call.seq,
            before: Some(self.call.clone()),
            after: prepared.after.clone(),
            events: prepared.recorded.clone(),
            slot: None,
            outcome,
            by: caller.as_ref().map(|c| c.user.clone()),
            kind,
            trace: Some(within),
        };
        self.busy = true;
        let store = self.node.store.clone();
        let committing = async move { store.commit(commit).await };
        ctx.spawn(committing.into_actor(self).map(move |outcome, actor, ctx| {
            actor.busy = false;
            let _within = trace::enter(Some(within));
            actor.on_committed(outcome, prepared, caller, reply, ctx);
            drop(root);
        }));
    }

    fn begin_trace(&self, kind: &'static str) -> (TraceContext, Span) {
        let (context, mut span) = trace::receive(None, "by itself", Kind::Internal);
        span.note(|span| {
            span.set("carillon.call.id", self.call.id.as_str()).set("carillon.command", kind);
        });
        (context, span)
    }

    fn on_committed(
        &mut self,
        outcome: Result<CommitOutcome, StoreError>,
        mut prepared: Prepared,
        caller: Option<Caller>,
        reply: Option<Reply>,
        ctx: &mut Context<Self>,
    ) {
        fail::fail_point!("call-committed");
        match outcome {
            Ok(CommitOutcome::Committed) => {
                let before = std::mem::replace(&mut self.call, Arc::clone(&prepared.after));
                self.history.append(&self.call.id, prepared.recorded.clone());
                let asker = caller.as_ref().map(|caller| caller.user.clone());
                if let Some(caller) = caller.filter(|c| self.is_at(c)) {
                    self.link_or_await(&caller, &prepared.recorded, ctx);
                }
                if self.call.status.is_final() {
                    self.node.metrics.on_ended(self.call.status);
                    // Nobody is left to be told of signals; the memory is the larger part of what lingers.
                    self.relay = Relay::new(self.epoch);
                }
                self.note_position();
                self.log(&prepared);
                fail::fail_point!("call-before-publish");
                let recorded = std::mem::take(&mut prepared.recorded);
                self.publish(prepared, ctx);
                self.perform_room_effects(&before, &recorded, ctx);
                fail::fail_point!("call-after-publish");
                if recorded.iter().any(|recorded| recordings::is_concerned(&recorded.event)) {
                    self.record();
                }
                if let Some(mut reply) = reply {
                    let answer = match reply.kept.take() {
                        Some(first) => Answer::OnRecord(Box::new(Ok(first))),
                        None => self.answer_to(asker.as_ref()),
                    };
                    reply.send(Ok(answer));
                }
                fail::fail_point!("call-after-reply");
                self.arm_timer(ctx, Duration::ZERO);
            }
            Ok(CommitOutcome::Repeated) => {
                // The key was used at the same moment, by way of another call or node: nothing was written here.
                if let Some(reply) = reply {
                    reply.send(Ok(Answer::SeeRecord));
                }
            }
            Ok(CommitOutcome::Fenced | CommitOutcome::CallExists | CommitOutcome::SlotTaken { .. }) => {
                // Dropping what waits makes every asker look for the owner anew.
                tracing::warn!(
                    call.id = %self.call.id, node.id = %self.node.id, epoch = self.epoch, seq = self.call.seq,
                    "commit refused: the call has moved on; its actor stops"
                );
                drop(reply);
                self.stop_to_be_revived(ctx);
                return;
            }
            Err(error) => {
                self.in_doubt |= matches!(error, StoreError::Unavailable { unknown_outcome: true });
                tracing::warn!(call.id = %self.call.id, node.id = %self.node.id, %error, "commit failed");
                if let Some(reply) = reply {
                    reply.send(Err(Refusal::from(error)));
                }
                self.arm_timer(ctx, RETRY_TIMER);
            }
        }
        self.pump(ctx);
    }

    /// Everybody has heard of it: whatever is to be done about the call's recording now is done, beside the call.
    pub(super) fn record(&self) {
        if let Some(recording) = &self.call.recording {
            recordings::drive_beside(&self.node, recording.id.clone());
        }
    }

    /// A caller with a session is where it is; one without has come in at a device whose session is not known.
    fn link_or_await(&mut self, caller: &Caller, recorded: &[Recorded], ctx: &mut Context<Self>) {
        if caller.session.is_some() {
            return self.link(caller);
        }
        let enters = |event: &Event| {
            let comes_in = matches!(
                event,
                Event::Accepted { .. } | Event::Joined { .. } | Event::Moved { .. } | Event::Reconnected { .. }
            );
            comes_in && event.subject() == Some(&caller.user)
        };
        if recorded.iter().any(|recorded| enters(&recorded.event)) {
            // What is known may be another device's, or a session of this one that has ended since.
            self.links.remove(&caller.user);
            self.awaited.remove(&caller.user);
            self.await_sessions(ctx);
        }
    }

    fn log(&self, prepared: &Prepared) {
        for recorded in &prepared.recorded {
            match &recorded.event {
                Event::Ended { status, reason, by } => tracing::info!(
                    call.id = %self.call.id, node.id = %self.node.id, seq = recorded.seq, status = status.as_str(),
                    reason = reason.as_str(), by = by.as_ref().map(|user| user.as_str()),
                    duration_secs = self.call.duration(recorded.at).as_secs(), "call ended"
                ),
                Event::Escalating { cause, .. } => tracing::info!(
                    call.id = %self.call.id, node.id = %self.node.id, seq = recorded.seq, cause = cause.as_str(),
                    people = self.call.engaged().count(), "call moves to the media server"
                ),
                Event::Escalated {} => tracing::info!(
                    call.id = %self.call.id, node.id = %self.node.id, seq = recorded.seq, "call is on the media server"
                ),
                Event::EscalationAborted { reason, .. } => tracing::warn!(
                    call.id = %self.call.id, node.id = %self.node.id, seq = recorded.seq, reason = reason.as_str(),
                    "call stays peer to peer"
                ),
                event => tracing::debug!(
                    call.id = %self.call.id, node.id = %self.node.id, seq = recorded.seq, event = event.kind(),
                    user.id = event.subject().map(|user| user.as_str()), "call changed"
                ),
            }
        }
    }
}
