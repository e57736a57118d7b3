//! What is true of every call at every moment. Checked by the property tests after every step, and by the owner of a
//! call in debug builds.

use super::{Call, CallMode, CallStatus};
use crate::domain::{Event, ParticipantStatus, Recorded, Role};

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    #[error("seq has a hole: {0} follows {1}")]
    SeqWithoutHoles(u64, u64),
    #[error("an event follows the end")]
    NothingAfterTheEnd,
    #[error("a call that has not ended has neither a deadline nor a connected participant")]
    SomebodyOrADeadline,
    #[error("{0} devices won the same ring")]
    OneWinnerPerInvite(usize),
    #[error("a final status and the end do not go together")]
    FinalMeansEnded,
    #[error("a call that has ended has a participant who is not done")]
    EndedMeansEverybodyDone,
    #[error("more people than the call takes")]
    Room,
    #[error("an engaged participant has no device")]
    EngagedMeansDevice,
    #[error("a user stands twice in the call")]
    OneRowPerUser,
    #[error("the deadline of a participant does not fit where they stand")]
    WaitingMeansDeadline,
    #[error("the status of the call does not fit whether a second person has come")]
    StartedMeansUnderWay,
    #[error("a call of two goes on with one")]
    NobodyAloneInAPair,
    #[error("{0} hosts are in the call")]
    OneHost(usize),
    #[error("somebody waits in a lobby without a device")]
    WaitingMeansADevice,
    #[error("a call is still initiating after its first event")]
    NeverInitiating,
    #[error("only a peer-to-peer call that goes on moves to the media server")]
    EscalatingMeansPeerToPeer,
    #[error("somebody is seen in the room who is not in the call")]
    InTheRoomMeansInTheCall,
    #[error("everybody is in the room, and the call does not move there")]
    AllInTheRoomMeansEscalated,
    #[error("a recording runs in a call that is over")]
    RecordingEndsWithTheCall,
    #[error("a call moves to the media server once, and there is no way back")]
    EscalatedOnce,
}

/// Checks a call against its whole history.
pub fn check(call: &Call, history: &[Recorded]) -> Result<(), Violation> {
    let mut expected = 1;
    for recorded in history {
        if recorded.seq != expected {
            return Err(Violation::SeqWithoutHoles(recorded.seq, expected - 1));
        }
        expected += 1;
    }
    if call.seq + 1 != expected {
        return Err(Violation::SeqWithoutHoles(call.seq, expected - 1));
    }
    let ends = |r: &&Recorded| matches!(r.event, Event::Ended { .. });
    if history.iter().rev().skip(1).any(|r| ends(&r)) {
        return Err(Violation::NothingAfterTheEnd);
    }
    one_winner(history)?;
    if call.status.is_final() != call.end.is_some() {
        return Err(Violation::FinalMeansEnded);
    }
    if call.status.is_final() && call.running_recording().is_some() {
        return Err(Violation::RecordingEndsWithTheCall);
    }
    for (i, p) in call.participants.iter().enumerate() {
        if call.participants[..i].iter().any(|q| q.user == p.user) {
            return Err(Violation::OneRowPerUser);
        }
        if p.status.is_engaged() && p.device.is_none() {
            return Err(Violation::EngagedMeansDevice);
        }
        if call.status.is_final() && (!p.status.is_final() || p.deadline.is_some()) {
            return Err(Violation::EndedMeansEverybodyDone);
        }
        if runs_out(p.status) != p.deadline.is_some() {
            return Err(Violation::WaitingMeansDeadline);
        }
    }
    moves(call, history)?;
    let hosts = call.engaged().filter(|p| p.role == Role::Host).count();
    if !call.status.is_final() && hosts != 1 {
        return Err(Violation::OneHost(hosts));
    }
    if call.participants.iter().any(|p| p.status.is_present() && p.device.is_none()) {
        return Err(Violation::WaitingMeansADevice);
    }
    if call.engaged().count() > call.max_participants as usize {
        return Err(Violation::Room);
    }
    let connected = call.participants.iter().any(|p| p.status == ParticipantStatus::Joined);
    let runs_out = call.participants.iter().any(|p| p.deadline.is_some());
    if !call.status.is_final() && !connected && !runs_out {
        return Err(Violation::SomebodyOrADeadline);
    }
    let started = call.started_at.is_some();
    // Who asked for a transfer may go before it is taken up.
    let waits = call.transfer.as_ref().is_some_and(|transfer| !call.is_in(&transfer.by, ParticipantStatus::is_engaged));
    if !call.status.is_final() && started && !call.is_group && call.engaged().count() != if waits { 1 } else { 2 } {
        return Err(Violation::NobodyAloneInAPair);
    }
    match call.status {
        CallStatus::Initiating => Err(Violation::NeverInitiating),
        CallStatus::Waiting | CallStatus::Ringing if started => Err(Violation::StartedMeansUnderWay),
        CallStatus::Connecting | CallStatus::Active if !started => Err(Violation::StartedMeansUnderWay),
        _ => Ok(()),
    }
}

/// Moving to the media server.
fn moves(call: &Call, history: &[Recorded]) -> Result<(), Violation> {
    let under_way = call.escalation.is_some();
    if under_way && (call.status.is_final() || call.mode == CallMode::Sfu) {
        return Err(Violation::EscalatingMeansPeerToPeer);
    }
    if call.participants.iter().any(|p| p.in_room && !p.status.is_engaged()) {
        return Err(Violation::InTheRoomMeansInTheCall);
    }
    if under_way && call.engaged().all(|p| p.in_room) {
        return Err(Violation::AllInTheRoomMeansEscalated);
    }
    let mut there = false;
    for recorded in history {
        match &recorded.event {
            Event::Created(created) => there = created.mode == CallMode::Sfu,
            Event::Escalating { .. } | Event::EscalationAborted { .. } | Event::Escalated {} if there => {
                return Err(Violation::EscalatedOnce);
            }
            Event::Escalated {} => there = true,
            _ => {}
        }
    }
    if there == (call.mode == CallMode::Sfu) { Ok(()) } else { Err(Violation::EscalatedOnce) }
}

/// A status that somebody is in only until its deadline.
const fn runs_out(status: ParticipantStatus) -> bool {
    status.is_rung() || matches!(status, ParticipantStatus::Connecting | ParticipantStatus::Reconnecting)
}

/// Between two invitations of a user at most one device takes the call up.
fn one_winner(history: &[Recorded]) -> Result<(), Violation> {
    for (i, recorded) in history.iter().enumerate() {
        let Event::Accepted { user, .. } = &recorded.event else { continue };
        let asked_again = |r: &&Recorded| match &r.event {
            Event::Invited { user: other, .. } => other == user,
            _ => false,
        };
        let winners = history[i..]
            .iter()
            .take_while(|r| !asked_again(r))
            .filter(|r| matches!(&r.event, Event::Accepted { user: other, .. } if other == user))
            .count();
        if winners > 1 {
            return Err(Violation::OneWinnerPerInvite(winners));
        }
    }
    Ok(())
}
