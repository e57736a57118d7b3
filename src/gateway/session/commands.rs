//! Commands of a session that is ready: handed to the actors, answered when they have.

use std::future::Future;

use actix::{ActorFutureExt, AsyncContext, WrapFuture};

use super::{Ctx, MAX_IN_FLIGHT, Session, auth_refusal};
use crate::{
    actors::{Caller, Outbox, keyed::CommandKey, messages::Receipt},
    clock,
    domain::UserId,
    gateway::{
        auth::{AuthError, Claims},
        dispatch,
        limits::Kind,
        protocol::{ClientFrame, Hello, Request, SignalData, key_for},
    },
    trace::{self, Kind as SpanKind, Span, TraceContext},
    wire::{ErrorCode, Frame, Refusal, frame::Writer},
};

type Outcome = Result<Frame, Refusal>;

/// The one command that is in no trace.
const SIGNAL: &str = "call:signal";

impl Session {
    fn caller(&self) -> Option<Caller> {
        let membership = self.listed.membership.as_ref()?;
        Some(Caller {
            user: membership.user.clone(),
            device: membership.device.clone(),
            session: Some(self.socket.id.clone()),
            node: self.gateway.node.id.clone(),
        })
    }

    pub(super) fn on_command(&mut self, text: &str, ctx: &mut Ctx) {
        let frame = match ClientFrame::parse(text) {
            Ok(frame) => frame,
            Err(refusal) => return self.refuse_limited(None, &refusal),
        };
        let (within, mut span) = self.begin_trace(&frame);
        let _within = within.map(|within| trace::enter(Some(within)));
        if let Err((refusal, nuisance)) = self.take_up(&frame, &mut span, ctx) {
            span.fail(refusal.code.as_str());
            log_refusal(name_of(&frame), &refusal);
            if nuisance {
                self.refuse_limited(Some(&frame), &refusal);
            } else {
                self.refuse(Some(&frame), &refusal);
            }
        }
    }

    /// The trace of a command, and its first span. Signals have none: there are too many, and they change nothing.
    fn begin_trace(&self, frame: &ClientFrame<'_>) -> (Option<TraceContext>, Span) {
        if frame.event == SIGNAL {
            return (None, Span::none());
        }
        let (context, mut span) = trace::receive(frame.trace_parent(), "command", SpanKind::Server);
        span.note(|span| {
            // Only names that are known: a span's name is one of few.
            if let Ok(spec) = frame.spec() {
                span.rename(spec.event).set("carillon.command", spec.event);
            }
            span.set("carillon.session.id", self.socket.id.as_str())
                .set_some("carillon.call.id", frame.call().as_ref().map(|call| call.as_str()));
        });
        (Some(context), span)
    }

    /// Hands a command to whom it is for. `Err`: it is refused, and whether such refusals are counted.
    fn take_up(&mut self, frame: &ClientFrame<'_>, span: &mut Span, ctx: &mut Ctx) -> Result<(), (Refusal, bool)> {
        self.admit(&frame.event).map_err(|refusal| (refusal, true))?;
        let (request, caller) = match (frame.request(), self.caller()) {
            (Ok(request), Some(caller)) => (request, caller),
            (Err(refusal), _) => return Err((refusal, false)),
            (_, None) => return Ok(()),
        };
        let key = command_key(frame, &caller.user).map_err(|refusal| (refusal, false))?;
        if let Request::Signal(signal) = request {
            self.signal(frame, signal, caller, key);
            return Ok(());
        }
        if self.in_flight >= MAX_IN_FLIGHT {
            return Err((Refusal::new(ErrorCode::RateLimited, "too many commands at once"), true));
        }
        match request {
            Request::Hello(hello) => self.hello_again(frame, hello, caller, ctx),
            Request::Refresh { token } => self.refresh(frame, token, caller.user, std::mem::take(span), ctx),
            request => {
                let pending = dispatch::send(&self.gateway, request, caller, self.name.as_deref(), key);
                let pending = pending.map_err(|refusal| (refusal, false))?;
                let gateway = self.gateway.clone();
                self.answer(frame, async move { pending.reply(&gateway).await }, std::mem::take(span), ctx);
            }
        }
        Ok(())
    }

    /// Whether one more command with this name is within its limits.
    fn admit(&mut self, event: &str) -> Result<(), Refusal> {
        let limits = &self.gateway.limits;
        match (Kind::of_event(event), &self.listed.membership) {
            (Kind::Signal, _) => self.pace.signal(limits).map_err(|wait| limits.refusal(Kind::Signal, wait)),
            (kind, Some(membership)) => limits.by_user(kind, &membership.user, self.address),
            (_, None) => Ok(()),
        }
    }

