//! What the sweepers look for, by the database's clock: what has stood for longer than it may.
//!
//! Only looks, and only finds candidates: whether something is left behind, the call's owner judges. Every look goes
//! through a partial index that holds open calls or open parts only, so it costs by what is open, not by what is stored.
//! Rows come in the order of call ids, at most so many after the last: `|| ''` keeps the databases from walking the
//! primary key, ended calls and all, for the sake of that order.

use std::time::Duration;

use diesel::{dsl::exists, prelude::*};

use super::{
    Store,
    connection::{Conn, with_conn},
    error::{Fault, StoreError},
    schema::{call_events, calls, invitations, nodes, participants},
    types::{DbNow, StoredTime},
};
use crate::domain::{CallId, DeviceId, NodeId, ParticipantStatus, UserId, command::MAX_RING_TIMEOUT};

/// A call that stands for longer than it may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overdue {
    pub call: CallId,
    /// Past what it is overdue for.
    pub age: Duration,
}

/// Somebody engaged in an open call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Engaged {
    pub call: CallId,
    pub user: UserId,
    pub device: DeviceId,
    /// Since they came in, or since the call's last change for who is reconnecting.
    pub age: Duration,
}

/// An open call whose owner has no good lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    pub call: CallId,
    pub owner: NodeId,
    /// Since the lease ran out; `None`: the node left, or is forgotten.
    pub age: Option<Duration>,
}

type OverdueRow = (String, Option<StoredTime>, StoredTime, StoredTime);
type EngagedRow = (String, String, Option<String>, Option<StoredTime>, StoredTime);

fn call_id(text: &str) -> Result<CallId, Fault> {
    CallId::new(text).map_err(|_| Fault::Unreadable("a call's id"))
}

/// One for each call, with its greatest age: `since` or else `or_since`, and `grace` after that.
fn overdue(rows: Vec<OverdueRow>, grace: Duration, or_grace: Duration) -> Result<Vec<Overdue>, Fault> {
    let mut found: Vec<Overdue> = Vec::with_capacity(rows.len());
    for (call, since, or_since, now) in rows {
        let until = since.map_or(or_since.0 + or_grace, |since| since.0 + grace);
        let age = now.0.since(until);
        match found.last_mut().filter(|last| last.call.as_str() == call) {
            Some(last) => last.age = last.age.max(age),
            None => found.push(Overdue { call: call_id(&call)?, age }),
        }
    }
    Ok(found)
}

fn engaged(rows: Vec<EngagedRow>) -> Result<Vec<Engaged>, Fault> {
    let with_device = rows.into_iter().filter_map(|(call, user, device, since, now)| {
        device.map(|device| (call, user, device, since.map_or(Duration::ZERO, |since| now.0.since(since.0))))
    });
    let found = with_device.map(|(call, user, device, age)| {
        let user = UserId::new(user).map_err(|_| Fault::Unreadable("a user's id"))?;
        let device = DeviceId::new(device).map_err(|_| Fault::Unreadable("a device's id"))?;
        Ok(Engaged { call: call_id(&call)?, user, device, age })
    });
    found.collect()
}

fn text(after: Option<&CallId>) -> String {
    after.map_or_else(String::new, |call| call.as_str().to_owned())
}

impl Store {
    /// Calls in which somebody is rung although their ring ended more than `margin` ago.
    pub async fn stale_rings(
        &self,
        margin: Duration,
        after: Option<&CallId>,
        limit: u32,
    ) -> Result<Vec<Overdue>, StoreError> {
        let after = text(after);
        let rung = [ParticipantStatus::Invited.as_str(), ParticipantStatus::Ringing.as_str()];
        let load = move |conn: &mut Conn| {
            let of_them = invitations::call_id
                .eq(participants::call_id)
                .and(invitations::user_id.eq(participants::user_id))
                .and(invitations::outcome.eq("pending"));
            let ended = invitations::deadline.assume_not_null().lt(DbNow::minus(margin));
            let endless =
                invitations::deadline.is_null().and(invitations::at.lt(DbNow::minus(margin + MAX_RING_TIMEOUT)));
            let rows: Vec<OverdueRow> = with_conn!(conn, |c| {
                participants::table
                    .inner_join(invitations::table.on(of_them))
                    .filter(participants::open.and(participants::status.eq_any(rung)))
                    .filter(participants::call_id.concat("").gt(&after))
                    .filter(ended.or(endless))
                    .order(participants::call_id.concat(""))
                    .select((participants::call_id, invitations::deadline, invitations::at, DbNow::now()))
                    .limit(i64::from(limit))
                    .load(c)?
            });
            overdue(rows, Duration::ZERO, MAX_RING_TIMEOUT)
        };
        self.read(load).await
    }

    /// Calls in which somebody has waited for media for `timeout` and `margin`.
    pub async fn stale_connecting(
        &self,
        timeout: Duration,
        margin: Duration,
        after: Option<&CallId>,
        limit: u32,
    ) -> Result<Vec<Overdue>, StoreError> {
        let after = text(after);
        let load = move |conn: &mut Conn| {
            let since = participants::joined_at.assume_not_null().lt(DbNow::minus(timeout + margin));
            let rows: Vec<OverdueRow> = with_conn!(conn, |c| {
                participants::table
                    .filter(participants::open.and(participants::status.eq(ParticipantStatus::Connecting.as_str())))
                    .filter(participants::call_id.concat("").gt(&after))
                    .filter(since)
                    .order(participants::call_id.concat(""))
                    .select((participants::call_id, participants::joined_at, participants::invited_at, DbNow::now()))
                    .limit(i64::from(limit))
                    .load(c)?
            });
            overdue(rows, timeout, timeout)
        };
        self.read(load).await
    }

