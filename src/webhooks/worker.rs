//! Takes what is due and sends it, each delivery beside the others, as many at once for each webhook as are bearable.
//!
//! Owns this node's part of the sending. One webhook's slow endpoint holds up no other's: each has places of its own, and
//! there is no bound on all together but the number of webhooks. Must never send what another node has taken, nor keep to
//! itself what it has taken and cannot send: the hold runs out by itself.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    time::{self, Instant},
};
use uuid::Uuid;

use super::{
    Config, Counts, Surroundings,
    schedule::{self, Next},
    sender::{Message, Sender, Verdict},
};
use crate::{
    clock,
    domain::{Timestamp, UserId, WebhookEvent},
    store::{AttemptReport, DeliveryOutcome, TakenDelivery, Webhook},
};

/// Requests under way for one webhook, on one node. More press an endpoint; fewer, and one that takes long for each lets
/// what waits grow.
pub(super) const AT_ONCE: usize = 8;
/// Between two looks for what others have written, for webhooks that were changed elsewhere, and for what became due.
/// Longer, and a webhook that was made just now misses more; shorter costs every node more statements.
const LOOK: Duration = Duration::from_secs(1);
/// Between two looks at how much waits.
const BACKLOG: Duration = Duration::from_secs(15);
/// How much longer than a request may take a delivery is this node's: to write down what came of it. Shorter, and one
/// that was answered late is sent twice; longer, and what a dead node had taken waits longer.
const HOLD_MARGIN: Duration = Duration::from_secs(10);
/// How long it may take to learn whether somebody is connected. A push waits for it.
const PRESENCE_PATIENCE: Duration = Duration::from_millis(500);
/// How often an outcome is tried to be written down; then the delivery comes again.
const SETTLE_TRIES: u32 = 5;
const SETTLE_PAUSE: Duration = Duration::from_millis(400);
/// How long requests under way are waited for when the node ends.
const STOP_PATIENCE: Duration = Duration::from_secs(3);

struct Shared {
    config: Config,
    surroundings: Surroundings,
    sender: Sender,
    counts: Counts,
}

/// A delivery is over with, for now.
struct Finished {
    webhook: Uuid,
    /// What is known of webhooks is not true any more.
    changed: bool,
}

/// See the module.
pub(super) struct Worker {
    shared: Arc<Shared>,
    webhooks: HashMap<Uuid, Arc<Webhook>>,
    under_way: HashMap<Uuid, usize>,
    /// How far the round through those that wait has come.
    round: Option<Uuid>,
}

impl Worker {
    pub fn new(config: Config, surroundings: Surroundings, sender: Sender, counts: Counts) -> Self {
        let shared = Arc::new(Shared { config, surroundings, sender, counts });
        Self { shared, webhooks: HashMap::new(), under_way: HashMap::new(), round: None }
    }

    /// Until it is told to stop, or nobody is left to tell it.
    pub async fn run(mut self, mut changed: watch::Receiver<u64>, mut stopped: watch::Receiver<bool>) {
        // As many as are under way at most.
        let (tell, mut finished) = mpsc::unbounded_channel();
        let (mut look_at, mut backlog_at) = (Instant::now(), Instant::now());
        loop {
            if Instant::now() >= look_at {
                self.look().await;
                look_at = Instant::now() + LOOK;
            }
            if Instant::now() >= backlog_at {
                self.count_backlog().await;
                backlog_at = Instant::now() + BACKLOG;
            }
            self.take(&tell).await;
            let store = &self.shared.surroundings.store;
            tokio::select! {
                _ = stopped.changed() => break,
                heard = changed.changed() => match heard {
                    Ok(()) => look_at = Instant::now(),
                    Err(_) => break,
                },
                () = store.webhooks_written() => {}
                Some(first) = finished.recv() => {
                    let mut next = Some(first);
                    while let Some(Finished { webhook, changed }) = next {
                        self.leave(webhook);
                        if changed {
                            look_at = Instant::now();
                        }
                        next = finished.try_recv().ok();
                    }
                }
                () = time::sleep_until(look_at) => {}
            }
        }
        let rest = async {
            while !self.under_way.is_empty() {
                let Some(Finished { webhook, .. }) = finished.recv().await else { return };
                self.leave(webhook);
            }
        };
        if time::timeout(STOP_PATIENCE, rest).await.is_err() {
            tracing::info!("webhooks under way are left to other nodes, or to the next start");
        }
    }

