//! The way to a server: its name, then a connection, each failure told apart, and every wait with an end.

use std::{
    io::ErrorKind,
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::net::{TcpStream, lookup_host};

use crate::clock;

/// One step of a check. Shorter, and a server far away or busy is taken for a dead one; longer, and whoever waits for the
/// report has gone.
pub(super) const STEP: Duration = Duration::from_secs(5);

/// What was seen, and how to mend it.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) seen: String,
    pub(super) mend: String,
}

impl Trouble {
    pub(super) fn new(seen: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { seen: seen.into(), mend: mend.into() }
    }
}

/// `None`: it did not end within [`STEP`].
pub(super) async fn within<T>(work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(STEP, work).await.ok()
}

/// Runs what blocks, on a thread of its own. `None`: not within [`STEP`], or no thread. It may run on; nobody waits for it.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    within(tokio::task::spawn_blocking(work)).await?.ok()
}

/// How long something took, in milliseconds and tenths.
pub(super) fn millis(since: Instant) -> f64 {
    clock::monotonic().saturating_duration_since(since).as_secs_f64() * 1000.0
}

/// An address as people write it.
pub(super) fn written(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Asks for the name, and connects by TCP. `setting` is where the address was given.
///
/// # Errors
/// Words for people.
pub(super) async fn reach(host: &str, port: u16, setting: &str) -> Result<SocketAddr, Trouble> {
    let host = host.trim_matches(['[', ']']);
    let place = written(host, port);
    let mut last = None;
    let connecting = async {
        for address in resolved(host, port, setting).await? {
            match TcpStream::connect(address).await {
                Ok(_) => return Ok(address),
                Err(error) => last = Some((address, error)),
            }
        }
        Err(refused(&place, last.take(), setting))
    };
    within(connecting).await.unwrap_or_else(|| Err(silent(&place)))
}

/// The addresses of a name, at least one.
pub(super) async fn resolved(host: &str, port: u16, setting: &str) -> Result<Vec<SocketAddr>, Trouble> {
    let unknown = |why: &str| {
        Trouble::new(
            format!("the name {host} is not known here: {why}"),
            format!("correct the host in {setting}, or see to the name's record and to this machine's resolver"),
        )
    };
    match within(lookup_host((host, port))).await {
        Some(Ok(found)) => {
            let found: Vec<_> = found.collect();
            if found.is_empty() { Err(unknown("it has no address")) } else { Ok(found) }
        }
        Some(Err(error)) => Err(unknown(&error.to_string())),
        None => Err(unknown("the resolver does not answer")),
    }
}

fn silent(place: &str) -> Trouble {
    Trouble::new(
        format!("{place} does not answer within {} s", STEP.as_secs()),
        "look at firewalls, security groups and NetworkPolicies between this machine and it, and whether the address is right",
    )
}

fn refused(place: &str, last: Option<(SocketAddr, std::io::Error)>, setting: &str) -> Trouble {
    let Some((address, error)) = last else { return silent(place) };
    let at = if place == address.to_string() { place.to_owned() } else { format!("{place} ({})", address.ip()) };
    match error.kind() {
        ErrorKind::ConnectionRefused => Trouble::new(
            format!("{at} refuses connections: nothing listens there"),
            format!(
                "start the server, or correct host and port in {setting}; within a container localhost is the container"
            ),
        ),
        _ => Trouble::new(
            format!("{at} cannot be reached: {error}"),
            format!("see to the route between this machine and it, or correct the address in {setting}"),
        ),
    }
}

/// For questions over HTTP: no redirects, for none of the servers asked sends any.
pub(super) fn http() -> Result<reqwest::Client, Trouble> {
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(STEP);
    client.build().map_err(|error| {
        Trouble::new(
            format!("no HTTP client can be made: {error}"),
            "install the certificates of public authorities (Debian: ca-certificates)",
        )
    })
}

/// Why an HTTP request has no answer, without the address, which may hold a key.
pub(super) fn http_failed(error: reqwest::Error) -> String {
    format!("{:#}", anyhow::Error::new(error.without_url()))
}
