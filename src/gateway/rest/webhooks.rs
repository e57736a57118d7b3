//! Webhooks, made, changed and tried over the service API; those who may read everything may look.
//!
//! Must never show a secret but in the one answer to the request that makes it.

pub mod deliveries;

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    calls::IDEMPOTENCY_KEY,
    service::{Service, body, text},
};
use crate::{
    clock,
    domain::{EventFilter, Timestamp, WebhookEvent},
    gateway::{Gateway, auth::service::id_under, protocol::IdempotencyKey},
    secret::Secret,
    store::{CreateWebhookOutcome, MAX_WEBHOOKS, NewWebhook, RotateOutcome, Webhook, WebhookChange},
    webhooks::{
        check_url,
        signature::{is_secret, new_secret},
    },
    wire::{ErrorCode, Refusal},
};

/// The longest description, in characters.
const MAX_DESCRIPTION_CHARS: usize = 200;

/// A webhook to be made.
#[derive(Deserialize, Default, ToSchema)]
#[schema(as = NewWebhook)]
#[serde(rename_all = "camelCase")]
pub(in crate::gateway) struct NewBody {
    /// Where deliveries are posted: `https://`, a public address, no user name, password or fragment.
    #[schema(required = true, nullable = false, max_length = 2048, pattern = "^https://[^@#]+$")]
    url: Option<String>,
    /// The events to be told of, by name; `*`: all, also such as are added later. Missing or empty: all.
    #[schema(max_items = 100)]
    events: Option<Vec<String>>,
    /// What it is for.
    #[schema(max_length = 200, pattern = r"^[^\u0000]*$")]
    description: Option<String>,
    /// Whether it is on; missing: it is.
    enabled: Option<bool>,
    /// What deliveries are to be signed with: `whsec_` and base64 of 24 to 64 bytes. Missing: one is made.
    #[schema(value_type = Option<String>, pattern = "^whsec_[A-Za-z0-9+/]{32,86}={0,2}$")]
    secret: Option<GivenSecret>,
}

/// What is to be changed of a webhook; what is not given stays.
#[derive(Deserialize, Default, ToSchema)]
#[schema(as = WebhookChange)]
#[serde(rename_all = "camelCase")]
pub(in crate::gateway) struct ChangeBody {
    /// Where deliveries are posted, also those that wait.
    #[schema(max_length = 2048, pattern = "^https://[^@#]+$")]
    url: Option<String>,
    /// The events to be told of, by name; `*` or none: all.
    #[schema(max_items = 100)]
    events: Option<Vec<String>>,
    /// What it is for; null: nothing is said.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 200, pattern = r"^[^\u0000]*$")]
    description: Option<Option<String>>,
    /// Whether it is on. What happens while it is off is not told later.
    enabled: Option<bool>,
}

/// A new secret for a webhook.
#[derive(Deserialize, Default, ToSchema)]
#[schema(as = NewWebhookSecret)]
pub(in crate::gateway) struct SecretBody {
    /// `whsec_` and base64 of 24 to 64 bytes; missing: one is made.
    #[schema(value_type = Option<String>, pattern = "^whsec_[A-Za-z0-9+/]{32,86}={0,2}$")]
    secret: Option<GivenSecret>,
}

/// A secret as it comes in.
#[derive(Deserialize)]
#[serde(from = "String")]
struct GivenSecret(Secret);

impl From<String> for GivenSecret {
    fn from(text: String) -> Self {
        Self(Secret::new(text))
    }
}

/// Tells a field that is null from one that is not there.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// A webhook, without its secret.
#[derive(Serialize, ToSchema)]
#[schema(as = Webhook)]
#[serde(rename_all = "camelCase")]
pub(in crate::gateway) struct Known {
    /// Names it.
    webhook_id: Uuid,
    /// Where deliveries are posted.
    url: String,
    /// The events it is told of, by name; `*`: all.
    events: Vec<&'static str>,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// Whether it is on.
    enabled: bool,
    /// Why it is off, when nobody has switched it off. `gone`: the endpoint answered 410.
    #[serde(skip_serializing_if = "Option::is_none")]
    disabled_reason: Option<String>,
    /// Until when a secret before the present one signs too.
    #[serde(skip_serializing_if = "Option::is_none")]
    old_secret_until: Option<Timestamp>,
    /// When it was made.
    created_at: Timestamp,
    /// When it was last changed.
    updated_at: Timestamp,
}

impl From<Webhook> for Known {
    fn from(webhook: Webhook) -> Self {
        let now = clock::now();
        let old_secret_until = webhook.old_secrets.iter().map(|(_, until)| *until).filter(|until| *until > now).max();
        Self {
            webhook_id: webhook.id,
            url: webhook.url,
            events: webhook.filter.names(),
            description: webhook.description,
            enabled: webhook.enabled,
            disabled_reason: webhook.disabled_reason,
            old_secret_until,
            created_at: webhook.created_at,
            updated_at: webhook.updated_at,
        }
    }
}

