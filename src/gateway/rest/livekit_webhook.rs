//! `POST /api/v1/livekit/webhook`: what LiveKit tells of its rooms.
//!
//! Owns the order: verify, then once per event in the whole cluster, then act. Must never act on a body that LiveKit's
//! key has not signed. What could not be acted on is forgotten again and refused with 503, so that LiveKit repeats it; a
//! node that dies in between loses the event, which a look at the room makes good.

use actix_web::{HttpRequest, HttpResponse, http::header, web};

use crate::{
    actors::media_facts::{self, Heard},
    clock,
    gateway::{Gateway, address::ClientAddress, limits::Kind},
    media::webhook::WebhookError,
    wire::{ErrorCode, Refusal},
};

/// The longest body. An event holds one room, one participant with 64 KiB of metadata and attributes at most, one track.
const MAX_BODY_BYTES: usize = 256 * 1024;

async fn webhook(request: HttpRequest, body: web::Bytes, gateway: web::Data<Gateway>) -> Result<HttpResponse, Refusal> {
    let address = ClientAddress::of(&request);
    gateway.limits.may_authenticate(address)?;
    gateway.limits.by_address(Kind::Service, address)?;
    let token = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let node = &gateway.node;
    let event = match node.media.webhook(&body, token, clock::now()) {
        Ok(event) => event,
        Err(error) => {
            node.media.on_webhook("refused");
            if error == WebhookError::Forged {
                gateway.limits.on_bad_credentials(address);
            }
            tracing::debug!(%error, "a webhook was refused");
            return Err(refusal(error));
        }
    };
    let Some(fact) = event.fact else {
        node.media.on_webhook("ignored");
        return Ok(taken());
    };
    if !node.store.take_livekit_event(&event.id).await? {
        node.media.on_webhook("repeated");
        return Ok(taken());
    }
    tracing::debug!(call.id = %fact.call, event = event.kind, "livekit tells");
    match media_facts::hear(node, fact).await {
        Heard::Done => {
            node.media.on_webhook("taken");
            Ok(taken())
        }
        Heard::Later => {
            node.media.on_webhook("later");
            node.store.give_livekit_event_back(&event.id).await?;
            Err(Refusal::unavailable("not now; send it again"))
        }
    }
}

fn taken() -> HttpResponse {
    HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).finish()
}

fn refusal(error: WebhookError) -> Refusal {
    let code = match error {
        WebhookError::NotConfigured => ErrorCode::MediaUnavailable,
        WebhookError::Forged => ErrorCode::Unauthenticated,
        WebhookError::Stale | WebhookError::Unreadable => ErrorCode::Invalid,
    };
    Refusal::new(code, error.to_string())
}

/// `/livekit/webhook`, below `/api/v1`.
pub fn routes(config: &mut web::ServiceConfig) {
    config.service(
        web::resource("/livekit/webhook")
            .app_data(web::PayloadConfig::new(MAX_BODY_BYTES))
            .route(web::post().to(webhook)),
    );
}
