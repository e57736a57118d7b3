//! A queue bounded by count and by bytes, between those who publish and the thread that sends.
//!
//! Owns the two bounds. It must never make a publisher wait: what does not fit is refused. It survives any burst, with its
//! memory known beforehand.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::mpsc;

use super::bus::{Backlog, BusError, BusLimits, MAX_MESSAGE_BYTES};

/// What an entry costs besides its message; without it empty messages would be free.
const ENTRY_OVERHEAD: usize = 128;

/// Something that waits with a message.
pub(super) trait Waiting {
    /// Bytes of the message.
    fn len(&self) -> usize;
}

/// The side that puts in.
pub(super) struct Outbox<T> {
    sender: mpsc::Sender<T>,
    held: Arc<AtomicUsize>,
    max_bytes: usize,
}

/// The side that takes out.
pub(super) struct Outlet<T> {
    receiver: mpsc::Receiver<T>,
    held: Arc<AtomicUsize>,
}

/// Both sides of a new queue.
pub(super) fn outbox<T: Waiting>(limits: BusLimits) -> (Outbox<T>, Outlet<T>) {
    let (sender, receiver) = mpsc::channel(limits.messages.max(1));
    let held = Arc::new(AtomicUsize::new(0));
    (Outbox { sender, held: held.clone(), max_bytes: limits.bytes }, Outlet { receiver, held })
}

impl<T: Waiting> Outbox<T> {
    /// What waits.
    pub(super) fn backlog(&self) -> Backlog {
        let most = self.sender.max_capacity();
        Backlog {
            messages: most.saturating_sub(self.sender.capacity()),
            bytes: self.held.load(Ordering::Relaxed),
            limits: BusLimits { messages: most, bytes: self.max_bytes },
        }
    }

    /// Queues, or refuses at once.
    pub(super) fn push(&self, entry: T) -> Result<(), BusError> {
        if entry.len() > MAX_MESSAGE_BYTES {
            return Err(BusError::TooLarge);
        }
        let cost = entry.len() + ENTRY_OVERHEAD;
        let refused = if self.held.fetch_add(cost, Ordering::Relaxed) + cost > self.max_bytes {
            BusError::Overloaded
        } else {
            match self.sender.try_send(entry) {
                Ok(()) => return Ok(()),
                Err(mpsc::error::TrySendError::Full(_)) => BusError::Overloaded,
                Err(mpsc::error::TrySendError::Closed(_)) => BusError::Unavailable,
            }
        };
        self.held.fetch_sub(cost, Ordering::Relaxed);
        Err(refused)
    }
}

impl<T: Waiting> Outlet<T> {
    /// The next entry; `None` when the other side is gone and all is taken.
    pub(super) async fn recv(&mut self) -> Option<T> {
        let entry = self.receiver.recv().await?;
        Some(self.released(entry))
    }

    /// The next entry if one is waiting.
    pub(super) fn try_recv(&mut self) -> Option<T> {
        let entry = self.receiver.try_recv().ok()?;
        Some(self.released(entry))
    }

    /// The next entry, on a thread that may block.
    pub(super) fn blocking_recv(&mut self) -> Option<T> {
        let entry = self.receiver.blocking_recv()?;
        Some(self.released(entry))
    }

    fn released(&self, entry: T) -> T {
        self.held.fetch_sub(entry.len() + ENTRY_OVERHEAD, Ordering::Relaxed);
        entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Waiting for Vec<u8> {
        fn len(&self) -> usize {
            Vec::len(self)
        }
    }

    #[test]
    fn both_bounds_refuse_and_taking_makes_room_again() {
        let (outbox, mut outlet) = outbox::<Vec<u8>>(BusLimits { messages: 2, bytes: 10_000 });
        assert_eq!(outbox.push(vec![0; 9_000]), Ok(()));
        assert_eq!(outbox.push(vec![0; 1_000]), Err(BusError::Overloaded), "bytes");
        assert_eq!(outbox.push(vec![]), Ok(()));
        let backlog = outbox.backlog();
        assert_eq!((backlog.messages, backlog.bytes), (2, 9_000 + 2 * ENTRY_OVERHEAD));
        assert_eq!((backlog.limits.messages, backlog.limits.bytes), (2, 10_000));
        assert_eq!(outbox.push(vec![]), Err(BusError::Overloaded), "messages");
        assert_eq!(outlet.try_recv().map(|m| m.len()), Some(9_000));
        assert_eq!(outbox.push(vec![0; 9_000]), Ok(()));
        assert_eq!(outbox.push(vec![0; MAX_MESSAGE_BYTES + 1]), Err(BusError::TooLarge));
        drop(outlet);
        assert_eq!(outbox.push(vec![]), Err(BusError::Unavailable));
    }
}