/// A webhook that was just made.
#[derive(Serialize, ToSchema)]
#[schema(as = MadeWebhook)]
pub(in crate::gateway) struct Made {
    /// What deliveries are signed with, shown this once.
    secret: String,
    #[serde(flatten)]
    webhook: Known,
}

/// The webhooks.
#[derive(Serialize, ToSchema)]
#[schema(as = Webhooks)]
pub(in crate::gateway) struct All {
    /// All of them, at most 50.
    webhooks: Vec<Known>,
}

/// The new secret of a webhook.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookSecret)]
#[serde(rename_all = "camelCase")]
pub(in crate::gateway) struct Rotated {
    /// What deliveries are signed with, shown this once.
    secret: String,
    /// Until when the secret before signs too.
    old_secret_until: Timestamp,
}

/// A delivery that is on its way.
#[derive(Serialize, ToSchema)]
#[schema(as = QueuedDelivery)]
#[serde(rename_all = "camelCase")]
pub(in crate::gateway) struct Queued {
    /// Names it: what it bears in the header `webhook-id`.
    pub(in crate::gateway::rest) delivery_id: Uuid,
}

pub(in crate::gateway::rest) fn no_such_webhook() -> Refusal {
    Refusal::new(ErrorCode::NotFound, "there is no such webhook")
}

fn url(gateway: &Gateway, url: String) -> Result<String, Refusal> {
    let checked = check_url(&url, gateway.webhooks.config().allow_private);
    Ok(checked.map_err(|error| Refusal::invalid(error.to_string()))?.into())
}

fn filter(names: &[String]) -> Result<EventFilter, Refusal> {
    let known = || WebhookEvent::ON_REQUEST.map(WebhookEvent::as_str).join(", ");
    EventFilter::parse(names.iter().map(String::as_str))
        .map_err(|_| Refusal::invalid(format!("events must be * or of {}", known())))
}

fn secret(given: Option<GivenSecret>) -> Result<Secret, Refusal> {
    let Some(GivenSecret(secret)) = given else { return Ok(new_secret()) };
    let wrong = || Refusal::invalid("secret must be whsec_ and base64 of 24 to 64 bytes");
    is_secret(&secret).then_some(secret).ok_or_else(wrong)
}

async fn create(request: HttpRequest, sent: web::Bytes, gateway: web::Data<Gateway>) -> Result<HttpResponse, Refusal> {
    let service = Service::of(&request, &gateway).await?;
    let NewBody { url: address, events, description, enabled, secret: given } = body(&sent)?;
    let address = url(&gateway, address.ok_or_else(|| Refusal::invalid("url is missing"))?)?;
    text("description", description.as_deref().unwrap_or(""), MAX_DESCRIPTION_CHARS)?;
    let idempotency = request.headers().get(IDEMPOTENCY_KEY).map(|value| IdempotencyKey::from_header(value.as_bytes()));
    let id = match idempotency.transpose()? {
        Some(key) => id_under(&service.actor, &format!("webhook {}", key.as_str())),
        None => Uuid::now_v7(),
    };
    let filter = filter(&events.unwrap_or_default())?;
    let secret = secret(given)?;
    let new = NewWebhook { id, url: address, filter, description, enabled: enabled.unwrap_or(true), secret };
    let act = service.act("webhook.create", "webhook", id.to_string());
    let made = match gateway.node.store.create_webhook(&new, &act).await? {
        CreateWebhookOutcome::Created(webhook) => webhook,
        // Asked for again: the same answer, as long as it is the same webhook.
        CreateWebhookOutcome::Known(webhook) if webhook.url == new.url && webhook.filter == new.filter => webhook,
        CreateWebhookOutcome::Known(_) => {
            return Err(Refusal::new(ErrorCode::Conflict, "another webhook was made under this idempotency key"));
        }
        CreateWebhookOutcome::TooMany => {
            return Err(Refusal::new(ErrorCode::Conflict, format!("there are {MAX_WEBHOOKS} webhooks already")));
        }
    };
    take_note(&gateway).await;
    let secret = made.secret.reveal().to_owned();
    Ok(service.json(StatusCode::CREATED, &Made { secret, webhook: Known::from(*made) }))
}

/// From the answer on, this node goes by what was changed; others within a second. The act is done: that this look failed
/// must not cost who asked the answer, which may hold a secret. The next look, a second later, finds it.
async fn take_note(gateway: &Gateway) {
    if let Err(error) = gateway.node.store.load_webhooks().await {
        tracing::debug!(node.id = %gateway.node.id, %error, "webhooks not looked at after a change");
    }
    gateway.webhooks.refresh();
}

