//! The softphone and the client module: files embedded in the binary.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{Method, header},
    web,
};
use rust_embed::RustEmbed;

use super::rest::problem;
use crate::wire::{ErrorCode, Refusal};

#[derive(RustEmbed)]
#[folder = "web/"]
struct Assets;

/// What the page may load and reach: itself and its own sockets. Media come from the camera and from peers.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    media-src 'self' blob: mediastream:; connect-src 'self' ws: wss:; manifest-src 'self'; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";

/// `GET /` and everything below that is a file of the page.
pub async fn serve(request: HttpRequest) -> HttpResponse {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return no_such_page();
    }
    let path = request.path().trim_start_matches('/');
    let path = if path.is_empty() { "index.html" } else { path };
    let Some(file) = Assets::get(path) else {
        return no_such_page();
    };
    let tag =
        file.metadata.sha256_hash().iter().take(8).fold(String::from("\""), |tag, byte| tag + &format!("{byte:02x}"))
            + "\"";
    let unchanged =
        request.headers().get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut response = if unchanged { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response
        .insert_header((header::CONTENT_TYPE, content_type(path)))
        .insert_header((header::ETAG, tag))
        // A page of one version must not run with modules of another: ask each time, it costs a 304.
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        // The other headers of a page are those of every answer, see `headers.rs`.
        .insert_header((header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY));
    if unchanged { response.finish() } else { response.body(file.data.into_owned()) }
}

fn no_such_page() -> HttpResponse {
    problem(&Refusal::new(ErrorCode::NotFound, "there is no such page"))
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("json" | "webmanifest") => "application/json",
        Some("ts") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// Everything that no other route takes.
pub fn routes(config: &mut web::ServiceConfig) {
    config.default_service(web::to(serve));
}
