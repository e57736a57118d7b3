//! Groups and their members, managed by the application with a service key.

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    domain::{GroupId, UserId},
    gateway::{Gateway, address::ClientAddress, auth::bearer, limits::Kind},
    store::{MemberRole, PutOutcome},
    wire::{ErrorCode, Refusal},
};

/// The longest name of a group, in characters.
const MAX_NAME_CHARS: usize = 200;

#[derive(Deserialize, Default)]
struct GroupBody {
    name: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GroupAnswer<'a> {
    group_id: &'a GroupId,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

#[derive(Deserialize, Default)]
struct MemberBody {
    role: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MemberAnswer<'a> {
    group_id: &'a GroupId,
    user_id: &'a UserId,
    role: &'static str,
}

fn check(request: &HttpRequest, gateway: &Gateway) -> Result<(), Refusal> {
    let header = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    match header.and_then(bearer) {
        Some(key) if gateway.verifier.service_key_matches(key) => {
            gateway.limits.by_address(Kind::Service, ClientAddress::of(request))
        }
        _ => Err(Refusal::new(ErrorCode::Unauthenticated, "a service key is needed")),
    }
}

fn group_id(text: &str) -> Result<GroupId, Refusal> {
    GroupId::new(text).map_err(|error| Refusal::invalid(error.to_string()))
}

fn user_id(text: &str) -> Result<UserId, Refusal> {
    UserId::new(text).map_err(|error| Refusal::invalid(error.to_string()))
}

/// An absent body means no fields.
fn body<T: Default + DeserializeOwned>(sent: &[u8]) -> Result<T, Refusal> {
    if sent.is_empty() {
        return Ok(T::default());
    }
    if !sent.trim_ascii_start().starts_with(b"{") {
        return Err(Refusal::invalid("the body must be an object"));
    }
    serde_json::from_slice(sent).map_err(|error| Refusal::invalid(format!("the body is not as documented: {error}")))
}

async fn put_group(
    request: HttpRequest,
    path: web::Path<String>,
    sent: web::Bytes,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Refusal> {
    check(&request, &gateway)?;
    let group_id = group_id(&path)?;
    let GroupBody { name } = body(&sent)?;
    if name.as_ref().is_some_and(|name| name.chars().count() > MAX_NAME_CHARS || name.contains('\0')) {
        return Err(Refusal::invalid("name must have at most 200 characters and no NUL"));
    }
    let outcome = gateway.node.store.put_group(&group_id, name.as_deref(), None).await?;
    Ok(put(outcome).json(GroupAnswer { group_id: &group_id, name: name.as_deref() }))
}

async fn put_member(
    request: HttpRequest,
    path: web::Path<(String, String)>,
    sent: web::Bytes,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Refusal> {
    check(&request, &gateway)?;
    let (group_id, user_id) = (group_id(&path.0)?, user_id(&path.1)?);
    let role = match body::<MemberBody>(&sent)?.role.as_deref() {
        None => MemberRole::Member,
        Some(role) => MemberRole::parse(role).ok_or_else(|| Refusal::invalid("role must be member or admin"))?,
    };
    match gateway.node.store.put_member(&group_id, &user_id, role).await? {
        PutOutcome::GroupNotFound => Err(no_such_group()),
        outcome => Ok(put(outcome).json(MemberAnswer { group_id: &group_id, user_id: &user_id, role: role.as_str() })),
    }
}

/// Removing who is no member is a success: it may be a repetition.
async fn remove_member(
    request: HttpRequest,
    path: web::Path<(String, String)>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Refusal> {
    check(&request, &gateway)?;
    let (group_id, user_id) = (group_id(&path.0)?, user_id(&path.1)?);
    gateway.node.store.remove_member(&group_id, &user_id).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn no_such_group() -> Refusal {
    Refusal::new(ErrorCode::NotFound, "there is no such group")
}

fn put(outcome: PutOutcome) -> actix_web::HttpResponseBuilder {
    match outcome {
        PutOutcome::Created => HttpResponse::Created(),
        PutOutcome::Updated | PutOutcome::GroupNotFound => HttpResponse::Ok(),
    }
}

/// `/groups`, below `/api/v1`.
pub fn routes(config: &mut web::ServiceConfig) {
    config.route("/groups/{groupId}", web::put().to(put_group)).service(
        web::resource("/groups/{groupId}/members/{userId}")
            .route(web::put().to(put_member))
            .route(web::delete().to(remove_member)),
    );
}
