//! STUN and TURN servers, asked as browsers ask them: a binding from each STUN server; from each TURN server a relay with
//! credentials as clients get them, which is given back, and none with wrong ones.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use super::{
    net::{STEP, Trouble, blocking, resolved},
    report::Findings,
    stun::{ALLOCATE, Account, Answer, BINDING, Link, REFRESH, Silence, Way},
};
use crate::{
    clock,
    config::Settings,
    domain::UserId,
    media::{Media, MediaConfig, TurnConfig},
};

/// How long a server may take for all that it is asked on one connection. Below [`STEP`], so that what it was silent to is
/// named.
const PATIENCE: Duration = Duration::from_secs(4);
/// Whom credentials are made for.
const USER: &str = "carillon-doctor";

/// All servers at once.
pub(super) async fn check(found: &Findings, settings: &Settings) {
    if settings.stun_urls.is_empty() && settings.turn.is_none() {
        return found.not_checked(
            "turn",
            "STUN_URLS and TURN_URLS are empty: calls work within one network only, and not through strict firewalls",
        );
    }
    let stun = settings.stun_urls.iter().map(|url| binding(found, url));
    let turn = settings.turn.iter().flat_map(|turn| turn.urls.iter()).map(|url| relay(found, settings, url));
    tokio::join!(futures_util::future::join_all(stun), futures_util::future::join_all(turn));
    if settings.turn.is_none() {
        found.warning(
            "turn",
            "TURN_URLS is empty: people behind strict firewalls or symmetric NATs reach nobody peer to peer",
            "run coturn (deploy/coturn, docs/media.md), and set TURN_URLS and TURN_SECRET",
        );
    }
}

/// A server's address, taken apart (RFC 7064, RFC 7065).
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    host: String,
    port: u16,
    way: Way,
}

fn place(url: &str) -> Option<Place> {
    let (scheme, rest) = url.split_once(':')?;
    let (authority, query) = rest.split_once('?').unwrap_or((rest, ""));
    let tls = matches!(scheme, "turns" | "stuns");
    let port = if tls { 5349 } else { 3478 };
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            (host, after.strip_prefix(':').map_or(Some(port), |port| port.parse().ok())?)
        }
        None => match authority.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok()?),
            None => (authority, port),
        },
    };
    let way = match (tls, query) {
        (false, "" | "transport=udp") => Way::Udp,
        (false, "transport=tcp") => Way::Tcp,
        (true, "" | "transport=tcp") => Way::Tls,
        _ => return None,
    };
    Some(Place { host: host.to_owned(), port, way })
}

/// Opens a link and runs `ask` with it on a thread that may block.
async fn asked<T: Send + 'static>(
    place: &Place,
    setting: &'static str,
    ask: impl Fn(&mut dyn FnMut() -> Result<Link, Silence>) -> Result<T, Silence> + Send + 'static,
) -> Result<Result<T, Silence>, Trouble> {
    let addresses = resolved(&place.host, place.port, setting).await?;
    let Place { host, way, .. } = place.clone();
    let work = move || {
        let deadline = clock::monotonic() + PATIENCE;
        let mut outcome = Err(Silence::TimedOut);
        // A name may have an address of IPv6 where nothing listens.
        for address in addresses {
            outcome = ask(&mut || Link::open(way, address, &host, deadline));
            if !matches!(outcome, Err(Silence::Refused)) {
                break;
            }
        }
        outcome
    };
    Ok(blocking(work).await.unwrap_or(Err(Silence::TimedOut)))
}

async fn binding(found: &Findings, url: &str) {
    const NAME: &str = "stun";
    let Some(place) = place(url) else { return not_understood(found, NAME, url, "STUN_URLS") };
    let ask = |open: &mut dyn FnMut() -> Result<Link, Silence>| {
        let deadline = clock::monotonic() + PATIENCE;
        open()?.ask(BINDING, None, None, deadline)
    };
    match asked(&place, "STUN_URLS", ask).await {
        Err(trouble) => found.wrong(NAME, format!("{url}: {}", trouble.seen), trouble.mend),
        Ok(Err(silence)) => silent(found, NAME, url, &silence, place.way),
        Ok(Ok(Answer { success: true, mapped: Some(mapped), .. })) => {
            found.ok(NAME, format!("{url} answers, and sees this machine as {}", mapped.ip()));
        }
        Ok(Ok(answer)) => found.wrong(
            NAME,
            format!("{url} answers, and not with our address{}", because(&answer)),
            "name a STUN server in STUN_URLS: coturn is one too",
        ),
    }
}

