//! Commands of a session that is ready: handed to the actors, answered when they have.

use std::future::Future;

use actix::{ActorFutureExt, AsyncContext, WrapFuture};

use super::{Ctx, MAX_IN_FLIGHT, Session, auth_refusal};
use crate::{
    actors::{
        Answer, Ask, Caller, Outbox,
        messages::{Receipt, SignalRequest},
        start::StartRequest,
    },
    clock,
    domain::{CallId, CallMode, CallType, DeviceId, Start, UserId},
    gateway::{
        auth::Claims,
        protocol::{ClientFrame, Hello, ReplyShape, Request, SignalData, StartData, StartMode},
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
            session: self.socket.id.clone(),
            node: self.gateway.node.id.clone(),
        })
    }

    pub(super) fn on_command(&mut self, text: &str, ctx: &mut Ctx) {
        let frame = match ClientFrame::parse(text) {
            Ok(frame) => frame,
            Err(refusal) => return self.refuse(None, &refusal),
        };
        let (request, caller) = match (frame.request(), self.caller()) {
            (Ok(request), Some(caller)) => (request, caller),
            (Err(refusal), _) => return self.refuse(Some(&frame), &refusal),
            (_, None) => return,
        };
        if let Request::Signal(signal) = request {
            return self.signal(&frame, signal, caller);
        }
        if self.in_flight >= MAX_IN_FLIGHT {
            let refusal = Refusal::new(ErrorCode::RateLimited, "too many commands at once");
            return self.refuse(Some(&frame), &refusal);
        }
        match request {
            Request::Hello(hello) => self.hello_again(&frame, hello, caller, ctx),
            Request::Refresh { token } => self.refresh(&frame, token, caller.user, ctx),
            Request::Start(data) => self.start(&frame, *data, caller, ctx),
            Request::Call { call, ask, reply } => {
                let asked = self.gateway.node.ask(&call, caller, ask);
                let gateway = self.gateway.clone();
                let device = self.listed.membership.as_ref().map(|m| m.device.clone());
                self.answer(
                    &frame,
                    async move {
                        let answer = asked.await?;
                        Ok(shape(reply, &answer, device.as_ref(), &gateway.media()))
                    },
                    ctx,
                );
            }
            Request::Token { call } => self.token(&frame, call, caller, ctx),
            Request::Presence { users } => self.presence(&frame, users, ctx),
            Request::NeedsMedia => {
                let refusal = Refusal::new(ErrorCode::MediaUnavailable, "no media server is configured");
                self.refuse(Some(&frame), &refusal);
            }
            Request::Signal(_) => {}
        }
    }

    /// Answers a command when `outcome` is there.
    fn answer(&mut self, frame: &ClientFrame<'_>, outcome: impl Future<Output = Outcome> + 'static, ctx: &mut Ctx) {
        let id = frame.id.as_deref().map(str::to_owned);
        let event = if id.is_none() { Some(frame.event.clone().into_owned()) } else { None };
        self.in_flight += 1;
        ctx.spawn(outcome.into_actor(self).map(move |outcome, session, _| {
            session.in_flight -= 1;
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
        let gateway = self.gateway.clone();
        let verifying = async move { gateway.verifier.verify(&token, clock::now()).await };
        ctx.spawn(verifying.into_actor(self).map(move |verified, session, ctx| {
            let refusal = match verified {
                Ok(claims) if claims.user == caller.user => {
                    session.socket.set_expiry(claims.expires_at);
                    return session.join(claims, id, Some(hello), ctx);
                }
                Ok(_) => Refusal::new(ErrorCode::Forbidden, "the token is another user's"),
                Err(error) => auth_refusal(error),
            };
            session.socket.push(match id {
                Some(id) => Frame::reply_err(&id, &refusal),
                None => Frame::error_event(Some("session:hello"), &refusal),
            });
        }));
    }

    fn refresh(&mut self, frame: &ClientFrame<'_>, token: String, user: UserId, ctx: &mut Ctx) {
        let gateway = self.gateway.clone();
        let socket = self.socket.clone();
        self.answer(
            frame,
            async move {
                let claims = gateway.verifier.verify(&token, clock::now()).await.map_err(auth_refusal)?;
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

    fn start(&mut self, frame: &ClientFrame<'_>, data: StartData, caller: Caller, ctx: &mut Ctx) {
        if data.mode == Some(StartMode::Sfu) {
            let refusal = Refusal::new(ErrorCode::MediaUnavailable, "no media server is configured");
            return self.refuse(Some(frame), &refusal);
        }
        let own_id = data.call_id.is_some();
        let ring_timeout = data.ring_timeout();
        let call = match data.call_id.map_or_else(|| CallId::new(uuid::Uuid::now_v7().to_string()), Ok) {
            Ok(call) => call,
            Err(_) => return self.refuse(Some(frame), &Refusal::invalid("callId")),
        };
        let request = StartRequest {
            start: Start {
                call,
                call_type: data.call_type.unwrap_or(CallType::Audio),
                mode: CallMode::P2p,
                initiator: caller.user.clone(),
                device: caller.device.clone(),
                group: data.group_id,
                callees: data.callee_ids.unwrap_or_default(),
                ring_timeout,
                offer: data.offer,
                metadata: data.metadata,
            },
            ring: data.ring.unwrap_or(true),
            own_id,
            caller,
        };
        let answered = self.gateway.node.start_call_for(request);
        let gateway = self.gateway.clone();
        self.answer(
            frame,
            async move {
                let answer = answered.await.map_err(|_| Refusal::unavailable("the node is stopping"))??;
                Ok(shape(ReplyShape::CallAndMedia, &answer, None, &gateway.media()))
            },
            ctx,
        );
    }

    fn signal(&mut self, frame: &ClientFrame<'_>, signal: SignalData, caller: Caller) {
        let receipt = Receipt::Here {
            outbox: self.socket.clone(),
            session: caller.session,
            id: frame.id.as_deref().map(str::to_owned),
        };
        self.gateway.node.signal(SignalRequest {
            call: signal.call,
            from: caller.user,
            from_device: caller.device,
            kind: signal.kind,
            to: signal.to,
            to_device: signal.to_device,
            payload: signal.payload,
            receipt,
        });
    }

    fn token(&mut self, frame: &ClientFrame<'_>, call: CallId, caller: Caller, ctx: &mut Ctx) {
        let asked = self.gateway.node.ask(&call, caller, Ask::Get);
        let gateway = self.gateway.clone();
        self.answer(
            frame,
            async move {
                asked.await?;
                let mut data = Writer::with_capacity(128);
                data.raw("{\"media\":").value(&gateway.media()).raw("}");
                Ok(data.done())
            },
            ctx,
        );
    }

    fn presence(&mut self, frame: &ClientFrame<'_>, users: Vec<UserId>, ctx: &mut Ctx) {
        let bus = self.gateway.node.bus().cloned();
        self.answer(
            frame,
            async move {
                let bus = bus.ok_or_else(|| Refusal::unavailable("the node is starting"))?;
                let online = bus.online(&users).await.map_err(|error| Refusal::unavailable(error.to_string()))?;
                let there: Vec<&UserId> =
                    users.iter().zip(online).filter(|(_, on)| *on).map(|(user, _)| user).collect();
                let mut data = Writer::with_capacity(64);
                data.raw("{\"online\":").value(&there).raw("}");
                Ok(data.done())
            },
            ctx,
        );
    }
}

/// The data of a reply.
fn shape(reply: ReplyShape, answer: &Answer, device: Option<&DeviceId>, media: &crate::gateway::edge::Media) -> Frame {
    let mut out = Writer::with_capacity(1024);
    match (reply, answer) {
        (ReplyShape::Call, Answer::Call(call)) => {
            out.raw("{\"call\":").raw(call.text()).raw("}");
        }
        (ReplyShape::CallAndMedia, Answer::Call(call)) => {
            out.raw("{\"call\":").raw(call.text()).field("media", media).raw("}");
        }
        (ReplyShape::Events, Answer::Missed(missed)) => {
            let frames = device.map(|device| missed.for_device(device)).unwrap_or_default();
            out.raw("{\"events\":[");
            for (i, frame) in frames.iter().enumerate() {
                out.raw(if i > 0 { "," } else { "" }).raw(frame.text());
            }
            out.raw("]}");
        }
        _ => {
            out.raw("{}");
        }
    }
    out.done()
}
