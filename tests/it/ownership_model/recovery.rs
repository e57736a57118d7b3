//! Liveness: from every state, once faults end and messages flow, nodes that do only what they do by themselves (renew,
//! sweep, send digests) bring every event to everybody, and an open call has an owner who acts. Nobody asks for anything.

use super::{
    state::{Actor, Doing, Life, Renewal, State},
    steps::{Rules, Step},
};

/// So many turns of everything suffice: a dead owner's lease runs out, one to claim, one to tell, one to spare.
pub const TURNS: u8 = 7;

/// Every client holds every event, and somebody acts for a call that is open.
pub fn well(rules: &Rules, s: &State) -> bool {
    let acts = |n: u8| match &s.nodes[n as usize].actor {
        Actor::Running { log, doing: Doing::Nothing, .. } => rules.may_own(s, n) && *log == s.log(),
        _ => false,
    };
    s.client.log == s.log() && (!s.row.open || acts(s.row.owner))
}

/// Nobody is there to recover anything, or the epochs that the model counts are used up.
pub fn beyond(rules: &Rules, s: &State) -> bool {
    !s.nodes.iter().any(|node| node.is_up() && !node.draining) || s.row.open && s.row.epoch >= rules.size.epochs
}

/// One turn of everything.
pub fn turn(rules: &Rules, s: &State) -> State {
    let mut s = s.clone();
    let mut step = |s: &mut State, step: Step| *s = rules.take(s, step).unwrap_or_else(|| s.clone());
    while let Some(flight) = s.flights.first() {
        let next = if flight.outcome.is_some() { Step::Answer(0) } else { Step::Store(0) };
        step(&mut s, next);
    }
    let up: Vec<u8> = (0..rules.size.nodes).filter(|n| s.nodes[*n as usize].life == Life::Up).collect();
    for n in up.iter().copied() {
        // What was asked earlier, then once more.
        if s.nodes[n as usize].renewal != Renewal::None {
            rules.renew_promptly(&mut s, n);
        }
        rules.renew_promptly(&mut s, n);
    }
    for n in up.iter().copied() {
        sweep(rules, &mut s, n, &mut step);
    }
    tell(rules, &mut s, &up, &mut step);
    // Time passes; those that live renew their leases while it does.
    for node in s.nodes.iter_mut().filter(|node| !node.is_up()) {
        node.db_lease = node.db_lease.saturating_sub(1);
    }
    s
}

/// The node's sweeper looks for what it would place, and finishes what it has begun.
fn sweep(rules: &Rules, s: &mut State, n: u8, step: &mut impl FnMut(&mut State, Step)) {
    let node = &s.nodes[n as usize];
    let free = s.row.open && !node.draining;
    let dead_owner = !s.owner_lives();
    let stopped = node.stopped && s.row.owner == n;
    let handed = rules.design.sweeper_finds_what_was_handed_over && s.row.owner == n;
    if node.actor == Actor::None && free && (dead_owner || stopped || handed) {
        step(s, Step::Claim(n));
    } else if node.actor == Actor::None && node.stopped && !s.row.open {
        // `place` reads a call that has ended without claiming it; its digest tells how far it had come.
        s.nodes[n as usize].actor = Actor::Running { epoch: s.row.epoch, log: s.log(), doing: Doing::Nothing };
        s.nodes[n as usize].stopped = false;
    }
    step(s, Step::Load(n));
    step(s, Step::Start(n));
}

/// Messages and digests arrive; who is behind asks.
fn tell(rules: &Rules, s: &mut State, up: &[u8], step: &mut impl FnMut(&mut State, Step)) {
    if !s.nodes[s.client.at as usize].is_up()
        && let Some(other) = up.first()
    {
        // The client connects again, and is told what it missed.
        step(s, Step::Move(*other));
        step(s, Step::Sync);
    }
    let new_owner =
        s.bus.iter().any(|msg| matches!(msg, super::state::Msg::NewOwner { epoch } if *epoch > s.client.epoch));
    for msg in s.bus.clone() {
        step(s, Step::Hear(msg));
    }
    let digest = |n: &u8| match &s.nodes[*n as usize].actor {
        Actor::Running { epoch, log, .. } => *epoch >= s.client.epoch && log.len() > s.client.log.len(),
        _ => false,
    };
    let hole = s
        .bus
        .iter()
        .any(|msg| matches!(msg, super::state::Msg::Event { seq, .. } if *seq as usize > s.client.log.len()));
    let gone = rules.design.users_compare_when_owner_is_gone && !s.owner_lives();
    if new_owner || hole || gone || up.iter().any(digest) {
        step(s, Step::Sync);
    }
}
