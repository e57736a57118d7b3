//! `carillon healthcheck`: asks the node on this machine how it is, for containers whose image holds no shell and no curl.
//!
//! Reads where to ask from the same setting as the node, so that the two cannot disagree. Must end by itself whatever
//! the node does: a node that accepts and says nothing is ill. Exit code 0: well; 1: not, or nobody answers.

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use clap::Args;

use crate::config::Settings;

/// How long each step (connecting, sending, each piece of the answer) may take. `/readyz` itself gives the database 2 s:
/// below that a node without its database would be called dead, not unready; Docker's usual limit is 5 s or more.
const PATIENCE: Duration = Duration::from_secs(4);
/// No answer of a probe is as long; more is not ours.
const MAX_ANSWER_BYTES: u64 = 64 * 1024;

/// What to ask.
#[derive(Debug, Clone, Args)]
pub(super) struct HealthcheckArgs {
    /// Ask only whether the process answers (/livez), not whether it takes calls (/readyz).
    #[arg(long)]
    live: bool,
}

pub(super) fn run(args: &HealthcheckArgs, settings: &Settings) -> anyhow::Result<ExitCode> {
    let path = if args.live { "/livez" } else { "/readyz" };
    ensure!(settings.listen.port() != 0, "CARILLON_LISTEN names port 0: nobody can know where the node listens");
    let address = local(settings.listen);
    let (status, body) = ask(address, path).with_context(|| format!("http://{address}{path}"))?;
    if status != 200 {
        bail!("http://{address}{path} answers {status}: {}", body.trim());
    }
    Ok(ExitCode::SUCCESS)
}

/// Where a node that listens on `listen` is reached from the same machine.
fn local(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// HTTP/1.0, so that the answer ends with the connection and needs no parser.
fn ask(address: SocketAddr, path: &str) -> anyhow::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).context("nobody listens")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nUser-Agent: carillon-healthcheck\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer).context("no answer")?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer is not HTTP")?;
    let status =
        head.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)).and_then(|code| code.parse().ok());
    Ok((status.context("the answer is not HTTP")?, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn answered_with(answer: &'static str) -> anyhow::Result<(u16, String)> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let length = stream.read(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        let said = ask(address, "/readyz");
        assert!(server.join().unwrap().starts_with("GET /readyz HTTP/1.0\r\n"));
        said
    }

    #[test]
    fn an_answer_is_read_by_its_status_and_what_is_no_http_is_no_health() {
        assert_eq!(answered_with("HTTP/1.1 200 OK\r\n\r\nok").unwrap(), (200, "ok".into()));
        assert_eq!(answered_with("HTTP/1.0 503 Service Unavailable\r\nA: b\r\n\r\n{}").unwrap(), (503, "{}".into()));
        for nonsense in ["", "200", "SSH-2.0-x\r\n\r\n", "HTTP/1.1\r\n\r\n"] {
            assert!(answered_with(nonsense).is_err(), "{nonsense:?}");
        }
    }

    #[test]
    fn a_node_that_listens_everywhere_is_asked_on_loopback() {
        assert_eq!(local("0.0.0.0:8080".parse().unwrap()).to_string(), "127.0.0.1:8080");
        assert_eq!(local("[::]:81".parse().unwrap()).to_string(), "[::1]:81");
        assert_eq!(local("192.0.2.1:82".parse().unwrap()).to_string(), "192.0.2.1:82");
    }
}
