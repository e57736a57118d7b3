//! A small STUN client (RFC 8489, RFC 8656): messages as bytes, and a way to send one and hear its answer by UDP, TCP or
//! TLS.
//!
//! Blocks, each wait within its deadline. Must never trust what comes back: lengths are looked at before anything is read,
//! and an answer counts only with the transaction's own id.

use std::{
    io::{ErrorKind, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket},
    sync::Arc,
    time::{Duration, Instant},
};

use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, pki_types::ServerName};
use sha1::Sha1;

use crate::clock::monotonic;

const COOKIE: u32 = 0x2112_a442;
const HEADER: usize = 20;
/// The longest answer that is read. TURN's are a few hundred bytes.
const MOST: usize = 2048;
/// The first wait for an answer by UDP, doubled for each repetition: packets get lost.
const FIRST_WAIT: Duration = Duration::from_millis(400);

pub(super) const BINDING: u16 = 0x0001;
pub(super) const ALLOCATE: u16 = 0x0003;
pub(super) const REFRESH: u16 = 0x0004;

const USERNAME: u16 = 0x0006;
const INTEGRITY: u16 = 0x0008;
const ERROR_CODE: u16 = 0x0009;
const LIFETIME: u16 = 0x000d;
const REALM: u16 = 0x0014;
const NONCE: u16 = 0x0015;
const XOR_RELAYED: u16 = 0x0016;
const TRANSPORT: u16 = 0x0019;
const XOR_MAPPED: u16 = 0x0020;

/// Who asks, once the server has named its realm.
pub(super) struct Account<'a> {
    pub(super) username: &'a str,
    pub(super) password: &'a str,
    pub(super) realm: &'a str,
    pub(super) nonce: &'a [u8],
}

impl Account<'_> {
    /// The key of RFC 8489, 9.2.2.
    fn key(&self) -> [u8; 16] {
        Md5::digest(format!("{}:{}:{}", self.username, self.realm, self.password)).into()
    }
}

/// A request as bytes.
pub(super) fn request(kind: u16, id: [u8; 12], lifetime: Option<u32>, account: Option<&Account<'_>>) -> Vec<u8> {
    let mut message = Vec::with_capacity(256);
    message.extend(kind.to_be_bytes());
    message.extend([0, 0]);
    message.extend(COOKIE.to_be_bytes());
    message.extend(id);
    if kind == ALLOCATE {
        // UDP towards the others, however we come.
        attribute(&mut message, TRANSPORT, &[17, 0, 0, 0]);
    }
    if let Some(seconds) = lifetime {
        attribute(&mut message, LIFETIME, &seconds.to_be_bytes());
    }
    if let Some(account) = account {
        attribute(&mut message, USERNAME, account.username.as_bytes());
        attribute(&mut message, REALM, account.realm.as_bytes());
        attribute(&mut message, NONCE, account.nonce);
        // The length that the sum is made over counts the sum itself.
        set_length(&mut message, 24);
        let sum = integrity(&account.key(), &message);
        attribute(&mut message, INTEGRITY, &sum);
    }
    set_length(&mut message, 0);
    message
}

fn attribute(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    message.extend(kind.to_be_bytes());
    message.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
    message.extend(value);
    message.resize(message.len().next_multiple_of(4), 0);
}

fn set_length(message: &mut [u8], more: usize) {
    let length = u16::try_from(message.len() - HEADER + more).unwrap_or(u16::MAX);
    if let Some(place) = message.get_mut(2..4) {
        place.copy_from_slice(&length.to_be_bytes());
    }
}

fn integrity(key: &[u8], message: &[u8]) -> Vec<u8> {
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(key) else { return Vec::new() };
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

/// An answer that belongs to its request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) success: bool,
    /// Code and words.
    pub(super) error: Option<(u16, String)>,
    pub(super) realm: Option<String>,
    pub(super) nonce: Option<Vec<u8>>,
    /// Our address as the server sees it.
    pub(super) mapped: Option<SocketAddr>,
    /// The address of the relay.
    pub(super) relayed: Option<SocketAddr>,
    /// Whether it is signed, and by whom knows the account's key.
    pub(super) signed: Option<bool>,
}

