//! What the actors of one node count and measure as it happens, for `/metrics`.
//!
//! What can be read off when somebody asks is not here but in `gateway/rest/metrics.rs`. Each place that counts is one
//! call; see [`crate::metrics`] for what that may cost.

use std::{
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
    time::Duration,
};

use prometheus_client::metrics::counter::Counter;

use super::sweepers::{ActionOutcome, NAMES, RunOutcome};
use crate::{
    clock,
    domain::CallStatus,
    metrics::{FILL, Histogram, Label, Page, Tally},
    wire::{ErrorCode, Refusal},
};

/// The counters of one node.
#[derive(Debug)]
pub struct Metrics {
    /// Times that a user's node had lost events of a call and asked for them.
    pub gap_repairs: Counter,
    /// Calls of other nodes that this one has taken over.
    pub takeovers: Counter,
    /// Looks into the database for what the bus could not bring.
    pub polls: Counter,
    /// Messages from other nodes that could not be read: of a later version, as a rule.
    pub messages_dropped: Counter,
    /// Calls without an owner that this version cannot read.
    pub calls_left: Counter,
    /// Signals of sessions and requests of this node.
    pub signals: Outcomes,
    /// Calls begun here.
    calls_started: Counter,
    calls_ended: Tally<STATUSES>,
    /// From the commit, or from the bus, until events are handed to a user's sockets.
    delivered: [Histogram; 2],
    /// From a question to another node until its answer.
    pub asks: Histogram,
    /// From a publish of this node to itself until it comes back.
    pub bus_trips: Histogram,
    /// Commands of the same call that one more command finds waiting.
    pub call_commands: Histogram,
    full: Tally<2>,
    died: Tally<2>,
    pub sweeps: Sweeps,
}

const STATUSES: usize = CallStatus::ALL.len();

/// A place in front of a call's actor where too many waited.
#[derive(Debug, Clone, Copy)]
pub enum Full {
    CallCommands,
    CallSignals,
}

/// An actor that was found ended before its time.
#[derive(Debug, Clone, Copy)]
pub enum Died {
    Call,
    User,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            gap_repairs: Counter::default(),
            takeovers: Counter::default(),
            polls: Counter::default(),
            messages_dropped: Counter::default(),
            calls_left: Counter::default(),
            signals: Outcomes::default(),
            calls_started: Counter::default(),
            calls_ended: Tally::default(),
            delivered: [Histogram::latency(), Histogram::latency()],
            asks: Histogram::latency(),
            bus_trips: Histogram::latency(),
            call_commands: Histogram::new(&FILL),
            full: Tally::default(),
            died: Tally::default(),
            sweeps: Sweeps::default(),
        }
    }
}

impl Metrics {
    /// A call was begun here, and stands so: it may be over at once.
    pub fn on_started(&self, status: CallStatus) {
        self.calls_started.inc();
        if status.is_final() {
            self.on_ended(status);
        }
    }

    /// A call of this node has ended so.
    pub fn on_ended(&self, status: CallStatus) {
        self.calls_ended.inc(status as usize);
    }

    /// Events have been handed to a user's sockets, so long after they were committed here (`local`) or came by the bus.
    pub fn on_delivered(&self, local: bool, after: Duration) {
        let [here, bus] = &self.delivered;
        if local { here } else { bus }.took(after);
    }

    /// Something was refused because too many waited.
    pub fn on_full(&self, place: Full) {
        self.full.inc(place as usize);
    }

    /// An actor was found dead.
    pub fn on_died(&self, actor: Died) {
        self.died.inc(actor as usize);
    }

