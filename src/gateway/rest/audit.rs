//! The audit log, for whoever may read everything: a service key, or a token with the role `admin`.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
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

/// A privileged act.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditEntry)]
#[serde(rename_all = "camelCase")]
struct Entry {
    /// Names it; later ones are greater.
    id: Uuid,
    /// When it was done.
    at: Timestamp,
    /// Who did it.
    actor: Who,
    /// What was done: `group.put`, `group.delete`, `member.put`, `member.remove`, `service_key.create`, `service_key.revoke`, `call.end`,
    /// `user.disconnect`, `node.drain`, `sweep.request`, `webhook.create`, `webhook.update`, `webhook.delete`,
    /// `webhook.rotate_secret`, `webhook.test`, `delivery.replay`, `dead_letter.delete`. More may come.
    action: String,
    /// What it was done to.
    target: Target,
    /// What came of it: `created`, `updated`, `removed`, `revoked`, `already_revoked`, `conflict`, `not_found`;
    /// `asked` of what is on record before it is done, and again when it is known what came of it. More may come.
    outcome: String,
    /// The `X-Request-Id` of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    /// The node that did it.
    #[serde(skip_serializing_if = "Option::is_none")]
    node_id: Option<String>,
    /// What the actor said of it, or what there is to say of its outcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// Who did something.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditActor)]
struct Who {
    /// `service_key`, `user` or `command_line`.
    kind: String,
    /// Of the key or user; `bootstrap`: the key of the settings.
    id: String,
    /// The name of the key or user.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

/// What something was done to.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditTarget)]
#[serde(rename_all = "camelCase")]
struct Target {
    /// `group`, `service_key`, `call`, `user`, `node` or `sweeper`. More may come.
    kind: String,
    /// Of what it was done to.
    id: String,
    /// The member it was about.
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
            note: entry.note,
        }
    }
}

/// A page of the audit log.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditPage)]
#[serde(rename_all = "camelCase")]
pub(in crate::gateway) struct Entries {
    /// The acts, newest first.
    entries: Vec<Entry>,
    /// Where the next page begins; missing on the last.
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
    let found = gateway.node.store.audit_entries(&filter, limit + 1).await?;
    // After it: a first page would else begin with its own reading.
    service.reads(&gateway, Read::Audit, "log").await?;
    let (entries, next_cursor) = page(found, limit, |entry| entry.id.to_string());
    Ok(service.json(StatusCode::OK, &Entries { entries: entries.into_iter().map(Entry::from).collect(), next_cursor }))
}

/// `/admin/audit`, below `/api/v1`.
pub fn routes(config: &mut web::ServiceConfig) {
    config.service(web::resource("/admin/audit").route(web::get().to(list)));
}
