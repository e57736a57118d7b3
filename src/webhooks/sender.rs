//! One request to one endpoint.
//!
//! Must never follow a redirect, go by a proxy of the environment, connect to an address that was not judged, read more
//! than [`MAX_ANSWER_BYTES`] of an answer, wait longer than it may, or put an endpoint's address or answer into a log.

use std::time::Duration;

use reqwest::{Client, Response, Url, header, redirect};
use tokio::time;

use super::{
    Config,
    addresses::{PublicNames, Refused, check_url},
    schedule::retry_after,
    signature,
};
use crate::{clock, domain::Timestamp, secret::Secret, store::AttemptReport, tls};

/// How much of an answer is read. Nothing in it matters; more would let an endpoint fill our memory.
const MAX_ANSWER_BYTES: usize = 4 * 1024;
/// How much of it is kept, for who looks why a delivery failed.
const KEPT_ANSWER_BYTES: usize = 256;
/// How long the body of an answer is waited for whose status has come. It changes nothing.
const ANSWER_PATIENCE: Duration = Duration::from_secs(1);
/// Connections kept open to one host: as many as requests that may be under way for one webhook.
const IDLE_CONNECTIONS: usize = super::worker::AT_ONCE;

/// What an endpoint made of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Taken,
    /// It wants no more, ever (410).
    Gone,
    Failed {
        /// It asks to be left in peace for so long.
        asked: Option<Duration>,
    },
}

/// What is sent.
pub(super) struct Message<'a> {
    pub url: &'a str,
    /// The newest first.
    pub secrets: Vec<&'a Secret>,
    pub id: String,
    pub body: String,
}

/// See the module.
#[derive(Clone)]
pub(super) struct Sender {
    client: Client,
    timeout: Duration,
    allow_private: bool,
}

impl Sender {
    pub fn new(config: &Config) -> Result<Self, String> {
        tls::install_provider();
        let builder = || {
            Client::builder()
                .redirect(redirect::Policy::none())
                .no_proxy()
                .referer(false)
                .retry(reqwest::retry::never())
                .dns_resolver(PublicNames { allow_private: config.allow_private })
                .pool_max_idle_per_host(IDLE_CONNECTIONS)
                .user_agent(concat!("carillon/", env!("CARGO_PKG_VERSION")))
        };
        let client = builder().build().or_else(|error| {
            // A machine without root certificates can do without webhooks.
            tracing::warn!(%error, "no root certificates: webhooks cannot be sent by https");
            builder().tls_certs_only([]).build()
        });
        let client = client.map_err(|error| format!("no HTTP client for webhooks: {error}"))?;
        Ok(Self { client, timeout: config.timeout, allow_private: config.allow_private })
    }

    /// Sends a message once.
    pub async fn send(&self, message: Message<'_>) -> (Verdict, AttemptReport) {
        // Also what was allowed once, under other settings.
        let Ok(url) = check_url(message.url, self.allow_private) else {
            return failed("address_refused");
        };
        let now = clock::now();
        match time::timeout(self.timeout, self.post(url, message, now)).await {
            Ok(Ok(response)) => judge(response, now).await,
            Ok(Err(error)) => failed(word(&error)),
            Err(_) => failed("timeout"),
        }
    }

    async fn post(&self, url: Url, message: Message<'_>, now: Timestamp) -> reqwest::Result<Response> {
        let Message { secrets, id, body, .. } = message;
        let signature = signature::sign(secrets, &id, now, body.as_bytes());
        let request = self.client.post(url).header(header::CONTENT_TYPE, "application/json");
        let request = request.header("webhook-id", id).header("webhook-timestamp", signature::seconds(now));
        request.header("webhook-signature", signature).body(body).send().await
    }
}

fn failed(error: &str) -> (Verdict, AttemptReport) {
    let report = AttemptReport { status: None, error: Some(error.to_owned()), answer: None };
    (Verdict::Failed { asked: None }, report)
}

async fn judge(response: Response, now: Timestamp) -> (Verdict, AttemptReport) {
    let status = response.status();
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    let (verdict, error) = if status.is_success() {
        (Verdict::Taken, None)
    } else if status.as_u16() == 410 {
        (Verdict::Gone, Some("gone"))
    } else {
        let asked = header(header::RETRY_AFTER).and_then(|value| retry_after(value, now));
        (Verdict::Failed { asked }, Some(if status.is_redirection() { "redirect" } else { "status" }))
    };
    let answer = time::timeout(ANSWER_PATIENCE, beginning(response)).await.unwrap_or_default();
    let report = AttemptReport { status: Some(status.as_u16()), error: error.map(str::to_owned), answer };
    (verdict, report)
}

/// The beginning of the body as text, whatever it is.
async fn beginning(mut response: Response) -> Option<String> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        let room = MAX_ANSWER_BYTES - body.len();
        body.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
        if body.len() >= MAX_ANSWER_BYTES {
            break;
        }
    }
    let kept = body.get(..KEPT_ANSWER_BYTES).unwrap_or(&body);
    let text: String = String::from_utf8_lossy(kept).chars().filter(|c| !c.is_control() || *c == '\n').collect();
    (!text.is_empty()).then_some(text)
}

/// One word for it. The library's own words hold the address.
fn word(error: &reqwest::Error) -> &'static str {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(inner) = cause {
        if inner.is::<Refused>() {
            return "address_refused";
        }
        if inner.is::<rustls::Error>() {
            return "tls";
        }
        // What an IO error wraps is not among its sources.
        if let Some(io) = inner.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            if io.is::<rustls::Error>() {
                return "tls";
            }
            if io.is::<Refused>() {
                return "address_refused";
            }
        }
        cause = inner.source();
    }
    if error.is_timeout() {
        "timeout"
    } else if error.is_connect() {
        "unreachable"
    } else {
        "broken"
    }
}
