//! One side of a held call: its commands in turn, their repetition until they succeed, and the end.
//!
//! Pure: frames and times go in, frames come out. It never touches a socket or a clock. It survives any number of connections: what
//! was under way when one broke is tried again on the next.

use super::{
    super::{
        frame::{self as commands, Mark},
        pacing::Nanos,
    },
    call::{Books, Call, Progress},
    findings::Finding,
    frame::{self, Flags, Heard},
    witness::Witness,
};

const MILLISECOND: Nanos = 1_000_000;

/// A command that takes longer counts as an interruption from when it was sent: a person looks up. Smaller, and a busy machine makes
/// interruptions; larger, and those that the server hides by waiting are not seen.
const SLOW: Nanos = 1_000 * MILLISECOND;

/// A try that got no answer for so long is repeated. Smaller, and a takeover meets each command several times; larger, and a lost frame
/// makes the interruption long.
const UNANSWERED: Nanos = 3_000 * MILLISECOND;

/// When nothing was answered for so long the connection is given up. It must be over before the grace of the nodes is (15 s).
const DEAF: Nanos = 3 * UNANSWERED;

/// The wait before a refused command is tried again: this, doubled with each try, at most [`RETRY_MAX`]; half to all of it. As
/// Carillon's own client waits, except for the bound: an interruption shall be the cluster's, not the backoff's.
const RETRY_BASE: Nanos = 200 * MILLISECOND;
const RETRY_MAX: Nanos = 1_000 * MILLISECOND;

/// How often a side looks whether the other has come as far.
const LOOK: Nanos = 100 * MILLISECOND;

/// How long to listen after the end for what must not come.
const LINGER: Nanos = 500 * MILLISECOND;

/// What all sides of a run do.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// One of the two sides does something this often.
    pub every: Nanos,
    /// What does not succeed within this time is lost.
    pub patience: Nanos,
    /// Bytes of a signal's payload.
    pub signal_bytes: usize,
}

/// The time and what the sides share.
pub struct Cx<'a> {
    pub now: Nanos,
    /// A number from 0 to 1, for the jitter.
    pub random: f64,
    pub call: &'a mut Call,
    pub books: &'a mut Books,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    Media(u64),
    Signal(u64),
    Attach,
    Sync,
    Get,
    End,
}

impl Task {
    /// Whether a person would notice that it does not work.
    fn is_noticed(self) -> bool {
        matches!(self, Task::Media(_) | Task::Signal(_))
    }
}

/// A command that has not succeeded yet.
#[derive(Debug)]
struct Pending {
    task: Task,
    serial: u64,
    begun: Nanos,
    tries: u32,
    sent: Option<Nanos>,
    retry_at: Nanos,
    failed: bool,
    code: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Holding,
    Settling,
    Hearing,
    Checking,
    Ending,
    Lingering,
    Done,
}

/// One side of a call.
pub struct Leg {
    side: usize,
    device: &'static str,
    plan: Plan,
    witness: Witness,
    pending: Vec<Pending>,
    serial: u64,
    commands: u64,
    signals: u64,
    next_turn: Nanos,
    offline_since: Option<Nanos>,
    /// Since when tries are not answered on this connection.
    unanswered_since: Option<Nanos>,
    stage: Stage,
    stage_since: Nanos,
    /// The hole that is open now was counted.
    hole_counted: bool,
    out: Vec<String>,
}

impl Leg {
    /// Side 0 (the caller) or 1 of a call, on this device.
    pub fn new(side: usize, device: &'static str, plan: Plan, call: &Call) -> Self {
        Self {
            side,
            device,
            plan,
            witness: Witness::new(&call.id, call.users.clone()),
            pending: Vec::new(),
            serial: 0,
            commands: 0,
            signals: 0,
            next_turn: Nanos::MAX,
            offline_since: None,
            unanswered_since: None,
            stage: Stage::Holding,
            stage_since: 0,
            hole_counted: false,
            out: Vec::new(),
        }
    }

    /// Which side it is.
    pub fn side(&self) -> usize {
        self.side
    }

