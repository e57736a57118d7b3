//! The thread that talks to LiveKit.
//!
//! Owns the HTTP client, the queue in front of it, timeouts and tries. Must never block who asks: a full queue is an
//! answer, and who has stopped waiting costs nothing but the attempt under way. Every request that goes through here can
//! be repeated, since a time-out says nothing about whether it was done.

use std::{future::Future, pin::Pin, rc::Rc, sync::Arc, thread, time::Duration};

use livekit_api::services::{ServerError, ServiceError, ServiceResult, room::RoomClient};
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    task, time,
};

use super::{LiveKitConfig, MediaError, counts::Counts};
use crate::clock;

/// How long one attempt may take. Longer, and a LiveKit that hangs holds up escalations past their own deadline; shorter,
/// and one that is merely busy counts as away.
pub(super) const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);
/// Attempts at one request. More keeps who asked waiting; one would make each lost packet an error.
pub(super) const TRIES: u32 = 3;
/// The wait before the second attempt, doubled before the third, each with jitter of half of it.
const BACKOFF: Duration = Duration::from_millis(150);
/// How long a request may wait for its turn and be tried, in all.
const PATIENCE: Duration = Duration::from_secs(12);
/// Requests that wait. More than LiveKit answers in [`PATIENCE`] would be answered too late anyway.
const QUEUE: usize = 512;
/// Requests under way at once: LiveKit is one server, and a recovery after it was away must not fell it again.
const AT_ONCE: usize = 32;

type Attempt<T> = Pin<Box<dyn Future<Output = ServiceResult<T>>>>;
type Job = Box<dyn FnOnce(Rc<RoomClient>) -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// The way to that thread.
pub(super) struct LiveKit {
    jobs: mpsc::Sender<Job>,
    counts: Counts,
    http: reqwest::Client,
}

impl LiveKit {
    pub fn start(config: &LiveKitConfig, counts: Counts) -> Result<Self, String> {
        if config.api_key.is_empty() || config.api_secret.reveal().is_empty() {
            return Err("LiveKit's key and secret must not be empty".to_owned());
        }
        crate::tls::install_provider();
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        let http = http.build().map_err(|error| format!("no HTTP client for LiveKit: {error}"))?;
        let (jobs, waiting) = mpsc::channel(QUEUE);
        let client = RoomClient::with_api_key(&config.url, &config.api_key, config.api_secret.reveal())
            // There is one address; tries are ours to make.
            .with_failover(false)
            .with_request_timeout(ATTEMPT_TIMEOUT);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("no runtime for requests to LiveKit: {error}"))?;
        thread::Builder::new()
            .name("livekit".to_owned())
            .spawn(move || runtime.block_on(task::LocalSet::new().run_until(run(client, waiting))))
            .map_err(|error| format!("no thread for requests to LiveKit: {error}"))?;
        Ok(Self { jobs, counts, http })
    }

    /// Requests that wait, and how many may.
    pub fn queue(&self) -> (usize, usize) {
        (QUEUE.saturating_sub(self.jobs.capacity()), QUEUE)
    }

    /// For requests that livekit-api does not make; to be used on this thread too.
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Makes a request that can be repeated. `kind` is what it is counted as.
    pub async fn request<T: Send + 'static>(
        &self,
        kind: &'static str,
        tries: u32,
        attempt: impl Fn(Rc<RoomClient>) -> Attempt<T> + Send + 'static,
    ) -> Result<T, MediaError> {
        let (told, answer) = oneshot::channel();
        let counts = self.counts.clone();
        let job: Job = Box::new(move |client| {
            Box::pin(async move {
                let mut told = told;
                let outcome = tokio::select! {
                    outcome = persist(kind, tries, &counts, || attempt(client.clone())) => outcome,
                    // Nobody waits any more.
                    () = told.closed() => return,
                };
                let _ = told.send(outcome);
            })
        });
        if self.jobs.try_send(job).is_err() {
            self.counts.request(kind, "queue_full");
            return Err(MediaError::Unavailable);
        }
        match time::timeout(PATIENCE, answer).await {
            Ok(Ok(outcome)) => outcome,
            _ => Err(MediaError::Unavailable),
        }
    }
}

