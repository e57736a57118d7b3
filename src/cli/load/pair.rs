//! Two connected users who call each other, driven by one task: no channels and no locks between the two sides.
//!
//! Whatever a pair waits for, it keeps reading both sockets, so that the server's pings are answered.

use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    task::Poll,
    time::Duration,
};

use tokio::{sync::watch, time::Sleep};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::{
    client::{Broken, Client, Introduction, Minter, Target},
    frame,
    pacing::{Clock, Nanos},
    script::Side,
    stats::{Counter, Metric, Recorder},
};

/// What all tasks of a run share. One thread, so no locks.
pub struct Shared {
    /// The run's clock.
    pub clock: Clock,
    /// What was measured.
    pub recorder: RefCell<Recorder>,
    /// The nodes, looked up.
    pub targets: Vec<Target>,
    /// Makes the tokens.
    pub minter: Minter,
    /// The beginning of every user's name.
    pub prefix: String,
    /// Longer than this for any step is the error `timeout`.
    pub patience: Nanos,
    /// Both sides of a pair on one node.
    pub same_node: bool,
    /// When no more work begins; Ctrl-C brings it forward.
    pub end: Cell<Nanos>,
    /// Turns true at the end, so that sleepers wake.
    pub stop: watch::Sender<bool>,
    /// Connections opened so far, for the choice of the source address.
    pub opened: Cell<usize>,
}

impl Shared {
    /// Opens a connection to the `node`-th target (modulo their number), and notes how long it took.
    pub async fn connect(&self, node: usize, user: &str, device: Option<&str>) -> Result<(Client, u64), Broken> {
        let target = &self.targets[node % self.targets.len()];
        let token = self.minter.mint(user).map_err(|error| Broken::new("token", format!("{error:#}")))?;
        let ordinal = self.opened.replace(self.opened.get() + 1);
        let begun = self.clock.now();
        let (mut client, hello) =
            Client::connect(target, ordinal, Introduction { token: &token, device, resume: None }).await?;
        let took = self.clock.now() - begun;
        // A call left over from a run that was killed would make this user busy.
        for call in hello.active_calls {
            let data = format!(r#"{{"callId":{}}}"#, frame::quoted(&call.call_id));
            for event in ["call:end", "call:cancel", "call:decline", "call:leave"] {
                client.send(frame::command("left-over", event, &data)).await?;
            }
        }
        Ok((client, took))
    }

    /// Whether the end has come.
    pub fn is_over(&self) -> bool {
        self.clock.now() >= self.end.get()
    }

    /// Waits until `at`; false if the end of the run came first.
    pub async fn sleep_until(&self, at: Nanos) -> bool {
        let mut stop = self.stop.subscribe();
        tokio::select! {
            () = tokio::time::sleep_until(self.clock.instant(at)) => !self.is_over(),
            _ = stop.wait_for(|stop| *stop) => false,
        }
    }
}

/// What a pair woke up for.
#[derive(Debug)]
pub enum Woken {
    /// A frame arrived.
    Frame(Side, Utf8Bytes),
    /// The time asked for has come.
    Deadline,
    /// A connection broke.
    Broken(Broken),
}

/// Two connected users.
pub struct Pair {
    index: usize,
    callee_name: String,
    clients: [Client; 2],
    timer: Pin<Box<Sleep>>,
    timer_at: Nanos,
    /// Which side is looked at first; alternates, so that a busy side does not starve the other.
    first: Side,
}

impl Pair {
    /// The name of one side of the `index`-th pair.
    pub fn user(shared: &Shared, index: usize, side: Side) -> String {
        let letter = if side == Side::Caller { 'a' } else { 'b' };
        format!("{}-{index}-{letter}", shared.prefix)
    }

