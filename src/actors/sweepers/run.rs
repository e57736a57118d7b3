//! One run of a sweeper: its actions, some at once, each one line in the log and one row in the store, in the same words.
//!
//! Must never act in a dry run, nor after this node may not: it is asked before every batch.

use std::{future::Future, time::Duration};

use futures_util::{StreamExt, stream};
use uuid::Uuid;

use super::{ActionOutcome, Deed, Halt, NodeHandle, hindrance};
use crate::{
    actors::{Answer, Ask, Caller},
    domain::{CallId, Command, DeviceId, Prey, RecordingId, SessionId, UserId},
    store::SweepAction,
    trace::{self, Kind},
    wire::{ErrorCode, Refusal},
};

/// Actions under way at once. More take the readers' connections from the clients of this node; fewer make the takeover of
/// a large node's calls take longer.
const AT_ONCE: usize = 16;
/// As whom a sweeper asks: nobody that a client could be, since no device of it is ever connected.
const ASKER: &str = "sweeper";

/// Something that a look has found.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub call: CallId,
    pub user: Option<UserId>,
    pub age: Option<Duration>,
    pub recording: Option<RecordingId>,
}

/// See the module.
pub(super) struct Run {
    pub id: Uuid,
    pub node: NodeHandle,
    pub sweeper: &'static str,
    pub dry_run: bool,
    pub found: u64,
    pub acted: u64,
    pub failed: u64,
    /// Failed because who decides could not be asked.
    pub unasked: u64,
}

impl Run {
    pub fn new(node: NodeHandle, sweeper: &'static str, dry_run: bool) -> Self {
        Self { id: Uuid::now_v7(), node, sweeper, dry_run, found: 0, acted: 0, failed: 0, unasked: 0 }
    }

    /// Does `act` about everything in the batch, unless this is a dry run; logs and records each. `what` would be done, and
    /// `why`.
    pub async fn act<T, F>(
        &mut self,
        what: Deed,
        why: &'static str,
        batch: Vec<(Found, T)>,
        act: impl Fn(NodeHandle, T) -> F,
    ) -> Result<(), Halt>
    where
        F: Future<Output = ActionOutcome>,
    {
        if let Some(hindrance) = hindrance(&self.node) {
            return Err(Halt::Failed(hindrance.to_owned()));
        }
        let (node, dry_run) = (self.node.clone(), self.dry_run);
        let acting = batch.into_iter().map(|(found, prey)| {
            let acting = (!dry_run).then(|| act(node.clone(), prey));
            async move {
                let outcome = match acting {
                    Some(acting) => acting.await,
                    None => ActionOutcome::DryRun,
                };
                (found, outcome)
            }
        });
        let mut outcomes = stream::iter(acting).buffer_unordered(AT_ONCE);
        let mut actions = Vec::new();
        while let Some((found, outcome)) = outcomes.next().await {
            actions.push(self.note(what, why, &found, outcome));
        }
        drop(outcomes);
        if !actions.is_empty() {
            self.node.store.record_actions(self.id, &actions).await?;
        }
        Ok(())
    }

    /// Counts an action, and says it once in the log; what is returned says it in the store.
    fn note(&mut self, what: Deed, why: &str, found: &Found, outcome: ActionOutcome) -> SweepAction {
        self.found += 1;
        self.node.metrics.sweeps.on_action(self.sweeper, outcome);
        match outcome {
            ActionOutcome::Done => self.acted += 1,
            ActionOutcome::Failed => self.failed += 1,
            ActionOutcome::CouldNotAsk => (self.failed, self.unasked) = (self.failed + 1, self.unasked + 1),
            ActionOutcome::LeftAlone | ActionOutcome::DryRun => {}
        }
        let action = SweepAction {
            n: self.found,
            call: found.call.as_str().to_owned(),
            user: found.user.as_ref().map(|user| user.as_str().to_owned()),
            what: what.as_str().to_owned(),
            why: why.to_owned(),
            age: found.age,
            outcome: outcome.as_str().to_owned(),
            recording: found.recording.as_ref().map(|id| id.as_str().to_owned()),
        };
        tracing::info!(
            sweep = self.sweeper, node.id = %self.node.id, run.id = %self.id, dry_run = self.dry_run,
            call.id = action.call, user.id = action.user, recording.id = action.recording, what = action.what,
            why = action.why, age_secs = action.age.map(|age| age.as_secs()), outcome = action.outcome, "swept"
        );
        action
    }
}

/// Asks the call's owner to see whether the call is what a sweeper takes it for, and to do what follows.
pub(super) async fn ask_owner(node: NodeHandle, call: CallId, prey: Prey) -> ActionOutcome {
    let (Ok(user), Ok(device), Ok(session)) = (UserId::new(ASKER), DeviceId::new(ASKER), SessionId::new(ASKER)) else {
        return ActionOutcome::Failed;
    };
    let caller = Caller { user, device, session: Some(session), node: node.id.clone() };
    let (context, mut span) = trace::receive(None, "sweep", Kind::Internal);
    span.note(|span| {
        span.set("carillon.call.id", call.as_str());
    });
    let asked = {
        let _within = trace::enter(Some(context));
        node.ask(&call, caller, Ask::Notice(Command::Sweep(prey)))
    };
    match trace::within(Some(context), asked).await {
        Ok(Answer::Call(_)) => ActionOutcome::Done,
        Ok(_) => ActionOutcome::LeftAlone,
        Err(refusal) => refused(&call, &refusal),
    }
}

pub(super) fn refused(call: &CallId, refusal: &Refusal) -> ActionOutcome {
    if matches!(refusal.code, ErrorCode::NotFound | ErrorCode::AlreadyEnded) {
        return ActionOutcome::LeftAlone;
    }
    tracing::debug!(call.id = %call, error = %refusal.message, "a call could not be swept");
    if refusal.retryable { ActionOutcome::CouldNotAsk } else { ActionOutcome::Failed }
}
