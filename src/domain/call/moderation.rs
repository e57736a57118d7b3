//! Roles and what they allow: kick, mute, lock, lobby, and who is host when the host goes; raising a hand.
//!
//! Peer to peer the server cannot stop anybody's media: a mute is a request to the client. A kick takes effect at once.

use super::{Call, CallStatus, EndReason, decide::Decision, ending::status_for};
use crate::domain::{
    Event, Participant, ParticipantStatus, Rejection, Role, Rules, Timestamp, UserId,
    command::{Command, Track},
};

/// What a moderating command leads to; `by` is engaged in a call that goes on. `admin`: of the call's group; they may what
/// the host may, but for giving roles: those are the call's own.
pub(super) fn moderate(
    call: &Call,
    now: Timestamp,
    rules: &Rules,
    by: &Participant,
    admin: bool,
    command: &Command,
) -> Decision {
    let role = if admin && !matches!(command, Command::Role { .. }) { Role::Host } else { by.role };
    if role == Role::Participant {
        return Err(Rejection::Forbidden);
    }
    match command {
        Command::Role { user, role } => change_role(call, by, user, *role),
        Command::Kick { user } => kick(call, by, role, user),
        Command::Mute { user, track } => mute(call, by, user.as_ref(), *track),
        Command::Lock { locked, lobby } => lock(call, now, rules, by, *locked, *lobby),
        Command::Admit { user } if waits(call, user) => admit(call, now, rules, by, vec![user.clone()]),
        Command::Admit { user } if call.is_in(user, ParticipantStatus::is_engaged) => Ok(vec![]),
        Command::Deny { user } if waits(call, user) => {
            Ok(vec![Event::Denied { user: user.clone(), by: by.user.clone() }])
        }
        Command::Deny { user } if call.is_in(user, ParticipantStatus::is_final) => Ok(vec![]),
        _ => Err(Rejection::NotParticipant),
    }
}

/// Whether it may depend on the user's being an admin of the group what this command leads to: then that has to be looked
/// up. Not so for whom the call itself allows it, nor for whom it is refused either way.
pub fn admin_may(call: &Call, user: &UserId, command: &Command) -> bool {
    let me = call.participant(user);
    let engaged = me.filter(|p| p.status.is_engaged());
    let plain = engaged.is_some_and(|p| p.role == Role::Participant);
    if call.group.is_none() || call.status.is_final() {
        return false;
    }
    match command {
        Command::End { .. } => engaged.is_none() || plain,
        Command::Mute { .. } | Command::Lock { .. } | Command::Admit { .. } | Command::Deny { .. } => plain,
        Command::Kick { user: target } => {
            let ranks = call.participant(target).is_some_and(|p| p.role != Role::Participant);
            plain || ranks && engaged.is_some_and(|p| p.role == Role::Cohost)
        }
        Command::Invite { users, .. } => {
            plain && (call.locked || users.iter().any(|user| call.is_in(user, |s| s == ParticipantStatus::Kicked)))
        }
        _ => false,
    }
}

/// An admin of the group ends its call without being in it.
pub(super) fn end_from_outside(call: &Call, by: UserId, reason: Option<EndReason>) -> Vec<Event> {
    let (status, reason) = match reason.unwrap_or(EndReason::Completed) {
        _ if call.started_at.is_none() => (CallStatus::Cancelled, EndReason::Cancelled),
        reason => (status_for(reason), reason),
    };
    vec![Event::Ended { status, reason, by: Some(by) }]
}

fn waits(call: &Call, user: &UserId) -> bool {
    call.is_in(user, |status| status == ParticipantStatus::Lobby)
}

fn change_role(call: &Call, by: &Participant, user: &UserId, role: Role) -> Decision {
    // Also a repetition by who has just handed the part over.
    if call.participant(user).is_some_and(|p| p.status.is_engaged() && p.role == role) {
        return Ok(vec![]);
    }
    if by.role != Role::Host {
        return Err(Rejection::Forbidden);
    }
    if *user == by.user {
        return Err(Rejection::WrongState("name another host first"));
    }
    call.participant(user).filter(|p| p.status.is_engaged()).ok_or(Rejection::NotParticipant)?;
    Ok(vec![Event::RoleChanged { user: user.clone(), role, by: Some(by.user.clone()) }])
}

