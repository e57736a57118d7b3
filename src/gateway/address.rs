//! Whose address a request comes from, through the proxies that are trusted and through no others.
//!
//! Must never believe a header that whoever sent it could have made up: only what a trusted proxy has added counts, and
//! proxies add at the right. Addresses are personal data: nothing here is logged.

use std::{
    net::IpAddr,
    sync::atomic::{AtomicBool, Ordering},
};

use actix_web::{
    HttpMessage, HttpRequest,
    http::header::{self, HeaderMap},
};
use ipnet::IpNet;

/// The longest chain of proxies that is looked at. A longer one than this is somebody's attempt to make us work.
const MOST_HOPS: usize = 32;

/// Where a client is, as far as can be known.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(IpAddr);

impl ClientAddress {
    /// An IPv4 address is one however it is written.
    pub fn new(address: IpAddr) -> Self {
        Self(address.to_canonical())
    }

    /// The address itself.
    pub fn ip(self) -> IpAddr {
        self.0
    }

    /// What was found for this request when it came in.
    pub fn of(request: &HttpRequest) -> Self {
        let found = request.extensions().get::<Self>().copied();
        // Without one the server is not on TCP, as in tests: all clients are one.
        found.unwrap_or(Self(IpAddr::from([0, 0, 0, 0])))
    }
}

/// How a request came here.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    pub address: ClientAddress,
    /// A trusted proxy says that the client came by https.
    pub https: bool,
}

/// Proxies whose word counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Reads addresses and networks (`10.0.0.0/8`, `2001:db8::/32`, `192.0.2.1`). The error is the entry that is none.
    pub fn parse<'a>(entries: impl Iterator<Item = &'a str>) -> Result<Self, &'a str> {
        let net = |entry: &'a str| {
            let one = |address: IpAddr| IpNet::from(address.to_canonical());
            entry.parse::<IpNet>().or_else(|_| entry.parse().map(one)).map_err(|_| entry)
        };
        entries.map(net).collect::<Result<_, _>>().map(Self)
    }

    /// Whether there is any.
    pub fn trusts_somebody(&self) -> bool {
        !self.0.is_empty()
    }

    /// Whether one of the networks is all of them: then anybody's word counts.
    pub fn trusts_everybody(&self) -> bool {
        self.0.iter().any(|net| net.prefix_len() == 0)
    }

    fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|net| net.contains(&address))
    }

    /// Whose request it is that came from `peer` with these headers. `Forwarded` and `X-Forwarded-For` that name two
    /// clients cancel each other out: a proxy sets one and may pass on the other as a client has made it up.
    pub fn origin(&self, peer: IpAddr, headers: &HeaderMap) -> Origin {
        if !self.trusts(peer) {
            return Origin { address: ClientAddress::new(peer), https: false };
        }
        let forwarded = Forwarded::read(headers);
        let standard = (!forwarded.hops.is_empty()).then(|| self.rightmost(peer, &forwarded.hops));
        let listed = list(headers, "x-forwarded-for");
        let listed: Vec<_> = listed.iter().map(|hop| address(hop)).collect();
        let usual = (!listed.is_empty()).then(|| self.rightmost(peer, &listed));
        let address = match (standard, usual) {
            (Some(one), Some(other)) if one != other => peer,
            (Some(one), _) | (None, Some(one)) => one,
            (None, None) => peer,
        };
        let scheme = forwarded.scheme.or_else(|| list(headers, "x-forwarded-proto").pop());
        let https = scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
        Origin { address: ClientAddress::new(address), https }
    }

    /// The first from the right that is no trusted proxy; what stands left of it, or of what is no address, is hearsay.
    fn rightmost(&self, peer: IpAddr, hops: &[Option<IpAddr>]) -> IpAddr {
        let mut last = peer;
        for hop in hops.iter().rev().take(MOST_HOPS) {
            let Some(hop) = *hop else { return last };
            last = hop.to_canonical();
            if !self.trusts(last) {
                return last;
            }
        }
        last
    }
}

/// Says once that there seems to be a proxy which nobody has named: to the limits all its clients are one address then.
pub fn notice_unknown_proxy(peer: IpAddr, headers: &HeaderMap) {
    static NOTICED: AtomicBool = AtomicBool::new(false);
    let near = match peer.to_canonical() {
        IpAddr::V4(v4) => v4.is_private() || v4.is_loopback(),
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_loopback(),
    };
    let forwarded = headers.contains_key(header::FORWARDED) || headers.contains_key("x-forwarded-for");
    if near && forwarded && !NOTICED.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            "requests come through a proxy that CARILLON_TRUSTED_PROXIES does not name: to the rate limits all its \
             clients are one address"
        );
    }
}

/// The elements of a header that is a list, over all its lines, as RFC 9110 joins them.
fn list(headers: &HeaderMap, name: &str) -> Vec<String> {
    let lines = headers.get_all(name).map(|value| value.to_str().unwrap_or("unreadable"));
    lines.flat_map(|line| line.split(',')).map(|element| element.trim().to_owned()).collect()
}

/// An address with or without a port, an IPv6 one with or without brackets.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let port = port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
        return address.parse().ok().filter(|_| port);
    }
    let (address, port) = text.rsplit_once(':')?;
    port.parse::<u16>().ok()?;
    address.parse().ok().filter(IpAddr::is_ipv4)
}

/// `Forwarded`, RFC 7239: who each proxy got the request from, and how the last one did.
#[derive(Default)]
struct Forwarded {
    /// `None`: a proxy that does not say (`unknown`, `_name`, no `for`), or that cannot be read.
    hops: Vec<Option<IpAddr>>,
    scheme: Option<String>,
}

