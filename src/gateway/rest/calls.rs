//! Calls over REST: the commands of the socket, one request each, with a user's token.
//!
//! Owns how a command stands in a request; what it reads and does is in the table and the way that sockets use too.
//! A request has no session: whoever acts by REST alone is not told what happens, and a device that comes into a call
//! and has no session anywhere is counted as gone after a while.

use std::sync::{Arc, Mutex, PoisonError};

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};
use tokio::sync::oneshot;
use utoipa::ToSchema;

use crate::{
    actors::{Caller, CloseCause, Outbox, keyed::CommandKey, messages::Receipt},
    clock,
    domain::{CallId, DeviceId, Role, SessionId},
    gateway::{
        Gateway,
        address::ClientAddress,
        auth::{Claims, bearer},
        counts::Begun,
        dispatch::{self, Pending},
        limits::Kind,
        protocol::{IdempotencyKey, MAX_FRAME_BYTES, Request, SignalData, Spec, by_action, by_event, key_for},
        session::auth_refusal,
    },
    trace,
    wire::{ErrorCode, Frame, Refusal, call_object::ParticipantObject},
};

/// The header that names a command, so that it can be repeated (draft-ietf-httpapi-idempotency-key-header).
pub const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
/// The device of who names none: stable, so that what was begun by one request can be gone on with by the next.
const UNNAMED_DEVICE: &str = "rest";

/// Whom a request speaks for.
pub(super) async fn claims(request: &HttpRequest, gateway: &Gateway) -> Result<Claims, Refusal> {
    let header = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = header.and_then(bearer);
    let token = token.ok_or_else(|| Refusal::new(ErrorCode::Unauthenticated, "a user's token is needed"))?;
    gateway.verifier.verify(token, clock::now()).await.map_err(auth_refusal)
}

/// The same of a request that only reads; counted as one.
pub(super) async fn reader(request: &HttpRequest, gateway: &Gateway) -> Result<Claims, Refusal> {
    let claims = claims(request, gateway).await?;
    gateway.limits.by_user(Kind::Read, &claims.user, ClientAddress::of(request))?;
    Ok(claims)
}

/// A command as it stands in a request.
pub(super) struct Sent {
    begun: Begun,
    request: Request,
    caller: Caller,
    /// As the user's token has it.
    name: Option<String>,
    key: Option<CommandKey>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Acting {
    device_id: Option<DeviceId>,
}

/// Reads a command: its data are the body and, but for a start, the call of the path.
pub(super) async fn read(
    http: &HttpRequest,
    gateway: &Gateway,
    spec: &Spec,
    call: Option<&str>,
    body: &[u8],
) -> Result<Sent, Refusal> {
    let begun = gateway.counts.begin(spec.event, clock::monotonic());
    let sent = read_begun(http, gateway, spec, call, body, begun).await;
    sent.inspect_err(|refusal| gateway.counts.refuse(Some(spec.event), refusal.code))
}

async fn read_begun(
    http: &HttpRequest,
    gateway: &Gateway,
    spec: &Spec,
    call: Option<&str>,
    body: &[u8],
    begun: Begun,
) -> Result<Sent, Refusal> {
    let Claims { user, name, .. } = claims(http, gateway).await?;
    let kind = Kind::of_request(spec.event, http.method().is_safe());
    gateway.limits.by_user(kind, &user, ClientAddress::of(http))?;
    let data = data(call, body)?;
    let Acting { device_id } = serde_json::from_str(&data).map_err(|error| wrong(&error))?;
    let device = device_id.map_or_else(|| DeviceId::new(UNNAMED_DEVICE), Ok);
    let device = device.map_err(|error| Refusal::invalid(error.to_string()))?;
    let request = spec.read(&data)?;
    let key = http.headers().get(IDEMPOTENCY_KEY).map(|value| IdempotencyKey::from_header(value.as_bytes()));
    let key = key_for(key.transpose()?, &user, spec, || {
        let mut data: Value = serde_json::from_str(&data)?;
        // Over a socket it is the session that has the device: the same command by either way is one.
        if let Some(fields) = data.as_object_mut() {
            fields.remove("deviceId");
        }
        Ok(data)
    })?;
    let caller = Caller { user, device, session: None, node: gateway.node.id.clone() };
    Ok(Sent { begun, request, caller, name, key })
}

fn wrong(error: &serde_json::Error) -> Refusal {
    Refusal::invalid(format!("the body is not as documented: {error}"))
}

/// The body with the call's id in front. What it holds is not taken apart: payloads pass as they came.
fn data(call: Option<&str>, body: &[u8]) -> Result<String, Refusal> {
    let body = std::str::from_utf8(body).map_err(|_| Refusal::invalid("the body is not UTF-8"))?.trim_ascii();
    let body = if body.is_empty() { "{}" } else { body };
    let fields = body.strip_prefix('{').ok_or_else(|| Refusal::invalid("the body must be an object"))?;
    let Some(call) = call else { return Ok(body.to_owned()) };
    let call = CallId::new(call).map_err(|error| Refusal::invalid(error.to_string()))?;
    let comma = if fields.trim_ascii_start().starts_with('}') { "" } else { "," };
    // An id of a call holds nothing that would have to be escaped.
    Ok(format!("{{\"callId\":\"{call}\"{comma}{fields}"))
}

fn ok(data: &Frame) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "application/json"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(data.text().to_owned())
}