    fn leave(&mut self, webhook: Uuid) {
        if let Some(count) = self.under_way.get_mut(&webhook) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.under_way.remove(&webhook);
            }
        }
    }

    /// Learns which webhooks there are, and wakes what waits behind nothing.
    async fn look(&mut self) {
        let store = &self.shared.surroundings.store;
        match store.load_webhooks().await {
            Ok(all) => self.webhooks = all.into_iter().map(|webhook| (webhook.id, Arc::new(webhook))).collect(),
            // What was known stays; the database's absence is logged elsewhere.
            Err(error) => return tracing::debug!(%error, "webhooks not looked up"),
        }
        if self.webhooks.is_empty() {
            return;
        }
        match store.wake_waiting(self.round).await {
            Ok(round) => self.round = round,
            Err(error) => tracing::debug!(%error, "waiting deliveries not looked at"),
        }
    }

    async fn count_backlog(&self) {
        if let Ok(backlog) = self.shared.surroundings.store.webhook_backlog().await {
            self.shared.counts.backlog(backlog);
        }
    }

    async fn take(&mut self, tell: &mpsc::UnboundedSender<Finished>) {
        fail::fail_point!("webhook-before-take", |_| ());
        let room = |webhook: &Uuid| AT_ONCE.saturating_sub(self.under_way.get(webhook).copied().unwrap_or(0));
        let on = self.webhooks.values().filter(|webhook| webhook.enabled);
        let rooms: Vec<(Uuid, usize)> = on.map(|webhook| (webhook.id, room(&webhook.id))).collect();
        let rooms: Vec<(Uuid, usize)> = rooms.into_iter().filter(|(_, room)| *room > 0).collect();
        if rooms.is_empty() {
            return;
        }
        let hold = self.shared.config.timeout + HOLD_MARGIN;
        let Surroundings { store, node, .. } = &self.shared.surroundings;
        let taken = match store.take_deliveries(&rooms, hold, node).await {
            Ok(taken) => taken,
            Err(error) => return tracing::debug!(%error, "deliveries not taken"),
        };
        for delivery in taken {
            let Some(webhook) = self.webhooks.get(&delivery.webhook).cloned() else { continue };
            *self.under_way.entry(webhook.id).or_default() += 1;
            let (shared, tell) = (self.shared.clone(), tell.clone());
            tokio::spawn(async move {
                let changed = shared.deliver(&webhook, delivery).await;
                // Who is gone has stopped.
                let _ = tell.send(Finished { webhook: webhook.id, changed });
            });
        }
    }
}

impl Shared {
    /// Sends one delivery and writes down what came of it. `true`: the webhook is off now.
    async fn deliver(&self, webhook: &Webhook, delivery: TakenDelivery) -> bool {
        let now = clock::now();
        if delivery.expires_at.is_some_and(|at| at <= now) {
            self.settle(webhook, &delivery, DeliveryOutcome::Expired, AttemptReport::default()).await;
            return false;
        }
        fail::fail_point!("webhook-before-send");
        let body = self.body(&delivery).await;
        let good = webhook.old_secrets.iter().filter(|(_, until)| *until > now).map(|(secret, _)| secret);
        let secrets = std::iter::once(&webhook.secret).chain(good).collect();
        let message = Message { url: &webhook.url, secrets, id: delivery.id.to_string(), body };
        let (verdict, report) = self.sender.send(message).await;
        fail::fail_point!("webhook-before-settle");
        let outcome = match verdict {
            Verdict::Taken => DeliveryOutcome::Delivered,
            Verdict::Gone => DeliveryOutcome::Dead,
            Verdict::Failed { asked } => self.after_failure(&delivery, clock::now(), asked),
        };
        let off = verdict == Verdict::Gone && self.switch_off(webhook).await;
        self.settle(webhook, &delivery, outcome, report).await;
        off
    }

