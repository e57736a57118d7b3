//! What has been: lists of calls, the timeline of one, statistics.
//!
//! Read from the store on whichever node the request comes to, without the calls' owners. Must never show what clients
//! told each other, nor to anybody a call that is none of theirs: what one may not see is not there.

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    calls::reader,
    cursor,
    params::Params,
    privileged::{self, Read},
    service,
};
use crate::{
    clock,
    domain::{
        CallId, CallMode, CallStatus, CallType, DeviceId, EndReason, GroupId, ParticipantStatus, Rejection, Role,
        Timestamp, UserId,
    },
    gateway::Gateway,
    store::{
        Actor, Direction, HistoryEntry, HistoryOf, HistoryPage, HistoryParticipant, HistoryQuery, TimelineEvent, Viewer,
    },
    trace::TraceId,
    wire::Refusal,
};

/// Calls of a page, unless the request says.
const USUAL_LIMIT: u64 = 20;
/// Calls of a page. More make answers that clients wait for in vain.
const MAX_LIMIT: u64 = 100;
/// Events of a page of a timeline. Each may hold an offer of 64 KiB that the database reads over.
const MAX_EVENTS: u64 = 500;

pub(super) fn json(body: &impl Serialize) -> HttpResponse {
    HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(body)
}

/// Whether the asker started a call.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "stands in the document for the words that the store gives")]
enum CallDirection {
    Incoming,
    Outgoing,
}

/// A call of a list.
#[derive(Serialize, ToSchema)]
#[schema(as = HistoryCall)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    /// The call.
    call_id: &'a CallId,
    /// What the call is for.
    #[schema(value_type = CallType)]
    #[serde(rename = "type")]
    call_type: &'a str,
    /// How media flows.
    #[schema(value_type = CallMode)]
    mode: &'a str,
    /// Where the call stands.
    #[schema(value_type = CallStatus)]
    status: &'a str,
    /// Why it ended.
    #[schema(value_type = Option<EndReason>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    end_reason: Option<&'a str>,
    /// Who ended it; missing if it was the server.
    #[schema(value_type = Option<UserId>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_by: Option<&'a str>,
    /// The group that the call is in.
    #[schema(value_type = Option<GroupId>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    group_id: Option<&'a str>,
    /// Who started it.
    #[schema(value_type = UserId)]
    initiator_id: &'a str,
    /// It began in a group, with several callees, or has grown past two.
    is_group: bool,
    /// `outgoing`: the asker started it, else `incoming`; missing where they had no part in it.
    #[schema(value_type = Option<CallDirection>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    direction: Option<&'static str>,
    /// The asker's own status is `missed`.
    missed: bool,
    /// When it was started.
    created_at: Timestamp,
    /// When the second person came in: what the duration counts from.
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<Timestamp>,
    /// Seconds from `startedAt` to the end, or to now.
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_secs: Option<u64>,
    /// The most people who were in it at once.
    peak_participants: u32,
    /// Who has, or had, a part in it, the initiator first.
    participants: Vec<Part<'a>>,
}

/// A participant of a call of a list.
#[derive(Serialize, ToSchema)]
#[schema(as = HistoryParticipant)]
#[serde(rename_all = "camelCase")]
struct Part<'a> {
    /// The user.
    #[schema(value_type = UserId)]
    user_id: &'a str,
    /// What they may do to others.
    #[schema(value_type = Role)]
    role: &'a str,
    /// Where they stand.
    #[schema(value_type = ParticipantStatus)]
    status: &'a str,
    /// Their device that is in the call; kept after leaving.
    #[schema(value_type = Option<DeviceId>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    device_id: Option<&'a str>,
    /// When they came to the call.
    invited_at: Timestamp,
    /// When their present or last stay began.
    #[serde(skip_serializing_if = "Option::is_none")]
    joined_at: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_at: Option<Timestamp>,
    /// Why they left.
    #[schema(value_type = Option<EndReason>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    leave_reason: Option<&'a str>,
    /// Seconds in the call, over all stays.
    duration_secs: u64,
}

