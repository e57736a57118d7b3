//! The connection that sends.
//!
//! Owns the queue's far end. It must never wait for more to come: it takes what is there, one PUBLISH for each channel, and
//! writes that in one go. Order holds for each channel. It survives a broken connection by dropping what was on its way
//! (counted; whoever asked for a count is told) and refusing more until there is another.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::Poll,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered};
use redis::{Client, Pipeline, RedisResult, aio::MultiplexedConnection};
use tokio::{
    sync::oneshot,
    task::unconstrained,
    time::{Duration, MissedTickBehavior, interval, sleep, timeout},
};

use super::{
    Channels, Shared,
    link::{Backoff, Broken, Connected, Link, PING_INTERVAL, connect, ping},
};
use crate::{
    cluster::{
        bus::BusStats,
        frame::{self, FULL_FRAME_BYTES, FrameHeader},
        outbox::{Outlet, Waiting},
    },
    domain::ids::{NodeId, UserId},
};

/// Messages taken into one write. Fewer, and a busy node pays more system calls; many more, and the first waits for the last.
const BATCH_MESSAGES: usize = 256;
/// Bytes taken into one write, give or take one message. Bounds what is in memory beside the queue.
const BATCH_BYTES: usize = 1024 * 1024;
/// Writes whose answers are still out. One would add a round trip to the latency of whatever comes just after a write; many
/// would make small writes out of what could have been one large one, and hide a Redis that falls behind from the queue's bounds.
const WRITES_IN_FLIGHT: usize = 4;
/// What is kept of a frame's buffer for the next batch, beyond the first few. More only holds memory for rare bursts.
const KEPT_BUFFER_BYTES: usize = 4096;
/// How long a closing bus tries to send what is waiting.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Whom a message is for.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum Target {
    Node(NodeId),
    User(UserId),
}

/// A message in the queue.
pub(super) struct Outgoing {
    pub(super) target: Target,
    pub(super) message: Bytes,
    /// Wants to know how many connections it went to, this node's own included. Dropped when that cannot be known.
    pub(super) counted: Option<oneshot::Sender<u64>>,
}

impl Waiting for Outgoing {
    fn len(&self) -> usize {
        self.message.len()
    }
}

/// Serves until the bus closes.
pub(super) async fn run(shared: Arc<Shared>, client: Client, mut outlet: Outlet<Outgoing>) {
    let mut backoff = Backoff::new();
    let mut batch = Batch::default();
    loop {
        let connected = tokio::select! {
            connected = connect(&client, |_| {}) => connected,
            () = shared.closed() => break,
        };
        let broken = match connected {
            Ok(connected) => {
                refuse_waiting_unless_open(&shared, &mut outlet);
                shared.open();
                shared.links.on_up(Link::Publisher);
                match serve(&shared, connected, &mut outlet, &mut batch, &mut backoff).await {
                    Ok(()) => break,
                    Err(broken) => broken,
                }
            }
            Err(broken) => broken,
        };
        shared.refuse();
        shared.links.on_broken(Link::Publisher, &broken);
        let wait = sleep(backoff.next());
        tokio::pin!(wait);
        loop {
            tokio::select! {
                () = &mut wait => break,
                () = shared.closed() => return,
                // Taken before it was known that the connection is gone, or while it went.
                outgoing = outlet.recv() => match outgoing {
                    Some(_) => BusStats::add(&shared.stats.lost, 1),
                    None => return,
                },
            }
        }
    }
    shared.refuse();
}

/// What slipped into the queue while there was no connection is late by now; what came before the first connection is not.
fn refuse_waiting_unless_open(shared: &Shared, outlet: &mut Outlet<Outgoing>) {
    if !shared.is_open() {
        while outlet.try_recv().is_some() {
            BusStats::add(&shared.stats.lost, 1);
        }
    }
}

type Write = Pin<Box<dyn Future<Output = (u64, RedisResult<()>)> + Send>>;