    fn after_failure(&self, delivery: &TakenDelivery, now: Timestamp, asked: Option<Duration>) -> DeliveryOutcome {
        let (retries, luck) = (&self.config.retries, rand::random_range(0.0..1.0));
        match schedule::next(delivery.attempt, retries, now, delivery.expires_at, asked, luck) {
            Next::After(wait) => DeliveryOutcome::Retry(wait),
            Next::Dead => DeliveryOutcome::Dead,
            Next::Expired => DeliveryOutcome::Expired,
        }
    }

    async fn body(&self, delivery: &TakenDelivery) -> String {
        let data = match &delivery.user {
            Some(user) if delivery.event == WebhookEvent::CallRinging.as_str() => {
                let online = self.is_online(user).await.map_or("null", |online| if online { "true" } else { "false" });
                // An object, as it was written, with one field more.
                format!("{{\"online\":{online},{}", delivery.payload.strip_prefix('{').unwrap_or("}"))
            }
            _ => delivery.payload.clone(),
        };
        format!("{{\"type\":\"{}\",\"timestamp\":\"{}\",\"data\":{data}}}", delivery.event, delivery.created_at)
    }

    /// Whether any node has a session of the user; `None`: that cannot be said.
    async fn is_online(&self, user: &UserId) -> Option<bool> {
        let users = [user.clone()];
        let asked = time::timeout(PRESENCE_PATIENCE, self.surroundings.bus.online(&users)).await;
        asked.ok()?.ok()?.first().copied()
    }

    async fn switch_off(&self, webhook: &Webhook) -> bool {
        match self.surroundings.store.disable_webhook(webhook.id, &webhook.url, "gone").await {
            Ok(true) => {
                tracing::warn!(
                    webhook.id = %webhook.id, node.id = %self.surroundings.node,
                    "webhook switched off: its endpoint says that it is gone"
                );
                true
            }
            Ok(false) => true,
            Err(error) => {
                tracing::debug!(webhook.id = %webhook.id, %error, "webhook not switched off");
                false
            }
        }
    }

    async fn settle(
        &self,
        webhook: &Webhook,
        delivery: &TakenDelivery,
        outcome: DeliveryOutcome,
        report: AttemptReport,
    ) {
        let (error, status) = (report.error.clone(), report.status);
        let mut written = None;
        for _ in 0..SETTLE_TRIES {
            match self.surroundings.store.settle_delivery(delivery, outcome, report.clone()).await {
                Ok(done) => {
                    written = Some(done);
                    break;
                }
                Err(_) => time::sleep(SETTLE_PAUSE).await,
            }
        }
        let word = match (written, outcome) {
            (Some(true), DeliveryOutcome::Delivered) => "delivered",
            (Some(true), DeliveryOutcome::Retry(_)) => "retry",
            (Some(true), DeliveryOutcome::Expired) => "expired",
            (Some(true), DeliveryOutcome::Dead) => "dead",
            // Somebody else has it, or will: it comes again when the hold is over.
            (Some(false) | None, _) => "lost",
        };
        self.counts.outcome(word);
        let call = delivery.call.as_deref();
        let (id, event, attempts) = (delivery.id, delivery.event.as_str(), delivery.attempt);
        let node = &self.surroundings.node;
        if word == "dead" {
            tracing::warn!(
                webhook.id = %webhook.id, delivery.id = %id, call.id = call, event, attempts, error, status,
                node.id = %node, "webhook delivery given up: a dead letter"
            );
        } else {
            tracing::debug!(
                webhook.id = %webhook.id, delivery.id = %id, call.id = call, event, attempts, outcome = word, error,
                status, node.id = %node, "webhook delivery"
            );
        }
    }
}
