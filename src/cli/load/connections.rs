//! The modes about connections: idle ones that are only held, and storms of new ones.

use std::rc::Rc;

use super::{
    client::Client,
    pacing::{Nanos, Pacer},
    pair::Shared,
    stats::{Counter, Metric},
};

/// Reads one idle connection until it breaks or the run is finished. Pings are answered on the way.
pub async fn hold_idle(shared: Rc<Shared>, mut client: Client) {
    let mut stop = shared.stop.subscribe();
    let broken = async {
        loop {
            if let Err(broken) = client.next().await {
                return broken;
            }
        }
    };
    tokio::select! {
        broken = broken => {
            let at = shared.clock.now();
            shared.recorder.borrow_mut().error(&broken.code, "idle", at, 1);
        }
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

/// The name of the `index`-th idle user.
pub fn idle_user(shared: &Shared, index: usize) -> String {
    format!("{}-idle-{index}", shared.prefix)
}

/// After a refused connection, before this worker's next one.
const PAUSE_AFTER_FAILURE: Nanos = 50_000_000;

/// Connects with a new user and token, says hello, closes, whenever the pacer says so.
pub async fn storm(shared: Rc<Shared>, pacer: Rc<Pacer>, worker: usize) {
    let mut number = worker;
    while let Some(ticket) = pacer.take(shared.clock.now(), shared.end.get()) {
        if ticket.due > shared.clock.now() && !shared.sleep_until(ticket.due).await {
            break;
        }
        let due = ticket.counts_from(shared.clock.now());
        shared.recorder.borrow_mut().attempt(due, 1);
        // A user nobody has seen, so that no token is remembered; spread over the targets.
        let ordinal = shared.opened.get();
        let user = format!("{}-storm-{ordinal}", shared.prefix);
        match shared.connect(number, &user, None).await {
            Ok((client, _)) => {
                let now = shared.clock.now();
                {
                    let mut recorder = shared.recorder.borrow_mut();
                    recorder.count(Counter::Connections, now, 1);
                    recorder.sample(Metric::Connect, due, now.saturating_sub(due));
                }
                client.close().await;
            }
            Err(broken) => {
                shared.recorder.borrow_mut().error(&broken.code, "connect", due, 1);
                if !shared.sleep_until(shared.clock.now() + PAUSE_AFTER_FAILURE).await {
                    break;
                }
            }
        }
        number += 1;
    }
}
