//! What becomes of a call that a sweeper takes for left behind.
//!
//! The sweeper has seen rows, perhaps old ones; here the call judges by its own deadlines, with a margin, so that a
//! sweeper never overtakes a timer that is about to run. What is past its deadline becomes what the timer would have
//! made of it. What has no deadline at all could never run out: only that is ended as `swept`.

use super::{Call, EndReason, ending::status_for, timers};
use crate::domain::{
    Event, Participant, ParticipantStatus, Prey, Rules, Timestamp,
    command::{MAX_RING_TIMEOUT, SWEEP_MARGIN},
};

/// The events that a sweep leads to; none: the call is not what it was taken for.
pub(super) fn swept(call: &Call, now: Timestamp, rules: &Rules, prey: &Prey) -> Vec<Event> {
    let past = |deadline: Timestamp| deadline + SWEEP_MARGIN <= now;
    let stuck = |is: fn(ParticipantStatus) -> bool| call.participants.iter().filter(move |p| is(p.status));
    match prey {
        Prey::StaleRinging => {
            let runs_out = |p: &Participant| p.deadline.unwrap_or(p.invited_at + MAX_RING_TIMEOUT);
            let stale: Vec<_> = stuck(ParticipantStatus::is_rung).filter(|p| past(runs_out(p))).collect();
            settle(call, now, rules, &stale, |p| Event::Missed { user: p.user.clone() })
        }
        Prey::StaleConnecting => {
            let since = |p: &Participant| p.joined_at.unwrap_or(p.invited_at);
            let runs_out = |p: &Participant| p.deadline.unwrap_or(since(p) + rules.connect_timeout);
            let connecting = stuck(|status| status == ParticipantStatus::Connecting);
            let stale: Vec<_> = connecting.filter(|p| past(runs_out(p))).collect();
            settle(call, now, rules, &stale, |p| Event::Left { user: p.user.clone(), reason: EndReason::Swept })
        }
        Prey::PastMaxDuration if call.longest_until(rules).is_some_and(past) => timers::due(call, now, rules),
        Prey::PastMaxDuration => vec![],
        Prey::LeftBehind { user, device } => {
            let Some(p) = call.participant(user).filter(|p| p.device.as_ref() == Some(device)) else { return vec![] };
            match p.status {
                // As when its node had said so: the grace begins now.
                ParticipantStatus::Connecting | ParticipantStatus::Joined => {
                    vec![Event::Reconnecting { user: user.clone(), deadline: now + rules.reconnect_grace }]
                }
                ParticipantStatus::Reconnecting if p.deadline.is_none_or(past) => settle(call, now, rules, &[p], |p| {
                    Event::Left { user: p.user.clone(), reason: EndReason::ConnectionLost }
                }),
                _ => vec![],
            }
        }
    }
}

/// What a tick does with those who are stale; and with those it would leave, because they have no deadline.
fn settle(
    call: &Call,
    now: Timestamp,
    rules: &Rules,
    stale: &[&Participant],
    otherwise: impl Fn(&Participant) -> Event,
) -> Vec<Event> {
    if stale.is_empty() {
        return vec![];
    }
    let mut events = timers::due(call, now, rules);
    let endless: Vec<_> = stale.iter().filter(|p| p.deadline.is_none()).collect();
    if events.is_empty() && call.started_at.is_none() && !endless.is_empty() {
        let reason = EndReason::Swept;
        return vec![Event::Ended { status: status_for(reason), reason, by: None }];
    }
    if !events.iter().any(|event| matches!(event, Event::Ended { .. })) {
        events.extend(endless.into_iter().map(|p| otherwise(p)));
    }
    events
}
