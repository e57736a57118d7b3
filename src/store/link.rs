//! A connection that is made again when it breaks. One per thread.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    connection::{Conn, Purpose, Target},
    health::Lane,
    retry::Backoff,
};
use crate::clock;

/// See the module.
pub(super) struct Link {
    target: Arc<Target>,
    purpose: Purpose,
    lane: Arc<Lane>,
    conn: Option<Conn>,
    backoff: Backoff,
    not_before: Instant,
}

impl Link {
    pub fn new(target: Arc<Target>, purpose: Purpose, lane: Arc<Lane>) -> Self {
        Self { target, purpose, lane, conn: None, backoff: Backoff::connecting(), not_before: clock::monotonic() }
    }

    /// The connection; made now if there is none and the wait since the last failure is over. `None`: the database
    /// is away. Takes as long as connecting may.
    pub fn conn(&mut self) -> Option<&mut Conn> {
        if self.conn.is_none() && clock::monotonic() >= self.not_before {
            match self.target.connect(self.purpose) {
                Ok(conn) => {
                    self.conn = Some(conn);
                    self.backoff.reset();
                    self.lane.on_connected();
                }
                Err(why) => {
                    self.not_before = clock::monotonic() + self.backoff.next();
                    self.lane.on_connect_failed(&why);
                }
            }
        }
        self.conn.as_mut()
    }

    /// How long until another try to connect makes sense; zero when connected.
    pub fn wait(&self) -> Duration {
        match self.conn {
            Some(_) => Duration::ZERO,
            None => self.not_before.saturating_duration_since(clock::monotonic()),
        }
    }

    /// Gives the connection up: it is broken, or in a state that nobody knows.
    pub fn drop_conn(&mut self) {
        if self.conn.take().is_some() {
            self.lane.on_disconnected();
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.drop_conn();
    }
}
