//! A batch of commits in one statement on PostgreSQL: one round trip, one transaction, arrays instead of rows.
//!
//! Its twin is [`super::commit_sqlite`]; both pass the same tests. In one statement the parts do not see each other's
//! rows, only what `RETURNING` hands on; so which commits are in is decided by the part `entered`, and every other
//! part asks it. A commit that is refused writes nothing.
//!
//! `(x IN (SELECT …)) IS TRUE` is not said as `x IN (SELECT …)`, because the planner then builds a hash of the ids
//! once; a join it might do by comparing each with each.

use std::collections::HashSet;

use diesel::{
    pg::Pg,
    prelude::*,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    sql_types::{Array, Integer, Text},
};

use super::{
    columns::{
        Answers, Commits, Events, Invitations, Outgoings, Participants, RecordingParts, RecordingStops, Recordings,
    },
    commit::Prepared,
    error::Fault,
    models::{ParticipantRow, count},
    postgres::PgConn,
    types::{StoredId, StoredTime, signed},
};

/// Writes what may be written. Returns the ids of the calls whose commit is in; of the others nothing is.
pub(super) fn apply(conn: &mut PgConn, batch: &[&Prepared]) -> Result<HashSet<String>, Fault> {
    // Not `get_result`, which returns with the first row: PostgreSQL sends rows first and commits then. `load` waits
    // for the end of the answer, which comes after the commit.
    let rows: Vec<(Vec<String>, i32)> = Statement::of(batch).load(conn)?;
    Ok(rows.into_iter().flat_map(|(entered, _)| entered).collect())
}

/// The statement. Its text depends on which parts have rows, so a few dozen texts exist, each prepared once per
/// connection.
#[derive(Default)]
struct Statement<'a> {
    commits: Commits<'a>,
    events: Events<'a>,
    participants: Participants<'a>,
    invitations: Invitations<'a>,
    answers: Answers<'a>,
    recordings: Recordings<'a>,
    stops: RecordingStops<'a>,
    parts: RecordingParts<'a>,
    outgoing: Outgoings<'a>,
    any_slot: bool,
    any_end: bool,
}

