//! Why a commit did not go in, and whether it had gone in before. Runs after the transaction, on its connection.

use std::collections::{HashMap, HashSet};

use diesel::prelude::*;

use super::{
    commit::{CommitOutcome, Prepared},
    connection::{Conn, with_conn},
    error::Fault,
    schema::{calls, command_results, slots},
    types::{CommandId, StoredId},
};
use crate::domain::CallId;

/// See [`explain`].
pub(super) enum Refusal {
    Final(CommitOutcome),
    /// What stood in the way is gone: worth another try.
    Again,
}

/// Which of these commands are on record, so durable.
pub(super) fn recorded(conn: &mut Conn, commands: Vec<CommandId>) -> Result<HashSet<CommandId>, Fault> {
    let commands: Vec<StoredId> = commands.into_iter().map(StoredId).collect();
    let found: Vec<StoredId> = with_conn!(conn, |c| {
        command_results::table
            .filter(command_results::command_id.eq_any(&commands))
            .select(command_results::command_id)
            .load(c)?
    });
    Ok(found.into_iter().map(|id| id.0).collect())
}

/// Why each of these was refused, in their order.
pub(super) fn explain(conn: &mut Conn, refused: &[&Prepared]) -> Result<Vec<Refusal>, Fault> {
    let known = recorded(conn, refused.iter().map(|p| p.commit.command).collect())?;
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
        if known.contains(&p.commit.command) {
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
