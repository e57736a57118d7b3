//! Sends spans to a collector, beside everything else: OTLP over HTTP, in protobuf.
//!
//! Owns a bounded queue and one thread with a runtime of its own. Whoever has a span to hand over never waits: what does
//! not fit is dropped and counted. Survives a collector that is away, slow, hangs or refuses: one batch is kept and tried
//! again, the queue behind it fills, and the log says so once when it begins and once when it is over. At the end of the
//! process what waits is sent, for a bounded time.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::{
    Client, StatusCode, Url,
    header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, timeout_at},
};

use super::{Recording, Sampler, TraceContext, otlp};
use crate::{clock, domain::NodeId};

/// Spans that wait to be sent, of some 600 bytes each. More takes memory while the collector is away; fewer, and a burst
/// loses some while it is there.
const QUEUE: usize = 8192;
/// Spans of one request. More, and a collector may refuse it for its length; fewer costs requests.
const BATCH: usize = 512;
/// How long a span waits for others. Longer, and who looks does not see yet what was just done; shorter costs requests.
const GATHER: Duration = Duration::from_secs(1);
/// The pauses between tries at a collector that is away: they grow from the first to the second. Shorter is work for
/// nothing; longer, and it is back unnoticed.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// How long a node that ends tries to send what waits. Longer keeps a rollout waiting for a collector; shorter loses what
/// its last commands did.
const FLUSH: Duration = Duration::from_secs(2);
/// What is read of a collector's answer.
const MAX_ANSWER_BYTES: usize = 16 * 1024;

/// Where spans go, and which.
#[derive(Clone)]
pub struct ExportSettings {
    /// The whole address, with its path. It may hold a password.
    pub endpoint: Url,
    /// Sent with each request; they may hold a key.
    pub headers: HeaderMap,
    /// How long one request may take.
    pub timeout: Duration,
    pub sampler: Sampler,
    /// What is said of this process with each request, besides its node and version.
    pub resource: Vec<(String, String)>,
}

impl std::fmt::Debug for ExportSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { timeout, sampler, resource, .. } = self;
        let mut shown = f.debug_struct("ExportSettings");
        shown.field("timeout", timeout).field("sampler", sampler).field("resource", resource).finish_non_exhaustive()
    }
}

/// What has become of spans since the start.
#[derive(Debug, Default)]
pub struct Stats {
    /// Taken by the collector.
    pub delivered: AtomicU64,
    /// Lost: the queue was full, or the collector did not want them.
    pub dropped: AtomicU64,
}

static STATS: Stats = Stats { delivered: AtomicU64::new(0), dropped: AtomicU64::new(0) };

/// What has become of spans since the start.
pub fn stats() -> &'static Stats {
    &STATS
}

fn dropped(spans: usize) {
    STATS.dropped.fetch_add(u64::try_from(spans).unwrap_or(u64::MAX), Ordering::Relaxed);
}

/// A span that has ended, in the box that it was recorded in.
pub(super) type Ended = Box<Recording>;

struct Exporter {
    queue: mpsc::Sender<Ended>,
    sampler: Sampler,
    closing: std::sync::Mutex<Option<oneshot::Sender<oneshot::Sender<()>>>>,
}

static EXPORTER: OnceLock<Exporter> = OnceLock::new();

/// Whether spans are sent anywhere.
pub(super) fn is_on() -> bool {
    EXPORTER.get().is_some()
}

/// Whether to record the trace.
pub(super) fn samples(context: &TraceContext, is_parent: bool) -> bool {
    EXPORTER.get().is_some_and(|exporter| exporter.sampler.samples(context, is_parent))
}

/// Takes a span that has ended.
pub(super) fn hand_over(recording: Ended) {
    let Some(exporter) = EXPORTER.get() else { return };
    if exporter.queue.try_send(recording).is_err() {
        dropped(1);
    }
}