/// Reads an answer to the request with this kind and id; `None`: it is none.
pub(super) fn answer(bytes: &[u8], kind: u16, id: [u8; 12], account: Option<&Account<'_>>) -> Option<Answer> {
    let word = |at: usize| Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let length = usize::from(word(2)?);
    let whole = bytes.get(..HEADER + length)?;
    let said = word(0)?;
    let ours = bytes.get(4..8)? == COOKIE.to_be_bytes() && bytes.get(8..HEADER)? == id;
    let class = said.checked_sub(kind)?;
    if !ours || !matches!(class, 0x0100 | 0x0110) {
        return None;
    }
    let mut answer = Answer { success: class == 0x0100, ..Answer::default() };
    let mut at = HEADER;
    while at + 4 <= whole.len() {
        let (name, size) = (word(at)?, usize::from(word(at + 2)?));
        let value = whole.get(at + 4..at + 4 + size)?;
        match name {
            ERROR_CODE => {
                let class = u16::from(*value.get(2)? & 7);
                let words = String::from_utf8_lossy(value.get(4..)?).into_owned();
                answer.error = Some((class * 100 + u16::from(*value.get(3)?), words));
            }
            REALM => answer.realm = Some(String::from_utf8_lossy(value).into_owned()),
            NONCE => answer.nonce = Some(value.to_vec()),
            XOR_MAPPED => answer.mapped = address(value, id),
            XOR_RELAYED => answer.relayed = address(value, id),
            INTEGRITY => {
                let mut signed = whole.get(..at)?.to_vec();
                set_length(&mut signed, 24);
                answer.signed = account.map(|account| integrity(&account.key(), &signed) == value);
            }
            _ => {}
        }
        at += 4 + size.next_multiple_of(4);
    }
    Some(answer)
}

