//! What may happen next, and what it does. Each step is one that the code takes in one piece: a statement in the
//! database, a handler of an actor, an answer that arrives.
//!
//! Nothing has to happen: a node that takes no step while time passes is one that was stopped (SIGSTOP), cut off, or slow.

use super::{
    design::{Design, Size},
    state::{Actor, Client, Cmd, Doing, Flight, Life, Log, Msg, Outcome, Recorded, Renewal, State, What},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// All clocks go on, also those of stopped nodes.
    Tick,
    /// `Node::enter`.
    Enter(u8),
    /// `keep_lease`: asks; the database; the answer; neither comes through.
    RenewAsk(u8),
    RenewApply(u8),
    RenewAnswer(u8),
    RenewFail(u8),
    /// All of it at once.
    RenewPromptly(u8),
    /// `Node::place`: claims what it has read, and only as it has read it; starts the actor.
    Claim(u8),
    /// Who was handed the call reads it.
    Load(u8),
    Start(u8),
    /// `CallActor::perform`: a command arrives, for the first time or again, and is decided on.
    Take(u8, Cmd),
    /// A statement (commit or handoff) is carried out.
    Store(usize),
    /// `CallActor::on_committed`.
    Answer(usize),
    /// The connection broke; the writer looks the command up, finds nothing and writes again. The first may still land.
    WriteAgain(usize),
    /// The writer gives up (`PURSUE`): `unknown_outcome`. It may still land.
    GiveUp(usize),
    /// A draining owner hands the call to another node.
    HandOver(u8, u8),
    /// kill -9.
    Crash(u8),
    /// The client's node hears what was published.
    Hear(Msg),
    /// An owner, or who was one, relays a signal to the client: signals wait for nothing.
    Signal(u8),
    /// The client's node asks what is missing: after a hole, a digest, a reconnect.
    Sync,
    /// The client comes back at another node.
    Move(u8),
}

const fn bit(cmd: Cmd) -> u8 {
    1 << cmd
}

pub struct Rules {
    pub design: Design,
    pub size: Size,
}

impl Rules {
    fn ends(&self, cmd: Cmd) -> bool {
        cmd + 1 == self.size.commands
    }

    pub fn steps(&self, s: &State, out: &mut Vec<Step>) {
        out.push(Step::Tick);
        for n in 0..self.size.nodes {
            self.steps_of(s, n, out);
        }
        for (i, flight) in s.flights.iter().enumerate() {
            match flight.outcome {
                None => {
                    out.push(Step::Store(i));
                    if s.doubts > 0 && flight.awaited {
                        out.extend([Step::WriteAgain(i), Step::GiveUp(i)]);
                    }
                }
                Some(_) => {
                    out.push(Step::Answer(i));
                    if s.doubts > 0 {
                        out.push(Step::GiveUp(i));
                    }
                }
            }
        }
        if s.nodes[s.client.at as usize].is_up() {
            out.extend(s.bus.iter().map(|msg| Step::Hear(*msg)));
            out.push(Step::Sync);
            for node in s.nodes.iter().filter(|_| self.size.signals) {
                if let Actor::Running { epoch, .. } = node.actor {
                    out.push(Step::Signal(epoch));
                }
            }
        }
        if s.moves > 0 {
            let others = |n: &u8| *n != s.client.at && s.nodes[*n as usize].is_up();
            out.extend((0..self.size.nodes).filter(others).map(Step::Move));
        }
    }

    fn steps_of(&self, s: &State, n: u8, out: &mut Vec<Step>) {
        let node = &s.nodes[n as usize];
        match node.life {
            Life::Out => return out.push(Step::Enter(n)),
            Life::Dead => return,
            Life::Up => {}
        }
        match node.renewal {
            Renewal::None if self.size.prompt_renewals => out.push(Step::RenewPromptly(n)),
            Renewal::None => out.push(Step::RenewAsk(n)),
            Renewal::Asked { .. } => out.extend([Step::RenewApply(n), Step::RenewFail(n)]),
            Renewal::Answered { .. } => out.extend([Step::RenewAnswer(n), Step::RenewFail(n)]),
        }
        match &node.actor {
            Actor::None if s.row.epoch < self.size.epochs && !node.draining && self.may_claim(s, n) => {
                out.push(Step::Claim(n));
            }
            Actor::None => {}
            Actor::Placing { loaded: None, .. } => out.push(Step::Load(n)),
            Actor::Placing { loaded: Some(_), .. } => out.push(Step::Start(n)),
            Actor::Running { log, doing, .. } => {
                let open = !log.iter().any(|cmd| self.ends(*cmd));
                if *doing == Doing::Nothing && open && self.may_own(s, n) {
                    out.extend((0..self.size.commands).map(|cmd| Step::Take(n, cmd)));
                }
                let waits =
                    *doing == Doing::Nothing || *doing == Doing::Committing && !self.design.handoff_waits_for_commit;
                if s.handovers > 0 && waits && open && self.may_own(s, n) && s.row.epoch < self.size.epochs {
                    let living = |m: &u8| *m != n && s.nodes[*m as usize].is_up() && !s.nodes[*m as usize].draining;
                    out.extend((0..self.size.nodes).filter(living).map(|m| Step::HandOver(n, m)));
                }
            }
        }
        if s.crashes > 0 {
            out.push(Step::Crash(n));
        }
    }

