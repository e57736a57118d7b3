//! What is durable: events, the rows derived from them, and who owns which call.
//!
//! Owns the database, PostgreSQL or an embedded SQLite behind one interface, and the threads that talk to it. Must
//! never block its callers, answer "committed" for what is not durable, or show what a row holds. Survives a database
//! that goes away and comes back: meanwhile what needs it is refused at once, as retryable.
//!
//! ```text
//! commit ──> queue ──> writer thread ──> one transaction for all that wait
//! reads  ──> queue ──> reader threads, one connection each; others for reads on behalf of users
//! leases ──> queue ──> a thread and a connection of their own
//! ```

mod audit;
mod calls;
mod calls_now;
mod columns;
mod command_results;
mod commit;
mod commit_postgres;
mod commit_sqlite;
mod connection;
mod error;
#[cfg(test)]
#[cfg(feature = "failpoints")]
mod fault_tests;
mod group_members;
mod groups;
mod health;
mod history;
mod history_sql;
pub mod inspect;
mod invitations;
mod link;
mod livekit_events;
mod measures;
mod migrate;
mod models;
mod nodes;
mod old;
mod open_calls;
mod outbox;
mod pool;
mod positions;
mod postgres;
mod prey;
mod quality;
mod queue;
mod recording_commits;
mod recordings;
mod refusals;
mod retry;
mod schema;
mod service_keys;
mod sqlite;
mod standing;
mod statement;
mod stats;
mod sweep_runs;
mod sweeps;
mod sweeps_now;
mod timeline;
mod tls;
mod types;
mod viewer;
mod webhook_deliveries;
mod webhook_queue;
mod webhooks;
mod writer;

use std::{
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
};

use diesel::prelude::*;
use tokio::sync::oneshot;

pub use audit::{Act, Actor, ActorKind, AuditEntry, AuditFilter};
pub use calls::{CallOwner, ClaimOutcome, HandedOutcome, Prospect, StoredCall};
pub use calls_now::{CallNow, CallThen, OpenCallsQuery};
pub use command_results::CommandRecord;
pub use commit::{Commit, CommitOutcome};
pub use connection::Kind;
pub use error::StoreError;
pub use group_members::{GroupMember, MemberRole};
pub use groups::{Group, PutOutcome};
pub use health::Health;
pub use history::{Direction, HistoryEntry, HistoryOf, HistoryPage, HistoryParticipant, HistoryQuery, Place};
pub use history_sql::MOST_LOOKED_AT;
pub use livekit_events::{BATCH_ROOMS, CallFate};
pub use migrate::{is_migrated, migrate};
pub use nodes::{KnownNode, LiveNode, NodeInfo, NodeLoad};
pub use old::{FORGOTTEN_AT_ONCE, Old};
pub use open_calls::OpenCall;
pub use positions::{BATCH_POSITIONS, Position};
pub use prey::{Engaged, Orphan, Overdue};
pub use quality::{QualityReport, QualitySums, ReportOutcome, Spread};
pub use recordings::{CallRow as RecordedCall, RecordingPlace, RecordingQuery, Unsettled};
pub use service_keys::{CreateKeyOutcome, NewServiceKey, RevokeOutcome, ServiceKey};
pub use standing::Standing;
pub use stats::CallTally;
pub use sweep_runs::{StoredRun, SweepAction, SweepRun};
pub use sweeps::{SweepRequest, SweeperState};
pub use sweeps_now::{RequestOutcome, RequestState, RunsQuery, SweeperNow};
pub use timeline::{TimelineEvent, Told};
pub use types::{CommandId, is_keyed};
pub use viewer::Viewer;
pub use webhook_deliveries::{Delivery, DeliveryQuery, DeliveryState, ReplayOutcome};
pub use webhook_queue::{AttemptReport, Backlog, DeliveryOutcome, TakenDelivery};
pub use webhooks::{
    CreateWebhookOutcome, MAX_WEBHOOKS, NewWebhook, RotateOutcome, SECRET_OVERLAP, Webhook, WebhookChange,
};
pub use writer::WriterStats;

