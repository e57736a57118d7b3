//! The application's webhooks: where it wants to be told of what, and what the telling is signed with.
//!
//! Must never show a secret but to who signs, and to who has just made it. Changes are on record in the audit log, in
//! their transaction. A webhook that is gone leaves its deliveries behind, unseen, for a sweeper.

use std::time::Duration;

use diesel::prelude::*;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Act, Store,
    audit::record_act,
    connection::{Conn, in_transaction, with_conn},
    error::{Fault, StoreError},
    outbox::Subscription,
    schema::webhooks,
    types::{DbNow, StoredId, StoredTime},
};
use crate::{
    domain::{EventFilter, Timestamp},
    secret::Secret,
};

/// The most webhooks. More, and each commit writes as many rows; an application needs one, or one for each of its parts.
pub const MAX_WEBHOOKS: usize = 50;
/// How long the secret before still signs after a new one was made. Shorter, and a backend that is rolled out slowly
/// refuses what it is sent; longer, and one that has leaked is believed for longer.
pub const SECRET_OVERLAP: Duration = Duration::from_secs(24 * 60 * 60);
/// Secrets that may sign beside the newest. More make the header long.
pub const MAX_OLD_SECRETS: usize = 3;

/// A webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    pub id: Uuid,
    pub url: String,
    pub filter: EventFilter,
    pub description: Option<String>,
    pub enabled: bool,
    /// Why it is off, when nobody has switched it off.
    pub disabled_reason: Option<String>,
    pub secret: Secret,
    /// Secrets that still sign beside it, and until when.
    pub old_secrets: Vec<(Secret, Timestamp)>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// A webhook to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewWebhook {
    pub id: Uuid,
    pub url: String,
    pub filter: EventFilter,
    pub description: Option<String>,
    pub enabled: bool,
    pub secret: Secret,
}

/// What is to be changed of one; `None`: nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WebhookChange {
    pub url: Option<String>,
    pub filter: Option<EventFilter>,
    pub description: Option<Option<String>>,
    pub enabled: Option<bool>,
}

/// What became of a new webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CreateWebhookOutcome {
    Created(Box<Webhook>),
    /// There was one of that id.
    Known(Box<Webhook>),
    TooMany,
}

/// What became of a new secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RotateOutcome {
    /// Until when the secret before still signs.
    Rotated(Timestamp),
    /// It was made too often within [`SECRET_OVERLAP`].
    TooSoon,
    NotFound,
}

#[derive(Serialize, Deserialize)]
struct OldSecret {
    secret: String,
    until: i64,
}

type Columns = (StoredId, String, String, Option<String>, bool, Option<String>, String, String, StoredTime, StoredTime);

fn webhook_of(columns: Columns) -> Result<Webhook, Fault> {
    let (id, url, events, description, enabled, disabled_reason, secret, old_secrets, created_at, updated_at) = columns;
    // Names that this version does not know are of a newer one, whose nodes tell of them.
    let known = events.split(',').filter(|name| EventFilter::parse([*name]).is_ok());
    let filter = EventFilter::parse(known).map_err(|_| Fault::Unreadable("the events of a webhook"))?;
    let filter = if filter == EventFilter::All && events != "*" { EventFilter::Of(Vec::new()) } else { filter };
    let old: Vec<OldSecret> =
        serde_json::from_str(&old_secrets).map_err(|_| Fault::Unreadable("the secrets of a webhook"))?;
    Ok(Webhook {
        id: id.0,
        url,
        filter,
        description,
        enabled,
        disabled_reason,
        secret: Secret::new(secret),
        old_secrets: old.into_iter().map(|old| (Secret::new(old.secret), Timestamp::from_millis(old.until))).collect(),
        created_at: created_at.0,
        updated_at: updated_at.0,
    })
}

fn events_text(filter: &EventFilter) -> String {
    filter.names().join(",")
}

fn secrets_text(old: &[(Secret, Timestamp)]) -> String {
    let old = old.iter().map(|(secret, until)| OldSecret { secret: secret.reveal().into(), until: until.as_millis() });
    serde_json::to_string(&old.collect::<Vec<_>>()).unwrap_or_else(|_| "[]".to_owned())
}