/// The reply to any command but a signal; of a start with the id that was asked for.
async fn ask(gateway: &Gateway, sent: Sent) -> Result<(Option<CallId>, Frame), Refusal> {
    let pending = dispatch::send(gateway, sent.request, sent.caller, sent.name.as_deref(), sent.key)?;
    let begun = if let Pending::Begun { call, .. } = &pending { Some(call.clone()) } else { None };
    Ok((begun, pending.reply(gateway).await?))
}

/// Carries out any command but a signal.
pub(super) async fn carry_out(gateway: &Gateway, sent: Sent) -> Result<HttpResponse, Refusal> {
    let counted = sent.begun;
    let outcome = ask(gateway, sent).await;
    gateway.counts.end(counted, &outcome);
    let (begun, data) = outcome?;
    let mut response = ok(&if begun.is_some() { with_listen(&data) } else { data.clone() });
    if let Some(call) = begun.filter(|call| is_about(&data, call))
        && let Ok(location) = header::HeaderValue::from_str(&format!("/api/v1/calls/{call}"))
    {
        *response.status_mut() = actix_web::http::StatusCode::CREATED;
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// A start's reply with where its events are heard: over a socket to this address, on whichever node.
fn with_listen(data: &Frame) -> Frame {
    let fields = data.text().strip_suffix('}').unwrap_or_default();
    Frame::from(format!("{fields},\"listen\":{{\"url\":\"/ws\",\"protocol\":\"carillon.v1\"}}}}"))
}

/// Whether a reply holds this call, and not another that the start became.
fn is_about(data: &Frame, call: &CallId) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Named {
        call_id: CallId,
    }
    #[derive(Deserialize)]
    struct Reply {
        call: Named,
    }
    serde_json::from_str::<Reply>(data.text()).is_ok_and(|reply| reply.call.call_id == *call)
}

/// Relays a signal and waits for the word of the call's owner.
async fn relay(gateway: &Gateway, signal: SignalData, sent: (Caller, Option<CommandKey>)) -> Result<Frame, Refusal> {
    let (told, outcome) = oneshot::channel();
    let session = SessionId::new(uuid::Uuid::now_v7().to_string()).map_err(|e| Refusal::invalid(e.to_string()))?;
    let receipt = Receipt::Here { outbox: Arc::new(Word(Mutex::new(Some(told)))), session, id: Some(String::new()) };
    {
        // As over a socket, a signal is in no trace on its way; the request is.
        let _nowhere = trace::enter(None);
        dispatch::signal(gateway, signal, sent.0, sent.1, receipt);
    }
    let word = outcome.await.map_err(|_| Refusal::unavailable("the signal was lost on its way"))?;
    #[derive(Deserialize)]
    struct Reply {
        error: Option<Refusal>,
    }
    match serde_json::from_str::<Reply>(word.text()) {
        Ok(Reply { error: None }) => Ok(Frame::from("{}".to_owned())),
        Ok(Reply { error: Some(refusal) }) => Err(refusal),
        Err(_) => Err(Refusal::new(ErrorCode::Internal, "the outcome cannot be read")),
    }
}

/// In place of a socket: takes the one reply that a request waits for.
struct Word(Mutex<Option<oneshot::Sender<Frame>>>);

impl Outbox for Word {
    fn push(&self, frame: Frame) {
        if let Some(told) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // The client may have gone meanwhile.
            let _ = told.send(frame);
        }
    }

    fn close(&self, _: CloseCause) {}
}