    pub fn may_own(&self, s: &State, n: u8) -> bool {
        !self.design.fences_itself || s.nodes[n as usize].own_lease > 0
    }

    fn may_claim(&self, s: &State, n: u8) -> bool {
        s.row.open && (s.row.owner == n || !s.owner_lives() || !self.design.claim_checks_lease)
    }

    /// `None`: it changes nothing.
    pub fn take(&self, before: &State, step: Step) -> Option<State> {
        let mut s = before.clone();
        match step {
            Step::Tick => tick(&mut s, self.size.lease),
            Step::Enter(n) => {
                let node = &mut s.nodes[n as usize];
                node.life = Life::Up;
                node.renewal = Renewal::Asked { age: 0, enter: true };
                if self.size.prompt_renewals {
                    self.renew_promptly(&mut s, n);
                }
            }
            Step::RenewAsk(n) => s.nodes[n as usize].renewal = Renewal::Asked { age: 0, enter: false },
            Step::RenewPromptly(n) => self.renew_promptly(&mut s, n),
            Step::RenewApply(n) => self.renew(&mut s, n)?,
            Step::RenewAnswer(n) => self.renewed(&mut s, n)?,
            Step::RenewFail(n) => s.nodes[n as usize].renewal = Renewal::None,
            Step::Claim(n) => {
                s.row.owner = n;
                s.row.epoch += 1;
                let log = s.log();
                let node = &mut s.nodes[n as usize];
                node.actor = Actor::Placing { epoch: s.row.epoch, loaded: Some(log) };
                node.stopped = false;
            }
            Step::Load(n) => {
                let (log, row) = (s.log(), s.row.clone());
                let actor = &mut s.nodes[n as usize].actor;
                let Actor::Placing { epoch, .. } = *actor else { return None };
                let moved = row.epoch != epoch || row.owner != n;
                *actor = if moved { Actor::None } else { Actor::Placing { epoch: row.epoch, loaded: Some(log) } };
            }
            Step::Start(n) => {
                let actor = &mut s.nodes[n as usize].actor;
                let Actor::Placing { epoch, loaded } = std::mem::replace(actor, Actor::None) else { return None };
                *actor = Actor::Running { epoch, log: loaded?, doing: Doing::Nothing };
                s.bus.insert(Msg::NewOwner { epoch });
            }
            Step::Take(n, cmd) => {
                let Actor::Running { epoch, log, doing } = &mut s.nodes[n as usize].actor else { return None };
                *doing = Doing::Committing;
                let (epoch, prev) = (*epoch, log.len() as u8);
                s.fly(Flight { node: n, epoch, prev, what: What::Commit(cmd), awaited: true, outcome: None });
                if !self.design.answers_after_commit {
                    s.acked |= bit(cmd);
                }
            }
            Step::HandOver(n, to) => {
                s.handovers -= 1;
                let node = &mut s.nodes[n as usize];
                node.draining = true;
                let Actor::Running { epoch, log, doing } = &mut node.actor else { return None };
                let (epoch, prev) = (*epoch, log.len() as u8);
                if *doing == Doing::Nothing {
                    *doing = Doing::HandingOver;
                }
                s.fly(Flight { node: n, epoch, prev, what: What::HandOver(to), awaited: true, outcome: None });
            }
            Step::Store(i) => self.store(&mut s, i),
            Step::Answer(i) => {
                let flight = s.flights.remove(i);
                self.answered(&mut s, flight)?;
            }
            Step::WriteAgain(i) => {
                s.doubts -= 1;
                let mut orphan = s.flights[i].clone();
                orphan.awaited = false;
                s.fly(orphan);
            }
            Step::GiveUp(i) => {
                s.doubts -= 1;
                self.give_up(&mut s, i);
            }
            Step::Crash(n) => {
                s.crashes -= 1;
                let node = &mut s.nodes[n as usize];
                node.life = Life::Dead;
                node.own_lease = 0;
                node.renewal = Renewal::None;
                node.stopped = false;
                s.forget(n);
            }
            Step::Hear(msg) => self.hear(&mut s.client, msg),
            Step::Signal(epoch) => {
                let c = &mut s.client;
                if epoch < c.epoch.max(c.signal_epoch) && self.design.receivers_drop_older {
                    return None;
                }
                c.signals_went_back |= epoch < c.signal_epoch;
                c.signal_epoch = c.signal_epoch.max(epoch);
            }
            Step::Sync => self.sync(&mut s),
            Step::Move(n) => {
                s.moves = s.moves.saturating_sub(1);
                s.client.at = n;
                s.client.epoch = 0;
                s.client.signal_epoch = 0;
            }
        }
        (s != *before).then_some(s)
    }