/// One connection, until it breaks (`Err`) or the bus closes (`Ok`).
async fn serve(
    shared: &Arc<Shared>,
    Connected { connection, closed }: Connected,
    outlet: &mut Outlet<Outgoing>,
    batch: &mut Batch,
    backoff: &mut Backoff,
) -> Result<(), Broken> {
    let mut writes = Writes { connection, in_flight: FuturesUnordered::new(), messages: 0 };
    let mut pings = interval(PING_INTERVAL);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let closing = shared.closed();
    tokio::pin!(closing);
    let broken = loop {
        let outcome = tokio::select! {
            biased;
            () = closed.notified() => break Broken::closed_by_peer(),
            Some((messages, outcome)) = writes.in_flight.next(), if !writes.in_flight.is_empty() => {
                writes.on_done(messages, outcome, backoff)
            }
            outgoing = outlet.recv(), if writes.in_flight.len() < WRITES_IN_FLIGHT => match outgoing {
                Some(outgoing) => writes.send(shared, batch, outgoing, outlet, backoff).await,
                None => return Ok(()),
            },
            // Only when idle: otherwise answers are awaited anyway.
            _ = pings.tick(), if writes.in_flight.is_empty() => writes.ping(backoff).await,
            () = &mut closing => {
                shared.refuse();
                // What is not sent by then is dropped with the queue.
                let _ = timeout(FLUSH_TIMEOUT, writes.flush(shared, batch, outlet, backoff)).await;
                return Ok(());
            }
        };
        if let Err(broken) = outcome {
            break broken;
        }
    };
    BusStats::add(&shared.stats.lost, writes.messages);
    Err(broken)
}

/// The writes of one connection.
struct Writes {
    connection: MultiplexedConnection,
    in_flight: FuturesUnordered<Write>,
    /// Messages in them.
    messages: u64,
}

impl Writes {
    /// Takes what is waiting behind `first` and writes it together.
    async fn send(
        &mut self,
        shared: &Arc<Shared>,
        batch: &mut Batch,
        first: Outgoing,
        outlet: &mut Outlet<Outgoing>,
        backoff: &mut Backoff,
    ) -> Result<(), Broken> {
        batch.add(&shared.header, first);
        while batch.messages < BATCH_MESSAGES && batch.bytes < BATCH_BYTES {
            let Some(outgoing) = outlet.try_recv() else { break };
            batch.add(&shared.header, outgoing);
        }
        let messages = batch.messages as u64;
        let (pipeline, counted) = batch.take(&shared.channels);
        BusStats::add(&shared.stats.batches, 1);
        self.messages += messages;
        let mut connection = self.connection.clone();
        let shared_of_write = shared.clone();
        let write = async move {
            let outcome = publish(&shared_of_write, &mut connection, pipeline, counted, messages).await;
            (messages, outcome)
        };
        self.start(write, backoff).await
    }

    async fn ping(&mut self, backoff: &mut Backoff) -> Result<(), Broken> {
        let mut connection = self.connection.clone();
        self.start(async move { (0, ping(&mut connection).await) }, backoff).await
    }

    /// Polls once at once, which hands the command to the connection: the order of calls is the order on the wire. (The
    /// connection's own queue has more room than [`WRITES_IN_FLIGHT`], and `unconstrained` keeps the scheduler out of it.)
    async fn start(
        &mut self,
        write: impl Future<Output = (u64, RedisResult<()>)> + Send + 'static,
        backoff: &mut Backoff,
    ) -> Result<(), Broken> {
        let mut write: Write = Box::pin(unconstrained(write));
        match std::future::poll_fn(|context| Poll::Ready(write.as_mut().poll(context))).await {
            Poll::Ready((messages, outcome)) => self.on_done(messages, outcome, backoff),
            Poll::Pending => {
                self.in_flight.push(write);
                Ok(())
            }
        }
    }

    fn on_done(&mut self, messages: u64, outcome: RedisResult<()>, backoff: &mut Backoff) -> Result<(), Broken> {
        outcome?;
        // An answer, not only a connection: one that is accepted and dropped again and again is waited for longer.
        backoff.reset();
        self.messages -= messages;
        Ok(())
    }

