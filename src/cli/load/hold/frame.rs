//! What a client of the mode `hold` reads from the frames it is sent: all that an auditor needs.
//!
//! Sends nothing and remembers nothing. A frame that is none of the protocol's is `Malformed`, never a reason to stop.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::frame::Mark;

/// One frame from a node.
#[derive(Debug)]
pub enum Heard<'a> {
    /// The answer to a command.
    Reply { id: Cow<'a, str>, refusal: Option<String>, data: Option<&'a RawValue> },
    /// An event of a call that has a `seq`.
    State(StateEvent),
    /// A signal of this load, of this call.
    Signal { call_id: String, epoch: u64, sig: u64, mark: Mark },
    /// `call:renegotiate`: what was on its way may be lost.
    Renegotiate { call_id: String, epoch: u64 },
    /// The event `error`.
    Fault { code: String, call_id: String },
    /// Nothing that matters here.
    Other,
    /// Not a frame of the protocol.
    Malformed,
}

/// An event of a call that has a `seq`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateEvent {
    /// Of which call.
    pub call_id: String,
    /// Its number within the call.
    pub seq: u64,
    /// The number of the one before it that this user was sent.
    pub prev: u64,
    /// What happened.
    pub what: What,
}

/// What happened in a call, as far as the auditor needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// This user is rung.
    Incoming,
    /// The media flags of a participant changed.
    Flags { user: String, flags: Flags },
    /// The end.
    Ended { reason: String },
    /// The whole call instead of what was missed.
    Snapshot(CallView),
    /// Anything else that has a number.
    Other,
}

/// Microphone, camera, screen, as one number: the load counts its commands with them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(default)]
pub struct Flags {
    audio: bool,
    video: bool,
    screen: bool,
}

impl Flags {
    /// How many commands in a row can be told apart.
    pub const CYCLE: u64 = 8;

    /// Those of the command `number`.
    pub fn of(number: u64) -> Self {
        Self { audio: number & 1 != 0, video: number & 2 != 0, screen: number & 4 != 0 }
    }

    /// The number of the command, modulo [`Flags::CYCLE`].
    pub fn number(self) -> u64 {
        u64::from(self.audio) | u64::from(self.video) << 1 | u64::from(self.screen) << 2
    }

    /// As the data of `call:media`, without its braces.
    pub fn fields(self) -> String {
        format!(r#""audio":{},"video":{},"screen":{}"#, self.audio, self.video, self.screen)
    }
}

/// A call object, as far as the auditor needs it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CallView {
    call_id: String,
    end_reason: Option<String>,
    participants: Vec<Person>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Person {
    user_id: String,
    #[serde(flatten)]
    flags: Flags,
}

impl CallView {
    /// The flags of a participant.
    pub fn flags(&self, user: &str) -> Option<Flags> {
        self.participants.iter().find(|person| person.user_id == user).map(|person| person.flags)
    }

