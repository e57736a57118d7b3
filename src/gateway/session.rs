//! One socket: its hello, its frames, its end. The only file that knows actix-web-actors.
//!
//! Owns framing and where the session stands (asking for credentials, being attached, ready). Decides nothing about a
//! call and keeps nothing of one. A client that misbehaves harms its own session at most.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use actix::{Actor, ActorContext, Addr, AsyncContext, Handler, StreamHandler};
use actix_http::ws::Item;
use actix_web::{HttpRequest, HttpResponse, web};
use actix_web_actors::ws::{self, WebsocketContext};
use bytestring::ByteString;

use super::{
    address::ClientAddress,
    auth::{AuthError, Claims},
    close_code::{Close, Ended},
    edge::Gateway,
    limits::{Kind, Pace},
    protocol::{ClientFrame, MAX_FRAME_BYTES, Request},
    socket::{Out, Socket},
};
use crate::{
    actors::{
        Outbox,
        user::{Leave, UserActor},
    },
    clock,
    domain::{DeviceId, SessionId, UserId},
    trace,
    wire::{ErrorCode, Frame, Refusal},
};

mod commands;
mod joining;

/// How long a client may take for its hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a client with credentials in the upgrade may take to name its device before it is given one.
const WELCOME_DELAY: Duration = Duration::from_millis(200);
/// How many frames may wait while a session is being attached. A client that sends more than it is answered gets
/// refusals.
const MAX_EARLY_FRAMES: usize = 64;
/// How many commands of one session may be under way.
const MAX_IN_FLIGHT: usize = 64;
/// What the codec reads before it gives up. Above [`MAX_FRAME_BYTES`], so that a frame which is a little too large is
/// read to its end and the client hears why it is closed.
const CODEC_LIMIT: usize = 2 * MAX_FRAME_BYTES;
/// How long a client that floods is asked to stay away. Shorter, and it is back before its quota is; longer punishes who
/// comes from a client that has a fault.
const FLOOD_REST: Duration = Duration::from_secs(10);
/// How often attaching is tried at a user's actor that ends just then.
const JOIN_ATTEMPTS: usize = 5;

/// Where a session stands.
enum Phase {
    /// No credentials yet.
    Anonymous,
    /// Credentials from the upgrade; the hello may still name the device.
    Authorized(Claims),
    /// Being verified or attached.
    Joining,
    Ready,
    /// Closed by us: nothing more is heard.
    Closing,
}

/// Who the session belongs to, once attached; takes itself out of the directory when it goes.
struct Membership {
    user: UserId,
    device: DeviceId,
    addr: Addr<UserActor>,
}

/// Lists a socket while its actor lives, however that ends.
struct Listed {
    gateway: Arc<Gateway>,
    socket: Arc<Socket>,
    membership: Option<Membership>,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.gateway.node.sockets.fetch_sub(1, Ordering::Relaxed);
        self.gateway.sockets.remove(&self.socket.id);
        self.gateway.counts.on_ended(self.socket.ended());
        self.leave();
    }
}

impl Listed {
    fn new(gateway: Arc<Gateway>, socket: Arc<Socket>) -> Self {
        gateway.node.sockets.fetch_add(1, Ordering::Relaxed);
        Self { gateway, socket, membership: None }
    }

    fn leave(&mut self) {
        if let Some(membership) = self.membership.take() {
            self.gateway.node.directory.remove_session(&self.socket.id);
            // `do_send`: an actor that is gone has forgotten the session already.
            membership.addr.do_send(Leave { session: self.socket.id.clone() });
        }
    }
}

/// Who is at the other end.
pub struct Peer {
    /// The connection itself; `None` where the server is not on TCP.
    pub tcp: Option<Arc<std::net::TcpStream>>,
    pub address: ClientAddress,
}

/// See the module.
pub struct Session {
    gateway: Arc<Gateway>,
    address: ClientAddress,
    pace: Pace,
    socket: Arc<Socket>,
    listed: Listed,
    phase: Phase,
    early: Vec<ByteString>,
    in_flight: usize,
    /// As the user's token has it.
    name: Option<Box<str>>,
    /// The beginning of a message that comes in parts.
    partial: Option<Vec<u8>>,
    /// When the frame in hand was read.
    read_at: Instant,
}

