//! A batch of commits in one transaction on SQLite: statements of many rows, by diesel.
//!
//! Its twin is [`super::commit_postgres`]; both pass the same tests.

use std::collections::{HashMap, HashSet};

use diesel::{SqliteConnection, prelude::*, upsert::excluded};

use super::{
    commit::Prepared,
    error::Fault,
    models::{CallRow, EventRow, InvitationRow, ParticipantRow, ResultRow, SlotRow},
    outbox::write_outgoing,
    recording_commits::{PartRow, RecordingRow},
    schema::{call_events, calls, command_results, invitations, participants, recording_parts, recordings, slots},
    types::{StoredTime, signed},
};

/// Rows of one statement. SQLite takes 32,766 parameters, and the widest row here has 21.
const ROWS: usize = 1000;

/// Writes what may be written. Returns the ids of the calls whose commit is in; of the others nothing is.
pub(super) fn apply(conn: &mut SqliteConnection, batch: &[&Prepared]) -> Result<HashSet<String>, Fault> {
    conn.immediate_transaction(|conn| {
        let entered = enter(conn, batch)?;
        let in_it: Vec<&Prepared> = batch.iter().filter(|p| entered.contains(p.call().as_str())).copied().collect();
        write_events(conn, &in_it)?;
        write_participants(conn, &in_it)?;
        write_invitations(conn, &in_it)?;
        write_recordings(conn, &in_it)?;
        free_slots(conn, &in_it)?;
        for p in &in_it {
            write_outgoing!(conn, p.call().as_str(), &p.outgoing);
        }
        Ok(entered)
    })
    .map_err(|error: diesel::result::Error| Fault::from(error))
}

/// Takes slots and writes the rows of calls: what decides which commits are in. The transaction has the database for
/// itself, so what is read here stays true until it is written.
fn enter(conn: &mut SqliteConnection, batch: &[&Prepared]) -> QueryResult<HashSet<String>> {
    let ids = batch.iter().map(|p| p.call().as_str());
    let rows: Vec<(String, String, i64, i64)> = calls::table
        .filter(calls::id.eq_any(ids).and(calls::open))
        .select((calls::id, calls::owner_node, calls::epoch, calls::seq))
        .load(conn)?;
    let open: HashMap<String, (String, i64, i64)> =
        rows.into_iter().map(|(id, owner, epoch, seq)| (id, (owner, epoch, seq))).collect();
    let new = batch.iter().filter(|p| p.is_new()).map(|p| p.call().as_str());
    let taken: HashSet<String> =
        calls::table.filter(calls::id.eq_any(new)).select(calls::id).load(conn)?.into_iter().collect();
    let fits = |p: &&&Prepared| match open.get(p.call().as_str()) {
        _ if p.is_new() => !taken.contains(p.call().as_str()),
        Some((owner, epoch, seq)) => {
            owner == p.commit.node.as_str() && *epoch == signed(p.commit.epoch) && *seq == signed(p.commit.prev_seq)
        }
        None => false,
    };
    let fitting: Vec<&Prepared> = batch.iter().filter(fits).copied().collect();
    let wanting: Vec<SlotRow> = fitting.iter().filter_map(|p| SlotRow::wanted(p)).collect();
    let mut holding: HashSet<String> = HashSet::new();
    for rows in wanting.chunks(ROWS) {
        let insert = diesel::insert_into(slots::table).values(rows).on_conflict_do_nothing();
        holding.extend(insert.returning(slots::call_id).load::<String>(conn)?);
    }
    let has_slot = |p: &&&Prepared| p.commit.slot.is_none() || holding.contains(p.call().as_str());
    let entered: Vec<&Prepared> = fitting.iter().filter(has_slot).copied().collect();
    let rows: Vec<CallRow> = entered.iter().map(|p| CallRow::of(p)).collect();
    for rows in rows.chunks(ROWS) {
        diesel::insert_into(calls::table)
            .values(rows)
            .on_conflict(calls::id)
            .do_update()
            .set((
                calls::seq.eq(excluded(calls::seq)),
                calls::prev_seq.eq(excluded(calls::prev_seq)),
                calls::open.eq(excluded(calls::open)),
                calls::status.eq(excluded(calls::status)),
                calls::mode.eq(excluded(calls::mode)),
                calls::is_group.eq(excluded(calls::is_group)),
                calls::peak_participants.eq(excluded(calls::peak_participants)),
                calls::started_at.eq(excluded(calls::started_at)),
                calls::ended_at.eq(excluded(calls::ended_at)),
                calls::end_reason.eq(excluded(calls::end_reason)),
                calls::ended_by.eq(excluded(calls::ended_by)),
            ))
            .execute(conn)?;
    }
    Ok(entered.iter().map(|p| p.call().as_str().to_owned()).collect())
}

