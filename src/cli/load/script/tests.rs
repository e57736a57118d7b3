//! The script played against a relay that answers at once, and against what can go wrong.

use super::*;

const PLAN: CallPlan = CallPlan { signals: 18, signal_bytes: 300, patience: 5_000 };

struct Play {
    script: CallScript,
    out: Output,
    now: Nanos,
}

impl Play {
    fn start(plan: CallPlan) -> Self {
        let mut play = Play { script: CallScript::new(plan, "c".into(), 4), out: Output::default(), now: 1_000 };
        play.script.start("bo\"b", 900, 1_000, &mut play.out);
        play
    }

    fn sent(&mut self) -> Vec<(Side, serde_json::Value)> {
        self.out.frames.drain(..).map(|(side, text)| (side, serde_json::from_str(&text).unwrap())).collect()
    }

    fn on(&mut self, side: Side, frame: Frame) -> Result<(), Failure> {
        self.now += 10;
        self.script.on_frame(side, frame, self.now, &mut self.out)
    }

    fn reply(&mut self, id: &str) {
        self.on(Side::Caller, Frame::Reply { id: id.into(), refusal: None }).unwrap();
    }

    /// Sends everything to where it belongs, as a server that relays would.
    fn relay(&mut self) {
        loop {
            let sent = self.sent();
            if sent.is_empty() {
                return;
            }
            for (side, json) in sent {
                let call_id = "c".to_owned();
                if let Some(id) = json["id"].as_str() {
                    self.reply(id);
                }
                match json["event"].as_str().unwrap() {
                    "call:start" => self.on(Side::Callee, Frame::Incoming { call_id }),
                    "call:accept" => self.on(Side::Caller, Frame::Accepted { call_id }),
                    "call:signal" => {
                        let mark = json["data"]["payload"]["carillonLoad"].as_array().unwrap();
                        let number = |i: usize| mark[i].as_u64().unwrap();
                        self.on(side.other(), Frame::Signal(Mark { call: number(0), number: number(1), at: number(2) }))
                    }
                    "call:end" => {
                        let ended = Frame::Ended { call_id, reason: "completed".into() };
                        self.on(Side::Caller, ended.clone()).unwrap();
                        self.on(Side::Callee, ended)
                    }
                    other => panic!("{other}"),
                }
                .unwrap();
            }
        }
    }
}

#[test]
fn a_whole_call_is_played_and_measured() {
    let mut play = Play::start(PLAN);
    play.relay();
    assert!(play.script.is_connected() && !play.script.is_done());
    assert_eq!(play.out.arrived, 18);
    play.script.hang_up(play.now, &mut play.out);
    play.relay();
    assert!(play.script.is_done());
    let count = |metric| play.out.samples.iter().filter(|sample| sample.0 == metric).count();
    assert_eq!(count(Metric::StartToIncoming), 1);
    assert_eq!(count(Metric::StartToReply), 1);
    assert_eq!(count(Metric::AcceptToAccepted), 1);
    assert_eq!(count(Metric::SignalOneWay), 18);
    assert_eq!(count(Metric::EndToEnded), 1);
    assert!(play.out.samples.iter().all(|sample| sample.1 == 900), "all count from when the call was due");
}

#[test]
fn calls_may_have_any_number_of_signals() {
    for signals in [0, 1, 2, 3, 7] {
        let mut play = Play::start(CallPlan { signals, signal_bytes: 10, ..PLAN });
        play.relay();
        assert!(play.script.is_connected(), "{signals} signals");
        assert_eq!(play.out.arrived, signals);
    }
}

#[test]
fn an_offer_and_an_answer_want_replies_and_candidates_do_not() {
    let mut play = Play::start(PLAN);
    let start = play.sent();
    assert_eq!(start[0].1["data"]["calleeIds"][0], "bo\"b");
    play.on(Side::Callee, Frame::Incoming { call_id: "c".into() }).unwrap();
    play.sent();
    play.on(Side::Caller, Frame::Accepted { call_id: "c".into() }).unwrap();
    let signals = play.sent();
    assert_eq!(signals.len(), 9);
    assert_eq!(signals[0].1["data"]["type"], "offer");
    assert_eq!(signals[0].1["id"], "4o");
    assert!(signals[1..].iter().all(|(side, json)| {
        *side == Side::Caller && json["data"]["type"] == "ice_candidate" && json.get("id").is_none()
    }));
}

#[test]
fn a_refusal_fails_the_call_with_its_code() {
    let mut play = Play::start(PLAN);
    let failure = play.on(Side::Caller, Frame::Reply { id: "4s".into(), refusal: Some("rate_limited".into()) });
    assert_eq!(failure, Err(Failure { code: "rate_limited".into(), step: "incoming" }));
}

#[test]
fn an_early_end_fails_the_call_with_its_reason() {
    let mut play = Play::start(PLAN);
    play.on(Side::Callee, Frame::Incoming { call_id: "c".into() }).unwrap();
    let failure = play.on(Side::Caller, Frame::Ended { call_id: "c".into(), reason: "node_lost".into() });
    assert_eq!(failure, Err(Failure { code: "ended_node_lost".into(), step: "accepted" }));
}

#[test]
fn what_belongs_to_an_earlier_call_is_ignored() {
    let mut play = Play::start(PLAN);
    play.sent();
    for frame in [
        Frame::Incoming { call_id: "old".into() },
        Frame::Ended { call_id: "old".into(), reason: "x".into() },
        Frame::Signal(Mark { call: 3, number: 5, at: 0 }),
        Frame::Reply { id: "3s".into(), refusal: Some("busy".into()) },
        Frame::Reply { id: "44s".into(), refusal: Some("busy".into()) },
        Frame::Other,
    ] {
        play.on(Side::Callee, frame).unwrap();
    }
    assert!(play.out.frames.is_empty() && play.out.samples.is_empty());
}

#[test]
fn a_repeated_event_does_no_harm_and_a_lost_signal_is_noticed() {
    let mut play = Play::start(PLAN);
    play.sent();
    for _ in 0..2 {
        play.on(Side::Callee, Frame::Incoming { call_id: "c".into() }).unwrap();
    }
    assert_eq!(play.sent().len(), 1);
    play.on(Side::Caller, Frame::Accepted { call_id: "c".into() }).unwrap();
    for _ in 0..2 {
        play.on(Side::Callee, Frame::Signal(Mark { call: 4, number: 0, at: 0 })).unwrap();
    }
    assert_eq!(play.out.arrived, 1);
    let failure = play.on(Side::Callee, Frame::Signal(Mark { call: 4, number: 2, at: 0 })).unwrap_err();
    assert_eq!(failure.code, "signal_out_of_order");
}

#[test]
fn every_step_has_its_deadline() {
    let mut play = Play::start(PLAN);
    assert_eq!(play.script.deadline(), 1_000 + PLAN.patience);
    play.on(Side::Callee, Frame::Incoming { call_id: "c".into() }).unwrap();
    assert_eq!(play.script.deadline(), play.now + PLAN.patience);
    assert_eq!(play.script.step(), "accepted");
}
