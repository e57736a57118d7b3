//! What all sessions and requests of this node share.

use std::{sync::Arc, time::Duration};

use dashmap::DashMap;
use tokio::sync::Semaphore;

use super::{
    address::TrustedProxies,
    auth::{Verifier, service::ServiceKeys},
    counts::Counts,
    headers::Hsts,
    limits::Limits,
    links::Links,
    passwords::Passwords,
    rest::privileged::PrivilegedReads,
    socket::Socket,
};
use crate::{
    actors::{Caller, NodeHandle},
    clock,
    domain::{CallMode, DeviceId, SessionId, UserId},
    media::{ClientMedia, MediaError, Permissions},
    webhooks::Webhooks,
    wire::{CallView, ErrorCode, Frame, Refusal},
};

/// The edge of one node.
pub struct Gateway {
    pub node: NodeHandle,
    /// What is counted here.
    pub counts: Counts,
    pub verifier: Verifier,
    pub service_keys: ServiceKeys,
    /// What those who may read everything have read lately.
    pub privileged_reads: PrivilegedReads,
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
    pub links: Links,
    pub passwords: Passwords,
    /// Downloads under way.
    pub downloads: Arc<Semaphore>,
    pub webhooks: Webhooks,
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
        if !CallView::may_have_room(call) {
            return Ok(self.peer_media(who));
        }
        let view = CallView::read(call)?;
        if !view.has_room() {
            return Ok(self.peer_media(who).of_mode(view.mode));
        }
        let role = view.role_of_engaged(&who.user);
        let role =
            role.ok_or_else(|| Refusal::new(ErrorCode::NotParticipant, "only who is in the call has a token"))?;
        let (permissions, now) = (Permissions::of(role), clock::now());
        let media = self.node.media.for_room(&view.call_id, &who.user, &who.device, permissions, now);
        media.map(|media| media.of_mode(view.mode)).map_err(media_refusal)
    }
}

/// What who asked is told when the media server does not do it.
pub fn media_refusal(error: MediaError) -> Refusal {
    Refusal::new(ErrorCode::MediaUnavailable, error.to_string())
}
