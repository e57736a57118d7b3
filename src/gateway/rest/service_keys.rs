//! Service keys, made, listed and revoked over the service API.
//!
//! Must never show a key but in the one answer to the request that makes it.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    calls::IDEMPOTENCY_KEY,
    service::{Paging, Service, body, page, text},
};
use crate::{
    clock,
    domain::Timestamp,
    gateway::{
        Gateway,
        auth::service::{hash_of, id_under, new_key},
        protocol::IdempotencyKey,
    },
    store::{CreateKeyOutcome, NewServiceKey, RevokeOutcome, ServiceKey},
    wire::{ErrorCode, Refusal},
};

/// The longest name of a key, in characters.
pub const MAX_NAME_CHARS: usize = 100;

/// A service key to be made.
#[derive(Deserialize, Default, ToSchema)]
#[schema(as = NewServiceKey)]
#[serde(rename_all = "camelCase")]
pub(in crate::gateway) struct KeyBody {
    /// What it is for.
    #[schema(
        required = true,
        nullable = false,
        min_length = 1,
        max_length = 100,
        pattern = r"^[^\u0000]*[^\u0000\s][^\u0000]*$"
    )]
    name: Option<String>,
    /// Until when it is good: in the future; missing: until it is revoked.
    expires_at: Option<Timestamp>,
}

/// A service key that was just made.
#[derive(Serialize, ToSchema)]
#[schema(as = MadeServiceKey)]
#[serde(rename_all = "camelCase")]
pub(in crate::gateway) struct Made<'a> {
    /// Names it.
    id: Uuid,
    /// What it is for.
    name: &'a str,
    /// The key itself, shown this once.
    key: &'a str,
    /// When it was made.
    created_at: Timestamp,
    /// Until when it is good.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
}

/// A service key, without the key itself.
#[derive(Serialize, ToSchema)]
#[schema(as = ServiceKey)]
#[serde(rename_all = "camelCase")]
struct Known {
    /// Names it.
    id: Uuid,
    /// What it is for.
    name: String,
    /// When it was made.
    created_at: Timestamp,
    /// When it was last used, right to a minute or so.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<Timestamp>,
    /// Until when it is good.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    /// Since when it is good no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<Timestamp>,
}

impl From<ServiceKey> for Known {
    fn from(key: ServiceKey) -> Self {
        let ServiceKey { id, name, created_at, expires_at, revoked_at, last_used_at } = key;
        Self { id, name, created_at, last_used_at, expires_at, revoked_at }
    }
}

/// A page of the service keys.
#[derive(Serialize, ToSchema)]
#[schema(as = ServiceKeys)]
#[serde(rename_all = "camelCase")]
pub(in crate::gateway) struct Keys {
    /// The keys, also such as are good no more.
    keys: Vec<Known>,
    /// Where the next page begins; missing on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

async fn create(request: HttpRequest, sent: web::Bytes, gateway: web::Data<Gateway>) -> Result<HttpResponse, Refusal> {
    let service = Service::of(&request, &gateway).await?;
    let KeyBody { name, expires_at } = body(&sent)?;
    let name = name.filter(|name| !name.trim().is_empty()).ok_or_else(|| Refusal::invalid("name is missing"))?;
    text("name", &name, MAX_NAME_CHARS)?;
    let now = clock::now();
    if expires_at.is_some_and(|at| at <= now) {
        return Err(Refusal::invalid("expiresAt must be in the future"));
    }
    let idempotency = request.headers().get(IDEMPOTENCY_KEY).map(|value| IdempotencyKey::from_header(value.as_bytes()));
    let id = match idempotency.transpose()? {
        Some(key) => id_under(&service.actor, key.as_str()),
        None => Uuid::now_v7(),
    };
    let key = new_key();
    let new = NewServiceKey { id, name, hash: hash_of(key.reveal()), expires_at };
    let act = service.act("service_key.create", "service_key", id.to_string());
    match gateway.node.store.create_service_key(&new, &act).await? {
        CreateKeyOutcome::Created => {
            let made = Made { id, name: &new.name, key: key.reveal(), created_at: now, expires_at };
            Ok(service.json(StatusCode::CREATED, &made))
        }
        // Only its hash is known: the first answer cannot be given again.
        CreateKeyOutcome::IdTaken => Err(Refusal::new(
            ErrorCode::Conflict,
            format!("a service key was made under this idempotency key already; if its answer was lost, revoke {id}"),
        )),
    }
}

async fn list(
    request: HttpRequest,
    paging: web::Query<Paging>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Refusal> {
    let service = Service::of(&request, &gateway).await?;
    let (limit, after) = (paging.limit()?, paging.after(|id| id.parse().ok())?);
    let found = gateway.node.store.service_keys_after(after, limit + 1).await?;
    let (keys, next_cursor) = page(found, limit, |key| key.id.to_string());
    Ok(service.json(StatusCode::OK, &Keys { keys: keys.into_iter().map(Known::from).collect(), next_cursor }))
}

/// To revoke a key twice is to revoke it once.
async fn revoke(
    request: HttpRequest,
    path: web::Path<String>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Refusal> {
    let service = Service::of(&request, &gateway).await?;
    let unknown = || Refusal::new(ErrorCode::NotFound, "there is no such service key");
    let id: Uuid = path.parse().map_err(|_| unknown())?;
    let act = service.act("service_key.revoke", "service_key", id.to_string());
    match gateway.node.store.revoke_service_key(id, &act).await? {
        RevokeOutcome::Revoked | RevokeOutcome::AlreadyRevoked => Ok(service.no_content()),
        RevokeOutcome::NotFound => Err(unknown()),
    }
}

/// `/service-keys`, below `/api/v1`.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/service-keys").route(web::post().to(create)).route(web::get().to(list)))
        .service(web::resource("/service-keys/{id}").route(web::delete().to(revoke)));
}
