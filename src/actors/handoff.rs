//! Handing calls over to nodes that stay, when this one leaves: each with its signals and where its devices are, so that
//! nobody in the call loses anything or is told anything.
//!
//! The one who leaves asks, the one who stays takes: the call changes its owner by one conditional write of the new
//! owner, so a message that is lost leaves the call where it was. What could not be handed over is taken over by others
//! when this node's lease ends. Never hands over a call while a commit of it is under way.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use actix::Addr;
use dashmap::DashMap;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};

use super::{
    Answer, Node, NodeHandle,
    call::{CallActor, Freeze, HandedOver, Thaw},
    keyed::CommandKey,
    messages::{MissedSignal, ToNode},
};
use crate::{
    domain::{Call, CallId, NodeId, SessionId, UserId},
    store::HandedOutcome,
    wire::Refusal,
};

/// Calls on their way at once. Each costs its new owner two visits to the database: more would only wait for its
/// connections, fewer would leave them idle.
const AT_ONCE: usize = 32;
/// How long a call's actor may take to finish what it has begun. A commit that takes longer is in trouble, and so is the
/// call wherever it is.
const FREEZE_PATIENCE: Duration = Duration::from_secs(2);
/// How long the new owner may take. It waits for the database twice.
const TAKE_PATIENCE: Duration = Duration::from_secs(2);
/// How often it is tried to take a call back that was offered. More, and its people wait for a node that is leaving while the
/// database is away, and nobody takes anything.
const TAKE_BACK_TRIES: usize = 10;
/// Between two rounds over calls that nobody would take.
const PAUSE: Duration = Duration::from_millis(100);
/// How many bytes of signals go with one call. With its head the message must stay below the bus's limit; a call with
/// more, which only large groups have, is handed over without them and told to renegotiate.
const MAX_SIGNAL_BYTES: usize = 768 * 1024;

/// What goes with a call to its next owner, besides what is in the store.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Parcel {
    /// The epoch of the owner that leaves.
    pub epoch: u64,
    /// How far the call has come.
    pub seq: u64,
    /// Where the devices of participants are.
    pub links: Vec<(UserId, NodeId, SessionId)>,
    /// Since a takeover every node has had time to say which devices are there.
    pub all_have_spoken: bool,
    /// After a takeover, which lost signals: who has been told of it.
    pub told_of_owner: Option<Vec<UserId>>,
    /// The memory of signals; `None`: too large for a message, so they are lost.
    pub signals: Option<KeptSignals>,
}

/// The memory of a call's signals.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeptSignals {
    /// The epoch they are counted in: that of the first owner in a row that lost none.
    pub epoch: u64,
    /// By recipient: the number of the last, and those that are kept.
    pub rings: Vec<(UserId, u64, Vec<MissedSignal>)>,
    /// Keys of signals that were relayed.
    #[serde(default)]
    pub keys: Vec<CommandKey>,
}

impl KeptSignals {
    /// `None` if they are too large to go along.
    pub fn that_fit(self) -> Option<Self> {
        let bytes: usize = self.rings.iter().flat_map(|(_, _, kept)| kept).map(|signal| signal.frame.len()).sum();
        (bytes <= MAX_SIGNAL_BYTES).then_some(self)
    }
}

/// What became of a node's calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Handover {
    /// Have a new owner.
    pub moved: usize,
    /// Are left to be taken over.
    pub left: usize,
}

