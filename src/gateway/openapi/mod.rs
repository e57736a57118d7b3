//! The OpenAPI document of everything under `/api/v1`, and of the probes: made once, from the types that requests are
//! read into and answers are written from, the table of commands, and the table of error codes.
//!
//! Owns what is said of routes. Must never be needed for a request to be answered: what stands here is for who reads
//! it, and a test sees to it that it is what the routes do.

mod calls;
mod console;
mod history;
mod node;
pub mod operation;
pub mod page;
mod recordings;
pub mod schemas;
mod service;
#[cfg(test)]
pub(in crate::gateway) mod tests;
mod webhooks;

use std::sync::LazyLock;

use actix_web::{HttpResponse, http::header, web};
use serde_json::{Map, Value, json};

use self::{operation::Operation, schemas::Schemas};
use super::asyncapi;

static TEXT: LazyLock<String> = LazyLock::new(|| document().to_string());

const ABOUT: &str = "Carillon is the control plane for voice and video calls: it rings people on every device they \
    have, settles who answered, and relays the WebRTC signals that connect them.\n\nRefusals are RFC 9457 problems with a \
    `code`. Unknown fields and parameters are ignored. What happens in a call is told over a socket: see the AsyncAPI \
    document at `/api/v1/asyncapi.json`.";

/// Every operation there is: where a room for new routes is added.
fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let mut all = calls::operations(schemas);
    all.extend(history::operations(schemas));
    all.extend(recordings::operations(schemas));
    all.extend(service::operations(schemas));
    all.extend(console::operations(schemas));
    all.extend(webhooks::operations(schemas));
    all.extend(node::operations(schemas));
    all
}

/// The OpenAPI document.
pub fn document() -> Value {
    let mut schemas = Schemas::default();
    let mut paths = Map::new();
    for operation in operations(&mut schemas) {
        let (path, method) = (operation.path.clone(), operation.method);
        let finished = operation.finish(&mut schemas);
        let item = paths.entry(path).or_insert_with(|| json!({}));
        item[method] = finished;
    }
    let scheme = |says: &str, format: &str| json!({"type": "http", "scheme": "bearer", "bearerFormat": format, "description": says});
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Carillon",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "This node."}],
        "tags": [
            {"name": "calls", "description": "The commands of the socket, one request each, with a user's token."},
            {"name": "history", "description": "What has been, with a user's token."},
            {"name": "groups", "description": "Groups and their members, with a service key."},
            {"name": "service keys", "description": "The keys of backends."},
            {"name": "webhooks", "description": "Where the application is told of what happens, and what could not be told."},
            {"name": "audit", "description": "Who did what."},
            {"name": "operator", "description": "Nodes, open calls, users and sweeps; with a service key, or as an administrator."},
            {"name": "node", "description": "The node itself."},
        ],
        "paths": paths,
        "components": {
            "schemas": schemas.finish(),
            "securitySchemes": {
                "userToken": scheme("A user's JWT, with the claims `sub` and `exp`.", "JWT"),
                "serviceKey": scheme("A key of the application's backend: that of the settings, or one made with it.", "csk_…"),
            },
        },
    })
}

/// The paths of the document, each in its parts, with the methods that they have.
static PATHS: LazyLock<Vec<(String, String)>> = LazyLock::new(|| {
    let document = document();
    let paths = document["paths"].as_object().into_iter().flatten();
    let methods =
        |item: &Value| item.as_object().map(|item| item.keys().map(|key| key.to_uppercase()).collect::<Vec<_>>());
    paths.map(|(path, item)| (path.clone(), methods(item).unwrap_or_default().join(", "))).collect()
});

/// The methods of a resource, as the header `Allow` has them; `None`: there is no such resource.
pub fn allowed(path: &str) -> Option<String> {
    // How many parts of the path are as they stand in the document: more of them is the better fit.
    let fits = |template: &str| {
        let (wanted, given) = (template.split('/'), path.split('/'));
        let same = wanted.clone().zip(given.clone()).filter(|(wanted, given)| wanted == given).count();
        let open = wanted.clone().filter(|part| part.starts_with('{')).count();
        let parts = wanted.count();
        (parts == given.count() && same + open >= parts).then_some(same)
    };
    let best = PATHS.iter().filter_map(|(template, methods)| Some((fits(template)?, methods)));
    best.max_by_key(|(same, _)| *same).map(|(_, methods)| methods.clone())
}

fn json_text(text: &'static str) -> HttpResponse {
    HttpResponse::Ok().insert_header((header::CONTENT_TYPE, "application/json")).body(text)
}

async fn openapi() -> HttpResponse {
    json_text(&TEXT)
}

async fn asyncapi_json() -> HttpResponse {
    json_text(asyncapi::text())
}

/// `/openapi.json` and `/asyncapi.json`, below `/api/v1`.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/openapi.json").route(web::get().to(openapi)))
        .service(web::resource("/asyncapi.json").route(web::get().to(asyncapi_json)));
}