/// Upgrades a request; `claims`: of the bearer token it carried.
pub fn upgrade(
    gateway: Arc<Gateway>,
    request: &HttpRequest,
    payload: web::Payload,
    claims: Option<Claims>,
    peer: Peer,
) -> Result<HttpResponse, actix_web::Error> {
    let id = SessionId::new(uuid::Uuid::new_v4().simple().to_string())
        .map_err(actix_web::error::ErrorInternalServerError)?;
    let socket = Socket::new(id, peer.tcp);
    let listed = Listed::new(gateway.clone(), socket.clone());
    let phase = match claims {
        Some(claims) => {
            socket.set_expiry(claims.expires_at);
            Phase::Authorized(claims)
        }
        None => Phase::Anonymous,
    };
    let session = Session {
        address: peer.address,
        pace: Pace::default(),
        gateway,
        socket,
        listed,
        phase,
        early: Vec::new(),
        in_flight: 0,
        name: None,
        partial: None,
        read_at: clock::monotonic(),
    };
    ws::WsResponseBuilder::new(session, request, payload).protocols(&["carillon.v1"]).frame_size(CODEC_LIMIT).start()
}

type Ctx = WebsocketContext<Session>;

impl Session {
    fn refuse(&self, frame: Option<&ClientFrame<'_>>, refusal: &Refusal) {
        self.gateway.counts.refuse(frame.map(|frame| &*frame.event), refusal.code);
        let refusal = &*refusal.traced(trace::current_id());
        let frame = match frame {
            Some(ClientFrame { id: Some(id), .. }) => Frame::reply_err(id, refusal),
            Some(frame) => Frame::error_event(Some(&frame.event), refusal),
            None => Frame::error_event(None, refusal),
        };
        self.socket.push(frame);
    }

    /// Refuses by a limit. Who goes on in spite of it is closed.
    fn refuse_limited(&mut self, frame: Option<&ClientFrame<'_>>, refusal: &Refusal) {
        // Closing already: a flood is not to be answered on and on.
        if self.on_nuisance() {
            self.refuse(frame, refusal);
        }
    }

    /// One more of what a client that heeds refusals does not send. Whether it is still within the bound; if not, the
    /// session is being closed.
    fn on_nuisance(&mut self) -> bool {
        if self.pace.nuisance(&self.gateway.limits).is_ok() {
            return true;
        }
        if self.socket.closing_at.load(std::sync::atomic::Ordering::Relaxed) == 0 {
            let user = self.listed.membership.as_ref().map(|membership| membership.user.as_str());
            tracing::info!(session.id = %self.socket.id, user.id = user, "session floods");
            self.gateway.limits.on_refused(Kind::Flood);
        }
        self.close_limited(FLOOD_REST);
        false
    }

    /// Closes with 4029, behind what waits to be sent.
    fn close_limited(&self, wait: Duration) {
        let retry_after_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        self.socket.close_with(Close::RateLimited { retry_after_ms });
    }

    fn close(&mut self, close: Close, ctx: &mut Ctx) {
        if matches!(self.phase, Phase::Closing) {
            return;
        }
        self.phase = Phase::Closing;
        self.socket.ends(Ended::Ours(close));
        self.early.clear();
        self.listed.leave();
        self.socket.closing_at.store(clock::now().as_millis(), std::sync::atomic::Ordering::Relaxed);
        ctx.close(Some(close.reason()));
    }

    fn on_text(&mut self, text: ByteString, ctx: &mut Ctx) {
        if text.len() > MAX_FRAME_BYTES {
            return self.close(Close::TooBig, ctx);
        }
        match &self.phase {
            Phase::Closing => {}
            Phase::Ready => self.on_command(&text, ctx),
            Phase::Joining => {
                if self.early.len() < MAX_EARLY_FRAMES {
                    self.early.push(text);
                } else {
                    let refusal = Refusal::new(ErrorCode::RateLimited, "too many commands before the session is ready");
                    self.refuse_limited(ClientFrame::parse(&text).ok().as_ref(), &refusal);
                }
            }
            Phase::Anonymous | Phase::Authorized(_) => self.on_first(text, ctx),
        }
    }

    /// A frame before the session is attached: a hello, or what it takes for one.
    fn on_first(&mut self, text: ByteString, ctx: &mut Ctx) {
        let frame = match ClientFrame::parse(&text) {
            Ok(frame) => frame,
            Err(refusal) => return self.refuse_limited(None, &refusal),
        };
        if frame.event != "session:hello" {
            if let Phase::Authorized(claims) = &self.phase {
                let claims = claims.clone();
                self.early.push(text);
                return self.join(claims, None, None, ctx);
            }
            let refusal = Refusal::new(ErrorCode::Unauthenticated, "the first frame must be session:hello");
            self.refuse(Some(&frame), &refusal);
            // Through the mailbox, behind the refusal.
            return self.socket.close_with(Close::Unauthenticated);
        }
        match frame.request() {
            Ok(Request::Hello(hello)) => self.hello(&frame, hello, ctx),
            Ok(_) => {}
            Err(refusal) => self.refuse_limited(Some(&frame), &refusal),
        }
    }

