//! Why a commit did not go in, and whether it had gone in before. Runs after the transaction, on its connection.

use std::collections::{HashMap, HashSet};

use diesel::prelude::*;

use super::{
    commit::{CommitOutcome, Prepared},
    connection::{Conn, with_conn},
    error::Fault,
    schema::{call_events, calls, command_results, slots},
    types::{CommandId, StoredId, signed},
};
use crate::domain::CallId;

/// See [`explain`].
pub(super) enum Refusal {
    Final(CommitOutcome),
    /// What stood in the way is gone: worth another try.
    Again,
}

/// The attempts among these that went in before, so are durable. Told by the last event of each: another owner may have
/// carried out the same command on the same state.
pub(super) fn entered(conn: &mut Conn, batch: &[&Prepared]) -> Result<HashSet<CommandId>, Fault> {
    let ids: HashSet<&str> = batch.iter().map(|p| p.call().as_str()).collect();
    let seqs: HashSet<i64> = batch.iter().map(|p| signed(p.commit.after.seq)).collect();
    let found: Vec<(String, i64, StoredId, i64, String)> = with_conn!(conn, |c| {
        call_events::table
            .filter(call_events::call_id.eq_any(ids).and(call_events::seq.eq_any(seqs)))
            .select((
                call_events::call_id,
                call_events::seq,
                call_events::command_id,
                call_events::epoch,
                call_events::node,
            ))
            .load(c)?
    });
    let is_last = |p: &&&Prepared| {
        found.iter().any(|(call, seq, attempt, epoch, node)| {
            attempt.0 == p.attempt
                && call == p.call().as_str()
                && *seq == signed(p.commit.after.seq)
                && *epoch == signed(p.commit.epoch)
                && node == p.commit.node.as_str()
        })
    };
    Ok(batch.iter().filter(is_last).map(|p| p.attempt).collect())
}

/// Whether anything is on record for the command.
pub(super) fn on_record(conn: &mut Conn, command: CommandId) -> Result<bool, Fault> {
    let found: i64 = with_conn!(conn, |c| {
        command_results::table.filter(command_results::command_id.eq(StoredId(command))).count().get_result(c)?
    });
    Ok(found > 0)
}

/// Why each of these was refused, in their order.
pub(super) fn explain(conn: &mut Conn, refused: &[&Prepared]) -> Result<Vec<Refusal>, Fault> {
    let known = entered(conn, refused)?;
    let new: Vec<&str> = refused.iter().filter(|p| p.is_new()).map(|p| p.call().as_str()).collect();
    let wanted: Vec<&str> = refused.iter().filter_map(|p| Some(p.commit.slot.as_ref()?.as_str())).collect();
    let existing: Vec<String> =
        with_conn!(conn, |c| calls::table.filter(calls::id.eq_any(&new)).select(calls::id).load(c)?);
    let existing: HashSet<String> = existing.into_iter().collect();
    let holders: Vec<(String, String)> = with_conn!(conn, |c| {
        slots::table.filter(slots::slot.eq_any(&wanted)).select((slots::slot, slots::call_id)).load(c)?
    });
    let holders: HashMap<String, String> = holders.into_iter().collect();
    let explained = refused.iter().map(|p| {
        if known.contains(&p.attempt) {
            return Ok(Refusal::Final(CommitOutcome::Committed));
        }
        if !p.is_new() {
            return Ok(Refusal::Final(CommitOutcome::Fenced));
        }
        if existing.contains(p.call().as_str()) {
            return Ok(Refusal::Final(CommitOutcome::CallExists));
        }
        match p.commit.slot.as_ref().and_then(|slot| holders.get(slot.as_str())) {
            Some(holder) => {
                let holder = CallId::new(holder).map_err(|_| Fault::Unreadable("a slot's call id"))?;
                Ok(Refusal::Final(CommitOutcome::SlotTaken { holder }))
            }
            None => Ok(Refusal::Again),
        }
    });
    explained.collect()
}
