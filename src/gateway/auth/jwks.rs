//! The keys of a key server (JWKS, RFC 7517), fetched in the background and kept.
//!
//! Owns the fetching: one task asks, everybody else asks it. Must never fetch because of a token more often than once a
//! minute, follow a redirect, or take an address from a token. Survives a server that is away, slow, huge or wrong: the
//! keys of the last good answer stay until the next good answer.

use std::{
    sync::{Arc, RwLock},
    time::Duration,
};

use reqwest::{Client, StatusCode, Url, redirect};
use serde::Deserialize;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};
use tracing::{debug, info, warn};

use super::{AuthError, VerifierError, VerifyingKey, key::Jwk, verifier::Parts};
use crate::tls;

/// The largest document that is read. Larger would let a broken server fill our memory.
const MAX_BODY_BYTES: usize = 256 * 1024;
/// The most keys that are kept. A token without `kid` is tried against every key of its algorithm, so this bounds what
/// one such token may cost; servers publish two or three.
const MAX_KEYS: usize = 16;
/// Tokens that wait for one answer of the fetching task; more are told to come again.
const MAX_WAITING: usize = 1024;

/// When to fetch.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// The least time between two refreshes. Smaller would let strangers turn made-up key ids into load on the key
    /// server; larger would leave users of a newly rotated key outside for longer.
    pub min_interval: Duration,
    /// How old keys get before they are fetched again unasked: how long a withdrawn key is still good.
    pub refresh_every: Duration,
    /// How long one fetch may take, body included.
    pub timeout: Duration,
    /// The first pause after a failed fetch while no keys are known at all; doubles up to `min_interval`.
    pub first_retry: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            min_interval: Duration::from_secs(60),
            refresh_every: Duration::from_secs(300),
            timeout: Duration::from_secs(5),
            first_retry: Duration::from_secs(1),
        }
    }
}

/// The handle: the keys of now, and the way to the fetching task, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Jwks {
    keys: Shared,
    asks: mpsc::Sender<oneshot::Sender<Answer>>,
}

/// `None` until the first good answer.
type Shared = Arc<RwLock<Option<Arc<Vec<VerifyingKey>>>>>;

/// What the fetching task tells those who asked for a key it may not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// The keys are as new as they may be.
    Current,
    /// The server's last answer was none; what we have may be old.
    Away,
}

/// What the known keys say about a token.
enum Verdict {
    Signed,
    Forged,
    UnknownKey,
}

impl Jwks {
    /// Starts the fetching task on the current runtime; the first fetch begins at once.
    pub(super) fn start(url: Url, timing: Timing) -> Result<Self, VerifierError> {
        let client = client_for(&url, timing)?;
        let keys = Shared::default();
        let (asks, questions) = mpsc::channel(MAX_WAITING);
        tokio::spawn(Fetcher { url, client, timing, keys: keys.clone() }.run(questions));
        Ok(Self { keys, asks })
    }

    /// Whether one of the server's keys signed the token. Asks for newer keys if the token's is not known.
    pub(super) async fn check(&self, parts: &Parts<'_>) -> Result<(), AuthError> {
        const FORGED: AuthError = AuthError::Unauthenticated("the signature does not fit");
        match self.verdict(parts) {
            Verdict::Signed => return Ok(()),
            Verdict::Forged => return Err(FORGED),
            Verdict::UnknownKey => {}
        }
        let (reply, answer) = oneshot::channel();
        self.asks.try_send(reply).map_err(|_| AuthError::Unavailable)?;
        let answer = answer.await.unwrap_or(Answer::Away);
        match (self.verdict(parts), answer) {
            (Verdict::Signed, _) => Ok(()),
            (Verdict::Forged, _) => Err(FORGED),
            (Verdict::UnknownKey, Answer::Current) => Err(AuthError::Unauthenticated("no key for this token")),
            (Verdict::UnknownKey, Answer::Away) => Err(AuthError::Unavailable),
        }
    }

    fn verdict(&self, parts: &Parts<'_>) -> Verdict {
        let Some(keys) = current(&self.keys) else { return Verdict::UnknownKey };
        let named = |key: &&VerifyingKey| parts.key_id().is_none_or(|id| key.id() == Some(id));
        let mut candidates = keys.iter().filter(named).filter(|key| key.algorithm() == parts.algorithm()).peekable();
        if candidates.peek().is_none() {
            // A known id with another algorithm is not worth a fetch: an id belongs to one key.
            let known = parts.key_id().is_some_and(|id| keys.iter().any(|key| key.id() == Some(id)));
            return if known { Verdict::Forged } else { Verdict::UnknownKey };
        }
        if candidates.any(|key| parts.signed_by(key)) { Verdict::Signed } else { Verdict::Forged }
    }
}

fn current(keys: &Shared) -> Option<Arc<Vec<VerifyingKey>>> {
    keys.read().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
}

