//! From a hello to a session that is attached to its user.

use actix::{Actor, ActorFutureExt, AsyncContext, WrapFuture};
use tokio::sync::oneshot;

use super::{Ctx, JOIN_ATTEMPTS, Membership, Phase, Session, auth_refusal};
use crate::{
    actors::{
        Outbox,
        messages::Resume,
        user::{Join, UserActor, Welcome},
    },
    clock,
    domain::{CallId, DeviceId, UserId},
    gateway::{
        auth::{AuthError, Claims},
        close_code::Close,
        limits::{Kind, retry_after},
        protocol::{ClientFrame, Hello},
    },
    wire::{ErrorCode, Frame, Refusal, events::SessionWelcome, frame::Writer},
};

/// One try to attach a session.
struct Attempt {
    user: UserId,
    device: DeviceId,
    id: Option<String>,
    resume: Vec<(CallId, Resume)>,
    left: usize,
}

impl Session {
    pub(super) fn hello(&mut self, frame: &ClientFrame<'_>, hello: Hello, ctx: &mut Ctx) {
        let id = frame.id.as_deref().map(str::to_owned);
        if let Err(refusal) = hello.resume() {
            return self.refuse(Some(frame), &refusal);
        }
        let Some(token) = hello.token.clone() else {
            if let Phase::Authorized(claims) = &self.phase {
                let claims = claims.clone();
                return self.join(claims, id, Some(hello), ctx);
            }
            let refusal = Refusal::new(ErrorCode::Unauthenticated, "a token is needed");
            self.refuse(Some(frame), &refusal);
            return self.socket.close_with(Close::Unauthenticated);
        };
        if let Err(refusal) = self.gateway.limits.may_authenticate(self.address) {
            return self.turn_away(id.as_deref(), &refusal);
        }
        self.phase = Phase::Joining;
        let gateway = self.gateway.clone();
        let verifying = async move { gateway.verifier.verify(&token, clock::now()).await };
        ctx.spawn(verifying.into_actor(self).map(move |verified, session, ctx| match verified {
            Ok(claims) => {
                if let Err(refusal) = session.gateway.limits.by_user_alone(Kind::Connect, &claims.user) {
                    return session.turn_away(id.as_deref(), &refusal);
                }
                session.socket.set_expiry(claims.expires_at);
                session.join(claims, id, Some(hello), ctx);
            }
            Err(error) => session.fail(id.as_deref(), error),
        }));
    }

    /// Refuses a hello by a limit.
    fn turn_away(&self, id: Option<&str>, refusal: &Refusal) {
        self.gateway.counts.refuse(Some("session:hello"), refusal.code);
        self.socket.push(match id {
            Some(id) => Frame::reply_err(id, refusal),
            None => Frame::error_event(Some("session:hello"), refusal),
        });
        self.close_limited(retry_after(refusal).unwrap_or_default());
    }

    fn fail(&mut self, id: Option<&str>, error: AuthError) {
        if matches!(error, AuthError::Unauthenticated(_)) {
            self.gateway.limits.on_bad_credentials(self.address);
        }
        let refusal = auth_refusal(error);
        self.gateway.counts.refuse(Some("session:hello"), refusal.code);
        self.socket.push(match id {
            Some(id) => Frame::reply_err(id, &refusal),
            None => Frame::error_event(Some("session:hello"), &refusal),
        });
        let close = match error {
            AuthError::Expired => Close::TokenExpired,
            AuthError::Unauthenticated(_) => Close::Unauthenticated,
            AuthError::Unavailable => Close::RETRY_SOON,
        };
        self.socket.close_with(close);
    }

