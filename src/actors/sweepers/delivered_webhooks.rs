//! Prey: deliveries to webhooks (1) delivered, or expired, longer than seven days ago; (2) given up longer than thirty days
//! ago; (3) never sent since their event of thirty days ago, because their webhook is off; (4) of webhooks that are gone.
//! By the database's clock.
//!
//! They are deleted, some thousand in a statement. A dry run counts them, up to as many as one statement deletes.
//!
//! Leaves alone what is still to be sent, and dead letters younger than that: somebody may want to send them again.
//! Records of single deletions are not made: the run's own row says how many there were.

use std::time::Duration;

use async_trait::async_trait;

use super::{Halt, Sweeper, hindrance, run::Run};

pub(super) const NAME: &str = "delivered_webhooks";

/// How often it runs at most. More often is work for nothing; an hour more or less of a week makes no difference.
const EVERY: Duration = Duration::from_secs(60 * 60);
/// How long what is settled well is kept, for who looks whether it was. Longer, and a busy application's table is mostly
/// the past.
const SETTLED_KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How long dead letters are kept. Shorter, and who comes back from a holiday cannot send them again.
const DEAD_KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

pub(super) struct DeliveredWebhooks;

#[async_trait(?Send)]
impl Sweeper for DeliveredWebhooks {
    fn name(&self) -> &'static str {
        NAME
    }

    fn what(&self) -> &'static str {
        "deliveries to webhooks settled 7 days ago, dead letters of 30 days ago, and what webhooks that are off or gone \
         were never sent are deleted"
    }

    fn interval(&self, usual: Duration) -> Duration {
        usual.max(EVERY)
    }

    async fn sweep(&self, run: &mut Run) -> Result<(), Halt> {
        if run.dry_run {
            run.found += run.node.store.count_old_deliveries(SETTLED_KEPT, DEAD_KEPT).await?;
            return Ok(());
        }
        loop {
            if let Some(hindrance) = hindrance(&run.node) {
                return Err(Halt::Failed(hindrance.to_owned()));
            }
            let forgotten = run.node.store.forget_deliveries(SETTLED_KEPT, DEAD_KEPT).await? as u64;
            run.found += forgotten;
            run.acted += forgotten;
            if forgotten == 0 {
                return Ok(());
            }
        }
    }
}
