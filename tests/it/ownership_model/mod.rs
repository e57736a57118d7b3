//! A model of who owns a call: leases, claims, fenced commits, what is told, crashes and handoffs; checked in every order
//! of its steps for small sizes.
//!
//! `state` is what there is, `steps` what may happen (each step is one that the code takes in one piece, and says which),
//! `properties` what must always be true, `recovery` what must become true, `design` the mechanisms that make it so.
//! Each of those is left out once, and the model must notice. It runs none of the code: when that changes, change `steps`.
//! What it assumes, and what the code lacks of it, is in docs/guarantees-model.md. The counts are printed with `--nocapture`.

mod design;
mod properties;
mod recovery;
mod state;
mod steps;

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Mutex,
    time::Instant,
};

use stateright::{Checker, HasDiscoveries, Model, Property};

use self::{
    design::{Design, Size},
    state::State,
    steps::{Rules, Step},
};

const RECOVERS: &str = "EveryEventReachesEverybody: and an open call has an owner who acts";

fn fingerprint(state: &State) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}

struct Ownership {
    rules: Rules,
    /// States that are known to recover, by fingerprint: those on the way from one to the next are looked at once.
    recovers: Mutex<HashSet<u64>>,
}

impl Ownership {
    fn of(design: Design, size: Size) -> Self {
        Self { rules: Rules { design, size }, recovers: Mutex::default() }
    }

    fn recovers(&self, from: &State) -> bool {
        let mut way = Vec::new();
        let mut state = from.clone();
        let mut known = self.recovers.lock().unwrap();
        for _ in 0..recovery::TURNS {
            let print = fingerprint(&state);
            if recovery::beyond(&self.rules, &state) || recovery::well(&self.rules, &state) || known.contains(&print) {
                known.extend(way);
                return true;
            }
            way.push(print);
            state = recovery::turn(&self.rules, &state);
        }
        recovery::beyond(&self.rules, &state) || recovery::well(&self.rules, &state)
    }
}

impl Model for Ownership {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State::first(self.rules.size)]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        self.rules.steps(state, steps);
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        self.rules.take(state, step)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        macro_rules! always {
            ($($place:literal)*) => {
                vec![
                    $(Property::always(properties::ALWAYS[$place].0, |model: &Self, state| {
                        (properties::ALWAYS[$place].1)(&model.rules, state)
                    }),)*
                    Property::always(RECOVERS, |model: &Self, state| model.recovers(state)),
                ]
            };
        }
        always!(0 1 2 3 4 5 6 7 8 9 10)
    }

    fn within_boundary(&self, state: &State) -> bool {
        state.events.len() <= self.rules.size.commands as usize + 1
    }
}

/// Two nodes, a command and the end, two takeovers, a crash. The others differ from it.
const SMALL: Size = Size {
    nodes: 2,
    commands: 2,
    epochs: 3,
    crashes: 1,
    doubts: 0,
    handovers: 0,
    signals: false,
    moves: 0,
    lease: 1,
    prompt_renewals: true,
    client_at: 1,
};
/// Questions and answers of renewals, each as late as can be.
const SLOW_RENEWALS: Size = Size { lease: 2, prompt_renewals: false, commands: 1, epochs: 2, ..SMALL };
/// A commit whose answer is lost.
const IN_DOUBT: Size = Size { doubts: 1, commands: 1, ..SMALL };
const HANDOVER: Size = Size { handovers: 1, crashes: 0, ..SMALL };
const SIGNALS: Size = Size { signals: true, commands: 1, ..SMALL };

/// Looks at every state that can be reached, and says how many there are.
fn holds(name: &str, design: Design, size: Size) {
    let began = Instant::now();
    let checker = Ownership::of(design, size).checker().spawn_bfs().join();
    println!(
        "{name}: {} states, {} steps, {} deep, {:.1} s",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        began.elapsed().as_secs_f32()
    );
    if let Some((property, path)) = checker.discoveries().into_iter().next() {
        panic!("{name}: {property} does not hold after {:?}\n{:?}", path.clone().into_actions(), path.last_state());
    }
}

