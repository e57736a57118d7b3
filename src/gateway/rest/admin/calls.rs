//! The open calls of all users, and ending one from outside.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    super::{
        cursor,
        params::Params,
        privileged::Read,
        service::{body, text},
    },
    Asked, Service,
};
use crate::{
    clock,
    domain::{CallId, CallMode, CallStatus, CallType, GroupId, NodeId, ParticipantStatus, Timestamp, UserId},
    gateway::Gateway,
    store::{CallNow, OpenCallsQuery, Place},
    wire::{Frame, Refusal, call_object::CallObject},
};

/// Calls of a page, unless the request says, and at most.
const USUAL_LIMIT: u64 = 50;
const MAX_LIMIT: u64 = 200;
/// What the actor may say of why, in characters. Fewer hold no sentence; more fill the log.
const MAX_REASON_CHARS: usize = 200;
/// This list's kind in a cursor.
const KIND: &str = "o";

/// A call that is open.
#[derive(Serialize, ToSchema)]
#[schema(as = OpenCall)]
#[serde(rename_all = "camelCase")]
pub(super) struct Shown<'a> {
    /// The call.
    call_id: &'a CallId,
    /// Where it stands.
    #[schema(value_type = CallStatus)]
    status: &'a str,
    /// What it is for.
    #[schema(value_type = CallType)]
    #[serde(rename = "type")]
    call_type: &'a str,
    /// How media flows.
    #[schema(value_type = CallMode)]
    mode: &'a str,
    /// The group that it is in.
    #[schema(value_type = Option<GroupId>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    group_id: Option<&'a str>,
    /// Who started it.
    #[schema(value_type = UserId)]
    initiator_id: &'a str,
    /// When it was started.
    created_at: Timestamp,
    /// When the second person came in.
    #[serde(skip_serializing_if = "Option::is_none")]
    answered_at: Option<Timestamp>,
    /// The node that owns it.
    #[schema(value_type = NodeId)]
    owner_node: &'a str,
    /// How often its owner was another one.
    epoch: u64,
    /// Events so far.
    seq: u64,
    /// The owner's lease has run out, and nobody has taken the call over yet.
    owner_gone: bool,
    /// Who has, or had, a part in it, in the order they came: the first 20.
    participants: Vec<Person<'a>>,
    /// How many there are.
    participant_count: u64,
}

/// Somebody who has, or had, a part in an open call.
#[derive(Serialize, ToSchema)]
#[schema(as = OpenCallParticipant)]
#[serde(rename_all = "camelCase")]
struct Person<'a> {
    /// The user.
    #[schema(value_type = UserId)]
    user_id: &'a str,
    /// Where they stand.
    #[schema(value_type = ParticipantStatus)]
    status: &'a str,
}

impl<'a> Shown<'a> {
    pub(super) fn of(call: &'a CallNow) -> Self {
        let people = call.people.iter().map(|(user, status)| Person { user_id: user, status });
        Self {
            call_id: &call.place.call,
            status: &call.status,
            call_type: &call.call_type,
            mode: &call.mode,
            group_id: call.group.as_deref(),
            initiator_id: &call.initiator,
            created_at: call.place.at,
            answered_at: call.started_at,
            owner_node: &call.owner,
            epoch: call.epoch,
            seq: call.seq,
            owner_gone: call.owner_gone,
            participants: people.collect(),
            participant_count: call.people_count,
        }
    }
}

/// A page of the open calls.
#[derive(Serialize, ToSchema)]
#[schema(as = OpenCalls)]
#[serde(rename_all = "camelCase")]
pub(in crate::gateway) struct Calls<'a> {
    /// The cluster's time.
    server_time: Timestamp,
    /// The calls, newest first.
    calls: Vec<Shown<'a>>,
    /// Where the next page begins; missing on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

async fn list(request: HttpRequest, gateway: web::Data<Gateway>) -> Result<HttpResponse, Refusal> {
    let service = Service::or_admin(&request, &gateway).await?;
    let params = Params::of(&request)?;
    let open = |text: &str| CallStatus::parse(text).filter(|status| !status.is_final());
    let place = |text: &str| {
        let (at, id) = cursor::read_as(KIND, text)?;
        Some(Place { at, call: CallId::new(id).ok()? })
    };
    let query = OpenCallsQuery {
        status: params.read("status", "a status of open calls", open)?,
        owner: params.id("node", |text| NodeId::new(text))?,
        user: params.id("user", |text| UserId::new(text))?,
        group: params.id("groupId", |text| GroupId::new(text))?,
        after: params.read("cursor", "one that an answer gave for this list", place)?,
    };
    let limit = params.number("limit", 1, MAX_LIMIT)?.unwrap_or(USUAL_LIMIT) as usize;
    service.reads(&gateway, Read::OpenCalls, "open").await?;
    let mut calls = gateway.node.store.open_calls_now(&query, limit + 1).await?;
    let more = calls.len() > limit;
    calls.truncate(limit);
    let last = calls.last().filter(|_| more);
    let next_cursor = last.map(|call| cursor::write_as(KIND, call.place.at, call.place.call.as_str()));
    let calls = calls.iter().map(Shown::of).collect();
    Ok(service.json(StatusCode::OK, &Calls { server_time: clock::now(), calls, next_cursor }))
}

/// A call as it is in the database.
#[derive(Serialize, ToSchema)]
#[schema(as = SeenCall)]
pub(in crate::gateway) struct Seen {
    /// Open or over.
    #[schema(value_type = CallObject<'static>)]
    call: Frame,
}

async fn show(
    request: HttpRequest,
    path: web::Path<String>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Refusal> {
    let service = Service::or_admin(&request, &gateway).await?;
    let id = CallId::new(path.into_inner()).map_err(|error| Refusal::invalid(error.to_string()))?;
    let call = gateway.node.look_at_call(&id).await?;
    service.reads(&gateway, Read::Call, id.as_str()).await?;
    Ok(service.json(StatusCode::OK, &Seen { call }))
}

/// Why a call is ended from outside.
#[derive(Default, Deserialize, ToSchema)]
#[schema(as = EndByOperator)]
pub(in crate::gateway) struct EndBody {
    /// For the audit log; nobody in the call is told.
    #[schema(max_length = 200, pattern = r"^[^\u0000]*$")]
    reason: Option<String>,
}

/// The call that was ended.
#[derive(Serialize, ToSchema)]
#[schema(as = EndedCall)]
pub(in crate::gateway) struct Ended {
    /// As it is now.
    #[schema(value_type = CallObject<'static>)]
    call: Frame,
}

async fn end(
    request: HttpRequest,
    path: web::Path<String>,
    sent: web::Bytes,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Refusal> {
    let service = Service::or_admin(&request, &gateway).await?;
    let id = CallId::new(path.into_inner()).map_err(|error| Refusal::invalid(error.to_string()))?;
    let EndBody { reason } = body(&sent)?;
    if let Some(reason) = &reason {
        text("reason", reason, MAX_REASON_CHARS)?;
    }
    let asked = Asked::by(&service, &gateway, ("call.end", "call"), id.as_str(), reason).await?;
    let ended = gateway.node.end_by_operator(&id).await;
    let call = asked.settled(&gateway, "ended", ended).await?;
    Ok(service.json(StatusCode::OK, &Ended { call }))
}

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/admin/calls").route(web::get().to(list)))
        .service(web::resource("/admin/calls/{callId}").route(web::get().to(show)))
        .service(web::resource("/admin/calls/{callId}/end").route(web::post().to(end)));
}
