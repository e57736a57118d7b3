//! `/livez`: the process turns over. `/readyz`: this node takes calls.

use actix_web::{HttpResponse, web};
use serde::Serialize;

use crate::gateway::Gateway;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Readiness<'a> {
    ready: bool,
    node_id: &'a str,
    database: &'static str,
    bus: &'static str,
    draining: bool,
    sessions: usize,
    calls: usize,
}

/// Whether the process should be kept: it answers, so yes.
pub async fn livez() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain").body("ok\n")
}

/// Whether new clients should be sent here: the database is there and the node is not leaving. A bus that is away makes
/// the node degraded, not unready: calls between its own clients go on.
pub async fn readyz(gateway: web::Data<Gateway>) -> HttpResponse {
    let node = &gateway.node;
    let database = node.store.ping().await.is_ok();
    let bus = node.bus().is_some_and(|bus| bus.health().is_up());
    let draining = node.is_draining();
    let ready = database && !draining && node.arbiter().is_some();
    let body = Readiness {
        ready,
        node_id: node.id.as_str(),
        database: if database { "up" } else { "down" },
        bus: if bus { "up" } else { "down" },
        draining,
        sessions: node.directory.session_count(),
        calls: node.directory.call_count(),
    };
    if ready { HttpResponse::Ok().json(body) } else { HttpResponse::ServiceUnavailable().json(body) }
}