    /// How often something was refused because too many waited.
    pub fn times_full(&self) -> [(&'static str, u64); 2] {
        let [commands, signals] = self.full.read();
        [("call_commands", commands), ("call_signals", signals)]
    }

    /// Writes them.
    pub fn write(&self, page: &mut Page) {
        let counters = [
            ("gap_repairs", "Times that lost events of a call were asked for", &self.gap_repairs),
            ("takeovers", "Calls taken over from nodes that are gone", &self.takeovers),
            ("database_polls", "Looks into the database for events that the bus could not bring", &self.polls),
            ("messages_dropped", "Messages from other nodes that this version cannot read", &self.messages_dropped),
            ("calls_left_to_newer_nodes", "Calls without an owner that this version cannot read", &self.calls_left),
            ("calls_started", "Calls begun on this node", &self.calls_started),
        ];
        for (name, help, counter) in counters {
            page.counter(name, help, counter.get());
        }
        let ended = CallStatus::ALL.iter().zip(self.calls_ended.read()).filter(|(status, _)| status.is_final());
        let ended = ended.map(|(status, n)| ([("status", status.as_str())], n)).collect();
        page.counters("calls_ended", "Calls of this node that have ended, by how", ended);
        let [here, bus] = &self.delivered;
        let rows = vec![([("from", "here")], here.clone()), ([("from", "bus")], bus.clone())];
        let help = "From the commit of events, or from their coming by the bus, until a user's sockets have them";
        page.histograms("event_delivery_seconds", help, rows);
        page.histogram("node_ask_seconds", "From a question to another node until its answer", &self.asks);
        let help = "From a message of this node to itself by way of the bus until it is back";
        page.histogram("bus_trip_seconds", help, &self.bus_trips);
        let help = "Commands of its call that a command finds waiting before it";
        page.histogram("call_commands_waiting", help, &self.call_commands);
        let [calls, users] = self.died.read();
        let rows = vec![([("actor", "call")], calls), ([("actor", "user")], users)];
        let help =
            "Actors found ended before their time: by a panic; a call's also by a refused commit or a lost lease";
        page.counters("actors_died", help, rows);
        self.sweeps.write(page);
    }
}

/// How often something succeeded, and how often it was refused with which code.
#[derive(Debug, Default)]
pub struct Outcomes(Tally<{ ErrorCode::ALL.len() + 1 }>);

impl Outcomes {
    /// Once more.
    pub fn count(&self, outcome: Result<(), ErrorCode>) {
        self.0.inc(outcome.map_or_else(|code| code as usize + 1, |()| 0));
    }

    /// The same of what anything came to.
    pub fn of<T>(&self, outcome: &Result<T, Refusal>) {
        self.count(outcome.as_ref().map(drop).map_err(|refusal| refusal.code));
    }

    /// Each outcome that has occurred, and those that somebody is woken for.
    pub fn seen(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let always = ["ok", ErrorCode::Internal.as_str(), ErrorCode::Unavailable.as_str()];
        let names = ["ok"].into_iter().chain(ErrorCode::ALL.iter().map(|code| code.as_str()));
        names.zip(self.0.read()).filter(move |(name, n)| *n > 0 || always.contains(name))
    }
}

const RUNS: usize = RunOutcome::ALL.len();
const ACTIONS: usize = ActionOutcome::ALL.len();

/// What sweepers did on this node.
#[derive(Debug)]
pub struct Sweeps {
    began_millis: i64,
    /// In the order of [`NAMES`].
    each: [Sweep; NAMES.len()],
}

#[derive(Debug, Default)]
struct Sweep {
    runs: Tally<RUNS>,
    actions: Tally<ACTIONS>,
    found: AtomicU64,
    interval_millis: AtomicU64,
    last_took_nanos: AtomicU64,
    /// When the last run that succeeded ended; 0: none has.
    succeeded_millis: AtomicI64,
}

impl Default for Sweeps {
    fn default() -> Self {
        Self { began_millis: clock::now().as_millis(), each: std::array::from_fn(|_| Sweep::default()) }
    }
}

impl Sweeps {
    fn of(&self, sweeper: &str) -> Option<&Sweep> {
        NAMES.iter().zip(&self.each).find_map(|(name, sweep)| (*name == sweeper).then_some(sweep))
    }

    /// This is how often a sweeper runs, about.
    pub fn on_interval(&self, sweeper: &str, interval: Duration) {
        if let Some(sweep) = self.of(sweeper) {
            let millis = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
            sweep.interval_millis.store(millis, Ordering::Relaxed);
        }
    }

    /// An action has come to its end.
    pub(super) fn on_action(&self, sweeper: &str, outcome: ActionOutcome) {
        if let Some(sweep) = self.of(sweeper) {
            sweep.actions.inc(outcome as usize);
        }
    }

