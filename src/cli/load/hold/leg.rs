//! One side of a held call: its commands in turn, their repetition until they succeed, and the end.
//!
//! Pure: frames and times go in, frames come out. It never touches a socket or a clock. It survives any number of connections: what
//! was under way when one broke is tried again on the next.

use super::{
    super::pacing::Nanos,
    Cx, Plan,
    call::{Call, Progress},
    findings::Finding,
    frame::{self, Heard},
    pending::{self, Pending, Task, UNANSWERED},
    witness::Witness,
};

const MILLISECOND: Nanos = 1_000_000;

/// When nothing was answered for so long the connection is given up. It must be over before the grace of the nodes is (15 s).
const DEAF: Nanos = 3 * UNANSWERED;

/// How often a side looks whether the other has come as far.
const LOOK: Nanos = 100 * MILLISECOND;

/// How long to listen after the end for what must not come.
const LINGER: Nanos = 500 * MILLISECOND;

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
    pub(super) plan: Plan,
    pub(super) witness: Witness,
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
        self.pending.iter().map(Pending::next_wake).chain([of_stage]).min().unwrap_or(of_stage)
    }

    /// The connection is gone.
    pub fn on_offline(&mut self, cx: &mut Cx<'_>) {
        self.offline_since = Some(cx.now);
        self.out.clear();
        self.pending.iter_mut().for_each(Pending::on_cut_off);
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
        self.pending.push(Pending::new(task, self.serial, now));
    }

    fn has(&self, wanted: fn(Task) -> bool) -> bool {
        self.pending.iter().any(|pending| wanted(pending.task))
    }

    /// Does what is due. `over`: the run has ended. Only with a connection.
    pub fn tick(&mut self, over: bool, cx: &mut Cx<'_>) {
        if cx.call.is_lost() {
            if self.stage != Stage::Done {
                self.out.push(pending::give_up(cx.call));
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
        let mut all = std::mem::take(&mut self.pending);
        for pending in &mut all {
            if cx.now.saturating_sub(pending.begun) >= self.plan.patience && pending.task != Task::Sync {
                let said = format!("{:?} not done within the patience: {}", pending.task, pending.code);
                cx.call.lose(&said, cx.now, cx.books);
                break;
            }
            if let Some(sent) = pending.unanswered(cx.now) {
                self.unanswered_since.get_or_insert(sent);
                cx.books.phases.failed_try("unanswered", sent);
            }
            if pending.is_due(cx.now) {
                pending.sent = Some(cx.now);
                self.out.push(pending.frame(self, cx));
            }
        }
        self.pending = all;
    }

    /// A frame came.
    pub fn on_frame(&mut self, text: &str, cx: &mut Cx<'_>) {
        match frame::parse(text) {
            Heard::Reply { id, refusal, data } => {
                self.unanswered_since = None;
                let Some((serial, tries)) = pending::parse_id(&id) else { return };
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
                        attach.retry_at = cx.now + pending::wait(0, cx.random);
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
                        again.retry_at = cx.now + pending::wait(2, cx.random);
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
        pending.on_refused(code, cx.now, cx.random);
    }
}

#[cfg(test)]
mod tests;
