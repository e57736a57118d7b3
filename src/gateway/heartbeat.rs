//! Watching sessions from outside: pings, the end of tokens, clients that are gone or do not read.
//!
//! Stands outside the sessions' actors because a client that does not read stalls its actor and its timers with it.

use std::sync::atomic::Ordering;
use std::{sync::Arc, time::Duration};

use super::{
    close_code::{Close, Ended},
    edge::Gateway,
    socket::{Out, Socket},
};
use crate::{
    actors::Outbox,
    clock,
    domain::Timestamp,
    wire::{Frame, events::SessionExpiring},
};

/// How often all sessions are looked at. More often costs CPU for each idle connection; less often makes everything
/// below later by as much.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a client to which something was sent may be silent before it is pinged, and each ping unanswered. Two
/// missed and one look later it is gone: under ten seconds in all.
const PROBE: Duration = Duration::from_millis(2_500);
/// How long before the end of its token a client is told.
const EXPIRY_NOTICE: Duration = Duration::from_secs(60);
/// How long a client may take to answer the server's Close.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// Runs until the node ends.
pub async fn run(gateway: Arc<Gateway>) {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let now = clock::now();
        for socket in gateway.sockets.iter() {
            look_at(socket.value(), now, gateway.ping_interval);
        }
    }
}

fn look_at(socket: &Socket, now: Timestamp, ping_interval: Duration) {
    let since = |at: i64| now.since(Timestamp::from_millis(at));
    let closing_at = socket.closing_at.load(Ordering::Relaxed);
    if closing_at != 0 {
        if since(closing_at) > CLOSE_PATIENCE {
            socket.kill("it did not answer the close", Ended::Lost);
        }
        return;
    }
    match socket.expires_at.load(Ordering::Relaxed) {
        0 => {}
        ends if ends <= now.as_millis() => return socket.close_with(Close::TokenExpired),
        ends if Timestamp::from_millis(ends).since(now) <= EXPIRY_NOTICE
            && !socket.expiry_announced.swap(true, Ordering::Relaxed) =>
        {
            socket.push(Frame::of(&SessionExpiring { expires_at: &Timestamp::from_millis(ends) }));
        }
        _ => {}
    }
    let patience =
        if socket.sent_since_heard.load(Ordering::Relaxed) { PROBE.min(ping_interval) } else { ping_interval };
    let unanswered = socket.unanswered.load(Ordering::Relaxed);
    let quiet_since = if unanswered == 0 { &socket.heard_at } else { &socket.pinged_at }.load(Ordering::Relaxed);
    if since(quiet_since) < patience {
        return;
    }
    if unanswered >= 2 {
        return socket.kill("two pings were not answered", Ended::Silent);
    }
    socket.pinged_at.store(now.as_millis(), Ordering::Relaxed);
    socket.unanswered.store(unanswered + 1, Ordering::Relaxed);
    socket.send(Out::Ping);
}