    /// Its device.
    pub fn device(&self) -> &'static str {
        self.device
    }

    /// Begins its turns at `at`.
    pub fn begin(&mut self, at: Nanos) {
        self.next_turn = at;
    }

    /// What is to be sent, in order.
    pub fn take_out(&mut self) -> Vec<String> {
        std::mem::take(&mut self.out)
    }

    /// Nothing more to do.
    pub fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    /// Nothing was answered for so long that the connection is worth nothing.
    pub fn is_deaf(&self, now: Nanos) -> bool {
        self.unanswered_since.is_some_and(|since| now.saturating_sub(since) >= DEAF)
    }

    /// Since when it has no connection.
    pub fn offline_since(&self) -> Option<Nanos> {
        self.offline_since
    }

    /// What it has of the call, for `session:hello`.
    pub fn resume(&self, call_id: &str) -> String {
        format!(r#"[{{"callId":"{call_id}","seq":{},"sig":{}}}]"#, self.witness.seq(), self.witness.sig())
    }

    /// Since when somebody on this side notices something.
    pub fn trouble(&self) -> Option<Nanos> {
        let failed = self.pending.iter().filter(|pending| pending.failed && pending.task.is_noticed());
        failed.map(|pending| pending.begun).chain(self.offline_since).min()
    }

    /// When [`Leg::tick`] is due again, unless a frame comes first. `end` is when the run ends.
    pub fn next_wake(&self, now: Nanos, end: Nanos) -> Nanos {
        let of_stage = match self.stage {
            Stage::Holding => self.next_turn.min(end),
            _ => now + LOOK,
        };
        let of_pending = self.pending.iter().map(|pending| match pending.sent {
            None => pending.retry_at,
            Some(_) if !pending.failed => pending.begun + SLOW,
            Some(sent) => sent + UNANSWERED,
        });
        of_pending.chain([of_stage]).min().unwrap_or(of_stage)
    }

    /// The connection is gone.
    pub fn on_offline(&mut self, cx: &mut Cx<'_>) {
        self.offline_since = Some(cx.now);
        self.out.clear();
        for pending in self.pending.iter_mut().filter(|pending| pending.sent.is_some()) {
            pending.sent = None;
            pending.failed = true;
        }
    }

    /// There is a new connection, and `session:hello` with [`Leg::resume`] was answered. Whoever comes back tries at once whether
    /// commands work: until one does, the interruption goes on.
    pub fn on_online(&mut self, cx: &mut Cx<'_>) {
        let since = self.offline_since.take().unwrap_or(cx.now);
        self.unanswered_since = None;
        self.pending.retain(|pending| pending.task != Task::Attach);
        for pending in &mut self.pending {
            (pending.retry_at, pending.tries) = (cx.now, pending.tries + 1);
        }
        if self.stage == Stage::Holding && !self.pending.iter().any(|pending| matches!(pending.task, Task::Media(_))) {
            self.commands += 1;
            self.begin_task(Task::Media(self.commands), cx.now);
            if let Some(probe) = self.pending.last_mut() {
                (probe.begun, probe.failed) = (since, true);
            }
        }
    }

    fn begin_task(&mut self, task: Task, now: Nanos) {
        self.serial += 1;
        let (serial, code) = (self.serial, "unanswered".to_owned());
        let (begun, retry_at) = (now, now);
        self.pending.push(Pending { task, serial, begun, tries: 0, sent: None, retry_at, failed: false, code });
    }

    fn has(&self, wanted: fn(Task) -> bool) -> bool {
        self.pending.iter().any(|pending| wanted(pending.task))
    }

    /// Does what is due. `over`: the run has ended. Only with a connection.
    pub fn tick(&mut self, over: bool, cx: &mut Cx<'_>) {
        if cx.call.is_lost() {
            if self.stage != Stage::Done {
                // As well as one can: a call that hangs on would make its users busy.
                self.out.push(commands::command("lost", "call:end", &call_data(cx.call)));
                self.stage = Stage::Done;
            }
            return;
        }
        if let Some(reason) = self.witness.end_reason().filter(|_| !cx.call.ending) {
            cx.call.lose(&format!("ended: {reason}"), cx.now, cx.books);
            return;
        }
        self.mend_hole(cx);
        self.step(over, cx);
        self.try_pending(cx);
    }

    /// Asks for what is missing; what stays missing for longer than the patience is a silent hole.
    fn mend_hole(&mut self, cx: &mut Cx<'_>) {
        let Some(since) = self.witness.hole_since() else {
            self.hole_counted = false;
            return;
        };
        if !self.has(|task| task == Task::Sync) {
            self.begin_task(Task::Sync, cx.now);
        }
        if !self.hole_counted && cx.now.saturating_sub(since) >= self.plan.patience {
            self.hole_counted = true;
            let said = format!("{} cannot get what follows seq {}", cx.call.users[self.side], self.witness.seq());
            cx.books.findings.add(Finding::SilentHole, &cx.call.id, &said);
        }
    }

    fn enter(&mut self, stage: Stage, now: Nanos) {
        (self.stage, self.stage_since) = (stage, now);
    }

    fn step(&mut self, over: bool, cx: &mut Cx<'_>) {
        let waited = cx.now.saturating_sub(self.stage_since);
        match self.stage {
            Stage::Holding if over => self.enter(Stage::Settling, cx.now),
            Stage::Holding => self.take_turn(cx),
            Stage::Settling => {
                if !self.has(Task::is_noticed) {
                    cx.call.progress[self.side] = cx.call.progress[self.side].max(Progress::Settled);
                }
                if cx.call.both(Progress::Settled) {
                    self.enter(Stage::Hearing, cx.now);
                }
            }
            Stage::Hearing => {
                let heard = cx.call.is_heard_by(&self.witness);
                if !heard && waited < self.plan.patience {
                    return;
                }
                if !heard && !self.hole_counted {
                    cx.call.note_unheard(self.side, &self.witness, &mut cx.books.findings);
                }
                cx.call.progress[self.side] = Progress::Heard;
                self.enter(Stage::Checking, cx.now);
            }
            Stage::Checking => {
                if cx.call.checked {
                    self.enter(Stage::Ending, cx.now);
                } else if self.side == 0 && cx.call.both(Progress::Heard) && !self.has(|task| task == Task::Get) {
                    self.begin_task(Task::Get, cx.now);
                }
            }
            Stage::Ending => self.end(waited, cx),
            Stage::Lingering if waited >= LINGER => {
                cx.call.check_signals(self.side, &self.witness, cx.books);
                cx.books.late += if self.side == 0 { self.witness.late() } else { 0 };
                cx.books.ended += u64::from(self.side == 0);
                self.enter(Stage::Done, cx.now);
            }
            Stage::Lingering | Stage::Done => {}
        }
    }

    fn take_turn(&mut self, cx: &mut Cx<'_>) {
        if cx.now < self.next_turn {
            return;
        }
        // What is still being tried is not piled up.
        if !self.has(|task| matches!(task, Task::Media(_))) {
            self.commands += 1;
            self.begin_task(Task::Media(self.commands), cx.now);
        }
        if !self.has(|task| matches!(task, Task::Signal(_))) {
            cx.call.signal_sent(self.side, cx.now);
            self.begin_task(Task::Signal(self.signals), cx.now);
            self.signals += 1;
        }
        while self.next_turn <= cx.now {
            self.next_turn += 2 * self.plan.every.max(MILLISECOND);
        }
    }

    fn end(&mut self, waited: Nanos, cx: &mut Cx<'_>) {
        match self.witness.end_reason() {
            Some("completed") => {
                cx.call.progress[self.side] = Progress::Ended;
                if cx.call.both(Progress::Ended) {
                    self.enter(Stage::Lingering, cx.now);
                }
            }
            Some(reason) => cx.call.lose(&format!("ended: {reason}"), cx.now, cx.books),
            None if waited > self.plan.patience => {
                let said = format!("{} was never told of the end", cx.call.users[self.side]);
                cx.books.findings.add(Finding::SilentHole, &cx.call.id, &said);
                cx.call.progress[self.side] = Progress::Ended;
                self.enter(Stage::Lingering, cx.now);
            }
            None if self.side == 0 && !cx.call.ending => {
                cx.call.ending = true;
                self.begin_task(Task::End, cx.now);
            }
            None => {}
        }
        if cx.call.progress[self.side] == Progress::Ended && waited > 2 * self.plan.patience {
            self.enter(Stage::Lingering, cx.now);
        }
    }

    fn try_pending(&mut self, cx: &mut Cx<'_>) {
        let mut pending = std::mem::take(&mut self.pending);
        for pending in &mut pending {
            if cx.now.saturating_sub(pending.begun) >= self.plan.patience && pending.task != Task::Sync {
                let said = format!("{:?} not done within the patience: {}", pending.task, pending.code);
                cx.call.lose(&said, cx.now, cx.books);
                break;
            }
            if let Some(sent) = pending.sent {
                pending.failed |= cx.now.saturating_sub(pending.begun) >= SLOW;
                if cx.now.saturating_sub(sent) < UNANSWERED {
                    continue;
                }
                self.unanswered_since.get_or_insert(sent);
                cx.books.phases.failed_try("unanswered", sent);
                (pending.sent, pending.retry_at, pending.failed) = (None, cx.now, true);
                pending.tries += 1;
            }
            if pending.retry_at <= cx.now {
                pending.sent = Some(cx.now);
                self.out.push(self.render(pending, cx));
            }
        }
        self.pending = pending;
    }

    fn render(&self, pending: &Pending, cx: &Cx<'_>) -> String {
        let id = format!("{}.{}", pending.serial, pending.tries);
        let call = &cx.call.id;
        let (event, data) = match pending.task {
            Task::Media(number) => ("call:media", format!(r#"{{"callId":"{call}",{}}}"#, Flags::of(number).fields())),
            Task::Signal(number) => {
                // An offer and an answer make the call active; whatever comes later is a candidate.
                let kind = match (number, self.side) {
                    (0, 0) => "offer",
                    (0, _) => "answer",
                    _ => "ice_candidate",
                };
                let mark = Mark { call: cx.call.index as u64, number, at: pending.begun };
                return commands::signal(Some(&id), call, kind, mark, self.plan.signal_bytes);
            }
            Task::Attach => {
                let device = commands::quoted(self.device);
                ("session:hello", format!(r#"{{"deviceId":{device},"resume":{}}}"#, self.resume(call)))
            }
            Task::Sync => {
                let (seq, sig) = (self.witness.seq(), self.witness.sig());
                ("call:sync", format!(r#"{{"callId":"{call}","seq":{seq},"sig":{sig}}}"#))
            }
            Task::Get => ("call:get", call_data(cx.call)),
            Task::End => ("call:end", call_data(cx.call)),
        };
        commands::command(&id, event, &data)
    }

    /// A frame came.
    pub fn on_frame(&mut self, text: &str, cx: &mut Cx<'_>) {
        match frame::parse(text) {
            Heard::Reply { id, refusal, data } => {
                self.unanswered_since = None;
                let Some((serial, tries)) = parse_id(&id) else { return };
                let Some(at) = self.pending.iter().position(|pending| pending.serial == serial) else { return };
                match refusal {
                    None => {
                        let done = self.pending.swap_remove(at);
                        self.on_done(done, data, cx);
                    }
                    // An earlier try: the newest one counts.
                    Some(_) if self.pending[at].tries != tries => {}
                    Some(code) => self.on_refused(at, code, cx),
                }
            }
            Heard::State(event) => self.witness.on_state(&event, cx.call.acked, cx.now, &mut cx.books.findings),
            Heard::Signal { call_id, epoch, sig, mark } if call_id == cx.call.id => {
                self.witness.on_signal(epoch, sig, mark.number);
            }
            Heard::Renegotiate { call_id, epoch } if call_id == cx.call.id => {
                self.witness.on_renegotiate(epoch, cx.now);
            }
            Heard::Fault { code, call_id } if call_id == cx.call.id => {
                cx.books.phases.failed_try(&format!("resume_{code}"), cx.now);
                if code == "not_found" {
                    cx.call.lose("not_found on coming back", cx.now, cx.books);
                } else if !self.has(|task| task == Task::Attach) {
                    self.begin_task(Task::Attach, cx.now);
                    if let Some(attach) = self.pending.last_mut() {
                        attach.retry_at = cx.now + wait(0, cx.random);
                    }
                }
            }
            Heard::Malformed => cx.books.phases.failed_try("malformed", cx.now),
            _ => {}
        }
    }

    fn on_done(&mut self, done: Pending, data: Option<&serde_json::value::RawValue>, cx: &mut Cx<'_>) {
        match done.task {
            Task::Media(number) => {
                cx.call.acked[self.side] = cx.call.acked[self.side].max(number);
                cx.books.phases.command(done.begun, cx.now);
            }
            Task::Signal(number) => cx.call.signal_acked(self.side, number),
            Task::Sync => {
                for event in data.map(frame::synced).unwrap_or_default() {
                    self.on_frame(event.get(), cx);
                }
                if self.witness.hole_since().is_some() {
                    self.begin_task(Task::Sync, cx.now);
                    if let Some(again) = self.pending.last_mut() {
                        again.retry_at = cx.now + wait(2, cx.random);
                    }
                }
            }
            Task::Get => {
                let view = frame::call_in(data).unwrap_or_default();
                cx.call.check(&view, &self.witness, &mut cx.books.findings);
            }
            Task::Attach | Task::End => {}
        }
    }

    fn on_refused(&mut self, at: usize, code: String, cx: &mut Cx<'_>) {
        cx.books.phases.failed_try(&code, cx.now);
        let pending = &mut self.pending[at];
        match (code.as_str(), pending.task) {
            ("already_ended", Task::End) => {
                self.pending.swap_remove(at);
                return;
            }
            ("not_found" | "already_ended", _) => {
                let said = format!("{:?}: {code}", pending.task);
                cx.call.lose(&said, cx.now, cx.books);
            }
            _ => {}
        }
        pending.failed = true;
        pending.sent = None;
        pending.retry_at = cx.now + wait(pending.tries, cx.random);
        pending.tries += 1;
        pending.code = code;
    }
}

/// The command and the try that a reply is about; `None` if it is none of this side's.
fn parse_id(id: &str) -> Option<(u64, u32)> {
    let (serial, tries) = id.split_once('.')?;
    Some((serial.parse().ok()?, tries.parse().ok()?))
}

fn wait(tries: u32, random: f64) -> Nanos {
    let longest = RETRY_BASE.saturating_mul(1 << tries.min(16)).min(RETRY_MAX);
    (longest as f64 * (0.5 + random / 2.0)) as Nanos
}

fn call_data(call: &Call) -> String {
    format!(r#"{{"callId":"{}"}}"#, call.id)
}

#[cfg(test)]
mod tests;
