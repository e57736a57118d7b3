//! Telling the application's backend what happens: webhooks.
//!
//! Owns the sending: who is due, in which order, how a request is signed, where it may go, what an answer means. What is
//! to be told is written with the commit that made it so (`store/outbox.rs`); from then on it is sent at least once, by
//! one node at a time, until the endpoint has said yes or it is given up. Must never hold up a call, another webhook or
//! the node's lease: it has a thread of its own. Survives a node that dies in the middle: what it had taken is due again
//! when its hold is over, and whoever receives knows a repetition by its id.
//!
//! ```text
//! commit ─ rows ─> wake ─> worker: take what is due ─> sender: resolve, check, connect, sign, post ─┐
//!                            ^                                                                      │
//!                            └────────── settled: delivered, retry, dead, expired; the next of the lane is due <─┘
//! ```

pub mod addresses;
mod counts;
mod schedule;
mod sender;
pub mod signature;
mod worker;

use std::{sync::Arc, thread, time::Duration};

use tokio::sync::{oneshot, watch};

pub use addresses::{BadUrl, check_url};
pub use counts::Counts;

use crate::{cluster::bus::Bus, domain::NodeId, store::Store};

/// How webhooks are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Also without TLS, and to addresses that are not public. For development.
    pub allow_private: bool,
    /// How long an endpoint may take to answer, from resolving its name.
    pub timeout: Duration,
    /// The waits between attempts; after the last of them comes the last attempt.
    pub retries: Vec<Duration>,
}

/// What the worker needs of the node.
pub(crate) struct Surroundings {
    pub store: Store,
    pub node: NodeId,
    /// Says who has a session.
    pub bus: Arc<dyn Bus>,
}

/// The way to the worker. It ends when this is dropped.
pub struct Webhooks {
    config: Config,
    counts: Counts,
    /// Counts up when webhooks have been changed here.
    changed: watch::Sender<u64>,
    ended: std::sync::Mutex<Option<oneshot::Receiver<()>>>,
    stop: watch::Sender<bool>,
}

impl Webhooks {
    /// Looks which webhooks there are, so that no commit of this node misses one, and starts sending.
    ///
    /// # Errors
    /// The database cannot be asked, or no thread can be started.
    pub(crate) async fn start(config: Config, surroundings: Surroundings) -> Result<Self, String> {
        surroundings.store.load_webhooks().await.map_err(|error| error.to_string())?;
        let counts = Counts::default();
        let (changed, heard) = watch::channel(0);
        let (stop, stopped) = watch::channel(false);
        let (tell, ended) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("no runtime for webhooks: {error}"))?;
        let sender = sender::Sender::new(&config)?;
        let worker = worker::Worker::new(config.clone(), surroundings, sender, counts.clone());
        thread::Builder::new()
            .name("webhooks".to_owned())
            .spawn(move || {
                runtime.block_on(worker.run(heard, stopped));
                // Names that are still being looked up are not waited for.
                runtime.shutdown_background();
                let _ = tell.send(());
            })
            .map_err(|error| format!("no thread for webhooks: {error}"))?;
        Ok(Self { config, counts, changed, ended: std::sync::Mutex::new(Some(ended)), stop })
    }

    /// Takes nothing more, and waits a little for what is under way; what is not answered by then is sent again by
    /// another node.
    pub async fn stop(&self) {
        let _ = self.stop.send(true);
        let ended = self.ended.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(ended) = ended {
            let _ = ended.await;
        }
    }

    /// Webhooks were made or changed: the worker looks at once.
    pub fn refresh(&self) {
        self.changed.send_modify(|changes| *changes += 1);
    }

    /// How they are sent.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What has become of deliveries.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }
}
