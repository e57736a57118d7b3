//! Prey: open calls that have lasted for `CARILLON_MAX_CALL_SECS` and [`LOOK_MARGIN`] by the database's clock: since the
//! second person came in, or since the call began if nobody has.
//!
//! The call's owner is asked to see for itself, and ends it as `max_duration`, as its own timer would have.
//!
//! Leaves alone every call when there is no such setting, calls that are not that old by their owner's clock, and calls
//! whose owner cannot be asked.

use async_trait::async_trait;

use super::{
    BATCH, Deed, Halt, LOOK_MARGIN, Sweeper,
    run::{Found, Run, ask_owner},
};
use crate::domain::Prey;

pub(super) const NAME: &str = "max_duration";

pub(super) struct MaxDuration;

#[async_trait(?Send)]
impl Sweeper for MaxDuration {
    fn name(&self) -> &'static str {
        NAME
    }

    fn what(&self) -> &'static str {
        "calls that have lasted for CARILLON_MAX_CALL_SECS are ended by their owner"
    }

    async fn sweep(&self, run: &mut Run) -> Result<(), Halt> {
        let Some(longest) = run.node.rules.max_duration else { return Ok(()) };
        let mut after = None;
        loop {
            let batch = run.node.store.longest_calls(longest, LOOK_MARGIN, after.as_ref(), BATCH).await?;
            let Some(last) = batch.last() else { return Ok(()) };
            after = Some(last.call.clone());
            let batch = batch.into_iter().map(|overdue| {
                (
                    Found { call: overdue.call.clone(), user: None, age: Some(overdue.age), recording: None },
                    overdue.call,
                )
            });
            let act = |node, call| ask_owner(node, call, Prey::PastMaxDuration);
            run.act(Deed::EndCall, "it is past the maximum duration", batch.collect(), act).await?;
        }
    }
}
