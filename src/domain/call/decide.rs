//! What a command leads to: the events that happen, or the reason why none do.
//!
//! An empty list is a success that changes nothing: the command was a repetition, or had been overtaken.

use super::{
    Call, CallMode, CallStatus,
    coming::{accept, invite, join},
    ending::conclude,
    ending::status_for,
    escalation, evolve, moderation, recording, sweeping, timers, transfer,
};
use crate::domain::{
    By, Command, DeviceId, EndReason, Event, Membership, Participant, ParticipantStatus, Recorded, Rejection, Role,
    Rules, Start, Timestamp, UserId, command::MAX_RING_TIMEOUT, command::MAX_RINGING_DEVICES, event::Created,
};

pub(super) type Decision = Result<Vec<Event>, Rejection>;

/// The events that open a call.
pub fn start(start: &Start, now: Timestamp, rules: &Rules) -> Decision {
    if start.callees.is_empty() && start.group.is_none() {
        return Err(Rejection::Invalid("calleeIds must name somebody, or groupId a group"));
    }
    if start.callees.len() >= rules.max_participants as usize {
        return Err(Rejection::CallFull);
    }
    if start.callees.contains(&start.initiator) {
        return Err(Rejection::Invalid("calleeIds must not name yourself"));
    }
    let mut named: Vec<&UserId> = start.callees.iter().collect();
    named.sort_unstable();
    if named.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Rejection::Invalid("calleeIds must not name anybody twice"));
    }
    if start.ring_timeout.is_some_and(|wanted| wanted.is_zero() || wanted > MAX_RING_TIMEOUT) {
        return Err(Rejection::Invalid("ringTimeoutSecs must be between 1 and 600"));
    }
    if start.mode == CallMode::Sfu && !rules.media_server {
        return Err(Rejection::MediaUnavailable("there is no media server now"));
    }
    let ring_timeout = start.ring_timeout.unwrap_or(rules.ring_timeout);
    Ok(vec![Event::Created(Box::new(Created {
        call_type: start.call_type,
        mode: start.mode,
        escalates: start.escalates && start.mode == CallMode::P2p,
        initiator: start.initiator.clone(),
        initiator_name: start.initiator_name.clone(),
        device: start.device.clone(),
        group: start.group.clone(),
        callees: start.callees.clone(),
        ring_deadline: (!start.callees.is_empty()).then(|| now + ring_timeout),
        max_participants: rules.max_participants,
        offer: start.offer.clone(),
        metadata: start.metadata.clone(),
    }))])
}

/// The events that a command to an existing call leads to.
pub fn decide(call: &Call, now: Timestamp, rules: &Rules, by: &By, command: &Command) -> Decision {
    let (events, author) = match by {
        By::User { user, device, membership } => {
            let admin = *membership == Membership::Admin && call.group.is_some();
            let member = *membership >= Membership::Member && call.group.is_some();
            if call.participant(user).is_none() && !member {
                return Err(Rejection::NotFound);
            }
            // Who was in the call once has no way back when the group has them no more.
            let outsider = call.group.is_some() && is_absent(call, user) && !is_guest(call, user);
            if matches!(command, Command::Join) && outsider && !member {
                return Err(Rejection::NotFound);
            }
            (by_user(call, now, rules, user, device, admin, command)?, Some(user))
        }
        By::System => (by_system(call, now, rules, command)?, None),
    };
    Ok(with_the_end(call, now, rules, author, events))
}

/// Neither in the call nor rung, nor waiting to be let in.
pub fn is_absent(call: &Call, user: &UserId) -> bool {
    call.participant(user).is_none_or(|p| p.status.is_final())
}

/// Somebody in the call has asked them in by name, and nobody has sent them away since: whether they are a member of the
/// call's group does not matter.
pub fn is_guest(call: &Call, user: &UserId) -> bool {
    call.participant(user).is_some_and(|p| p.guest && p.leave_reason != Some(EndReason::Kicked))
}

/// Adds the end of the call, if that is what the events lead to, and what else follows from them by itself.
fn with_the_end(
    call: &Call,
    now: Timestamp,
    rules: &Rules,
    author: Option<&UserId>,
    mut events: Vec<Event>,
) -> Vec<Event> {
    if events.is_empty() || events.iter().any(|e| matches!(e, Event::Ended { .. })) {
        return events;
    }
    let mut next = call.clone();
    let mut last_leave = None;
    for event in &events {
        let seq = next.seq + 1;
        evolve(&mut next, &Recorded { seq, at: now, event: event.clone() });
        match event {
            Event::Left { reason, .. } => last_leave = Some(*reason),
            Event::Kicked { .. } => last_leave = Some(EndReason::Kicked),
            _ => {}
        }
    }
    if let Some(end) = conclude(&next, author, last_leave) {
        events.push(end);
        return events;
    }
    let follow = escalation::follow_up(&next, now, rules, &events);
    events.extend(moderation::succession(&next));
    events.extend(recording::follow_up(&next, &events));
    events.extend(follow);
    events
}

