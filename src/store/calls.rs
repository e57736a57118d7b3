//! Reading calls, and taking them over from owners that are gone.

use diesel::{dsl::exists, prelude::*};

use super::{
    Store, Viewer,
    connection::{Conn, with_conn},
    error::{Fault, StoreError},
    schema::{call_events, calls, nodes},
    types::{DbNow, StoredTime, signed, unsigned},
};
use crate::domain::{CallId, NodeId, Recorded};

/// A call as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredCall {
    /// Who may write it.
    pub owner: NodeId,
    /// The owner's lease is good, by the database's clock.
    pub owner_alive: bool,
    /// Counts the owners; every write carries it.
    pub epoch: u64,
    /// All its events; [`crate::domain::Call::rebuild`] makes the state of them.
    pub history: Vec<Recorded>,
}

/// Who owns a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallOwner {
    pub node: NodeId,
    /// The owner's lease is good, by the database's clock.
    pub alive: bool,
    pub epoch: u64,
    /// The call has ended: nobody needs to own it.
    pub ended: bool,
}

/// A call as whoever would own it finds it.
#[derive(Debug, Clone, PartialEq)]
pub enum Prospect {
    NotFound,
    /// Its owner lives.
    OwnedBy(NodeId),
    Ended(StoredCall),
    /// Open, and its owner is who asks or has no good lease: it may be claimed as it stands here.
    Free(StoredCall),
    /// Open or ended, and with an event that this version cannot read: a later one wrote it, or it is damaged.
    Beyond {
        seq: u64,
        kind: String,
    },
}

/// What became of a try to take a call over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimOutcome {
    /// It is ours, and the owner before can write no more.
    Claimed {
        epoch: u64,
    },
    /// Its owner lives.
    OwnedBy(NodeId),
    /// It has come further than who would claim it has read.
    MovedOn,
    Ended,
    NotFound,
}

/// What became of a try to take a call that its owner hands over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandedOutcome {
    /// It is ours, and the owner before can write no more.
    Taken { epoch: u64 },
    /// It is not where its owner said: another owner, epoch or `seq`, or ended.
    MovedOn,
}

/// A call's owner, epoch, seq, whether it is open, and the owner's good lease, if it has one.
type OwnerRow = (String, i64, i64, bool, Option<String>);

macro_rules! owner_row {
    ($conn:expr, $id:expr) => {
        calls::table
            .left_join(nodes::table.on(nodes::id.eq(calls::owner_node).and(nodes::lease_until.gt(DbNow::now()))))
            .filter(calls::id.eq($id.as_str()))
            .select((calls::owner_node, calls::epoch, calls::seq, calls::open, nodes::id.nullable()))
            .first::<OwnerRow>($conn)
            .optional()
    };
}

fn node(id: &str) -> Result<NodeId, Fault> {
    NodeId::new(id).map_err(|_| Fault::Unreadable("a node's id"))
}

/// The first event that cannot be read.
struct Beyond {
    seq: u64,
    kind: String,
}

/// The events of a call up to `seq`.
fn history(conn: &mut Conn, id: &CallId, seq: i64) -> Result<Result<Vec<Recorded>, Beyond>, Fault> {
    let rows: Vec<(i64, StoredTime, String, String)> = with_conn!(conn, |c| {
        call_events::table
            .filter(call_events::call_id.eq(id.as_str()).and(call_events::seq.le(seq)))
            .order(call_events::seq)
            .select((call_events::seq, call_events::at, call_events::kind, call_events::payload))
            .load(c)?
    });
    let events = rows.into_iter().map(|(seq, at, kind, payload)| match serde_json::from_str(&payload) {
        Ok(event) => Ok(Recorded { seq: unsigned(seq), at: at.0, event }),
        Err(_) => Err(Beyond { seq: unsigned(seq), kind }),
    });
    Ok(events.collect())
}

fn load(conn: &mut Conn, id: &CallId) -> Result<Option<StoredCall>, Fault> {
    let Some((owner, epoch, seq, _, alive)) = with_conn!(conn, |c| owner_row!(c, id))? else { return Ok(None) };
    // A commit may come between the two statements: its events are left out.
    let history = history(conn, id, seq)?.map_err(|_| Fault::Unreadable("an event"))?;
    Ok(Some(StoredCall { owner: node(&owner)?, owner_alive: alive.is_some(), epoch: unsigned(epoch), history }))
}

impl Store {
    /// The call with its whole history. `None`: there is no such call.
    pub async fn load_call(&self, id: &CallId) -> Result<Option<StoredCall>, StoreError> {
        let id = id.clone();
        self.read(move |conn: &mut Conn| load(conn, &id)).await
    }

    /// The same for whoever may see it. `None`: there is no such call, or it is none of theirs.
    pub async fn load_call_for(&self, viewer: &Viewer, id: &CallId) -> Result<Option<StoredCall>, StoreError> {
        let id = id.clone();
        self.read_as(viewer, move |conn: &mut Conn| load(conn, &id)).await
    }

    /// Who owns the call. `None`: there is no such call.
    pub async fn call_owner(&self, id: &CallId) -> Result<Option<CallOwner>, StoreError> {
        let id = id.clone();
        let load = move |conn: &mut Conn| {
            let Some((owner, epoch, _, open, alive)) = with_conn!(conn, |c| owner_row!(c, id))? else {
                return Ok(None);
            };
            Ok(Some(CallOwner { node: node(&owner)?, alive: alive.is_some(), epoch: unsigned(epoch), ended: !open }))
        };
        self.read(load).await
    }

