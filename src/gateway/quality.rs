//! Reports of quality on their way to the store, however they came.
//!
//! They are no part of a call's state: its owner is not asked, so they are taken on any node, also after the call's end.

use std::time::Duration;

use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

use super::{Gateway, protocol::Reported};
use crate::{
    actors::{Caller, keyed::CommandKey},
    clock,
    domain::{Rejection, Timestamp, quality::Score},
    store::{QualityReport, ReportOutcome},
    wire::{Frame, Refusal, frame::Writer},
};

/// How far ahead of ours a client's clock may be. Less refuses clients with an ordinary clock; more lets reports of a
/// wrong clock stand after those of the right time.
const AHEAD: Duration = Duration::from_secs(60);
/// How old a report may be: older ones would be forgotten at once.
const BEHIND: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Writes the reports and answers with their scores.
pub async fn report(
    gateway: &Gateway,
    reported: Reported,
    caller: Caller,
    key: Option<CommandKey>,
) -> Result<Frame, Refusal> {
    let store = &gateway.node.store;
    let Reported { call, reports, as_list } = reported;
    let now = clock::now();
    if let Some(key) = &key {
        // Before a word of it is kept, so that strangers leave nothing behind.
        if !store.is_participant(&call, &caller.user).await? {
            return Err(Rejection::NotFound.into());
        }
        gateway.node.note_key(key, &call, &caller.user).await?;
    }
    let mut scores = Vec::with_capacity(reports.len());
    let mut rows = Vec::with_capacity(reports.len());
    for (n, report) in reports.into_iter().enumerate() {
        let at = time(report.at, now)?;
        scores.push(report.measured.score());
        let id = key.as_ref().map_or_else(Uuid::now_v7, |key| nth(key, n));
        rows.push(QualityReport { id, device: caller.device.clone(), at, measured: report.measured });
    }
    match store.record_quality(&call, &caller.user, rows).await? {
        ReportOutcome::Recorded => Ok(reply(&scores, as_list)),
        ReportOutcome::NotParticipant => Err(Rejection::NotFound.into()),
    }
}

fn time(at: Option<Timestamp>, now: Timestamp) -> Result<Timestamp, Refusal> {
    match at {
        None => Ok(now),
        Some(at) if at <= now + AHEAD && at >= now - BEHIND => Ok(at),
        Some(_) => Err(Refusal::invalid("at must lie within the last 7 days")),
    }
}

/// The id of the nth report of a command with this key: the same each time, so it is written once.
fn nth(key: &CommandKey, n: usize) -> Uuid {
    let mut digest = Sha256::new();
    digest.update(b"carillon quality");
    digest.update(key.command.as_bytes());
    digest.update((n as u64).to_be_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.finalize()[..16]);
    Builder::from_custom_bytes(bytes).into_uuid()
}

fn reply(scores: &[Option<Score>], as_list: bool) -> Frame {
    let mut out = Writer::with_capacity(64);
    if as_list {
        out.raw("{\"scores\":").value(&scores).raw("}");
    } else {
        out.raw("{\"score\":").value(&scores.first().copied().flatten()).raw("}");
    }
    out.done()
}