fn by_user(
    call: &Call,
    now: Timestamp,
    rules: &Rules,
    user: &UserId,
    device: &DeviceId,
    admin: bool,
    command: &Command,
) -> Decision {
    let me = call.participant(user);
    let status = me.map(|p| p.status);
    let rung = status.is_some_and(ParticipantStatus::is_rung);
    let engaged = status.is_some_and(ParticipantStatus::is_engaged);
    let here = engaged && me.and_then(|p| p.device.as_ref()) == Some(device);
    let over = call.status.is_final();
    let user = user.clone();
    match command {
        Command::Ringing => match status {
            Some(s) if s.is_rung() && me.is_some_and(|p| is_news(p, device)) => {
                Ok(vec![Event::Ringing { user, device: device.clone() }])
            }
            Some(s) if s.is_rung() => Ok(vec![]),
            _ => not_rung_any_more(over, engaged, here),
        },
        Command::Accept { .. } if call.initiator == user && me.is_some_and(|p| p.invited_by.is_none()) => {
            if over {
                Err(Rejection::AlreadyEnded)
            } else {
                Err(Rejection::WrongState("you started this call"))
            }
        }
        Command::Accept { answer } if rung => accept(call, now, rules, &user, device, answer.as_ref()),
        Command::Accept { .. } if here => back(call, now, rules, &user, device),
        Command::Accept { .. } if status == Some(ParticipantStatus::Kicked) && !over => Err(Rejection::Forbidden),
        Command::Accept { .. } => not_rung_any_more(over, engaged, here),
        Command::Decline { reason } if rung => {
            Ok(vec![Event::Declined { user, device: Some(device.clone()), reason: reason.clone() }])
        }
        Command::Decline { .. } if status == Some(ParticipantStatus::Declined) => Ok(vec![]),
        Command::Decline { .. } if here => Err(Rejection::WrongState("you have accepted it")),
        Command::Decline { .. } => not_rung_any_more(over, engaged, here),
        Command::Busy if rung => Ok(vec![Event::Busy { user, device: Some(device.clone()) }]),
        Command::Busy if status == Some(ParticipantStatus::Busy) => Ok(vec![]),
        Command::Busy => not_rung_any_more(over, engaged, here),
        Command::Cancel if call.initiator != user => Err(Rejection::Forbidden),
        Command::Cancel if call.status == CallStatus::Cancelled => Ok(vec![]),
        Command::Cancel if over => Err(Rejection::AlreadyEnded),
        Command::Cancel if call.started_at.is_some() => Err(Rejection::WrongState("it has been accepted")),
        Command::Cancel => Ok(cancelled(user)),
        Command::Join => join(call, now, rules, &user, device, admin),
        Command::Leave if over => Ok(vec![]),
        // A device that lost the race tidies up after itself: that must not hang up at the one that won.
        Command::Leave if engaged && !here && status != Some(ParticipantStatus::Reconnecting) => Ok(vec![]),
        Command::Leave if engaged && nobody_else_came(call, &user) => Ok(cancelled(user)),
        Command::Leave if engaged => Ok(vec![Event::Left { user, reason: EndReason::Completed }]),
        Command::Leave if rung => Ok(vec![Event::Declined { user, device: Some(device.clone()), reason: None }]),
        Command::Leave if status == Some(ParticipantStatus::Lobby) => {
            Ok(vec![Event::Left { user, reason: EndReason::Completed }])
        }
        Command::Leave if status.is_some() => Ok(vec![]),
        Command::Leave => Err(Rejection::NotParticipant),
        Command::End { .. } if over => Ok(vec![]),
        Command::End { reason } if admin && !engaged => Ok(moderation::end_from_outside(call, user, *reason)),
        Command::End { reason } => end(call, &user, device, rung, engaged, admin, *reason),
        Command::Invite { .. } | Command::Media { .. } if over => Err(Rejection::AlreadyEnded),
        Command::Invite { .. } | Command::Media { .. } if !engaged => Err(Rejection::NotParticipant),
        Command::Invite { users, guests } => invite(call, now, rules, &user, admin, users, guests),
        Command::Media { audio, video, screen } => {
            let differs = me.is_some_and(|p| {
                audio.is_some_and(|v| v != p.audio)
                    || video.is_some_and(|v| v != p.video)
                    || screen.is_some_and(|v| v != p.screen)
            });
            let change = Event::MediaChanged { user, audio: *audio, video: *video, screen: *screen };
            Ok(if differs { vec![change] } else { vec![] })
        }
        Command::Kick { user: kicked }
            if over
                && (admin || me.is_some_and(|p| p.role != Role::Participant))
                && call.is_in(kicked, |status| status == ParticipantStatus::Kicked) =>
        {
            Ok(vec![])
        }
        Command::StopRecording if over => recording::stopped_with_the_call(call),
        Command::Role { .. }
        | Command::Kick { .. }
        | Command::Mute { .. }
        | Command::Lock { .. }
        | Command::Admit { .. }
        | Command::Deny { .. }
        | Command::StartRecording { .. }
        | Command::RaiseHand { .. }
        | Command::Hold
        | Command::Resume
        | Command::Transfer { .. }
        | Command::Escalate
            if over =>
        {
            Err(Rejection::AlreadyEnded)
        }
        Command::RaiseHand { raised } => Ok(moderation::raise_hand(in_it(me)?, *raised)),
        Command::Hold => transfer::hold(call, in_it(me)?, true),
        Command::Resume => transfer::hold(call, in_it(me)?, false),
        Command::Transfer { to } => transfer::transfer(call, now, rules, in_it(me)?, to),
        Command::StartRecording { recording, wish } => recording::start(call, now, rules, in_it(me)?, recording, wish),
        Command::StopRecording => recording::stop(call, in_it(me)?),
        Command::Escalate => escalation::requested(call, now, rules, &in_it(me)?.user),
        Command::Role { .. }
        | Command::Kick { .. }
        | Command::Mute { .. }
        | Command::Lock { .. }
        | Command::Admit { .. }
        | Command::Deny { .. } => moderation::moderate(call, now, rules, in_it(me)?, admin, command),
        Command::Connected { .. }
        | Command::Unreachable { .. }
        | Command::BusyElsewhere { .. }
        | Command::ConnectionLost { .. }
        | Command::ConnectionBack { .. }
        | Command::Remove { .. }
        | Command::EndByOperator
        | Command::RecordingChanged { .. }
        | Command::RoomJoined { .. }
        | Command::RoomLeft { .. }
        | Command::RoomOpened
        | Command::RoomUnavailable
        | Command::Tick
        | Command::Sweep(_) => Err(Rejection::Forbidden),
    }
}