impl<'a> Statement<'a> {
    fn of(batch: &[&'a Prepared]) -> Self {
        let mut statement = Self::default();
        for prepared in batch {
            statement.add(prepared);
        }
        statement
    }

    fn add(&mut self, prepared: &'a Prepared) {
        let (commit, call) = (&prepared.commit, &*prepared.commit.after);
        let end = call.end.as_ref();
        let c = &mut self.commits;
        c.id.push(call.id.as_str());
        c.owner_node.push(commit.node.as_str());
        c.epoch.push(signed(commit.epoch));
        c.seq.push(signed(call.seq));
        c.prev_seq.push(signed(commit.prev_seq));
        c.open.push(prepared.is_open());
        c.slot.push(commit.slot.as_ref().map(|slot| slot.as_str()));
        c.status.push(call.status.as_str());
        c.call_type.push(call.call_type.as_str());
        c.mode.push(call.mode.as_str());
        c.group_id.push(call.group.as_ref().map(|group| group.as_str()));
        c.initiator.push(call.initiator.as_str());
        c.is_group.push(call.is_group);
        c.max_participants.push(count(call.max_participants));
        c.peak_participants.push(count(call.peak_participants));
        c.created_at.push(StoredTime(call.created_at));
        c.started_at.push(call.started_at.map(StoredTime));
        c.ended_at.push(end.map(|end| StoredTime(end.at)));
        c.end_reason.push(end.map(|end| end.reason.as_str()));
        c.ended_by.push(end.and_then(|end| end.by.as_ref()).map(|by| by.as_str()));
        c.metadata.push(call.metadata.as_ref().filter(|_| prepared.is_new()).map(|metadata| metadata.json()));
        c.command_id.push(StoredId(commit.command));
        c.kind.push(commit.kind);
        c.by_user.push(commit.by.as_ref().map(|by| by.as_str()));
        c.outcome.push(commit.outcome.as_deref());
        c.at.push(StoredTime(commit.events.last().map_or(call.created_at, |recorded| recorded.at)));
        self.any_slot |= commit.slot.is_some();
        self.any_end |= !prepared.is_open();
        self.add_events(prepared);
        self.add_participants(prepared);
        self.add_invitations(prepared);
        self.add_recordings(prepared);
        self.add_outgoing(prepared);
    }

    fn add_outgoing(&mut self, prepared: &'a Prepared) {
        let o = &mut self.outgoing;
        for row in &prepared.outgoing {
            o.id.push(StoredId(row.id));
            o.webhook_id.push(StoredId(row.webhook));
            o.event.push(row.event);
            o.lane.push(prepared.call().as_str());
            o.pos.push(row.pos);
            o.user_id.push(row.user.as_ref().map(|user| user.as_str()));
            o.created_at.push(StoredTime(row.at));
            o.expires_at.push(row.expires_at.map(StoredTime));
            o.payload.push(&row.payload);
            o.first.push(row.first);
        }
    }

    fn add_recordings(&mut self, prepared: &'a Prepared) {
        let call = prepared.call().as_str();
        let r = &mut self.recordings;
        for begun in &prepared.recordings.begun {
            r.id.push(begun.id.as_str());
            r.call_id.push(call);
            r.created_by.push(begun.by.as_str());
            r.created_at.push(StoredTime(begun.at));
            r.layout.push(begun.options.layout.as_str());
            r.resolution.push(begun.options.resolution.as_str());
            r.audio_only.push(begun.options.audio_only);
            r.format.push(begun.options.format.as_str());
            r.retention_days.push(count(begun.options.retention_days));
        }
        for (id, at) in &prepared.recordings.stopped {
            self.stops.call_id.push(call);
            self.stops.id.push(id.as_str());
            self.stops.stop_at.push(StoredTime(*at));
        }
        for part in &prepared.recordings.parts {
            self.parts.call_id.push(call);
            self.parts.user_id.push(part.user.as_str());
            self.parts.created_at.push(StoredTime(part.created_at));
            self.parts.recording_id.push(part.recording.as_str());
        }
    }

    fn add_events(&mut self, prepared: &'a Prepared) {
        let commit = &prepared.commit;
        let e = &mut self.events;
        for (recorded, payload) in commit.events.iter().zip(&prepared.payloads) {
            e.call_id.push(prepared.call().as_str());
            e.seq.push(signed(recorded.seq));
            e.at.push(StoredTime(recorded.at));
            e.kind.push(recorded.event.kind());
            e.payload.push(payload);
            e.node.push(commit.node.as_str());
            e.epoch.push(signed(commit.epoch));
            e.command_id.push(StoredId(prepared.attempt));
            e.trace.push(prepared.trace());
        }
    }

    fn add_participants(&mut self, prepared: &'a Prepared) {
        let p = &mut self.participants;
        for row in ParticipantRow::changed(prepared) {
            p.call_id.push(row.call_id);
            p.user_id.push(row.user_id);
            p.role.push(row.role);
            p.status.push(row.status);
            p.open.push(row.open);
            p.device_id.push(row.device_id);
            p.ringing_devices.push(row.ringing_devices);
            p.invited_by.push(row.invited_by);
            p.invited_at.push(row.invited_at);
            p.joined_at.push(row.joined_at);
            p.left_at.push(row.left_at);
            p.leave_reason.push(row.leave_reason);
            p.earlier_stays_ms.push(row.earlier_stays_ms);
        }
    }

    fn add_invitations(&mut self, prepared: &'a Prepared) {
        let call = prepared.call().as_str();
        let i = &mut self.invitations;
        for invitation in &prepared.invitations {
            i.call_id.push(call);
            i.user_id.push(invitation.user.as_str());
            i.seq.push(signed(invitation.seq));
            i.invited_by.push(invitation.by.as_str());
            i.at.push(StoredTime(invitation.at));
            i.deadline.push(invitation.deadline.map(StoredTime));
            i.outcome.push(invitation.outcome.as_str());
            i.answered_at.push(invitation.answered_at.map(StoredTime));
            i.device_id.push(invitation.device.as_ref().map(|device| device.as_str()));
        }
        let a = &mut self.answers;
        for answer in &prepared.answers {
            a.call_id.push(call);
            a.user_id.push(answer.user.as_str());
            a.outcome.push(answer.outcome.as_str());
            a.answered_at.push(StoredTime(answer.at));
            a.device_id.push(answer.device.as_ref().map(|device| device.as_str()));
        }
    }
}

/// Whether each call is there already, looked up by key (a join might scan).
const PRESENT: &str = " LEFT JOIN LATERAL (SELECT true AS present FROM calls x WHERE x.id = i.id LIMIT 1) x ON true)";

/// Slots, for new calls that stay open. In the order of the slots: two nodes that want the same never wait for each
/// other in a circle.
const TAKEN: &str = ", taken AS (INSERT INTO slots (slot, call_id) \
    SELECT i.slot, i.id FROM input i WHERE i.slot IS NOT NULL AND i.open AND i.present IS NULL ORDER BY i.slot \
    ON CONFLICT DO NOTHING RETURNING call_id)";

/// The calls themselves, in the order of their ids (that of the arrays). An update goes in only if nothing moved since
/// it was decided: `WHERE` sees the newest row, whatever the statement's snapshot.
const ENTERED: [&str; 3] = [
    ", entered AS (INSERT INTO calls AS c (id, owner_node, epoch, seq, prev_seq, open, slot, status, call_type, mode, \
     group_id, initiator, is_group, max_participants, peak_participants, created_at, started_at, ended_at, end_reason, \
     ended_by, metadata) \
     SELECT i.id, i.owner_node, i.epoch, i.seq, i.prev_seq, i.open, i.slot, i.status, i.call_type, i.mode, i.group_id, \
     i.initiator, i.is_group, i.max_participants, i.peak_participants, i.created_at, i.started_at, i.ended_at, \
     i.end_reason, i.ended_by, i.metadata FROM input i WHERE (i.prev_seq > 0) = (i.present IS NOT NULL)",
    // A call that ends as it begins takes no slot, but must find it free.
    " AND (i.slot IS NULL OR (i.id IN (SELECT call_id FROM taken)) IS TRUE \
     OR (NOT i.open AND NOT EXISTS (SELECT FROM slots s WHERE s.slot = i.slot LIMIT 1)))",
    " ON CONFLICT (id) DO UPDATE SET seq = excluded.seq, prev_seq = excluded.prev_seq, open = excluded.open, \
     status = excluded.status, mode = excluded.mode, is_group = excluded.is_group, \
     peak_participants = excluded.peak_participants, started_at = excluded.started_at, ended_at = excluded.ended_at, \
     end_reason = excluded.end_reason, ended_by = excluded.ended_by \
     WHERE c.open AND c.epoch = excluded.epoch AND c.seq = excluded.prev_seq AND c.owner_node = excluded.owner_node \
     RETURNING c.id, c.slot, c.open, c.prev_seq)",
];

const RESULTS: &str = ", results AS (INSERT INTO command_results (command_id, call_id, seq, kind, by_user, outcome, at) \
    SELECT i.command_id, i.id, i.seq, i.kind, i.by_user, i.outcome, i.at FROM input i \
    WHERE (i.id IN (SELECT id FROM entered)) IS TRUE)";

/// Of calls that are over: a slot never outlives its call.
const FREED: &str = ", freed AS (DELETE FROM slots \
    WHERE slot = ANY (ARRAY(SELECT slot FROM entered WHERE NOT open AND slot IS NOT NULL)) \
    AND call_id = ANY (ARRAY(SELECT id FROM entered WHERE NOT open)))";

/// One row. The division stops the statement when a slot was taken for a call that another node made in the same
/// instant, so that was not written here: alone and repeated, that commit is refused for its id.
const OUTCOME: [&str; 3] = [
    " SELECT ARRAY(SELECT id FROM entered), ",
    "1 / ((SELECT count(*) FROM taken) = \
     (SELECT count(*) FROM entered WHERE prev_seq = 0 AND open AND slot IS NOT NULL))::integer",
    "1",
];

impl QueryFragment<Pg> for Statement<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("WITH input AS (SELECT i.*, x.present FROM ");
        self.commits.source(self.commits.id.len(), "i", &mut out)?;
        out.push_sql(PRESENT);
        if self.any_slot {
            out.push_sql(TAKEN);
        }
        out.push_sql(ENTERED[0]);
        if self.any_slot {
            out.push_sql(ENTERED[1]);
        }
        out.push_sql(ENTERED[2]);
        out.push_sql(RESULTS);
        out.push_sql(
            ", events AS (INSERT INTO call_events (call_id, seq, at, kind, payload, node, epoch, command_id, trace) \
             SELECT e.* FROM ",
        );
        self.events.source(self.events.call_id.len(), "e", &mut out)?;
        out.push_sql(" WHERE (e.call_id IN (SELECT id FROM entered)) IS TRUE)");
        if !self.participants.call_id.is_empty() {
            out.push_sql(
                ", parts AS (INSERT INTO participants (call_id, user_id, role, status, open, device_id, \
                 ringing_devices, invited_by, invited_at, joined_at, left_at, leave_reason, earlier_stays_ms) \
                 SELECT p.* FROM ",
            );
            self.participants.source(self.participants.call_id.len(), "p", &mut out)?;
            out.push_sql(
                " WHERE (p.call_id IN (SELECT id FROM entered)) IS TRUE ON CONFLICT (call_id, user_id) DO UPDATE SET \
                 role = excluded.role, status = excluded.status, open = excluded.open, \
                 device_id = excluded.device_id, ringing_devices = excluded.ringing_devices, \
                 invited_by = excluded.invited_by, invited_at = excluded.invited_at, \
                 joined_at = excluded.joined_at, left_at = excluded.left_at, leave_reason = excluded.leave_reason, \
                 earlier_stays_ms = excluded.earlier_stays_ms)",
            );
        }
        if !self.answers.call_id.is_empty() {
            out.push_sql(
                ", answered AS (UPDATE invitations v SET outcome = a.outcome, answered_at = a.answered_at, \
                 device_id = a.device_id FROM ",
            );
            self.answers.source(self.answers.call_id.len(), "a", &mut out)?;
            out.push_sql(
                " WHERE v.call_id = a.call_id AND v.user_id = a.user_id AND v.outcome = 'pending' \
                 AND (a.call_id IN (SELECT id FROM entered)) IS TRUE)",
            );
        }
        if !self.invitations.call_id.is_empty() {
            out.push_sql(
                ", invited AS (INSERT INTO invitations (call_id, user_id, seq, invited_by, at, deadline, outcome, \
                 answered_at, device_id) SELECT n.* FROM ",
            );
            self.invitations.source(self.invitations.call_id.len(), "n", &mut out)?;
            out.push_sql(" WHERE (n.call_id IN (SELECT id FROM entered)) IS TRUE)");
        }
        self.walk_recordings(&mut out)?;
        self.walk_outgoing(&mut out)?;
        if self.any_end {
            out.push_sql(FREED);
        }
        out.push_sql(OUTCOME[0]);
        out.push_sql(if self.any_slot { OUTCOME[1] } else { OUTCOME[2] });
        Ok(())
    }
}

