//! Background work of a node that nobody asks for: calls whose actors died are built anew, and calls whose owners are
//! gone are taken over.
//!
//! Prey: (1) addresses in this node's directory whose actor has died; since the last look; the call is rebuilt, so that
//! its timers run; a user's sessions are closed, to come back. (2) Open calls whose owner's lease has run out by the database's clock; the first node that claims
//! one goes on with it. Leaves alone everything whose owner could not be asked. Can run twice at once: claims are
//! conditional.

use std::time::Duration;

use super::{CloseCause, NodeHandle, degraded::Dependency};

/// How often actors are looked after. More often is work for nothing; less often leaves a ring without its timer.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How many calls are taken over at a look. More would hold up the store's readers when a large node dies.
const TAKE_AT_ONCE: u32 = 200;

/// Runs until the node ends.
pub async fn run(node: NodeHandle) {
    loop {
        // Jitter of a quarter: nodes that started together do not look together.
        let jitter = rand::random_range(0.75..1.25);
        tokio::time::sleep(LOOK_EVERY.mul_f64(jitter)).await;
        if node.is_draining() {
            // Its actors end with it, and it must not take more.
            continue;
        }
        for call in node.directory.take_dead_calls() {
            tracing::warn!(call.id = %call, node.id = %node.id, "call actor found dead; rebuilding it");
            node.revive(&call).await;
        }
        for (user, session) in node.directory.take_dead_users() {
            // Its sessions would hear of nothing any more: they come back and are attached to the next one.
            tracing::warn!(user.id = %user, node.id = %node.id, "user actor found dead; closing its sessions");
            session.close(CloseCause::TryAgain);
        }
        if node.degraded.is_without(Dependency::Database) {
            // Nobody could renew a lease: that one has run out says nothing until everybody has had the time to.
            continue;
        }
        match node.store.calls_of_dead_owners(TAKE_AT_ONCE).await {
            Ok(calls) => {
                for call in calls {
                    node.revive(&call).await;
                }
            }
            Err(error) => tracing::debug!(node.id = %node.id, %error, "could not ask for calls without an owner"),
        }
    }
}
