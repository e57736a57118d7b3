//! The trace of a request, and its first span; in the answer, the header that names it.
//!
//! Only of the API: pages and probes are in none, and sockets have theirs by command. A request's path is never in a span,
//! only the pattern that it matched: a path may hold a key.

use actix_web::{
    dev::{ServiceRequest, ServiceResponse},
    http::header::{HeaderMap, HeaderName, HeaderValue},
};

use crate::{
    trace::{self, Kind, Span, TraceContext},
    wire::ErrorCode,
};

/// Where requests are traced.
const TRACED: &str = "/api/v1/";
const TRACEPARENT: &str = "traceparent";
const TRACE_ID: HeaderName = HeaderName::from_static("x-trace-id");

/// Begins or goes on with a trace.
pub(super) fn begin(request: &ServiceRequest) -> (Option<TraceContext>, Span) {
    if !request.path().starts_with(TRACED) {
        return (None, Span::none());
    }
    let (context, mut span) = trace::receive(parent(request.headers()), "request", Kind::Server);
    span.note(|span| {
        span.set("http.request.method", request.method().as_str());
    });
    (Some(context), span)
}

/// Says in the answer which trace it was, and in the span what became of the request.
pub(super) fn finish<B>(response: &mut ServiceResponse<B>, within: Option<TraceContext>, span: &mut Span) {
    let Some(context) = within else { return };
    span.note(|span| {
        let request = response.request();
        let pattern = request.match_pattern();
        let route = pattern.as_deref().unwrap_or("/api/v1");
        span.rename(format!("{} {route}", request.method()))
            .set("http.route", route)
            .set("http.response.status_code", u64::from(response.status().as_u16()));
    });
    let refused = response.response().extensions().get::<ErrorCode>().copied();
    if let Some(code) = refused {
        span.fail(code.as_str());
        let _within = trace::enter(within);
        // A refusal is the client's affair, unless it is for a fault or a loss of ours.
        if matches!(code, ErrorCode::Internal | ErrorCode::Unavailable) {
            tracing::info!(code = code.as_str(), "request refused");
        } else {
            tracing::debug!(code = code.as_str(), "request refused");
        }
    }
    if let Ok(id) = HeaderValue::from_str(&context.trace.to_string()) {
        response.headers_mut().insert(TRACE_ID, id);
    }
}

/// What the client says it belongs to. Two such headers are as good as none, says the standard.
fn parent(headers: &HeaderMap) -> Option<TraceContext> {
    let mut all = headers.get_all(TRACEPARENT);
    let only = all.next().filter(|_| all.next().is_none())?;
    TraceContext::parse(only.to_str().ok()?)
}