impl Statement<'_> {
    fn walk_recordings<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        if !self.recordings.id.is_empty() {
            out.push_sql(
                ", recorded AS (INSERT INTO recordings (id, call_id, created_by, created_at, layout, resolution, \
                 audio_only, format, retention_days, version, status, attempts, legal_hold, purge_failures, told) \
                 SELECT r.*, 1, 'starting', 0, false, 0, true FROM ",
            );
            self.recordings.source(self.recordings.id.len(), "r", out)?;
            out.push_sql(" WHERE (r.call_id IN (SELECT id FROM entered)) IS TRUE)");
        }
        if !self.stops.id.is_empty() {
            // The version moves: what was read before is not written over it.
            out.push_sql(", unrecorded AS (UPDATE recordings v SET stop_at = s.stop_at, version = v.version + 1 FROM ");
            self.stops.source(self.stops.id.len(), "s", out)?;
            out.push_sql(
                " WHERE v.id = s.id AND v.stop_at IS NULL AND (s.call_id IN (SELECT id FROM entered)) IS TRUE)",
            );
        }
        if !self.parts.user_id.is_empty() {
            out.push_sql(
                ", seen_by AS (INSERT INTO recording_parts (user_id, created_at, recording_id) \
                 SELECT y.user_id, y.created_at, y.recording_id FROM ",
            );
            self.parts.source(self.parts.user_id.len(), "y", out)?;
            out.push_sql(" WHERE (y.call_id IN (SELECT id FROM entered)) IS TRUE ON CONFLICT DO NOTHING)");
        }
        Ok(())
    }
}

