//! One user as an operator sees them: sessions on all nodes, calls now and lately; and sending them away.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::{super::privileged::Read, Asked, Service, calls};
use crate::{
    actors::operator::{Order, Report, SessionSeen},
    domain::{CallId, CallStatus, DeviceId, EndReason, NodeId, SessionId, Timestamp, UserId},
    gateway::Gateway,
    store::{CallThen, OpenCallsQuery},
    wire::Refusal,
};

/// Open calls of one user that are shown: they are in a handful.
const MOST_CALLS: usize = 100;

/// A session of a user.
#[derive(Serialize, ToSchema)]
#[schema(as = UserSession)]
#[serde(rename_all = "camelCase")]
struct Session<'a> {
    /// Names the session.
    session_id: &'a SessionId,
    /// The device it is of.
    device_id: &'a DeviceId,
    /// The node that it is on.
    node_id: &'a NodeId,
    /// When it said hello last.
    connected_at: Timestamp,
}

/// A call of a user that is over.
#[derive(Serialize, ToSchema)]
#[schema(as = RecentCall)]
#[serde(rename_all = "camelCase")]
struct Recent<'a> {
    /// The call.
    #[schema(value_type = CallId)]
    call_id: &'a str,
    /// How it ended.
    #[schema(value_type = CallStatus)]
    status: &'a str,
    /// When it was started.
    created_at: Timestamp,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<Timestamp>,
    /// Why it ended.
    #[schema(value_type = Option<EndReason>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    end_reason: Option<&'a str>,
}

impl<'a> Recent<'a> {
    fn of(call: &'a CallThen) -> Self {
        Self {
            call_id: &call.call,
            status: &call.status,
            created_at: call.created_at,
            ended_at: call.ended_at,
            end_reason: call.end_reason.as_deref(),
        }
    }
}

/// A user, now.
#[derive(Serialize, ToSchema)]
#[schema(as = User)]
#[serde(rename_all = "camelCase")]
pub(in crate::gateway) struct Shown<'a> {
    /// The user. That there is one by this name is not said: users are the application's.
    user_id: &'a UserId,
    /// Their sessions on all nodes that answered; at most 500 of each node.
    sessions: Vec<Session<'a>>,
    /// Nodes that may live and did not answer within 2 s: the user may have sessions there.
    unreachable_nodes: &'a [NodeId],
    /// The open calls that they are in, rung by or waiting for; at most 100.
    calls: Vec<calls::Shown<'a>>,
    /// Their last 20 calls that are over.
    recent_calls: Vec<Recent<'a>>,
}

fn user(path: web::Path<String>) -> Result<UserId, Refusal> {
    UserId::new(path.into_inner()).map_err(|error| Refusal::invalid(error.to_string()))
}

async fn show(
    request: HttpRequest,
    path: web::Path<String>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Refusal> {
    let service = Service::or_admin(&request, &gateway).await?;
    let user = user(path)?;
    service.reads(&gateway, Read::User, user.as_str()).await?;
    let node = &gateway.node;
    let query = OpenCallsQuery { user: Some(user.clone()), ..OpenCallsQuery::default() };
    let (reports, now, then) = tokio::join!(
        node.order_all(Order::Sessions { user: user.clone() }),
        node.store.open_calls_now(&query, MOST_CALLS),
        node.store.calls_then(&user),
    );
    let (reports, now, then) = (reports?, now?, then?);
    let mut seen: Vec<&SessionSeen> = Vec::new();
    for report in &reports.told {
        if let Report::Sessions(sessions) = report {
            seen.extend(sessions);
        }
    }
    seen.sort_by(|a, b| (a.since, &a.session).cmp(&(b.since, &b.session)));
    let sessions = seen.into_iter().map(|seen| Session {
        session_id: &seen.session,
        device_id: &seen.device,
        node_id: &seen.node,
        connected_at: seen.since,
    });
    let shown = Shown {
        user_id: &user,
        sessions: sessions.collect(),
        unreachable_nodes: &reports.unreachable,
        calls: now.iter().map(calls::Shown::of).collect(),
        recent_calls: then.iter().map(Recent::of).collect(),
    };
    Ok(service.json(StatusCode::OK, &shown))
}

/// What became of a user's sessions.
#[derive(Serialize, ToSchema)]
#[schema(as = Disconnected)]
#[serde(rename_all = "camelCase")]
pub(in crate::gateway) struct SentAway<'a> {
    /// The user.
    user_id: &'a UserId,
    /// Sessions that were told to end.
    disconnected: u64,
    /// Nodes that may live and did not answer within 2 s: the user may still have sessions there.
    unreachable_nodes: &'a [NodeId],
}

async fn disconnect(
    request: HttpRequest,
    path: web::Path<String>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Refusal> {
    let service = Service::or_admin(&request, &gateway).await?;
    let user = user(path)?;
    let asked = Asked::by(&service, &gateway, ("user.disconnect", "user"), user.as_str(), None).await?;
    let reports = match gateway.node.order_all(Order::SendAway { user: user.clone() }).await {
        Ok(reports) => reports,
        Err(refusal) => return asked.settled(&gateway, "", Err(refusal)).await,
    };
    let count = |report: &Report| if let Report::SentAway(sessions) = report { *sessions } else { 0 };
    let disconnected = reports.told.iter().map(count).sum();
    let (outcome, note) = match &reports.unreachable[..] {
        [] => ("disconnected", format!("{disconnected} sessions")),
        unreachable => {
            let nodes: Vec<&str> = unreachable.iter().map(NodeId::as_str).collect();
            ("partly_disconnected", format!("{disconnected} sessions; not reached: {}", nodes.join(", ")))
        }
    };
    asked.came_to(&gateway, outcome, Some(note)).await;
    let done = SentAway { user_id: &user, disconnected, unreachable_nodes: &reports.unreachable };
    Ok(service.json(StatusCode::OK, &done))
}

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/admin/users/{userId}").route(web::get().to(show)))
        .service(web::resource("/admin/users/{userId}/disconnect").route(web::post().to(disconnect)));
}