    async fn flush(
        &mut self,
        shared: &Arc<Shared>,
        batch: &mut Batch,
        outlet: &mut Outlet<Outgoing>,
        backoff: &mut Backoff,
    ) -> Result<(), Broken> {
        while let Some(outgoing) = outlet.try_recv() {
            self.send(shared, batch, outgoing, outlet, backoff).await?;
            while self.in_flight.len() >= WRITES_IN_FLIGHT
                && let Some((messages, outcome)) = self.in_flight.next().await
            {
                self.on_done(messages, outcome, backoff)?;
            }
        }
        while let Some((messages, outcome)) = self.in_flight.next().await {
            self.on_done(messages, outcome, backoff)?;
        }
        Ok(())
    }
}

/// Writes one pipeline and deals out the answers. `Err` only when the connection is no longer to be trusted.
async fn publish(
    shared: &Shared,
    connection: &mut MultiplexedConnection,
    pipeline: Pipeline,
    counted: Vec<(usize, oneshot::Sender<u64>)>,
    messages: u64,
) -> RedisResult<()> {
    let replies: Vec<RedisResult<u64>> = pipeline.query_async(connection).await?;
    if let Some(error) = replies.iter().find_map(|reply| reply.as_ref().err()) {
        // The server refuses single commands (permissions, say) on a connection that is fine. Which of the messages
        // were in them is not worth keeping; the refusals are.
        let refused = replies.iter().filter(|reply| reply.is_err()).count() as u64;
        BusStats::add(&shared.stats.lost, refused);
        BusStats::add(&shared.stats.published, messages.saturating_sub(refused));
        if !shared.refusal_logged.swap(true, Ordering::Relaxed) {
            tracing::warn!(bus = "redis", %error, "publish refused by the server, further refusals are only counted");
        }
    } else {
        BusStats::add(&shared.stats.published, messages);
    }
    for (command, waiting) in counted {
        if let Some(Ok(count)) = replies.get(command) {
            let _ = waiting.send(*count);
        }
    }
    Ok(())
}

/// Messages grouped by channel. Kept from batch to batch, so that its buffers are.
#[derive(Default)]
struct Batch {
    frames: Vec<Frame>,
    used: usize,
    /// The newest frame for each channel.
    newest: HashMap<Target, usize>,
    counted: Vec<(usize, oneshot::Sender<u64>)>,
    channel: String,
    messages: usize,
    bytes: usize,
}

struct Frame {
    target: Target,
    body: Vec<u8>,
}

impl Batch {
    fn add(&mut self, header: &FrameHeader, Outgoing { target, message, counted }: Outgoing) {
        self.messages += 1;
        self.bytes += message.len();
        let index = match self.newest.get(&target) {
            Some(&index) if self.frames[index].body.len() + message.len() < FULL_FRAME_BYTES => index,
            _ => {
                let index = self.used;
                self.used += 1;
                match self.frames.get_mut(index) {
                    Some(frame) => frame.target = target.clone(),
                    None => self.frames.push(Frame { target: target.clone(), body: Vec::new() }),
                }
                header.begin(&mut self.frames[index].body);
                self.newest.insert(target, index);
                index
            }
        };
        frame::append(&mut self.frames[index].body, &message);
        self.counted.extend(counted.map(|waiting| (index, waiting)));
    }

    /// The commands, and who waits for the answer to which. Leaves the batch empty.
    fn take(&mut self, channels: &Channels) -> (Pipeline, Vec<(usize, oneshot::Sender<u64>)>) {
        let mut pipeline = Pipeline::with_capacity(self.used);
        pipeline.ignore_errors();
        for (index, Frame { target, body }) in self.frames[..self.used].iter_mut().enumerate() {
            channels.write(target, &mut self.channel);
            pipeline.cmd("PUBLISH").arg(self.channel.as_str()).arg(body.as_slice());
            // Large buffers are kept where they are used most, not 256 of them.
            body.clear();
            body.shrink_to(if index < 4 { FULL_FRAME_BYTES } else { KEPT_BUFFER_BYTES });
        }
        self.newest.clear();
        (self.used, self.messages, self.bytes) = (0, 0, 0);
        (pipeline, std::mem::take(&mut self.counted))
    }
}
