//! Where webhooks may go: public addresses by https, unless a setting allows all.
//!
//! An endpoint's address is given by somebody with a service key, and asked for from within our network: what it leads to
//! must not be a service there, the cloud's metadata, or this node. A name is resolved at each connection and every
//! address of it is judged; the connection goes to one of those, so that a name which says something else the next
//! moment leads nowhere. Redirects are not followed.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use reqwest::{
    Url,
    dns::{Addrs, Name, Resolve, Resolving},
};

/// The longest address of an endpoint, in bytes. Longer ones are refused by common servers.
pub const MAX_URL_BYTES: usize = 2048;

/// Why an address cannot be an endpoint's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    #[error("url must be an https:// address of at most 2048 bytes")]
    NotHttps,
    #[error("url must not hold a user name or a password, nor a fragment")]
    HoldsMore,
    #[error("url must lead to a public address")]
    Private,
}

/// Reads the address of an endpoint. A name may still turn out to lead where it must not: it is resolved when it is used.
pub fn check_url(text: &str, allow_private: bool) -> Result<Url, BadUrl> {
    if text.len() > MAX_URL_BYTES {
        return Err(BadUrl::NotHttps);
    }
    let url = Url::parse(text).map_err(|_| BadUrl::NotHttps)?;
    let known = url.scheme() == "https" || (allow_private && url.scheme() == "http");
    if !known || !url.has_host() || url.as_str().len() > MAX_URL_BYTES {
        return Err(BadUrl::NotHttps);
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err(BadUrl::HoldsMore);
    }
    // Numbers in any disguise have been read as addresses by now.
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    if !allow_private && host.parse::<IpAddr>().is_ok_and(|address| !is_public(address)) {
        return Err(BadUrl::Private);
    }
    Ok(url)
}

/// Whether anybody on the internet may have this address, and nobody but them.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

/// IANA's registry of special-purpose addresses (RFC 6890 and what followed).
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = match (a, b, c) {
        // This network; private; loopback; link-local, with the metadata of clouds; multicast and all above it.
        (0 | 10 | 127, ..) | (169, 254, _) | (192, 168, _) | (172, 16..=31, _) | (224.., ..) => true,
        // Shared by carriers (CGNAT), also metadata of some clouds; protocols; documentation; relays; benchmarks.
        (100, 64..=127, _) | (192, 0, 0 | 2) | (192, 88, 99) | (198, 18 | 19, _) | (198, 51, 100) | (203, 0, 113) => {
            true
        }
        _ => false,
    };
    // Azure's metadata and DNS, within a public network.
    !special && address != Ipv4Addr::new(168, 63, 129, 16)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let s = address.segments();
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match s {
        // Mapped, compatible (with :: and ::1), translated.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] => v4(high, low),
        [0, 0, 0, 0, 0, 0, ..] => false,
        // NAT64 of everybody.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low),
        // 6to4: the address of the gateway that it goes to.
        [0x2002, high, low, ..] => v4(high, low),
        // Protocols, Teredo (which holds an IPv4 address) and ORCHID; documentation.
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => false,
        // All else that is given out. Not: NAT64 of one's own, discard, unique local, link-local, site-local, multicast.
        [first, ..] => (0x2000..=0x3fff).contains(&first),
    }
}

/// An address that a webhook must not go to. It is not named: it may be of the network within.
#[derive(Debug)]
pub struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name leads to an address that is not public")
    }
}

impl std::error::Error for Refused {}

/// Resolves names to addresses that may be connected to.
#[derive(Debug, Clone, Copy)]
pub(super) struct PublicNames {
    pub allow_private: bool,
}

impl Resolve for PublicNames {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private = self.allow_private;
        Box::pin(async move {
            // Port 0: whoever connects puts in the right one.
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            if found.is_empty() {
                return Err(io::Error::from(io::ErrorKind::NotFound).into());
            }
            // One that must not be, and the name is not trusted with the others.
            if !allow_private && !found.iter().all(|address| is_public(address.ip())) {
                return Err(Refused.into());
            }
            let addresses: Addrs = Box::new(found.into_iter());
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_within_a_network_is_not_public() {
        for within in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "127.0.0.1",
            "127.255.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "100.127.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.9.9",
            "192.168.1.1",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "198.18.0.1",
            "198.19.255.1",
            "198.51.100.1",
            "203.0.113.7",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "168.63.129.16",
        ] {
            let v4: Ipv4Addr = within.parse().unwrap();
            assert!(!is_public(v4.into()), "{within}");
            let [a, b, c, d] = v4.octets();
            let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            for disguised in [
                Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, high, low),
                Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, high, low),
                Ipv6Addr::new(0, 0, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
            ] {
                assert!(!is_public(disguised.into()), "{within} as {disguised}");
            }
        }
        for within in [
            "::",
            "::1",
            "fe80::1",
            "fec0::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "2001::1",
            "2001:db8::1",
            "100::1",
            "64:ff9b:1::1",
            "3fff:1::1",
            "2001:20::1",
            "4000::1",
        ] {
            assert!(!is_public(within.parse().unwrap()), "{within}");
        }
    }

    #[test]
    fn what_is_out_there_is_public() {
        for out in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.17.0.1",
            "2606:4700:4700::1111",
            "2001:4860:4860::8888",
            "2a00:1450::1",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2002:808:808::1",
        ] {
            assert!(is_public(out.parse().unwrap()), "{out}");
        }
    }

    #[test]
    fn an_endpoint_is_an_https_address_and_nothing_more() {
        let checked = |url: &str| check_url(url, false).map(|url| url.to_string());
        assert_eq!(checked("https://hooks.example/carillon?v=1"), Ok("https://hooks.example/carillon?v=1".to_owned()));
        assert_eq!(checked("https://localhost/"), Ok("https://localhost/".to_owned()), "found out when it is resolved");
        for wrong in ["http://hooks.example/", "ftp://x/", "hooks.example", "", "https://", "file:///etc/passwd"] {
            assert_eq!(checked(wrong), Err(BadUrl::NotHttps), "{wrong}");
        }
        for wrong in ["https://user@x.example/", "https://u:p@x.example/", "https://x.example/#part"] {
            assert_eq!(checked(wrong), Err(BadUrl::HoldsMore), "{wrong}");
        }
        for wrong in [
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://0177.0.0.1/",
            "https://127.1/",
            "https://[::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://169.254.169.254/latest/meta-data/",
        ] {
            assert_eq!(checked(wrong), Err(BadUrl::Private), "{wrong}");
        }
        assert!(check_url("http://127.0.0.1:9000/hook", true).is_ok());
        assert_eq!(checked(&format!("https://x.example/{}", "a".repeat(MAX_URL_BYTES))), Err(BadUrl::NotHttps));
    }
}
