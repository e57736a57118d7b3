//! What every request passes on its way in, and every answer on its way out: whose address it is, whether it may try
//! credentials, CORS, and the headers that tell browsers what not to do.
//!
//! Outermost of all, so that refusals of the framework, pages and probes are treated alike. Only bytes that are no HTTP
//! at all are answered before it. An answer that has set one of these headers keeps its own.

use actix_web::{
    Error, HttpMessage,
    body::{EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    middleware::Next,
    web,
};

use super::{
    Gateway,
    address::{self, ClientAddress},
    cors::{self, Verdict},
    limits::{Kind, Limits},
    rest::problem,
};
use crate::{
    trace,
    wire::{ErrorCode, Refusal},
};

mod traced;

/// For answers that are no page: nothing may be loaded, run or framed, whatever a browser takes them for.
const NOTHING: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox",
);
/// A year, as browsers want it to believe that it is meant; not for subdomains, which may be somebody else's.
const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Whether browsers are told to come by https only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hsts {
    /// When a trusted proxy says that the request came by https.
    Auto,
    Always,
    Never,
}

/// See the module.
pub async fn pass<B: MessageBody + 'static>(
    gateway: web::Data<Gateway>,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let peer = request.peer_addr().map(|peer| peer.ip());
    let origin = peer.map(|peer| gateway.trusted_proxies.origin(peer, request.headers()));
    let (client, https) = (origin.map(|origin| origin.address), origin.is_some_and(|origin| origin.https));
    if let Some(client) = client {
        request.extensions_mut().insert(client);
    }
    if let (Some(peer), false) = (peer, gateway.trusted_proxies.trusts_somebody()) {
        address::notice_unknown_proxy(peer, request.headers());
    }
    let verdict = cors::verdict(request.method(), request.path(), request.headers(), &gateway.allowed_origins);
    let tries_credentials = request.headers().contains_key(header::AUTHORIZATION);
    let trying = client.filter(|_| tries_credentials);

    let (within, mut span) = traced::begin(&request);
    let mut response = if let Verdict::Preflight(answer) = verdict {
        return Ok(finished(request.into_response(answer), https, gateway.hsts).map_into_right_body());
    } else if let Some(Err(refusal)) = client.map(|client| admit(&gateway.limits, &request, client)) {
        let _within = trace::enter(within);
        request.into_response(problem(&refusal)).map_into_right_body()
    } else {
        trace::within(within, next.call(request)).await?.map_into_left_body()
    };
    traced::finish(&mut response, within, &mut span);
    if response.status() == StatusCode::UNAUTHORIZED
        && let Some(client) = trying
        // A token that has run out was a good one: whoever has it guesses nothing.
        && response.response().extensions().get::<ErrorCode>() != Some(&ErrorCode::TokenExpired)
    {
        gateway.limits.on_bad_credentials(client);
    }
    gateway.counts.on_answer(response.status());
    verdict.mark(response.headers_mut());
    Ok(finished(response, https, gateway.hsts))
}

/// What can be said before anybody has looked at the request. With credentials it is counted when it is known whose they
/// are.
fn admit(limits: &Limits, request: &ServiceRequest, address: ClientAddress) -> Result<(), Refusal> {
    let tries_credentials = request.headers().contains_key(header::AUTHORIZATION);
    match request.path() {
        // Probes must always be answered: an orchestrator ends a node that refuses them.
        "/livez" | "/readyz" | "/metrics" => Ok(()),
        path if tries_credentials && (path == "/ws" || path.starts_with("/api/")) => limits.may_authenticate(address),
        // Sockets are counted as such.
        "/ws" => Ok(()),
        _ if request.method().is_safe() => limits.by_address(Kind::Read, address),
        _ => limits.by_address(Kind::Write, address),
    }
}

fn finished<B>(mut response: ServiceResponse<B>, https: bool, hsts: Hsts) -> ServiceResponse<B> {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::CONTENT_SECURITY_POLICY, NOTHING),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (
            HeaderName::from_static("permissions-policy"),
            HeaderValue::from_static("camera=(self), microphone=(self), display-capture=(self)"),
        ),
        (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    ] {
        keep_or_insert(headers, name, value);
    }
    if hsts == Hsts::Always || (hsts == Hsts::Auto && https) {
        keep_or_insert(headers, header::STRICT_TRANSPORT_SECURITY, HSTS);
    }
    response
}

fn keep_or_insert(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) {
    if !headers.contains_key(&name) {
        headers.insert(name, value);
    }
}
