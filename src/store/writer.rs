//! The one thread that commits: takes what waits, writes it in one transaction, answers after the commit.
//!
//! Owns its connection and the order of commits. Must never answer "committed" for what is not durable, nor leave a
//! commit unanswered. Survives connections that break at any moment (a commit of unknown outcome is looked up by its
//! command id), quarrels with other nodes' transactions, commits that cannot be written, and panics.

use std::{
    collections::{HashSet, VecDeque},
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
    commit::{Commit, CommitOutcome, Prepared},
    commit_postgres, commit_sqlite,
    connection::{Conn, Kind, Purpose, Target},
    error::{Fault, StoreError},
    health::Lane,
    link::Link,
    measures::Measures,
    outbox::Subscriptions,
    queue::{Popped, Queue},
    refusals::{self, Refusal},
    retry::{Backoff, CONFLICT_TRIES},
    types::{CommandId, is_keyed},
};
use crate::{
    clock,
    metrics::{Page, count},
    trace::Span,
};

mod spans;

/// Commits of one transaction. Fewer: less shared of what a transaction costs; more: the first waits for the last,
/// and the gain is flat from here.
pub(super) const BATCH_COMMITS: usize = 256;

/// Payload of one transaction, in bytes. A larger one holds up small commits behind a few large ones.
const BATCH_BYTES: usize = 1024 * 1024;

/// Commits that may wait: some seconds' worth for a slow disk. More would be answered after their callers gave up.
const QUEUE_COMMITS: usize = 8192;

/// The same in bytes: what the queue may take of the process's memory.
const QUEUE_BYTES: usize = 32 * 1024 * 1024;

/// How long a commit of unknown outcome is pursued. Shorter: a restart of the database leaves callers in doubt;
/// longer: they have given up.
const PURSUE: Duration = Duration::from_secs(10);

/// How long an idle writer sleeps before it looks around. No wake-up depends on it.
const IDLE: Duration = Duration::from_secs(60);

/// What the writer has done since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WriterStats {
    /// Commits that are durable.
    pub commits: u64,
    /// Transactions they took, failed ones included.
    pub transactions: u64,
    /// Commits that wait now, of [`QUEUE_COMMITS`].
    pub waiting: usize,
}

struct Counters {
    commits: AtomicU64,
    transactions: AtomicU64,
    waiting_bytes: AtomicUsize,
    measures: Measures,
}

/// See the module.
pub(super) struct Writer {
    queue: Arc<Queue<Waiting>>,
    lane: Arc<Lane>,
    counters: Arc<Counters>,
    subscriptions: Arc<Subscriptions>,
}

struct Waiting {
    prepared: Prepared,
    since: Instant,
    /// From here to the answer, and the wait for its turn in it.
    span: Span,
    wait: Span,
    reply: oneshot::Sender<Result<CommitOutcome, StoreError>>,
}

impl Writer {
    pub fn start(target: &Arc<Target>, subscriptions: &Arc<Subscriptions>) -> std::io::Result<(Self, JoinHandle<()>)> {
        let queue = Arc::new(Queue::new(QUEUE_COMMITS));
        let lane = Arc::new(Lane::new("writer"));
        let (commits, transactions) = (AtomicU64::new(0), AtomicU64::new(0));
        let measures = Measures::default();
        let counters = Arc::new(Counters { commits, transactions, waiting_bytes: AtomicUsize::new(0), measures });
        let thread = Thread {
            queue: queue.clone(),
            kind: target.kind(),
            deferred: VecDeque::new(),
            link: Link::new(target.clone(), Purpose::Writer, lane.clone()),
            lane: lane.clone(),
            counters: counters.clone(),
            subscriptions: subscriptions.clone(),
        };
        let handle = std::thread::Builder::new().name("store-writer".into()).spawn(move || thread.serve())?;
        Ok((Self { queue, lane, counters, subscriptions: subscriptions.clone() }, handle))
    }

    /// See [`super::Store::commit`].
    pub async fn commit(&self, commit: Commit) -> Result<CommitOutcome, StoreError> {
        let outcome = self.enqueue(commit).await;
        self.counters.measures.on_outcome(&outcome);
        outcome
    }

