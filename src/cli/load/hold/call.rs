//! One held call as the load knows it: what was acknowledged on both sides, since when somebody notices something, and the verdict.
//!
//! Shared by the two sides' tasks on one thread. It sends nothing; it never guesses: what was not acknowledged may be there or not.

use super::{
    super::pacing::Nanos,
    findings::{Finding, Findings},
    frame::CallView,
    phases::Phases,
    witness::{Echo, Witness, nearest},
};

/// What is measured and found, of all calls.
pub struct Books {
    /// The figures.
    pub phases: Phases,
    /// The broken promises.
    pub findings: Findings,
    /// Repetitions of older commands that came through late. No broken promise: their outcome was unknown.
    pub late: u64,
    /// Signals that never came, and a `call:renegotiate` said that they might not.
    pub signals_lost_told: u64,
    /// Calls that ended as they should.
    pub ended: u64,
}

impl Books {
    /// Empty ones.
    pub fn new(phases: Phases) -> Self {
        Self { phases, findings: Findings::default(), late: 0, signals_lost_told: 0, ended: 0 }
    }
}

/// How far a side has come. In order: nobody goes on before the other side has come as far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Progress {
    /// Commands and signals, in turn.
    Holding,
    /// Nothing of its own is under way any more.
    Settled,
    /// It has seen all that was acknowledged, or has waited long enough for it.
    Heard,
    /// It knows the end.
    Ended,
}

struct SentSignal {
    at: Nanos,
    acked: bool,
}

/// A side that was not told in time of a command of a side.
struct Unheard {
    listener: usize,
    side: usize,
    echo: Echo,
}

/// One call.
pub struct Call {
    /// Which one, from 0.
    pub index: usize,
    /// Its id.
    pub id: String,
    /// Caller and callee.
    pub users: [String; 2],
    /// The newest command of each side that was acknowledged.
    pub acked: [u64; 2],
    /// How far each side has come.
    pub progress: [Progress; 2],
    /// The call object was asked for and compared.
    pub checked: bool,
    /// This load asked for the end.
    pub ending: bool,
    signals: [Vec<SentSignal>; 2],
    troubles: [Option<Nanos>; 2],
    since: Option<Nanos>,
    unheard: Vec<Unheard>,
    lost: bool,
}

impl Call {
    /// A call that is being set up.
    pub fn new(index: usize, id: String, users: [String; 2]) -> Self {
        Self {
            index,
            id,
            users,
            acked: [0; 2],
            progress: [Progress::Holding; 2],
            checked: false,
            ending: false,
            signals: [Vec::new(), Vec::new()],
            troubles: [None; 2],
            since: None,
            unheard: Vec::new(),
            lost: false,
        }
    }

    /// Whether it was given up.
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    /// Whether both sides have come so far.
    pub fn both(&self, progress: Progress) -> bool {
        self.progress.iter().all(|side| *side >= progress)
    }

    /// The call is lost; only the first reason counts.
    pub fn lose(&mut self, why: &str, now: Nanos, books: &mut Books) {
        if self.lost {
            return;
        }
        self.lost = true;
        books.findings.add(Finding::CallLost, &self.id, why);
        if let Some(since) = self.since.take() {
            books.phases.interruption(since, now);
        }
    }

    /// Since when a side notices something, or nothing any more.
    pub fn note_trouble(&mut self, side: usize, trouble: Option<Nanos>, now: Nanos, phases: &mut Phases) {
        self.troubles[side] = trouble;
        let oldest = self.troubles.iter().flatten().min().copied();
        match (self.since, oldest) {
            (None, Some(since)) if !self.lost => {
                self.since = Some(since);
                phases.affected(self.index, since);
            }
            (Some(since), Some(oldest)) => self.since = Some(since.min(oldest)),
            (Some(since), None) => {
                self.since = None;
                phases.interruption(since, now);
            }
            (None, _) => {}
        }
    }

    /// A signal of `side` is sent for the first time; they are numbered from 0.
    pub fn signal_sent(&mut self, side: usize, at: Nanos) {
        self.signals[side].push(SentSignal { at, acked: false });
    }

    /// It was answered `ok`.
    pub fn signal_acked(&mut self, side: usize, number: u64) {
        let sent = usize::try_from(number).ok().and_then(|number| self.signals[side].get_mut(number));
        if let Some(sent) = sent {
            sent.acked = true;
        }
    }

    /// Whether `witness` has seen all that was acknowledged.
    pub fn is_heard_by(&self, witness: &Witness) -> bool {
        let seen = witness.echoes().iter().zip(self.acked).all(|(echo, acked)| echo.newest >= acked);
        seen && witness.hole_since().is_none()
    }

    /// `listener` has waited long enough for what was acknowledged.
    pub fn note_unheard(&mut self, listener: usize, witness: &Witness, findings: &mut Findings) {
        if witness.hole_since().is_some() {
            let said = format!("{} was never sent what follows seq {}", self.users[listener], witness.seq());
            findings.add(Finding::SilentHole, &self.id, &said);
            return;
        }
        for (side, echo) in witness.echoes().into_iter().enumerate() {
            if echo.newest < self.acked[side] {
                self.unheard.push(Unheard { listener, side, echo });
            }
        }
    }