impl Forwarded {
    fn read(headers: &HeaderMap) -> Self {
        let mut read = Self::default();
        // A comma or semicolon within quotes is no address, so nothing is lost by splitting there: the pieces are
        // unreadable, and end the search.
        for element in headers.get_all(header::FORWARDED).flat_map(|value| value.to_str().unwrap_or("?").split(',')) {
            let mut hop = None;
            for pair in element.split(';') {
                let Some((name, value)) = pair.trim().split_once('=') else { continue };
                let value = value.trim().trim_matches('"');
                if name.eq_ignore_ascii_case("for") {
                    hop = address(value);
                } else if name.eq_ignore_ascii_case("proto") {
                    read.scheme = Some(value.to_owned());
                }
            }
            read.hops.push(hop);
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    /// The client of a request from this peer, with 10.0.0.0/8 and fd00::/8 trusted.
    fn client(peer: &str, lines: &[(&'static str, &str)]) -> String {
        let trusted = TrustedProxies::parse(["10.0.0.0/8", "fd00::/8", "192.0.2.99"].into_iter()).unwrap();
        trusted.origin(peer.parse().unwrap(), &headers(lines)).address.ip().to_string()
    }

    #[test]
    fn a_header_from_whoever_is_not_trusted_changes_nothing() {
        let forged = [("x-forwarded-for", "198.51.100.7"), ("forwarded", "for=198.51.100.7")];
        assert_eq!(client("203.0.113.5", &forged), "203.0.113.5");
        let none = TrustedProxies::default();
        assert!(none.origin("127.0.0.1".parse().unwrap(), &headers(&forged)).address.ip().is_loopback());
    }

    #[test]
    fn the_rightmost_address_that_is_no_proxy_of_ours_counts() {
        for (peer, line, wanted) in [
            ("10.0.0.1", "203.0.113.5", "203.0.113.5"),
            ("10.0.0.1", "198.51.100.7, 203.0.113.5", "203.0.113.5"),
            ("10.0.0.1", "198.51.100.7, 203.0.113.5, 10.0.0.2", "203.0.113.5"),
            ("10.0.0.1", "198.51.100.7, 203.0.113.5:4711 ,192.0.2.99", "203.0.113.5"),
            ("::ffff:10.0.0.1", "2001:db8::7", "2001:db8::7"),
            ("fd00::1", "[2001:db8::7]:4711", "2001:db8::7"),
            ("10.0.0.1", "::ffff:203.0.113.5", "203.0.113.5"),
            // All are ours: the first of them.
            ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
            // What cannot be read ends the search at who said it.
            ("10.0.0.1", "203.0.113.5, unknown", "10.0.0.1"),
            ("10.0.0.1", "203.0.113.5, garbage, 10.0.0.2", "10.0.0.2"),
            ("10.0.0.1", "", "10.0.0.1"),
            ("10.0.0.1", "203.0.113.5, 1.2.3.4.5", "10.0.0.1"),
        ] {
            assert_eq!(client(peer, &[("x-forwarded-for", line)]), wanted, "{peer}: {line}");
        }
        let lines = [("x-forwarded-for", "198.51.100.7"), ("x-forwarded-for", "203.0.113.5")];
        assert_eq!(client("10.0.0.1", &lines), "203.0.113.5", "lines are one list");
    }

    #[test]
    fn the_standard_header_is_read_like_the_usual_one() {
        for (line, wanted) in [
            ("for=203.0.113.5;proto=https;by=10.0.0.1", "203.0.113.5"),
            ("For=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
            ("for=198.51.100.7, for=203.0.113.5 ; proto=http, for=10.1.2.3", "203.0.113.5"),
            ("for=198.51.100.7, for=unknown", "10.0.0.1"),
            ("for=198.51.100.7, for=_hidden", "10.0.0.1"),
            ("for=198.51.100.7, proto=https", "10.0.0.1"),
            ("for=198.51.100.7, for=\"a,for=203.0.113.9\"", "203.0.113.9"),
        ] {
            assert_eq!(client("10.0.0.1", &[("forwarded", line)]), wanted, "{line}");
        }
    }

    #[test]
    fn two_headers_that_disagree_cancel_each_other_out() {
        let same = [("x-forwarded-for", "203.0.113.5"), ("forwarded", "for=203.0.113.5")];
        assert_eq!(client("10.0.0.1", &same), "203.0.113.5");
        let forged = [("x-forwarded-for", "203.0.113.5"), ("forwarded", "for=198.51.100.7")];
        assert_eq!(client("10.0.0.1", &forged), "10.0.0.1");
    }

    #[test]
    fn the_scheme_is_believed_of_trusted_proxies_only() {
        let trusted = TrustedProxies::parse(["10.0.0.0/8"].into_iter()).unwrap();
        let https =
            |peer: &str, lines: &[(&'static str, &str)]| trusted.origin(peer.parse().unwrap(), &headers(lines)).https;
        assert!(https("10.0.0.1", &[("x-forwarded-proto", "https")]));
        assert!(https("10.0.0.1", &[("forwarded", "for=203.0.113.5;proto=HTTPS")]));
        assert!(!https("10.0.0.1", &[("x-forwarded-proto", "http")]));
        assert!(!https("10.0.0.1", &[]));
        assert!(!https("203.0.113.5", &[("x-forwarded-proto", "https")]));
    }

    #[test]
    fn what_is_no_address_and_no_network_is_named() {
        assert_eq!(TrustedProxies::parse(["10.0.0.1", "proxy.example"].into_iter()), Err("proxy.example"));
        assert_eq!(TrustedProxies::parse(["10.0.0.0/33"].into_iter()), Err("10.0.0.0/33"));
        assert!(TrustedProxies::parse(["::1", "fd00::/8", "192.0.2.1"].into_iter()).is_ok());
    }
}
