//! The page to try the REST API: Swagger UI, all of whose files are in the binary, at `/docs/api/`.

use std::sync::{Arc, LazyLock};

use actix_web::{HttpResponse, http::header, web};
use utoipa_swagger_ui::Config;

use crate::{
    gateway::rest::problem,
    wire::{ErrorCode, Refusal},
};

/// It loads its own files and asks its own node, and nothing else. Swagger UI writes styles into elements and keeps its
/// icons in `data:` addresses.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

static CONFIG: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| {
    // No validator: it would be another site, which is told of every node that somebody looks at.
    let config = Config::new(["/api/v1/openapi.json"]).validator_url("none").deep_linking(true);
    Arc::new(config.display_request_duration(true).doc_expansion("none"))
});

async fn serve(path: web::Path<String>) -> HttpResponse {
    let file = match utoipa_swagger_ui::serve(&path, CONFIG.clone()) {
        Ok(Some(file)) => file,
        _ => return problem(&Refusal::new(ErrorCode::NotFound, "there is no such page")),
    };
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, file.content_type))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header((header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY))
        .body(file.bytes.into_owned())
}

/// The files of the page are found relative to it.
async fn with_slash() -> HttpResponse {
    HttpResponse::PermanentRedirect().insert_header((header::LOCATION, "/docs/api/")).finish()
}

/// `/docs/api/`.
pub fn routes(config: &mut web::ServiceConfig) {
    config.route("/docs/api", web::get().to(with_slash)).route("/docs/api/{file:.*}", web::get().to(serve));
}
