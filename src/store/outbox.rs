//! What a commit writes for the application's webhooks: a row for each event and webhook that is to hear of it, in the
//! transaction of the event, so that neither is there without the other, whoever dies then.
//!
//! Owns what this node knows of webhooks when it commits: as of the last look ([`super::Store::load_webhooks`]), a second
//! ago at most. Must cost nothing where there is no webhook: no statement, and one look at a flag.

use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicBool, Ordering},
};

use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use uuid::{Builder, Uuid};

use super::types::signed;
use crate::domain::{Call, EventFilter, Notice, Recorded, Recording, Timestamp, UserId, webhook};

/// A webhook that is to hear of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subscription {
    pub webhook: Uuid,
    pub filter: EventFilter,
}

/// The webhooks that are switched on.
#[derive(Default)]
pub(super) struct Subscriptions {
    any: AtomicBool,
    list: RwLock<Arc<[Subscription]>>,
    /// Rows were written here that may be sent.
    pub written: Notify,
}

/// A row to be written. Its lane is its call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outgoing {
    pub id: Uuid,
    pub webhook: Uuid,
    pub event: &'static str,
    pub pos: i64,
    /// Before it nothing of this commit goes to this webhook.
    pub first: bool,
    pub at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub user: Option<UserId>,
    pub payload: Arc<str>,
}

impl Subscriptions {
    pub fn set(&self, list: Vec<Subscription>) {
        let any = !list.is_empty();
        *self.list.write().unwrap_or_else(PoisonError::into_inner) = list.into();
        self.any.store(any, Ordering::Release);
    }

    fn current(&self) -> Arc<[Subscription]> {
        self.list.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is to be told of a commit.
    pub fn of_commit(&self, before: Option<&Call>, after: &Call, events: &[Recorded]) -> Vec<Outgoing> {
        if !self.any.load(Ordering::Acquire) {
            return Vec::new();
        }
        let notices = webhook::notices(before, after, events);
        rows(&self.current(), &notices, |_, _| Uuid::now_v7())
    }

    /// What is to be told of a recording as it is now written. It may be written like this more than once, so the ids are
    /// those of the first time.
    pub fn of_recording(&self, recording: &Recording, now: Timestamp) -> Vec<Outgoing> {
        if recording.told || !self.any.load(Ordering::Acquire) {
            return Vec::new();
        }
        let Some(notice) = webhook::notice_of(recording, now) else { return Vec::new() };
        let id = |webhook: &Uuid, notice: &Notice| {
            let mut named = Sha256::new();
            named.update(webhook.as_bytes());
            named.update(notice.event.as_str());
            named.update(recording.id.as_str());
            let mut random = [0; 10];
            random.copy_from_slice(&named.finalize()[..10]);
            let began = u64::try_from(recording.created_at.as_millis()).unwrap_or(0);
            Builder::from_unix_timestamp_millis(began, &random).into_uuid()
        };
        rows(&self.current(), &[notice], id)
    }
}

fn rows(to: &[Subscription], notices: &[Notice], id: impl Fn(&Uuid, &Notice) -> Uuid) -> Vec<Outgoing> {
    let mut rows = Vec::new();
    let payloads: Vec<Arc<str>> = notices.iter().map(|notice| notice.data.as_str().into()).collect();
    for Subscription { webhook, filter } in to {
        let mut first = None;
        for (notice, payload) in notices.iter().zip(&payloads).filter(|(notice, _)| filter.wants(notice.event)) {
            rows.push(Outgoing {
                id: id(webhook, notice),
                webhook: *webhook,
                event: notice.event.as_str(),
                pos: signed(notice.pos),
                first: *first.get_or_insert(notice.pos) == notice.pos,
                at: notice.at,
                expires_at: notice.expires_at,
                user: notice.rings.clone(),
                payload: payload.clone(),
            });
        }
    }
    rows
}

/// Writes rows of one lane within a transaction that nobody else of that lane is in: commits on SQLite, and facts about a
/// recording. Those that are there already are left alone.
macro_rules! write_outgoing {
    ($c:expr, $lane:expr, $rows:expr) => {{
        use $crate::store::{
            schema::webhook_deliveries as d,
            types::{DbNow, StoredId, StoredTime},
        };
        for row in $rows {
            let before = d::table
                .filter(d::webhook_id.eq(StoredId(row.webhook)).and(d::lane.eq($lane)).and(d::pos.lt(row.pos)))
                .filter($crate::store::webhook_deliveries::is_open());
            let behind: bool = diesel::select(diesel::dsl::exists(before)).get_result($c)?;
            diesel::insert_into(d::table)
                .values((
                    (
                        d::id.eq(StoredId(row.id)),
                        d::webhook_id.eq(StoredId(row.webhook)),
                        d::event.eq(row.event),
                        d::lane.eq($lane),
                        d::pos.eq(row.pos),
                        d::call_id.eq(Some($lane)),
                        d::user_id.eq(row.user.as_ref().map(|user| user.as_str())),
                    ),
                    d::created_at.eq(StoredTime(row.at)),
                    d::expires_at.eq(row.expires_at.map(StoredTime)),
                    d::payload.eq(&*row.payload),
                    d::state.eq(if behind { "waiting" } else { "due" }),
                    d::next_at.eq(DbNow::now()),
                    d::attempts.eq(0),
                ))
                .on_conflict_do_nothing()
                .execute($c)?;
        }
    }};
}
pub(super) use write_outgoing;