    /// A run has ended.
    pub fn on_run(&self, sweeper: &str, outcome: RunOutcome, found: u64, dry_run: bool, took: Duration) {
        let Some(sweep) = self.of(sweeper) else { return };
        sweep.runs.inc(outcome as usize);
        sweep.found.fetch_add(found, Ordering::Relaxed);
        sweep.last_took_nanos.store(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        if outcome == RunOutcome::Done && !dry_run {
            sweep.succeeded_millis.store(clock::now().as_millis(), Ordering::Relaxed);
        }
    }

    fn write(&self, page: &mut Page) {
        let each = || NAMES.into_iter().zip(&self.each).map(|(name, sweep)| (("sweeper", name), sweep));
        let labelled = |key: &'static str, name: Label, words: &[&'static str], numbers: &[u64]| {
            let rows = words.iter().zip(numbers).map(|(word, n)| ([name, (key, *word)], *n));
            rows.collect::<Vec<_>>()
        };
        let words = RunOutcome::ALL.map(RunOutcome::as_str);
        let runs = each().flat_map(|(name, sweep)| labelled("outcome", name, &words, &sweep.runs.read()));
        page.counters("sweeps", "Runs of sweepers on this node, by outcome", runs.collect());
        let words = ActionOutcome::ALL.map(ActionOutcome::as_str);
        let actions = each().flat_map(|(name, sweep)| labelled("outcome", name, &words, &sweep.actions.read()));
        page.counters("sweep_actions", "Actions of sweepers on this node, by outcome", actions.collect());
        let found = each().map(|(name, sweep)| ([name], sweep.found.load(Ordering::Relaxed)));
        page.counters("sweep_found", "What runs of sweepers on this node have found", found.collect());
        let seconds = |name: Label, value: u64, unit: f64| {
            #[expect(clippy::cast_precision_loss, reason = "53 bits of nanoseconds are three months")]
            let value = value as f64 / unit;
            ([name], value)
        };
        let took = each().map(|(name, sweep)| seconds(name, sweep.last_took_nanos.load(Ordering::Relaxed), 1e9));
        page.gauges_f64("sweep_last_run_seconds", "How long a sweeper's last run on this node took", took.collect());
        let interval = each().map(|(name, sweep)| seconds(name, sweep.interval_millis.load(Ordering::Relaxed), 1e3));
        page.gauges_f64(
            "sweep_interval_seconds",
            "How often a sweeper runs, about, in the whole cluster",
            interval.collect(),
        );
        let succeeded = each().map(|(name, sweep)| {
            let at = match sweep.succeeded_millis.load(Ordering::Relaxed) {
                0 => self.began_millis,
                at => at,
            };
            seconds(name, u64::try_from(at).unwrap_or(0), 1e3)
        });
        let help = "When a sweeper's last run on this node that succeeded ended, in seconds since 1970; until there is \
                    one, when the node began";
        page.gauges_f64("sweep_last_success_timestamp_seconds", help, succeeded.collect());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_is_woken_for_is_shown_before_it_occurs_and_the_rest_when_it_has() {
        let outcomes = Outcomes::default();
        assert_eq!(outcomes.seen().collect::<Vec<_>>(), [("ok", 0), ("unavailable", 0), ("internal", 0)]);
        outcomes.count(Err(ErrorCode::Busy));
        outcomes.count(Ok(()));
        assert_eq!(outcomes.seen().collect::<Vec<_>>(), [("ok", 1), ("busy", 1), ("unavailable", 0), ("internal", 0)]);
    }

    #[test]
    fn each_code_and_each_status_has_its_place_in_the_list() {
        for (place, code) in ErrorCode::ALL.iter().enumerate() {
            assert_eq!(*code as usize, place);
        }
        for (place, status) in CallStatus::ALL.iter().enumerate() {
            assert_eq!(*status as usize, place);
        }
        for (place, outcome) in RunOutcome::ALL.iter().enumerate() {
            assert_eq!(*outcome as usize, place);
        }
        for (place, outcome) in ActionOutcome::ALL.iter().enumerate() {
            assert_eq!(*outcome as usize, place);
        }
    }

    #[test]
    fn a_dry_run_and_one_that_failed_are_no_success() {
        let sweeps = Sweeps::default();
        let [name, ..] = NAMES;
        let at = || sweeps.of(name).unwrap().succeeded_millis.load(Ordering::Relaxed);
        sweeps.on_run(name, RunOutcome::Done, 2, true, Duration::ZERO);
        sweeps.on_run(name, RunOutcome::Failed, 2, false, Duration::ZERO);
        assert_eq!(at(), 0);
        sweeps.on_run(name, RunOutcome::Done, 0, false, Duration::ZERO);
        assert!(at() > 0);
        sweeps.on_run("dust", RunOutcome::Done, 1, false, Duration::ZERO);
        assert_eq!(sweeps.of(name).unwrap().found.load(Ordering::Relaxed), 4);
    }
}
