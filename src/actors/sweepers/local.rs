//! The look after this node's own dead: each node for itself, so it is no sweeper of the cluster, and leaves no record but
//! its log lines.
//!
//! Prey: addresses in this node's directory whose actor has died (a panic), since the last look. A call is rebuilt, so
//! that its timers run; a user's sessions are closed, to come back and be attached to the next actor. Leaves alone calls
//! of other nodes, whatever has become of those: that is `takeover`'s.

use std::time::Duration;

use super::super::{CloseCause, NodeHandle};

/// How often actors are looked after. More often is work for nothing; less often leaves a ring without its timer.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Runs until the node ends.
pub(super) async fn run(node: NodeHandle) {
    loop {
        tokio::time::sleep(super::jittered(LOOK_EVERY)).await;
        for call in node.directory.take_dead_calls() {
            tracing::warn!(call.id = %call, node.id = %node.id, "call actor found dead; rebuilding it");
            node.revive(&call).await;
        }
        for (user, session) in node.directory.take_dead_users() {
            // Its sessions would hear of nothing any more: they come back and are attached to the next one.
            tracing::warn!(user.id = %user, node.id = %node.id, "user actor found dead; closing its sessions");
            session.close(CloseCause::TryAgain);
        }
    }
}
