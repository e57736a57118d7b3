//! The way to one client's socket, from any thread: a budget of bytes in front of it, its heartbeat, and its end.
//!
//! actix-web-actors buffers without bound towards a client that does not read, and such a client stalls its actor with
//! its timers. So what is sent is counted here before it reaches the actor, and the session is watched from outside by
//! [`super::heartbeat`]. It never waits for a client: over the budget the socket is shut down.

use std::{
    net::{Shutdown, TcpStream},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix::Addr;
use socket2::SockRef;

use super::{
    close_code::{Close, Ended},
    session::Session,
};
use crate::{
    actors::{CloseCause, Outbox},
    clock,
    domain::{SessionId, Timestamp},
    trace::{Kind, Span},
    wire::Frame,
};

/// How many bytes may wait for one client before it counts as not reading. What waits here may stand a second time in
/// actix's write buffer and a third in the kernel's: together they stay under 1 MiB. Less would cut clients off that
/// are merely behind by a few large offers.
pub const BUDGET_BYTES: usize = 256 * 1024;
/// How long the last frame, our Close, is given to leave before our half of the connection is ended. Less, and a busy
/// node may cut it off; more, and clients wait.
const FINISH_DELAY: Duration = Duration::from_millis(50);
/// What a waiting frame costs besides its text: its message, its place in the mailbox, its header.
const FRAME_OVERHEAD: usize = 192;

/// Sent to the session's actor.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub enum Out {
    Frame(Frame),
    /// One whose way is recorded, until it is with the connection.
    Traced(Box<(Frame, Span)>),
    Ping,
    Close(Close),
}

/// See the module.
pub struct Socket {
    pub id: SessionId,
    addr: OnceLock<Addr<Session>>,
    /// The connection itself, to be shut down when nothing else helps; `None` where the server is not on TCP.
    tcp: Option<Arc<TcpStream>>,
    waiting: AtomicUsize,
    dead: AtomicBool,
    /// One more than the place of how it ends, see [`Ended`]; 0: that is not known. The first word counts.
    ends_as: AtomicU8,
    /// When the client was last heard of, in milliseconds since the epoch.
    pub(super) heard_at: AtomicI64,
    /// When the last ping went out, and how many since are unanswered.
    pub(super) pinged_at: AtomicI64,
    pub(super) unanswered: AtomicU8,
    /// Something was sent since the client was last heard of.
    pub(super) sent_since_heard: AtomicBool,
    /// When the token ends; 0: no token yet.
    pub(super) expires_at: AtomicI64,
    pub(super) expiry_announced: AtomicBool,
    /// When the server closed it, so that one which does not answer that is ended all the same; 0: it has not.
    pub(super) closing_at: AtomicI64,
}

impl Socket {
    /// The way to a socket whose actor is about to start.
    pub fn new(id: SessionId, tcp: Option<Arc<TcpStream>>) -> Arc<Self> {
        let now = clock::now().as_millis();
        Arc::new(Self {
            id,
            addr: OnceLock::new(),
            tcp,
            waiting: AtomicUsize::new(0),
            dead: AtomicBool::new(false),
            ends_as: AtomicU8::new(0),
            heard_at: AtomicI64::new(now),
            pinged_at: AtomicI64::new(now),
            unanswered: AtomicU8::new(0),
            sent_since_heard: AtomicBool::new(false),
            expires_at: AtomicI64::new(0),
            expiry_announced: AtomicBool::new(false),
            closing_at: AtomicI64::new(0),
        })
    }

    pub(super) fn attach(&self, addr: Addr<Session>) {
        // Set once, by the actor itself when it starts.
        let _ = self.addr.set(addr);
    }

    /// The token's end, from a hello or a refresh.
    pub(super) fn set_expiry(&self, at: Timestamp) {
        self.expires_at.store(at.as_millis(), Ordering::Relaxed);
        self.expiry_announced.store(false, Ordering::Relaxed);
    }

    /// The client was heard of, at this moment.
    pub(super) fn heard(&self, at: Timestamp) {
        self.heard_at.store(at.as_millis(), Ordering::Relaxed);
        self.unanswered.store(0, Ordering::Relaxed);
        self.sent_since_heard.store(false, Ordering::Relaxed);
    }

    /// A frame has left for the connection.
    pub(super) fn taken(&self, bytes: usize) {
        self.waiting.fetch_sub(bytes + FRAME_OVERHEAD, Ordering::Relaxed);
    }

    pub(super) fn send(&self, out: Out) {
        if let Some(addr) = self.addr.get() {
            // `do_send`: the mailbox's bound is the budget in front of it; an actor that is gone has nobody to tell.
            addr.do_send(out);
        }
    }

    /// This is how it ends, unless that was said before.
    pub(super) fn ends(&self, how: Ended) {
        let place = u8::try_from(how.place() + 1).unwrap_or(0);
        // An error means that it was.
        let _ = self.ends_as.compare_exchange(0, place, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// How it has ended.
    pub(super) fn ended(&self) -> Ended {
        let place = usize::from(self.ends_as.load(Ordering::Relaxed)).wrapping_sub(1);
        Ended::ALL.get(place).copied().unwrap_or(Ended::Lost)
    }

    /// How much waits for the client, in bytes, of [`BUDGET_BYTES`].
    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Ends the connection now, whatever waits for it. The kernel then forgets the socket, and the actor ends.
    pub fn kill(&self, why: &'static str, how: Ended) {
        self.ends(how);
        if self.dead.swap(true, Ordering::AcqRel) {
            return;
        }
        tracing::info!(session.id = %self.id, waiting_bytes = self.waiting.load(Ordering::Relaxed), why, "session cut off");
        match &self.tcp {
            // An error means that it is closed already.
            Some(tcp) => {
                // With what waits in the kernel for a client that takes nothing, the close alone would leave the socket
                // for as long as the kernel tries on: it is thrown away instead, and the client reset.
                let _ = SockRef::from(&**tcp).set_linger(Some(Duration::ZERO));
                drop(tcp.shutdown(Shutdown::Both));
            }
            None => self.send(Out::Close(Close::TooSlow)),
        }
    }

    /// Both sides have said Close: ends our half of the connection, for which clients wait. To be called on an event
    /// loop.
    pub(super) fn finish_soon(&self) {
        let Some(tcp) = self.tcp.clone() else { return };
        actix_web::rt::spawn(async move {
            tokio::time::sleep(FINISH_DELAY).await;
            // An error means that it is closed already.
            drop(tcp.shutdown(Shutdown::Write));
        });
    }

    /// Closes with a code, if the client still reads.
    pub fn close_with(&self, close: Close) {
        let now = clock::now().as_millis();
        if self.closing_at.compare_exchange(0, now, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            self.ends(Ended::Ours(close));
            self.send(Out::Close(close));
        }
    }
}

impl Outbox for Socket {
    fn push(&self, frame: Frame) {
        if self.dead.load(Ordering::Acquire) {
            return;
        }
        let cost = frame.len() + FRAME_OVERHEAD;
        let waiting = self.waiting.fetch_add(cost, Ordering::Relaxed) + cost;
        if waiting > BUDGET_BYTES {
            return self.kill("too slow: it does not read what is sent", Ended::Ours(Close::TooSlow));
        }
        self.sent_since_heard.store(true, Ordering::Relaxed);
        let span = Span::begin("write", Kind::Internal);
        self.send(if span.context().is_some() { Out::Traced(Box::new((frame, span))) } else { Out::Frame(frame) });
    }

    fn close(&self, cause: CloseCause) {
        self.close_with(cause.into());
    }
}
