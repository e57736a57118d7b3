//! Rows as diesel inserts them. They borrow from the commits they are made of.

use diesel::prelude::*;

use super::{
    commit::Prepared,
    schema::{call_events, calls, command_results, invitations, participants, slots},
    types::{StoredId, StoredTime, signed},
};

/// Counts of people as stored.
pub(super) fn count(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

#[derive(Insertable)]
#[diesel(table_name = slots, treat_none_as_default_value = false)]
pub(super) struct SlotRow<'a> {
    slot: &'a str,
    call_id: &'a str,
}

impl<'a> SlotRow<'a> {
    /// The slot that the commit is to take, if any.
    pub fn wanted(prepared: &'a Prepared) -> Option<Self> {
        let slot = prepared.commit.slot.as_ref()?;
        Some(Self { slot: slot.as_str(), call_id: prepared.call().as_str() })
    }
}

#[derive(Insertable)]
#[diesel(table_name = calls, treat_none_as_default_value = false)]
pub(super) struct CallRow<'a> {
    id: &'a str,
    owner_node: &'a str,
    epoch: i64,
    seq: i64,
    prev_seq: i64,
    open: bool,
    slot: Option<&'a str>,
    status: &'a str,
    call_type: &'a str,
    mode: &'a str,
    group_id: Option<&'a str>,
    initiator: &'a str,
    is_group: bool,
    max_participants: i32,
    peak_participants: i32,
    created_at: StoredTime,
    started_at: Option<StoredTime>,
    ended_at: Option<StoredTime>,
    end_reason: Option<&'a str>,
    ended_by: Option<&'a str>,
    metadata: Option<&'a str>,
}

impl<'a> CallRow<'a> {
    pub fn of(prepared: &'a Prepared) -> Self {
        let commit = &prepared.commit;
        let call = &commit.after;
        let end = call.end.as_ref();
        Self {
            id: call.id.as_str(),
            owner_node: commit.node.as_str(),
            epoch: signed(commit.epoch),
            seq: signed(call.seq),
            prev_seq: signed(commit.prev_seq),
            open: prepared.is_open(),
            slot: commit.slot.as_ref().map(|slot| slot.as_str()),
            status: call.status.as_str(),
            call_type: call.call_type.as_str(),
            mode: call.mode.as_str(),
            group_id: call.group.as_ref().map(|group| group.as_str()),
            initiator: call.initiator.as_str(),
            is_group: call.is_group,
            max_participants: count(call.max_participants),
            peak_participants: count(call.peak_participants),
            created_at: StoredTime(call.created_at),
            started_at: call.started_at.map(StoredTime),
            ended_at: end.map(|end| StoredTime(end.at)),
            end_reason: end.map(|end| end.reason.as_str()),
            ended_by: end.and_then(|end| end.by.as_ref()).map(|by| by.as_str()),
            metadata: call.metadata.as_ref().filter(|_| prepared.is_new()).map(|metadata| metadata.json()),
        }
    }
}

#[derive(Insertable)]
#[diesel(table_name = call_events, treat_none_as_default_value = false)]
pub(super) struct EventRow<'a> {
    call_id: &'a str,
    seq: i64,
    at: StoredTime,
    kind: &'a str,
    payload: &'a str,
    node: &'a str,
    epoch: i64,
    command_id: StoredId,
    trace: Option<StoredId>,
}

impl<'a> EventRow<'a> {
    pub fn all(prepared: &'a Prepared) -> impl Iterator<Item = Self> {
        let commit = &prepared.commit;
        commit.events.iter().zip(&prepared.payloads).map(|(recorded, payload)| Self {
            call_id: prepared.call().as_str(),
            seq: signed(recorded.seq),
            at: StoredTime(recorded.at),
            kind: recorded.event.kind(),
            payload,
            node: commit.node.as_str(),
            epoch: signed(commit.epoch),
            command_id: StoredId(prepared.attempt),
            trace: prepared.trace(),
        })
    }
}

#[derive(Insertable)]
#[diesel(table_name = participants, treat_none_as_default_value = false)]
pub(super) struct ParticipantRow<'a> {
    pub call_id: &'a str,
    pub user_id: &'a str,
    pub role: &'a str,
    pub status: &'a str,
    pub open: bool,
    pub device_id: Option<&'a str>,
    pub ringing_devices: &'a str,
    pub invited_by: Option<&'a str>,
    pub invited_at: StoredTime,
    pub joined_at: Option<StoredTime>,
    pub left_at: Option<StoredTime>,
    pub leave_reason: Option<&'a str>,
    pub earlier_stays_ms: i64,
}

impl<'a> ParticipantRow<'a> {
    pub fn changed(prepared: &'a Prepared) -> impl Iterator<Item = Self> {
        let call = &prepared.commit.after;
        prepared.changed.iter().filter_map(|(place, ringing)| {
            let p = call.participants.get(*place)?;
            Some(Self {
                call_id: call.id.as_str(),
                user_id: p.user.as_str(),
                role: p.role.as_str(),
                status: p.status.as_str(),
                open: !p.status.is_final() && prepared.is_open(),
                device_id: p.device.as_ref().map(|device| device.as_str()),
                ringing_devices: ringing,
                invited_by: p.invited_by.as_ref().map(|by| by.as_str()),
                invited_at: StoredTime(p.invited_at),
                joined_at: p.joined_at.map(StoredTime),
                left_at: p.left_at.map(StoredTime),
                leave_reason: p.leave_reason.map(|reason| reason.as_str()),
                earlier_stays_ms: i64::try_from(p.earlier_stays.as_millis()).unwrap_or(i64::MAX),
            })
        })
    }
}

#[derive(Insertable)]
#[diesel(table_name = invitations, treat_none_as_default_value = false)]
pub(super) struct InvitationRow<'a> {
    call_id: &'a str,
    user_id: &'a str,
    seq: i64,
    invited_by: &'a str,
    at: StoredTime,
    deadline: Option<StoredTime>,
    outcome: &'a str,
    answered_at: Option<StoredTime>,
    device_id: Option<&'a str>,
}

impl<'a> InvitationRow<'a> {
    pub fn begun(prepared: &'a Prepared) -> impl Iterator<Item = Self> {
        prepared.invitations.iter().map(|invitation| Self {
            call_id: prepared.call().as_str(),
            user_id: invitation.user.as_str(),
            seq: signed(invitation.seq),
            invited_by: invitation.by.as_str(),
            at: StoredTime(invitation.at),
            deadline: invitation.deadline.map(StoredTime),
            outcome: invitation.outcome.as_str(),
            answered_at: invitation.answered_at.map(StoredTime),
            device_id: invitation.device.as_ref().map(|device| device.as_str()),
        })
    }
}

#[derive(Insertable)]
#[diesel(table_name = command_results, treat_none_as_default_value = false)]
pub(super) struct ResultRow<'a> {
    command_id: StoredId,
    call_id: &'a str,
    seq: i64,
    kind: &'a str,
    by_user: Option<&'a str>,
    outcome: Option<&'a str>,
    at: StoredTime,
}

impl<'a> ResultRow<'a> {
    pub fn of(prepared: &'a Prepared) -> Self {
        let commit = &prepared.commit;
        Self {
            command_id: StoredId(commit.command),
            call_id: prepared.call().as_str(),
            seq: signed(commit.after.seq),
            kind: commit.kind,
            by_user: commit.by.as_ref().map(|by| by.as_str()),
            outcome: commit.outcome.as_deref(),
            at: StoredTime(commit.events.last().map_or(commit.after.created_at, |r| r.at)),
        }
    }
}
