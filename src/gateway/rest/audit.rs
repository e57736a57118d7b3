//! The audit log, for whoever may read everything: a service key, or a token with the role `admin`.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    privileged::Read,
    service::{Paging, Service, page},
};
use crate::{
    domain::Timestamp,
    gateway::Gateway,
    store::{AuditEntry, AuditFilter},
    wire::Refusal,
};

#[derive(Debug, Default, Deserialize)]
struct Filter {
    actor: Option<String>,
    action: Option<String>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    id: Uuid,
    at: Timestamp,
    actor: Who,
    action: String,
    target: Target,
    outcome: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_id: Option<String>,
}

#[derive(Serialize)]
struct Who {
    kind: String,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Target {
    kind: String,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
}

impl From<AuditEntry> for Entry {
    fn from(entry: AuditEntry) -> Self {
        Self {
            id: entry.id,
            at: entry.at,
            actor: Who { kind: entry.actor_kind, id: entry.actor, name: entry.actor_name },
            action: entry.action,
            target: Target { kind: entry.target_kind, id: entry.target, user_id: entry.user },
            outcome: entry.outcome,
            request_id: entry.request_id,
            node_id: entry.node,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entries {
    entries: Vec<Entry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

async fn list(
    request: HttpRequest,
    paging: web::Query<Paging>,
    filter: web::Query<Filter>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Refusal> {
    let service = Service::or_admin(&request, &gateway).await?;
    let (limit, before) = (paging.limit()?, paging.after(|id| id.parse().ok())?);
    let Filter { actor, action, since, until } = filter.into_inner();
    if actor.iter().chain(&action).any(|text| text.contains('\0')) {
        return Err(Refusal::invalid("a filter must not hold NUL"));
    }
    let filter = AuditFilter { actor, action, since, until, before };
    service.reads(&gateway, Read::Audit, "log").await?;
    let found = gateway.node.store.audit_entries(&filter, limit + 1).await?;
    let (entries, next_cursor) = page(found, limit, |entry| entry.id.to_string());
    Ok(service.json(StatusCode::OK, &Entries { entries: entries.into_iter().map(Entry::from).collect(), next_cursor }))
}

/// `/admin/audit`, below `/api/v1`.
pub fn routes(config: &mut web::ServiceConfig) {
    config.service(web::resource("/admin/audit").route(web::get().to(list)));
}