/// Begins to send spans, from this node. Once in a process: a second call does nothing.
///
/// # Errors
/// No client or no thread can be made.
pub fn start(settings: ExportSettings, node: &NodeId) -> anyhow::Result<()> {
    let client = Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(settings.timeout).build()?;
    let (queue, waiting) = mpsc::channel(QUEUE);
    let (closing, closed) = oneshot::channel();
    let exporter = Exporter { queue, sampler: settings.sampler, closing: std::sync::Mutex::new(Some(closing)) };
    if EXPORTER.set(exporter).is_err() {
        return Ok(());
    }
    let mut resource = vec![
        ("service.instance.id".to_owned(), node.as_str().to_owned()),
        ("service.version".to_owned(), crate::build_info::VERSION.to_owned()),
        ("carillon.node.id".to_owned(), node.as_str().to_owned()),
    ];
    // What the operator says counts, but for the node.
    resource
        .retain(|(name, _)| name == "carillon.node.id" || !settings.resource.iter().any(|(given, _)| given == name));
    resource.extend(settings.resource.into_iter().filter(|(name, _)| name != "carillon.node.id"));
    tracing::info!(
        host = settings.endpoint.host_str().unwrap_or(""), sampler = ?settings.sampler, "traces are sent to a collector"
    );
    let courier = Courier {
        client,
        endpoint: settings.endpoint,
        headers: settings.headers,
        resource,
        pause: FIRST_PAUSE,
        away: None,
        overflowing: false,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let serve = move || runtime.block_on(courier.serve(waiting, closed));
    std::thread::Builder::new().name("trace-export".into()).spawn(serve)?;
    Ok(())
}

/// Sends what waits, for at most two seconds, and ends the sending.
pub async fn finish() {
    let Some(exporter) = EXPORTER.get() else { return };
    let closing = exporter.closing.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    let (done, finished) = oneshot::channel();
    if closing.is_some_and(|closing| closing.send(done).is_ok()) {
        // The thread keeps to its own time; this is for one that hangs in a look-up of a name.
        let _ = tokio::time::timeout(FLUSH + FLUSH / 2, finished).await;
    }
}

/// Why spans were not taken.
struct Failure {
    why: String,
    /// The same may be taken later; not before this has passed, if the collector says so.
    again: Option<Duration>,
}

struct Courier {
    client: Client,
    endpoint: Url,
    headers: HeaderMap,
    resource: Vec<(String, String)>,
    /// Before the next try.
    pause: Duration,
    /// Since when nothing was taken, and how many had been dropped then.
    away: Option<(Instant, u64)>,
    /// Spans are dropped though the collector takes what it is sent.
    overflowing: bool,
}

type Closing = oneshot::Receiver<oneshot::Sender<()>>;

impl Courier {
    async fn serve(mut self, mut queue: mpsc::Receiver<Ended>, mut closing: Closing) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                () = self.round(&mut queue, &mut batch) => {}
                asked = &mut closing => {
                    self.flush(&mut queue, batch).await;
                    if let Ok(done) = asked {
                        // Who asked may have given up.
                        let _ = done.send(());
                    }
                    return;
                }
            }
        }
    }

    /// Waits for spans, unless some are left from before, and tries to send them. May be dropped at any point: what it
    /// has taken is in `batch`.
    async fn round(&mut self, queue: &mut mpsc::Receiver<Ended>, batch: &mut Vec<Ended>) {
        if batch.is_empty() && queue.recv_many(batch, BATCH).await == 0 {
            return std::future::pending().await;
        }
        let until = tokio::time::Instant::now() + GATHER;
        while batch.len() < BATCH {
            let room = BATCH - batch.len();
            if timeout_at(until, queue.recv_many(batch, room)).await.is_err() {
                break;
            }
        }
        let dropped_before = STATS.dropped.load(Ordering::Relaxed);
        match self.deliver(batch).await {
            Ok(()) => {
                batch.clear();
                self.on_delivered(dropped_before);
            }
            Err(failure) => {
                self.on_failed(&failure);
                let pause = failure.again.unwrap_or_default().clamp(self.pause, LONGEST_PAUSE);
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                if failure.again.is_none() {
                    dropped(batch.len());
                    batch.clear();
                }
                sleep(pause.mul_f64(rand::random_range(0.75..1.25))).await;
            }
        }
    }

    async fn flush(&mut self, queue: &mut mpsc::Receiver<Ended>, mut batch: Vec<Ended>) {
        queue.close();
        let until = tokio::time::Instant::now() + FLUSH;
        loop {
            while batch.len() < BATCH
                && let Ok(recording) = queue.try_recv()
            {
                batch.push(recording);
            }
            if batch.is_empty() {
                return;
            }
            if !matches!(timeout_at(until, self.deliver(&batch)).await, Ok(Ok(()))) {
                let lost = batch.len() + queue.len();
                dropped(lost);
                tracing::warn!(spans = lost, "the last spans could not be delivered");
                return;
            }
            batch.clear();
        }
    }

    async fn deliver(&self, batch: &[Ended]) -> Result<(), Failure> {
        let request = self
            .client
            .post(self.endpoint.clone())
            .headers(self.headers.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"))
            .body(otlp::body(&self.resource, batch));
        let failed = |error: reqwest::Error| Failure {
            // Without the address: it may hold a password.
            why: format!("{:#}", anyhow::Error::new(error.without_url())),
            again: Some(Duration::ZERO),
        };
        let mut answer = request.send().await.map_err(failed)?;
        let status = answer.status();
        if !status.is_success() {
            let wait = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            let again = matches!(
                status,
                StatusCode::TOO_MANY_REQUESTS
                    | StatusCode::BAD_GATEWAY
                    | StatusCode::SERVICE_UNAVAILABLE
                    | StatusCode::GATEWAY_TIMEOUT
            );
            return Err(Failure {
                why: format!("the collector answers {status}"),
                again: again.then(|| Duration::from_secs(wait.unwrap_or(0))),
            });
        }
        let mut text = Vec::new();
        while let Ok(Some(chunk)) = answer.chunk().await {
            if text.len() + chunk.len() > MAX_ANSWER_BYTES {
                break;
            }
            text.extend_from_slice(&chunk);
        }
        let rejected = otlp::rejected(&text);
        if let Some((spans, why)) = &rejected {
            STATS.dropped.fetch_add(*spans, Ordering::Relaxed);
            tracing::debug!(spans, why, "the collector rejects spans");
        }
        let taken = u64::try_from(batch.len()).unwrap_or(0).saturating_sub(rejected.map_or(0, |(spans, _)| spans));
        STATS.delivered.fetch_add(taken, Ordering::Relaxed);
        Ok(())
    }

    fn on_failed(&mut self, failure: &Failure) {
        if self.away.is_none() {
            self.away = Some((clock::monotonic(), STATS.dropped.load(Ordering::Relaxed)));
            tracing::warn!(why = failure.why, "traces cannot be delivered; calls go on without them");
        }
    }

    fn on_delivered(&mut self, dropped_before: u64) {
        self.pause = FIRST_PAUSE;
        let now = STATS.dropped.load(Ordering::Relaxed);
        if let Some((since, before)) = self.away.take() {
            tracing::warn!(away_secs = since.elapsed().as_secs(), dropped = now - before, "traces are delivered again");
        } else if (now > dropped_before) != self.overflowing {
            self.overflowing = !self.overflowing;
            if self.overflowing {
                tracing::warn!("the collector is too slow: spans are dropped");
            } else {
                tracing::warn!(dropped = now, "the collector keeps up again");
            }
        }
    }
}
