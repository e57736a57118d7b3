//! The media server and what clients need to find each other: LiveKit's rooms, access tokens, webhooks, and ICE servers.
//!
//! Owns every word that goes to LiveKit and every credential that is made for it or for TURN. Must never be waited for
//! by what decides about calls: requests run on a thread of their own, each attempt has a timeout, tries are bounded, and
//! every one of them can be repeated. Never takes "could not ask" for "gone". Survives a LiveKit that is away, slow, says
//! 500 or succeeds late: who asks is told [`MediaError::Unavailable`] and asks again.
//!
//! Who uses it knows calls; here they are names of rooms. A room has the name of its call.

mod client_media;
mod counts;
mod egress;
pub mod files;
mod ice_servers;
mod identity;
pub mod inspect;
mod livekit;
mod probe;
mod rooms;
mod tokens;
pub mod webhook;

use std::{fmt, sync::Arc};

pub use self::{
    client_media::ClientMedia,
    egress::{StartError, file_name, recording_of, report},
    files::{Files, FilesConfig},
    ice_servers::{IceServer, fresh_for},
    identity::{ATTRIBUTE_DEVICE, ATTRIBUTE_USER, Identity},
    rooms::{RoomInfo, RoomParticipant, TrackKind},
    tokens::{MediaAccess, Permissions, TOKEN_TTL},
};
use livekit_api::services::egress::EgressClient;

use self::{counts::Counts, livekit::LiveKit};
use crate::{metrics::Page, secret::Secret};

/// What the node was told about media servers.
#[derive(Debug, Clone, Default)]
pub struct MediaConfig {
    pub livekit: Option<LiveKitConfig>,
    /// STUN servers for clients.
    pub stun_urls: Vec<String>,
    pub turn: Option<TurnConfig>,
    /// Clients are to use relays only; for those who must not learn each other's addresses.
    pub relay_only: bool,
    /// Where recordings are kept; `None`: nothing is recorded.
    pub files: Option<FilesConfig>,
}

/// A LiveKit server.
#[derive(Debug, Clone)]
pub struct LiveKitConfig {
    /// Where this node reaches it: `http(s)://` or `ws(s)://`.
    pub url: String,
    /// Where browsers reach it: `ws(s)://`.
    pub public_url: String,
    pub api_key: String,
    /// Not empty: a webhook or a token signed with nothing would be anybody's.
    pub api_secret: Secret,
}

/// TURN servers that share a secret with us.
#[derive(Debug, Clone)]
pub struct TurnConfig {
    pub urls: Vec<String>,
    pub secret: Secret,
}

/// Why LiveKit did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MediaError {
    /// There is none.
    #[error("no media server is configured")]
    NotConfigured,
    /// It could not be asked, did not answer in time, or failed. It may have done it nevertheless: ask again.
    #[error("the media server is not available")]
    Unavailable,
    /// It answered no. The words are LiveKit's code, such as `permission_denied`; never a secret.
    #[error("the media server refused: {0}")]
    Refused(String),
}

/// The way to the media servers; cheap to clone, always there.
#[derive(Clone)]
pub struct Media {
    inner: Arc<Inner>,
}

struct Inner {
    config: MediaConfig,
    counts: Counts,
    livekit: Option<LiveKit>,
    egress: Option<Arc<EgressClient>>,
    files: Option<Files>,
}

impl Media {
    /// Starts the thread that talks to LiveKit, if there is one. It ends with the last clone.
    ///
    /// # Errors
    /// Settings that cannot work: an empty key or secret, or a thread that cannot be started.
    pub fn start(config: MediaConfig) -> Result<Self, String> {
        let counts = Counts::default();
        let livekit = config.livekit.as_ref().map(|livekit| LiveKit::start(livekit, counts.clone())).transpose()?;
        let egress = config.livekit.as_ref().map(|livekit| Arc::new(egress::client(livekit)));
        let files = config.files.as_ref().map(Files::open).transpose()?;
        Ok(Self { inner: Arc::new(Inner { config, counts, livekit, egress, files }) })
    }

    /// Without any media server: what needs none works.
    pub fn none() -> Self {
        let config = MediaConfig::default();
        Self { inner: Arc::new(Inner { config, counts: Counts::default(), livekit: None, egress: None, files: None }) }
    }

    /// Whether there is a LiveKit at all. Whether it is there now is another question.
    pub fn is_configured(&self) -> bool {
        self.inner.livekit.is_some()
    }

    /// Where recordings are kept, if they are kept anywhere.
    pub fn files(&self) -> Option<&Files> {
        self.inner.files.as_ref()
    }

    /// Where browsers reach LiveKit, `ws(s)://`, if there is one.
    pub fn public_url(&self) -> Option<&str> {
        self.inner.config.livekit.as_ref().map(|livekit| livekit.public_url.as_str())
    }

    /// Writes what is counted.
    pub fn write_counts(&self, page: &mut Page) {
        self.inner.counts.write(page);
    }

    /// Requests that wait for LiveKit, and how many may; none and no bound where there is none.
    pub fn queue(&self) -> Option<(usize, usize)> {
        self.inner.livekit.as_ref().map(LiveKit::queue)
    }

    /// A webhook was answered so; a word from a short list.
    pub fn on_webhook(&self, outcome: &'static str) {
        self.inner.counts.webhook(outcome);
    }

    fn livekit(&self) -> Result<&LiveKit, MediaError> {
        self.inner.livekit.as_ref().ok_or(MediaError::NotConfigured)
    }

    fn livekit_config(&self) -> Result<&LiveKitConfig, MediaError> {
        self.inner.config.livekit.as_ref().ok_or(MediaError::NotConfigured)
    }
}

impl fmt::Debug for Media {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Media").field("configured", &self.is_configured()).finish_non_exhaustive()
    }
}
