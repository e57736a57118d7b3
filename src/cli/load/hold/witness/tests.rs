//! Histories made up to show that the auditor sees what went wrong, and nothing where nothing did.

use super::{super::frame::CallView, *};

struct Play {
    witness: Witness,
    findings: Findings,
    acked: [u64; 2],
    seq: u64,
}

impl Play {
    fn new() -> Self {
        let witness = Witness::new("c", ["a".into(), "b".into()]);
        Play { witness, findings: Findings::default(), acked: [0; 2], seq: 0 }
    }

    fn hear(&mut self, seq: u64, prev: u64, what: What) {
        let event = StateEvent { call_id: "c".into(), seq, prev, what };
        self.witness.on_state(&event, self.acked, 1_000 + seq, &mut self.findings);
    }

    fn next(&mut self, what: What) {
        self.seq += 1;
        self.hear(self.seq, self.seq - 1, what);
    }

    fn newest(&self) -> [u64; 2] {
        self.witness.echoes().map(|echo| echo.newest)
    }
}

fn flags(user: &str, number: u64) -> What {
    What::Flags { user: user.into(), flags: Flags::of(number) }
}

fn snapshot(a: u64, b: u64) -> What {
    let person = |user: &str, number| format!(r#"{{"userId":"{user}",{}}}"#, Flags::of(number).fields());
    let text = format!(r#"{{"callId":"c","participants":[{},{}]}}"#, person("a", a), person("b", b));
    What::Snapshot(serde_json::from_str::<CallView>(&text).unwrap())
}

#[test]
fn a_whole_history_has_no_findings() {
    let mut play = Play::new();
    play.next(What::Incoming);
    for number in 1..=30 {
        play.next(flags("a", number));
        play.next(flags("b", number));
    }
    play.next(What::Ended { reason: "completed".into() });
    assert!(play.findings.is_clean(), "{:?}", play.findings);
    assert_eq!(play.newest(), [30, 30]);
    assert_eq!(play.witness.end_reason(), Some("completed"));
}

#[test]
fn events_that_come_twice_do_no_harm() {
    let mut play = Play::new();
    for number in 1..=3 {
        play.next(flags("a", number));
    }
    play.hear(2, 1, flags("a", 2));
    play.hear(3, 2, flags("a", 3));
    assert!(play.findings.is_clean() && play.newest() == [3, 0]);
}

#[test]
fn an_acknowledged_command_that_the_history_leaves_out_is_lost() {
    let mut play = Play::new();
    play.next(flags("a", 1));
    play.next(flags("a", 3));
    assert_eq!(play.findings.count(Finding::AcknowledgedLost), 1);
    assert!(play.findings.told()[0].contains("2..3"), "{:?}", play.findings.told());
}

#[test]
fn a_late_repetition_of_an_older_command_is_no_loss() {
    let mut play = Play::new();
    for number in [1, 2, 3, 2, 4] {
        play.next(flags("a", number));
    }
    assert!(play.findings.is_clean(), "{:?}", play.findings);
    assert_eq!((play.witness.late(), play.newest()), (1, [4, 0]));
}

#[test]
fn a_hole_is_open_until_what_is_missing_has_come() {
    let mut play = Play::new();
    play.next(flags("a", 1));
    play.hear(3, 2, flags("a", 3));
    assert!(play.witness.hole_since().is_some() && play.newest() == [1, 0]);
    play.hear(2, 1, flags("a", 2));
    assert!(play.witness.hole_since().is_some(), "the event that showed the hole is needed once more");
    play.hear(3, 2, flags("a", 3));
    assert!(play.witness.hole_since().is_none() && play.newest() == [3, 0] && play.findings.is_clean());
}

#[test]
fn numbers_that_were_not_for_this_user_are_no_hole() {
    let mut play = Play::new();
    play.hear(2, 0, flags("a", 1));
    play.hear(7, 2, flags("a", 2));
    assert!(play.witness.hole_since().is_none() && play.witness.seq() == 7);
}

#[test]
fn a_snapshot_stands_for_what_was_missed() {
    let mut play = Play::new();
    play.next(flags("a", 1));
    play.acked = [40, 39];
    play.hear(90, 0, snapshot(41, 39));
    assert_eq!((play.newest(), play.witness.seq()), ([41, 39], 90));
    play.hear(91, 90, flags("b", 40));
    assert!(play.findings.is_clean() && play.newest() == [41, 40]);
}

#[test]
fn one_number_with_two_meanings_is_a_fork() {
    let mut play = Play::new();
    play.next(flags("a", 1));
    play.hear(1, 0, flags("b", 1));
    assert_eq!(play.findings.count(Finding::Forked), 1);
}

#[test]
fn nothing_may_come_after_the_end() {
    let mut play = Play::new();
    play.next(What::Ended { reason: "completed".into() });
    play.hear(1, 0, What::Ended { reason: "completed".into() });
    assert!(play.findings.is_clean(), "the same end again");
    play.next(What::Ended { reason: "completed".into() });
    assert_eq!(play.findings.count(Finding::AfterTheEnd), 1);
}

#[test]
fn events_of_other_calls_are_none_of_its_business() {
    let mut play = Play::new();
    let event = StateEvent { call_id: "other".into(), seq: 9, prev: 8, what: What::Other };
    play.witness.on_state(&event, [0; 2], 0, &mut play.findings);
    assert_eq!((play.witness.seq(), play.witness.hole_since()), (0, None));
}

#[test]
fn signals_are_missed_by_their_numbers_and_excused_by_a_warning_after_they_were_sent() {
    let mut play = Play::new();
    for (sig, number) in [(1, 0), (2, 1), (3, 3)] {
        play.witness.on_signal(1, sig, number);
    }
    assert!(play.witness.has_signal(1) && !play.witness.has_signal(2) && play.witness.has_signal(3));
    assert!(!play.witness.was_warned(500));
    play.witness.on_renegotiate(2, 600);
    assert!(play.witness.was_warned(500) && !play.witness.was_warned(601));
    assert_eq!(play.witness.sig(), 0, "a new epoch counts from 1");
    play.witness.on_signal(1, 9, 2);
    assert!(play.witness.has_signal(2) && play.witness.sig() == 0, "an older epoch does not turn it back");
}

#[test]
fn flags_stand_for_the_nearest_command() {
    for near in [0_u64, 1, 7, 8, 100] {
        for number in near.saturating_sub(4)..near + 4 {
            assert_eq!(nearest(Flags::of(number), near), number, "near {near}");
        }
    }
}
