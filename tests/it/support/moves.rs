//! The moves of a call, as clients make them: each a command and what every scenario expects of it.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    canary,
    client::{PATIENCE, TestClient, call_of},
    inbox::WireError,
};

/// An SDP with the canary in it.
pub fn sdp(kind: &str) -> Value {
    json!({"type": kind, "sdp": format!("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\na=ice-pwd:{}\r\n", canary::SDP)})
}

/// The `number`th ICE candidate, with the canary in it.
pub fn candidate(number: u64) -> Value {
    json!({
        "candidate": format!("candidate:{number} 1 udp 2122260223 192.0.2.1 {} typ host ufrag {}", 50_000 + number, canary::CANDIDATE),
        "sdpMid": "0",
        "sdpMLineIndex": 0,
    })
}

/// A participant's entry in a call object.
pub fn participant<'a>(call: &'a Value, user: &str) -> &'a Value {
    let participants = call["participants"].as_array().unwrap_or_else(|| panic!("no participants in {call}"));
    participants.iter().find(|p| p["userId"] == user).unwrap_or_else(|| panic!("{user} is not in {call}"))
}

/// Whether a user has taken up the call and not left it.
pub fn is_in(call: &Value, user: &str) -> bool {
    ["connecting", "joined", "reconnecting"].contains(&participant(call, user)["status"].as_str().unwrap_or_default())
}

/// The id in a reply that carries a call.
pub fn id_of(reply: &Value) -> String {
    reply["call"]["callId"].as_str().unwrap_or_else(|| panic!("no call in {reply}")).to_owned()
}

/// Asserts that a refusal carries one of these codes, and words for people.
#[track_caller]
pub fn assert_code(error: &WireError, codes: &[&str]) {
    assert!(codes.contains(&error.code.as_str()), "wanted one of {codes:?}: {error:?}");
    assert!(!error.message.is_empty(), "a refusal says why: {error:?}");
}

impl TestClient {
    /// Calls these users; the call's id.
    pub async fn start(&self, callees: &[&str]) -> String {
        id_of(&self.must("call:start", json!({"calleeIds": callees, "type": "video"})).await)
    }

    /// Starts or joins the call of a group; the reply.
    pub async fn start_group(&self, group: &str, ring: bool) -> Value {
        self.must("call:start", json!({"groupId": group, "type": "video", "ring": ring})).await
    }

    /// Sends a command that needs nothing but the call, and must succeed.
    pub async fn act(&self, command: &str, call: &str) -> Value {
        self.must(command, json!({"callId": call})).await
    }

    /// Sends a command that needs nothing but the call, whatever becomes of it.
    pub async fn try_act(&self, command: &str, call: &str) -> Result<Value, WireError> {
        self.call(command, json!({"callId": call})).await
    }

    /// Relays a signal to one participant.
    pub async fn signal(&self, call: &str, to: &str, kind: &str, payload: Value) {
        self.must("call:signal", json!({"callId": call, "to": to, "type": kind, "payload": payload})).await;
    }

    /// Waits for the end of a call, which must be the last of its events so far.
    pub async fn expect_end(&self, call: &str, reason: &str) -> Value {
        self.expect_end_within(PATIENCE, call, reason).await
    }

    /// The same with a limit of its own.
    pub async fn expect_end_within(&self, limit: Duration, call: &str, reason: &str) -> Value {
        let ended = self.expect_within(limit, "call:ended", |data| call_of(data) == Some(call)).await.data;
        assert_eq!(ended["reason"], reason, "{ended}");
        assert!(ended["durationSecs"].is_number(), "{ended}");
        assert!(ended["status"].is_string(), "{ended}");
        ended
    }

    /// Has this device rung and answered, up to both sides being active. The call's id.
    pub async fn call_through(&self, callee: &TestClient) -> String {
        let call = self.start(&[&callee.user]).await;
        callee.expect_of("call:incoming", &call).await;
        callee.act("call:accept", &call).await;
        self.expect_of("call:accepted", &call).await;
        self.negotiate(callee, &call).await;
        call
    }

    /// Exchanges offer and answer, so that the call becomes active on both sides.
    pub async fn negotiate(&self, other: &TestClient, call: &str) {
        self.signal(call, &other.user, "offer", sdp("offer")).await;
        other.expect("call:signal", |s| s["callId"] == call && s["type"] == "offer").await;
        other.signal(call, &self.user, "answer", sdp("answer")).await;
        self.expect("call:signal", |s| s["callId"] == call && s["type"] == "answer").await;
        for side in [self, other] {
            side.expect("call:state", |s| s["callId"] == call && s["status"] == "active").await;
        }
    }

    /// The call as the server sees it.
    pub async fn get(&self, call: &str) -> Value {
        self.act("call:get", call).await["call"].clone()
    }
}
