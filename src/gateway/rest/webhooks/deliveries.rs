//! What has become of deliveries: looked at, sent again, and taken off the list of dead letters.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Queued, id, no_such_webhook};
use crate::{
    clock,
    domain::Timestamp,
    gateway::{
        Gateway,
        rest::{
            privileged::Read,
            service::{Paging, Service, page},
        },
    },
    store::{Delivery, DeliveryQuery, DeliveryState, ReplayOutcome},
    wire::{ErrorCode, Refusal},
};

/// A delivery, without what it says.
#[derive(Serialize, ToSchema)]
#[schema(as = Delivery)]
#[serde(rename_all = "camelCase")]
struct Shown {
    /// Names it: what it bears in the header `webhook-id`.
    delivery_id: Uuid,
    /// Its webhook.
    webhook_id: Uuid,
    /// What happened.
    event: String,
    /// The call it happened to.
    #[serde(skip_serializing_if = "Option::is_none")]
    call_id: Option<String>,
    /// How it stands: `pending`, `delivered`, `expired` or `dead`.
    state: &'static str,
    /// When it happened.
    created_at: Timestamp,
    /// From then on it is of no use, and is not sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    /// How often it was sent.
    attempts: u32,
    /// When last.
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt_at: Option<Timestamp>,
    /// When it is sent next, unless it waits behind another of its call; while it is being sent, when it would be again.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_at: Option<Timestamp>,
    /// The status of the last answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_status: Option<u16>,
    /// What was wrong with the last attempt: `status`, `redirect`, `gone`, `timeout`, `unreachable`, `tls`, `broken` or `address_refused`.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
    /// The beginning of the last answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_answer: Option<String>,
    /// Since when it is delivered, expired or dead.
    #[serde(skip_serializing_if = "Option::is_none")]
    settled_at: Option<Timestamp>,
}

impl From<Delivery> for Shown {
    fn from(delivery: Delivery) -> Self {
        Self {
            delivery_id: delivery.id,
            webhook_id: delivery.webhook,
            event: delivery.event,
            call_id: delivery.call,
            state: delivery.state.as_str(),
            created_at: delivery.created_at,
            expires_at: delivery.expires_at,
            attempts: delivery.attempts,
            attempt_at: delivery.attempt_at,
            next_at: delivery.next_at,
            last_status: delivery.last_status,
            last_error: delivery.last_error,
            last_answer: delivery.last_answer,
            settled_at: delivery.settled_at,
        }
    }
}

/// A page of deliveries.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::gateway) struct Deliveries {
    /// The deliveries, newest first.
    deliveries: Vec<Shown>,
    /// Where the next page begins; missing on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// A delivery that was given up.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct DeadLetter {
    /// Names it.
    delivery_id: Uuid,
    /// Its webhook.
    webhook_id: Uuid,
    /// Where that posts to now.
    url: String,
    /// What happened.
    event: String,
    /// The call it happened to.
    #[serde(skip_serializing_if = "Option::is_none")]
    call_id: Option<String>,
    /// When it happened.
    created_at: Timestamp,
    /// How often it was sent.
    attempts: u32,
    /// What was wrong with the last attempt.
    last_error: String,
    /// The status of the last answer, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_status: Option<u16>,
}

impl From<Delivery> for DeadLetter {
    fn from(delivery: Delivery) -> Self {
        Self {
            delivery_id: delivery.id,
            webhook_id: delivery.webhook,
            url: delivery.url,
            event: delivery.event,
            call_id: delivery.call,
            created_at: delivery.created_at,
            attempts: delivery.attempts,
            last_error: delivery.last_error.unwrap_or_default(),
            last_status: delivery.last_status,
        }
    }
}

/// A page of the dead letters.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::gateway) struct DeadLetters {
    /// The node's time, which is the database's.
    server_time: Timestamp,
    /// The dead letters, newest first.
    dead_letters: Vec<DeadLetter>,
    /// Where the next page begins; missing on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct ByState {
    state: Option<String>,
}

