//! Prey: records of the audit log older than `CARILLON_AUDIT_RETENTION_DAYS` by the database's clock, oldest first.
//!
//! They are deleted, some thousand in a statement; what was deleted is gone, so the setting is to be longer than anybody
//! may have to answer for what they did. A dry run counts them.
//!
//! Leaves alone every record when the retention is 0, and whatever is younger. Records of single deletions are not made:
//! the run's own row says how many there were.

use std::time::Duration;

use async_trait::async_trait;

use super::{Halt, Sweeper, hindrance, run::Run};

pub(super) const NAME: &str = "old_audit";

/// How often it runs at most. A day more or less of a year makes no difference; more often is work for nothing.
const EVERY: Duration = Duration::from_secs(60 * 60);

pub(super) struct OldAudit;

#[async_trait(?Send)]
impl Sweeper for OldAudit {
    fn name(&self) -> &'static str {
        NAME
    }

    fn interval(&self, usual: Duration) -> Duration {
        usual.max(EVERY)
    }

    async fn sweep(&self, run: &mut Run) -> Result<(), Halt> {
        let Some(kept) = run.node.audit_kept.get().copied() else { return Ok(()) };
        if run.dry_run {
            run.found += run.node.store.count_old_acts(kept).await?;
            return Ok(());
        }
        loop {
            if let Some(hindrance) = hindrance(&run.node) {
                return Err(Halt::Failed(hindrance.to_owned()));
            }
            let forgotten = run.node.store.forget_acts(kept).await? as u64;
            run.found += forgotten;
            run.acted += forgotten;
            if forgotten == 0 {
                return Ok(());
            }
        }
    }
}