impl Store {
    /// Every webhook; from now on commits of this node write for those that are on.
    pub async fn load_webhooks(&self) -> Result<Vec<Webhook>, StoreError> {
        let load = |conn: &mut Conn| {
            let rows: Vec<Columns> = with_conn!(conn, |c| webhooks::table.order(webhooks::id).load(c)?);
            rows.into_iter().map(webhook_of).collect::<Result<Vec<_>, Fault>>()
        };
        let all = self.read(load).await?;
        let on = all.iter().filter(|webhook| webhook.enabled);
        let subscription = |webhook: &Webhook| Subscription { webhook: webhook.id, filter: webhook.filter.clone() };
        self.subscriptions().set(on.map(subscription).collect());
        Ok(all)
    }

    /// Resolves when this node has written something that may be sent, since it was last asked.
    pub async fn webhooks_written(&self) {
        self.subscriptions().written.notified().await;
    }

    /// Makes a webhook. To do it twice is to do it once.
    pub async fn create_webhook(&self, new: &NewWebhook, act: &Act) -> Result<CreateWebhookOutcome, StoreError> {
        let (new, act) = (new.clone(), act.clone());
        let create = move |conn: &mut Conn| {
            in_transaction!(conn, |c| {
                let row = || webhooks::table.find(StoredId(new.id));
                let known: Option<Columns> = row().first(c).optional()?;
                if let Some(known) = known {
                    return webhook_of(known).map(|webhook| CreateWebhookOutcome::Known(Box::new(webhook)));
                }
                // Two at once may make one more: it is a bound against mistakes.
                let count: i64 = webhooks::table.count().get_result(c)?;
                if usize::try_from(count).is_ok_and(|count| count >= MAX_WEBHOOKS) {
                    record_act!(c, act, "conflict");
                    return Ok(CreateWebhookOutcome::TooMany);
                }
                diesel::insert_into(webhooks::table)
                    .values((
                        webhooks::id.eq(StoredId(new.id)),
                        webhooks::url.eq(&new.url),
                        webhooks::events.eq(events_text(&new.filter)),
                        webhooks::description.eq(&new.description),
                        webhooks::enabled.eq(new.enabled),
                        webhooks::secret.eq(new.secret.reveal()),
                        webhooks::old_secrets.eq("[]"),
                        webhooks::created_at.eq(DbNow::now()),
                        webhooks::updated_at.eq(DbNow::now()),
                    ))
                    .on_conflict_do_nothing()
                    .execute(c)?;
                record_act!(c, act, "created");
                let made: Columns = row().first(c)?;
                webhook_of(made).map(|webhook| CreateWebhookOutcome::Created(Box::new(webhook)))
            })
        };
        self.read(create).await
    }

    /// One webhook.
    pub async fn webhook(&self, id: Uuid) -> Result<Option<Webhook>, StoreError> {
        let load = move |conn: &mut Conn| {
            let row = webhooks::table.find(StoredId(id));
            let found: Option<Columns> = with_conn!(conn, |c| row.first(c).optional()?);
            found.map(webhook_of).transpose()
        };
        self.read(load).await
    }

