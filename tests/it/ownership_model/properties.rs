//! What must be true in every state. Where the code has a name for it, it has the same name here.

use super::{
    state::{Actor, Doing, State},
    steps::Rules,
};

pub type Check = fn(&Rules, &State) -> bool;

/// Names and checks. `EveryEventReachesEverybody` is in `recovery`.
pub const ALWAYS: [(&str, Check); 11] = [
    ("SeqWithoutHoles: one commit per seq", seq_without_holes),
    ("NothingAfterTheEnd: one end, and nothing after it", nothing_after_the_end),
    ("EpochOnlyGrows", epoch_only_grows),
    ("FencedWritesNothing: what an owner of the past commits does not go in", fenced_writes_nothing),
    ("AckedIsStored: an acknowledged command is in the events", acked_is_stored),
    ("AppliedOnce: a command id has its effect at most once", applied_once),
    ("MayOwnMeansLeased: who may own holds a good lease by the database's clock", may_own_means_leased),
    ("OneOwnerActs: who may own and has the call's actor is the owner by the newest epoch", one_owner_acts),
    ("ClientHoldsThePast: what a client was told is what is stored", client_holds_the_past),
    ("SignalsKeepTheirOrder: no signal of an older epoch after one of a newer", signals_keep_their_order),
    ("HandoffFencesNoCommit: a handoff refuses no command under way", handoff_fences_no_commit),
];

fn seq_without_holes(_: &Rules, s: &State) -> bool {
    s.events.iter().zip(1..).all(|(event, seq)| event.seq == seq)
}

fn nothing_after_the_end(rules: &Rules, s: &State) -> bool {
    let end = rules.size.commands - 1;
    let ended = s.events.iter().rposition(|event| event.cmd == end);
    s.events.iter().filter(|event| event.cmd == end).count() <= 1
        && ended.is_none_or(|place| place + 1 == s.events.len())
        && ended.is_some() != s.row.open
}

fn epoch_only_grows(_: &Rules, s: &State) -> bool {
    s.events.is_sorted_by_key(|event| event.epoch) && s.events.iter().all(|event| event.epoch <= s.row.epoch)
}

fn fenced_writes_nothing(_: &Rules, s: &State) -> bool {
    !s.events.iter().any(|event| event.fenced)
}

fn acked_is_stored(rules: &Rules, s: &State) -> bool {
    (0..rules.size.commands).all(|cmd| s.acked & (1 << cmd) == 0 || s.events.iter().any(|event| event.cmd == cmd))
}

fn applied_once(rules: &Rules, s: &State) -> bool {
    (0..rules.size.commands).all(|cmd| s.events.iter().filter(|event| event.cmd == cmd).count() <= 1)
}

fn may_own_means_leased(rules: &Rules, s: &State) -> bool {
    (0..rules.size.nodes).filter(|n| s.nodes[*n as usize].is_up()).all(|n| {
        let node = &s.nodes[n as usize];
        // A node that has never held a lease has nothing to act on.
        !rules.may_own(s, n) || node.db_lease > 0 || !matches!(node.actor, Actor::Running { .. })
    })
}

/// But for calls that have ended, of which any node may answer what happened, and an owner whose handoff is under way,
/// which decides and answers nothing.
fn one_owner_acts(rules: &Rules, s: &State) -> bool {
    !s.row.open
        || (0..rules.size.nodes).filter(|n| rules.may_own(s, *n)).all(|n| match &s.nodes[n as usize].actor {
            Actor::Running { doing: Doing::HandingOver, .. } => true,
            Actor::Running { epoch, .. } => (s.row.owner, s.row.epoch) == (n, *epoch),
            _ => true,
        })
}

fn client_holds_the_past(_: &Rules, s: &State) -> bool {
    s.log().starts_with(&s.client.log)
}

fn signals_keep_their_order(_: &Rules, s: &State) -> bool {
    !s.client.signals_went_back
}

fn handoff_fences_no_commit(_: &Rules, s: &State) -> bool {
    !s.fenced_by_own_handoff
}
