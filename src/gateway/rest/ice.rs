//! `GET /api/v1/ice-servers`: STUN and TURN for a user, with credentials of their own that run out.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use serde::Serialize;

use super::calls::reader;
use crate::{
    clock,
    gateway::Gateway,
    media::{IceServer, fresh_for},
    wire::Refusal,
};

/// How long an answer may be kept at most, so that a change of the settings is seen.
const MAX_KEPT: Duration = Duration::from_secs(300);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct IceServers {
    ice_servers: Vec<IceServer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ice_transport_policy: Option<&'static str>,
    /// Until when an answer is the same.
    max_age_secs: u64,
}

async fn ice_servers(request: HttpRequest, gateway: web::Data<Gateway>) -> Result<HttpResponse, Refusal> {
    let claims = reader(&request, &gateway).await?;
    let now = clock::now();
    let media = &gateway.node.media;
    let max_age_secs = fresh_for(now).min(MAX_KEPT).as_secs();
    let body = IceServers {
        ice_servers: media.ice_servers(&claims.user, now),
        ice_transport_policy: media.ice_transport_policy(),
        max_age_secs,
    };
    Ok(HttpResponse::Ok()
        // The user's own: no cache between us and them may keep it.
        .insert_header((header::CACHE_CONTROL, format!("private, max-age={max_age_secs}")))
        .insert_header((header::VARY, "Authorization"))
        .json(body))
}

/// `/ice-servers`, below `/api/v1`.
pub fn routes(config: &mut web::ServiceConfig) {
    config.route("/ice-servers", web::get().to(ice_servers));
}