/// Hands this node's open calls over to those that stay, until none is left or it is `until`. The node must be draining:
/// else new calls would go on coming.
pub async fn hand_over_calls(node: &NodeHandle, until: Instant) -> Handover {
    let mut done = Handover::default();
    let mut turn = 0;
    // Who would not take a call: leaving too, or of an earlier version that cannot read it.
    let refusals: Refusals = Refusals::default();
    loop {
        let calls = node.directory.open_calls();
        done.left = calls.len();
        let targets = targets(node).await;
        if calls.is_empty() || targets.is_empty() || Instant::now() >= until {
            return done;
        }
        let moving = calls.into_iter().enumerate().map(|(i, (call, addr))| {
            let willing = willing(&refusals, &call, &targets);
            let fallback = willing.get((turn + i) % willing.len()).cloned();
            hand_over(node.clone(), call, addr, willing, fallback, refusals.clone())
        });
        let moving = futures_util::stream::iter(moving).buffer_unordered(AT_ONCE);
        let moved =
            moving.take_until(tokio::time::sleep_until(until)).filter(|moved| std::future::ready(*moved)).count();
        let moved = moved.await;
        done.moved += moved;
        // Those that go to nobody in particular: the next round begins with another node.
        turn += 1;
        if moved == 0 {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// The other nodes that live, in the order of their ids.
async fn targets(node: &Node) -> Vec<NodeId> {
    // One that came up within the last second is not in the last look yet.
    let live = match node.store.live_nodes().await {
        Ok(live) => live.into_iter().map(|live| live.id).collect(),
        Err(_) => node.membership.live().iter().cloned().collect::<Vec<_>>(),
    };
    live.into_iter().filter(|other| *other != node.id).collect()
}

/// By call, who has refused it.
type Refusals = Arc<DashMap<CallId, HashSet<NodeId>>>;

/// Those of the targets that have not refused the call yet; all of them again, once all have.
fn willing(refusals: &Refusals, call: &CallId, targets: &[NodeId]) -> Vec<NodeId> {
    let refused = refusals.get(call);
    let has_refused = |target: &NodeId| refused.as_ref().is_some_and(|refused| refused.contains(target));
    let willing: Vec<NodeId> = targets.iter().filter(|target| !has_refused(target)).cloned().collect();
    drop(refused);
    if willing.is_empty() {
        refusals.remove(call);
        return targets.to_vec();
    }
    willing
}

/// The node where most of the call's devices are: a signal then crosses the network once at most.
fn best(parcel: &Parcel, targets: &[NodeId]) -> Option<NodeId> {
    let mut devices: HashMap<&NodeId, usize> = HashMap::new();
    for (_, at, _) in parcel.links.iter().filter(|(_, at, _)| targets.contains(at)) {
        *devices.entry(at).or_default() += 1;
    }
    devices.into_iter().max_by_key(|(at, devices)| (*devices, std::cmp::Reverse(*at))).map(|(at, _)| at.clone())
}

/// Whether the call is another's now.
async fn hand_over(
    node: NodeHandle,
    call: CallId,
    addr: Addr<CallActor>,
    targets: Vec<NodeId>,
    fallback: Option<NodeId>,
    refusals: Refusals,
) -> bool {
    let (reply, frozen) = oneshot::channel();
    // `do_send`: an actor that is gone drops the reply. One that is late finds nobody waiting, and goes on.
    addr.do_send(Freeze { reply });
    let Ok(Ok(Some(parcel))) = timeout(FREEZE_PATIENCE, frozen).await else { return false };
    let Some(to) = best(&parcel, &targets).or(fallback) else {
        addr.do_send(Thaw { epoch: parcel.epoch });
        return false;
    };
    let (epoch, seq) = (parcel.epoch, parcel.seq);
    let fate = match node.offer(&to, &call, parcel).await {
        Offered::Taken => Fate::Moved(to),
        Offered::Refused(refusal) => {
            tracing::debug!(call.id = %call, node.id = %to, error = %refusal.message, "call not handed over");
            refusals.entry(call.clone()).or_default().insert(to);
            node.fate_of(&call, epoch).await
        }
        Offered::Unanswered => {
            tracing::debug!(call.id = %call, node.id = %to, "call not handed over: no answer");
            refusals.entry(call.clone()).or_default().insert(to);
            node.take_back(&call, epoch, seq).await
        }
    };
    // `do_send`: the death of a frozen actor loses nothing either.
    match fate {
        Fate::Moved(to) => {
            addr.do_send(HandedOver { to });
            true
        }
        Fate::Ours { epoch } => {
            addr.do_send(Thaw { epoch });
            false
        }
    }
}

/// What came of an offer.
enum Offered {
    Taken,
    /// The other node has said that it did not take the call.
    Refused(Refusal),
    /// It may take it yet, or have taken it.
    Unanswered,
}

/// Whose a call is that was offered to another node.
enum Fate {
    Moved(NodeId),
    /// Still this node's, which owns it in this epoch.
    Ours {
        epoch: u64,
    },
}

impl Node {
    async fn offer(self: &NodeHandle, to: &NodeId, call: &CallId, parcel: Parcel) -> Offered {
        let (id, answer) = self.expect_answer(to);
        let sent = self.tell_node(to, &ToNode::HandOver { id, call: call.clone(), parcel }, &[]);
        let answered = match sent {
            Ok(()) => timeout(TAKE_PATIENCE, answer).await,
            Err(refusal) => {
                self.asks.remove(&id);
                return Offered::Refused(refusal);
            }
        };
        self.asks.remove(&id);
        match answered {
            Ok(Ok(Ok(_))) => Offered::Taken,
            Ok(Ok(Err(refusal))) => Offered::Refused(refusal),
            Ok(Err(_)) | Err(_) => Offered::Unanswered,
        }
    }

    /// Whose the call is, by the store. What cannot be looked up is taken to be this node's: if it is not, the next commit
    /// is refused.
    async fn fate_of(&self, call: &CallId, epoch: u64) -> Fate {
        match self.store.call_owner(call).await {
            Ok(Some(owner)) if owner.node != self.id => Fate::Moved(owner.node),
            _ => Fate::Ours { epoch },
        }
    }

    /// Makes sure of a call that another node was offered and may take yet: by taking it from itself. In the new epoch the
    /// offer is void. Without that the call would be taken behind the back of its actor, which would go on to number signals
    /// that its next owner numbers too.
    async fn take_back(&self, call: &CallId, epoch: u64, seq: u64) -> Fate {
        for _ in 0..TAKE_BACK_TRIES {
            match self.store.take_handed(call, &self.id, epoch, seq, &self.id).await {
                Ok(HandedOutcome::Taken { epoch }) => return Fate::Ours { epoch },
                Ok(HandedOutcome::MovedOn) => break,
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
        self.fate_of(call, epoch).await
    }

    /// Takes a call that its owner hands over. `Err`: it is still its owner's, as far as this node knows.
    pub(super) async fn take_handed(
        self: &NodeHandle,
        from: NodeId,
        call: CallId,
        parcel: Parcel,
    ) -> Result<Answer, Refusal> {
        if self.is_draining() || !self.membership.may_own() {
            return Err(Refusal::unavailable("this node takes no calls"));
        }
        self.in_turn(&call, async {
            let term = self.membership.term();
            let moved_on = || Refusal::unavailable("the call has moved on");
            // Read first: once it is ours, nothing may fail any more.
            let stored = self.store.load_call(&call).await?.ok_or_else(moved_on)?;
            let state = Call::rebuild(call.clone(), &stored.history).ok_or_else(moved_on)?;
            if stored.owner != from || stored.epoch != parcel.epoch || state.seq != parcel.seq {
                return Err(moved_on());
            }
            fail::fail_point!("handed-before-take");
            match self.store.take_handed(&call, &from, parcel.epoch, parcel.seq, &self.id).await? {
                HandedOutcome::Taken { epoch } => {
                    tracing::info!(call.id = %call, node.id = %self.id, from.id = %from, epoch, seq = state.seq, "call handed over");
                    let actor = CallActor::handed(self.clone(), state, stored.history, epoch, parcel);
                    self.start_call(actor, term)?;
                    Ok(Answer::Done)
                }
                HandedOutcome::MovedOn => Err(moved_on()),
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_refused_a_call_is_asked_again_for_it_once_everybody_has() {
        let node = |id: &str| NodeId::new(id).unwrap();
        let (one, other) = (CallId::new("one").unwrap(), CallId::new("other").unwrap());
        let targets = [node("a"), node("b")];
        let refusals = Refusals::default();
        assert_eq!(willing(&refusals, &one, &targets), targets);
        refusals.entry(one.clone()).or_default().insert(node("a"));
        assert_eq!(willing(&refusals, &one, &targets), [node("b")]);
        assert_eq!(willing(&refusals, &other, &targets), targets, "another call is another matter");
        refusals.entry(one.clone()).or_default().insert(node("b"));
        assert_eq!(willing(&refusals, &one, &targets), targets);
        assert_eq!(willing(&refusals, &one, &targets), targets, "from the beginning");
    }
}