/// What became of asking for a relay.
enum Outcome {
    /// A relay without any credentials.
    Open,
    /// Asked for no credentials that we could give.
    Odd(Answer),
    /// Not with ours.
    Refused(Answer),
    /// With ours, and with wrong ones too.
    AnybodyIn,
    /// With ours, and answered by somebody who does not know the secret.
    Unsigned,
    Given {
        relay: SocketAddr,
        given_back: bool,
    },
}

async fn relay(found: &Findings, settings: &Settings, url: &str) {
    const NAME: &str = "turn";
    let Some(place) = place(url) else { return not_understood(found, NAME, url, "TURN_URLS") };
    let Some((username, password)) = credentials(settings) else {
        return found.not_checked(NAME, format!("{url}: no credentials can be made"));
    };
    let ask = move |open: &mut dyn FnMut() -> Result<Link, Silence>| allocate(open, &username, &password);
    let outcome = match asked(&place, "TURN_URLS", ask).await {
        Err(trouble) => return found.wrong(NAME, format!("{url}: {}", trouble.seen), trouble.mend),
        Ok(Err(silence)) => return silent(found, NAME, url, &silence, place.way),
        Ok(Ok(outcome)) => outcome,
    };
    let authentication =
        "in turnserver.conf: use-auth-secret, static-auth-secret=…, realm=…, and no no-auth (deploy/coturn)";
    match outcome {
        Outcome::Open => found.wrong(
            NAME,
            format!("{url} gives relays to anybody, without credentials: strangers send what they like through it"),
            authentication,
        ),
        Outcome::AnybodyIn => found.wrong(
            NAME,
            format!("{url} takes a wrong password: strangers send what they like through it"),
            authentication,
        ),
        Outcome::Odd(answer) => found.wrong(
            NAME,
            format!("{url} does not ask for credentials as TURN with a shared secret does{}", because(&answer)),
            authentication,
        ),
        Outcome::Refused(answer) => refused(found, NAME, url, &answer),
        Outcome::Unsigned => found.warning(
            NAME,
            format!("{url} gives a relay, and its answer is not signed with the secret: browsers do not take it"),
            "look whether something in between answers for the TURN server",
        ),
        Outcome::Given { relay, given_back } => {
            let back = if given_back { "gave it back" } else { "it ends by itself in minutes" };
            if is_private(relay.ip()) && !is_private_name(&place.host) {
                found.warning(
                    NAME,
                    format!("{url} gives a relay at {}, which nobody outside its network reaches", relay.ip()),
                    "external-ip=PUBLIC/PRIVATE in turnserver.conf, when the machine has its public address from a NAT",
                );
            } else {
                found
                    .ok(NAME, format!("{url} gives a relay at {} ({back}), and none for a wrong password", relay.ip()));
            }
        }
    }
}

/// As clients get them.
fn credentials(settings: &Settings) -> Option<(String, String)> {
    let turn = settings.turn.as_ref()?;
    let turn = TurnConfig { urls: turn.urls.clone(), secret: turn.secret.clone() };
    let media = Media::start(MediaConfig { turn: Some(turn), ..MediaConfig::default() }).ok()?;
    let server = media.ice_servers(&UserId::new(USER).ok()?, clock::now()).pop()?;
    Some((server.username?, server.credential?))
}

