//! Prey: rows older than they are kept for, by the database's clock: one sweeper for each line of [`ALL`], which says
//! which rows and for how long.
//!
//! They are deleted, in batches and table after table, until none is left. What was deleted is gone. No row is made for
//! each of them, nor a line: the run says how many there were. A dry run counts them, as far as a million of a kind.
//!
//! Leaves alone whatever is younger, and whatever somebody changes at that moment. Why nobody misses the rest is told by
//! [`Old`], kind by kind.

use std::time::Duration;

use async_trait::async_trait;

use super::{Halt, Sweeper, hindrance, run::Run};
use crate::{
    actors::Node,
    store::{FORGOTTEN_AT_ONCE, Old},
};

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How often each runs at most. More often is work for nothing; less often, and a run has so much more to delete.
const EVERY: Duration = HOUR;
/// Between two batches. Shorter, and those who write to SQLite wait for one batch after the other; much longer, and on a
/// busy cluster more comes in than is deleted.
const BREATH: Duration = Duration::from_millis(5);

/// One of them.
pub(super) struct Forgetful {
    pub name: &'static str,
    what: &'static str,
    /// For how long rows are kept; `None`: for ever.
    kept: fn(&Node) -> Option<Duration>,
    /// In this order.
    prey: &'static [Old],
}

/// All of them. Another is a line here, and its kinds of rows in [`Old`].
pub(super) const ALL: &[Forgetful] = &[
    Forgetful {
        name: "old_audit",
        what: "records of the audit log older than CARILLON_AUDIT_RETENTION_DAYS are deleted",
        kept: |node| node.audit_kept.get().copied(),
        prey: &[Old::AuditRecords],
    },
    Forgetful {
        name: "old_quality_reports",
        what: "reports of call quality older than 7 days are deleted",
        kept: |_| Some(7 * DAY),
        prey: &[Old::QualityReports],
    },
    Forgetful {
        name: "old_command_results",
        what: "first answers to commands with an idempotency key, and records of commands without, older than 24 hours \
            are deleted",
        kept: |_| Some(DAY),
        prey: &[Old::KeyedAnswers, Old::CommandRecords],
    },
    Forgetful {
        name: "ended_nodes",
        what: "nodes whose lease ran out more than 24 hours ago are deleted",
        kept: |_| Some(DAY),
        prey: &[Old::DeadNodes],
    },
    Forgetful {
        name: "old_sweep_runs",
        what: "runs of sweepers that ended more than 30 days ago are deleted, with their actions and requests",
        kept: |_| Some(30 * DAY),
        prey: &[Old::SweepActions, Old::SweepRequests, Old::SweepRuns],
    },
    Forgetful {
        name: "old_livekit_events",
        what: "ids of LiveKit's webhooks that were taken in more than an hour ago are deleted",
        // Well past the age at which a webhook is refused as stale.
        kept: |_| Some(HOUR),
        prey: &[Old::LivekitEvents],
    },
];

#[async_trait(?Send)]
impl Sweeper for Forgetful {
    fn name(&self) -> &'static str {
        self.name
    }

    fn what(&self) -> &'static str {
        self.what
    }

    fn interval(&self, usual: Duration) -> Duration {
        usual.max(EVERY)
    }

    async fn sweep(&self, run: &mut Run) -> Result<(), Halt> {
        let Some(kept) = (self.kept)(&run.node) else { return Ok(()) };
        for old in self.prey {
            if run.dry_run {
                run.found += run.node.store.count_old(*old, kept).await?;
                continue;
            }
            loop {
                if let Some(hindrance) = hindrance(&run.node) {
                    return Err(Halt::Failed(hindrance.to_owned()));
                }
                let forgotten = run.node.store.forget_old(*old, kept, FORGOTTEN_AT_ONCE).await?;
                run.found += forgotten;
                run.acted += forgotten;
                if forgotten < u64::from(FORGOTTEN_AT_ONCE) {
                    break;
                }
                tokio::time::sleep(BREATH).await;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_old_row_has_a_sweeper_that_forgets_it() {
        let swept = |old: &Old| ALL.iter().filter(|sweeper| sweeper.prey.contains(old)).count();
        for old in Old::ALL {
            assert_eq!(swept(&old), 1, "{old:?}");
        }
    }
}