use crate::{
    metrics::{Page, count},
    secret::Secret,
};
use connection::{Conn, Purpose, Target, with_conn};
use error::Fault;
use open_calls::Questions;
use outbox::Subscriptions;
use pool::{Pool, PoolStats};
use quality::Reports;
use writer::Writer;

/// Reads that may wait. More would be answered after their callers gave up.
const READ_QUEUE: usize = 4096;

/// Lease statements that may wait: a handful are ever under way.
const LEASE_QUEUE: usize = 64;

/// How to use the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreOptions {
    /// Connections for the machinery's reads, at least one; the writer and the lease have one more each, and on
    /// PostgreSQL half as many, at least one, serve what users look up.
    pub connections: usize,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { connections: 4 }
    }
}

/// The store. Cheap to clone; when the last clone is dropped, its threads finish what waits and end.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    kind: Kind,
    /// See [`Store::is_walled`].
    walled: bool,
    readers: Pool,
    /// On PostgreSQL.
    viewers: Option<Pool>,
    leases: Pool,
    writer: Writer,
    questions: Arc<Questions>,
    reports: Arc<Reports>,
    subscriptions: Arc<Subscriptions>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Inner {
    fn stop(&self) {
        self.readers.close();
        if let Some(viewers) = &self.viewers {
            viewers.close();
        }
        self.leases.close();
        self.writer.close();
    }
}

impl Store {
    /// Connects, and checks that the tables are those this program knows ([`migrate`] makes them).
    pub async fn open(url: &Secret, options: StoreOptions) -> Result<Self, StoreError> {
        let target = Arc::new(Target::parse(url)?);
        let first = target.clone();
        let check = move || {
            let unreachable = |why| StoreError::Setup(format!("the database cannot be reached: {why}"));
            let mut conn = first.connect(Purpose::Machinery).map_err(unreachable)?;
            let outdated = || StoreError::Setup("the database is not migrated: run `carillon migrate`".into());
            if migrate::is_current(&mut conn)? { migrate::is_walled(&mut conn) } else { Err(outdated()) }
        };
        let walled = on_a_thread(check).await?;
        let no_thread = |_| StoreError::Setup("no thread can be started".into());
        let machinery = |name, threads, capacity| Pool::start(name, &target, Purpose::Machinery, threads, capacity);
        let (readers, mut threads) = machinery("reader", options.connections, READ_QUEUE).map_err(no_thread)?;
        let (leases, lease_threads) = machinery("lease", 1, LEASE_QUEUE).map_err(no_thread)?;
        let viewers = match target.kind() {
            Kind::Postgres => {
                let half = options.connections / 2;
                let viewers = Pool::start("viewer", &target, Purpose::Viewers, half, READ_QUEUE);
                let (viewers, viewer_threads) = viewers.map_err(no_thread)?;
                threads.extend(viewer_threads);
                Some(viewers)
            }
            Kind::Sqlite => None,
        };
        let subscriptions = Arc::<Subscriptions>::default();
        let (writer, writer_thread) = Writer::start(&target, &subscriptions).map_err(no_thread)?;
        threads.extend(lease_threads);
        threads.push(writer_thread);
        let inner = Inner {
            kind: target.kind(),
            walled,
            readers,
            viewers,
            leases,
            writer,
            questions: Arc::default(),
            reports: Arc::default(),
            subscriptions,
            threads: Mutex::new(threads),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Writes the events and what derives from them, in one transaction with whatever else waits. See [`CommitOutcome`]
    /// for refusals; an error with an unknown outcome is settled by the same commit again, with its command id.
    ///
    /// Refused at once when the lease's connection, which is used every second, has found the database away: the writer's
    /// own may be dead without its having noticed, and would then pursue this commit for seconds.
    pub async fn commit(&self, commit: Commit) -> Result<CommitOutcome, StoreError> {
        if self.inner.leases.lane().is_down() {
            return Err(StoreError::Unavailable { unknown_outcome: false });
        }
        self.inner.writer.commit(commit).await
    }

    /// Whether the database answers, as last seen; asks nothing.
    pub fn health(&self) -> Health {
        match self.inner.writer.lane().health() {
            Health::Up => self.inner.readers.lane().health(),
            down => down,
        }
    }

    /// Asks the database for a sign of life.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let ping = |conn: &mut Conn| {
            with_conn!(conn, |c| diesel::select(1.into_sql::<diesel::sql_types::Integer>()).execute(c)?);
            Ok(())
        };
        self.read(ping).await
    }

