//! Reads of other people's data by those who may read everything: on record in the audit log, before they are answered.
//!
//! One record for a reader, what they do and its target in [`REMEMBERED`]: the pages of one list are one read. Must never
//! let such a read pass that cannot be recorded: it is refused as `unavailable`. Ordinary reads, of one's own, are none of
//! this, and write nothing.

use std::time::{Duration, Instant};

use actix_web::HttpRequest;
use dashmap::DashMap;

use super::service;
use crate::{
    clock,
    gateway::{Gateway, auth::Claims},
    store::{Act, Actor, ActorKind},
    wire::Refusal,
};

/// For how long a read on record stands for the same again. Longer: the log says less of when; shorter: who pages through
/// a long list writes a record for each page.
const REMEMBERED: Duration = Duration::from_secs(60);
/// How many reads are remembered. Larger is memory; smaller, and more records are written. None is left out.
const MOST_REMEMBERED: usize = 4096;

/// What was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Read {
    /// The timeline of a call that the reader had no part in.
    Timeline,
    /// Its reports of quality.
    Quality,
    /// The calls of a group that the reader does not belong to.
    GroupCalls,
    /// Who belongs to a group.
    Members,
    /// The audit log.
    Audit,
    /// One call.
    Call,
    /// The open calls of everybody.
    OpenCalls,
    /// One user's sessions and calls.
    User,
    /// What a webhook was told of whose calls.
    Deliveries,
    /// What no webhook could be told.
    DeadLetters,
}

impl Read {
    /// The action and the kind of its target, in the log.
    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Timeline => ("timeline.read", "call"),
            Self::Quality => ("quality.read", "call"),
            Self::GroupCalls => ("calls.read", "group"),
            Self::Members => ("members.read", "group"),
            Self::Audit => ("audit.read", "audit"),
            Self::Call => ("call.read", "call"),
            Self::OpenCalls => ("calls.read", "calls"),
            Self::User => ("user.read", "user"),
            Self::Deliveries => ("deliveries.read", "webhook"),
            Self::DeadLetters => ("dead_letters.read", "dead_letters"),
        }
    }
}

type Done = (ActorKind, String, Read, String);

/// The reads put on record lately by this node.
#[derive(Default)]
pub struct PrivilegedReads(DashMap<Done, Instant>);

impl PrivilegedReads {
    fn is_on_record(&self, done: &Done, now: Instant) -> bool {
        self.0.get(done).is_some_and(|at| now.saturating_duration_since(*at) < REMEMBERED)
    }

    fn remember(&self, done: Done, now: Instant) {
        if self.0.len() >= MOST_REMEMBERED {
            self.0.retain(|_, at| now.saturating_duration_since(*at) < REMEMBERED);
        }
        if self.0.len() < MOST_REMEMBERED {
            self.0.insert(done, now);
        }
    }
}

/// Puts a read of a user with the role `admin` on record.
pub async fn by_admin(
    http: &HttpRequest,
    gateway: &Gateway,
    claims: Claims,
    read: Read,
    target: &str,
) -> Result<(), Refusal> {
    by_actor(http, gateway, &as_actor(claims), read, target).await
}

/// A user with the role `admin`, as the log names them.
pub(super) fn as_actor(claims: Claims) -> Actor {
    Actor { kind: ActorKind::User, id: claims.user.as_str().to_owned(), name: claims.name }
}

/// Puts a read on record, by whoever may read everything.
pub(super) async fn by_actor(
    http: &HttpRequest,
    gateway: &Gateway,
    actor: &Actor,
    read: Read,
    target: &str,
) -> Result<(), Refusal> {
    on_record(gateway, actor, &service::request_id(http), read, target).await
}

/// Puts a read on record, unless the same is already.
pub async fn on_record(
    gateway: &Gateway,
    actor: &Actor,
    request_id: &str,
    read: Read,
    target: &str,
) -> Result<(), Refusal> {
    let (done, now) = ((actor.kind, actor.id.clone(), read, target.to_owned()), clock::monotonic());
    if gateway.privileged_reads.is_on_record(&done, now) {
        return Ok(());
    }
    let (action, kind) = read.names();
    let act = Act::new(actor, clock::now(), action, kind, target).asked(request_id, gateway.node.id.as_str());
    gateway.node.store.record_act(&act, "read").await?;
    gateway.privileged_reads.remember(done, now);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_is_on_record_once_a_minute_for_each_reader_and_target() {
        let (reads, now) = (PrivilegedReads::default(), clock::monotonic());
        let done = |who: &str, what: &str| (ActorKind::User, who.to_owned(), Read::Timeline, what.to_owned());
        reads.remember(done("ann", "c"), now);
        assert!(reads.is_on_record(&done("ann", "c"), now + Duration::from_secs(59)));
        assert!(!reads.is_on_record(&done("ann", "c"), now + REMEMBERED));
        assert!(!reads.is_on_record(&done("ann", "d"), now) && !reads.is_on_record(&done("bob", "c"), now));
        for n in 0..2 * MOST_REMEMBERED {
            reads.remember(done("ann", &n.to_string()), now);
        }
        assert!(reads.0.len() <= MOST_REMEMBERED);
    }
}