    async fn enqueue(&self, commit: Commit) -> Result<CommitOutcome, StoreError> {
        let prepared = Prepared::new(commit, &self.subscriptions)?;
        if self.lane.is_down() {
            return Err(StoreError::Unavailable { unknown_outcome: false });
        }
        let bytes = prepared.bytes;
        if self.counters.waiting_bytes.fetch_add(bytes, Ordering::Relaxed) > QUEUE_BYTES {
            self.counters.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(StoreError::Overloaded);
        }
        let (reply, answer) = oneshot::channel();
        let (span, wait) = spans::of_commit(&prepared);
        if self.queue.push(Waiting { prepared, since: clock::monotonic(), span, wait, reply }).is_err() {
            self.counters.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(StoreError::Overloaded);
        }
        answer.await.unwrap_or(Err(StoreError::Unavailable { unknown_outcome: true }))
    }

    /// The lane of the writer's connection.
    pub fn lane(&self) -> &Lane {
        &self.lane
    }

    /// Takes no more commits; the thread ends when those that wait are done.
    pub fn close(&self) {
        self.queue.close();
    }

    /// Writes what was counted and measured.
    pub fn write_counts(&self, page: &mut Page) {
        let WriterStats { commits, transactions, waiting } = self.stats();
        page.counter("commits", "Commits that are durable", commits);
        let help = "Transactions that commits took, failed ones included";
        page.counter("commit_transactions", help, transactions);
        page.gauge("commits_waiting", "Commits that wait to be written", count(waiting));
        self.counters.measures.write(page);
    }

    /// What waits and how much may, in commits and in bytes.
    pub fn fill(&self) -> [(usize, usize); 2] {
        let bytes = self.counters.waiting_bytes.load(Ordering::Relaxed);
        [(self.queue.len(), QUEUE_COMMITS), (bytes, QUEUE_BYTES)]
    }

    /// See [`WriterStats`].
    pub fn stats(&self) -> WriterStats {
        WriterStats {
            commits: self.counters.commits.load(Ordering::Relaxed),
            transactions: self.counters.transactions.load(Ordering::Relaxed),
            waiting: self.queue.len(),
        }
    }
}

struct Thread {
    queue: Arc<Queue<Waiting>>,
    kind: Kind,
    /// Taken from the queue, but of a call that was in the batch already.
    deferred: VecDeque<Waiting>,
    link: Link,
    lane: Arc<Lane>,
    counters: Arc<Counters>,
    subscriptions: Arc<Subscriptions>,
}

impl Thread {
    fn serve(mut self) {
        loop {
            let connected = self.link.conn().is_some();
            if !connected {
                if self.lane.is_down() {
                    self.refuse_all();
                }
                self.queue.wait_unless_closed(self.link.wait());
            }
            let first = match self.deferred.pop_front() {
                Some(first) => first,
                None => match self.queue.pop(if connected { IDLE } else { Duration::ZERO }) {
                    Popped::Item(first) => first,
                    Popped::Nothing => continue,
                    Popped::Closed => return,
                },
            };
            let batch = self.gather(first);
            self.settle(batch);
        }
    }

    fn refuse_all(&mut self) {
        let mut all = std::mem::take(&mut self.deferred);
        self.queue.drain_while(|_| true, &mut all);
        for waiting in all {
            self.answer(waiting, Err(StoreError::Unavailable { unknown_outcome: false }));
        }
    }

    /// What waits, in its order, up to the bounds. A call is in a batch once: its next commit was decided on the
    /// state after this one.
    fn gather(&mut self, first: Waiting) -> Vec<Waiting> {
        let mut bytes = first.prepared.bytes;
        let mut calls = HashSet::from([first.prepared.call().clone()]);
        let mut batch = vec![first];
        let mut left = BATCH_COMMITS.saturating_sub(self.deferred.len());
        let mut candidates = std::mem::take(&mut self.deferred);
        let mut more = bytes;
        let wanted = |waiting: &Waiting| {
            more += waiting.prepared.bytes;
            let wanted = left > 1 && more <= BATCH_BYTES;
            left = left.saturating_sub(1);
            wanted
        };
        self.queue.drain_while(wanted, &mut candidates);
        for waiting in candidates {
            let full = batch.len() >= BATCH_COMMITS || bytes + waiting.prepared.bytes > BATCH_BYTES;
            // Once one is left for later, so is every later one of the same call: it stays in `calls`.
            if full || !calls.insert(waiting.prepared.call().clone()) {
                self.deferred.push_back(waiting);
            } else {
                bytes += waiting.prepared.bytes;
                batch.push(waiting);
            }
        }
        batch
    }