    /// Attaches the session to its user. `id`: of the hello to be answered; `None`: an event is sent instead.
    pub(super) fn join(&mut self, claims: Claims, id: Option<String>, hello: Option<Hello>, ctx: &mut Ctx) {
        self.phase = Phase::Joining;
        if let Some(name) = &claims.name {
            self.name = Some(name.as_str().into());
        }
        let resume = hello.as_ref().and_then(|hello| hello.resume().ok()).unwrap_or_default();
        let device = match hello.and_then(|hello| hello.device_id) {
            Some(device) => device,
            None => match DeviceId::new(uuid::Uuid::new_v4().to_string()) {
                Ok(device) => device,
                Err(_) => return self.close(Close::RETRY_SOON, ctx),
            },
        };
        if self.listed.membership.as_ref().is_some_and(|membership| membership.device != device) {
            self.listed.leave();
        }
        self.gateway.node.directory.insert_session(self.socket.id.clone(), claims.user.clone(), self.socket.clone());
        self.try_join(Attempt { user: claims.user, device, id, resume, left: JOIN_ATTEMPTS }, ctx);
    }

    fn try_join(&mut self, attempt: Attempt, ctx: &mut Ctx) {
        let node = self.gateway.node.clone();
        let Attempt { user, device, .. } = &attempt;
        let addr = node.directory.user_or_insert(user, || UserActor::new(node.clone(), user.clone()).start());
        self.listed.membership = Some(Membership { user: user.clone(), device: device.clone(), addr: addr.clone() });
        let (joined, done) = oneshot::channel();
        // `do_send`: an actor that is just ending drops the message and with it `joined`, which is noticed below.
        addr.do_send(Join {
            session: self.socket.id.clone(),
            device: device.clone(),
            outbox: self.socket.clone(),
            resume: attempt.resume.clone(),
            welcome: self.welcome(&attempt),
            joined,
        });
        ctx.spawn(done.into_actor(self).map(move |outcome, session, ctx| match outcome {
            Ok(Ok(())) => session.on_joined(ctx),
            Ok(Err(refusal)) => {
                session.gateway.counts.refuse(Some("session:hello"), refusal.code);
                session.socket.push(match &attempt.id {
                    Some(id) => Frame::reply_err(id, &refusal),
                    None => Frame::error_event(Some("session:hello"), &refusal),
                });
                session.socket.close_with(Close::RETRY_SOON);
            }
            Err(_) if attempt.left > 0 => {
                session.try_join(Attempt { left: attempt.left - 1, ..attempt }, ctx);
            }
            Err(_) => session.close(Close::RETRY_SOON, ctx),
        }));
    }

    /// Makes the first frame, once the user's open calls are known.
    fn welcome(&self, attempt: &Attempt) -> Welcome {
        let session = self.socket.id.clone();
        let node = self.gateway.node.id.clone();
        let ping_interval = self.gateway.ping_interval.as_secs();
        let media_server = self.gateway.node.media.is_configured();
        let Attempt { user, device, id, .. } = attempt;
        let (user, device, id) = (user.clone(), device.clone(), id.clone());
        Box::new(move |calls| {
            let data = SessionWelcome {
                session_id: &session,
                user_id: &user,
                device_id: &device,
                node_id: &node,
                server_time: clock::now(),
                ping_interval_secs: ping_interval,
                media_server,
                active_calls: calls,
            };
            match id {
                Some(id) => {
                    let mut out = Writer::with_capacity(256);
                    out.value(&data);
                    Frame::reply_ok(&id, out.done().text())
                }
                None => Frame::of(&data),
            }
        })
    }

    fn on_joined(&mut self, ctx: &mut Ctx) {
        if !matches!(self.phase, Phase::Joining) {
            return;
        }
        self.phase = Phase::Ready;
        self.gateway.counts.welcome();
        if let Some(membership) = &self.listed.membership {
            tracing::debug!(
                user.id = %membership.user, session.id = %self.socket.id, node.id = %self.gateway.node.id, "session ready"
            );
        }
        // What was read meanwhile begins now, as far as its commands are measured.
        self.read_at = clock::monotonic();
        for text in std::mem::take(&mut self.early) {
            self.on_command(&text, ctx);
        }
    }
}
