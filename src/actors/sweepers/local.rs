//! The look after this node's own dead: each node for itself, so it is no sweeper of the cluster, and leaves no record but
//! its log lines.
//!
//! Prey: addresses in this node's directory whose actor has died (a panic), since the last look. A call is rebuilt, so
//! that its timers run; a user's sessions are closed, to come back and be attached to the next actor. Leaves alone calls
//! of other nodes, whatever has become of those: that is `takeover`'s.

use std::time::Duration;

use super::super::{CloseCause, NodeHandle, counts::Died, degraded::Dependency};
use crate::domain::CallId;

/// How often actors are looked after. More often is work for nothing; less often leaves a ring without its timer.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Runs until the node ends.
pub(super) async fn run(node: NodeHandle) {
    // Calls that could not be rebuilt, because the database was away.
    let mut waiting: Vec<CallId> = Vec::new();
    loop {
        tokio::time::sleep(super::jittered(LOOK_EVERY)).await;
        if node.is_draining() {
            // Its actors end with it, and it must not take more.
            return;
        }
        waiting.extend(node.directory.take_dead_calls());
        if !node.degraded.is_away(Dependency::Database) {
            for call in std::mem::take(&mut waiting) {
                node.metrics.on_died(Died::Call);
                tracing::warn!(call.id = %call, node.id = %node.id, "call actor found dead; rebuilding it");
                if !node.revive(&call).await {
                    waiting.push(call);
                }
            }
        }
        for (user, session) in node.directory.take_dead_users() {
            // Its sessions would hear of nothing any more: they come back and are attached to the next one.
            node.metrics.on_died(Died::User);
            tracing::warn!(user.id = %user, node.id = %node.id, "user actor found dead; closing its sessions");
            session.close(CloseCause::TryAgain);
        }
    }
}
