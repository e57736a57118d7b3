//! Threads that each own one connection, and a bounded queue of work in front of them.
//!
//! Must never block who asks: a full queue, or a database known to be away, is answered at once. Survives
//! connections that break (made again, the work run once more: all work here can run twice) and work that panics.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{
    connection::{Conn, Purpose, Target},
    error::{Fault, StoreError},
    health::Lane,
    link::Link,
    queue::{Popped, Queue},
    retry::{Backoff, CONFLICT_TRIES},
};
use crate::{clock, metrics::Histogram};

/// How long an idle thread sleeps before it looks around. No wake-up depends on it.
const IDLE: Duration = Duration::from_secs(60);

/// See the module.
pub(super) struct Pool {
    name: &'static str,
    threads: usize,
    queue: Arc<Queue<Queued>>,
    lane: Arc<Lane>,
    usage: Arc<Usage>,
}

/// How much a pool is used.
struct Usage {
    /// From the queue until a thread with a connection takes it.
    waits: Histogram,
    /// Threads that work.
    busy: AtomicUsize,
    /// Work that was refused because the queue was full.
    full: AtomicU64,
}

struct Queued {
    job: Box<dyn Job>,
    since: Instant,
}

/// What `/metrics` shows of a pool.
pub(super) struct PoolStats {
    pub name: &'static str,
    /// Connections it may have, those that stand, and those at work.
    pub connections: usize,
    pub connected: usize,
    pub busy: usize,
    /// Work that waits, and how much may.
    pub waiting: usize,
    pub capacity: usize,
    pub full: u64,
    pub waits: Histogram,
}

/// Work for a thread of the pool; it answers its caller itself.
trait Job: Send {
    /// `Err`: not done, and not answered.
    fn run(&mut self, conn: &mut Conn) -> Result<(), Fault>;
    fn refuse(&mut self, error: StoreError);
}

struct Task<F, T> {
    work: F,
    reply: Option<oneshot::Sender<Result<T, StoreError>>>,
}

impl<F, T> Job for Task<F, T>
where
    F: FnMut(&mut Conn) -> Result<T, Fault> + Send,
    T: Send,
{
    fn run(&mut self, conn: &mut Conn) -> Result<(), Fault> {
        if self.reply.as_ref().is_none_or(oneshot::Sender::is_closed) {
            return Ok(()); // nobody waits any more
        }
        let done = (self.work)(conn)?;
        if let Some(reply) = self.reply.take() {
            let _ = reply.send(Ok(done));
        }
        Ok(())
    }

    fn refuse(&mut self, error: StoreError) {
        if let Some(reply) = self.reply.take() {
            let _ = reply.send(Err(error));
        }
    }
}

impl Pool {
    /// Starts the threads; each connects by itself, for this purpose. `threads`: at least one. `capacity`: of the queue.
    pub fn start(
        name: &'static str,
        target: &Arc<Target>,
        purpose: Purpose,
        threads: usize,
        capacity: usize,
    ) -> std::io::Result<(Self, Vec<JoinHandle<()>>)> {
        let queue = Arc::new(Queue::new(capacity));
        let lane = Arc::new(Lane::new(name));
        let (busy, full) = (AtomicUsize::new(0), AtomicU64::new(0));
        let usage = Arc::new(Usage { waits: Histogram::latency(), busy, full });
        let threads = threads.max(1);
        let pool = Self { name, threads, queue: queue.clone(), lane: lane.clone(), usage: usage.clone() };
        let mut handles = Vec::new();
        for _ in 0..threads {
            let (queue, lane, target, usage) = (queue.clone(), lane.clone(), target.clone(), usage.clone());
            let thread = std::thread::Builder::new().name(format!("store-{name}"));
            handles.push(thread.spawn(move || serve(&queue, &lane, target, purpose, &usage))?);
        }
        Ok((pool, handles))
    }

    /// Runs `work` on a thread of the pool. It may run more than once.
    pub async fn run<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        F: FnMut(&mut Conn) -> Result<T, Fault> + Send + 'static,
        T: Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        if self.lane.is_down() {
            return Err(StoreError::Unavailable { unknown_outcome: false });
        }
        let job = Box::new(Task { work, reply: Some(reply) });
        if self.queue.push(Queued { job, since: clock::monotonic() }).is_err() {
            self.usage.full.fetch_add(1, Ordering::Relaxed);
            return Err(StoreError::Overloaded);
        }
        answer.await.unwrap_or(Err(StoreError::Unavailable { unknown_outcome: true }))
    }

    /// The lane of this pool's connections.
    pub fn lane(&self) -> &Lane {
        &self.lane
    }

    /// See [`PoolStats`].
    pub fn stats(&self) -> PoolStats {
        PoolStats {
            name: self.name,
            connections: self.threads,
            connected: self.lane.connected(),
            busy: self.usage.busy.load(Ordering::Relaxed),
            waiting: self.queue.len(),
            capacity: self.queue.capacity(),
            full: self.usage.full.load(Ordering::Relaxed),
            waits: self.usage.waits.clone(),
        }
    }

    /// Takes no more work; the threads end when what waits is done.
    pub fn close(&self) {
        self.queue.close();
    }
}

fn serve(queue: &Queue<Queued>, lane: &Arc<Lane>, target: Arc<Target>, purpose: Purpose, usage: &Usage) {
    let mut link = Link::new(target, purpose, lane.clone());
    loop {
        let connected = link.conn().is_some();
        if !connected {
            if lane.is_down() {
                let mut waiting: Vec<Queued> = Vec::new();
                queue.drain_while(|_| true, &mut waiting);
                for Queued { mut job, .. } in waiting {
                    job.refuse(StoreError::Unavailable { unknown_outcome: false });
                }
            }
            queue.wait_unless_closed(link.wait());
        }
        match queue.pop(if connected { IDLE } else { Duration::ZERO }) {
            Popped::Item(Queued { job, since }) => {
                usage.waits.took(since.elapsed());
                usage.busy.fetch_add(1, Ordering::Relaxed);
                perform(&mut link, job);
                usage.busy.fetch_sub(1, Ordering::Relaxed);
            }
            Popped::Nothing => {}
            Popped::Closed => return,
        }
    }
}

fn perform(link: &mut Link, mut job: Box<dyn Job>) {
    let (mut conflicts, mut reconnected, mut backoff) = (0, false, Backoff::conflict());
    loop {
        let Some(conn) = link.conn() else {
            return job.refuse(StoreError::Unavailable { unknown_outcome: reconnected });
        };
        let fault = match catch_unwind(AssertUnwindSafe(|| job.run(conn))) {
            Ok(Ok(())) => return,
            Ok(Err(fault)) => fault,
            Err(_) => {
                link.drop_conn();
                return job.refuse(StoreError::Unavailable { unknown_outcome: true });
            }
        };
        match fault {
            Fault::Broken | Fault::ReadOnly if !reconnected => {
                link.drop_conn();
                reconnected = true;
            }
            Fault::Conflict if conflicts < CONFLICT_TRIES => {
                conflicts += 1;
                std::thread::sleep(backoff.next());
            }
            fault => {
                if matches!(fault, Fault::Broken | Fault::ReadOnly) {
                    link.drop_conn();
                }
                if let Fault::Permanent(what) = &fault {
                    tracing::error!(why = what, "the database refuses a statement");
                }
                return job.refuse(fault.into_error());
            }
        }
    }
}
