//! What is refused before anything is asked of a call, and with which code.

use super::*;
use crate::wire::ErrorCode;

fn request(text: &str) -> Result<Request, Refusal> {
    ClientFrame::parse(text)?.request()
}

fn code(text: &str) -> ErrorCode {
    request(text).unwrap_err().code
}

#[test]
fn what_is_not_a_frame_is_invalid() {
    for text in ["", "{", "[]", "7", "null", r#"{"id":7,"event":"call:get"}"#, r#"{"id":"1"}"#, r#"{"event":[]}"#] {
        assert_eq!(code(text), ErrorCode::Invalid, "{text}");
    }
    let long = format!(r#"{{"id":"{}","event":"call:get"}}"#, "x".repeat(65));
    assert_eq!(code(&long), ErrorCode::Invalid);
}

#[test]
fn wrong_types_and_unknown_commands_are_invalid() {
    for text in [
        r#"{"event":"call:dance","data":{}}"#,
        r#"{"event":"call:accept","data":{"callId":7}}"#,
        r#"{"event":"call:accept","data":[]}"#,
        r#"{"event":"call:accept"}"#,
        r#"{"event":"call:start","data":{"calleeIds":"bob"}}"#,
        r#"{"event":"call:start","data":{"calleeIds":["bob"],"metadata":[]}}"#,
        r#"{"event":"call:start","data":{"calleeIds":["bob"],"type":"smell"}}"#,
        r#"{"event":"call:signal","data":{"callId":"c","type":"sdp","payload":1}}"#,
        r#"{"event":"call:signal","data":{"callId":"c","type":"offer"}}"#,
        r#"{"event":"call:signal","data":{"callId":"c","type":"offer","payload":1,"toDevice":"d"}}"#,
        r#"{"event":"call:media","data":{"callId":"c","audio":"on"}}"#,
        r#"{"event":"call:sync","data":{"callId":"c","seq":-1}}"#,
    ] {
        assert_eq!(code(text), ErrorCode::Invalid, "{text}");
    }
}

#[test]
fn parts_over_their_bound_are_too_large() {
    let big = "x".repeat(MAX_PAYLOAD_BYTES);
    let signal = format!(r#"{{"event":"call:signal","data":{{"callId":"c","type":"offer","payload":"{big}"}}}}"#);
    assert_eq!(code(&signal), ErrorCode::TooLarge);
    let start = format!(r#"{{"event":"call:start","data":{{"calleeIds":["b"],"offer":"{big}"}}}}"#);
    assert_eq!(code(&start), ErrorCode::TooLarge);
    let metadata = "x".repeat(MAX_METADATA_BYTES);
    let start = format!(r#"{{"event":"call:start","data":{{"calleeIds":["b"],"metadata":{{"a":"{metadata}"}}}}}}"#);
    assert_eq!(code(&start), ErrorCode::TooLarge);
}

#[test]
fn unknown_fields_are_ignored_and_a_callee_named_twice_is_rung_once() {
    let text = r#"{"id":"1","x":1,"event":"call:start","data":{"calleeIds":["b","b","c"],"y":2}}"#;
    let Ok(Request::Start(start)) = request(text) else { panic!("refused") };
    assert_eq!(start.callee_ids.unwrap().len(), 2);
}

#[test]
fn a_payload_passes_as_it_came() {
    let text =
        r#"{"event":"call:signal","data":{"callId":"c","type":"offer","payload":{"sdp" : "v=0\r\n", "n": 1e3}}}"#;
    let Ok(Request::Signal(signal)) = request(text) else { panic!("refused") };
    assert_eq!(signal.payload.text(), r#"{"sdp" : "v=0\r\n", "n": 1e3}"#);
}

#[test]
fn only_what_does_something_takes_a_key_and_a_wrong_key_is_invalid() {
    for event in ["call:get", "call:sync", "presence:get", "session:hello", "session:refresh"] {
        assert!(!by_event(event).unwrap().takes_key, "{event}");
    }
    for action in
        ["accept", "decline", "cancel", "join", "leave", "end", "invite", "token", "signal", "ringing", "busy"]
    {
        let spec = by_action(action).unwrap();
        assert!(spec.takes_key && spec.event == format!("call:{action}"), "{action}");
    }
    assert!(by_action("start").is_none() && by_action("get").is_none() && by_action("hello").is_none());
    let key = |key: &str| {
        let text = format!(r#"{{"event":"call:end","idempotencyKey":{key},"data":{{"callId":"c"}}}}"#);
        ClientFrame::parse(&text).and_then(|frame| frame.key().map(|key| key.is_some()))
    };
    assert!(key("\"k\"").unwrap());
    assert!(!key("null").unwrap());
    for wrong in ["\"\"", "\"a b\"", "7", "[]"] {
        assert_eq!(key(wrong).unwrap_err().code, ErrorCode::Invalid, "{wrong}");
    }
}