    fn write(&mut self, frame: Frame, ctx: &mut Ctx) {
        self.socket.taken(frame.len());
        if !matches!(self.phase, Phase::Closing) {
            ctx.text(frame.into_bytes());
        }
    }

    fn on_part(&mut self, item: Item, ctx: &mut Ctx) {
        let (bytes, last) = match item {
            Item::FirstText(bytes) => {
                self.partial = Some(Vec::new());
                (bytes, false)
            }
            Item::FirstBinary(_) => return self.refuse_limited(None, &not_text()),
            Item::Continue(bytes) => (bytes, false),
            Item::Last(bytes) => (bytes, true),
        };
        let Some(partial) = &mut self.partial else { return };
        if partial.len() + bytes.len() > MAX_FRAME_BYTES {
            return self.close(Close::TooBig, ctx);
        }
        partial.extend_from_slice(&bytes);
        if last {
            match String::from_utf8(self.partial.take().unwrap_or_default()) {
                Ok(text) => self.on_text(text.into(), ctx),
                Err(_) => self.close(Close::Protocol, ctx),
            }
        }
    }
}

fn not_text() -> Refusal {
    Refusal::invalid("frames must be text")
}

/// What a stranger is told of credentials that were not accepted.
pub(super) fn auth_refusal(error: AuthError) -> Refusal {
    match error {
        AuthError::Unauthenticated(reason) => {
            tracing::debug!(reason, "token refused");
            Refusal::new(ErrorCode::Unauthenticated, "the token is not valid here")
        }
        AuthError::Expired => Refusal::new(ErrorCode::TokenExpired, "the token has expired"),
        AuthError::Unavailable => Refusal::unavailable("the token cannot be checked now"),
    }
}

impl Actor for Session {
    type Context = Ctx;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.socket.attach(ctx.address());
        self.gateway.counts.on_opened();
        self.gateway.sockets.insert(self.socket.id.clone(), self.socket.clone());
        if matches!(self.phase, Phase::Authorized(_)) {
            ctx.run_later(WELCOME_DELAY, |session, ctx| {
                if let Phase::Authorized(claims) = &session.phase {
                    let claims = claims.clone();
                    session.join(claims, None, None, ctx);
                }
            });
        } else {
            ctx.run_later(HELLO_TIMEOUT, |session, ctx| {
                if matches!(session.phase, Phase::Anonymous) {
                    session.close(Close::Unauthenticated, ctx);
                }
            });
        }
    }
}

impl StreamHandler<Result<ws::Message, ws::ProtocolError>> for Session {
    fn handle(&mut self, message: Result<ws::Message, ws::ProtocolError>, ctx: &mut Self::Context) {
        self.read_at = clock::monotonic();
        self.socket.heard(clock::at(self.read_at));
        match message {
            Ok(ws::Message::Text(text)) => self.on_text(text, ctx),
            Ok(ws::Message::Continuation(item)) => self.on_part(item, ctx),
            Ok(ws::Message::Binary(_)) => self.refuse_limited(None, &not_text()),
            Ok(ws::Message::Ping(bytes)) => {
                if self.on_nuisance() {
                    ctx.pong(&bytes);
                }
            }
            Ok(ws::Message::Pong(_) | ws::Message::Nop) => {}
            Ok(ws::Message::Close(reason)) => {
                // If we have closed, this is the answer. To answer that again is an error to browsers: they would not tell
                // the page our code, but 1006, and a client comes back from that.
                if !matches!(self.phase, Phase::Closing) {
                    ctx.close(reason);
                }
                self.phase = Phase::Closing;
                self.socket.ends(Ended::ByClient);
                ctx.stop();
                self.socket.finish_soon();
            }
            Err(error) => {
                if matches!(error, ws::ProtocolError::Io(_)) {
                    self.socket.ends(Ended::Lost);
                }
                let too_big = matches!(error, ws::ProtocolError::Overflow);
                self.close(if too_big { Close::TooBig } else { Close::Protocol }, ctx);
                ctx.stop();
            }
        }
    }

    fn finished(&mut self, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl Handler<Out> for Session {
    type Result = ();

    fn handle(&mut self, out: Out, ctx: &mut Self::Context) {
        match out {
            Out::Frame(frame) => self.write(frame, ctx),
            Out::Traced(traced) => {
                let (frame, mut span) = *traced;
                span.note(|span| {
                    span.set("carillon.session.id", self.socket.id.as_str()).set("carillon.bytes", frame.len());
                });
                self.write(frame, ctx);
            }
            Out::Ping => ctx.ping(b""),
            Out::Close(close) => self.close(close, ctx),
        }
    }
}
