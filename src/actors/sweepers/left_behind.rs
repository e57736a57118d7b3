//! Prey: (1) participants of open calls who have been `connecting` or `joined` for [`SETTLED`] at least, and whose user
//! has no session on any node. (2) Participants who are `reconnecting` in a call in which nothing has happened for the
//! grace and [`LOOK_MARGIN`].
//!
//! The call's owner is told that the device's connection is lost (1), which begins the usual grace, or that the grace is
//! over (2); it judges by what it has heard of the device meanwhile, and by its own deadlines.
//!
//! Leaves alone users with a session anywhere, also at another device (the node that had the device's session tells the
//! owner), and everybody when it could not be asked who is there. "Nobody listens for this user" is certain only if
//! everybody who might listen was there to be heard. So: every node whose lease is good must listen on the bus, before
//! the users are asked for and after; the whole is asked twice, [`PROBES_APART`], and counts only for who was nowhere
//! both times; and this node's own connection to the bus must have stood throughout. Redis that has just come back empty,
//! a node that has not subscribed again yet, a node cut off from Redis alone: all are "could not ask".

use std::{
    collections::{HashMap, HashSet},
    sync::atomic::Ordering,
    time::Duration,
};

use async_trait::async_trait;

use super::{
    BATCH, Deed, Halt, LOOK_MARGIN, Sweeper,
    run::{Found, Run, ask_owner},
};
use crate::{
    actors::NodeHandle,
    cluster::bus::{Bus, BusError},
    domain::{NodeId, Prey, UserId},
    store::Engaged,
};

pub(super) const NAME: &str = "left_behind";

/// For how long somebody must have been in the call. Less, and users are asked for who come and go anyway.
const SETTLED: Duration = Duration::from_secs(10);
/// Between the two probes. Longer than a node needs to subscribe its users again; much longer, and the run holds its
/// sweeper for nothing.
const PROBES_APART: Duration = Duration::from_secs(5);
/// How many may be gone in one run. Those left over are found by the next.
const MOST: usize = 1000;

pub(super) struct LeftBehind;

#[async_trait(?Send)]
impl Sweeper for LeftBehind {
    fn name(&self) -> &'static str {
        NAME
    }

    fn what(&self) -> &'static str {
        "participants whose user has no session on any node, or whose grace has passed, are taken for disconnected"
    }

    async fn sweep(&self, run: &mut Run) -> Result<(), Halt> {
        let grace = run.node.rules.reconnect_grace;
        let away = run.node.store.stale_reconnecting(grace, LOOK_MARGIN, BATCH).await?;
        run.act(Deed::Leave, "the grace has passed", away.into_iter().map(prey).collect(), |node, (call, prey)| {
            ask_owner(node, call, prey)
        })
        .await?;

        let probe = Probe::new(&run.node)?;
        let gone = probe.first().await?;
        if gone.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(PROBES_APART).await;
        let gone = probe.second(gone).await?;
        tracing::debug!(sweep = NAME, node.id = %run.node.id, gone = gone.len(), "asked twice who is there");
        fail::fail_point!("sweep-left-behind");
        run.act(
            Deed::LoseConnection,
            "no session anywhere",
            gone.into_iter().map(prey).collect(),
            |node, (call, prey)| ask_owner(node, call, prey),
        )
        .await
    }
}

fn prey(engaged: Engaged) -> (Found, (crate::domain::CallId, Prey)) {
    let Engaged { call, user, device, age } = engaged;
    let found = Found { call: call.clone(), user: Some(user.clone()), age: Some(age), recording: None };
    (found, (call, Prey::LeftBehind { user, device }))
}

/// Asks the bus who is there.
struct Probe<'a> {
    node: &'a NodeHandle,
    bus: &'a dyn Bus,
    /// How often the bus had been connected again when the run began.
    reconnects: u64,
}

impl<'a> Probe<'a> {
    fn new(node: &'a NodeHandle) -> Result<Self, Halt> {
        let bus = node.bus().ok_or_else(|| Halt::CouldNotAsk("the node is starting".into()))?.as_ref();
        Ok(Self { node, bus, reconnects: bus.stats().reconnects.load(Ordering::Relaxed) })
    }

    /// Everybody engaged whose user is nowhere, up to [`MOST`].
    async fn first(&self) -> Result<Vec<Engaged>, Halt> {
        let mut gone = Vec::new();
        let mut after: Option<Engaged> = None;
        loop {
            let last = after.as_ref().map(|last| (&last.call, &last.user));
            let batch = self.node.store.engaged_parts(SETTLED, last, BATCH).await?;
            let Some(last) = batch.last() else { return Ok(gone) };
            after = Some(last.clone());
            gone.extend(self.nowhere(batch).await?);
            if gone.len() >= MOST {
                return Ok(gone);
            }
        }
    }

    async fn second(&self, gone: Vec<Engaged>) -> Result<Vec<Engaged>, Halt> {
        let gone = self.nowhere(gone).await?;
        if self.bus.stats().reconnects.load(Ordering::Relaxed) != self.reconnects || !self.bus.health().is_up() {
            return Err(Halt::CouldNotAsk("the bus was away meanwhile".into()));
        }
        Ok(gone)
    }

    async fn nowhere(&self, engaged: Vec<Engaged>) -> Result<Vec<Engaged>, Halt> {
        let users: HashSet<UserId> = engaged.iter().map(|p| p.user.clone()).collect();
        let users: Vec<UserId> = users.into_iter().collect();
        self.everybody_listens().await?;
        let online = self.bus.online(&users).await.map_err(unheard)?;
        self.everybody_listens().await?;
        let online: HashMap<UserId, bool> = users.into_iter().zip(online).collect();
        // Who was not answered for counts as there.
        Ok(engaged.into_iter().filter(|p| online.get(&p.user) == Some(&false)).collect())
    }

    async fn everybody_listens(&self) -> Result<(), Halt> {
        let nodes: Vec<NodeId> = self.node.store.live_nodes().await?.into_iter().map(|live| live.id).collect();
        let listening = self.bus.listening(&nodes).await.map_err(unheard)?;
        match nodes.iter().zip(listening).find(|(_, listens)| !listens) {
            None => Ok(()),
            Some((node, _)) => Err(Halt::CouldNotAsk(format!("node {node} does not listen on the bus"))),
        }
    }
}

fn unheard(error: BusError) -> Halt {
    Halt::CouldNotAsk(error.to_string())
}
