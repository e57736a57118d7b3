//! What an operator asks about a user's sessions on this node: which there are, and that they end.

use actix::{Context, Handler};

use super::UserActor;
use crate::actors::{
    CloseCause,
    operator::{MOST_SESSIONS, SessionSeen},
};

/// The sessions of the user on this node, at most [`MOST_SESSIONS`].
#[derive(actix::Message)]
#[rtype(result = "Vec<SessionSeen>")]
pub struct ListSessions;

/// Closes all sessions of the user on this node. Returns how many.
#[derive(actix::Message)]
#[rtype(result = "u64")]
pub struct SendAway;

impl Handler<ListSessions> for UserActor {
    type Result = Vec<SessionSeen>;

    fn handle(&mut self, ListSessions: ListSessions, _: &mut Context<Self>) -> Self::Result {
        let seen = self.members.iter().take(MOST_SESSIONS).map(|member| SessionSeen {
            session: member.session.clone(),
            device: member.device.clone(),
            node: self.node.id.clone(),
            since: member.since,
        });
        seen.collect()
    }
}

impl Handler<SendAway> for UserActor {
    type Result = u64;

    fn handle(&mut self, SendAway: SendAway, _: &mut Context<Self>) -> Self::Result {
        // They stay listed until their sockets end, and their calls are told then, as of any connection that is lost.
        for member in &self.members {
            member.outbox.close(CloseCause::Operator);
        }
        u64::try_from(self.members.len()).unwrap_or(u64::MAX)
    }
}