/// The asker's part, if they are in the call.
fn in_it(me: Option<&Participant>) -> Result<&Participant, Rejection> {
    me.filter(|p| p.status.is_engaged()).ok_or(Rejection::NotParticipant)
}

fn by_system(call: &Call, now: Timestamp, rules: &Rules, command: &Command) -> Decision {
    if call.status.is_final() {
        return Ok(vec![]);
    }
    Ok(match command {
        Command::Connected { users } => {
            let connecting = |u: &&UserId| call.is_in(u, |s| s == ParticipantStatus::Connecting);
            let users: Vec<_> = users.iter().filter(connecting).cloned().collect();
            if users.is_empty() { vec![] } else { vec![Event::Connected { users }] }
        }
        Command::Unreachable { user } => {
            let news = call.participant(user).is_some_and(|p| p.status == ParticipantStatus::Invited && !p.unreachable);
            if news { vec![Event::Unreachable { user: user.clone() }] } else { vec![] }
        }
        Command::BusyElsewhere { user } => {
            let rung = call.is_in(user, ParticipantStatus::is_rung);
            if rung { vec![Event::Busy { user: user.clone(), device: None }] } else { vec![] }
        }
        Command::ConnectionLost { user, device } => {
            let lost = call.participant(user).is_some_and(|p| {
                matches!(p.status, ParticipantStatus::Connecting | ParticipantStatus::Joined)
                    && p.device.as_ref() == Some(device)
            });
            let deadline = now + rules.reconnect_grace;
            let waited = call
                .participant(user)
                .is_some_and(|p| p.status == ParticipantStatus::Lobby && p.device.as_ref() == Some(device));
            if waited {
                // Who waits outside has nothing to lose but their place.
                vec![Event::Left { user: user.clone(), reason: EndReason::ConnectionLost }]
            } else if lost {
                vec![Event::Reconnecting { user: user.clone(), deadline }]
            } else {
                vec![]
            }
        }
        Command::ConnectionBack { user, device } => {
            let here = call.participant(user).is_some_and(|p| p.device.as_ref() == Some(device));
            if here { back(call, now, rules, user, device)? } else { vec![] }
        }
        Command::Remove { users } => removed(call, users),
        Command::EndByOperator => vec![put_an_end(call)],
        Command::RecordingChanged { recording, status, reason } => {
            recording::changed(call, recording, *status, reason.as_ref())
        }
        Command::RoomJoined { user, device } => escalation::room_joined(call, user, device),
        Command::RoomLeft { user, device } => escalation::room_left(call, user, device),
        Command::RoomOpened => escalation::room_opened(call),
        Command::RoomUnavailable => escalation::room_unavailable(call, now),
        Command::Tick => timers::due(call, now, rules),
        Command::Sweep(prey) => sweeping::swept(call, now, rules, prey),
        _ => return Err(Rejection::Forbidden),
    })
}

