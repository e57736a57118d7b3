//! The connections of the mode `hold`: one task per side of a call that keeps it connected, whatever becomes of the nodes.
//!
//! Owns the choice of the next node and the waits between connections; decides nothing about a call. One thread, so no locks.

use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    rc::Rc,
    task::Poll,
};

use tokio::{sync::watch, time::Sleep};

use super::{
    super::{
        client::{Broken, Client, Introduction},
        pacing::{Nanos, nanos},
        pair::{Shared, Woken},
        script::Side,
    },
    Cx, Plan,
    call::{Books, Call},
    leg::Leg,
};

const MILLISECOND: Nanos = 1_000_000;

/// How long nobody goes to a node that refused a connection. Longer, and a node that is back stays empty; shorter, and a thousand
/// clients hammer one that is not there.
const SKIPPED: Nanos = 2_000 * MILLISECOND;

/// The wait before the next connection, unless the node named one: at random up to this, doubled with each failure, up to
/// [`BACKOFF_MAX`]. As Carillon's own client waits, except for the bound.
const BACKOFF_BASE: Nanos = 500 * MILLISECOND;
const BACKOFF_MAX: Nanos = 4_000 * MILLISECOND;

/// What all tasks of the mode share.
pub struct Hold {
    /// The clock, the targets, the tokens.
    pub shared: Rc<Shared>,
    /// What all sides do.
    pub plan: Plan,
    /// What is measured and found.
    pub books: RefCell<Books>,
    /// Until when each target is not asked.
    skipped: RefCell<Vec<Nanos>>,
    /// Sides that are connected now, for who watches.
    pub online: Cell<u64>,
    /// Since when the calls are held; `None` while they are set up.
    pub held_since: watch::Sender<Option<Nanos>>,
}

impl Hold {
    /// With every target to be asked.
    pub fn new(shared: Rc<Shared>, plan: Plan, books: Books) -> Self {
        let skipped = RefCell::new(vec![0; shared.targets.len()]);
        let (online, held_since) = (Cell::new(0), watch::Sender::new(None));
        Self { shared, plan, books: RefCell::new(books), skipped, online, held_since }
    }

    /// Now.
    pub fn now(&self) -> Nanos {
        self.shared.clock.now()
    }

    /// Lets a side do something.
    pub fn with<R>(&self, call: &RefCell<Call>, work: impl FnOnce(&mut Cx<'_>) -> R) -> R {
        let (mut call, mut books) = (call.borrow_mut(), self.books.borrow_mut());
        work(&mut Cx { now: self.now(), random: rand::random(), call: &mut call, books: &mut books })
    }

    /// The target after `node`, without those that refused lately, unless all did.
    fn next_target(&self, node: usize) -> usize {
        let (now, skipped) = (self.now(), self.skipped.borrow());
        let count = skipped.len();
        (1..=count).map(|step| (node + step) % count).find(|next| skipped[*next] <= now).unwrap_or((node + 1) % count)
    }

    /// Nobody asks this target for a while; whether there is another to ask now.
    fn skip(&self, node: usize) -> bool {
        let now = self.now();
        let mut skipped = self.skipped.borrow_mut();
        skipped[node] = now + SKIPPED;
        skipped.iter().any(|until| *until <= now)
    }

    /// One try to connect to a target, as this device, with what it has.
    pub async fn connect(&self, node: usize, user: &str, device: &str, resume: Option<&str>) -> Result<Client, Broken> {
        let shared = &self.shared;
        let token = shared.minter.mint(user).map_err(|error| Broken::new("token", format!("{error:#}")))?;
        let ordinal = shared.opened.replace(shared.opened.get() + 1);
        let who = Introduction { token: &token, device: Some(device), resume };
        Client::connect(&shared.targets[node], ordinal, who).await.map(|(client, _)| client)
    }

    /// The wait before a connection after so many failures in a row.
    fn backoff(failures: u32) -> Nanos {
        let longest = BACKOFF_BASE.saturating_mul(1 << failures.min(16)).min(BACKOFF_MAX);
        (longest as f64 * rand::random::<f64>()) as Nanos
    }

    /// Connects somewhere, however often it takes; `None` when `gives_up` says so.
    async fn come_back(
        &self,
        mut node: usize,
        broken: Broken,
        user: &str,
        device: &str,
        resume: impl Fn() -> Option<String>,
        gives_up: impl Fn(&str) -> bool,
    ) -> Option<(Client, usize)> {
        let mut failures = 0;
        let mut wait = broken.retry_after.map_or_else(|| Self::backoff(0), nanos);
        let mut code = broken.code;
        loop {
            tokio::time::sleep_until(self.shared.clock.instant(self.now() + wait)).await;
            if gives_up(&code) {
                return None;
            }
            node = self.next_target(node);
            match self.connect(node, user, device, resume().as_deref()).await {
                Ok(client) => return Some((client, node)),
                Err(broken) => {
                    self.books.borrow_mut().phases.failed_try(&format!("connect_{}", broken.code), self.now());
                    failures += 1;
                    let another = self.skip(node);
                    wait = match broken.retry_after {
                        _ if another => 0,
                        Some(after) => nanos(after),
                        None => Self::backoff(failures),
                    };
                    code = broken.code;
                }
            }
        }
    }
}

/// A timer that is not made anew for every frame.
pub struct Timer {
    sleep: Pin<Box<Sleep>>,
    at: Nanos,
}

impl Timer {
    /// One that has not been set.
    pub fn new(hold: &Hold) -> Self {
        Self { sleep: Box::pin(tokio::time::sleep_until(hold.shared.clock.instant(0))), at: 0 }
    }

