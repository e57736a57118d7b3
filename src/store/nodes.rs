//! The nodes of the cluster and their leases, all by the database's clock.
//!
//! Leases go over a connection of their own, so that load cannot make a living node look dead.

use std::time::Duration;

use diesel::prelude::*;

use super::{
    Store,
    connection::{Conn, with_conn},
    error::{Fault, StoreError},
    schema::nodes,
    types::{DbNow, StoredTime, signed, unsigned},
};
use crate::domain::{NodeId, Timestamp};

/// What a node says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeInfo {
    /// Of the program.
    pub version: String,
    /// Where others can reach it, if they can.
    pub address: Option<String>,
}

/// What a node says of itself with each renewal of its lease.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeLoad {
    /// Users' sessions.
    pub sessions: u64,
    /// Open sockets, also those that have not said hello.
    pub sockets: u64,
    /// Calls it has an actor of: those it owns, and some that ended a moment ago.
    pub calls: u64,
    /// It is leaving.
    pub draining: bool,
    /// What it does without: names without commas.
    pub degraded: Vec<String>,
}

/// A node that lives, or did lately.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownNode {
    pub id: NodeId,
    pub info: NodeInfo,
    pub started_at: Timestamp,
    pub lease_until: Timestamp,
    pub bus_up: bool,
    /// Its lease is good.
    pub alive: bool,
    /// For how long its lease has been over; zero while it is good.
    pub gone_for: Duration,
    /// `None`: a node of a version that does not say.
    pub load: Option<NodeLoad>,
}

/// A node whose lease is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveNode {
    pub id: NodeId,
    pub info: NodeInfo,
    pub started_at: Timestamp,
    pub lease_until: Timestamp,
    /// It says that it reaches other nodes over the bus.
    pub bus_up: bool,
}

/// Nodes of one list. More are a page that nobody reads; fewer hide living ones of a large cluster after a bad day.
const MOST_NODES: i64 = 1000;

type LoadColumns = (
    diesel::dsl::Eq<nodes::sessions, Option<i64>>,
    diesel::dsl::Eq<nodes::sockets, Option<i64>>,
    diesel::dsl::Eq<nodes::calls, Option<i64>>,
    diesel::dsl::Eq<nodes::draining, Option<bool>>,
    diesel::dsl::Eq<nodes::degraded, Option<String>>,
);

fn load_columns(load: &NodeLoad) -> LoadColumns {
    (
        nodes::sessions.eq(Some(signed(load.sessions))),
        nodes::sockets.eq(Some(signed(load.sockets))),
        nodes::calls.eq(Some(signed(load.calls))),
        nodes::draining.eq(Some(load.draining)),
        nodes::degraded.eq(Some(load.degraded.join(","))),
    )
}

impl Store {
    /// Enters the node, with a lease from now. An id is one run of one process: entering it again renews the lease
    /// only.
    pub async fn register_node(&self, id: &NodeId, lease: Duration, info: &NodeInfo) -> Result<(), StoreError> {
        let (id, info) = (id.clone(), info.clone());
        let register = move |conn: &mut Conn| {
            with_conn!(conn, |c| {
                diesel::insert_into(nodes::table)
                    .values((
                        nodes::id.eq(id.as_str()),
                        nodes::version.eq(&info.version),
                        nodes::address.eq(info.address.as_deref()),
                        nodes::started_at.eq(DbNow::now()),
                        nodes::lease_until.eq(DbNow::plus(lease)),
                        load_columns(&NodeLoad::default()),
                    ))
                    .on_conflict(nodes::id)
                    .do_update()
                    .set(nodes::lease_until.eq(DbNow::plus(lease)))
                    .execute(c)?
            });
            Ok(())
        };
        self.lease(register).await
    }

    /// Extends the lease to `lease` from now, and says what time that now is by the database's clock. `None`: it had
    /// run out, or was ended; others may have taken over what the node owned, and it must stop acting as owner. `load`:
    /// said for the others in the same statement.
    pub async fn renew_lease(
        &self,
        id: &NodeId,
        lease: Duration,
        load: &NodeLoad,
    ) -> Result<Option<Timestamp>, StoreError> {
        let (id, load) = (id.clone(), load.clone());
        let renew = move |conn: &mut Conn| {
            // Not `get_result`: see `commit_postgres`. It returns before the commit.
            let until: Option<StoredTime> = with_conn!(conn, |c| {
                diesel::update(nodes::table.filter(nodes::id.eq(id.as_str()).and(nodes::lease_until.gt(DbNow::now()))))
                    .set((nodes::lease_until.eq(DbNow::plus(lease)), load_columns(&load)))
                    .returning(nodes::lease_until)
                    .load(c)?
                    .into_iter()
                    .next()
            });
            Ok(until.map(|until| until.0 - lease))
        };
        self.lease(renew).await
    }