    /// The call, if `me` may claim it or nobody need own it. What is read is checked before anything is claimed: who
    /// cannot read a call must not own it, or nobody who can would get it.
    pub async fn prospect(&self, id: &CallId, me: &NodeId) -> Result<Prospect, StoreError> {
        let (id, me) = (id.clone(), me.clone());
        let look = move |conn: &mut Conn| {
            let Some((owner, epoch, seq, open, alive)) = with_conn!(conn, |c| owner_row!(c, id))? else {
                return Ok(Prospect::NotFound);
            };
            let (owner, owner_alive) = (node(&owner)?, alive.is_some());
            if open && owner_alive && owner != me {
                return Ok(Prospect::OwnedBy(owner));
            }
            // A commit may come between the two statements: its events are left out, and the claim is refused.
            Ok(match history(conn, &id, seq)? {
                Err(Beyond { seq, kind }) => Prospect::Beyond { seq, kind },
                Ok(history) => {
                    let stored = StoredCall { owner, owner_alive, epoch: unsigned(epoch), history };
                    if open { Prospect::Free(stored) } else { Prospect::Ended(stored) }
                }
            })
        };
        self.read(look).await
    }

    /// Takes the call over for `me`, who has read it up to `seq`, if it is open, has come no further, and its owner is
    /// `me` or has no good lease by the database's clock. From then on only commits with the new epoch go in.
    pub async fn claim(&self, id: &CallId, seq: u64, me: &NodeId) -> Result<ClaimOutcome, StoreError> {
        let (id, me) = (id.clone(), me.clone());
        let claim = move |conn: &mut Conn| {
            with_conn!(conn, |c| {
                let lease = nodes::table
                    .filter(nodes::id.eq(calls::owner_node).and(nodes::lease_until.gt(DbNow::now())))
                    .select(nodes::id);
                let free = calls::owner_node.eq(me.as_str()).or(diesel::dsl::not(exists(lease)));
                // Not `get_result`: see `commit_postgres`. It returns before the commit.
                let here = calls::id.eq(id.as_str()).and(calls::seq.eq(signed(seq)));
                let claimed: Vec<i64> = diesel::update(calls::table.filter(here.and(calls::open).and(free)))
                    .set((calls::owner_node.eq(me.as_str()), calls::epoch.eq(calls::epoch + 1)))
                    .returning(calls::epoch)
                    .load(c)?;
                if let Some(epoch) = claimed.first() {
                    return Ok(ClaimOutcome::Claimed { epoch: unsigned(*epoch) });
                }
                Ok(match owner_row!(c, id)? {
                    None => ClaimOutcome::NotFound,
                    Some((_, _, _, false, _)) => ClaimOutcome::Ended,
                    Some((owner, _, _, _, Some(_))) if owner != me.as_str() => ClaimOutcome::OwnedBy(node(&owner)?),
                    Some(_) => ClaimOutcome::MovedOn,
                })
            })
        };
        self.read(claim).await
    }

    /// Takes a call over for `me` that `from`, its living owner of `epoch`, hands over at `seq`. Done twice it is done
    /// once.
    pub async fn take_handed(
        &self,
        id: &CallId,
        from: &NodeId,
        epoch: u64,
        seq: u64,
        me: &NodeId,
    ) -> Result<HandedOutcome, StoreError> {
        let (id, from, me) = (id.clone(), from.clone(), me.clone());
        let take = move |conn: &mut Conn| {
            with_conn!(conn, |c| {
                let handed = calls::table.filter(
                    calls::id
                        .eq(id.as_str())
                        .and(calls::open)
                        .and(calls::owner_node.eq(from.as_str()))
                        .and(calls::epoch.eq(signed(epoch)))
                        .and(calls::seq.eq(signed(seq))),
                );
                let taken = diesel::update(handed)
                    .set((calls::owner_node.eq(me.as_str()), calls::epoch.eq(signed(epoch + 1))))
                    .execute(c)?;
                // A first try may have been committed and its answer lost.
                let ours = taken == 1
                    || owner_row!(c, id)?.is_some_and(|(owner, now, _, open, _)| {
                        open && owner == me.as_str() && now == signed(epoch + 1)
                    });
                Ok(if ours { HandedOutcome::Taken { epoch: epoch + 1 } } else { HandedOutcome::MovedOn })
            })
        };
        self.read(take).await
    }

    /// The events of a call after `seq`, oldest first, at most `limit`: what somebody missed.
    pub async fn events_after(&self, id: &CallId, seq: u64, limit: u32) -> Result<Vec<Recorded>, StoreError> {
        let id = id.clone();
        let load = move |conn: &mut Conn| {
            let rows: Vec<(i64, StoredTime, String)> = with_conn!(conn, |c| {
                call_events::table
                    .filter(call_events::call_id.eq(id.as_str()).and(call_events::seq.gt(signed(seq))))
                    .order(call_events::seq)
                    .select((call_events::seq, call_events::at, call_events::payload))
                    .limit(i64::from(limit))
                    .load(c)?
            });
            let events = rows.into_iter().map(|(seq, at, payload)| {
                let event = serde_json::from_str(&payload).map_err(|_| Fault::Unreadable("an event"))?;
                Ok(Recorded { seq: unsigned(seq), at: at.0, event })
            });
            events.collect()
        };
        self.read(load).await
    }
}
