//! The trace that this thread works for at the moment, so that whoever sends, logs or stores something need not be told.
//!
//! Set for as long as a guard lives, or while a future is polled. Costs a read of a thread's own memory; nobody is in a
//! trace unless they entered one, and nobody stays in it by mistake.

use std::{cell::Cell, future::Future, marker::PhantomData, pin::pin};

use super::TraceContext;

thread_local! {
    static CURRENT: Cell<Option<TraceContext>> = const { Cell::new(None) };
}

/// Where the work of this moment stands in a trace; `None`: in none.
#[inline]
pub fn current() -> Option<TraceContext> {
    CURRENT.get()
}

/// Leaves the trace when dropped, for the one that was entered before.
#[must_use = "the trace is left when this is dropped"]
pub struct Entered {
    before: Option<TraceContext>,
    /// It belongs to the thread that entered.
    of_this_thread: PhantomData<*const ()>,
}

/// Enters a trace, or with `None` none.
#[inline]
pub fn enter(context: Option<TraceContext>) -> Entered {
    Entered { before: CURRENT.replace(context), of_this_thread: PhantomData }
}

impl Drop for Entered {
    #[inline]
    fn drop(&mut self) {
        CURRENT.set(self.before);
    }
}

/// The future, polled within this trace wherever it runs.
pub async fn within<F: Future>(context: Option<TraceContext>, work: F) -> F::Output {
    let mut work = pin!(work);
    std::future::poll_fn(|cx| {
        let _entered = enter(context);
        work.as_mut().poll(cx)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_left_for_the_one_before_it() {
        let (outer, inner) = (TraceContext::random(false), TraceContext::random(true));
        assert_eq!(current(), None);
        let entered = enter(Some(outer));
        {
            let _deeper = enter(Some(inner));
            assert_eq!(current(), Some(inner));
            let _nowhere = enter(None);
            assert_eq!(current(), None);
        }
        assert_eq!(current(), Some(outer));
        drop(entered);
        assert_eq!(current(), None);
    }

    #[test]
    fn a_future_is_in_its_trace_whenever_it_is_polled_and_its_neighbours_are_not() {
        let context = TraceContext::random(false);
        let work = within(Some(context), async {
            let first = current();
            tokio::task::yield_now().await;
            (first, current())
        });
        let beside = async {
            tokio::task::yield_now().await;
            current()
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (inside, outside) = runtime.block_on(async { tokio::join!(work, beside) });
        assert_eq!((inside, outside), ((Some(context), Some(context)), None));
    }
}
