//! Groups and their members, managed by the application with a service key.
//!
//! What changes who belongs to a group is done when the store has it and the group's call has heard; where that call
//! cannot be reached the answer is `unavailable`, and the same request again does what is left.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web};
use serde::{Deserialize, Serialize};

use super::{
    privileged::Read,
    service::{Paging, Service, body, page, text},
};
use crate::{
    domain::{GroupId, Opaque, Timestamp, UserId},
    gateway::{Gateway, protocol::MAX_METADATA_BYTES},
    store::{Group, GroupMember, MemberRole, PutOutcome},
    wire::{ErrorCode, Refusal},
};

/// The longest name of a group, in characters.
const MAX_NAME_CHARS: usize = 200;

#[derive(Deserialize, Default)]
struct GroupBody {
    name: Option<String>,
    metadata: Option<Opaque>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GroupAnswer {
    group_id: GroupId,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Opaque>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    member_count: Option<u64>,
}

impl GroupAnswer {
    fn of(group: Group, member_count: Option<u64>) -> Self {
        let Group { id: group_id, name, metadata, created_at, updated_at } = group;
        let (created_at, updated_at) = (Some(created_at), Some(updated_at));
        Self { group_id, name, metadata, created_at, updated_at, member_count }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Groups {
    groups: Vec<GroupAnswer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

#[derive(Deserialize, Default)]
struct MemberBody {
    role: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MemberAnswer {
    #[serde(skip_serializing_if = "Option::is_none")]
    group_id: Option<GroupId>,
    user_id: UserId,
    role: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    added_at: Option<Timestamp>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Members {
    members: Vec<MemberAnswer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

fn group_id(text: &str) -> Result<GroupId, Refusal> {
    GroupId::new(text).map_err(|error| Refusal::invalid(error.to_string()))
}

fn user_id(text: &str) -> Result<UserId, Refusal> {
    UserId::new(text).map_err(|error| Refusal::invalid(error.to_string()))
}

fn no_such_group() -> Refusal {
    Refusal::new(ErrorCode::NotFound, "there is no such group")
}

fn status(outcome: PutOutcome) -> StatusCode {
    if outcome == PutOutcome::Created { StatusCode::CREATED } else { StatusCode::OK }
}

fn checked(metadata: Option<Opaque>) -> Result<Option<Opaque>, Refusal> {
    let Some(metadata) = metadata else { return Ok(None) };
    if metadata.len() > MAX_METADATA_BYTES {
        return Err(Refusal::new(ErrorCode::TooLarge, format!("metadata has more than {MAX_METADATA_BYTES} bytes")));
    }
    if !metadata.json().starts_with('{') {
        return Err(Refusal::invalid("metadata must be an object"));
    }
    Ok(Some(metadata))
}

async fn put_group(
    request: HttpRequest,
    path: web::Path<String>,
    sent: web::Bytes,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Refusal> {
    let service = Service::of(&request, &gateway).await?;
    let group_id = group_id(&path)?;
    let GroupBody { name, metadata } = body(&sent)?;
    if let Some(name) = &name {
        text("name", name, MAX_NAME_CHARS)?;
    }
    let metadata = checked(metadata)?;
    let act = service.act("group.put", "group", group_id.as_str());
    let outcome = gateway.node.store.put_group(&group_id, name.as_deref(), metadata.as_ref(), &act).await?;
    let (created_at, updated_at, member_count) = (None, None, None);
    Ok(service.json(status(outcome), &GroupAnswer { group_id, name, metadata, created_at, updated_at, member_count }))
}

async fn get_group(
    request: HttpRequest,
    path: web::Path<String>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Refusal> {
    let service = Service::of(&request, &gateway).await?;
    let store = &gateway.node.store;
    let group = store.get_group(&group_id(&path)?).await?.ok_or_else(no_such_group)?;
    let members = store.count_members(&group.id).await?;
    Ok(service.json(StatusCode::OK, &GroupAnswer::of(group, Some(members))))
}

async fn list_groups(
    request: HttpRequest,
    paging: web::Query<Paging>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Refusal> {
    let service = Service::of(&request, &gateway).await?;
    let (limit, after) = (paging.limit()?, paging.after(|id| GroupId::new(id).ok())?);
    let found = gateway.node.store.groups_after(after.as_ref(), limit + 1).await?;
    let (groups, next_cursor) = page(found, limit, |group| group.id.as_str().to_owned());
    let groups = groups.into_iter().map(|group| GroupAnswer::of(group, None)).collect();
    Ok(service.json(StatusCode::OK, &Groups { groups, next_cursor }))
}

/// Deleting what is not there is a success: it may be a repetition.
async fn delete_group(
    request: HttpRequest,
    path: web::Path<String>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Refusal> {
    let service = Service::of(&request, &gateway).await?;
    let group_id = group_id(&path)?;
    let act = service.act("group.delete", "group", group_id.as_str());
    gateway.node.store.delete_group(&group_id, &act).await?;
    gateway.node.members_changed(&group_id).await?;
    Ok(service.no_content())
}

async fn list_members(
    request: HttpRequest,
    path: web::Path<String>,
    paging: web::Query<Paging>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Refusal> {
    let service = Service::of(&request, &gateway).await?;
    let (limit, after) = (paging.limit()?, paging.after(|id| UserId::new(id).ok())?);
    let group_id = group_id(&path)?;
    let store = &gateway.node.store;
    store.get_group(&group_id).await?.ok_or_else(no_such_group)?;
    service.reads(&gateway, Read::Members, group_id.as_str()).await?;
    let found = store.members_after(&group_id, after.as_ref(), limit + 1).await?;
    let (members, next_cursor) = page(found, limit, |member| member.user.as_str().to_owned());
    let answer = |GroupMember { user, role, added_at }| MemberAnswer {
        group_id: None,
        user_id: user,
        role: role.as_str(),
        added_at: Some(added_at),
    };
    let members = members.into_iter().map(answer).collect();
    Ok(service.json(StatusCode::OK, &Members { members, next_cursor }))
}

async fn put_member(
    request: HttpRequest,
    path: web::Path<(String, String)>,
    sent: web::Bytes,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Refusal> {
    let service = Service::of(&request, &gateway).await?;
    let (group_id, user_id) = (group_id(&path.0)?, user_id(&path.1)?);
    let role = match body::<MemberBody>(&sent)?.role.as_deref() {
        None => MemberRole::Member,
        Some(role) => MemberRole::parse(role).ok_or_else(|| Refusal::invalid("role must be member or admin"))?,
    };
    let act = service.act("member.put", "group", group_id.as_str()).about(&user_id);
    let outcome = gateway.node.store.put_member(&group_id, &user_id, role, &act).await?;
    if outcome == PutOutcome::GroupNotFound {
        return Err(no_such_group());
    }
    let answer = MemberAnswer { group_id: Some(group_id), user_id, role: role.as_str(), added_at: None };
    Ok(service.json(status(outcome), &answer))
}

/// Removing who is no member is a success: it may be a repetition.
async fn remove_member(
    request: HttpRequest,
    path: web::Path<(String, String)>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Refusal> {
    let service = Service::of(&request, &gateway).await?;
    let (group_id, user_id) = (group_id(&path.0)?, user_id(&path.1)?);
    let act = service.act("member.remove", "group", group_id.as_str()).about(&user_id);
    gateway.node.store.remove_member(&group_id, &user_id, &act).await?;
    gateway.node.members_changed(&group_id).await?;
    Ok(service.no_content())
}

/// `/groups`, below `/api/v1`.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/groups").route(web::get().to(list_groups)))
        .service(
            web::resource("/groups/{groupId}")
                .route(web::put().to(put_group))
                .route(web::get().to(get_group))
                .route(web::delete().to(delete_group)),
        )
        .service(web::resource("/groups/{groupId}/members").route(web::get().to(list_members)))
        .service(
            web::resource("/groups/{groupId}/members/{userId}")
                .route(web::put().to(put_member))
                .route(web::delete().to(remove_member)),
        );
}
