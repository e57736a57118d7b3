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
    types::{DbNow, StoredTime},
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
    /// run out, or was ended; others may have taken over what the node owned, and it must stop acting as owner.
    pub async fn renew_lease(&self, id: &NodeId, lease: Duration) -> Result<Option<Timestamp>, StoreError> {
        let id = id.clone();
        let renew = move |conn: &mut Conn| {
            // Not `get_result`: see `commit_postgres`. It returns before the commit.
            let until: Option<StoredTime> = with_conn!(conn, |c| {
                diesel::update(nodes::table.filter(nodes::id.eq(id.as_str()).and(nodes::lease_until.gt(DbNow::now()))))
                    .set(nodes::lease_until.eq(DbNow::plus(lease)))
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
}
