//! How fast one session sends: its signals, and how often it had to be refused.
//!
//! Belongs to the session's actor alone: no lock, no Redis, nothing waited for, because signals are most of what a node
//! does. What a session gets here another session of the same user gets too; sessions are limited by `connect`.

use std::time::Duration;

use super::{Kind, Limits, Scope};

/// One session's own counts: the TAT of each, see [`super::gcra`].
#[derive(Default)]
pub struct Pace {
    signals: u64,
    flood: u64,
}

impl Pace {
    /// One more signal, or how long to wait with it.
    pub fn signal(&mut self, limits: &Limits) -> Result<(), Duration> {
        one_more(Kind::Signal, &mut self.signals, limits)
    }

    /// One more of what a client that heeds refusals does not send; the error: it does not heed them, and how long it
    /// should stay away.
    pub fn nuisance(&mut self, limits: &Limits) -> Result<(), Duration> {
        one_more(Kind::Flood, &mut self.flood, limits)
    }
}

fn one_more(kind: Kind, tat: &mut u64, limits: &Limits) -> Result<(), Duration> {
    if let Some(quota) = limits.rules.as_ref().and_then(|rules| rules.quota(kind, Scope::Session)) {
        *tat = quota.admit(*tat, limits.now())?;
    }
    Ok(())
}