    fn settle(&mut self, mut batch: Vec<Waiting>) {
        let started = clock::monotonic();
        let transaction = spans::of_transaction(&mut batch, self.kind);
        self.counters.measures.batch.observe(count(batch.len()));
        let all: Vec<&Prepared> = batch.iter().map(|waiting| &waiting.prepared).collect();
        let mut results = self.commit(&all);
        let alone = batch.len() == 1;
        let isolate = |r: &Result<_, Fault>| matches!(r, Err(Fault::Permanent(_) | Fault::Busy));
        if !alone && results.iter().any(isolate) {
            // One of them is at fault, or waits for a lock that somebody holds. One by one, the others pass.
            for (prepared, result) in all.iter().zip(&mut results).filter(|(_, r)| isolate(r)) {
                if started.elapsed() > PURSUE {
                    *result = Err(Fault::Busy);
                } else if let Some(own) = self.commit(&[prepared]).pop() {
                    *result = own;
                }
            }
        }
        drop(transaction);
        for (waiting, mut result) in batch.into_iter().zip(results) {
            if matches!(result, Err(Fault::Permanent(_))) && self.is_repeated(waiting.prepared.commit.command) {
                result = Ok(CommitOutcome::Repeated);
            }
            if let Err(Fault::Permanent(what)) = &result {
                let call = waiting.prepared.call();
                tracing::error!(call.id = %call, kind = waiting.prepared.commit.kind, why = what, "the database refuses a commit");
            }
            self.answer(waiting, result.map_err(Fault::into_error));
        }
    }

    /// Something is on record under the key that the command's id was made of: that is why it could not be written.
    fn is_repeated(&mut self, command: CommandId) -> bool {
        is_keyed(command) && self.link.conn().is_some_and(|conn| refusals::on_record(conn, command).unwrap_or_default())
    }

    fn answer(&self, mut waiting: Waiting, result: Result<CommitOutcome, StoreError>) {
        spans::on_outcome(&mut waiting.span, &result);
        self.counters.waiting_bytes.fetch_sub(waiting.prepared.bytes, Ordering::Relaxed);
        if result == Ok(CommitOutcome::Committed) {
            self.counters.commits.fetch_add(1, Ordering::Relaxed);
            self.counters.measures.durable.took(waiting.since.elapsed());
            if !waiting.prepared.outgoing.is_empty() {
                self.subscriptions.written.notify_one();
            }
        }
        // Ended before whoever waits goes on.
        drop(waiting.span);
        let _ = waiting.reply.send(result);
    }

    /// Pursues a batch until each commit has its outcome, or there is no point in going on.
    fn commit(&mut self, batch: &[&Prepared]) -> Vec<Result<CommitOutcome, Fault>> {
        let mut outcomes: Vec<Option<CommitOutcome>> = batch.iter().map(|_| None).collect();
        let fault = self.pursue(batch, &mut outcomes).err().unwrap_or(Fault::Broken);
        outcomes.into_iter().map(|outcome| outcome.ok_or_else(|| fault.clone())).collect()
    }

