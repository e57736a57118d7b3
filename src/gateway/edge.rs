//! What all sessions and requests of this node share.

use std::{sync::Arc, time::Duration};

use dashmap::DashMap;
use serde::{Deserialize, de::IgnoredAny};

use super::{
    address::TrustedProxies,
    auth::{Verifier, service::ServiceKeys},
    headers::Hsts,
    limits::Limits,
    socket::Socket,
};
use crate::{
    actors::{Caller, NodeHandle},
    clock,
    domain::{CallId, CallMode, DeviceId, ParticipantStatus, Role, SessionId, UserId},
    media::{ClientMedia, MediaError, Permissions},
    wire::{ErrorCode, Frame, Refusal},
};

/// The edge of one node.
pub struct Gateway {
    pub node: NodeHandle,
    pub verifier: Verifier,
    pub service_keys: ServiceKeys,
    /// Every open socket, also before its hello.
    pub sockets: DashMap<SessionId, Arc<Socket>>,
    /// How long an idle client is left in peace.
    pub ping_interval: Duration,
    /// How much each user and address may ask for.
    pub limits: Arc<Limits>,
    /// Whose word on where a client is counts.
    pub trusted_proxies: TrustedProxies,
    pub hsts: Hsts,
    /// Origins besides our own page's that may open a socket and read what REST answers.
    pub allowed_origins: Vec<String>,
}

/// Whose media it is about.
pub struct Who {
    pub user: UserId,
    pub device: DeviceId,
}

impl Who {
    pub fn of(caller: &Caller) -> Self {
        Self { user: caller.user.clone(), device: caller.device.clone() }
    }
}

/// What of a call object decides how media flow.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Flow {
    call_id: CallId,
    mode: CallMode,
    /// There while the call moves to the media server.
    #[serde(default)]
    escalating: Option<IgnoredAny>,
    participants: Vec<Part>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    user_id: UserId,
    role: Role,
    status: ParticipantStatus,
}

impl Gateway {
    /// What a participant of a peer-to-peer call needs.
    pub fn peer_media(&self, who: &Who) -> ClientMedia {
        self.node.media.for_peers(&who.user, clock::now())
    }

    /// What this device needs in this call, a call object; with a token for the room only if the call has one, or is
    /// about to, and the user is in it. What cannot be given is left out: the command itself was carried out.
    pub fn media(&self, who: &Who, call: &Frame) -> ClientMedia {
        self.media_or_refusal(who, call).unwrap_or_else(|_| self.peer_media(who).of_mode(CallMode::Sfu))
    }

    /// The same.
    ///
    /// # Errors
    /// The call has a room, and there is no token for it: `not_participant`, or `media_unavailable`.
    pub fn media_or_refusal(&self, who: &Who, call: &Frame) -> Result<ClientMedia, Refusal> {
        if !has_room(call.text()) {
            return Ok(self.peer_media(who));
        }
        let unreadable = |_| Refusal::new(ErrorCode::Internal, "the call cannot be read");
        let flow: Flow = serde_json::from_str(call.text()).map_err(unreadable)?;
        if flow.mode == CallMode::P2p && flow.escalating.is_none() {
            return Ok(self.peer_media(who));
        }
        let part = flow.participants.iter().find(|part| part.user_id == who.user && part.status.is_engaged());
        let part =
            part.ok_or_else(|| Refusal::new(ErrorCode::NotParticipant, "only who is in the call has a token"))?;
        let permissions = Permissions::of(part.role);
        let access = self.node.media.for_room(&flow.call_id, &who.user, &who.device, permissions, clock::now());
        access.map(|media| media.of_mode(flow.mode)).map_err(media_refusal)
    }
}

/// Whether a call object may speak of a room; if not, it need not be read. What it holds besides may make it look so.
fn has_room(call: &str) -> bool {
    call.contains("\"mode\":\"sfu\"") || call.contains("\"escalating\"")
}

/// What who asked is told when the media server does not do it.
pub fn media_refusal(error: MediaError) -> Refusal {
    Refusal::new(ErrorCode::MediaUnavailable, error.to_string())
}
