//! What is on record for commands: by it a commit of unknown outcome is found again, and a command whose user gave it a
//! key is answered as it was the first time.
//!
//! A record is written once: with the effect, in the transaction of the commit, or by [`Store::keep_outcome`] where
//! there was none. Whatever comes second under the same id is not written.

use diesel::prelude::*;

use super::{
    Store,
    connection::{Conn, with_conn},
    error::{Fault, StoreError},
    schema::command_results,
    types::{CommandId, DbNow, StoredId, signed, unsigned},
};
use crate::domain::{CallId, UserId};

/// What was recorded for a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandRecord {
    pub call: CallId,
    /// The call's `seq` after it; 0 when nothing was committed.
    pub seq: u64,
    pub kind: String,
    pub by: Option<UserId>,
    pub outcome: Option<String>,
}

type Row = (String, i64, String, Option<String>, Option<String>);

fn record((call, seq, kind, by, outcome): Row) -> Result<CommandRecord, Fault> {
    let call = CallId::new(call).map_err(|_| Fault::Unreadable("a call's id"))?;
    let by = by.map(UserId::new).transpose().map_err(|_| Fault::Unreadable("a user's id"))?;
    Ok(CommandRecord { call, seq: unsigned(seq), kind, by, outcome })
}

fn look(conn: &mut Conn, command: CommandId) -> Result<Option<CommandRecord>, Fault> {
    let row: Option<Row> = with_conn!(conn, |c| {
        command_results::table
            .find(StoredId(command))
            .select((
                command_results::call_id,
                command_results::seq,
                command_results::kind,
                command_results::by_user,
                command_results::outcome,
            ))
            .first(c)
            .optional()?
    });
    row.map(record).transpose()
}

impl Store {
    /// What was recorded for a command. `None`: nothing was.
    pub async fn command_outcome(&self, command: CommandId) -> Result<Option<CommandRecord>, StoreError> {
        self.read(move |conn: &mut Conn| look(conn, command)).await
    }

    /// Whether a command is on record, so durable.
    pub async fn command_committed(&self, command: CommandId) -> Result<bool, StoreError> {
        Ok(self.command_outcome(command).await?.is_some())
    }

    /// Records the outcome of a command that changed nothing, unless something is on record under its id; then that is
    /// what is returned. A record of this very outcome may be returned too.
    pub async fn keep_outcome(
        &self,
        command: CommandId,
        outcome: CommandRecord,
    ) -> Result<Option<CommandRecord>, StoreError> {
        let keep = move |conn: &mut Conn| {
            let row = (
                command_results::command_id.eq(StoredId(command)),
                command_results::call_id.eq(outcome.call.as_str()),
                command_results::seq.eq(signed(outcome.seq)),
                command_results::kind.eq(outcome.kind.as_str()),
                command_results::by_user.eq(outcome.by.as_ref().map(|by| by.as_str())),
                command_results::outcome.eq(outcome.outcome.as_deref()),
                command_results::at.eq(DbNow::now()),
            );
            let written = with_conn!(conn, |c| {
                diesel::insert_into(command_results::table).values(row).on_conflict_do_nothing().execute(c)?
            });
            if written > 0 { Ok(None) } else { look(conn, command) }
        };
        self.read(keep).await
    }
}
