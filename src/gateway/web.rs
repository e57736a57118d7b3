//! The softphone, the client module and the operator console: files embedded in the binary.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{Method, header},
    web,
};
use reqwest::Url;
use rust_embed::RustEmbed;

use super::{Gateway, rest::problem};
use crate::wire::{ErrorCode, Refusal};

#[derive(RustEmbed)]
#[folder = "web/"]
struct Assets;

/// What the page may load and reach: itself and its own sockets, and the media server. Media come from the camera, from
/// peers and from there.
fn content_security_policy(media_server: Option<&str>) -> String {
    let media_server = media_server.and_then(origins).unwrap_or_default();
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
         media-src 'self' blob: mediastream:; connect-src 'self'{media_server}; manifest-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'"
    )
}

/// The sources of a policy for a media server's address: its client opens a socket there, and asks by HTTP why one could
/// not be opened.
fn origins(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    let (socket, plain) = match url.scheme() {
        "ws" => ("ws", "http"),
        "wss" => ("wss", "https"),
        _ => return None,
    };
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    // What could end a source is not in a host: the parser refuses it.
    let host = url.host()?;
    Some(format!(" {socket}://{host}{port} {plain}://{host}{port}"))
}

/// `GET /`, `GET /console/` and everything below that is a file of theirs.
pub async fn serve(request: HttpRequest, gateway: web::Data<Gateway>) -> HttpResponse {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return no_such_page();
    }
    let path = match request.path().trim_start_matches('/') {
        "" => "index.html",
        // What the console's page names is relative to it. So is this, for whoever puts a prefix before all of it.
        "console" => return moved("console/"),
        "console/" => "console/index.html",
        path => path,
    };
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
        .insert_header((header::CONTENT_SECURITY_POLICY, content_security_policy(gateway.node.media.public_url())));
    if unchanged { response.finish() } else { response.body(file.data.into_owned()) }
}

fn moved(to: &'static str) -> HttpResponse {
    HttpResponse::PermanentRedirect()
        .insert_header((header::LOCATION, to))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .finish()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn connect_src(media_server: Option<&str>) -> String {
        let policy = content_security_policy(media_server);
        policy.split("; ").find_map(|part| part.strip_prefix("connect-src ")).unwrap().to_owned()
    }

    #[test]
    fn the_page_reaches_its_node_and_the_media_server_and_nothing_else() {
        assert_eq!(connect_src(None), "'self'");
        assert_eq!(connect_src(Some("wss://media.example/a?b#c")), "'self' wss://media.example https://media.example");
        assert_eq!(connect_src(Some("ws://u:p@127.0.0.1:7880")), "'self' ws://127.0.0.1:7880 http://127.0.0.1:7880");
        assert_eq!(connect_src(Some("ws://[::1]:7880/")), "'self' ws://[::1]:7880 http://[::1]:7880");
        for wrong in ["", "media.example", "wss://a b", "wss://a;script-src *", "ftp://a"] {
            assert_eq!(connect_src(Some(wrong)), "'self'", "{wrong}");
        }
    }
}