    /// A frame of the client, or `at`.
    async fn next(&mut self, hold: &Hold, client: &mut Client, at: Nanos) -> Woken {
        if self.at != at {
            self.sleep.as_mut().reset(hold.shared.clock.instant(at));
            self.at = at;
        }
        std::future::poll_fn(|cx| match client.poll_text(cx) {
            Poll::Ready(Ok(text)) => Poll::Ready(Woken::Frame(Side::Caller, text)),
            Poll::Ready(Err(broken)) => Poll::Ready(Woken::Broken(broken)),
            Poll::Pending => self.sleep.as_mut().poll(cx).map(|()| Woken::Deadline),
        })
        .await
    }
}

/// Holds one side of a call until its end, on one connection after the other. Its first turn comes `offset` after all calls
/// are set up; until then it answers pings.
pub async fn hold_leg(
    hold: Rc<Hold>,
    call: Rc<RefCell<Call>>,
    mut leg: Leg,
    mut client: Client,
    mut node: usize,
    offset: Nanos,
) {
    let user = call.borrow().users[leg.side()].clone();
    let call_id = call.borrow().id.clone();
    hold.online.set(hold.online.get() + 1);
    let mut begun = false;
    loop {
        let waited = if begun { Ok(None) } else { wait(&hold, &call, &mut leg, &mut client).await.map(Some) };
        let served = match waited {
            Ok(from) => {
                if let Some(from) = from {
                    begun = true;
                    leg.begin(from + offset);
                }
                serve(&hold, &call, &mut leg, &mut client).await
            }
            Err(broken) => Some(broken),
        };
        hold.online.set(hold.online.get() - 1);
        let Some(broken) = served else {
            client.close().await;
            return;
        };
        drop(client);
        hold.with(&call, |cx| {
            cx.books.phases.connection_lost(cx.now);
            cx.books.phases.failed_try(&broken.code, cx.now);
            leg.on_offline(cx);
            cx.call.note_trouble(leg.side(), leg.trouble(), cx.now, &mut cx.books.phases);
        });
        let since = leg.offline_since().unwrap_or(0);
        let gives_up = |code: &str| {
            hold.with(&call, |cx| {
                if cx.now.saturating_sub(since) > hold.plan.patience {
                    cx.call.lose(&format!("{user} cannot come back: {code}"), cx.now, cx.books);
                }
                cx.call.is_lost()
            })
        };
        let resume = || Some(leg.resume(&call_id));
        let Some(back) = hold.come_back(node, broken, &user, leg.device(), resume, gives_up).await else { return };
        (client, node) = back;
        hold.online.set(hold.online.get() + 1);
        hold.with(&call, |cx| {
            cx.books.phases.reconnected(since, cx.now);
            leg.on_online(cx);
        });
    }
}

/// Hears what comes until the calls are held; since when they are.
async fn wait(hold: &Hold, call: &RefCell<Call>, leg: &mut Leg, client: &mut Client) -> Result<Nanos, Broken> {
    let mut held_since = hold.held_since.subscribe();
    loop {
        let text = tokio::select! {
            // The sender is in `hold`: it is there.
            held = held_since.wait_for(Option::is_some) => return Ok(held.ok().and_then(|since| *since).unwrap_or(0)),
            text = client.next() => text?,
        };
        hold.with(call, |cx| leg.on_frame(&text, cx));
    }
}

/// Until the connection breaks; `None` when all is done.
async fn serve(hold: &Hold, call: &RefCell<Call>, leg: &mut Leg, client: &mut Client) -> Option<Broken> {
    let mut timer = Timer::new(hold);
    loop {
        hold.with(call, |cx| {
            leg.tick(hold.shared.is_over(), cx);
            cx.call.note_trouble(leg.side(), leg.trouble(), cx.now, &mut cx.books.phases);
        });
        for text in leg.take_out() {
            if let Err(broken) = client.send(text).await {
                return Some(broken);
            }
        }
        if leg.is_done() {
            return None;
        }
        if leg.is_deaf(hold.now()) {
            return Some(Broken::new("deaf", "commands are not answered"));
        }
        let wake = leg.next_wake(hold.now(), hold.shared.end.get());
        match timer.next(hold, client, wake).await {
            Woken::Frame(_, text) => hold.with(call, |cx| leg.on_frame(&text, cx)),
            Woken::Deadline => {}
            Woken::Broken(broken) => return Some(broken),
        }
    }
}

/// Holds one idle connection until the run is over, and comes back when it breaks.
pub async fn hold_idle(hold: Rc<Hold>, user: String, mut client: Client, mut node: usize) {
    let mut stop = hold.shared.stop.subscribe();
    loop {
        let broken = tokio::select! {
            broken = async { loop { if let Err(broken) = client.next().await { return broken } } } => broken,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        hold.books.borrow_mut().phases.idle_lost(hold.now());
        let gives_up = |_: &str| *hold.shared.stop.borrow();
        let Some(back) = hold.come_back(node, broken, &user, "load", || None, gives_up).await else { return };
        (client, node) = back;
    }
}
