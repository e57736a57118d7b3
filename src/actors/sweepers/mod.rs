//! Background actors that find and mend what was left behind.
//!
//! Owns what all sweepers share: the list of them, who may run, and the words of their reports. A sweeper takes no input,
//! can run twice, writes no call row itself but asks the call's owner, and takes a probe that failed for unknown, never
//! for gone. It survives its node: the next one takes it when the hold has run out. Each sweeper's own file begins with
//! its prey.
//!
//! ```text
//! runner: due? asked for by hand? ─ claim ─> run: look ─ batch ─> act (16 at once) ─> log line, record ─┐
//!                                            └──────────────── next batch, while they come full <───────┘
//! ```

mod described;
mod expired_recordings;
mod left_behind;
mod local;
mod max_duration;
mod old_audit;
mod orphan_rooms;
mod run;
mod runner;
mod stale_connecting;
mod stale_ringing;
mod stuck_recordings;
mod takeover;

use std::time::Duration;

use async_trait::async_trait;

pub use self::described::{Described, described};
use self::run::Run;
use super::{Node, NodeHandle, degraded::Dependency};
use crate::store::StoreError;

/// How far past its time something must be before it is looked at: above [`crate::domain::command::SWEEP_MARGIN`], by
/// which its owner judges, by as much as the clocks of a node and of the database may well differ. Less, and owners are
/// asked for nothing; more, and what was left behind stays for longer.
const LOOK_MARGIN: Duration = Duration::from_secs(4);
/// Rows of one look. More would hold up the store's readers; fewer are more statements when a large node has died.
const BATCH: u32 = 200;
/// For how long a run has its sweeper for itself before it must renew. A node that dies in a run delays the sweeper by so
/// much; shorter, and a stall of the database ends runs that are well.
const HOLD: Duration = Duration::from_secs(6);

/// What a sweeper is. Its file says what its prey is.
#[async_trait(?Send)]
trait Sweeper {
    /// The name in logs, tables and on the command line.
    fn name(&self) -> &'static str;

    /// How often it runs, about, if the others run this often.
    fn interval(&self, usual: Duration) -> Duration {
        usual
    }

    /// See [`HOLD`].
    fn hold(&self) -> Duration {
        HOLD
    }

    /// Looks, acts and reports on `run`.
    async fn sweep(&self, run: &mut Run) -> Result<(), Halt>;
}

/// Every sweeper there is.
pub const NAMES: [&str; 9] = [
    stale_ringing::NAME,
    stale_connecting::NAME,
    max_duration::NAME,
    left_behind::NAME,
    orphan_rooms::NAME,
    stuck_recordings::NAME,
    expired_recordings::NAME,
    takeover::NAME,
    old_audit::NAME,
];

fn all() -> [&'static dyn Sweeper; NAMES.len()] {
    [
        &stale_ringing::StaleRinging,
        &stale_connecting::StaleConnecting,
        &max_duration::MaxDuration,
        &left_behind::LeftBehind,
        &orphan_rooms::OrphanRooms,
        &stuck_recordings::StuckRecordings,
        &expired_recordings::ExpiredRecordings,
        &takeover::Takeover,
        &old_audit::OldAudit,
    ]
}

/// Why a run stopped before its end.
#[derive(Debug)]
enum Halt {
    /// A probe failed: what it would have said is unknown, and nothing is done.
    CouldNotAsk(String),
    Failed(String),
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        if error.is_retryable() { Self::CouldNotAsk(error.to_string()) } else { Self::Failed(error.to_string()) }
    }
}

/// Runs the sweepers on this node, whenever it is this node's turn, until the node ends.
pub async fn run(node: NodeHandle, interval: Duration) {
    // Set once: here.
    let _ = node.sweep_interval.set(interval);
    tokio::join!(local::run(node.clone()), runner::run(node, interval));
}

/// Between three and five quarters of it: nodes that started together do not look together.
fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(rand::random_range(0.75..1.25))
}

/// Why this node may not sweep now, if it may not.
fn hindrance(node: &Node) -> Option<&'static str> {
    if node.is_draining() {
        Some("the node is leaving")
    } else if !node.membership.may_own() {
        Some("the node has lost its lease")
    } else if node.degraded.is_without(Dependency::Database) {
        // Nobody could renew a lease: that one has run out says nothing until everybody has had the time to.
        Some("the database was away")
    } else {
        None
    }
}

/// What can become of a run.
pub(super) const RUN_OUTCOMES: [&str; 3] = ["done", "could_not_ask", "failed"];

/// What became of one action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ActionOutcome {
    Done,
    /// The owner found that it is not what it was taken for, or it was mended meanwhile.
    LeftAlone,
    /// Who decides could not be asked: nothing is known.
    CouldNotAsk,
    Failed,
    /// It is what would have been done.
    DryRun,
}

impl ActionOutcome {
    /// All there are, in the order of their values.
    pub(super) const ALL: [Self; 5] = [Self::Done, Self::LeftAlone, Self::CouldNotAsk, Self::Failed, Self::DryRun];

    /// The word in logs and tables.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::LeftAlone => "left_alone",
            Self::CouldNotAsk => "could_not_ask",
            Self::Failed => "failed",
            Self::DryRun => "dry_run",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sweeper_can_be_asked_for_by_its_name() {
        assert_eq!(all().map(|sweeper| sweeper.name()), NAMES);
    }

    #[test]
    fn owners_are_asked_about_what_they_take_for_stale_too() {
        assert!(LOOK_MARGIN > crate::domain::command::SWEEP_MARGIN);
    }
}