/// How many usable keys the server gives, asked once. The error is for people, and does not hold the address.
pub async fn count_keys(url: Url) -> Result<usize, String> {
    let timing = Timing::default();
    let client = client_for(&url, timing).map_err(|error| error.to_string())?;
    let body = Fetcher { url, client, timing, keys: Shared::default() }.download().await;
    body.and_then(|body| parse(&body)).map(|keys| keys.len()).map_err(|error| error.to_string())
}

fn client_for(url: &Url, timing: Timing) -> Result<Client, VerifierError> {
    tls::install_provider();
    let builder = Client::builder().redirect(redirect::Policy::none()).timeout(timing.timeout);
    // A key server on this machine is not reached through a proxy, and needs no root certificates.
    let builder = if url.scheme() == "http" { builder.no_proxy().tls_certs_only([]) } else { builder };
    let client = builder.user_agent(concat!("carillon/", env!("CARGO_PKG_VERSION"))).build();
    client.map_err(VerifierError::Client)
}

struct Fetcher {
    url: Url,
    client: Client,
    timing: Timing,
    keys: Shared,
}

impl Fetcher {
    /// Until the handle is dropped: fetches when it is time, and when asked, if it may.
    async fn run(self, mut questions: mpsc::Receiver<oneshot::Sender<Answer>>) {
        let mut retry = self.timing.first_retry;
        // Questions start a fetch only from this moment on; the clock starts one at `scheduled` anyway.
        let mut allowed = Instant::now();
        let mut scheduled = allowed;
        let mut answer = Answer::Away;
        loop {
            let asked = tokio::select! {
                // The clock first: at the start it is due, and whoever asks then waits for that fetch.
                biased;
                () = sleep_until(scheduled) => None,
                question = questions.recv() => match question {
                    Some(question) => Some(question),
                    None => return,
                },
            };
            if asked.is_none() || Instant::now() >= allowed {
                let first = current(&self.keys).is_none();
                let began = Instant::now();
                answer = self.fetch().await;
                (allowed, scheduled) = match answer {
                    // The first fetch is no refresh: a key rotated in during our first minute is not to wait for it.
                    Answer::Current if first => (began, began + self.timing.refresh_every),
                    Answer::Current => (began + self.timing.min_interval, began + self.timing.refresh_every),
                    Answer::Away => {
                        let pause = if first { retry } else { self.timing.min_interval };
                        retry = (retry * 2).min(self.timing.min_interval);
                        (Instant::now() + pause, Instant::now() + pause)
                    }
                };
            }
            // Whoever asked during the fetch is answered by it too. Askers may have gone away; nothing is lost then.
            let mut next = asked;
            while let Some(asker) = next.take().or_else(|| questions.try_recv().ok()) {
                let _ = asker.send(answer);
            }
        }
    }

    async fn fetch(&self) -> Answer {
        let host = self.url.host_str().unwrap_or_default();
        match self.download().await.and_then(|body| parse(&body)) {
            Ok(keys) => {
                let before = current(&self.keys).map_or(0, |keys| keys.len());
                if before == keys.len() {
                    debug!(jwks.host = host, keys = keys.len(), "token keys fetched");
                } else {
                    info!(jwks.host = host, keys = keys.len(), "token keys fetched");
                }
                *self.keys.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(Arc::new(keys));
                Answer::Current
            }
            Err(error) => {
                let kept = current(&self.keys).map_or(0, |keys| keys.len());
                warn!(jwks.host = host, keys.kept = kept, %error, "token keys could not be fetched");
                Answer::Away
            }
        }
    }

    async fn download(&self) -> Result<Vec<u8>, FetchError> {
        // With its causes, but without the address: its query may hold a key of its own.
        let failed = |error: reqwest::Error| FetchError::Http(format!("{:#}", anyhow::Error::new(error.without_url())));
        let mut response = self.client.get(self.url.clone()).send().await.map_err(failed)?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > MAX_BODY_BYTES {
                return Err(FetchError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("{0}")]
    Http(String),
    #[error("the answer was {0}")]
    Status(StatusCode),
    #[error("the answer is larger than 256 KiB")]
    TooLarge,
    #[error("the answer is not a JWKS document")]
    NotAKeySet,
    #[error("the answer holds no key that tokens could be checked with")]
    NoUsableKey,
}

/// The usable keys of a document. Others are skipped, whatever they are: a server may publish keys for others too.
fn parse(body: &[u8]) -> Result<Vec<VerifyingKey>, FetchError> {
    #[derive(Deserialize)]
    struct KeySet {
        keys: Vec<serde_json::Value>,
    }
    let set: KeySet = serde_json::from_slice(body).map_err(|_| FetchError::NotAKeySet)?;
    let usable = set.keys.into_iter().filter_map(|key| {
        let key = serde_json::from_value::<Jwk>(key).ok()?;
        VerifyingKey::from_jwk(key).inspect_err(|error| debug!(%error, "a key of the JWKS document is skipped")).ok()
    });
    let keys: Vec<_> = usable.take(MAX_KEYS).collect();
    if keys.is_empty() { Err(FetchError::NoUsableKey) } else { Ok(keys) }
}
