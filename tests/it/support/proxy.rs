//! A TCP proxy in front of a server: the network between one node and PostgreSQL or Redis, to be made slow, silent or
//! broken while both ends live.
//!
//! Owns a port and a thread with an event loop of its own, so that a test that blocks does not slow the link down. It
//! never changes or reorders what it passes. What was on its way when a link is stalled arrives when it is mended, as
//! TCP would have it.

use std::{net::SocketAddr, ops::RangeInclusive, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpSocket, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::{mpsc, watch},
    time::Instant,
};

use super::process::free_port;

/// Chunks on their way in one direction. More would let a stalled sender write for longer before it notices nothing.
const IN_FLIGHT: usize = 64;
/// The largest chunk.
const CHUNK: usize = 64 * 1024;
/// How often a port is tried again that the kernel has not let go of.
const AGAIN: Duration = Duration::from_millis(20);

/// What the link does.
#[derive(Debug, Clone, PartialEq)]
pub enum Mode {
    /// Passes everything at once.
    Pass,
    /// Passes everything, each chunk in each direction so many milliseconds late.
    Delay(RangeInclusive<u64>),
    /// Connections stand, new ones too, and nothing passes: a silent partition.
    Stall,
    /// What the client sends passes, what the server answers does not: it is done, and nobody is told.
    HoldAnswers,
    /// Nothing passes: who sends something is answered with this text, and the connection is closed.
    Answer(&'static str),
    /// Connections are reset, and new ones as soon as they are made.
    Reset,
    /// Connections are reset and new ones refused: nobody listens.
    Refuse,
}

impl Mode {
    fn breaks(&self) -> bool {
        matches!(self, Self::Reset | Self::Refuse | Self::Answer(_))
    }
}

/// See the module. Dropped: its connections are reset and its port is closed.
pub struct Proxy {
    port: u16,
    mode: watch::Sender<Mode>,
}

impl Proxy {
    /// A proxy for this port of 127.0.0.1, passing everything. `seed` is of the delays.
    pub fn start(server: u16, seed: u64) -> Self {
        let port = free_port();
        let (mode, watched) = watch::channel(Mode::Pass);
        std::thread::Builder::new()
            .name(format!("proxy-{server}"))
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                runtime.block_on(serve(port, server, watched, seed));
            })
            .expect("start a proxy's thread");
        Self { port, mode }
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on the link does this.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// From now on everything passes at once.
    pub fn mend(&self) {
        self.set(Mode::Pass);
    }
}

fn local(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

async fn listen(port: u16) -> TcpListener {
    loop {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("reuse of the port");
        match socket.bind(local(port)).and_then(|()| socket.listen(1024)) {
            Ok(listener) => return listener,
            Err(_) => tokio::time::sleep(AGAIN).await,
        }
    }
}

/// Until the proxy is dropped.
async fn serve(port: u16, server: u16, mut mode: watch::Receiver<Mode>, seed: u64) {
    let mut number = seed;
    while mode.wait_for(|mode| *mode != Mode::Refuse).await.is_ok() {
        let listener = listen(port).await;
        let given = mode.clone();
        loop {
            tokio::select! {
                refusing = mode.wait_for(|mode| *mode == Mode::Refuse) => {
                    if refusing.is_err() {
                        return;
                    }
                    break;
                }
                Ok((client, _)) = listener.accept() => {
                    number = number.wrapping_add(1);
                    tokio::spawn(carry(client, server, given.clone(), number));
                }
            }
        }
    }
}

/// One connection, to its end.
async fn carry(mut client: TcpStream, server: u16, mut mode: watch::Receiver<Mode>, seed: u64) {
    let text = if let Mode::Answer(text) = &*mode.borrow() { Some(*text) } else { None };
    if let Some(text) = text {
        let _ = client.read(&mut [0; CHUNK]).await;
        let _ = client.write_all(text.as_bytes()).await;
        return drop(client.shutdown().await);
    }
    let mut broken = mode.clone();
    let work = async {
        // A partition is between the two: whoever connects during it does not reach the server.
        if mode.wait_for(|mode| *mode != Mode::Stall).await.is_err() {
            return None;
        }
        let mut server = TcpStream::connect(local(server)).await.ok()?;
        for stream in [&client, &server] {
            let _ = stream.set_nodelay(true);
        }
        {
            let (mut from_client, mut to_client) = client.split();
            let (mut from_server, mut to_server) = server.split();
            let there = pass(&mut from_client, &mut to_server, mode.clone(), seed, |mode| *mode == Mode::Stall);
            let holds = |mode: &Mode| matches!(mode, Mode::Stall | Mode::HoldAnswers);
            let back = pass(&mut from_server, &mut to_client, mode.clone(), !seed, holds);
            tokio::select! {
                _ = async { tokio::join!(there, back) } => return Some(()),
                _ = broken.wait_for(Mode::breaks) => {}
            }
        }
        reset(&server);
        None
    };
    if work.await.is_none() {
        reset(&client);
    }
}

/// So that closing it resets the other side.
fn reset(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// One direction, until its end has been passed on or its reader is gone.
async fn pass(
    from: &mut ReadHalf<'_>,
    to: &mut WriteHalf<'_>,
    mut mode: watch::Receiver<Mode>,
    seed: u64,
    holds: fn(&Mode) -> bool,
) {
    let delays = mode.clone();
    let (queue, mut due) = mpsc::channel::<(Instant, Vec<u8>)>(IN_FLIGHT);
    let read = async move {
        let mut random = StdRng::seed_from_u64(seed);
        let mut last = Instant::now();
        let mut buffer = vec![0; CHUNK];
        while let Ok(length) = from.read(&mut buffer).await {
            if length == 0 {
                return;
            }
            if let Mode::Delay(millis) = &*delays.borrow() {
                // Never before what came before it.
                last = last.max(Instant::now() + Duration::from_millis(random.random_range(millis.clone())));
            }
            if queue.send((last, buffer[..length].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let write = async move {
        loop {
            let chunk = due.recv().await;
            if let Some((at, _)) = &chunk {
                tokio::time::sleep_until(*at).await;
            }
            // Also the end of a connection does not pass a partition.
            if mode.wait_for(|mode| !holds(mode)).await.is_err() {
                return;
            }
            match chunk {
                Some((_, bytes)) if to.write_all(&bytes).await.is_ok() => {}
                Some(_) => return,
                None => return drop(to.shutdown().await),
            }
        }
    };
    tokio::join!(read, write);
}
