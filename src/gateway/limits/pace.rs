//! How fast one session sends: its signals, and how often it had to be refused.
//!
//! Belongs to the session's actor alone: no lock, no Redis, nothing waited for, because signals are most of what a node
//! does. What a session gets here another session of the same user gets too; sessions are limited by `connect`.

use std::time::Duration;

use super::{Limits, gcra::Quota};

/// One session's own limits.
pub struct Pace {
    signals: Option<Quota>,
    flood: Option<Quota>,
    signals_tat: u64,
    flood_tat: u64,
}

impl Pace {
    pub(super) fn new(signals: Option<Quota>, flood: Option<Quota>) -> Self {
        Self { signals, flood, signals_tat: 0, flood_tat: 0 }
    }

    /// One more signal, or how long to wait with it.
    pub fn signal(&mut self, limits: &Limits) -> Result<(), Duration> {
        let Some(quota) = self.signals else { return Ok(()) };
        self.signals_tat = quota.admit(self.signals_tat, limits.now())?;
        Ok(())
    }

    /// One more of what a client that heeds refusals does not send; the error: it does not heed them, and how long it
    /// should stay away.
    pub fn nuisance(&mut self, limits: &Limits) -> Result<(), Duration> {
        let Some(quota) = self.flood else { return Ok(()) };
        self.flood_tat = quota.admit(self.flood_tat, limits.now())?;
        Ok(())
    }
}
