//! `media` of the protocol: how a client's media finds its way.

use serde::Serialize;
use utoipa::ToSchema;

use super::{IceServer, Media, MediaError, Permissions};
use crate::{
    domain::{CallId, CallMode, DeviceId, Timestamp, UserId},
    secret::Secret,
};

/// What one device needs to send and receive media. No `Debug` of what is secret.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Media)]
#[serde(rename_all = "camelCase")]
pub struct ClientMedia {
    /// How media flows.
    pub mode: CallMode,
    /// Servers for the client's `RTCPeerConnection`.
    pub ice_servers: Vec<IceServer>,
    /// `relay`: the client is to use relays only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ice_transport_policy: Option<&'static str>,
    /// The media server, as browsers reach it. This and what follows: only for who may come into the call's room.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    /// What opens the room to this device.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "revealed")]
    #[schema(value_type = Option<String>)]
    token: Option<Secret>,
    /// The room's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<String>,
    /// When the token ends; `call:token` gives another.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
}

fn revealed<S: serde::Serializer>(secret: &Option<Secret>, serializer: S) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(Secret::reveal).serialize(serializer)
}

impl ClientMedia {
    /// The same for a call whose media flow so now: while it moves to the media server it is still peer to peer.
    pub fn of_mode(self, mode: CallMode) -> Self {
        Self { mode, ..self }
    }
}

impl Media {
    /// What a participant of a peer-to-peer call needs.
    pub fn for_peers(&self, user: &UserId, now: Timestamp) -> ClientMedia {
        ClientMedia {
            mode: CallMode::P2p,
            ice_servers: self.ice_servers(user, now),
            ice_transport_policy: self.ice_transport_policy(),
            url: None,
            token: None,
            room: None,
            expires_at: None,
        }
    }

    /// What a participant needs to come into the call's room, with a token of its own. Local, no network.
    ///
    /// # Errors
    /// [`MediaError::NotConfigured`].
    pub fn for_room(
        &self,
        call: &CallId,
        user: &UserId,
        device: &DeviceId,
        permissions: Permissions,
        now: Timestamp,
    ) -> Result<ClientMedia, MediaError> {
        let access = self.access_token(call, user, device, permissions, now)?;
        Ok(ClientMedia {
            mode: CallMode::Sfu,
            url: Some(access.url),
            token: Some(access.token),
            room: Some(access.room.as_str().to_owned()),
            expires_at: Some(access.expires_at),
            ..self.for_peers(user, now)
        })
    }
}