async fn list(
    request: HttpRequest,
    path: web::Path<String>,
    paging: web::Query<Paging>,
    filter: web::Query<ByState>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Refusal> {
    let service = Service::or_admin(&request, &gateway).await?;
    let (limit, before) = (paging.limit()?, paging.after(|id| id.parse().ok())?);
    let wrong = || Refusal::invalid("state must be pending, delivered, expired or dead");
    let state = filter.state.as_deref().map(|state| DeliveryState::parse(state).ok_or_else(wrong)).transpose()?;
    let webhook = gateway.node.store.webhook(id(&path)?).await?.ok_or_else(no_such_webhook)?.id;
    service.reads(&gateway, Read::Deliveries, &webhook.to_string()).await?;
    let query = DeliveryQuery { webhook: Some(webhook), state, before };
    let found = gateway.node.store.deliveries(query, limit + 1).await?;
    let (deliveries, next_cursor) = page(found, limit, |delivery| delivery.id.to_string());
    let deliveries = deliveries.into_iter().map(Shown::from).collect();
    Ok(service.json(StatusCode::OK, &Deliveries { deliveries, next_cursor }))
}

fn no_such_delivery() -> Refusal {
    Refusal::new(ErrorCode::NotFound, "there is no such delivery")
}

async fn send_again(
    service: &Service,
    gateway: &Gateway,
    delivery: &str,
    webhook: Option<Uuid>,
) -> Result<HttpResponse, Refusal> {
    let delivery_id: Uuid = delivery.parse().map_err(|_| no_such_delivery())?;
    let act = service.act("delivery.replay", "delivery", delivery_id.to_string());
    let wrong = |why| Err(Refusal::new(ErrorCode::WrongState, why));
    match gateway.node.store.replay_delivery(delivery_id, webhook, &act).await? {
        ReplayOutcome::Replayed => Ok(service.json(StatusCode::ACCEPTED, &Queued { delivery_id })),
        ReplayOutcome::Pending => wrong("the delivery is on its way"),
        ReplayOutcome::Expired => wrong("the delivery is of no use any more"),
        ReplayOutcome::NotFound => Err(no_such_delivery()),
    }
}

async fn replay(
    request: HttpRequest,
    path: web::Path<(String, String)>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Refusal> {
    let service = Service::of(&request, &gateway).await?;
    let (webhook, delivery) = path.into_inner();
    send_again(&service, &gateway, &delivery, Some(id(&webhook)?)).await
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfWebhook {
    webhook_id: Option<String>,
}

async fn dead_letters(
    request: HttpRequest,
    paging: web::Query<Paging>,
    filter: web::Query<OfWebhook>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Refusal> {
    let service = Service::or_admin(&request, &gateway).await?;
    let (limit, before) = (paging.limit()?, paging.after(|id| id.parse().ok())?);
    let wrong = |_| Refusal::invalid("webhookId must be the id of a webhook");
    let webhook = filter.webhook_id.as_deref().map(str::parse).transpose().map_err(wrong)?;
    service.reads(&gateway, Read::DeadLetters, "dead_letters").await?;
    let query = DeliveryQuery { webhook, state: Some(DeliveryState::Dead), before };
    let found = gateway.node.store.deliveries(query, limit + 1).await?;
    let (dead, next_cursor) = page(found, limit, |delivery| delivery.id.to_string());
    let dead_letters = dead.into_iter().map(DeadLetter::from).collect();
    Ok(service.json(StatusCode::OK, &DeadLetters { server_time: clock::now(), dead_letters, next_cursor }))
}

async fn replay_dead_letter(
    request: HttpRequest,
    path: web::Path<String>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Refusal> {
    let service = Service::or_admin(&request, &gateway).await?;
    send_again(&service, &gateway, &path, None).await
}

async fn delete_dead_letter(
    request: HttpRequest,
    path: web::Path<String>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Refusal> {
    let service = Service::or_admin(&request, &gateway).await?;
    let id: Uuid = path.parse().map_err(|_| no_such_delivery())?;
    let act = service.act("dead_letter.delete", "delivery", id.to_string());
    // To delete one twice is to delete it once.
    gateway.node.store.delete_dead_letter(id, &act).await?;
    Ok(service.no_content())
}

/// `/webhooks/{webhookId}/deliveries` and `/admin/dead-letters`, below `/api/v1`.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/webhooks/{webhookId}/deliveries").route(web::get().to(list)))
        .service(web::resource("/webhooks/{webhookId}/deliveries/{deliveryId}/replay").route(web::post().to(replay)))
        .service(web::resource("/admin/dead-letters").route(web::get().to(dead_letters)))
        .service(web::resource("/admin/dead-letters/{deliveryId}/replay").route(web::post().to(replay_dead_letter)))
        .service(web::resource("/admin/dead-letters/{deliveryId}").route(web::delete().to(delete_dead_letter)));
}
