//! A lean client of the wire protocol: one WebSocket, text frames in and out, nothing remembered.
//!
//! Thousands of these share one thread with each other and two cores with the server, so the buffers are small and frames are
//! handed on unparsed. A connection that breaks says how, once, and is then useless.

use std::{
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    task::{Context, Poll},
    time::Duration,
};

use anyhow::{Context as _, bail};
use futures_util::{SinkExt, Stream, StreamExt};
use jsonwebtoken::{EncodingKey, Header};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, client_async_tls_with_config,
    tungstenite::{
        Error as WsError, Message, Utf8Bytes,
        client::IntoClientRequest,
        http::{HeaderValue, Uri, header::SEC_WEBSOCKET_PROTOCOL},
        protocol::WebSocketConfig,
    },
};

use super::frame::{self, Hello};

/// Each connection's read buffer. Larger, and tens of thousands of idle connections fill the memory; smaller, and a burst of signals
/// costs more reads.
const READ_BUFFER: usize = 4096;

/// A handshake or a close that takes longer has failed.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections per source address of the loopback network; the kernel has about 28,000 ports for each, and closed ones rest for a minute.
const CONNECTIONS_PER_SOURCE: usize = 10_000;

/// A node's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    url: Uri,
    host: String,
    port: u16,
    address: Option<SocketAddr>,
}

impl std::str::FromStr for Target {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let with_scheme = if text.contains("://") { text.to_owned() } else { format!("ws://{text}") };
        let given: Uri =
            with_scheme.parse().with_context(|| format!("{text:?} is not an address like ws://host:port"))?;
        let (scheme, default_port) = match given.scheme_str() {
            Some("ws" | "http") => ("ws", 80),
            Some("wss" | "https") => ("wss", 443),
            _ => bail!("{text:?}: an address begins with ws://, wss://, http:// or https://"),
        };
        let host = given.host().filter(|host| !host.is_empty());
        let host = host.with_context(|| format!("{text:?} has no host"))?;
        let port = given.port_u16().unwrap_or(default_port);
        let path = if given.path() == "/" { "/ws" } else { given.path() };
        let url = format!("{scheme}://{host}:{port}{path}").parse()?;
        Ok(Target { url, host: host.trim_matches(['[', ']']).to_owned(), port, address: None })
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.url.fmt(f)
    }
}

impl Target {
    /// Looks the host up, once for the whole run.
    pub async fn resolve(&mut self) -> anyhow::Result<()> {
        let mut found = tokio::net::lookup_host((self.host.as_str(), self.port))
            .await
            .with_context(|| format!("cannot find the host of {self}"))?;
        self.address = Some(found.next().with_context(|| format!("the host of {self} has no address"))?);
        Ok(())
    }

    /// The source address of the `ordinal`-th connection, so that a single machine can open more of them than one address has ports.
    fn source(&self, ordinal: usize) -> Option<SocketAddr> {
        let group = ordinal / CONNECTIONS_PER_SOURCE;
        match self.address?.ip() {
            IpAddr::V4(ip) if ip.is_loopback() && group > 0 && cfg!(target_os = "linux") => {
                let last = u8::try_from(group % 250).unwrap_or(0) + 1;
                Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 1, last)), 0))
            }
            _ => None,
        }
    }
}

/// Makes tokens for the users of the load.
pub struct Minter {
    key: EncodingKey,
    issuer: Option<String>,
    audience: Option<String>,
    expires: i64,
}

#[derive(serde::Serialize)]
struct Claims<'a> {
    sub: &'a str,
    exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
}

impl Minter {
    /// HS256 with this secret; tokens end at `expires`, seconds since the Unix epoch.
    pub fn new(secret: &str, issuer: Option<String>, audience: Option<String>, expires: i64) -> Self {
        Self { key: EncodingKey::from_secret(secret.as_bytes()), issuer, audience, expires }
    }