impl<'a> Entry<'a> {
    fn of(entry: &'a HistoryEntry, user: &UserId, now: Timestamp) -> Self {
        let until = entry.ended_at.unwrap_or(now);
        let part = entry.participants.iter().find(|part| part.user == user.as_str());
        let outgoing = entry.initiator == user.as_str();
        Self {
            call_id: &entry.place.call,
            call_type: &entry.call_type,
            mode: &entry.mode,
            status: &entry.status,
            end_reason: entry.end_reason.as_deref(),
            ended_by: entry.ended_by.as_deref(),
            group_id: entry.group.as_deref(),
            initiator_id: &entry.initiator,
            is_group: entry.is_group,
            direction: part.map(|_| if outgoing { "outgoing" } else { "incoming" }),
            missed: part.is_some_and(|part| part.status == "missed"),
            created_at: entry.created_at,
            started_at: entry.started_at,
            ended_at: entry.ended_at,
            duration_secs: entry.started_at.map(|started| until.since(started).as_secs()),
            peak_participants: entry.peak_participants,
            participants: entry.participants.iter().map(|part| Part::of(part, until)).collect(),
        }
    }
}

impl<'a> Part<'a> {
    fn of(part: &'a HistoryParticipant, until: Timestamp) -> Self {
        let present = part.joined_at.map_or(0, |joined| part.left_at.unwrap_or(until).since(joined).as_millis());
        let earlier = u128::from(part.earlier_stays_ms);
        Self {
            user_id: &part.user,
            role: &part.role,
            status: &part.status,
            device_id: part.device.as_deref(),
            invited_at: part.invited_at,
            joined_at: part.joined_at,
            left_at: part.left_at,
            leave_reason: part.leave_reason.as_deref(),
            duration_secs: u64::try_from((earlier + present) / 1000).unwrap_or(u64::MAX),
        }
    }
}

/// A page of a list of calls.
#[derive(Serialize, ToSchema)]
#[schema(as = HistoryPage)]
#[serde(rename_all = "camelCase")]
pub(in crate::gateway) struct Page<'a> {
    /// The calls, newest first.
    calls: Vec<Entry<'a>>,
    /// Where the next page begins; missing on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    /// How long the whole list is; there if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
}

fn query(params: &Params, user: &UserId) -> Result<HistoryQuery, Refusal> {
    let direction = |text: &str| match text {
        "incoming" => Some(Direction::Incoming),
        "outgoing" => Some(Direction::Outgoing),
        _ => None,
    };
    let group = params.id("groupId", |text| GroupId::new(text))?;
    Ok(HistoryQuery {
        user: user.clone(),
        of: group.map_or(HistoryOf::User, HistoryOf::Group),
        direction: params.read("direction", "incoming or outgoing", direction)?,
        status: params.read("status", "a status of calls", CallStatus::parse)?,
        missed: params.flag("missed")?,
        with: params.id("with", |text| UserId::new(text))?,
        since: params.time("since")?,
        until: params.time("until")?,
    })
}

async fn list(http: HttpRequest, gateway: web::Data<Gateway>) -> Result<HttpResponse, Refusal> {
    let claims = reader(&http, &gateway).await?;
    let user = claims.user.clone();
    let params = Params::of(&http)?;
    let query = query(&params, &user)?;
    let limit = params.number("limit", 1, MAX_LIMIT)?.unwrap_or(USUAL_LIMIT) as usize;
    let counted = params.flag("total")?.unwrap_or(false);
    let after = params.read("cursor", "one that an answer gave for this list", |text| cursor::read(text, &query.of))?;
    let store = &gateway.node.store;
    let mut viewer = Viewer::from(&user);
    if let HistoryOf::Group(group) = &query.of
        && !store.is_member(group, &user).await?
    {
        if !claims.admin {
            return Err(Rejection::NotFound.into());
        }
        privileged::by_admin(&http, &gateway, claims, Read::GroupCalls, group.as_str()).await?;
        viewer = Viewer::Admin;
    }
    let HistoryPage { entries, next } = store.history_page(&viewer, &query, after.as_ref(), limit).await?;
    let next_cursor = next.map(|place| cursor::write(&place, &query.of));
    let total = if counted { Some(store.history_count(&viewer, &query).await?) } else { None };
    let now = clock::now();
    let calls = entries.iter().map(|entry| Entry::of(entry, &user, now)).collect();
    Ok(json(&Page { calls, next_cursor, total }))
}

async fn active(http: HttpRequest, gateway: web::Data<Gateway>) -> Result<HttpResponse, Refusal> {
    let user = reader(&http, &gateway).await?.user;
    let entries = gateway.node.store.active_calls(&user).await?;
    let now = clock::now();
    let calls = entries.iter().map(|entry| Entry::of(entry, &user, now)).collect();
    Ok(json(&Page { calls, next_cursor: None, total: None }))
}