impl Statement<'_> {
    /// What is first of its lane now is due, unless something of an earlier commit is still to be sent.
    fn walk_outgoing<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        if self.outgoing.id.is_empty() {
            return Ok(());
        }
        out.push_sql(
            ", told AS (INSERT INTO webhook_deliveries (id, webhook_id, event, lane, pos, call_id, user_id, created_at, \
             expires_at, payload, state, next_at, attempts) SELECT o.id, o.webhook_id, o.event, o.lane, o.pos, o.lane, \
             o.user_id, o.created_at, o.expires_at, o.payload, CASE WHEN o.first AND NOT EXISTS \
             (SELECT FROM webhook_deliveries d WHERE d.webhook_id = o.webhook_id AND d.lane = o.lane \
             AND d.state IN ('due', 'waiting') AND d.pos < o.pos) THEN 'due' ELSE 'waiting' END, now(), 0 FROM ",
        );
        self.outgoing.source(self.outgoing.id.len(), "o", out)?;
        out.push_sql(" WHERE (o.lane IN (SELECT id FROM entered)) IS TRUE)");
        Ok(())
    }
}

/// Kept prepared under its text.
impl QueryId for Statement<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Statement<'_> {
    type SqlType = (Array<Text>, Integer);
}

impl RunQueryDsl<PgConn> for Statement<'_> {}
