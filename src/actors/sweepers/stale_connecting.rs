//! Prey: open calls in which somebody has been `connecting` for the connect timeout and [`LOOK_MARGIN`] by the database's
//! clock, since they came in.
//!
//! The call's owner is asked to see for itself: who is past their own deadline becomes what the timer would have made of
//! them (taken to be connected, since peer to peer the server sees no media); who waits without a deadline has left, or
//! ended a call that never began, as `swept`.
//!
//! Leaves alone who has been given a new wait by coming back from a lost connection (their row shows the first), who is
//! reconnecting (`left_behind`), and calls whose owner cannot be asked.

use async_trait::async_trait;

use super::{
    BATCH, Deed, Halt, LOOK_MARGIN, Sweeper,
    run::{Found, Run, ask_owner},
};
use crate::domain::Prey;

pub(super) const NAME: &str = "stale_connecting";

pub(super) struct StaleConnecting;

#[async_trait(?Send)]
impl Sweeper for StaleConnecting {
    fn name(&self) -> &'static str {
        NAME
    }

    fn what(&self) -> &'static str {
        "participants who still connect after the connect timeout are settled by their call's owner"
    }

    async fn sweep(&self, run: &mut Run) -> Result<(), Halt> {
        let timeout = run.node.rules.connect_timeout;
        let mut after = None;
        loop {
            let batch = run.node.store.stale_connecting(timeout, LOOK_MARGIN, after.as_ref(), BATCH).await?;
            let Some(last) = batch.last() else { return Ok(()) };
            after = Some(last.call.clone());
            let batch = batch.into_iter().map(|overdue| {
                (
                    Found { call: overdue.call.clone(), user: None, age: Some(overdue.age), recording: None },
                    overdue.call,
                )
            });
            let act = |node, call| ask_owner(node, call, Prey::StaleConnecting);
            run.act(Deed::EndConnecting, "the wait for media has passed its deadline", batch.collect(), act).await?;
        }
    }
}
