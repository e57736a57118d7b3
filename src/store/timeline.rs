//! What happened to one call, step by step.
//!
//! Must never hand on what clients told each other (offers, answers, metadata): it is skipped over while reading.

use std::collections::HashMap;

use diesel::{
    prelude::*,
    sql_types::{BigInt, Nullable, Text},
};
use serde::Deserialize;

use super::{
    Store, Viewer,
    connection::{Conn, with_conn},
    error::{Fault, StoreError},
    history_sql::STILL_THEIRS,
    schema::participants,
    statement::Statement,
    types::{
        StoredId, StoredTime, signed,
        sql::{DbTime, DbUuid},
        unsigned,
    },
};
use crate::{
    domain::{CallId, Timestamp, UserId},
    trace::TraceId,
};

/// One event of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimelineEvent {
    pub seq: u64,
    pub at: Timestamp,
    /// Since the event before, in milliseconds; 0 for the first, and where the clocks of two owners disagree.
    pub since_previous_ms: u64,
    pub kind: String,
    /// The node that decided it, and in which epoch of its owning the call.
    pub node: String,
    pub epoch: u64,
    /// Of the command (or timer, or sweep) that it came of; `None`: written by a node that knew none.
    pub trace: Option<TraceId>,
    pub told: Told,
}

/// What an event says of whom it is about and why. Read from whatever version wrote it: fields and kinds that are not
/// known here are passed over.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Told {
    /// Whom it happened to.
    #[serde(alias = "initiator")]
    pub user: Option<String>,
    pub device: Option<String>,
    /// Who caused it.
    pub by: Option<String>,
    pub reason: Option<String>,
    pub status: Option<String>,
    /// Several it happened to at once.
    pub users: Option<Vec<String>>,
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = BigInt)]
    seq: i64,
    #[diesel(sql_type = DbTime)]
    at: StoredTime,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Text)]
    payload: String,
    #[diesel(sql_type = Text)]
    node: String,
    #[diesel(sql_type = BigInt)]
    epoch: i64,
    #[diesel(sql_type = Nullable<DbUuid>)]
    trace: Option<StoredId>,
}

/// From the event `after` itself, by which the time to the next is told.
fn events(call: &CallId, after: u64, limit: usize) -> Statement {
    let select = "SELECT seq, at, kind, payload, node, epoch, trace FROM call_events WHERE call_id = ";
    let sql = Statement::new(select).text(call.as_str()).sql(" AND seq >= ").number(signed(after));
    sql.sql(" ORDER BY seq LIMIT ").number(i64::try_from(limit).unwrap_or(i64::MAX - 1).saturating_add(1))
}

fn told(payload: &str) -> Told {
    let named: HashMap<String, Told> = serde_json::from_str(payload).unwrap_or_default();
    let mut told = named.into_values().next().unwrap_or_default();
    // As the domain has it: who cancels is whom it is about.
    if told.user.is_none() && told.status.is_none() {
        told.user.clone_from(&told.by);
    }
    told
}

impl Store {
    /// Whether the user may look back at the call: who has, or had, a part in it. Who was only rung as one of its group
    /// may not when they belong to the group no more.
    pub async fn may_look_back(&self, call: &CallId, user: &UserId) -> Result<bool, StoreError> {
        #[derive(QueryableByName)]
        struct Found {
            #[diesel(sql_type = Text)]
            #[allow(dead_code, reason = "that there is a row is what counts")]
            call_id: String,
        }
        let (call, user) = (call.clone(), user.clone());
        let look = move |conn: &mut Conn| {
            let sql = Statement::new("SELECT p.call_id FROM participants p WHERE p.call_id = ").text(call.as_str());
            let sql = sql.sql(" AND p.user_id = ").text(user.as_str()).sql(STILL_THEIRS);
            let found: Option<Found> = with_conn!(conn, |c| sql.get_result(c).optional()?);
            Ok(found.is_some())
        };
        self.read(look).await
    }

    /// Whether the user has, or had, a part in the call.
    pub async fn is_participant(&self, call: &CallId, user: &UserId) -> Result<bool, StoreError> {
        let viewer = Viewer::from(user);
        let (call, user) = (call.clone(), user.clone());
        let look = move |conn: &mut Conn| {
            let part = participants::table.find((call.as_str(), user.as_str())).select(participants::open);
            Ok(with_conn!(conn, |c| part.first::<bool>(c).optional()?).is_some())
        };
        self.read_as(&viewer, look).await
    }

    /// The call's events after `after`, in order, at most `limit`. None: there is no such call, or no later event, or
    /// it is none that the viewer may see.
    pub async fn timeline(
        &self,
        viewer: &Viewer,
        call: &CallId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<TimelineEvent>, StoreError> {
        let call = call.clone();
        let load = move |conn: &mut Conn| {
            let rows: Vec<Row> = with_conn!(conn, |c| events(&call, after, limit).load(c)?);
            let mut before: Option<Timestamp> = None;
            let mut timeline = Vec::with_capacity(rows.len());
            for row in rows {
                let at = row.at.0;
                let since = before.replace(at).map_or(0, |before| at.since(before).as_millis());
                if unsigned(row.seq) > after && timeline.len() < limit {
                    timeline.push(TimelineEvent {
                        seq: unsigned(row.seq),
                        at,
                        since_previous_ms: u64::try_from(since).unwrap_or(u64::MAX),
                        told: told(&row.payload),
                        kind: row.kind,
                        node: row.node,
                        epoch: unsigned(row.epoch),
                        trace: row.trace.and_then(|StoredId(id)| TraceId::from_uuid(id)),
                    });
                }
            }
            Ok::<_, Fault>(timeline)
        };
        self.read_as(viewer, load).await
    }

    /// How the database would carry out [`Store::timeline`].
    pub async fn explain_timeline(
        &self,
        viewer: &Viewer,
        call: &CallId,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        let call = call.clone();
        self.read_as(viewer, move |conn: &mut Conn| events(&call, 0, limit).explain(conn)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Event, event::Created};

    #[test]
    fn every_event_tells_the_same_subject_as_the_domain_and_nothing_of_its_payloads() {
        let user = || UserId::new("alice").unwrap();
        let created = r#"{"call_type":"audio","mode":"p2p","initiator":"alice","device":"phone","callees":["bob"],
            "max_participants":9,"offer":{"sdp":"SECRET"},"metadata":{"a":"SECRET"}}"#;
        let created: Created = serde_json::from_str(created).unwrap();
        let left = Event::Left { user: user(), reason: crate::domain::EndReason::ConnectionLost };
        let ended = Event::Ended {
            status: crate::domain::CallStatus::Ended,
            reason: crate::domain::EndReason::Completed,
            by: Some(user()),
        };
        let connected = Event::Connected { users: vec![user()] };
        for event in [Event::Created(Box::new(created)), left, ended, connected, Event::Cancelled { by: user() }] {
            let told = told(&serde_json::to_string(&event).unwrap());
            assert_eq!(told.user.as_deref(), event.subject().map(UserId::as_str), "{event:?}");
            assert!(!format!("{told:?}").contains("SECRET"));
        }
    }

    #[test]
    fn an_event_of_a_later_version_is_named_and_no_more() {
        for payload in ["\"sealed\"", r#"{"sealed":{"user":7}}"#, r#"{"sealed":[1]}"#, "{}", "nonsense"] {
            assert_eq!(told(payload), Told::default(), "{payload}");
        }
    }
}
