//! Whether the database answers, as the threads that talk to it last saw it.

use crate::clock;
use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

/// Whether the database answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    Up,
    Down {
        /// By this process's monotonic clock.
        since: Instant,
    },
}

impl Health {
    /// True when [`Health::Up`].
    pub const fn is_up(self) -> bool {
        matches!(self, Self::Up)
    }
}

/// The connections of one purpose: readers, the writer, the lease. Up while one of them stands.
pub(super) struct Lane {
    name: &'static str,
    connected: AtomicUsize,
    down_since: Mutex<Option<Instant>>,
}

impl Lane {
    /// No connection yet, and none has failed: work may wait for the first.
    pub fn new(name: &'static str) -> Self {
        Self { name, connected: AtomicUsize::new(0), down_since: Mutex::new(None) }
    }

    /// A connection stands.
    pub fn on_connected(&self) {
        self.connected.fetch_add(1, Ordering::SeqCst);
        if let Some(since) = self.down_since().take() {
            // The node says it once for all lanes (`actors/degraded.rs`).
            tracing::debug!(lane = self.name, down_secs = since.elapsed().as_secs(), "connected again");
        }
    }

    /// One is gone.
    pub fn on_disconnected(&self) {
        self.connected.fetch_sub(1, Ordering::SeqCst);
    }

    /// One could not be made.
    pub fn on_connect_failed(&self, why: &str) {
        if self.connected.load(Ordering::SeqCst) > 0 {
            return;
        }
        let mut down_since = self.down_since();
        if down_since.is_none() {
            *down_since = Some(clock::monotonic());
            tracing::debug!(lane = self.name, why, "no connection can be made");
        }
    }

    /// How many stand.
    pub fn connected(&self) -> usize {
        self.connected.load(Ordering::SeqCst)
    }

    /// None stands, and the last try to make one failed: who asks now need not wait to learn that.
    pub fn is_down(&self) -> bool {
        self.connected.load(Ordering::SeqCst) == 0 && self.down_since().is_some()
    }

    /// For the readiness of the node.
    pub fn health(&self) -> Health {
        match *self.down_since() {
            Some(since) if self.connected.load(Ordering::SeqCst) == 0 => Health::Down { since },
            _ => Health::Up,
        }
    }

    fn down_since(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.down_since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
