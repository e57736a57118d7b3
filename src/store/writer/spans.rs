//! What a trace shows of the writer: each commit with its wait, and the transaction it shared with others.
//!
//! A transaction is of many traces. It stands below the first commit in it that is recorded, and says by links which
//! others it wrote; these link to it.

use super::{Kind, Waiting};
use crate::{
    store::{
        commit::{CommitOutcome, Prepared},
        error::StoreError,
    },
    trace::{Kind as SpanKind, Span, TraceContext},
};

/// Links of a transaction to the commits in it. More says nothing more; all of a full batch would be the longest span
/// there is.
const MAX_LINKS: usize = 32;

/// From a commit's being handed in to its answer, and its wait for the transaction.
pub(super) fn of_commit(prepared: &Prepared) -> (Span, Span) {
    let commit = &prepared.commit;
    let mut span = Span::below(commit.trace, "commit", SpanKind::Internal);
    span.note(|span| {
        span.set("carillon.call.id", prepared.call().as_str())
            .set("carillon.command", commit.kind)
            .set("carillon.seq", commit.after.seq)
            .set("carillon.epoch", commit.epoch)
            .set("carillon.events", commit.events.len());
    });
    let wait = span.context().map(|context| Span::below(Some(context), "commit wait", SpanKind::Internal));
    (span, wait.unwrap_or_default())
}

/// The transaction of a batch, from now on; the commits have waited until now.
pub(super) fn of_transaction(batch: &mut [Waiting], kind: Kind) -> Span {
    let recorded: Vec<TraceContext> = batch.iter().filter_map(|waiting| waiting.span.context()).collect();
    let Some(first) = recorded.first() else { return Span::none() };
    let mut transaction = Span::below(Some(*first), "transaction", SpanKind::Client);
    transaction.note(|span| {
        span.set("db.system.name", if kind == Kind::Postgres { "postgresql" } else { "sqlite" })
            .set("db.operation.name", "COMMIT")
            .set("db.operation.batch.size", batch.len());
        recorded.iter().take(MAX_LINKS).for_each(|commit| {
            span.link(*commit);
        });
    });
    let own = transaction.context();
    for waiting in batch {
        waiting.wait = Span::none();
        if let Some(own) = own {
            waiting.span.note(|span| {
                span.link(own);
            });
        }
    }
    transaction
}

/// How a commit ended, for whoever reads its span.
pub(super) fn on_outcome(span: &mut Span, outcome: &Result<CommitOutcome, StoreError>) {
    match outcome {
        Ok(CommitOutcome::Committed) => {}
        Ok(CommitOutcome::Repeated) => span.fail("repeated"),
        Ok(CommitOutcome::SlotTaken { .. }) => span.fail("slot_taken"),
        Ok(CommitOutcome::CallExists) => span.fail("call_exists"),
        Ok(CommitOutcome::Fenced) => span.fail("fenced"),
        Err(StoreError::Unavailable { .. }) => span.fail("unavailable"),
        Err(_) => span.fail("failed"),
    }
}
