//! When a call is over, and how it is called then.

use super::{Call, CallStatus, EndReason};
use crate::domain::{Event, ParticipantStatus, UserId};

/// The event that ends the call, if with what has happened to it nobody is left to talk to.
///
/// `by`: who did the last thing, if it was a user. `last_leave`: why the last participant left, if that is what
/// happened.
pub(super) fn conclude(call: &Call, by: Option<&UserId>, last_leave: Option<EndReason>) -> Option<Event> {
    if call.status.is_final() {
        return None;
    }
    let engaged = call.engaged().count();
    let rung = call.rung().count();
    let started = call.started_at.is_some();
    let nobody = engaged == 0;
    // Who transfers a call has nobody left to transfer when the other side goes.
    let nobody_to_transfer =
        call.transfer.as_ref().is_some_and(|transfer| call.engaged().all(|p| p.user == transfer.by));
    let alone_in_a_pair = !call.is_group && engaged < 2 && (rung == 0 || nobody_to_transfer);
    let nobody_answered = !started && rung == 0 && call.ringing_at.is_some();
    let (status, reason) = if started && (nobody || alone_in_a_pair) {
        (CallStatus::Ended, last_leave.unwrap_or(EndReason::Completed))
    } else if nobody {
        (CallStatus::Cancelled, last_leave.unwrap_or(EndReason::Cancelled))
    } else if nobody_answered {
        outcome_of_the_rings(call)
    } else {
        return None;
    };
    Some(Event::Ended { status, reason, by: by.cloned() })
}

/// Nobody took up the call: one who declined counts for more than one who was busy, and that more than silence.
fn outcome_of_the_rings(call: &Call) -> (CallStatus, EndReason) {
    let any = |status| call.participants.iter().any(|p| p.status == status);
    if call.participants.iter().filter(|p| p.invited_by.is_some()).all(|p| p.status == ParticipantStatus::Kicked) {
        // Whoever rang them took it back.
        (CallStatus::Cancelled, EndReason::Cancelled)
    } else if any(ParticipantStatus::Declined) {
        (CallStatus::Declined, EndReason::Declined)
    } else if any(ParticipantStatus::Busy) {
        (CallStatus::Busy, EndReason::Busy)
    } else if call.participants.iter().filter(|p| p.invited_by.is_some()).all(|p| p.unreachable) {
        (CallStatus::Missed, EndReason::Unreachable)
    } else {
        (CallStatus::Missed, EndReason::NoAnswer)
    }
}

/// The status of a call that somebody ended for this reason.
pub(super) const fn status_for(reason: EndReason) -> CallStatus {
    match reason {
        EndReason::MediaFailed | EndReason::NodeLost | EndReason::Swept | EndReason::Error => CallStatus::Failed,
        _ => CallStatus::Ended,
    }
}