/// A call that may be read back.
pub(super) struct Readable {
    pub call: CallId,
    /// As whom it is read.
    pub viewer: Viewer,
    /// Who may read it only because they may read everything, and whether there is such a call is not known.
    pub admin: Option<Actor>,
}

/// For who had a part in the call, for administrators, and for service keys.
pub(super) async fn readable(http: &HttpRequest, call: &str, gateway: &Gateway) -> Result<Readable, Refusal> {
    let id = || CallId::new(call).map_err(|error| Refusal::invalid(error.to_string()));
    if let Some(actor) = service::shown_key(http, gateway).await? {
        return Ok(Readable { call: id()?, viewer: Viewer::Admin, admin: Some(actor) });
    }
    let claims = reader(http, gateway).await?;
    let call = id()?;
    if gateway.node.store.may_look_back(&call, &claims.user).await? {
        return Ok(Readable { call, viewer: Viewer::User(claims.user), admin: None });
    }
    if !claims.admin {
        return Err(Rejection::NotFound.into());
    }
    Ok(Readable { call, viewer: Viewer::Admin, admin: Some(privileged::as_actor(claims)) })
}

/// An event of a timeline.
#[derive(Serialize, ToSchema)]
#[schema(as = TimelineEvent)]
#[serde(rename_all = "camelCase")]
struct Step<'a> {
    /// Counts the events of the call from 1.
    seq: u64,
    /// When it happened.
    at: Timestamp,
    /// What happened: `created`, `ringing`, `accepted`, … More may come.
    kind: &'a str,
    /// Whom it happened to.
    #[schema(value_type = Option<UserId>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a str>,
    /// Several it happened to at once.
    #[schema(value_type = Option<Vec<UserId>>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    user_ids: Option<&'a [String]>,
    /// The device it happened at.
    #[schema(value_type = Option<DeviceId>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    device_id: Option<&'a str>,
    /// Who caused it.
    #[schema(value_type = Option<UserId>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'a str>,
    /// Why: an end reason, or the words of who declined.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    /// The status of the call that ended with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a str>,
    /// The node that decided it.
    node: &'a str,
    /// In which epoch of owning the call.
    epoch: u64,
    /// Milliseconds since the event before; 0 for the first.
    since_previous_ms: u64,
    /// The trace id of the command, timer or sweep that it came of: 32 hexadecimal digits. Missing where a node of an
    /// earlier version wrote it.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<TraceId>,
}

impl<'a> Step<'a> {
    fn of(event: &'a TimelineEvent) -> Self {
        let told = &event.told;
        Self {
            seq: event.seq,
            at: event.at,
            kind: &event.kind,
            user_id: told.user.as_deref(),
            user_ids: told.users.as_deref(),
            device_id: told.device.as_deref(),
            by: told.by.as_deref(),
            reason: told.reason.as_deref(),
            status: told.status.as_deref(),
            node: &event.node,
            epoch: event.epoch,
            since_previous_ms: event.since_previous_ms,
            trace_id: event.trace,
        }
    }
}

/// A page of the timeline of a call.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::gateway) struct Timeline<'a> {
    /// The call.
    call_id: &'a CallId,
    /// What happened to it, in order.
    events: Vec<Step<'a>>,
    /// The `after` of the next page; missing on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_after: Option<u64>,
}

async fn timeline(
    http: HttpRequest,
    path: web::Path<String>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Refusal> {
    let Readable { call, viewer, admin } = readable(&http, &path, &gateway).await?;
    let params = Params::of(&http)?;
    let after = params.number("after", 0, i64::MAX as u64)?.unwrap_or(0);
    let limit = params.number("limit", 1, MAX_EVENTS)?.unwrap_or(MAX_EVENTS) as usize;
    let mut events = gateway.node.store.timeline(&viewer, &call, after, limit + 1).await?;
    if let Some(admin) = admin {
        if events.is_empty() && after == 0 {
            return Err(Rejection::NotFound.into());
        }
        privileged::by_actor(&http, &gateway, &admin, Read::Timeline, call.as_str()).await?;
    }
    let more = events.len() > limit;
    events.truncate(limit);
    let next_after = events.last().filter(|_| more).map(|event| event.seq);
    Ok(json(&Timeline { call_id: &call, events: events.iter().map(Step::of).collect(), next_after }))
}

/// Before the resource of one call: `active` names none.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/calls").guard(actix_web::guard::Get()).route(web::get().to(list)))
        .service(web::resource("/calls/active").guard(actix_web::guard::Get()).route(web::get().to(active)))
        .service(web::resource("/calls/{callId}/timeline").route(web::get().to(timeline)));
}
