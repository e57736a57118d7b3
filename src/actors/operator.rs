//! What an operator asks of nodes: which sessions a user has, to close them, to leave; and of a call, to end.
//!
//! Owns the question to every node and the difference between "none" and "not reached". A node that cannot be asked, or
//! does not answer in time, is named as such: it may have sessions. Decides nothing about a call: its owner does. Who may
//! ask, and that it is on record, is the gateway's part.
//!
//! A node whose lease ran out a moment ago is asked too: it may be cut off from the database alone, its clients are not.

use std::{sync::Arc, time::Duration};

use futures_util::future::{join, join_all};
use serde::{Deserialize, Serialize};

use super::{
    Answer, Ask, Caller, Node,
    messages::ToNode,
    user::{ListSessions, SendAway},
};
use crate::{
    domain::{CallId, Command, DeviceId, NodeId, Rejection, SessionId, Timestamp, UserId},
    store::KnownNode,
    wire::{ErrorCode, Frame, Refusal},
};

/// How long another node may take to answer. Shorter, and a busy node is called unreachable; longer, and who looks waits
/// for a dead one.
const PATIENCE: Duration = Duration::from_secs(2);
/// For how long after the end of its lease a node is still asked. Shorter, and one that is cut off from the database is
/// taken for gone while its clients talk; longer, and each crash is an unreachable node for so long.
const MAY_LIVE_FOR: Duration = Duration::from_secs(60);
/// Sessions of one user that a node tells of: what fits into a message many times over. Fewer hide devices.
pub const MOST_SESSIONS: usize = 500;
/// As whom the node asks a call; nobody is looked up by it.
const ASKER: &str = "operator";

/// What is asked of a node.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Which sessions the user has there.
    Sessions { user: UserId },
    /// Close them.
    SendAway { user: UserId },
    /// Leave, as at the signal to stop.
    Leave,
}

/// What a node says to an [`Order`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    Sessions(Vec<SessionSeen>),
    /// So many sessions are being closed.
    SentAway(u64),
    Leaving,
    /// It could not be done: nothing is known.
    Failed,
}

/// A session of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionSeen {
    pub session: SessionId,
    pub device: DeviceId,
    pub node: NodeId,
    /// When it was attached.
    pub since: Timestamp,
}

/// What all nodes said.
#[derive(Debug, Default)]
pub struct Reports {
    pub told: Vec<Report>,
    /// Nodes that may live and did not say anything.
    pub unreachable: Vec<NodeId>,
}

impl Node {
    /// Does what is asked of this node.
    pub(super) async fn obey(self: &Arc<Self>, order: Order) -> Report {
        match order {
            Order::Sessions { user } => match self.directory.user(&user) {
                None => Report::Sessions(Vec::new()),
                Some(addr) => match addr.send(ListSessions).timeout(PATIENCE).await {
                    Ok(sessions) => Report::Sessions(sessions),
                    // The actor has just ended with the last session, or died: which, is not known.
                    Err(_) if self.directory.user(&user).is_none() => Report::Sessions(Vec::new()),
                    Err(_) => Report::Failed,
                },
            },
            Order::SendAway { user } => match self.directory.user(&user) {
                None => Report::SentAway(0),
                Some(addr) => match addr.send(SendAway).timeout(PATIENCE).await {
                    Ok(sessions) => {
                        tracing::info!(user.id = %user, node.id = %self.id, sessions, "sent away by an operator");
                        Report::SentAway(sessions)
                    }
                    Err(_) if self.directory.user(&user).is_none() => Report::SentAway(0),
                    Err(_) => Report::Failed,
                },
            },
            Order::Leave => {
                tracing::info!(node.id = %self.id, "told to leave by an operator");
                // Kept until it is waited for; said twice it is said once.
                self.leave.notify_one();
                Report::Leaving
            }
        }
    }

    /// Asks one node. `None`: it was not reached, or did not answer; what has become of it is not known.
    pub async fn order(self: &Arc<Self>, to: &KnownNode, order: Order) -> Option<Report> {
        if to.id == self.id {
            return Some(self.obey(order).await);
        }
        // An older version would not understand the question, nor answer it.
        if to.load.is_none() || self.reach(&to.id).is_err() {
            return None;
        }
        let (id, answer) = self.expect_answer(&to.id);
        if self.tell_node(&to.id, &ToNode::Order { id, order }, &[]).is_err() {
            self.asks.remove(&id);
            return None;
        }
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(Ok(Ok(Answer::Report(Report::Failed)))) => None,
            Ok(Ok(Ok(Answer::Report(report)))) => Some(report),
            Ok(_) => None,
            Err(_) => {
                self.asks.remove(&id);
                None
            }
        }
    }

    /// Asks every node that lives or may live.
    pub async fn order_all(self: &Arc<Self>, order: Order) -> Result<Reports, Refusal> {
        let nodes = self.store.known_nodes(MAY_LIVE_FOR).await?;
        // This one is asked whatever became of its lease: it is here.
        let others: Vec<&KnownNode> = nodes.iter().filter(|node| node.id != self.id).collect();
        let asked = join_all(others.iter().map(|node| self.order(node, order.clone())));
        let (answered, own) = join(asked, self.obey(order.clone())).await;
        let mut reports = Reports::default();
        let ids = others.iter().map(|node| &node.id).chain([&self.id]);
        for (id, report) in ids.zip(answered.into_iter().chain([Some(own)])) {
            match report {
                Some(Report::Failed) | None => reports.unreachable.push(id.clone()),
                Some(report) => reports.told.push(report),
            }
        }
        Ok(reports)
    }

    /// The call as it is in the store, open or over, without asking its owner.
    pub async fn look_at_call(&self, call: &CallId) -> Result<Frame, Refusal> {
        let unreadable = || Refusal::new(ErrorCode::Internal, "the call cannot be read");
        match self.read_call(call, None, Ask::Get, unreadable()).await? {
            Answer::Call(call) => Ok(call),
            _ => Err(unreadable()),
        }
    }

    /// Has the call's owner end it. The call as it is then.
    ///
    /// # Errors
    /// `not_found`; `already_ended`: it was over; `unavailable`: its owner could not be asked, or did not answer.
    pub async fn end_by_operator(self: &Arc<Self>, call: &CallId) -> Result<Frame, Refusal> {
        let internal = |_| Refusal::new(ErrorCode::Internal, "the operator has no name");
        let (user, device) = (UserId::new(ASKER).map_err(internal)?, DeviceId::new(ASKER).map_err(internal)?);
        let caller = Caller { user, device, session: None, node: self.id.clone() };
        match self.ask(call, caller, Ask::Notice(Command::EndByOperator)).await? {
            Answer::Call(call) => Ok(call),
            Answer::Done => Err(Rejection::AlreadyEnded.into()),
            _ => Err(Refusal::new(ErrorCode::Internal, "the call's owner has said something else")),
        }
    }
}
