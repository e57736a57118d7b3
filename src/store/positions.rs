//! "How far have these calls come, and which of them do these users not know of?", asked again and again while the bus
//! is down, and never else. One statement for many; nothing of a call's history is read.

use std::collections::HashMap;

use diesel::prelude::*;

use super::{
    Store,
    connection::{Conn, with_conn},
    error::{Fault, StoreError},
    schema::{calls, participants},
    types::unsigned,
};
use crate::domain::{CallId, NodeId, UserId};

/// Calls or users of one statement. More make it long without making it cheaper for each; fewer are more statements.
pub const BATCH_POSITIONS: usize = 512;

/// How far a call has come, and who says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    pub owner: NodeId,
    pub epoch: u64,
    pub seq: u64,
    pub open: bool,
}

/// A call's id, owner, epoch, seq, and whether it is open.
type Row = (String, String, i64, i64, bool);

fn position((call, owner, epoch, seq, open): Row) -> Result<(CallId, Position), Fault> {
    let unreadable = |_| Fault::Unreadable("an id");
    let owner = NodeId::new(owner).map_err(unreadable)?;
    let position = Position { owner, epoch: unsigned(epoch), seq: unsigned(seq), open };
    Ok((CallId::new(call).map_err(unreadable)?, position))
}

impl Store {
    /// The open calls that any of at most [`BATCH_POSITIONS`] `users` is rung or engaged in, and how far they have come.
    pub async fn open_positions_of(&self, users: &[UserId]) -> Result<Vec<(UserId, CallId, Position)>, StoreError> {
        let users = users.to_vec();
        let load = move |conn: &mut Conn| {
            let users: Vec<&str> = users.iter().map(UserId::as_str).collect();
            let rows: Vec<(String, Row)> = with_conn!(conn, |c| {
                participants::table
                    .inner_join(calls::table.on(calls::id.eq(participants::call_id)))
                    .filter(participants::open.and(participants::user_id.eq_any(&users)))
                    .select((
                        participants::user_id,
                        (calls::id, calls::owner_node, calls::epoch, calls::seq, calls::open),
                    ))
                    .load(c)?
            });
            let found = rows.into_iter().map(|(user, row)| {
                let (call, position) = position(row)?;
                Ok((UserId::new(user).map_err(|_| Fault::Unreadable("an id"))?, call, position))
            });
            found.collect()
        };
        self.read(load).await
    }

    /// How far at most [`BATCH_POSITIONS`] calls have come. Calls that are not there do not occur.
    pub async fn positions_of(&self, calls: &[CallId]) -> Result<HashMap<CallId, Position>, StoreError> {
        let asked = calls.to_vec();
        let load = move |conn: &mut Conn| {
            let asked: Vec<&str> = asked.iter().map(CallId::as_str).collect();
            let rows: Vec<Row> = with_conn!(conn, |c| {
                calls::table
                    .filter(calls::id.eq_any(&asked))
                    .select((calls::id, calls::owner_node, calls::epoch, calls::seq, calls::open))
                    .load(c)?
            });
            rows.into_iter().map(position).collect()
        };
        self.read(load).await
    }
}
