//! What all sessions and requests of this node share.

use std::{sync::Arc, time::Duration};

use dashmap::DashMap;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    address::TrustedProxies,
    auth::{Verifier, service::ServiceKeys},
    headers::Hsts,
    limits::Limits,
    socket::Socket,
};
use crate::{
    actors::NodeHandle,
    domain::{CallMode, SessionId},
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
    pub stun_urls: Vec<String>,
}

/// `media` of the protocol: how a client's media finds its way.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Media {
    /// How media flows.
    mode: CallMode,
    /// Servers for the client's `RTCPeerConnection`.
    ice_servers: Vec<IceServer>,
}

/// As `RTCIceServer`.
#[derive(Debug, Serialize, ToSchema)]
struct IceServer {
    /// Its addresses.
    urls: Vec<String>,
}

impl Gateway {
    /// What a participant of a peer-to-peer call needs.
    pub fn media(&self) -> Media {
        let stun = (!self.stun_urls.is_empty()).then(|| IceServer { urls: self.stun_urls.clone() });
        Media { mode: CallMode::P2p, ice_servers: stun.into_iter().collect() }
    }
}