fn allocate(
    open: &mut dyn FnMut() -> Result<Link, Silence>,
    username: &str,
    password: &str,
) -> Result<Outcome, Silence> {
    let deadline = clock::monotonic() + PATIENCE;
    let mut link = open()?;
    let first = link.ask(ALLOCATE, None, None, deadline)?;
    if first.success {
        return Ok(Outcome::Open);
    }
    let (Some((401, _)), Some(realm), Some(nonce)) = (&first.error, &first.realm, &first.nonce) else {
        return Ok(Outcome::Odd(first));
    };
    let mut account = Account { username, password, realm, nonce };
    let mut answer = link.ask(ALLOCATE, None, Some(&account), deadline)?;
    let newer = answer.nonce.clone();
    if let (Some((438, _)), Some(nonce)) = (&answer.error, &newer) {
        account.nonce = nonce;
        answer = link.ask(ALLOCATE, None, Some(&account), deadline)?;
    }
    let Some(relay) = answer.relayed.filter(|_| answer.success) else { return Ok(Outcome::Refused(answer)) };
    let given_back = link.ask(REFRESH, Some(0), Some(&account), deadline).is_ok_and(|answer| answer.success);
    if answer.signed != Some(true) {
        return Ok(Outcome::Unsigned);
    }
    // Another client, for a server knows one by its address.
    let mut stranger = open()?;
    let first = stranger.ask(ALLOCATE, None, None, deadline)?;
    if let (Some(realm), Some(nonce)) = (&first.realm, &first.nonce) {
        let account = Account { username, password: "carillon-doctor-guesses", realm, nonce };
        if stranger.ask(ALLOCATE, None, Some(&account), deadline)?.success {
            return Ok(Outcome::AnybodyIn);
        }
    }
    Ok(Outcome::Given { relay, given_back })
}

fn refused(found: &Findings, name: &'static str, url: &str, answer: &Answer) {
    let code = answer.error.as_ref().map(|(code, _)| *code).unwrap_or_default();
    let (seen, mend) = match code {
        401 => (
            format!("{url} is there and refuses our credentials (401): TURN_SECRET is not the server's"),
            "TURN_SECRET must be static-auth-secret of turnserver.conf, letter for letter, with use-auth-secret there; \
             credentials end by time, so a clock that is half an hour off is refused too",
        ),
        486 => (
            format!("{url} has no more relays for this user (486)"),
            "raise user-quota in turnserver.conf, or wait for relays to end",
        ),
        508 => (
            format!("{url} has no relay left (508)"),
            "widen min-port and max-port in turnserver.conf, raise total-quota, or run another server",
        ),
        _ => (format!("{url} refuses a relay{}", because(answer)), "look it up in coturn's log"),
    };
    found.wrong(name, seen, mend);
}

fn because(answer: &Answer) -> String {
    answer.error.as_ref().map(|(code, words)| format!(" ({code} {words})")).unwrap_or_default()
}

fn not_understood(found: &Findings, name: &'static str, url: &str, setting: &str) {
    found.wrong(
        name,
        format!("{url} cannot be read"),
        format!("in {setting}: stun:host:port, turn:host:port?transport=udp, …?transport=tcp, or turns:host:port?transport=tcp"),
    );
}

fn silent(found: &Findings, name: &'static str, url: &str, silence: &Silence, way: Way) {
    let protocol = if way == Way::Udp { "UDP" } else { "TCP" };
    let (seen, mend) = match silence {
        Silence::TimedOut => (
            format!("{url} does not answer within {} s", PATIENCE.as_secs().min(STEP.as_secs())),
            format!(
                "start the server, open its port for {protocol} in firewalls, or correct the address; nodes need no way to it \
                 themselves, so where a NetworkPolicy lets them have none, ask from where clients are"
            ),
        ),
        Silence::Refused => {
            (format!("{url}: nothing listens there"), "start the server, or correct host and port".to_owned())
        }
        Silence::NoTls(why) => (
            format!("{url}: no TLS: {why}"),
            "give the server cert= and pkey= of a public authority for this very name; browsers check it too"
                .to_owned(),
        ),
        Silence::Broken(why) => {
            (format!("{url}: {why}"), "see whether it is a STUN or TURN server that is named".to_owned())
        }
    };
    found.wrong(name, seen, mend);
}

/// Whether only some network knows this address.
fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_unspecified()
                || (a == 100 && b & 0xc0 == 64)
        }
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unspecified() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// A server that is itself named by a private address is for a network of its own.
fn is_private_name(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(is_private)
}

#[cfg(test)]
mod tests;