impl LiveKit {
    /// Makes a request that must not be repeated, over a client of its own: once, within `timeout`. The error says as
    /// much as LiveKit did.
    pub async fn once<T: Send + 'static>(
        &self,
        kind: &'static str,
        timeout: Duration,
        attempt: impl Future<Output = ServiceResult<T>> + Send + 'static,
    ) -> Result<T, Once> {
        let (told, answer) = oneshot::channel();
        let counts = self.counts.clone();
        let job: Job = Box::new(move |_| {
            // Beside the others: it may take longer than they may, and who has stopped waiting does not stop it.
            task::spawn_local(async move {
                let began = clock::monotonic();
                let (word, outcome) = match time::timeout(timeout, attempt).await {
                    Ok(Ok(value)) => ("ok", Ok(value)),
                    Ok(Err(error)) => (judge(&error).0, Err(Once::of(error))),
                    Err(_) => ("timeout", Err(Once::Unknown)),
                };
                counts.took(began.elapsed());
                counts.request(kind, word);
                let _ = told.send(outcome);
            });
            Box::pin(std::future::ready(()))
        });
        if self.jobs.try_send(job).is_err() {
            self.counts.request(kind, "queue_full");
            return Err(Once::NotSent);
        }
        answer.await.unwrap_or(Err(Once::Unknown))
    }
}

/// Why a request that is made once has no answer that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Once {
    NotSent,
    /// It may have been done, or may still be.
    Unknown,
    /// LiveKit answered, with this code and these words.
    Said {
        code: String,
        words: String,
    },
}

impl Once {
    fn of(error: ServiceError) -> Self {
        match error {
            ServiceError::Twirp(ServerError::Twirp(error)) => Self::Said { code: error.code, words: error.msg },
            ServiceError::Twirp(ServerError::Request(error)) if error.is_connect() => Self::NotSent,
            ServiceError::Twirp(ServerError::Url(_)) | ServiceError::Env(_) | ServiceError::AccessToken(_) => {
                Self::Said { code: "settings".to_owned(), words: String::new() }
            }
            ServiceError::Twirp(_) => Self::Unknown,
        }
    }
}

async fn run(client: RoomClient, mut waiting: mpsc::Receiver<Job>) {
    let client = Rc::new(client);
    let places = Arc::new(Semaphore::new(AT_ONCE));
    while let Some(job) = waiting.recv().await {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let request = job(client.clone());
        task::spawn_local(async move {
            request.await;
            drop(place);
        });
    }
}

async fn persist<T>(
    kind: &'static str,
    tries: u32,
    counts: &Counts,
    attempt: impl Fn() -> Attempt<T>,
) -> Result<T, MediaError> {
    let mut backoff = BACKOFF;
    let mut failed = 1;
    loop {
        // The client's own timeout does not cover everything it does, such as reading a body that trickles.
        let began = clock::monotonic();
        let outcome = time::timeout(ATTEMPT_TIMEOUT, attempt()).await;
        counts.took(began.elapsed());
        let (word, error) = match outcome {
            Ok(Ok(value)) => {
                counts.request(kind, "ok");
                return Ok(value);
            }
            Ok(Err(error)) => judge(&error),
            Err(_) => ("timeout", MediaError::Unavailable),
        };
        counts.request(kind, word);
        if error != MediaError::Unavailable || failed >= tries {
            if error == MediaError::Unavailable {
                tracing::debug!(kind, outcome = word, tries, "livekit could not be asked");
            }
            return Err(error);
        }
        failed += 1;
        time::sleep(backoff.mul_f64(rand::random_range(0.5..1.5))).await;
        backoff *= 2;
    }
}

/// What an attempt's failure is counted as, and what it means.
fn judge(error: &ServiceError) -> (&'static str, MediaError) {
    match error {
        ServiceError::Twirp(ServerError::Twirp(error)) => match error.code.as_str() {
            // These say that LiveKit, or a node of it, is in trouble: it may go better another time.
            "unavailable" | "internal" | "unknown" | "deadline_exceeded" | "canceled" | "aborted" | "dataloss" => {
                ("error", MediaError::Unavailable)
            }
            "resource_exhausted" => ("overloaded", MediaError::Unavailable),
            "not_found" => ("absent", MediaError::Refused("not_found".to_owned())),
            code => ("refused", MediaError::Refused(code.chars().take(40).collect())),
        },
        ServiceError::Twirp(ServerError::Request(error)) if error.is_timeout() => ("timeout", MediaError::Unavailable),
        // An error whose body is not LiveKit's: a proxy in between that says 502 in HTML, or a key it does not take.
        ServiceError::Twirp(ServerError::Request(error)) if error.is_decode() => ("error", MediaError::Unavailable),
        ServiceError::Twirp(ServerError::Request(_) | ServerError::Prost(_)) => {
            ("unreachable", MediaError::Unavailable)
        }
        ServiceError::Twirp(ServerError::Url(_)) | ServiceError::Env(_) | ServiceError::AccessToken(_) => {
            ("refused", MediaError::Refused("settings".to_owned()))
        }
    }
}
