//! `media` of the protocol: how a client's media finds its way.

use serde::Serialize;

use super::{IceServer, Media, MediaError, Permissions};
use crate::{
    domain::{CallId, CallMode, DeviceId, Timestamp, UserId},
    secret::Secret,
};

/// What one device needs to send and receive media. No `Debug` of what is secret.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientMedia {
    pub mode: CallMode,
    pub ice_servers: Vec<IceServer>,
    /// `relay`: the client is to use relays only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ice_transport_policy: Option<&'static str>,
    #[serde(flatten)]
    access: Option<Access>,
}

/// The way into the call's room.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Access {
    url: String,
    #[serde(serialize_with = "revealed")]
    token: Secret,
    room: String,
    expires_at: Timestamp,
}

fn revealed<S: serde::Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.reveal())
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
            access: None,
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
        let access = Access {
            url: access.url,
            token: access.token,
            room: access.room.as_str().to_owned(),
            expires_at: access.expires_at,
        };
        Ok(ClientMedia { mode: CallMode::Sfu, access: Some(access), ..self.for_peers(user, now) })
    }
}
