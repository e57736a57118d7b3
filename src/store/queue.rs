//! A bounded queue between async callers and the store's threads.
//!
//! Owns what waits. Must never block who puts in: what does not fit is given back at once.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// See the module.
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
    /// Apart from `filled`, so that who only waits for the end takes no wake-up meant for who takes items.
    ended: Condvar,
    capacity: usize,
}

struct State<T> {
    waiting: VecDeque<T>,
    closed: bool,
}

/// What a thread finds when it looks.
pub(super) enum Popped<T> {
    Item(T),
    /// Nothing came in time.
    Nothing,
    /// Nothing waits and nothing will come.
    Closed,
}

impl<T> Queue<T> {
    pub fn new(capacity: usize) -> Self {
        let state = State { waiting: VecDeque::new(), closed: false };
        Self { state: Mutex::new(state), filled: Condvar::new(), ended: Condvar::new(), capacity }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing is left half done under the lock, so a panic of another thread does no harm.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an item at the end, or gives it back: the queue is full or closed.
    pub fn push(&self, item: T) -> Result<(), T> {
        let mut state = self.lock();
        if state.closed || state.waiting.len() >= self.capacity {
            return Err(item);
        }
        state.waiting.push_back(item);
        drop(state);
        self.filled.notify_one();
        Ok(())
    }

    /// Takes the first item, waiting for one at most `limit`.
    pub fn pop(&self, limit: Duration) -> Popped<T> {
        let mut state = self.lock();
        if state.waiting.is_empty() && !state.closed {
            let empty = |state: &mut State<T>| state.waiting.is_empty() && !state.closed;
            let waited = self.filled.wait_timeout_while(state, limit, empty);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        match state.waiting.pop_front() {
            Some(item) => Popped::Item(item),
            None if state.closed => Popped::Closed,
            None => Popped::Nothing,
        }
    }

    /// Takes items from the front while `wanted` says so, without waiting.
    pub fn drain_while(&self, mut wanted: impl FnMut(&T) -> bool, into: &mut impl Extend<T>) {
        let mut state = self.lock();
        while state.waiting.front().is_some_and(&mut wanted) {
            into.extend(state.waiting.pop_front());
        }
    }

    /// From now on nothing can be put in; what waits can still be taken.
    pub fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_all();
        self.ended.notify_all();
    }

    /// Waits at most `limit`, but not on when the queue is closed.
    pub fn wait_unless_closed(&self, limit: Duration) {
        let state = self.lock();
        drop(self.ended.wait_timeout_while(state, limit, |state| !state.closed));
    }

    /// How many may wait.
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many items wait.
    pub fn len(&self) -> usize {
        self.lock().waiting.len()
    }
}
