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
    wire::{ErrorCode, Frame, Refusal, frame::Writer},
};

type Outcome = Result<Frame, Refusal>;

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
        if let Err(refusal) = self.admit(&frame.event) {
            return self.refuse_limited(Some(&frame), &refusal);
        }
        let (request, caller) = match (frame.request(), self.caller()) {
            (Ok(request), Some(caller)) => (request, caller),
            (Err(refusal), _) => return self.refuse(Some(&frame), &refusal),
            (_, None) => return,
        };
        let key = match command_key(&frame, &caller.user) {
            Ok(key) => key,
            Err(refusal) => return self.refuse(Some(&frame), &refusal),
        };
        if let Request::Signal(signal) = request {
            return self.signal(&frame, signal, caller, key);
        }
        if self.in_flight >= MAX_IN_FLIGHT {
            let refusal = Refusal::new(ErrorCode::RateLimited, "too many commands at once");
            return self.refuse_limited(Some(&frame), &refusal);
        }
        match request {
            Request::Hello(hello) => self.hello_again(&frame, hello, caller, ctx),
            Request::Refresh { token } => self.refresh(&frame, token, caller.user, ctx),
            request => match dispatch::send(&self.gateway, request, caller, self.name.as_deref(), key) {
                Ok(pending) => {
                    let gateway = self.gateway.clone();
                    self.answer(&frame, async move { pending.reply(&gateway).await }, ctx);
                }
                Err(refusal) => self.refuse(Some(&frame), &refusal),
            },
        }
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

    /// Answers a command when `outcome` is there.
    fn answer(&mut self, frame: &ClientFrame<'_>, outcome: impl Future<Output = Outcome> + 'static, ctx: &mut Ctx) {
        let id = frame.id.as_deref().map(str::to_owned);
        let event = if id.is_none() { Some(frame.event.clone().into_owned()) } else { None };
        let begun = self.gateway.counts.begin(&frame.event, self.read_at);
        self.in_flight += 1;
        ctx.spawn(outcome.into_actor(self).map(move |outcome, session, _| {
            session.in_flight -= 1;
            session.gateway.counts.end(begun, &outcome);
            match (id, outcome) {
                (Some(id), Ok(data)) => session.socket.push(Frame::reply_ok(&id, data.text())),
                (Some(id), Err(refusal)) => session.socket.push(Frame::reply_err(&id, &refusal)),
                (None, Ok(_)) => {}
                (None, Err(refusal)) => session.socket.push(Frame::error_event(event.as_deref(), &refusal)),
            }
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
            session.socket.push(match id {
                Some(id) => Frame::reply_err(&id, &refusal),
                None => Frame::error_event(Some("session:hello"), &refusal),
            });
        }));
    }

    fn refresh(&mut self, frame: &ClientFrame<'_>, token: String, user: UserId, ctx: &mut Ctx) {
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

/// What the frame's key, if it has one, makes of its command.
fn command_key(frame: &ClientFrame<'_>, user: &UserId) -> Result<Option<CommandKey>, Refusal> {
    let Some(key) = frame.key()? else { return Ok(None) };
    key_for(Some(key), user, frame.spec()?, || serde_json::from_str(frame.data()))
}