    /// Connects both users: the caller to target `index`, the callee to the next one (or the same).
    pub async fn connect(shared: &Shared, index: usize) -> Result<Pair, Broken> {
        let callee_name = Self::user(shared, index, Side::Callee);
        let callee_node = if shared.same_node { index } else { index + 1 };
        let (callee, callee_took) = shared.connect(callee_node, &callee_name, Some("load")).await?;
        let (caller, caller_took) =
            shared.connect(index, &Self::user(shared, index, Side::Caller), Some("load")).await?;
        let mut recorder = shared.recorder.borrow_mut();
        recorder.count(Counter::Connections, shared.clock.now(), 2);
        recorder.sample_always(Metric::Connect, callee_took);
        recorder.sample_always(Metric::Connect, caller_took);
        Ok(Pair {
            index,
            callee_name,
            clients: [caller, callee],
            timer: Box::pin(tokio::time::sleep_until(shared.clock.instant(0))),
            timer_at: 0,
            first: Side::Caller,
        })
    }

    /// Connects again after a failure, until it succeeds or the run is over (false).
    pub async fn reconnect(&mut self, shared: &Shared) -> bool {
        while shared.sleep_until(shared.clock.now() + RECONNECT_PAUSE.as_nanos() as Nanos).await {
            match Pair::connect(shared, self.index).await {
                Ok(pair) => {
                    *self = pair;
                    return true;
                }
                Err(broken) => {
                    let at = shared.clock.now();
                    let mut recorder = shared.recorder.borrow_mut();
                    recorder.attempt(at, 1);
                    recorder.error(&broken.code, "reconnect", at, 1);
                }
            }
        }
        false
    }

    /// The callee's user id.
    pub fn callee_name(&self) -> &str {
        &self.callee_name
    }

    /// Sends one frame at once.
    pub async fn send(&mut self, side: Side, text: String) -> Result<(), Broken> {
        self.clients[side as usize].send(text).await
    }

    /// Puts a frame into the buffer of a side.
    pub async fn feed(&mut self, side: Side, text: String) -> Result<(), Broken> {
        self.clients[side as usize].feed(text).await
    }

    /// Sends what is in the buffer of a side.
    pub async fn flush(&mut self, side: Side) -> Result<(), Broken> {
        self.clients[side as usize].flush().await
    }

    /// Waits for a frame of either side, at most until `deadline`.
    pub async fn next(&mut self, clock: Clock, deadline: Nanos) -> Woken {
        if self.timer_at != deadline {
            self.timer.as_mut().reset(clock.instant(deadline));
            self.timer_at = deadline;
        }
        std::future::poll_fn(|cx| {
            if let Some(woken) = self.poll_sides(cx) {
                return Poll::Ready(woken);
            }
            self.timer.as_mut().poll(cx).map(|()| Woken::Deadline)
        })
        .await
    }

    /// A frame that is there already.
    pub async fn next_ready(&mut self) -> Option<Woken> {
        std::future::poll_fn(|cx| Poll::Ready(self.poll_sides(cx))).await
    }

    fn poll_sides(&mut self, cx: &mut std::task::Context<'_>) -> Option<Woken> {
        let first = self.first;
        self.first = first.other();
        [first, first.other()].into_iter().find_map(|side| match self.clients[side as usize].poll_text(cx) {
            Poll::Ready(Ok(text)) => Some(Woken::Frame(side, text)),
            Poll::Ready(Err(broken)) => Some(Woken::Broken(broken)),
            Poll::Pending => None,
        })
    }

    /// Reads and forgets whatever comes until `at`; an error if a connection broke, false if the run was over first.
    pub async fn rest_until(&mut self, shared: &Shared, at: Nanos) -> Result<bool, Broken> {
        let mut stop = shared.stop.subscribe();
        loop {
            let woken = tokio::select! {
                woken = self.next(shared.clock, at) => woken,
                _ = stop.wait_for(|stop| *stop) => return Ok(false),
            };
            match woken {
                Woken::Frame(..) => {}
                Woken::Deadline => return Ok(!shared.is_over()),
                Woken::Broken(broken) => return Err(broken),
            }
        }
    }

    /// Says goodbye on both connections.
    pub async fn close(self) {
        let [caller, callee] = self.clients;
        tokio::join!(caller.close(), callee.close());
    }
}

/// Between two attempts to connect. Shorter, and a node that restarts is hammered; longer, and the load takes long to come back.
const RECONNECT_PAUSE: Duration = Duration::from_millis(500);