/// Without what `leave_out` takes away, the model finds states where `property` does not hold.
fn fails(property: &str, size: Size, leave_out: fn(&mut Design)) {
    let mut design = Design::BUILT;
    leave_out(&mut design);
    let names = properties::ALWAYS.iter().map(|(name, _)| *name).chain([RECOVERS]);
    let expected = names.filter(|name| name.split(':').next() == Some(property)).collect();
    let until = HasDiscoveries::AnyOf(expected);
    let checker = Ownership::of(design, size).checker().finish_when(until).spawn_bfs().join();
    let found = checker.discoveries();
    let found = found.into_iter().find(|(name, _)| name.split(':').next() == Some(property));
    let (_, path) = found.unwrap_or_else(|| panic!("{property} holds all the same"));
    println!("{property} fails after {:?}", path.into_actions());
}

#[test]
fn no_order_of_claims_commits_and_crashes_breaks_an_invariant() {
    holds("two nodes", Design::BUILT, SMALL);
    holds("three nodes", Design::BUILT, Size { nodes: 3, commands: 1, ..SMALL });
    holds("three commands", Design::BUILT, Size { commands: 3, epochs: 2, ..SMALL });
    holds("client at the owner, then elsewhere", Design::BUILT, Size { client_at: 0, moves: 1, commands: 1, ..SMALL });
}

#[test]
fn no_order_of_renewals_lets_a_node_act_past_its_lease() {
    holds("slow renewals", Design::BUILT, SLOW_RENEWALS);
    let keeps = Design { keeps_what_nobody_took: true, ..Design::BUILT };
    holds("keeps what nobody took", keeps, Size { commands: 1, ..SMALL });
}

#[test]
fn no_unknown_outcome_no_handoff_and_no_signal_breaks_an_invariant() {
    holds("in doubt", Design::BUILT, IN_DOUBT);
    holds("handover", Design::BUILT, HANDOVER);
    holds("signals", Design::BUILT, SIGNALS);
}

#[test]
fn each_mechanism_left_out_of_ownership_is_noticed() {
    fails("FencedWritesNothing", SMALL, |design| design.commit_checks_epoch = false);
    fails("MayOwnMeansLeased", SMALL, |design| design.fences_itself = false);
    fails("MayOwnMeansLeased", SLOW_RENEWALS, |design| design.lease_from_the_question = false);
    fails("OneOwnerActs", SMALL, |design| design.claim_checks_lease = false);
    fails("OneOwnerActs", SMALL, |design| design.let_go_reaches_who_is_placed = false);
    fails("HandoffFencesNoCommit", HANDOVER, |design| design.handoff_waits_for_commit = false);
}

#[test]
fn each_mechanism_left_out_of_commits_is_noticed() {
    fails("AckedIsStored", SMALL, |design| design.answers_after_commit = false);
    fails("AppliedOnce", SMALL, |design| design.command_ids_are_unique = false);
    fails("ClientHoldsThePast", SMALL, |design| design.record_must_be_of_this_commit = false);
    // The epoch and the command's id would do, if no actor went on after an unknown outcome.
    fails("SeqWithoutHoles", Size { commands: 2, ..IN_DOUBT }, |design| {
        design.commit_checks_seq = false;
        design.sweeper_revives_the_stopped = false;
    });
}

#[test]
fn each_mechanism_left_out_of_telling_is_noticed() {
    fails("SignalsKeepTheirOrder", SIGNALS, |design| design.receivers_drop_older = false);
    let reaches = "EveryEventReachesEverybody";
    fails(reaches, SMALL, |design| design.sweeper_revives_the_stopped = false);
    fails(reaches, SMALL, |design| design.users_compare_when_owner_is_gone = false);
    fails(reaches, HANDOVER, |design| design.sweeper_finds_what_was_handed_over = false);
}