    /// `renew_lease`, `register_node`.
    fn renew(&self, s: &mut State, n: u8) -> Option<()> {
        let node = &mut s.nodes[n as usize];
        let Renewal::Asked { age, enter } = node.renewal else { return None };
        let good = enter || node.db_lease > 0;
        if good {
            node.db_lease = self.size.lease;
        }
        node.renewal = Renewal::Answered { age, good, enter };
        Some(())
    }

    /// A lost lease is noticed, and the node entered anew.
    pub fn renew_promptly(&self, s: &mut State, n: u8) {
        let node = &mut s.nodes[n as usize];
        if node.renewal == Renewal::None {
            node.renewal = Renewal::Asked { age: 0, enter: false };
        }
        while s.nodes[n as usize].renewal != Renewal::None {
            // One of the two does something.
            if self.renew(s, n).is_none() {
                self.renewed(s, n);
            }
        }
    }

    fn renewed(&self, s: &mut State, n: u8) -> Option<()> {
        let node = &mut s.nodes[n as usize];
        let Renewal::Answered { age, good, enter } = node.renewal else { return None };
        if good {
            let age = if self.design.lease_from_the_question { age } else { 0 };
            node.own_lease = self.size.lease.saturating_sub(age);
            node.renewal = Renewal::None;
            let row = (s.row.owner, s.row.epoch);
            if enter && matches!(node.actor, Actor::Running { epoch, .. } if row != (n, epoch)) {
                node.stopped = self.design.sweeper_revives_the_stopped;
                s.forget(n);
            }
            return Some(());
        }
        // `LetGo` to every actor, then the node enters anew.
        node.renewal = Renewal::Asked { age: 0, enter: true };
        let placed = matches!(node.actor, Actor::Placing { .. });
        if placed && !self.design.let_go_reaches_who_is_placed || !placed && self.design.keeps_what_nobody_took {
            return Some(());
        }
        // A commit may be under way: whether it went in is not known.
        node.stopped |= node.actor != Actor::None && self.design.sweeper_revives_the_stopped;
        s.forget(n);
        Some(())
    }

    /// The conditional `UPDATE`s, and what the writer makes of a refusal.
    fn store(&self, s: &mut State, i: usize) {
        let mut flight = s.flights.remove(i);
        let owns = s.row.epoch == flight.epoch && s.row.owner == flight.node;
        let outcome = match flight.what {
            What::HandOver(to) if owns && s.row.open => {
                s.row.owner = to;
                s.row.epoch += 1;
                Outcome::Committed
            }
            What::HandOver(_) => Outcome::Fenced,
            What::Commit(cmd) => {
                let seq_fits = s.events.len() == flight.prev as usize;
                let may_enter = s.row.open
                    && (owns || !self.design.commit_checks_epoch)
                    && (seq_fits || !self.design.commit_checks_seq)
                    && (s.results & bit(cmd) == 0 || !self.design.command_ids_are_unique);
                if may_enter {
                    let seq = flight.prev + 1;
                    s.events.push(Recorded { seq, cmd, node: flight.node, epoch: flight.epoch, fenced: !owns });
                    s.results |= bit(cmd);
                    s.row.open = !self.ends(cmd);
                    Outcome::Committed
                } else {
                    let this = |e: &Recorded| {
                        e.cmd == cmd
                            && (!self.design.record_must_be_of_this_commit
                                || (e.seq, e.node, e.epoch) == (flight.prev + 1, flight.node, flight.epoch))
                    };
                    if s.events.iter().any(this) { Outcome::Committed } else { Outcome::Fenced }
                }
            }
        };
        if flight.awaited {
            flight.outcome = Some(outcome);
            s.fly(flight);
        }
    }

