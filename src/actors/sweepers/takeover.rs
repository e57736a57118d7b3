//! Prey: open calls whose owner has no good lease by the database's clock, since that ran out.
//!
//! This node claims them, in the conditional way that lets one claim win, and rebuilds them; their timers are armed anew
//! from absolute deadlines. All that there are, in one run: batch after batch without a pause.
//!
//! Leaves alone calls that somebody else claims first (a command that met a dead owner does so too), calls of owners
//! whose lease is good, whether or not they answer, and calls that a later version has written what this one cannot read.

use std::time::Duration;

use async_trait::async_trait;

use super::{
    ActionOutcome, BATCH, Deed, Halt, Sweeper,
    run::{Found, Run, refused},
};
use crate::{actors::NodeHandle, domain::CallId};

pub(super) const NAME: &str = "takeover";

/// How often it looks. Less often, and calls of a node that died wait for longer than its lease and a second.
const INTERVAL: Duration = Duration::from_secs(1);
/// Shorter than the shortest lease (2 s) by more than the renewals of one are apart: the hold of a node that dies in the
/// middle has run out when its calls may be taken. Shorter than the interval too.
const HOLD: Duration = Duration::from_millis(700);

pub(super) struct Takeover;

#[async_trait(?Send)]
impl Sweeper for Takeover {
    fn name(&self) -> &'static str {
        NAME
    }

    fn what(&self) -> &'static str {
        "open calls whose owner's lease has run out are claimed and rebuilt"
    }

    fn interval(&self, _: Duration) -> Duration {
        INTERVAL
    }

    fn hold(&self) -> Duration {
        HOLD
    }

    async fn sweep(&self, run: &mut Run) -> Result<(), Halt> {
        let mut after = None;
        loop {
            let batch = run.node.store.orphaned_calls(after.as_ref(), BATCH).await?;
            let Some(last) = batch.last() else { return Ok(()) };
            after = Some(last.call.clone());
            // What this version cannot read is left to nodes that can; said once, where that was found.
            let batch = batch.into_iter().filter(|orphan| !run.node.is_beyond(&orphan.call)).map(|orphan| {
                (Found { call: orphan.call.clone(), user: None, age: orphan.age, recording: None }, orphan.call)
            });
            run.act(Deed::TakeOver, "its owner's lease has run out", batch.collect(), take_over).await?;
        }
    }
}

async fn take_over(node: NodeHandle, call: CallId) -> ActionOutcome {
    match node.take_over(&call).await {
        Ok(true) => ActionOutcome::Done,
        Ok(false) => ActionOutcome::LeftAlone,
        Err(refusal) => refused(&call, &refusal),
    }
}