fn address(value: &[u8], id: [u8; 12]) -> Option<SocketAddr> {
    let port = u16::from_be_bytes(value.get(2..4)?.try_into().ok()?) ^ (COOKIE >> 16) as u16;
    let ip: IpAddr = match value.get(1)? {
        1 => {
            let bits = u32::from_be_bytes(value.get(4..8)?.try_into().ok()?);
            Ipv4Addr::from_bits(bits ^ COOKIE).into()
        }
        2 => {
            let bits = u128::from_be_bytes(value.get(4..20)?.try_into().ok()?);
            let mut mask = [0; 16];
            mask[..4].copy_from_slice(&COOKIE.to_be_bytes());
            mask[4..].copy_from_slice(&id);
            Ipv6Addr::from_bits(bits ^ u128::from_be_bytes(mask)).into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// How a server is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Udp,
    Tcp,
    Tls,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Silence {
    /// Nothing came.
    TimedOut,
    /// Nothing listens there.
    Refused,
    /// No TLS, and why.
    NoTls(String),
    /// What came is no STUN, or the connection broke.
    Broken(String),
}

/// A connection with a server. One is one client to it.
pub(super) enum Link {
    Udp(UdpSocket),
    Stream(Box<dyn Stream>),
}

pub(super) trait Stream: Read + Write {
    fn set_patience(&self, patience: Duration) -> std::io::Result<()>;
}

impl Stream for TcpStream {
    fn set_patience(&self, patience: Duration) -> std::io::Result<()> {
        self.set_read_timeout(Some(patience))?;
        self.set_write_timeout(Some(patience))
    }
}

impl Stream for StreamOwned<ClientConnection, TcpStream> {
    fn set_patience(&self, patience: Duration) -> std::io::Result<()> {
        self.sock.set_patience(patience)
    }
}

impl Link {
    /// Connects, before the deadline. `host` is the name that its certificate must have.
    pub(super) fn open(way: Way, address: SocketAddr, host: &str, deadline: Instant) -> Result<Self, Silence> {
        if way == Way::Udp {
            let any: IpAddr =
                if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
            let socket = UdpSocket::bind((any, 0)).map_err(|error| silence(&error))?;
            // So that only its answers come, and refusals are heard of.
            socket.connect(address).map_err(|error| silence(&error))?;
            return Ok(Self::Udp(socket));
        }
        let stream = TcpStream::connect_timeout(&address, left(deadline)?).map_err(|error| silence(&error))?;
        stream.set_patience(left(deadline)?).map_err(|error| silence(&error))?;
        if way == Way::Tcp {
            return Ok(Self::Stream(Box::new(stream)));
        }
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let no_tls = |error: &dyn std::fmt::Display| Silence::NoTls(error.to_string());
        let name = ServerName::try_from(host.to_owned()).map_err(|error| no_tls(&error))?;
        let tls = ClientConnection::new(Arc::new(config), name).map_err(|error| no_tls(&error))?;
        let mut stream = StreamOwned::new(tls, stream);
        // The greeting, which tells certificates apart from silence.
        while stream.conn.is_handshaking() {
            let mute = || no_tls(&"it takes a connection and does not answer the greeting");
            left(deadline).map_err(|_| mute())?;
            stream.conn.complete_io(&mut stream.sock).map_err(|error| match silence(&error) {
                Silence::TimedOut => mute(),
                _ => no_tls(&error),
            })?;
        }
        Ok(Self::Stream(Box::new(stream)))
    }

    /// Sends a request and hears its answer, before the deadline.
    pub(super) fn ask(
        &mut self,
        kind: u16,
        lifetime: Option<u32>,
        account: Option<&Account<'_>>,
        deadline: Instant,
    ) -> Result<Answer, Silence> {
        let id: [u8; 12] = rand::random();
        let message = request(kind, id, lifetime, account);
        let mut bytes = [0; MOST];
        match self {
            Self::Udp(socket) => {
                let mut wait = FIRST_WAIT;
                let mut length = None;
                while length.is_none() {
                    socket.send(&message).map_err(|error| silence(&error))?;
                    let until = (monotonic() + wait).min(deadline);
                    length = heard(socket, &mut bytes, kind, id, until)?;
                    left(deadline)?;
                    wait *= 2;
                }
                let heard = bytes.get(..length.unwrap_or(0)).unwrap_or_default();
                answer(heard, kind, id, account).ok_or(Silence::TimedOut)
            }
            Self::Stream(stream) => {
                let failed = |error: std::io::Error| silence(&error);
                stream.set_patience(left(deadline)?).map_err(failed)?;
                stream.write_all(&message).and_then(|()| stream.flush()).map_err(failed)?;
                let (header, rest) = bytes.split_at_mut(HEADER);
                stream.read_exact(header).map_err(failed)?;
                let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
                let no_stun = || Silence::Broken("it does not speak STUN".to_owned());
                let rest = rest.get_mut(..length).ok_or_else(no_stun)?;
                stream.set_patience(left(deadline)?).map_err(failed)?;
                stream.read_exact(rest).map_err(failed)?;
                let whole = bytes.get(..HEADER + length).unwrap_or_default();
                answer(whole, kind, id, account).ok_or_else(no_stun)
            }
        }
    }
}

/// Listens until there is an answer to this request; its length.
fn heard(
    socket: &UdpSocket,
    bytes: &mut [u8],
    kind: u16,
    id: [u8; 12],
    until: Instant,
) -> Result<Option<usize>, Silence> {
    loop {
        let Ok(patience) = left(until) else { return Ok(None) };
        socket.set_read_timeout(Some(patience)).map_err(|error| silence(&error))?;
        match socket.recv(bytes) {
            Ok(length) if bytes.get(..length).is_some_and(|got| answer(got, kind, id, None).is_some()) => {
                return Ok(Some(length));
            }
            Ok(_) => {}
            Err(error) => match silence(&error) {
                Silence::TimedOut => return Ok(None),
                other => return Err(other),
            },
        }
    }
}

fn left(deadline: Instant) -> Result<Duration, Silence> {
    let left = deadline.saturating_duration_since(monotonic());
    if left.is_zero() { Err(Silence::TimedOut) } else { Ok(left) }
}

fn silence(error: &std::io::Error) -> Silence {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Silence::TimedOut,
        ErrorKind::ConnectionRefused => Silence::Refused,
        _ => Silence::Broken(error.to_string()),
    }
}