/// What becomes of a call when these have no place in it any more.
fn removed(call: &Call, users: &[UserId]) -> Vec<Event> {
    let reason = EndReason::Kicked;
    let concerned = |p: &&Participant| !p.status.is_final() && users.contains(&p.user);
    let leavers: Vec<&Participant> = call.participants.iter().filter(concerned).collect();
    if !leavers.is_empty() && call.engaged().all(|p| users.contains(&p.user)) {
        // Nobody stays who would have to be told of each: to all of them it is the end of the call.
        return vec![put_an_end(call)];
    }
    leavers.into_iter().map(|p| Event::Left { user: p.user.clone(), reason }).collect()
}

/// The end of a call that was put to it from outside: to its people, as if they had been put out.
fn put_an_end(call: &Call) -> Event {
    let status = if call.started_at.is_some() { CallStatus::Ended } else { CallStatus::Cancelled };
    Event::Ended { status, reason: EndReason::Kicked, by: None }
}

/// A device that is in the call and says so again; if it had been away, it is back.
pub(super) fn back(call: &Call, now: Timestamp, rules: &Rules, user: &UserId, device: &DeviceId) -> Decision {
    let Some(p) = call.participant(user).filter(|p| p.status == ParticipantStatus::Reconnecting) else {
        return Ok(vec![]);
    };
    let deadline = (!p.was_connected).then(|| now + rules.connect_timeout);
    Ok(vec![Event::Reconnected { user: user.clone(), device: device.clone(), deadline }])
}

/// That this device alerts is not known yet, and there is room to note it.
fn is_news(p: &Participant, device: &DeviceId) -> bool {
    p.ringing_devices.len() < MAX_RINGING_DEVICES && !p.ringing_devices.contains(device)
}

fn not_rung_any_more(over: bool, engaged: bool, here: bool) -> Decision {
    Err(match (over, engaged, here) {
        (true, _, _) => Rejection::AlreadyEnded,
        (_, true, false) => Rejection::AcceptedElsewhere,
        _ => Rejection::WrongState("it does not ring you"),
    })
}

fn cancelled(by: UserId) -> Vec<Event> {
    let end = Event::Ended { status: CallStatus::Cancelled, reason: EndReason::Cancelled, by: Some(by.clone()) };
    vec![Event::Cancelled { by }, end]
}

fn nobody_else_came(call: &Call, user: &UserId) -> bool {
    call.started_at.is_none() && call.engaged().all(|p| p.user == *user)
}

fn end(
    call: &Call,
    user: &UserId,
    device: &DeviceId,
    rung: bool,
    engaged: bool,
    admin: bool,
    reason: Option<EndReason>,
) -> Decision {
    let role = call.participant(user).map(|p| p.role);
    let in_charge = (admin || matches!(role, Some(Role::Host | Role::Cohost))) && engaged;
    if !call.is_group && rung {
        return Ok(vec![Event::Declined { user: user.clone(), device: Some(device.clone()), reason: None }]);
    }
    if !call.is_group && call.is_in(user, |status| status == ParticipantStatus::Declined) {
        return Ok(vec![]);
    }
    if !(in_charge || (!call.is_group && engaged)) {
        return Err(if engaged || rung { Rejection::Forbidden } else { Rejection::NotParticipant });
    }
    if nobody_else_came(call, user) {
        return Ok(cancelled(user.clone()));
    }
    let reason = reason.unwrap_or(EndReason::Completed);
    Ok(vec![Event::Ended { status: status_for(reason), reason, by: Some(user.clone()) }])
}
