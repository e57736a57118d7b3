//! The way from the actors to a socket, without knowing sockets.

use crate::wire::Frame;

/// Why the server ends a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseCause {
    /// The same device has opened another session, on whichever node.
    Replaced,
    /// An operator has sent the user away.
    Operator,
    /// The server cannot serve the session now; it may come back, here or elsewhere.
    TryAgain,
}

/// A session, as the actors see it. Implemented by the gateway; calls return at once and may come from any thread.
pub trait Outbox: Send + Sync + 'static {
    /// Sends a frame. A session that cannot keep up ends itself: nobody waits for it.
    fn push(&self, frame: Frame);
    /// Ends the session.
    fn close(&self, cause: CloseCause);
}
