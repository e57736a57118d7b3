//! `/livez`: the process turns over. `/readyz`: this node takes calls, and what it does without.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{domain::Timestamp, gateway::Gateway};

/// How long the database may take to answer a probe. Kubernetes gives up after a second or a few: it should hear why.
const PING_PATIENCE: Duration = Duration::from_secs(2);

/// How a node stands.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::gateway) struct Readiness<'a> {
    /// It takes new clients.
    ready: bool,
    /// This run of the node.
    node_id: &'a str,
    /// Whether the database answers.
    #[schema(value_type = UpDown)]
    database: &'static str,
    /// Whether other nodes can be reached.
    #[schema(value_type = UpDown)]
    bus: &'static str,
    /// It is about to leave.
    draining: bool,
    /// Sessions on it.
    sessions: usize,
    /// Calls that it owns.
    calls: usize,
    /// What it does without.
    degraded: Vec<Loss>,
}

/// Whether something is there.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "stands in the document for two words")]
enum UpDown {
    Up,
    Down,
}

/// A dependency that the node does without.
#[derive(Serialize, ToSchema)]
struct Loss {
    /// `redis`, `database`, …
    dependency: &'static str,
    /// Since when.
    since: Timestamp,
    /// What was seen first: `unreachable`, `refused`, `lost`, `silent`, `other_node`.
    fault: &'static str,
}

/// Whether the process should be kept: it answers, so yes.
pub async fn livez() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain").body("ok\n")
}

/// Whether new clients should be sent here: the database is there and the node is not leaving. A bus that is away makes
/// the node degraded, not unready: calls between its own clients go on.
pub async fn readyz(gateway: web::Data<Gateway>) -> HttpResponse {
    let node = &gateway.node;
    let database = matches!(tokio::time::timeout(PING_PATIENCE, node.store.ping()).await, Ok(Ok(())));
    let draining = node.is_draining();
    let ready = database && !draining && node.arbiter().is_some();
    let losses = node.degraded.losses().into_iter();
    let body = Readiness {
        ready,
        node_id: node.id.as_str(),
        database: if database { "up" } else { "down" },
        bus: if node.bus_health().is_up() { "up" } else { "down" },
        draining,
        sessions: node.directory.session_count(),
        calls: node.directory.call_count(),
        degraded: losses
            .map(|(dependency, loss)| Loss { dependency: dependency.as_str(), since: loss.since, fault: loss.fault })
            .collect(),
    };
    if ready { HttpResponse::Ok().json(body) } else { HttpResponse::ServiceUnavailable().json(body) }
}