fn kick(call: &Call, by: &Participant, role: Role, user: &UserId) -> Decision {
    if *user == by.user {
        return Err(Rejection::Invalid("leave the call rather than kick yourself"));
    }
    let target = call.participant(user).ok_or(Rejection::NotParticipant)?;
    match target.status {
        ParticipantStatus::Kicked => Ok(vec![]),
        // A cohost is the host's to remove, and the group's admins' as the host is.
        _ if role != Role::Host && target.role != Role::Participant => Err(Rejection::Forbidden),
        // Also who left: until they are invited again they stay away.
        _ => Ok(vec![Event::Kicked { user: user.clone(), by: by.user.clone() }]),
    }
}

fn sends(p: &Participant, track: Track) -> bool {
    match track {
        Track::Audio => p.audio,
        Track::Video => p.video,
        Track::Screen => p.screen,
    }
}

fn mute(call: &Call, by: &Participant, user: Option<&UserId>, track: Track) -> Decision {
    let users: Vec<UserId> = match user {
        Some(user) => {
            let target = call.participant(user).filter(|p| p.status.is_engaged()).ok_or(Rejection::NotParticipant)?;
            sends(target, track).then(|| user.clone()).into_iter().collect()
        }
        None => (call.engaged().filter(|p| p.user != by.user && sends(p, track))).map(|p| p.user.clone()).collect(),
    };
    let event = || Event::MuteRequested { users: users.clone(), track, by: by.user.clone() };
    Ok(if users.is_empty() { vec![] } else { vec![event()] })
}

fn lock(call: &Call, now: Timestamp, rules: &Rules, by: &Participant, locked: bool, lobby: Option<bool>) -> Decision {
    let lobby = lobby.unwrap_or(call.lobby);
    if locked == call.locked && lobby == call.lobby {
        return Ok(vec![]);
    }
    let mut events = vec![Event::LockChanged { locked, lobby, by: by.user.clone() }];
    if !lobby {
        // Nobody is left to wait for a door that is gone; whom the call has no room for stays outside.
        let room = (call.max_participants as usize).saturating_sub(call.engaged().count());
        let waiting = call.participants.iter().filter(|p| p.status == ParticipantStatus::Lobby);
        let waiting: Vec<UserId> = waiting.map(|p| p.user.clone()).collect();
        let (in_, out) = waiting.split_at(room.min(waiting.len()));
        events.extend(admit(call, now, rules, by, in_.to_vec())?);
        events.extend(out.iter().map(|user| Event::Denied { user: user.clone(), by: by.user.clone() }));
    }
    Ok(events)
}

fn admit(call: &Call, now: Timestamp, rules: &Rules, by: &Participant, users: Vec<UserId>) -> Decision {
    if call.engaged().count() + users.len() > call.max_participants as usize {
        return Err(Rejection::CallFull);
    }
    let deadline = now + rules.connect_timeout;
    let enters = users.into_iter().filter_map(|user| {
        let device = call.participant(&user)?.device.clone()?;
        let admitted = Event::Admitted { user: user.clone(), by: by.user.clone() };
        Some([admitted, Event::Joined { user, device, deadline }])
    });
    Ok(enters.flatten().collect())
}

/// Raising or lowering one's own hand.
pub(super) fn raise_hand(me: &Participant, raised: bool) -> Vec<Event> {
    if me.hand_raised == raised { vec![] } else { vec![Event::HandRaised { user: me.user.clone(), raised }] }
}

/// Who is host from now on, when the host is in the call no more: a cohost before others, and who came first.
pub(super) fn succession(call: &Call) -> Option<Event> {
    if call.status.is_final() || call.engaged().any(|p| p.role == Role::Host) {
        return None;
    }
    let heir = call.engaged().min_by_key(|p| (p.role != Role::Cohost, p.joined_at))?;
    Some(Event::RoleChanged { user: heir.user.clone(), role: Role::Host, by: None })
}
