//! What becomes of a user's sessions when their node cannot reach the database, and when it can again.
//!
//! While nobody reaches the database, sessions stay: signals pass, and every other node is as good. When others commit,
//! this node alone is cut off, and its sessions are sent elsewhere. A node that has lost its lease was taken for dead:
//! owners believe that the devices here are gone, until they are told.

use std::time::Duration;

use actix::{AsyncContext, Context, Handler};

use super::UserActor;
use crate::actors::{CloseCause, messages::Standing};

/// How long this node may take to get its lease back, after another has shown that the database is there. Shorter, and
/// a node that was only stopped for a while sends everybody away; longer, and they are taken to have lost their
/// connection before they come back elsewhere.
const PATIENCE: Duration = Duration::from_secs(3);

impl UserActor {
    /// Another node has committed something. If this one has no lease meanwhile, it may be cut off from the database.
    pub(super) fn doubt_this_node(&mut self, ctx: &mut Context<Self>) {
        if self.in_doubt || self.node.membership.may_own() {
            return;
        }
        self.in_doubt = true;
        ctx.run_later(PATIENCE, |actor, _| {
            actor.in_doubt = false;
            if actor.node.membership.may_own() {
                return;
            }
            tracing::warn!(
                user.id = %actor.user, node.id = %actor.node.id,
                "this node is cut off from the database and others are not; sending sessions elsewhere"
            );
            for member in &actor.members {
                member.outbox.close(CloseCause::TryAgain);
            }
        });
    }
}

/// This node was without its lease, and lives: owners of calls are to know that its devices do.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub struct StillHere;

impl Handler<StillHere> for UserActor {
    type Result = ();

    fn handle(&mut self, StillHere: StillHere, _: &mut Self::Context) {
        for (call, tracked) in &self.calls {
            let Standing::Engaged { device } = &tracked.standing else { continue };
            self.tell_where(call, device);
        }
    }
}