    /// Why it ended, if it has.
    pub fn end_reason(&self) -> Option<&str> {
        self.end_reason.as_deref()
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    reply: Option<Cow<'a, str>>,
    #[serde(default)]
    ok: bool,
    #[serde(borrow, default)]
    event: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<Fault>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Fault {
    code: String,
    details: Option<Details>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Details {
    call_id: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Data {
    call_id: String,
    seq: u64,
    prev: u64,
    sig: u64,
    epoch: u64,
    snapshot: bool,
    user_id: String,
    reason: String,
    changes: Option<Changes>,
    call: Option<CallView>,
    payload: Option<Payload>,
    error: Option<Fault>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Changes {
    audio: Option<bool>,
    video: Option<bool>,
    screen: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    carillon_load: Option<(u64, u64, u64)>,
}

/// Reads one frame.
pub fn parse(text: &str) -> Heard<'_> {
    try_parse(text).unwrap_or(Heard::Malformed)
}

fn try_parse(text: &str) -> Option<Heard<'_>> {
    let envelope: Envelope<'_> = serde_json::from_str(text).ok()?;
    if let Some(id) = envelope.reply {
        let refusal = (!envelope.ok).then(|| envelope.error.unwrap_or_default().code);
        return Some(Heard::Reply { id, refusal, data: envelope.data });
    }
    let event = envelope.event?;
    if !event.starts_with("call:") && event != "error" {
        return Some(Heard::Other);
    }
    let data: Data = serde_json::from_str(envelope.data?.get()).ok()?;
    Some(match &*event {
        "error" => {
            let fault = data.error.unwrap_or_default();
            Heard::Fault { code: fault.code, call_id: fault.details.unwrap_or_default().call_id }
        }
        "call:signal" => match data.payload.and_then(|payload| payload.carillon_load) {
            Some((call, number, at)) => Heard::Signal {
                call_id: data.call_id,
                epoch: data.epoch,
                sig: data.sig,
                mark: Mark { call, number, at },
            },
            None => Heard::Other,
        },
        "call:renegotiate" => Heard::Renegotiate { call_id: data.call_id, epoch: data.epoch },
        _ if data.seq == 0 => Heard::Other,
        event => Heard::State(state_event(event, data)),
    })
}

fn state_event(event: &str, data: Data) -> StateEvent {
    let what = match (event, data.changes, data.call) {
        ("call:incoming", ..) => What::Incoming,
        ("call:ended", ..) => What::Ended { reason: data.reason },
        ("call:state", _, Some(call)) if data.snapshot => What::Snapshot(call),
        (
            "call:participant_updated",
            Some(Changes { audio: Some(audio), video: Some(video), screen: Some(screen) }),
            _,
        ) => What::Flags { user: data.user_id, flags: Flags { audio, video, screen } },
        _ => What::Other,
    };
    StateEvent { call_id: data.call_id, seq: data.seq, prev: data.prev, what }
}

/// The events in the reply to `call:sync`, each as a frame of its own.
pub fn synced(data: &RawValue) -> Vec<&RawValue> {
    #[derive(Deserialize)]
    struct Synced<'a> {
        #[serde(borrow)]
        events: Vec<&'a RawValue>,
    }
    serde_json::from_str::<Synced<'_>>(data.get()).map(|synced| synced.events).unwrap_or_default()
}

/// The call in the reply to `call:get`, `call:start` and `call:accept`.
pub fn call_in(data: Option<&RawValue>) -> Option<CallView> {
    #[derive(Deserialize)]
    struct Answer {
        call: CallView,
    }
    Some(serde_json::from_str::<Answer>(data?.get()).ok()?.call)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_count_commands() {
        for number in 0..20 {
            assert_eq!(Flags::of(number).number(), number % Flags::CYCLE);
        }
        let data: serde_json::Value = serde_json::from_str(&format!("{{{}}}", Flags::of(5).fields())).unwrap();
        assert_eq!(data, serde_json::json!({"audio": true, "video": false, "screen": true}));
    }

    #[test]
    fn events_are_read_with_their_numbers() {
        let text = r#"{"event":"call:participant_updated","data":{"callId":"c","seq":7,"prev":5,"userId":"a",
            "changes":{"audio":true,"video":false,"screen":true},"at":"2026-01-01T00:00:00.000Z"}}"#;
        let Heard::State(event) = parse(text) else { panic!("{text}") };
        assert_eq!((event.seq, event.prev), (7, 5));
        assert_eq!(event.what, What::Flags { user: "a".into(), flags: Flags::of(5) });
        let Heard::State(event) =
            parse(r#"{"event":"call:ended","data":{"callId":"c","seq":9,"prev":7,"reason":"node_lost"}}"#)
        else {
            panic!()
        };
        assert_eq!(event.what, What::Ended { reason: "node_lost".into() });
        assert!(matches!(
            parse(r#"{"event":"call:renegotiate","data":{"callId":"c","epoch":3}}"#),
            Heard::Renegotiate { epoch: 3, .. }
        ));
    }

    #[test]
    fn a_snapshot_and_a_call_object_show_the_flags_of_everybody() {
        let call = r#"{"callId":"c","status":"active","participants":[{"userId":"a","audio":true,"video":true,"screen":false,"role":"host"}]}"#;
        let text = format!(
            r#"{{"event":"call:state","data":{{"callId":"c","seq":9,"prev":0,"snapshot":true,"call":{call}}}}}"#
        );
        let Heard::State(StateEvent { what: What::Snapshot(view), .. }) = parse(&text) else { panic!("{text}") };
        assert_eq!((view.flags("a"), view.flags("b"), view.end_reason()), (Some(Flags::of(3)), None, None));
        let text = format!(r#"{{"reply":"4.1","ok":true,"data":{{"call":{call}}}}}"#);
        let Heard::Reply { data, refusal: None, .. } = parse(&text) else { panic!("{text}") };
        assert_eq!(call_in(data), Some(view));
    }

    #[test]
    fn the_events_of_a_sync_are_frames() {
        let text = r#"{"reply":"1.0","ok":true,"data":{"events":[{"event":"call:ended","data":{"callId":"c","seq":2,"prev":1,"reason":"completed"}}]}}"#;
        let Heard::Reply { data: Some(data), .. } = parse(text) else { panic!() };
        let events = synced(data);
        assert!(matches!(parse(events[0].get()), Heard::State(StateEvent { seq: 2, .. })));
    }

    #[test]
    fn faults_name_their_call_and_nonsense_is_noticed() {
        let text = r#"{"event":"error","data":{"event":"session:hello","error":{"code":"not_found","details":{"callId":"c"}}}}"#;
        assert!(
            matches!(parse(text), Heard::Fault { code, call_id } if (code.as_str(), call_id.as_str()) == ("not_found", "c"))
        );
        assert!(matches!(parse(r#"{"event":"session:expiring","data":{}}"#), Heard::Other));
        assert!(matches!(parse("nonsense"), Heard::Malformed));
    }
}