    /// Checks a token that comes on a session which has one already.
    fn verify(&self, token: String) -> impl Future<Output = Result<Claims, Refusal>> + 'static {
        let (gateway, address) = (self.gateway.clone(), self.address);
        async move {
            gateway.limits.may_authenticate(address)?;
            gateway.verifier.verify(&token, clock::now()).await.map_err(|error| {
                if matches!(error, AuthError::Unauthenticated(_)) {
                    gateway.limits.on_bad_credentials(address);
                }
                auth_refusal(error)
            })
        }
    }

    /// Answers a command when `outcome` is there. `span`: of the command, until then.
    fn answer(
        &mut self,
        frame: &ClientFrame<'_>,
        outcome: impl Future<Output = Outcome> + 'static,
        mut span: Span,
        ctx: &mut Ctx,
    ) {
        let id = frame.id.as_deref().map(str::to_owned);
        let event = if id.is_none() { Some(frame.event.clone().into_owned()) } else { None };
        let (name, within) = (name_of(frame), trace::current());
        let begun = self.gateway.counts.begin(&frame.event, self.read_at);
        self.in_flight += 1;
        ctx.spawn(trace::within(within, outcome).into_actor(self).map(move |outcome, session, _| {
            session.in_flight -= 1;
            session.gateway.counts.end(begun, &outcome);
            let _within = trace::enter(within);
            let outcome = outcome.map_err(|refusal| {
                span.fail(refusal.code.as_str());
                log_refusal(name, &refusal);
                refusal.traced(trace::current_id()).into_owned()
            });
            match (id, outcome) {
                (Some(id), Ok(data)) => session.socket.push(Frame::reply_ok(&id, data.text())),
                (Some(id), Err(refusal)) => session.socket.push(Frame::reply_err(&id, &refusal)),
                (None, Ok(_)) => {}
                (None, Err(refusal)) => session.socket.push(Frame::error_event(event.as_deref(), &refusal)),
            }
            drop(span);
        }));
    }

    /// A second hello names the device anew, or says what the client has. With a token it must be the same user's.
    fn hello_again(&mut self, frame: &ClientFrame<'_>, mut hello: Hello, caller: Caller, ctx: &mut Ctx) {
        if let Err(refusal) = hello.resume() {
            return self.refuse(Some(frame), &refusal);
        }
        let id = frame.id.as_deref().map(str::to_owned);
        hello.device_id.get_or_insert(caller.device);
        let Some(token) = hello.token.take() else {
            let claims = Claims { user: caller.user, name: None, admin: false, expires_at: clock::now() };
            return self.join(claims, id, Some(hello), ctx);
        };
        let within = trace::current_id();
        ctx.spawn(self.verify(token).into_actor(self).map(move |verified, session, ctx| {
            let refusal = match verified {
                Ok(claims) if claims.user == caller.user => {
                    session.socket.set_expiry(claims.expires_at);
                    return session.join(claims, id, Some(hello), ctx);
                }
                Ok(_) => Refusal::new(ErrorCode::Forbidden, "the token is another user's"),
                Err(refusal) => refusal,
            };
            session.gateway.counts.refuse(Some("session:hello"), refusal.code);
            let refusal = refusal.traced(within);
            session.socket.push(match id {
                Some(id) => Frame::reply_err(&id, &refusal),
                None => Frame::error_event(Some("session:hello"), &refusal),
            });
        }));
    }

    fn refresh(&mut self, frame: &ClientFrame<'_>, token: String, user: UserId, span: Span, ctx: &mut Ctx) {
        let verifying = self.verify(token);
        let socket = self.socket.clone();
        self.answer(
            frame,
            async move {
                let claims = verifying.await?;
                if claims.user != user {
                    return Err(Refusal::new(ErrorCode::Forbidden, "the token is another user's"));
                }
                socket.set_expiry(claims.expires_at);
                let mut data = Writer::with_capacity(64);
                data.raw("{\"expiresAt\":").value(&claims.expires_at).raw("}");
                Ok(data.done())
            },
            span,
            ctx,
        );
    }

    fn signal(&mut self, frame: &ClientFrame<'_>, signal: SignalData, caller: Caller, key: Option<CommandKey>) {
        let receipt = Receipt::Here {
            outbox: self.socket.clone(),
            session: self.socket.id.clone(),
            id: frame.id.as_deref().map(str::to_owned),
        };
        dispatch::signal(&self.gateway, signal, caller, key, receipt);
    }
}

/// The command's name, if there is such a command: what a client makes up goes into no log and no span.
fn name_of(frame: &ClientFrame<'_>) -> &'static str {
    frame.spec().map_or("", |spec| spec.event)
}

/// A refusal is the client's affair, unless it is for a fault or a loss of ours.
fn log_refusal(command: &str, refusal: &Refusal) {
    let code = refusal.code.as_str();
    if matches!(refusal.code, ErrorCode::Internal | ErrorCode::Unavailable) {
        tracing::info!(command, code, why = &*refusal.message, "command refused");
    } else {
        tracing::debug!(command, code, "command refused");
    }
}

/// What the frame's key, if it has one, makes of its command.
fn command_key(frame: &ClientFrame<'_>, user: &UserId) -> Result<Option<CommandKey>, Refusal> {
    let Some(key) = frame.key()? else { return Ok(None) };
    key_for(Some(key), user, frame.spec()?, || serde_json::from_str(frame.data()))
}