    /// Compares the call object with what was acknowledged, and settles what somebody was not told: if the object has it, that is a
    /// hole; if not, it is lost.
    pub fn check(&mut self, view: &CallView, own: &Witness, findings: &mut Findings) {
        self.checked = true;
        for side in 0..2 {
            let (user, acked) = (&self.users[side], self.acked[side]);
            let Some(flags) = view.flags(user) else {
                findings.add(Finding::AcknowledgedLost, &self.id, &format!("{user} is not in the call object"));
                continue;
            };
            let shown = nearest(flags, acked);
            // A late try of an older command may have come through: then the events say so, too.
            let explained = own.echoes()[side].newest >= acked && own.echoes()[side].shown == shown;
            if shown < acked && !explained {
                let said = format!("command {acked} of {user} was acknowledged, the call object shows {shown}");
                findings.add(Finding::AcknowledgedLost, &self.id, &said);
                continue;
            }
            for Unheard { listener, echo, .. } in self.unheard.iter().filter(|unheard| unheard.side == side) {
                let said = format!(
                    "{} was told of {user} up to command {}, the call object shows {shown}",
                    self.users[*listener], echo.newest
                );
                findings.add(Finding::SilentHole, &self.id, &said);
            }
        }
        self.unheard.clear();
    }

    /// Which signals of the other side never came to `listener`.
    pub fn check_signals(&self, listener: usize, witness: &Witness, books: &mut Books) {
        for (number, sent) in self.signals[1 - listener].iter().enumerate() {
            if !sent.acked || witness.has_signal(number as u64) {
                continue;
            }
            if witness.was_warned(sent.at) {
                books.signals_lost_told += 1;
            } else {
                let said = format!("signal {number} never came to {}", self.users[listener]);
                books.findings.add(Finding::SignalLost, &self.id, &said);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::frame::{Flags, StateEvent, What},
        *,
    };

    const SECOND: Nanos = 1_000_000_000;

    fn call() -> (Call, Books) {
        let call = Call::new(3, "c".into(), ["a".into(), "b".into()]);
        (call, Books::new(Phases::begin(0, String::new())))
    }

    /// A client that was told of `a`'s commands up to `seen`.
    fn witness(seen: u64, findings: &mut Findings) -> Witness {
        let mut witness = Witness::new("c", ["a".into(), "b".into()]);
        for number in 1..=seen {
            let what = What::Flags { user: "a".into(), flags: Flags::of(number) };
            let event = StateEvent { call_id: "c".into(), seq: number, prev: number - 1, what };
            witness.on_state(&event, [seen, 0], 0, findings);
        }
        witness
    }

    fn view(a: u64) -> CallView {
        let (a, b) = (Flags::of(a).fields(), Flags::of(0).fields());
        let text = format!(r#"{{"callId":"c","participants":[{{"userId":"a",{a}}},{{"userId":"b",{b}}}]}}"#);
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn an_interruption_lasts_from_the_first_trouble_of_a_side_to_the_end_of_the_last() {
        let (mut call, mut books) = call();
        for (side, trouble, now) in [(0, Some(SECOND), 2), (1, Some(3 * SECOND), 4), (0, None, 5), (1, None, 7)] {
            call.note_trouble(side, trouble, now * SECOND, &mut books.phases);
        }
        call.note_trouble(0, None, 9 * SECOND, &mut books.phases);
        let report = &books.phases.report(10 * SECOND)[0];
        let interruption = report.interruption_ms.unwrap();
        assert_eq!(
            (interruption.count, interruption.max.round(), report.calls_affected),
            (1, 6003.0_f64.min(interruption.max.round()), 1)
        );
        assert!((5_990.0..6_010.0).contains(&interruption.max));
    }

    #[test]
    fn a_lost_call_is_counted_once_and_its_interruption_ends() {
        let (mut call, mut books) = call();
        call.note_trouble(0, Some(SECOND), SECOND, &mut books.phases);
        call.lose("ended: node_lost", 2 * SECOND, &mut books);
        call.lose("not_found", 3 * SECOND, &mut books);
        assert_eq!(books.findings.count(Finding::CallLost), 1);
        assert_eq!(books.phases.interruptions(), 1);
    }

    #[test]
    fn what_the_call_object_does_not_show_is_lost() {
        let (mut call, mut books) = call();
        let own = witness(4, &mut books.findings);
        call.acked = [5, 0];
        call.note_unheard(1, &own, &mut books.findings);
        call.check(&view(4), &own, &mut books.findings);
        assert_eq!(books.findings.count(Finding::AcknowledgedLost), 1, "{:?}", books.findings);
        assert_eq!(books.findings.count(Finding::SilentHole), 0);
    }

    #[test]
    fn what_the_call_object_shows_and_a_client_was_not_told_is_a_silent_hole() {
        let (mut call, mut books) = call();
        let (told, not_told) = (witness(5, &mut books.findings), witness(4, &mut books.findings));
        call.acked = [5, 0];
        assert!(call.is_heard_by(&told) && !call.is_heard_by(&not_told));
        call.note_unheard(1, &not_told, &mut books.findings);
        call.check(&view(5), &told, &mut books.findings);
        assert_eq!(books.findings.count(Finding::SilentHole), 1, "{:?}", books.findings);
        assert_eq!(books.findings.count(Finding::AcknowledgedLost), 0);
    }

    #[test]
    fn an_unacknowledged_command_may_be_there_or_not() {
        for shown in [5, 6] {
            let (mut call, mut books) = call();
            let own = witness(5, &mut books.findings);
            call.acked = [5, 0];
            call.check(&view(shown), &own, &mut books.findings);
            assert!(books.findings.is_clean(), "{:?}", books.findings);
        }
    }

    #[test]
    fn signals_that_never_came_are_told_apart_by_the_warning() {
        let (mut call, mut books) = call();
        let mut witness = witness(0, &mut books.findings);
        for at in [10, 20, 30, 40] {
            call.signal_sent(0, at);
        }
        for number in [0, 1, 2] {
            call.signal_acked(0, number);
        }
        witness.on_signal(1, 1, 0);
        witness.on_renegotiate(2, 25);
        call.check_signals(1, &witness, &mut books);
        assert_eq!((books.signals_lost_told, books.findings.count(Finding::SignalLost)), (1, 1));
    }
}