async fn start(http: HttpRequest, body: web::Bytes, gateway: web::Data<Gateway>) -> Result<HttpResponse, Refusal> {
    let sent = read(&http, &gateway, by_event("call:start")?, None, &body).await?;
    carry_out(&gateway, sent).await
}

pub(super) async fn act(
    http: HttpRequest,
    path: web::Path<(String, String)>,
    body: web::Bytes,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Refusal> {
    let (call, action) = path.into_inner();
    let spec = by_action(&action).ok_or_else(|| Refusal::new(ErrorCode::NotFound, "there is no such resource"))?;
    let sent = read(&http, &gateway, spec, Some(&call), &body).await?;
    match sent.request {
        Request::Signal(signal) => Ok(ok(&relay(&gateway, signal, (sent.caller, sent.key)).await?)),
        request => carry_out(&gateway, Sent { request, ..sent }).await,
    }
}

async fn get(http: HttpRequest, path: web::Path<String>, gateway: web::Data<Gateway>) -> Result<HttpResponse, Refusal> {
    let sent = read(&http, &gateway, by_event("call:get")?, Some(&path), b"").await?;
    carry_out(&gateway, sent).await
}

async fn participants(
    http: HttpRequest,
    path: web::Path<String>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Refusal> {
    #[derive(Deserialize)]
    struct Call {
        participants: Box<RawValue>,
    }
    #[derive(Deserialize)]
    struct Reply {
        call: Call,
    }
    let sent = read(&http, &gateway, by_event("call:get")?, Some(&path), b"").await?;
    let counted = sent.begun;
    let outcome = ask(&gateway, sent).await;
    gateway.counts.end(counted, &outcome);
    let (_, data) = outcome?;
    let unreadable = |_| Refusal::new(ErrorCode::Internal, "the call cannot be read");
    let Reply { call } = serde_json::from_str(data.text()).map_err(unreadable)?;
    Ok(ok(&Frame::from(format!("{{\"participants\":{}}}", call.participants))))
}

/// The participants of a call.
#[derive(ToSchema)]
#[expect(dead_code, reason = "they are cut out of the call object as text")]
pub(in crate::gateway) struct Participants {
    /// In the order they came to it.
    participants: Vec<ParticipantObject<'static>>,
}

/// What a change of a participant is about: one thing at a time, as on a socket: media flags, hand, hold or role.
#[derive(Deserialize, ToSchema)]
#[schema(as = ParticipantChange)]
#[serde(rename_all = "camelCase")]
pub(in crate::gateway) struct Change {
    /// Whether audio is sent.
    audio: Option<bool>,
    /// Whether video is sent.
    video: Option<bool>,
    /// Whether a screen is shared.
    screen: Option<bool>,
    /// Whether the hand is up.
    hand_raised: Option<bool>,
    /// Whether the call is put on hold.
    held: Option<bool>,
    /// The role that the host gives.
    role: Option<Role>,
}

/// The command that a change stands for, and its data: the body but for what is named otherwise on a socket, so that the
/// same command by either way is one.
fn change(body: &[u8], whom: &str) -> Result<(&'static str, String), Refusal> {
    let body = data(None, body)?;
    let Change { audio, video, screen, hand_raised, held, role } =
        serde_json::from_str(&body).map_err(|error| wrong(&error))?;
    let media = [audio, video, screen].iter().any(Option::is_some);
    let mut fields: Map<String, Value> = serde_json::from_str(&body).map_err(|error| wrong(&error))?;
    let event = match (media, hand_raised, held, role) {
        (true, None, None, None) => "call:media",
        (false, Some(raised), None, None) => {
            fields.remove("handRaised");
            fields.insert("raised".to_owned(), raised.into());
            "call:raise_hand"
        }
        (false, None, Some(held), None) => {
            fields.remove("held");
            if held { "call:hold" } else { "call:resume" }
        }
        (false, None, None, Some(_)) => {
            fields.insert("userId".to_owned(), whom.into());
            "call:role"
        }
        _ => {
            let allowed = "the body must change audio, video and screen, or handRaised, or held, or role";
            return Err(Refusal::invalid(allowed));
        }
    };
    Ok((event, Value::from(fields).to_string()))
}

/// Changes a participant: media flags, hand and hold are each one's own; a role is given by the host.
async fn patch_participant(
    http: HttpRequest,
    path: web::Path<(String, String)>,
    body: web::Bytes,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Refusal> {
    let (call, whom) = path.into_inner();
    let own = claims(&http, &gateway).await?.user;
    let whom = if whom == "me" { own.as_str() } else { &whom };
    let (event, data) = change(&body, whom)?;
    if whom != own.as_str() && event != "call:role" {
        return Err(Refusal::new(ErrorCode::Forbidden, "media, hand and hold of others are theirs to change"));
    }
    let sent = read(&http, &gateway, by_event(event)?, Some(&call), data.as_bytes()).await?;
    carry_out(&gateway, sent).await
}

/// `/calls`, below `/api/v1`.
pub fn routes(config: &mut web::ServiceConfig) {
    // As long as a frame may be: the same offers have to fit.
    let bound = || web::PayloadConfig::new(MAX_FRAME_BYTES);
    config
        .service(web::resource("/calls").app_data(bound()).route(web::post().to(start)))
        .service(web::resource("/calls/{callId}").route(web::get().to(get)))
        .service(web::resource("/calls/{callId}/participants").route(web::get().to(participants)))
        .service(
            web::resource("/calls/{callId}/participants/{userId}")
                .app_data(bound())
                .route(web::patch().to(patch_participant)),
        )
        .service(web::resource("/calls/{callId}/{action}").app_data(bound()).route(web::post().to(act)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_and_the_call_of_its_path_are_the_data_of_a_command() {
        for (body, wanted) in [
            ("", r#"{"callId":"c"}"#),
            (" { } ", r#"{"callId":"c" }"#),
            (r#"{"reason":"x"}"#, r#"{"callId":"c","reason":"x"}"#),
        ] {
            assert_eq!(data(Some("c"), body.as_bytes()).unwrap(), wanted);
        }
        assert_eq!(data(None, b"").unwrap(), "{}");
    }

    #[test]
    fn what_is_not_one_object_is_invalid() {
        for body in ["[]", "7", "null", "\"{}\"", "\u{feff}{}"] {
            assert_eq!(data(Some("c"), body.as_bytes()).unwrap_err().code, ErrorCode::Invalid, "{body}");
        }
        assert!(data(Some("c"), b"{\xff}").is_err());
        assert!(data(Some("a/b"), b"{}").is_err());
        // Put together they are no JSON, or name two calls.
        for body in ["{,}", "{}{}", "{", r#"{"callId":"d"}"#] {
            let data = data(Some("c"), body.as_bytes()).unwrap();
            assert!(by_action("accept").unwrap().read(&data).is_err(), "{body}");
        }
    }
}
