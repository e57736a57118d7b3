//! Prey: open calls in which somebody is still rung although their ring's deadline passed more than [`LOOK_MARGIN`] ago
//! by the database's clock; or who is rung without a deadline, for longer than any ring may last.
//!
//! The call's owner is asked to see for itself: what is past its own deadline becomes what the ring's timer would have
//! made of it (`missed`, and `no_answer` when nobody is left); a ring without a deadline ends the call as `swept`.
//!
//! Leaves alone rings whose owner, by its own clock and deadlines, sees them still ring, and calls whose owner cannot be
//! asked.

use async_trait::async_trait;

use super::{
    BATCH, Deed, Halt, LOOK_MARGIN, Sweeper,
    run::{Found, Run, ask_owner},
};
use crate::domain::Prey;

pub(super) const NAME: &str = "stale_ringing";

pub(super) struct StaleRinging;

#[async_trait(?Send)]
impl Sweeper for StaleRinging {
    fn name(&self) -> &'static str {
        NAME
    }

    fn what(&self) -> &'static str {
        "calls that still ring after the ring's deadline are ended as missed by their owner"
    }

    async fn sweep(&self, run: &mut Run) -> Result<(), Halt> {
        let mut after = None;
        loop {
            let batch = run.node.store.stale_rings(LOOK_MARGIN, after.as_ref(), BATCH).await?;
            let Some(last) = batch.last() else { return Ok(()) };
            after = Some(last.call.clone());
            let batch = batch.into_iter().map(|overdue| {
                (
                    Found { call: overdue.call.clone(), user: None, age: Some(overdue.age), recording: None },
                    overdue.call,
                )
            });
            let act = |node, call| ask_owner(node, call, Prey::StaleRinging);
            run.act(Deed::EndRing, "the ring's deadline has passed", batch.collect(), act).await?;
        }
    }
}
