//! Looks now and then whether LiveKit answers, and says so to [`super::degraded`].
//!
//! Decides nothing: without LiveKit running calls go on, and what needs it says so when it is asked.

use std::time::Duration;

use super::{NodeHandle, degraded::Dependency};
use crate::media::MediaError;

/// Between two looks while all is well. More often costs LiveKit requests; less often, and `/readyz` says later what
/// everybody who needed it has noticed.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Between two looks while it is away: its return should be seen soon.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Runs until the node ends; at once over where there is no LiveKit.
pub async fn run(node: NodeHandle) {
    if !node.media.is_configured() {
        return;
    }
    loop {
        let fault = match node.media.probe().await {
            Ok(()) => None,
            // It is there and does not know us: keys or clocks.
            Err(MediaError::Refused(code)) => {
                if !node.degraded.is_without(Dependency::Livekit) {
                    tracing::warn!(code, "livekit refuses this node: compare the keys, and the clocks of the machines");
                }
                Some("refused")
            }
            Err(_) => Some("unreachable"),
        };
        node.degraded.observe(Dependency::Livekit, fault);
        let pause = if node.degraded.is_without(Dependency::Livekit) { LOOK_AGAIN } else { LOOK_EVERY };
        tokio::time::sleep(pause.mul_f64(rand::random_range(0.8..1.2))).await;
    }
}