    /// Open calls that have lasted for `longest` and `margin`: since the second person came in, or else since they began.
    pub async fn longest_calls(
        &self,
        longest: Duration,
        margin: Duration,
        after: Option<&CallId>,
        limit: u32,
    ) -> Result<Vec<Overdue>, StoreError> {
        let after = text(after);
        let load = move |conn: &mut Conn| {
            let begun = DbNow::minus(longest + margin);
            let under_way = calls::started_at.assume_not_null().lt(begun);
            let waiting = calls::started_at.is_null().and(calls::created_at.lt(begun));
            let rows: Vec<OverdueRow> = with_conn!(conn, |c| {
                calls::table
                    .filter(calls::open.and(calls::id.concat("").gt(&after)))
                    .filter(under_way.or(waiting))
                    .order(calls::id.concat(""))
                    .select((calls::id, calls::started_at, calls::created_at, DbNow::now()))
                    .limit(i64::from(limit))
                    .load(c)?
            });
            overdue(rows, longest, longest)
        };
        self.read(load).await
    }

    /// Who has been connecting or joined for `margin` at least, after this part of this call.
    pub async fn engaged_parts(
        &self,
        margin: Duration,
        after: Option<(&CallId, &UserId)>,
        limit: u32,
    ) -> Result<Vec<Engaged>, StoreError> {
        let after = after.map_or_else(Default::default, |(c, u)| (c.as_str().to_owned(), u.as_str().to_owned()));
        let engaged_as = [ParticipantStatus::Connecting.as_str(), ParticipantStatus::Joined.as_str()];
        let load = move |conn: &mut Conn| {
            let (call, user) = (&after.0, &after.1);
            let later = participants::call_id.concat("").eq(call).and(participants::user_id.gt(user));
            let rows: Vec<EngagedRow> = with_conn!(conn, |c| {
                participants::table
                    .filter(participants::open.and(participants::status.eq_any(engaged_as)))
                    .filter(participants::joined_at.assume_not_null().lt(DbNow::minus(margin)))
                    .filter(participants::call_id.concat("").gt(call).or(later))
                    .order((participants::call_id.concat(""), participants::user_id))
                    .select((
                        participants::call_id,
                        participants::user_id,
                        participants::device_id,
                        participants::joined_at,
                        DbNow::now(),
                    ))
                    .limit(i64::from(limit))
                    .load(c)?
            });
            engaged(rows)
        };
        self.read(load).await
    }

    /// Who is reconnecting in a call in which nothing has happened for `grace` and `margin`.
    pub async fn stale_reconnecting(
        &self,
        grace: Duration,
        margin: Duration,
        limit: u32,
    ) -> Result<Vec<Engaged>, StoreError> {
        let load = move |conn: &mut Conn| {
            let last = call_events::call_id.eq(calls::id).and(call_events::seq.eq(calls::seq));
            let rows: Vec<EngagedRow> = with_conn!(conn, |c| {
                participants::table
                    .inner_join(calls::table.on(calls::id.eq(participants::call_id)))
                    .inner_join(call_events::table.on(last))
                    .filter(participants::open.and(participants::status.eq(ParticipantStatus::Reconnecting.as_str())))
                    .filter(call_events::at.lt(DbNow::minus(grace + margin)))
                    .order((participants::call_id.concat(""), participants::user_id))
                    .select((
                        participants::call_id,
                        participants::user_id,
                        participants::device_id,
                        call_events::at.nullable(),
                        DbNow::now(),
                    ))
                    .limit(i64::from(limit))
                    .load(c)?
            });
            engaged(rows)
        };
        self.read(load).await
    }

    /// Open calls whose owner has no good lease.
    pub async fn orphaned_calls(&self, after: Option<&CallId>, limit: u32) -> Result<Vec<Orphan>, StoreError> {
        type Row = (String, String, Option<StoredTime>, StoredTime);
        let after = text(after);
        let load = move |conn: &mut Conn| {
            let rows: Vec<Row> = with_conn!(conn, |c| {
                let living = diesel::alias!(nodes as living);
                let lease = living
                    .filter(living.field(nodes::id).eq(calls::owner_node))
                    .filter(living.field(nodes::lease_until).gt(DbNow::now()));
                calls::table
                    .left_join(nodes::table.on(nodes::id.eq(calls::owner_node)))
                    .filter(calls::open.and(calls::id.concat("").gt(&after)))
                    .filter(diesel::dsl::not(exists(lease)))
                    .order(calls::id.concat(""))
                    .select((calls::id, calls::owner_node, nodes::lease_until.nullable(), DbNow::now()))
                    .limit(i64::from(limit))
                    .load(c)?
            });
            let found = rows.into_iter().map(|(call, owner, lease_until, now)| {
                let owner = NodeId::new(owner).map_err(|_| Fault::Unreadable("a node's id"))?;
                let age = lease_until.map(|until| now.0.since(until.0));
                Ok(Orphan { call: call_id(&call)?, owner, age })
            });
            found.collect()
        };
        self.read(load).await
    }
}
