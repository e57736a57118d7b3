//! REST: calls and their history with users' tokens; groups, service keys and the audit log with a service key; health,
//! metrics, and how errors look over HTTP.

pub mod admin;
pub mod audit;
pub mod calls;
mod cursor;
pub mod groups;
pub mod health;
pub mod history;
pub(super) mod ice;
mod livekit_webhook;
pub mod metrics;
mod params;
pub mod privileged;
pub mod quality;
mod ranges;
pub mod recordings;
mod service;
pub mod service_keys;
pub mod stats;
pub mod webhooks;

use std::time::Duration;

use actix_web::{
    HttpResponse, HttpResponseBuilder,
    dev::ServiceResponse,
    http::{StatusCode, header},
    middleware::ErrorHandlerResponse,
    web,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{limits::retry_after, openapi};
use crate::{
    trace::{self, TraceId},
    wire::{ErrorCode, Refusal},
};

/// The media type of RFC 9457.
const PROBLEM: &str = "application/problem+json";

/// A refusal, as in RFC 9457.
#[derive(Serialize, ToSchema)]
pub(in crate::gateway) struct Problem<'a> {
    /// Names the kind of refusal: `urn:carillon:error:` and the code.
    #[serde(rename = "type")]
    kind: String,
    /// The name of the status.
    title: &'static str,
    /// The status of the answer.
    status: u16,
    /// What is wrong, for people; may change.
    detail: &'a str,
    /// What kind of refusal it is, for programs.
    code: ErrorCode,
    /// The trace id of the request, as in the header `X-Trace-Id`: 32 hexadecimal digits.
    #[schema(value_type = Option<String>)]
    #[serde(rename = "traceId", skip_serializing_if = "Option::is_none")]
    trace_id: Option<TraceId>,
}

/// A refusal as `application/problem+json`.
pub fn problem(refusal: &Refusal) -> HttpResponse {
    let status = StatusCode::from_u16(refusal.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    problem_as(status, refusal)
}

/// The same with a status of HTTP's own.
fn problem_as(status: StatusCode, refusal: &Refusal) -> HttpResponse {
    let body = Problem {
        kind: format!("urn:carillon:error:{}", refusal.code.as_str()),
        title: status.canonical_reason().unwrap_or("Error"),
        status: status.as_u16(),
        detail: &refusal.message,
        code: refusal.code,
        trace_id: trace::current_id(),
    };
    let mut response = HttpResponseBuilder::new(status);
    response.insert_header((header::CONTENT_TYPE, PROBLEM));
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    if status == StatusCode::UNAUTHORIZED {
        response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
    }
    if refusal.code == ErrorCode::RateLimited {
        // Whole seconds, and never before it is time.
        let wait = retry_after(refusal).unwrap_or(Duration::from_secs(1));
        response.insert_header((header::RETRY_AFTER, wait.as_millis().div_ceil(1000).max(1).to_string()));
    }
    let mut answer = response.body(serde_json::to_vec(&body).unwrap_or_default());
    // For whoever sees the answer on its way out.
    answer.extensions_mut().insert(refusal.code);
    answer
}

/// The longest body of a request, but where more is said.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// All routes below `/api/v1`, health, and metrics.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .app_data(web::PayloadConfig::new(MAX_BODY_BYTES))
        .service(web::resource("/livez").route(web::get().to(health::livez)))
        .service(web::resource("/readyz").route(web::get().to(health::readyz)))
        .service(web::resource("/metrics").route(web::get().to(metrics::metrics)))
        .service(
            web::scope("/api/v1")
                .configure(history::routes)
                .configure(recordings::routes)
                .configure(stats::routes)
                .configure(quality::routes)
                .configure(calls::routes)
                .configure(groups::routes)
                .configure(service_keys::routes)
                .configure(audit::routes)
                .configure(admin::routes)
                .configure(webhooks::routes)
                .configure(ice::routes)
                .configure(livekit_webhook::routes)
                .configure(openapi::routes)
                .default_service(web::to(no_such_route)),
        );
}

/// Gives the framework's own refusals (a method that is not there, a body that is too large) the form of ours.
pub fn as_problem<B>(response: ServiceResponse<B>) -> actix_web::Result<ErrorHandlerResponse<B>> {
    let ours = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == PROBLEM);
    if ours {
        return Ok(ErrorHandlerResponse::Response(response.map_into_left_body()));
    }
    let status = response.status();
    let refusal = match status {
        StatusCode::NOT_FOUND => Refusal::new(ErrorCode::NotFound, "there is no such resource"),
        StatusCode::PAYLOAD_TOO_LARGE => Refusal::new(ErrorCode::TooLarge, "the body is too large"),
        StatusCode::METHOD_NOT_ALLOWED => Refusal::invalid("the resource does not have this method"),
        _ => Refusal::invalid("the request is not as documented"),
    };
    let (request, _) = response.into_parts();
    let mut answer = problem(&refusal);
    *answer.status_mut() = status;
    if status == StatusCode::METHOD_NOT_ALLOWED
        && let Some(methods) = openapi::allowed(request.path())
        && let Ok(methods) = header::HeaderValue::from_str(&methods)
    {
        answer.headers_mut().insert(header::ALLOW, methods);
    }
    Ok(ErrorHandlerResponse::Response(ServiceResponse::new(request, answer).map_into_right_body()))
}

async fn no_such_route() -> HttpResponse {
    problem(&Refusal::new(ErrorCode::NotFound, "there is no such resource"))
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl actix_web::ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        problem(self)
    }
}