    /// The time by the database's clock.
    pub async fn clock(&self) -> Result<Timestamp, StoreError> {
        let ask = |conn: &mut Conn| {
            let now: StoredTime = with_conn!(conn, |c| diesel::select(DbNow::now()).get_result(c)?);
            Ok(now.0)
        };
        self.lease(ask).await
    }

    /// Ends the lease: what the node still owns may be taken over at once.
    pub async fn end_node(&self, id: &NodeId) -> Result<(), StoreError> {
        let id = id.clone();
        let end = move |conn: &mut Conn| {
            with_conn!(conn, |c| diesel::delete(nodes::table.filter(nodes::id.eq(id.as_str()))).execute(c)?);
            Ok(())
        };
        self.lease(end).await
    }

    /// Says for the others whether this node reaches them over the bus.
    pub async fn set_bus_up(&self, id: &NodeId, up: bool) -> Result<(), StoreError> {
        let id = id.clone();
        let set = move |conn: &mut Conn| {
            with_conn!(conn, |c| {
                diesel::update(nodes::table.filter(nodes::id.eq(id.as_str()).and(nodes::bus_up.ne(up))))
                    .set(nodes::bus_up.eq(up))
                    .execute(c)?
            });
            Ok(())
        };
        self.lease(set).await
    }

    /// The nodes whose lease is good.
    pub async fn live_nodes(&self) -> Result<Vec<LiveNode>, StoreError> {
        type Row = (String, String, Option<String>, StoredTime, StoredTime, bool);
        let load = |conn: &mut Conn| {
            let rows: Vec<Row> = with_conn!(conn, |c| {
                nodes::table
                    .filter(nodes::lease_until.gt(DbNow::now()))
                    .order(nodes::id)
                    .select((
                        nodes::id,
                        nodes::version,
                        nodes::address,
                        nodes::started_at,
                        nodes::lease_until,
                        nodes::bus_up,
                    ))
                    .load(c)?
            });
            let live = rows.into_iter().map(|(id, version, address, started_at, lease_until, bus_up)| {
                let id = NodeId::new(id).map_err(|_| Fault::Unreadable("a node's id"))?;
                let info = NodeInfo { version, address };
                Ok(LiveNode { id, info, started_at: started_at.0, lease_until: lease_until.0, bus_up })
            });
            live.collect()
        };
        self.lease(load).await
    }

    /// The nodes that live, and those whose lease ran out within `gone_within`: at most [`MOST_NODES`], those whose lease
    /// ends last. In the order of their starts, the living first.
    pub async fn known_nodes(&self, gone_within: Duration) -> Result<Vec<KnownNode>, StoreError> {
        type Row = (
            (String, String, Option<String>, StoredTime, StoredTime, bool, StoredTime),
            (Option<i64>, Option<i64>, Option<i64>, Option<bool>, Option<String>),
        );
        let load = move |conn: &mut Conn| {
            let rows: Vec<Row> = with_conn!(conn, |c| {
                nodes::table
                    .filter(nodes::lease_until.gt(DbNow::minus(gone_within)))
                    .order(nodes::lease_until.desc())
                    .limit(MOST_NODES)
                    .select((
                        (
                            nodes::id,
                            nodes::version,
                            nodes::address,
                            nodes::started_at,
                            nodes::lease_until,
                            nodes::bus_up,
                            DbNow::now(),
                        ),
                        (nodes::sessions, nodes::sockets, nodes::calls, nodes::draining, nodes::degraded),
                    ))
                    .load(c)?
            });
            let known = rows.into_iter().map(|((id, version, address, started, until, bus_up, now), said)| {
                let (sessions, sockets, calls, draining, degraded) = said;
                let degraded = degraded.unwrap_or_default();
                let load = sessions.map(|sessions| NodeLoad {
                    sessions: unsigned(sessions),
                    sockets: sockets.map_or(0, unsigned),
                    calls: calls.map_or(0, unsigned),
                    draining: draining.unwrap_or(false),
                    degraded: degraded.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
                });
                Ok(KnownNode {
                    id: NodeId::new(id).map_err(|_| Fault::Unreadable("a node's id"))?,
                    info: NodeInfo { version, address },
                    started_at: started.0,
                    lease_until: until.0,
                    bus_up,
                    alive: until.0 > now.0,
                    gone_for: now.0.since(until.0),
                    load,
                })
            });
            let mut known = known.collect::<Result<Vec<_>, Fault>>()?;
            known.sort_by(|a, b| (!a.alive, a.started_at, &a.id).cmp(&(!b.alive, b.started_at, &b.id)));
            Ok(known)
        };
        self.read(load).await
    }
}
