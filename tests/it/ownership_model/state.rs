//! What there is: the database, the nodes with the call's actor in their memory, the bus, and a client.

use std::collections::BTreeSet;

/// A command by its number. A command makes one event, so this also names the event.
pub type Cmd = u8;
/// The events in somebody's memory, the oldest first; the first has `seq` 1. The call's creation is not among them.
pub type Log = Vec<Cmd>;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub row: Row,
    pub events: Vec<Recorded>,
    /// `command_results`: a bit for each command.
    pub results: u8,
    pub nodes: Vec<Node>,
    /// Statements on their way to the database or back; also of nodes that died since. Kept in order.
    pub flights: Vec<Flight>,
    /// All that was ever published. Each may be heard now, later, again, or never.
    pub bus: BTreeSet<Msg>,
    pub client: Client,
    /// Commands answered with success, and for good without: a bit for each.
    pub acked: u8,
    pub refused: u8,
    /// A commit was refused because its own owner had handed the call over.
    pub fenced_by_own_handoff: bool,
    pub crashes: u8,
    pub doubts: u8,
    pub handovers: u8,
    pub moves: u8,
}

/// The call's row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    pub owner: u8,
    pub epoch: u8,
    pub open: bool,
}

/// A row of `call_events`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Recorded {
    pub seq: u8,
    pub cmd: Cmd,
    pub node: u8,
    pub epoch: u8,
    /// It was written by somebody who did not own the call any more.
    pub fenced: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Life {
    /// Not started yet.
    Out,
    Up,
    Dead,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    pub life: Life,
    /// What is left of the lease by the database's clock.
    pub db_lease: u8,
    /// What the node takes to be left, by its own monotonic clock.
    pub own_lease: u8,
    pub renewal: Renewal,
    pub actor: Actor,
    /// The call's actor stopped here without anybody waiting: for the sweeper to look at.
    pub stopped: bool,
    pub draining: bool,
}

/// Age: steps since the node asked, by its clock.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Renewal {
    None,
    Asked { age: u8, enter: bool },
    Answered { age: u8, good: bool, enter: bool },
}

/// The call's actor on a node, or what is about to become it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Actor {
    None,
    /// Claimed or handed over; read from the store or not yet. Not in the directory.
    Placing {
        epoch: u8,
        loaded: Option<Log>,
    },
    Running {
        epoch: u8,
        log: Log,
        doing: Doing,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Doing {
    Nothing,
    Committing,
    HandingOver,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Flight {
    pub node: u8,
    pub epoch: u8,
    /// The `seq` that it was decided on.
    pub prev: u8,
    pub what: What,
    /// Somebody waits for the outcome.
    pub awaited: bool,
    pub outcome: Option<Outcome>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum What {
    Commit(Cmd),
    HandOver(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    Committed,
    Fenced,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Msg {
    Event { epoch: u8, seq: u8, cmd: Cmd },
    NewOwner { epoch: u8 },
}

/// A client with the user's actor on its node. Clients change nothing for each other, so one stands for all.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Client {
    pub at: u8,
    /// The newest epoch that the user's actor has heard of; forgotten with it.
    pub epoch: u8,
    pub log: Log,
    /// The epoch of the last signal, and whether one of an older epoch came after one of a newer, while the same
    /// user's actor lived.
    pub signal_epoch: u8,
    pub signals_went_back: bool,
}

impl Node {
    fn new(life: Life, lease: u8, actor: Actor) -> Self {
        Self { life, db_lease: lease, own_lease: lease, renewal: Renewal::None, actor, stopped: false, draining: false }
    }

    pub fn is_up(&self) -> bool {
        self.life == Life::Up
    }
}

impl State {
    /// Node 0 has begun the call; all others are still to come, but for the client's.
    pub fn first(size: super::design::Size) -> Self {
        let nodes = (0..size.nodes).map(|n| match n {
            0 => {
                let actor = Actor::Running { epoch: 1, log: Vec::new(), doing: Doing::Nothing };
                Node::new(Life::Up, size.lease, actor)
            }
            n if n == size.client_at => Node::new(Life::Up, size.lease, Actor::None),
            _ => Node::new(Life::Out, 0, Actor::None),
        });
        Self {
            row: Row { owner: 0, epoch: 1, open: true },
            events: Vec::new(),
            results: 0,
            nodes: nodes.collect(),
            flights: Vec::new(),
            bus: BTreeSet::new(),
            client: Client { at: size.client_at, epoch: 1, log: Vec::new(), signal_epoch: 0, signals_went_back: false },
            acked: 0,
            refused: 0,
            fenced_by_own_handoff: false,
            crashes: size.crashes,
            doubts: size.doubts,
            handovers: size.handovers,
            moves: size.moves,
        }
    }

    pub fn log(&self) -> Log {
        self.events.iter().map(|event| event.cmd).collect()
    }

    /// The owner's lease is good by the database's clock.
    pub fn owner_lives(&self) -> bool {
        self.nodes[self.row.owner as usize].db_lease > 0
    }
}