async fn list(request: HttpRequest, gateway: web::Data<Gateway>) -> Result<HttpResponse, Refusal> {
    let service = Service::or_admin(&request, &gateway).await?;
    let all = gateway.node.store.load_webhooks().await?;
    Ok(service.json(StatusCode::OK, &All { webhooks: all.into_iter().map(Known::from).collect() }))
}

pub(in crate::gateway::rest) fn id(path: &str) -> Result<Uuid, Refusal> {
    path.parse().map_err(|_| no_such_webhook())
}

async fn get(
    request: HttpRequest,
    path: web::Path<String>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Refusal> {
    let service = Service::or_admin(&request, &gateway).await?;
    let found = gateway.node.store.webhook(id(&path)?).await?.ok_or_else(no_such_webhook)?;
    Ok(service.json(StatusCode::OK, &Known::from(found)))
}

async fn change(
    request: HttpRequest,
    path: web::Path<String>,
    sent: web::Bytes,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Refusal> {
    let service = Service::of(&request, &gateway).await?;
    let id = id(&path)?;
    let ChangeBody { url: address, events, description, enabled } = body(&sent)?;
    text("description", description.iter().flatten().next().map_or("", String::as_str), MAX_DESCRIPTION_CHARS)?;
    let address = address.map(|address| url(&gateway, address)).transpose()?;
    let filter = events.map(|events| filter(&events)).transpose()?;
    let change = WebhookChange { url: address, filter, description, enabled };
    let act = service.act("webhook.update", "webhook", id.to_string());
    let changed = gateway.node.store.change_webhook(id, &change, &act).await?.ok_or_else(no_such_webhook)?;
    take_note(&gateway).await;
    Ok(service.json(StatusCode::OK, &Known::from(changed)))
}

async fn delete(
    request: HttpRequest,
    path: web::Path<String>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Refusal> {
    let service = Service::of(&request, &gateway).await?;
    let id = id(&path)?;
    let act = service.act("webhook.delete", "webhook", id.to_string());
    // To delete one twice is to delete it once.
    if gateway.node.store.delete_webhook(id, &act).await? {
        take_note(&gateway).await;
    }
    Ok(service.no_content())
}

async fn rotate(
    request: HttpRequest,
    path: web::Path<String>,
    sent: web::Bytes,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Refusal> {
    let service = Service::of(&request, &gateway).await?;
    let id = id(&path)?;
    let SecretBody { secret: given } = body(&sent)?;
    let secret = secret(given)?;
    let act = service.act("webhook.rotate_secret", "webhook", id.to_string());
    match gateway.node.store.rotate_webhook_secret(id, &secret, clock::now(), &act).await? {
        RotateOutcome::Rotated(old_secret_until) => {
            gateway.webhooks.refresh();
            let secret = secret.reveal().to_owned();
            Ok(service.json(StatusCode::OK, &Rotated { secret, old_secret_until }))
        }
        RotateOutcome::TooSoon => {
            let why = "secrets were made too often: three before the present one still sign";
            Err(Refusal::new(ErrorCode::Conflict, why))
        }
        RotateOutcome::NotFound => Err(no_such_webhook()),
    }
}

async fn try_it(
    request: HttpRequest,
    path: web::Path<String>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Refusal> {
    let service = Service::of(&request, &gateway).await?;
    let webhook = gateway.node.store.webhook(id(&path)?).await?.ok_or_else(no_such_webhook)?;
    if !webhook.enabled {
        return Err(Refusal::new(ErrorCode::WrongState, "the webhook is off"));
    }
    let delivery_id = Uuid::now_v7();
    let act = service.act("webhook.test", "webhook", webhook.id.to_string());
    let payload = json!({"webhookId": webhook.id}).to_string();
    let event = WebhookEvent::WebhookTest.as_str();
    gateway.node.store.add_delivery(delivery_id, webhook.id, event, &payload, &act).await?;
    Ok(service.json(StatusCode::ACCEPTED, &Queued { delivery_id }))
}

/// `/webhooks` and `/admin/dead-letters`, below `/api/v1`.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/webhooks").route(web::post().to(create)).route(web::get().to(list)))
        .service(
            web::resource("/webhooks/{webhookId}")
                .route(web::get().to(get))
                .route(web::patch().to(change))
                .route(web::delete().to(delete)),
        )
        .service(web::resource("/webhooks/{webhookId}/secret").route(web::post().to(rotate)))
        .service(web::resource("/webhooks/{webhookId}/test").route(web::post().to(try_it)))
        .configure(deliveries::routes);
}