    /// A token of this user.
    pub fn mint(&self, user: &str) -> anyhow::Result<String> {
        let claims =
            Claims { sub: user, exp: self.expires, iss: self.issuer.as_deref(), aud: self.audience.as_deref() };
        Ok(jsonwebtoken::encode(&Header::default(), &claims, &self.key)?)
    }
}

/// How a connection failed: a code for the statistics and words for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// `refused_` and an HTTP status or error code, `closed_` and a close code, `eof` or `reset`, `io`, `timeout`, `protocol`.
    pub code: String,
    /// What the system or the server said.
    pub detail: String,
    /// How long the server asked to wait before coming back.
    pub retry_after: Option<Duration>,
}

impl Broken {
    /// Without a word about when to come back.
    pub fn new(code: impl Into<String>, detail: impl Into<String>) -> Self {
        Broken { code: code.into(), detail: detail.into(), retry_after: None }
    }
}

/// Who a connection is, for `session:hello`.
#[derive(Clone, Copy, Debug)]
pub struct Introduction<'a> {
    /// The user's token.
    pub token: &'a str,
    /// The device; a new one if missing.
    pub device: Option<&'a str>,
    /// What the device has of its calls, as JSON.
    pub resume: Option<&'a str>,
}

impl From<WsError> for Broken {
    fn from(error: WsError) -> Self {
        let code = match &error {
            WsError::Http(response) => format!("refused_{}", response.status().as_u16()),
            WsError::Io(error) if error.kind() == ErrorKind::ConnectionRefused => "refused".to_owned(),
            WsError::ConnectionClosed | WsError::AlreadyClosed => "closed_eof".to_owned(),
            WsError::Protocol(tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => {
                "closed_eof".to_owned()
            }
            WsError::Io(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                "closed_reset".to_owned()
            }
            WsError::Io(_) => "io".to_owned(),
            _ => "protocol".to_owned(),
        };
        Broken::new(code, error.to_string())
    }
}

impl From<std::io::Error> for Broken {
    fn from(error: std::io::Error) -> Self {
        WsError::Io(error).into()
    }
}

/// A connection whose hello was answered.
pub struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Client {
    /// Connects, says hello with the token, and returns with the answer. `ordinal` counts the connections of this process.
    pub async fn connect(target: &Target, ordinal: usize, who: Introduction<'_>) -> Result<(Client, Hello), Broken> {
        match tokio::time::timeout(HANDSHAKE_TIMEOUT, Self::handshake(target, ordinal, who)).await {
            Ok(result) => result,
            Err(_) => Err(Broken::new("timeout", "no answer to the handshake")),
        }
    }

    async fn handshake(target: &Target, ordinal: usize, who: Introduction<'_>) -> Result<(Client, Hello), Broken> {
        let Some(address) = target.address else {
            return Err(Broken::new("io", "the target was not looked up"));
        };
        let tcp = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(source) = target.source(ordinal) {
            tcp.bind(source)?;
        }
        let tcp = tcp.connect(address).await?;
        tcp.set_nodelay(true)?;
        let mut request = target.url.clone().into_client_request()?;
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("carillon.v1"));
        let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER);
        let (socket, _) = client_async_tls_with_config(request, tcp, Some(config), None).await?;
        let mut client = Client { socket };
        let device = who.device.map(|device| format!(r#","deviceId":{}"#, frame::quoted(device))).unwrap_or_default();
        let resume = who.resume.map(|resume| format!(r#","resume":{resume}"#)).unwrap_or_default();
        let hello = format!(r#"{{"token":{}{device}{resume}}}"#, frame::quoted(who.token));
        client.send(frame::command("hello", "session:hello", &hello)).await?;
        loop {
            let text = client.next().await?;
            match frame::parse_hello(&text) {
                Some(Ok(hello)) => return Ok((client, hello)),
                Some(Err(code)) => {
                    let detail = format!("session:hello was refused: {code}");
                    return Err(Broken::new(format!("refused_{code}"), detail));
                }
                None => {}
            }
        }
    }

    /// Sends a frame at once.
    pub async fn send(&mut self, text: String) -> Result<(), Broken> {
        Ok(self.socket.send(Message::text(text)).await?)
    }

    /// Puts a frame into the buffer; [`Client::flush`] sends it.
    pub async fn feed(&mut self, text: String) -> Result<(), Broken> {
        Ok(self.socket.feed(Message::text(text)).await?)
    }

    /// Sends what is in the buffer.
    pub async fn flush(&mut self) -> Result<(), Broken> {
        Ok(self.socket.flush().await?)
    }

    /// The next text frame. Pings are answered on the way.
    pub fn poll_text(&mut self, cx: &mut Context<'_>) -> Poll<Result<Utf8Bytes, Broken>> {
        loop {
            let message = match std::pin::Pin::new(&mut self.socket).poll_next(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(message) => message,
            };
            return Poll::Ready(match message {
                Some(Ok(Message::Text(text))) => Ok(text),
                Some(Ok(Message::Close(Some(close)))) => {
                    let (code, retry_after) = frame::close_reason(&close.reason);
                    let number = u16::from(close.code);
                    let detail = format!("the server closed the connection: {number} {code}");
                    Err(Broken { code: format!("closed_{number}"), detail, retry_after })
                }
                Some(Ok(Message::Close(None))) | None => {
                    Err(Broken::new("closed_eof", "the server closed the connection"))
                }
                Some(Ok(_)) => continue,
                Some(Err(error)) => Err(error.into()),
            });
        }
    }

    /// The next text frame.
    pub async fn next(&mut self) -> Result<Utf8Bytes, Broken> {
        std::future::poll_fn(|cx| self.poll_text(cx)).await
    }

    /// Says goodbye and waits a moment for the server to do the same.
    pub async fn close(mut self) {
        let goodbye = async {
            if self.socket.close(None).await.is_ok() {
                // To the end of the stream: who closes the TCP connection first keeps its port for a minute.
                while let Some(Ok(_)) = self.socket.next().await {}
            }
        };
        // One second: a server that does not answer must not hold up the next connection; its socket is closed anyway.
        let _ = tokio::time::timeout(Duration::from_secs(1), goodbye).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_accepted_as_people_write_them() {
        for (text, url) in [
            ("ws://127.0.0.1:8080", "ws://127.0.0.1:8080/ws"),
            ("127.0.0.1:8080", "ws://127.0.0.1:8080/ws"),
            ("http://node-1:8080/", "ws://node-1:8080/ws"),
            ("https://calls.example.org", "wss://calls.example.org:443/ws"),
            ("wss://calls.example.org/other", "wss://calls.example.org:443/other"),
            ("ws://[::1]:9", "ws://[::1]:9/ws"),
        ] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), url);
        }
        assert_eq!("ws://[::1]:9".parse::<Target>().unwrap().host, "::1");
        for text in ["ftp://x", "", "ws://"] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }

    #[test]
    fn many_connections_of_one_machine_spread_over_source_addresses() {
        let mut target: Target = "127.0.0.1:1".parse().unwrap();
        assert_eq!(target.source(50_000), None);
        target.address = Some(([127, 0, 0, 1], 1).into());
        assert_eq!(target.source(9_999), None);
        if cfg!(target_os = "linux") {
            assert_eq!(target.source(10_000), Some(([127, 0, 1, 2], 0).into()));
        }
        target.address = Some(([10, 0, 0, 1], 1).into());
        assert_eq!(target.source(50_000), None);
    }

    #[test]
    fn tokens_carry_the_user_and_what_the_server_checks() {
        let token = Minter::new("secret", Some("me".into()), None, 4_000_000_000).mint("load-0-1-a").unwrap();
        let key = jsonwebtoken::DecodingKey::from_secret(b"secret");
        let claims: serde_json::Value =
            jsonwebtoken::decode(&token, &key, &jsonwebtoken::Validation::default()).unwrap().claims;
        assert_eq!(claims, serde_json::json!({"sub":"load-0-1-a","exp":4_000_000_000_i64,"iss":"me"}));
    }
}
