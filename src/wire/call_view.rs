//! What a node reads out of a call object that another part, or another node, has rendered: how its media flow, and who is
//! in it. The inverse of [`super::call_object`], for those few fields.

use serde::{Deserialize, de::IgnoredAny};

use super::{ErrorCode, Frame, Refusal};
use crate::domain::{CallId, CallMode, CallStatus, ParticipantStatus, Role, UserId};

/// See the module.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CallView {
    pub call_id: CallId,
    pub mode: CallMode,
    pub status: CallStatus,
    /// There while the call moves to the media server.
    #[serde(default)]
    escalating: Option<IgnoredAny>,
    participants: Vec<Part>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    user_id: UserId,
    role: Role,
    status: ParticipantStatus,
}

impl CallView {
    /// Reads a call object.
    pub fn read(call: &Frame) -> Result<Self, Refusal> {
        serde_json::from_str(call.text()).map_err(|_| Refusal::new(ErrorCode::Internal, "the call cannot be read"))
    }

    /// Whether a call object may speak of a room; if not, it need not be read for that. What it holds besides, such as
    /// metadata, may make it look so.
    pub fn may_have_room(call: &Frame) -> bool {
        call.text().contains("\"mode\":\"sfu\"") || call.text().contains("\"escalating\"")
    }

    /// The call has a room on the media server, or is about to move there.
    pub fn has_room(&self) -> bool {
        !self.status.is_final() && (self.mode == CallMode::Sfu || self.escalating.is_some())
    }

    /// The role of somebody who is in the call now.
    pub fn role_of_engaged(&self, user: &UserId) -> Option<Role> {
        let part = self.participants.iter().find(|part| part.user_id == *user && part.status.is_engaged())?;
        (!self.status.is_final()).then_some(part.role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(mode: &str, status: &str, more: &str) -> (bool, CallView) {
        let text = format!(
            r#"{{"callId":"c","mode":"{mode}","status":"{status}"{more},"participants":[
               {{"userId":"a","role":"host","status":"joined"}},{{"userId":"b","role":"participant","status":"kicked"}}]}}"#
        );
        let frame = Frame::from(text);
        (CallView::may_have_room(&frame), CallView::read(&frame).unwrap())
    }

    #[test]
    fn a_call_has_a_room_when_it_is_on_the_media_server_or_moves_there() {
        let (may, p2p) = view("p2p", "active", "");
        assert!(!may && !p2p.has_room());
        let (may, sfu) = view("sfu", "active", "");
        assert!(may && sfu.has_room());
        let (may, moving) = view("p2p", "active", r#","escalating":{"by":"a"}"#);
        assert!(may && moving.has_room());
        let (may, tricked) = view("p2p", "active", r#","metadata":{"x":"\"escalating\"","mode":"sfu"}"#);
        assert!(may && !tricked.has_room(), "metadata decide nothing");
        assert!(!view("sfu", "ended", "").1.has_room());
    }

    #[test]
    fn only_who_is_in_the_call_has_a_role_there() {
        let user = |name: &str| UserId::new(name).unwrap();
        let (_, call) = view("sfu", "active", "");
        assert_eq!(call.role_of_engaged(&user("a")), Some(Role::Host));
        assert_eq!(call.role_of_engaged(&user("b")), None, "kicked");
        assert_eq!(call.role_of_engaged(&user("c")), None);
        assert_eq!(view("sfu", "ended", "").1.role_of_engaged(&user("a")), None);
    }
}