    /// Changes a webhook; `None`: there is none. Who switches it on takes back why it was off.
    pub async fn change_webhook(
        &self,
        id: Uuid,
        change: &WebhookChange,
        act: &Act,
    ) -> Result<Option<Webhook>, StoreError> {
        let (change, act) = (change.clone(), act.clone());
        let update = move |conn: &mut Conn| {
            in_transaction!(conn, |c| {
                let found: Option<Columns> = webhooks::table.find(StoredId(id)).first(c).optional()?;
                let Some(found) = found else {
                    record_act!(c, act, "not_found");
                    return Ok(None);
                };
                let mut webhook = webhook_of(found)?;
                let WebhookChange { url, filter, description, enabled } = change.clone();
                webhook.url = url.unwrap_or(webhook.url);
                webhook.filter = filter.unwrap_or(webhook.filter);
                webhook.description = description.unwrap_or(webhook.description);
                if let Some(enabled) = enabled {
                    (webhook.enabled, webhook.disabled_reason) = (enabled, None);
                }
                diesel::update(webhooks::table.find(StoredId(id)))
                    .set((
                        webhooks::url.eq(&webhook.url),
                        webhooks::events.eq(events_text(&webhook.filter)),
                        webhooks::description.eq(&webhook.description),
                        webhooks::enabled.eq(webhook.enabled),
                        webhooks::disabled_reason.eq(&webhook.disabled_reason),
                        webhooks::updated_at.eq(DbNow::now()),
                    ))
                    .execute(c)?;
                record_act!(c, act, "updated");
                Ok::<_, Fault>(Some(webhook))
            })
        };
        self.read(update).await
    }

    /// Switches a webhook off because of what its endpoint said, unless it is off or has another address by now. `true`:
    /// it was on.
    pub async fn disable_webhook(&self, id: Uuid, url: &str, why: &str) -> Result<bool, StoreError> {
        let (url, why) = (url.to_owned(), why.to_owned());
        let disable = move |conn: &mut Conn| {
            let on = webhooks::table
                .filter(webhooks::id.eq(StoredId(id)).and(webhooks::enabled.eq(true)).and(webhooks::url.eq(&url)));
            let off = (
                webhooks::enabled.eq(false),
                webhooks::disabled_reason.eq(Some(&why)),
                webhooks::updated_at.eq(DbNow::now()),
            );
            Ok::<_, Fault>(with_conn!(conn, |c| diesel::update(on).set(off).execute(c)?) == 1)
        };
        self.read(disable).await
    }

    /// Deletes a webhook; what it was still to be told is not sent. `false`: there is none.
    pub async fn delete_webhook(&self, id: Uuid, act: &Act) -> Result<bool, StoreError> {
        let act = act.clone();
        let delete = move |conn: &mut Conn| {
            in_transaction!(conn, |c| {
                let gone = diesel::delete(webhooks::table.find(StoredId(id))).execute(c)? == 1;
                record_act!(c, act, if gone { "removed" } else { "not_found" });
                Ok::<_, Fault>(gone)
            })
        };
        self.read(delete).await
    }

    /// Gives a webhook a new secret; the one before signs beside it for [`SECRET_OVERLAP`] from `now`.
    pub async fn rotate_webhook_secret(
        &self,
        id: Uuid,
        secret: &Secret,
        now: Timestamp,
        act: &Act,
    ) -> Result<RotateOutcome, StoreError> {
        let (secret, act) = (secret.clone(), act.clone());
        let rotate = move |conn: &mut Conn| {
            in_transaction!(conn, |c| {
                let found: Option<Columns> = webhooks::table.find(StoredId(id)).first(c).optional()?;
                let Some(found) = found else {
                    record_act!(c, act, "not_found");
                    return Ok(RotateOutcome::NotFound);
                };
                let mut webhook = webhook_of(found)?;
                let before = webhook.secret.reveal().to_owned();
                webhook.old_secrets.retain(|(_, until)| *until > now);
                let until = now + SECRET_OVERLAP;
                if webhook.secret != secret {
                    if webhook.old_secrets.len() >= MAX_OLD_SECRETS {
                        record_act!(c, act, "conflict");
                        return Ok(RotateOutcome::TooSoon);
                    }
                    webhook.old_secrets.insert(0, (webhook.secret, until));
                }
                diesel::update(webhooks::table.find(StoredId(id)).filter(webhooks::secret.eq(&before)))
                    .set((
                        webhooks::secret.eq(secret.reveal()),
                        webhooks::old_secrets.eq(secrets_text(&webhook.old_secrets)),
                        webhooks::updated_at.eq(DbNow::now()),
                    ))
                    .execute(c)?;
                record_act!(c, act, "rotated");
                Ok::<_, Fault>(RotateOutcome::Rotated(until))
            })
        };
        self.read(rotate).await
    }
}
