//! Leaving: what a node does between the signal to stop, or an operator's word, and its end.
//!
//! It takes no new calls, hands those it has over to nodes that stay, and closes its sockets with a hint when to come
//! back. actix ends sockets without a Close frame; so they are closed here, before the server is told to stop. What
//! cannot be handed over in time is taken over when the node's lease ends: nothing here is needed for being right.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    signal::unix::{SignalKind, signal},
    time::Instant,
};

use crate::{
    actors::handoff::hand_over_calls,
    gateway::{Gateway, close_code::Close},
};

/// How much of the time to leave the calls may take; the rest is for closing sockets. A node whose calls cannot be
/// handed over (Redis is away, all others leave too) is not helped by more.
const HANDOVER_SHARE: f64 = 0.4;
/// How long clients may take to answer the Close. Who has not by then is not there.
const CLOSE_PATIENCE: Duration = Duration::from_secs(3);

/// How a node leaves.
#[derive(Debug, Clone, Copy)]
pub struct Leaving {
    /// How long it may take, but for the last answers of the server.
    pub drain: Duration,
    /// Over how long its clients are asked to spread their return.
    pub spread: Duration,
}

/// Resolves when the node has been told to stop, its calls are handed over and its sockets are closed.
pub async fn asked_to_stop(gateway: Arc<Gateway>, leaving: Leaving) {
    let node = &gateway.node;
    tokio::select! {
        () = wait_for_signal() => {}
        () = node.leave.notified() => {}
    }
    let asked = Instant::now();
    node.draining.store(true, Ordering::Release);
    tracing::info!(
        node.id = %node.id, sessions = gateway.sockets.len(), calls = node.directory.call_count(),
        "told to stop; handing over calls"
    );
    let calls = hand_over_calls(node, asked + leaving.drain.mul_f64(HANDOVER_SHARE)).await;
    tracing::info!(
        node.id = %node.id, moved = calls.moved, left = calls.left, sessions = gateway.sockets.len(),
        "calls handed over; closing sessions"
    );
    let spread = u64::try_from(leaving.spread.as_millis()).unwrap_or(0);
    for socket in gateway.sockets.iter() {
        socket.close_with(Close::Restarting { retry_after_ms: rand::random_range(0..=spread) });
    }
    let all_closed = async {
        while !gateway.sockets.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let until = (asked + leaving.drain).min(Instant::now() + CLOSE_PATIENCE);
    if tokio::time::timeout_at(until, all_closed).await.is_err() {
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
