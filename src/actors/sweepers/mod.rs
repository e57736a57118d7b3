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

mod delivered_webhooks;
mod described;
mod expired_recordings;
mod forgetful;
mod left_behind;
mod local;
mod max_duration;
mod orphan_rooms;
mod run;
mod runner;
mod stale_connecting;
mod stale_ringing;
mod stuck_recordings;
mod takeover;
mod words;

use std::time::Duration;

use async_trait::async_trait;

pub(super) use self::words::ActionOutcome;
pub use self::{
    described::{Described, described},
    words::{RunOutcome, action_line, by, run_line},
};
use self::{run::Run, words::Deed};
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
trait Sweeper: Sync {
    /// The name in logs, tables and on the command line.
    fn name(&self) -> &'static str;

    /// What its prey is and what is done about it, in a sentence for who runs Carillon.
    fn what(&self) -> &'static str;

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

/// Those with a file of their own; the others are lines of [`forgetful::ALL`].
const HUNTERS: [(&str, &dyn Sweeper); 9] = [
    (stale_ringing::NAME, &stale_ringing::StaleRinging),
    (stale_connecting::NAME, &stale_connecting::StaleConnecting),
    (max_duration::NAME, &max_duration::MaxDuration),
    (left_behind::NAME, &left_behind::LeftBehind),
    (orphan_rooms::NAME, &orphan_rooms::OrphanRooms),
    (stuck_recordings::NAME, &stuck_recordings::StuckRecordings),
    (expired_recordings::NAME, &expired_recordings::ExpiredRecordings),
    (takeover::NAME, &takeover::Takeover),
    (delivered_webhooks::NAME, &delivered_webhooks::DeliveredWebhooks),
];

/// Every sweeper there is, by name.
pub const NAMES: [&str; HUNTERS.len() + forgetful::ALL.len()] = {
    let mut names = [""; HUNTERS.len() + forgetful::ALL.len()];
    let mut n = 0;
    while n < names.len() {
        names[n] = if n < HUNTERS.len() { HUNTERS[n].0 } else { forgetful::ALL[n - HUNTERS.len()].name };
        n += 1;
    }
    names
};

fn all() -> impl Iterator<Item = &'static dyn Sweeper> {
    let forgetful = forgetful::ALL.iter().map(|sweeper| sweeper as &dyn Sweeper);
    HUNTERS.into_iter().map(|(_, sweeper)| sweeper).chain(forgetful)
}

/// What the sweeper of this name looks for and what is done about it, in a sentence. `None`: there is no such sweeper.
pub fn what_of(name: &str) -> Option<&'static str> {
    all().find(|sweeper| sweeper.name() == name).map(|sweeper| sweeper.what())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sweeper_can_be_asked_for_by_its_name() {
        assert_eq!(all().map(Sweeper::name).collect::<Vec<_>>(), NAMES);
    }

    #[test]
    fn every_sweeper_says_what_it_does_in_one_sentence() {
        for name in NAMES {
            let what = what_of(name).unwrap();
            assert!(what.len() > 20 && what.len() < 160 && !what.contains(['\n', '.', '|']), "{name}: {what}");
        }
        assert_eq!(what_of("dust"), None);
    }

    #[test]
    fn owners_are_asked_about_what_they_take_for_stale_too() {
        assert!(LOOK_MARGIN > crate::domain::command::SWEEP_MARGIN);
    }
}
