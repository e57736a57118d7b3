//! Leaving: what a node does between the signal to stop and its end.
//!
//! actix ends sockets without a Close frame; so they are closed here, before the server is told to stop.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::signal::unix::{SignalKind, signal};

use crate::gateway::{Gateway, close_code::Close};

/// Over how long the clients of a leaving node are asked to spread their return. Shorter and they come back as a storm;
/// longer and calls wait for people who could be there.
const RETURN_SPREAD: Duration = Duration::from_secs(2);
/// How long clients may take to answer the Close. Who has not by then is not there.
const CLOSE_PATIENCE: Duration = Duration::from_secs(3);

/// Resolves when the node has been told to stop and its sockets are closed, at most `drain` after that.
pub async fn asked_to_stop(gateway: Arc<Gateway>, drain: Duration) {
    wait_for_signal().await;
    let node = &gateway.node;
    tracing::info!(node.id = %node.id, sessions = gateway.sockets.len(), "told to stop; closing sessions");
    node.draining.store(true, Ordering::Release);
    let spread = u64::try_from(RETURN_SPREAD.min(drain).as_millis()).unwrap_or(0);
    for socket in gateway.sockets.iter() {
        socket.close_with(Close::Restarting { retry_after_ms: rand::random_range(0..=spread) });
    }
    let all_closed = async {
        while !gateway.sockets.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(CLOSE_PATIENCE.min(drain), all_closed).await.is_err() {
        tracing::warn!(node.id = %node.id, sessions = gateway.sockets.len(), "sessions did not close in time");
    }
}

async fn wait_for_signal() {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals cannot be heard; only killing ends this node");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
