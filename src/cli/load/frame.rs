//! The frames that the load sends and the few facts that it reads from those it receives.
//!
//! Signals are by far the most frames, and the load shares its cores with the server that it measures: they are read by looking for
//! a mark in the text, all others as JSON.

use std::{borrow::Cow, time::Duration};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::pacing::Nanos;

/// What the load writes into a signal's payload, to recognize it at the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Which call of its pair, from 1.
    pub call: u64,
    /// Which signal of its sender within the call, from 0.
    pub number: u64,
    /// When it was due.
    pub at: Nanos,
}

const MARK: &str = "\"carillonLoad\":[";

/// A frame as far as the load needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The answer to a command: its id, and the error's code if it failed.
    Reply { id: String, refusal: Option<String> },
    /// A command without id failed.
    Refused { code: String },
    /// `call:incoming`.
    Incoming { call_id: String },
    /// `call:accepted`.
    Accepted { call_id: String },
    /// `call:signal` of this load.
    Signal(Mark),
    /// `call:ended` and its reason.
    Ended { call_id: String, reason: String },
    /// Anything else; not the load's business.
    Other,
    /// Not a frame of the protocol.
    Malformed,
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

#[derive(Deserialize)]
struct Fault {
    #[serde(default)]
    code: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct CallData {
    call_id: String,
    call: Option<CallId>,
    reason: String,
    payload: Option<Payload>,
    error: Option<Fault>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CallId {
    call_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    carillon_load: Option<(u64, u64, u64)>,
}

impl CallData {
    fn id(self) -> String {
        match self.call {
            Some(call) if self.call_id.is_empty() => call.call_id,
            _ => self.call_id,
        }
    }
}

/// Reads one frame.
pub fn parse(text: &str) -> Frame {
    if text.starts_with("{\"event\":\"call:signal\"")
        && let Some(mark) = find_mark(text)
    {
        return Frame::Signal(mark);
    }
    parse_slowly(text).unwrap_or(Frame::Malformed)
}

fn parse_slowly(text: &str) -> Option<Frame> {
    let envelope: Envelope<'_> = serde_json::from_str(text).ok()?;
    if let Some(id) = envelope.reply {
        let refusal = (!envelope.ok).then(|| code_of(envelope.error));
        return Some(Frame::Reply { id: id.into_owned(), refusal });
    }
    let data = || -> Option<CallData> { serde_json::from_str(envelope.data?.get()).ok() };
    Some(match &*envelope.event? {
        "call:incoming" => Frame::Incoming { call_id: data()?.id() },
        "call:accepted" => Frame::Accepted { call_id: data()?.id() },
        "call:ended" => {
            let mut data = data()?;
            let reason = std::mem::take(&mut data.reason);
            Frame::Ended { call_id: data.id(), reason }
        }
        "call:signal" => match data()?.payload.and_then(|payload| payload.carillon_load) {
            Some((call, number, at)) => Frame::Signal(Mark { call, number, at }),
            None => Frame::Other,
        },
        "error" => Frame::Refused { code: code_of(data()?.error) },
        _ => Frame::Other,
    })
}

fn code_of(fault: Option<Fault>) -> String {
    fault.map(|fault| fault.code).filter(|code| !code.is_empty()).unwrap_or_else(|| "unknown".to_owned())
}

fn find_mark(text: &str) -> Option<Mark> {
    let rest = &text[text.find(MARK)? + MARK.len()..];
    let mut numbers = rest[..rest.find(']')?].split(',').map(|number| number.parse().ok());
    Some(Mark { call: numbers.next()??, number: numbers.next()??, at: numbers.next()?? })
}

/// A command; `data` is JSON already.
pub fn command(id: &str, event: &str, data: &str) -> String {
    format!(r#"{{"id":"{id}","event":"{event}","data":{data}}}"#)
}

/// A JSON string.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A `call:signal`, with a payload of `bytes` bytes (at least the mark's). Without an id it spares the reply.
pub fn signal(id: Option<&str>, call_id: &str, kind: &str, mark: Mark, bytes: usize) -> String {
    let Mark { call, number, at } = mark;
    let mut frame = String::with_capacity(bytes + call_id.len() + 96);
    frame.push('{');
    if let Some(id) = id {
        frame.push_str("\"id\":\"");
        frame.push_str(id);
        frame.push_str("\",");
    }
    frame.push_str("\"event\":\"call:signal\",\"data\":{\"callId\":\"");
    frame.push_str(call_id);
    frame.push_str("\",\"type\":\"");
    frame.push_str(kind);
    frame.push_str("\",\"payload\":");
    let start = frame.len();
    frame.push('{');
    frame.push_str(MARK);
    frame.push_str(&format!("{call},{number},{at}],\"pad\":\""));
    let padding = bytes.saturating_sub(frame.len() - start + "\"}".len());
    frame.extend(std::iter::repeat_n('x', padding));
    frame.push_str("\"}}}");
    frame
}

/// What `session:hello` answers, as far as the load needs it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Hello {
    /// Calls left over from an earlier run.
    pub active_calls: Vec<ActiveCall>,
}

/// A call that the user is in.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActiveCall {
    /// Its id.
    pub call_id: String,
}

/// The reply to `session:hello` with id `hello`: `None` if the frame is something else, the code if it is a refusal.
pub fn parse_hello(text: &str) -> Option<Result<Hello, String>> {
    let envelope: Envelope<'_> = serde_json::from_str(text).ok()?;
    if envelope.reply.as_deref() != Some("hello") {
        return None;
    }
    if !envelope.ok {
        return Some(Err(code_of(envelope.error)));
    }
    Some(Ok(envelope.data.and_then(|data| serde_json::from_str(data.get()).ok()).unwrap_or_default()))
}

/// The code in a close frame's reason and after how long to come back, if the reason is the protocol's JSON.
pub fn close_reason(reason: &str) -> (String, Option<Duration>) {
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "camelCase", default)]
    struct Reason {
        code: String,
        retry_after_ms: Option<u64>,
    }
    let Reason { code, retry_after_ms } = serde_json::from_str(reason).unwrap_or_default();
    (code, retry_after_ms.map(Duration::from_millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_has_the_size_asked_for_and_is_found_again() {
        let mark = Mark { call: 7, number: 3, at: 123_456_789 };
        for (id, bytes) in [(None, 300), (Some("7o"), 64), (None, 0)] {
            let sent = signal(id, "c-1", "ice_candidate", mark, bytes);
            let json: serde_json::Value = serde_json::from_str(&sent).unwrap();
            let payload = json["data"]["payload"].to_string();
            assert!(payload.len() == bytes || bytes == 0, "{} is not {bytes}", payload.len());
            assert_eq!(json["id"].as_str(), id);
            let fast = format!(
                r#"{{"event":"call:signal","data":{{"callId":"c-1","sig":1,"epoch":1,"from":"a","payload":{payload}}}}}"#
            );
            assert_eq!(parse(&fast), Frame::Signal(mark));
            let slow =
                r#"{ "data": {"payload": { "pad":"x", "carillonLoad": [7, 3, 123456789]}}, "event": "call:signal"}"#;
            assert_eq!(parse(slow), Frame::Signal(mark));
        }
    }

    #[test]
    fn replies_and_refusals_are_told_apart() {
        assert_eq!(parse(r#"{"reply":"1s","ok":true,"data":{}}"#), Frame::Reply { id: "1s".into(), refusal: None });
        assert_eq!(
            parse(r#"{"reply":"1s","ok":false,"error":{"code":"busy","message":"no","retryable":false}}"#),
            Frame::Reply { id: "1s".into(), refusal: Some("busy".into()) }
        );
        assert_eq!(
            parse(r#"{"event":"error","data":{"event":"call:signal","error":{"code":"rate_limited"}}}"#),
            Frame::Refused { code: "rate_limited".into() }
        );
    }

    #[test]
    fn the_call_id_is_found_beside_or_in_the_call() {
        for text in [
            r#"{"event":"call:incoming","data":{"callId":"c","seq":1,"call":{"callId":"c"},"from":{"userId":"a"}}}"#,
            r#"{"event":"call:incoming","data":{"call":{"callId":"c"},"from":"a"}}"#,
        ] {
            assert_eq!(parse(text), Frame::Incoming { call_id: "c".into() });
        }
        assert_eq!(
            parse(r#"{"event":"call:ended","data":{"callId":"c","reason":"no_answer","durationSecs":0}}"#),
            Frame::Ended { call_id: "c".into(), reason: "no_answer".into() }
        );
    }

    #[test]
    fn other_events_are_ignored_and_nonsense_is_noticed() {
        assert_eq!(parse(r#"{"event":"call:state","data":{"callId":"c","status":"active"}}"#), Frame::Other);
        assert_eq!(parse(r#"{"event":"call:signal","data":{"payload":{"type":"offer"}}}"#), Frame::Other);
        assert_eq!(parse("nonsense"), Frame::Malformed);
        assert_eq!(parse(r#"{"data":{}}"#), Frame::Malformed);
    }

    #[test]
    fn the_hello_reply_tells_of_calls_left_over() {
        let hello =
            parse_hello(r#"{"reply":"hello","ok":true,"data":{"userId":"a","activeCalls":[{"callId":"old"}]}}"#);
        assert_eq!(hello.unwrap().unwrap().active_calls[0].call_id, "old");
        let refused = parse_hello(r#"{"reply":"hello","ok":false,"error":{"code":"unauthenticated"}}"#);
        assert_eq!(refused.unwrap().unwrap_err(), "unauthenticated");
        assert!(parse_hello(r#"{"event":"session:welcome","data":{}}"#).is_none());
        assert_eq!(close_reason(r#"{"code":"replaced"}"#), ("replaced".to_owned(), None));
        let restarting = close_reason(r#"{"code":"restarting","retryAfterMs":700}"#);
        assert_eq!(restarting, ("restarting".to_owned(), Some(Duration::from_millis(700))));
        assert_eq!(close_reason("bye"), (String::new(), None));
    }
}