fn write_events(conn: &mut SqliteConnection, batch: &[&Prepared]) -> QueryResult<()> {
    let rows: Vec<EventRow> = batch.iter().flat_map(|p| EventRow::all(p)).collect();
    for rows in rows.chunks(ROWS) {
        diesel::insert_into(call_events::table).values(rows).execute(conn)?;
    }
    let rows: Vec<ResultRow> = batch.iter().map(|p| ResultRow::of(p)).collect();
    for rows in rows.chunks(ROWS) {
        diesel::insert_into(command_results::table).values(rows).execute(conn)?;
    }
    Ok(())
}

fn write_participants(conn: &mut SqliteConnection, batch: &[&Prepared]) -> QueryResult<()> {
    let rows: Vec<ParticipantRow> = batch.iter().flat_map(|p| ParticipantRow::changed(p)).collect();
    for rows in rows.chunks(ROWS) {
        diesel::insert_into(participants::table)
            .values(rows)
            .on_conflict((participants::call_id, participants::user_id))
            .do_update()
            .set((
                participants::role.eq(excluded(participants::role)),
                participants::status.eq(excluded(participants::status)),
                participants::open.eq(excluded(participants::open)),
                participants::device_id.eq(excluded(participants::device_id)),
                participants::ringing_devices.eq(excluded(participants::ringing_devices)),
                participants::invited_by.eq(excluded(participants::invited_by)),
                participants::invited_at.eq(excluded(participants::invited_at)),
                participants::joined_at.eq(excluded(participants::joined_at)),
                participants::left_at.eq(excluded(participants::left_at)),
                participants::leave_reason.eq(excluded(participants::leave_reason)),
                participants::earlier_stays_ms.eq(excluded(participants::earlier_stays_ms)),
            ))
            .execute(conn)?;
    }
    Ok(())
}

fn write_invitations(conn: &mut SqliteConnection, batch: &[&Prepared]) -> QueryResult<()> {
    // Answers first: a user may be invited again in the commit that ends their earlier ring.
    for p in batch {
        for answer in &p.answers {
            let pending = invitations::table
                .filter(invitations::call_id.eq(p.call().as_str()))
                .filter(invitations::user_id.eq(answer.user.as_str()))
                .filter(invitations::outcome.eq("pending"));
            diesel::update(pending)
                .set((
                    invitations::outcome.eq(answer.outcome.as_str()),
                    invitations::answered_at.eq(Some(StoredTime(answer.at))),
                    invitations::device_id.eq(answer.device.as_ref().map(|device| device.as_str())),
                ))
                .execute(conn)?;
        }
    }
    let rows: Vec<InvitationRow> = batch.iter().flat_map(|p| InvitationRow::begun(p)).collect();
    for rows in rows.chunks(ROWS) {
        diesel::insert_into(invitations::table).values(rows).execute(conn)?;
    }
    Ok(())
}

fn write_recordings(conn: &mut SqliteConnection, batch: &[&Prepared]) -> QueryResult<()> {
    for p in batch {
        for begun in &p.recordings.begun {
            diesel::insert_into(recordings::table).values(RecordingRow::begun(p.call(), begun)).execute(conn)?;
        }
        for (id, at) in &p.recordings.stopped {
            // The version moves: what was read before is not written over it.
            let unstopped = recordings::table.find(id.as_str()).filter(recordings::stop_at.is_null());
            diesel::update(unstopped)
                .set((recordings::stop_at.eq(Some(StoredTime(*at))), recordings::version.eq(recordings::version + 1)))
                .execute(conn)?;
        }
    }
    let rows: Vec<PartRow> = batch.iter().flat_map(|p| p.recordings.parts.iter().map(PartRow::of)).collect();
    for rows in rows.chunks(ROWS) {
        diesel::insert_into(recording_parts::table).values(rows).on_conflict_do_nothing().execute(conn)?;
    }
    Ok(())
}

/// Of calls that are over: a slot never outlives its call.
fn free_slots(conn: &mut SqliteConnection, batch: &[&Prepared]) -> QueryResult<()> {
    let over: Vec<&str> = batch.iter().filter(|p| !p.is_open()).map(|p| p.call().as_str()).collect();
    if over.is_empty() {
        return Ok(());
    }
    let held: Vec<Option<String>> = calls::table
        .filter(calls::id.eq_any(&over))
        .filter(calls::slot.is_not_null())
        .select(calls::slot)
        .load(conn)?;
    let held = held.into_iter().flatten();
    diesel::delete(slots::table.filter(slots::slot.eq_any(held)).filter(slots::call_id.eq_any(&over))).execute(conn)?;
    Ok(())
}
