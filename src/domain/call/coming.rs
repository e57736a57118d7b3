//! How people come into a call: by accepting, by joining, by being asked in. Whether there is room, and whether the door
//! is open.

use super::{
    Call,
    decide::{Decision, back},
    transfer,
};
use crate::domain::{DeviceId, Event, Opaque, ParticipantStatus, Rejection, Role, Rules, Timestamp, UserId};

pub(super) fn accept(
    call: &Call,
    now: Timestamp,
    rules: &Rules,
    user: &UserId,
    device: &DeviceId,
    answer: Option<&Opaque>,
) -> Decision {
    let transferred = transfer::completed(call, user);
    if transferred.is_none() {
        has_room(call)?;
    }
    let deadline = now + rules.connect_timeout;
    let (user, device) = (user.clone(), device.clone());
    let mut events = vec![Event::Accepted { user: user.clone(), device, answer: answer.cloned(), deadline }];
    // The offer that the call began with was not made for who takes another's place.
    if answer.is_some() && call.offer.is_some() && transferred.is_none() {
        events.push(Event::Connected { users: vec![user] });
    }
    events.extend(transferred);
    Ok(events)
}

fn has_room(call: &Call) -> Result<(), Rejection> {
    if call.engaged().count() < call.max_participants as usize { Ok(()) } else { Err(Rejection::CallFull) }
}

/// `admin`: of the call's group; no door is closed to them.
pub(super) fn join(
    call: &Call,
    now: Timestamp,
    rules: &Rules,
    user: &UserId,
    device: &DeviceId,
    admin: bool,
) -> Decision {
    if call.status.is_final() {
        return Err(Rejection::AlreadyEnded);
    }
    let deadline = now + rules.connect_timeout;
    let in_charge = admin || call.participant(user).is_some_and(|p| p.role != Role::Participant);
    let enters = |event, waits| {
        if call.lobby && !in_charge {
            return Ok(vec![waits]);
        }
        has_room(call)?;
        if call.locked && !in_charge { Err(Rejection::CallLocked) } else { Ok(vec![event]) }
    };
    let (user, device) = (user.clone(), device.clone());
    match call.participant(&user) {
        Some(p) if p.status.is_rung() => accept(call, now, rules, &user, &device, None),
        Some(p) if p.status.is_engaged() && p.device.as_ref() == Some(&device) => {
            back(call, now, rules, &user, &device)
        }
        Some(p) if p.status.is_engaged() => Ok(vec![Event::Moved { user, device }]),
        Some(p) if p.status == ParticipantStatus::Kicked => Err(Rejection::Forbidden),
        Some(p) if p.status == ParticipantStatus::Lobby && p.device.as_ref() == Some(&device) => Ok(vec![]),
        // At another of their devices; their place stays.
        Some(p) if p.status == ParticipantStatus::Lobby => Ok(vec![Event::LobbyWaiting { user, device }]),
        Some(_) if !call.is_group => Err(Rejection::WrongState("it does not ring you")),
        _ => {
            let waits = Event::LobbyWaiting { user: user.clone(), device: device.clone() };
            enters(Event::Joined { user, device, deadline }, waits)
        }
    }
}

pub(super) fn invite(
    call: &Call,
    now: Timestamp,
    rules: &Rules,
    by: &UserId,
    admin: bool,
    users: &[UserId],
    guests: &[UserId],
) -> Decision {
    let plain = !admin && call.participant(by).is_some_and(|p| p.role == Role::Participant);
    if call.locked && plain {
        return Err(Rejection::CallLocked);
    }
    let kicked = |user: &UserId| call.is_in(user, |status| status == ParticipantStatus::Kicked);
    if plain && users.iter().any(kicked) {
        // Who was sent away comes back only by who may send away.
        return Err(Rejection::Forbidden);
    }
    let absent = |user: &&UserId| call.participant(user).is_none_or(|p| p.status.is_final());
    let taken = call.participants.iter().filter(|p| !p.status.is_final()).count();
    let mut invitees: Vec<&UserId> = Vec::new();
    for user in users.iter().filter(absent) {
        if !invitees.contains(&user) {
            invitees.push(user);
        }
        // Inside the loop: a frame full of names must not cost the square of their number.
        if taken + invitees.len() > call.max_participants as usize {
            return Err(Rejection::CallFull);
        }
    }
    let ring_deadline = now + rules.ring_timeout;
    Ok(invitees
        .into_iter()
        .map(|user| Event::Invited {
            user: user.clone(),
            by: by.clone(),
            ring_deadline,
            transfer: false,
            guest: guests.contains(user),
        })
        .collect())
}
