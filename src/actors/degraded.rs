//! What this node does without at the moment: since when, and why.
//!
//! Owns the answer to "which dependency is lost?", and the one log line at the beginning and at the end of each time.
//! Never looks at a dependency itself: those that do say here what they saw. A dependency that comes and goes is one
//! time, not many: it counts as back when it has been there for [`HOLD`].

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{clock, domain::Timestamp};

/// How long a dependency must have been there before it counts as back. Shorter, and one that comes and goes fills the
/// log, and nodes that could not renew their leases while the database was away are taken for dead when it is back;
/// longer, and nodes ask the database for what the bus has told them already.
pub const HOLD: Duration = Duration::from_secs(3);

/// What a node can do without for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dependency {
    /// The bus to the other nodes.
    Redis,
    Database,
    /// The media server.
    Livekit,
}

impl Dependency {
    /// All there are, in the order of their values.
    pub const ALL: [Self; 3] = [Self::Redis, Self::Database, Self::Livekit];

    /// The name in logs, `/readyz` and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Database => "database",
            Self::Livekit => "livekit",
        }
    }
}

/// A dependency that is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    pub since: Timestamp,
    /// What was seen first: a word from a short list, as metrics and logs want it.
    pub fault: &'static str,
    began: Instant,
    /// Seen well again, and not lost since.
    well_since: Option<Instant>,
}

/// What an observation has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Entered,
    Left,
}

#[derive(Default)]
struct Mode {
    loss: Mutex<Option<Loss>>,
    /// The same as `loss.is_some()`, for those who ask often.
    on: AtomicBool,
    /// It was away when last looked at.
    away: AtomicBool,
    entered: AtomicU64,
}

/// See the module.
#[derive(Default)]
pub struct Degraded {
    modes: [Mode; Dependency::ALL.len()],
}

impl Degraded {
    fn mode(&self, dependency: Dependency) -> &Mode {
        let [redis, database, livekit] = &self.modes;
        match dependency {
            Dependency::Redis => redis,
            Dependency::Database => database,
            Dependency::Livekit => livekit,
        }
    }

    /// Somebody has looked: `fault`, or none.
    pub fn observe(&self, dependency: Dependency, fault: Option<&'static str>) -> Option<Change> {
        self.observe_at(dependency, fault, clock::now(), clock::monotonic())
    }

    fn observe_at(
        &self,
        dependency: Dependency,
        fault: Option<&'static str>,
        at: Timestamp,
        now: Instant,
    ) -> Option<Change> {
        let mode = self.mode(dependency);
        let mut entry = lock(&mode.loss);
        mode.away.store(fault.is_some(), Ordering::Release);
        match (&mut *entry, fault) {
            (None, None) => None,
            (None, Some(fault)) => {
                *entry = Some(Loss { since: at, fault, began: now, well_since: None });
                mode.on.store(true, Ordering::Release);
                mode.entered.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(dependency = dependency.as_str(), why = fault, "degraded mode entered");
                Some(Change::Entered)
            }
            (Some(loss), Some(_)) => {
                loss.well_since = None;
                None
            }
            (Some(loss), None) => {
                if now.duration_since(*loss.well_since.get_or_insert(now)) < HOLD {
                    return None;
                }
                let (why, secs) = (loss.fault, now.duration_since(loss.began).as_secs());
                *entry = None;
                mode.on.store(false, Ordering::Release);
                tracing::info!(dependency = dependency.as_str(), why, secs, "degraded mode left");
                Some(Change::Left)
            }
        }
    }

    /// Whether the node does without it, or did until a moment ago.
    pub fn is_without(&self, dependency: Dependency) -> bool {
        self.mode(dependency).on.load(Ordering::Acquire)
    }

    /// Whether it was away when last looked at: to ask it for something would be in vain.
    pub fn is_away(&self, dependency: Dependency) -> bool {
        self.mode(dependency).away.load(Ordering::Acquire)
    }

    /// What the node does without now.
    pub fn losses(&self) -> Vec<(Dependency, Loss)> {
        let loss = |dependency| Some((dependency, (*lock(&self.mode(dependency).loss))?));
        Dependency::ALL.into_iter().filter_map(loss).collect()
    }

    /// How often the node had to do without it since it started.
    pub fn times_entered(&self, dependency: Dependency) -> u64 {
        self.mode(dependency).entered.load(Ordering::Relaxed)
    }
}

fn lock(loss: &Mutex<Option<Loss>>) -> MutexGuard<'_, Option<Loss>> {
    loss.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_that_comes_and_goes_is_lost_once_and_back_once() {
        let degraded = Degraded::default();
        let start = clock::monotonic();
        let see = |millis: u64, fault| {
            let at = Timestamp::from_millis(i64::try_from(millis).unwrap());
            degraded.observe_at(Dependency::Redis, fault, at, start + Duration::from_millis(millis))
        };
        assert_eq!(see(0, None), None);
        assert_eq!(see(1000, Some("silent")), Some(Change::Entered));
        for n in 0..10 {
            assert_eq!(see(2000 + 1000 * n, None), None);
            assert_eq!(see(2500 + 1000 * n, Some("lost")), None);
        }
        let [(dependency, loss)] = degraded.losses()[..] else { panic!("one is lost") };
        assert_eq!((dependency, loss.fault, loss.since.as_millis()), (Dependency::Redis, "silent", 1000));
        assert_eq!(see(20_000, None), None);
        assert!(degraded.is_without(Dependency::Redis));
        assert_eq!(see(20_000 + 3000, None), Some(Change::Left));
        assert_eq!(see(24_000, None), None);
        assert!(!degraded.is_without(Dependency::Redis) && degraded.losses().is_empty());
        assert_eq!(degraded.times_entered(Dependency::Redis), 1);
    }
}
