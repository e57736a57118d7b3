//! One side against a made-up cluster: it tries again, comes back, and sees what is lost.

use super::{
    super::{call::Books, frame::Flags, phases::Phases},
    *,
};

const SECOND: Nanos = 1_000 * MILLISECOND;
const PLAN: Plan = Plan { every: SECOND / 2, patience: 30 * SECOND, signal_bytes: 64 };

struct Play {
    call: Call,
    books: Books,
    leg: Leg,
    now: Nanos,
    over: bool,
}

impl Play {
    fn new() -> Self {
        let call = Call::new(0, "c".into(), ["a".into(), "b".into()]);
        let mut leg = Leg::new(0, "load", PLAN, &call);
        leg.begin(SECOND);
        Play { leg, call, books: Books::new(Phases::begin(0, String::new())), now: SECOND, over: false }
    }

    fn with<R>(&mut self, work: impl FnOnce(&mut Leg, &mut Cx<'_>) -> R) -> R {
        let mut cx = Cx { now: self.now, random: 1.0, call: &mut self.call, books: &mut self.books };
        work(&mut self.leg, &mut cx)
    }

    /// Ticks, and gives what was sent as (id, event).
    fn tick(&mut self) -> Vec<(String, String)> {
        let over = self.over;
        self.with(|leg, cx| {
            leg.tick(over, cx);
            cx.call.note_trouble(0, leg.trouble(), cx.now, &mut cx.books.phases);
        });
        let parse = |text: String| -> serde_json::Value { serde_json::from_str(&text).unwrap() };
        let name = |json: serde_json::Value| {
            (json["id"].as_str().unwrap_or("").to_owned(), json["event"].as_str().unwrap().to_owned())
        };
        self.leg.take_out().into_iter().map(|text| name(parse(text))).collect()
    }

    /// Ticks until this is sent; its id.
    fn until(&mut self, event: &str) -> String {
        for _ in 0..20 {
            if let Some((id, _)) = self.tick().into_iter().find(|(_, name)| name == event) {
                return id;
            }
            self.now += PLAN.patience / 4;
        }
        panic!("{event} was not sent");
    }

    fn hear(&mut self, text: &str) {
        self.with(|leg, cx| leg.on_frame(text, cx));
    }

    fn ok(&mut self, id: &str) {
        self.hear(&format!(r#"{{"reply":"{id}","ok":true,"data":{{}}}}"#));
    }

    fn refuse(&mut self, id: &str, code: &str) {
        self.hear(&format!(r#"{{"reply":"{id}","ok":false,"error":{{"code":"{code}","retryable":true}}}}"#));
    }

    fn event(&mut self, name: &str, seq: u64, more: &str) {
        let prev = seq - 1;
        self.hear(&format!(r#"{{"event":"{name}","data":{{"callId":"c","seq":{seq},"prev":{prev}{more}}}}}"#));
    }

    fn found(&self, finding: Finding) -> u64 {
        self.books.findings.count(finding)
    }

    fn interruption(&self) -> f64 {
        self.books.phases.report(self.now)[0].interruption_ms.map_or(0.0, |latency| latency.max)
    }
}

fn named(sent: &[(String, String)], event: &str) -> String {
    sent.iter().find(|(_, name)| name == event).unwrap_or_else(|| panic!("no {event} in {sent:?}")).0.clone()
}

#[test]
fn a_turn_is_a_command_and_a_signal() {
    let mut play = Play::new();
    let sent = play.tick();
    assert_eq!(sent, [("1.0".into(), "call:media".into()), ("2.0".into(), "call:signal".into())]);
    assert!(play.tick().is_empty());
    play.ok("1.0");
    play.ok("2.0");
    assert_eq!(play.call.acked, [1, 0]);
    play.now = 2 * SECOND;
    assert_eq!(play.tick().len(), 2);
    assert_eq!(play.interruption(), 0.0);
}

#[test]
fn a_refused_command_is_tried_until_it_succeeds_and_the_gap_counts() {
    let mut play = Play::new();
    play.tick();
    play.ok("2.0");
    play.refuse("1.0", "unavailable");
    play.now += SECOND / 10;
    assert!(play.tick().is_empty(), "not at once");
    play.now += 2 * SECOND;
    assert_eq!(named(&play.tick(), "call:media"), "1.1");
    play.refuse("1.0", "unavailable");
    play.ok("1.1");
    play.tick();
    assert!((2_090.0..2_110.0).contains(&play.interruption()), "{}", play.interruption());
    assert_eq!(play.call.acked, [1, 0]);
}

#[test]
fn a_slow_answer_is_an_interruption_and_none_at_all_gives_the_connection_up() {
    let mut play = Play::new();
    play.tick();
    play.ok("2.0");
    play.now += SECOND + MILLISECOND;
    play.tick();
    assert!(play.leg.trouble().is_some());
    for tries in 1..=3 {
        assert!(!play.leg.is_deaf(play.now));
        play.now += UNANSWERED;
        assert_eq!(named(&play.tick(), "call:media"), format!("1.{tries}"));
    }
    assert!(play.leg.is_deaf(play.now));
}

#[test]
fn who_lost_the_connection_comes_back_with_what_it_has_and_tries_at_once() {
    let mut play = Play::new();
    play.event("call:state", 1, "");
    play.tick();
    play.ok("1.0");
    play.ok("2.0");
    play.with(|leg, cx| leg.on_offline(cx));
    play.now += 2 * SECOND;
    assert_eq!(play.leg.resume("c"), r#"[{"callId":"c","seq":1,"sig":0}]"#);
    play.with(|leg, cx| leg.on_online(cx));
    let sent = play.tick();
    assert!(play.leg.trouble().is_some(), "until a command succeeds");
    play.ok(&named(&sent, "call:media"));
    play.tick();
    assert!((1_990.0..2_010.0).contains(&play.interruption()), "{}", play.interruption());
}

#[test]
fn what_was_under_way_when_the_connection_broke_is_tried_on_the_next() {
    let mut play = Play::new();
    play.tick();
    play.with(|leg, cx| leg.on_offline(cx));
    play.with(|leg, cx| leg.on_online(cx));
    let sent = play.tick();
    assert_eq!((named(&sent, "call:media"), named(&sent, "call:signal")), ("1.1".into(), "2.1".into()));
}

#[test]
fn a_hole_is_asked_for_and_one_that_stays_is_silent() {
    let mut play = Play::new();
    play.event("call:state", 3, "");
    let id = named(&play.tick(), "call:sync");
    play.hear(&format!(
        r#"{{"reply":"{id}","ok":true,"data":{{"events":[{{"event":"call:state","data":{{"callId":"c","seq":3,"prev":0}}}}]}}}}"#
    ));
    assert_eq!(play.leg.witness.hole_since(), None);
    play.event("call:state", 5, "");
    play.tick();
    play.now += PLAN.patience;
    play.tick();
    play.tick();
    assert_eq!(play.found(Finding::SilentHole), 1);
}

#[test]
fn a_call_that_ends_by_itself_or_is_not_found_is_lost() {
    let mut play = Play::new();
    play.event("call:ended", 1, r#","reason":"node_lost""#);
    play.tick();
    assert_eq!(play.found(Finding::CallLost), 1);
    assert!(play.books.findings.told()[0].contains("node_lost"));
    let mut play = Play::new();
    play.tick();
    play.refuse("1.0", "not_found");
    assert_eq!(play.found(Finding::CallLost), 1);
    assert_eq!(named(&play.tick(), "call:end"), "lost", "as well as one can");
    assert!(play.leg.is_done());
}

#[test]
fn a_command_that_never_succeeds_is_lost_when_the_patience_is_over() {
    let mut play = Play::new();
    play.tick();
    for tries in 0.. {
        play.refuse(&format!("1.{tries}"), "unavailable");
        play.ok("2.0");
        play.now += 2 * SECOND;
        play.tick();
        if play.call.is_lost() {
            break;
        }
        assert!(tries < 20);
    }
    assert!(play.books.findings.told()[0].contains("unavailable"), "{:?}", play.books.findings);
}

#[test]
fn a_resume_that_is_refused_for_now_is_asked_again() {
    let mut play = Play::new();
    play.hear(
        r#"{"event":"error","data":{"event":"session:hello","error":{"code":"unavailable","details":{"callId":"c"}}}}"#,
    );
    play.now += SECOND;
    assert!(!named(&play.tick(), "session:hello").is_empty());
    play.hear(
        r#"{"event":"error","data":{"event":"session:hello","error":{"code":"not_found","details":{"callId":"c"}}}}"#,
    );
    assert_eq!(play.found(Finding::CallLost), 1);
}

/// Plays the end with the other side already there; the call object shows `shown` of side 0's commands.
fn play_end(shown: u64, echoed: u64, ends: usize) -> Play {
    let mut play = Play::new();
    play.tick();
    play.ok("1.0");
    play.ok("2.0");
    if echoed > 0 {
        play.event("call:participant_updated", 1, &format!(r#","userId":"a","changes":{{{}}}"#, Flags::of(1).fields()));
    }
    play.over = true;
    play.call.progress[1] = Progress::Ended;
    let id = play.until("call:get");
    let (a, b) = (Flags::of(shown).fields(), Flags::of(0).fields());
    let call = format!(r#"{{"callId":"c","participants":[{{"userId":"a",{a}}},{{"userId":"b",{b}}}]}}"#);
    play.hear(&format!(r#"{{"reply":"{id}","ok":true,"data":{{"call":{call}}}}}"#));
    let id = play.until("call:end");
    play.ok(&id);
    for end in 0..ends as u64 {
        play.event("call:ended", 2 + end - (1 - echoed), r#","reason":"completed""#);
    }
    for _ in 0..3 {
        play.now += LINGER;
        play.tick();
    }
    play
}

#[test]
fn a_run_in_which_all_went_well_ends_without_findings() {
    let play = play_end(1, 1, 1);
    assert!(play.leg.is_done() && play.books.findings.is_clean(), "{:?}", play.books.findings);
    assert_eq!(play.books.ended, 1);
}

#[test]
fn the_end_shows_what_is_lost_what_was_not_told_and_what_came_twice() {
    assert_eq!(play_end(0, 0, 1).found(Finding::AcknowledgedLost), 1);
    assert_eq!(play_end(1, 0, 1).found(Finding::SilentHole), 1);
    assert_eq!(play_end(1, 1, 2).found(Finding::AfterTheEnd), 1);
}
