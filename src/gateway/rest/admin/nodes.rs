//! The nodes of the cluster, and telling one to leave.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{super::service::body, Asked, Service, not_found};
use crate::{
    actors::operator::{Order, Report},
    clock,
    domain::{NodeId, Timestamp},
    gateway::Gateway,
    store::KnownNode,
    wire::{ErrorCode, Refusal},
};

/// For how long nodes are shown that are gone without a word. As long as their rows are kept: more shows no more.
const GONE_SHOWN: Duration = Duration::from_secs(24 * 60 * 60);

/// Whether a node is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = NodeState)]
enum State {
    /// Its lease is good.
    Live,
    /// It lives, and is leaving.
    Draining,
    /// Its lease has run out: it died, or is cut off from the database.
    Gone,
}

/// A node.
#[derive(Serialize, ToSchema)]
#[schema(as = Node)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    /// Names one run of one process.
    node_id: &'a NodeId,
    /// Of the program.
    version: &'a str,
    /// Where others can reach it, if it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<&'a str>,
    /// When it was entered.
    started_at: Timestamp,
    /// Until when it counts as living, unless it renews that; it does so several times in the length of a lease.
    lease_until: Timestamp,
    /// Whether it is there.
    state: State,
    /// It says that it reaches the other nodes over the bus.
    bus_up: bool,
    /// Users' sessions when it last renewed its lease; missing of nodes of an older version, as what follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    sessions: Option<u64>,
    /// Open sockets, also those that have not said hello.
    #[serde(skip_serializing_if = "Option::is_none")]
    sockets: Option<u64>,
    /// Calls it holds: those it owns, and some that ended a moment ago.
    #[serde(skip_serializing_if = "Option::is_none")]
    calls: Option<u64>,
    /// What it does without: `redis`, `database`, `livekit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    degraded: Option<&'a [String]>,
}

impl<'a> Shown<'a> {
    fn of(node: &'a KnownNode) -> Self {
        let load = node.load.as_ref();
        Self {
            node_id: &node.id,
            version: &node.info.version,
            address: node.info.address.as_deref(),
            started_at: node.started_at,
            lease_until: node.lease_until,
            state: match node.alive {
                true if load.is_some_and(|load| load.draining) => State::Draining,
                true => State::Live,
                false => State::Gone,
            },
            bus_up: node.bus_up,
            sessions: load.map(|load| load.sessions),
            sockets: load.map(|load| load.sockets),
            calls: load.map(|load| load.calls),
            degraded: load.map(|load| load.degraded.as_slice()),
        }
    }
}

/// The nodes of the cluster.
#[derive(Serialize, ToSchema)]
#[schema(as = NodeList)]
#[serde(rename_all = "camelCase")]
pub(in crate::gateway) struct Nodes<'a> {
    /// The cluster's time.
    server_time: Timestamp,
    /// The node that answers.
    answered_by: &'a NodeId,
    /// Those that live, in the order of their starts, then those that are gone, for a day. One that ended well is not shown.
    nodes: Vec<Shown<'a>>,
}

async fn list(request: HttpRequest, gateway: web::Data<Gateway>) -> Result<HttpResponse, Refusal> {
    let service = Service::or_admin(&request, &gateway).await?;
    let known = gateway.node.store.known_nodes(GONE_SHOWN).await?;
    let nodes = known.iter().map(Shown::of).collect();
    Ok(service.json(StatusCode::OK, &Nodes { server_time: clock::now(), answered_by: &gateway.node.id, nodes }))
}

/// How a node is told to leave.
#[derive(Default, Deserialize, ToSchema)]
#[schema(as = Drain)]
pub(in crate::gateway) struct DrainBody {
    /// Also if no other node is there to take its calls.
    #[serde(default)]
    force: bool,
}

/// A node that leaves.
#[derive(Serialize, ToSchema)]
#[schema(as = Drained)]
#[serde(rename_all = "camelCase")]
pub(in crate::gateway) struct Drained<'a> {
    /// The node.
    node_id: &'a NodeId,
}

async fn drain(
    request: HttpRequest,
    path: web::Path<String>,
    sent: web::Bytes,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Refusal> {
    let service = Service::or_admin(&request, &gateway).await?;
    let id = NodeId::new(path.into_inner()).map_err(|error| Refusal::invalid(error.to_string()))?;
    let DrainBody { force } = body(&sent)?;
    let note = force.then(|| "forced".to_owned());
    let asked = Asked::by(&service, &gateway, ("node.drain", "node"), id.as_str(), note).await?;
    let drained = tell_to_leave(&gateway, &id, force).await;
    asked.settled(&gateway, "draining", drained).await?;
    Ok(service.json(StatusCode::ACCEPTED, &Drained { node_id: &id }))
}

async fn tell_to_leave(gateway: &Gateway, id: &NodeId, force: bool) -> Result<(), Refusal> {
    let known = gateway.node.store.known_nodes(Duration::ZERO).await?;
    let node = known.iter().find(|node| node.id == *id && node.alive).ok_or_else(|| not_found("living node"))?;
    // By what each last said of itself: two that are told to leave within a second or two may both go.
    let stays = |other: &&KnownNode| other.alive && !other.load.as_ref().is_some_and(|load| load.draining);
    if !force && !known.iter().filter(stays).any(|other| other.id != *id) {
        return Err(Refusal::new(ErrorCode::Conflict, "no other node would be left; it leaves only with force"));
    }
    match gateway.node.order(node, Order::Leave).await {
        Some(Report::Leaving) => Ok(()),
        _ => Err(Refusal::unavailable("the node did not answer; whether it leaves is not known")),
    }
}

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/admin/nodes").route(web::get().to(list)))
        .service(web::resource("/admin/nodes/{nodeId}/drain").route(web::post().to(drain)));
}