    /// Evolve, publish, answer; or stop.
    fn answered(&self, s: &mut State, flight: Flight) -> Option<()> {
        let node = &mut s.nodes[flight.node as usize];
        let Actor::Running { epoch, log, doing } = &mut node.actor else { return None };
        match (flight.what, flight.outcome?) {
            (What::Commit(cmd), Outcome::Committed) => {
                log.push(cmd);
                if *doing == Doing::Committing {
                    *doing = Doing::Nothing;
                }
                s.bus.insert(Msg::Event { epoch: *epoch, seq: log.len() as u8, cmd });
                s.acked |= bit(cmd);
            }
            (What::Commit(_), Outcome::Fenced) => {
                let handed = s.row.epoch == flight.epoch + 1 && node.draining;
                s.fenced_by_own_handoff |= handed;
                node.stopped = self.design.sweeper_revives_the_stopped;
                s.forget(flight.node);
            }
            (What::HandOver(to), Outcome::Committed) => {
                s.forget(flight.node);
                // The other is told; if that is lost, it finds the call by itself.
                let to = &mut s.nodes[to as usize];
                if to.is_up() && to.actor == Actor::None {
                    to.actor = Actor::Placing { epoch: flight.epoch + 1, loaded: None };
                }
            }
            (What::HandOver(_), Outcome::Fenced) => {
                node.stopped = self.design.sweeper_revives_the_stopped;
                s.forget(flight.node);
            }
        }
        Some(())
    }

    fn give_up(&self, s: &mut State, i: usize) {
        let mut flight = s.flights.remove(i);
        let node = &mut s.nodes[flight.node as usize];
        if self.design.sweeper_revives_the_stopped || matches!(flight.what, What::HandOver(_)) {
            // What is in memory may be behind the store: the actor stops.
            node.stopped = self.design.sweeper_revives_the_stopped;
            s.forget(flight.node);
        } else if let Actor::Running { doing, .. } = &mut node.actor {
            *doing = Doing::Nothing;
        }
        if flight.outcome.is_none() {
            flight.awaited = false;
            s.fly(flight);
        }
    }

    fn hear(&self, c: &mut Client, msg: Msg) {
        let (Msg::Event { epoch, .. } | Msg::NewOwner { epoch }) = msg;
        if epoch < c.epoch && self.design.receivers_drop_older {
            return;
        }
        match msg {
            // What comes before is missing: it asks (`Sync`).
            Msg::Event { seq, .. } if seq as usize > c.log.len() + 1 => return,
            Msg::Event { seq, cmd, .. } if seq as usize == c.log.len() + 1 => c.log.push(cmd),
            _ => {}
        }
        c.epoch = c.epoch.max(epoch);
    }

    /// Who answers: the actor on the client's node if it has one, else the owner's; of a call that has ended, the store.
    pub fn sync(&self, s: &mut State) {
        let here = s.client.at;
        let runs = |n: u8| matches!(s.nodes[n as usize].actor, Actor::Running { .. });
        let asked = if runs(here) { here } else { s.row.owner };
        if !runs(asked) {
            if !s.row.open {
                let log = s.log();
                fill(&mut s.client, &log, 0);
            }
            return;
        }
        let Actor::Running { epoch, log, .. } = s.nodes[asked as usize].actor.clone() else { return };
        let ended = log.iter().any(|cmd| self.ends(*cmd));
        if ended || self.may_own(s, asked) {
            fill(&mut s.client, &log, epoch);
        }
    }
}

fn fill(client: &mut Client, log: &Log, epoch: u8) {
    let known = client.log.len().min(log.len());
    client.log.extend_from_slice(&log[known..]);
    client.epoch = client.epoch.max(epoch);
}

fn tick(s: &mut State, lease: u8) {
    for node in &mut s.nodes {
        node.db_lease = node.db_lease.saturating_sub(1);
        node.own_lease = node.own_lease.saturating_sub(1);
        if let Renewal::Asked { age, .. } | Renewal::Answered { age, .. } = &mut node.renewal {
            *age = lease.min(*age + 1);
        }
    }
}

impl State {
    fn fly(&mut self, flight: Flight) {
        self.flights.push(flight);
        self.flights.sort_unstable();
    }

    /// The node's actor is gone; what it had sent may still arrive.
    pub fn forget(&mut self, n: u8) {
        self.nodes[n as usize].actor = Actor::None;
        self.flights.retain(|flight| flight.node != n || flight.outcome.is_none());
        for flight in self.flights.iter_mut().filter(|flight| flight.node == n) {
            flight.awaited = false;
        }
        self.flights.sort_unstable();
    }
}