    fn pursue(&mut self, batch: &[&Prepared], outcomes: &mut [Option<CommitOutcome>]) -> Result<(), Fault> {
        let mut in_doubt_since: Option<Instant> = None;
        let mut tries = 0;
        let mut backoff = Backoff::conflict();
        let mut replaced = false;
        while outcomes.iter().any(Option::is_none) {
            if self.link.conn().is_none() && self.lane.is_down() {
                // Those behind have not been tried: they learn at once, and for sure.
                self.refuse_all();
            }
            let Some(conn) = self.link.conn() else {
                match in_doubt_since {
                    Some(since) if since.elapsed() < PURSUE => std::thread::sleep(self.link.wait()),
                    Some(_) => return Err(Fault::Broken),
                    None => return Err(Fault::ReadOnly),
                }
                continue;
            };
            let counters = &self.counters;
            let attempt = || attempt(conn, batch, outcomes, in_doubt_since.is_some(), counters);
            let fault = match catch_unwind(AssertUnwindSafe(attempt)) {
                // Those still without an outcome lost against something that is gone by now.
                Ok(Ok(())) => Fault::Conflict,
                Ok(Err(fault)) => fault,
                Err(_) => Fault::Broken,
            };
            match fault {
                Fault::Broken => {
                    self.link.drop_conn();
                    if in_doubt_since.is_some() {
                        std::thread::sleep(backoff.next());
                    }
                    if in_doubt_since.get_or_insert_with(clock::monotonic).elapsed() > PURSUE {
                        return Err(Fault::Broken);
                    }
                }
                Fault::ReadOnly => {
                    self.link.drop_conn();
                    if replaced {
                        return Err(in_doubt_since.map_or(Fault::ReadOnly, |_| Fault::Broken));
                    }
                    replaced = true;
                }
                Fault::Conflict if tries < CONFLICT_TRIES => {
                    tries += 1;
                    if outcomes.iter().any(Option::is_none) {
                        std::thread::sleep(backoff.next());
                    }
                }
                // The lost connection's transaction may still hold its locks, for as long as a statement may take.
                Fault::Busy if in_doubt_since.is_some_and(|since| since.elapsed() < PURSUE) => {}
                Fault::Busy | Fault::Conflict if in_doubt_since.is_some() => return Err(Fault::Broken),
                fault => return Err(fault),
            }
        }
        Ok(())
    }
}

/// One transaction for all that have no outcome yet, then the reasons of those that were refused. The fail point
/// stands for a database that stays away.
fn attempt(
    conn: &mut Conn,
    batch: &[&Prepared],
    outcomes: &mut [Option<CommitOutcome>],
    in_doubt: bool,
    counters: &Counters,
) -> Result<(), Fault> {
    let undecided = |outcomes: &[Option<CommitOutcome>]| -> Vec<usize> {
        outcomes.iter().enumerate().filter_map(|(place, outcome)| outcome.is_none().then_some(place)).collect()
    };
    if in_doubt {
        fail::fail_point!("store-in-doubt", |_| Err(Fault::Broken));
        let doubtful: Vec<&Prepared> = undecided(outcomes).into_iter().map(|place| batch[place]).collect();
        let known = refusals::entered(conn, &doubtful)?;
        for place in undecided(outcomes) {
            if known.contains(&batch[place].attempt) {
                outcomes[place] = Some(CommitOutcome::Committed);
            }
        }
    }
    let mut places = undecided(outcomes);
    // Every node takes locks in this order, so that no two wait for each other.
    places.sort_by(|a, b| batch[*a].call().cmp(batch[*b].call()));
    let rest: Vec<&Prepared> = places.iter().map(|place| batch[*place]).collect();
    if rest.is_empty() {
        return Ok(());
    }
    counters.transactions.fetch_add(1, Ordering::Relaxed);
    let entered = transaction(conn, &rest)?;
    let mut refused = Vec::new();
    for place in places {
        if entered.contains(batch[place].call().as_str()) {
            outcomes[place] = Some(CommitOutcome::Committed);
        } else {
            refused.push(place);
        }
    }
    if refused.is_empty() {
        return Ok(());
    }
    let losers: Vec<&Prepared> = refused.iter().map(|place| batch[*place]).collect();
    for (place, refusal) in refused.into_iter().zip(refusals::explain(conn, &losers)?) {
        if let Refusal::Final(outcome) = refusal {
            outcomes[place] = Some(outcome);
        }
    }
    Ok(())
}

/// The transaction itself. Fail points stand for a connection that breaks before and after it.
fn transaction(conn: &mut Conn, batch: &[&Prepared]) -> Result<HashSet<String>, Fault> {
    fail::fail_point!("store-before-commit", |_| Err(Fault::Broken));
    let entered = match conn {
        Conn::Pg(conn) => commit_postgres::apply(conn, batch)?,
        Conn::Sqlite(conn) => commit_sqlite::apply(conn, batch)?,
    };
    fail::fail_point!("store-after-commit", |_| Err(Fault::Broken));
    Ok(entered)
}
