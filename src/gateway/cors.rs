//! CORS (the Fetch standard): which pages may read what REST answers.
//!
//! The same exact list as for sockets, see [`super::auth::origin_allowed`]: `CARILLON_ALLOWED_ORIGINS`. Credentials of the
//! browser are not needed, tokens stand in a header, so none are allowed. A page that is not listed gets answers that
//! its browser keeps from it: nothing here protects the server from whoever is no browser.

use actix_web::{
    HttpResponse,
    http::{
        Method, StatusCode,
        header::{self, HeaderMap, HeaderValue},
    },
};

use super::{auth::normalized_origin, rest::problem};
use crate::wire::{ErrorCode, Refusal};

/// Where pages of other origins may read.
const READABLE: &str = "/api/v1/";
/// What a page may ask with.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");
const REQUEST_HEADERS: HeaderValue =
    HeaderValue::from_static("authorization, content-type, idempotency-key, traceparent");
/// What it may see besides the usual.
const RESPONSE_HEADERS: HeaderValue = HeaderValue::from_static("location, retry-after, x-trace-id");
/// How long a browser keeps the answer, in seconds. Longer, and a change of the list takes that long to be noticed;
/// shorter, and each request costs two.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// What a request's origin makes of its answer.
pub enum Verdict {
    /// It is not about CORS.
    Plain,
    /// A listed page; as its browser wrote its origin.
    Listed(HeaderValue),
    /// A page that may not read the answer.
    Foreign,
    /// An answer by itself: a preflight.
    Preflight(HttpResponse),
}

/// Looks at a request.
pub fn verdict(method: &Method, path: &str, headers: &HeaderMap, allowed: &[String]) -> Verdict {
    if !path.starts_with(READABLE) {
        return Verdict::Plain;
    }
    let preflight = *method == Method::OPTIONS && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let Some(origin) = headers.get(header::ORIGIN) else { return Verdict::Foreign };
    let listed = origin.to_str().ok().and_then(normalized_origin).is_some_and(|origin| allowed.contains(&origin));
    match (listed, preflight) {
        (true, false) => Verdict::Listed(origin.clone()),
        (true, true) => {
            let mut answer = HttpResponse::NoContent();
            answer
                .insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, METHODS))
                .insert_header((header::ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS))
                .insert_header((header::ACCESS_CONTROL_MAX_AGE, MAX_AGE));
            let mut answer = answer.finish();
            Verdict::Listed(origin.clone()).mark(answer.headers_mut());
            vary_more(answer.headers_mut());
            Verdict::Preflight(answer)
        }
        (false, false) => Verdict::Foreign,
        (false, true) => {
            let mut answer = problem(&Refusal::new(ErrorCode::Forbidden, "this origin may not read answers"));
            debug_assert_eq!(answer.status(), StatusCode::FORBIDDEN);
            Verdict::Foreign.mark(answer.headers_mut());
            vary_more(answer.headers_mut());
            Verdict::Preflight(answer)
        }
    }
}

impl Verdict {
    /// Puts it into the headers of the answer.
    pub fn mark(&self, headers: &mut HeaderMap) {
        match self {
            Self::Plain | Self::Preflight(_) => return,
            Self::Listed(origin) => {
                headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
                headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, RESPONSE_HEADERS);
            }
            Self::Foreign => {}
        }
        // For caches: the answer is another one for another page, and for none.
        headers.append(header::VARY, HeaderValue::from_static("origin"));
    }
}

fn vary_more(headers: &mut HeaderMap) {
    let more = "access-control-request-method, access-control-request-headers";
    headers.append(header::VARY, HeaderValue::from_static(more));
}