    /// Which database it is.
    pub fn kind(&self) -> Kind {
        self.inner.kind
    }

    /// Whether the database itself holds what a user sees to what is theirs. Not SQLite, nor PostgreSQL for a role that
    /// row-level security does not hold for.
    pub fn is_walled(&self) -> bool {
        self.inner.walled
    }

    /// What the writer has done.
    pub fn writer_stats(&self) -> WriterStats {
        self.inner.writer.stats()
    }

    /// Writes what was counted and measured, but for what [`Store::queues`] tells.
    pub fn write_counts(&self, page: &mut Page) {
        self.inner.writer.write_counts(page);
        let pools = self.pools();
        let rows = |number: fn(&PoolStats) -> usize| {
            let row = |pool: &PoolStats| ([("pool", pool.name)], count(number(pool)));
            pools.iter().map(row).collect()
        };
        page.gauges("database_connections_limit", "Connections that a pool may have", rows(|pool| pool.connections));
        page.gauges("database_connections", "Connections of a pool that stand", rows(|pool| pool.connected));
        page.gauges("database_connections_in_use", "Connections of a pool that are at work", rows(|pool| pool.busy));
        let waits = pools.iter().map(|pool| ([("pool", pool.name)], pool.waits.clone())).collect();
        page.histograms("database_pool_wait_seconds", "How long work waited for a connection of a pool", waits);
    }

    /// What waits in front of the database: the name of the queue, how many, how many may, and how often it was full.
    pub fn queues(&self) -> Vec<(&'static str, usize, usize, Option<u64>)> {
        let [(commits, commits_bound), (bytes, bytes_bound)] = self.inner.writer.fill();
        let mut queues = vec![("commits", commits, commits_bound, None), ("commit_bytes", bytes, bytes_bound, None)];
        queues.extend(self.pools().into_iter().map(|pool| {
            let name = match pool.name {
                "reader" => "database_reader",
                "viewer" => "database_viewer",
                _ => "database_lease",
            };
            (name, pool.waiting, pool.capacity, Some(pool.full))
        }));
        queues
    }

    fn pools(&self) -> Vec<PoolStats> {
        let inner = &self.inner;
        [Some(&inner.readers), inner.viewers.as_ref(), Some(&inner.leases)]
            .into_iter()
            .flatten()
            .map(Pool::stats)
            .collect()
    }

    /// Takes no more work, finishes what waits, and closes the connections. Every clone is closed with it.
    pub async fn close(&self) {
        self.inner.stop();
        let threads = std::mem::take(&mut *self.inner.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let join = move || {
            for thread in threads {
                let _ = thread.join();
            }
            Ok(())
        };
        let _ = on_a_thread(join).await;
    }

    /// Runs on a reader's connection, as the node: it sees everything. Short writes that may run twice may go here too.
    /// What is read because a user asks for it, and shown to them, goes by [`Store::read_as`].
    async fn read<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        F: FnMut(&mut Conn) -> Result<T, Fault> + Send + 'static,
        T: Send + 'static,
    {
        self.inner.readers.run(work).await
    }

    /// Runs on the lease's connection.
    async fn lease<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        F: FnMut(&mut Conn) -> Result<T, Fault> + Send + 'static,
        T: Send + 'static,
    {
        self.inner.leases.run(work).await
    }

    fn questions(&self) -> &Arc<Questions> {
        &self.inner.questions
    }

    fn reports(&self) -> &Arc<Reports> {
        &self.inner.reports
    }

    fn subscriptions(&self) -> &Arc<Subscriptions> {
        &self.inner.subscriptions
    }
}

async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let (reply, done) = oneshot::channel();
    let thread = std::thread::Builder::new().name("store-setup".into());
    let started = thread.spawn(move || drop(reply.send(work())));
    started.map_err(|_| StoreError::Setup("no thread can be started".into()))?;
    done.await.unwrap_or(Err(StoreError::Unavailable { unknown_outcome: true }))
}
