//! What LiveKit tells by webhook: whether it was LiveKit, whether it is fresh, and what it means.
//!
//! Owns the verification (signature over the raw body by livekit-api's receiver, freshness) and the mapping to a
//! [`Fact`]. Must never believe a body before its token and hash were checked. Facts come in any order, twice or not at
//! all; who uses them must do no harm then.

use std::time::Duration;

use livekit_api::{access_token::TokenVerifier, webhooks::WebhookReceiver};
use livekit_protocol::{EgressInfo, WebhookEvent};

use super::{Identity, Media, TrackKind, rooms};
use crate::domain::{CallId, DeviceId, Timestamp, UserId};

/// How old an event may be. LiveKit's token for it is good for five minutes, and it tries again for less than that;
/// longer, and ids would have to be remembered for longer.
pub const MAX_AGE: Duration = Duration::from_secs(600);
/// How far LiveKit's clock may be ahead of ours.
pub const MAX_AHEAD: Duration = Duration::from_secs(120);
/// The longest id of an event that is remembered.
const MAX_ID_BYTES: usize = 128;

/// Why a webhook is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    #[error("no media server is configured")]
    NotConfigured,
    /// Not signed by LiveKit's key, signed for another body, or signed long ago.
    #[error("the signature does not fit")]
    Forged,
    #[error("the event is too old, or from the future")]
    Stale,
    #[error("the event cannot be read")]
    Unreadable,
}

/// A verified event.
#[derive(Debug, Clone)]
pub struct Event {
    /// The same in every repetition.
    pub id: String,
    pub at: Timestamp,
    /// LiveKit's word for it, for logs.
    pub kind: String,
    /// What it means to us. `None`: nothing, or it is about a room that cannot be a call's.
    pub fact: Option<Fact>,
}

/// What happened to a call's room.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    pub call: CallId,
    pub at: Timestamp,
    pub what: What,
}

/// See [`Fact`].
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    RoomStarted,
    RoomFinished,
    /// Their media can flow.
    ParticipantJoined {
        user: UserId,
        device: DeviceId,
    },
    ParticipantLeft {
        user: UserId,
        device: DeviceId,
    },
    TrackPublished {
        user: UserId,
        device: DeviceId,
        track: Option<TrackKind>,
    },
    TrackUnpublished {
        user: UserId,
        device: DeviceId,
        track: Option<TrackKind>,
    },
    /// Started, updated or ended: its own status says which.
    Egress(Box<EgressInfo>),
}

impl Media {
    /// Checks a webhook's body, as it came, against the token of its `Authorization` header.
    ///
    /// # Errors
    /// Whatever makes it unbelievable; nothing has been done then.
    pub fn webhook(&self, body: &[u8], token: &str, now: Timestamp) -> Result<Event, WebhookError> {
        let livekit = self.livekit_config().map_err(|_| WebhookError::NotConfigured)?;
        // An empty secret is refused at the start; a webhook must not depend on that.
        if livekit.api_secret.reveal().is_empty() {
            return Err(WebhookError::Forged);
        }
        let body = std::str::from_utf8(body).map_err(|_| WebhookError::Unreadable)?;
        let verifier = TokenVerifier::with_api_key(&livekit.api_key, livekit.api_secret.reveal());
        // Some senders write the scheme, LiveKit does not.
        let token = token.strip_prefix("Bearer ").unwrap_or(token).trim();
        let event = WebhookReceiver::new(verifier).receive(body, token).map_err(|error| match error {
            livekit_api::webhooks::WebhookError::InvalidData(_) => WebhookError::Unreadable,
            _ => WebhookError::Forged,
        })?;
        let at = Timestamp::from_millis(event.created_at.saturating_mul(1000));
        if now.since(at) > MAX_AGE || at.since(now) > MAX_AHEAD {
            return Err(WebhookError::Stale);
        }
        if event.id.is_empty() || event.id.len() > MAX_ID_BYTES {
            return Err(WebhookError::Unreadable);
        }
        Ok(Event { id: event.id.clone(), at, kind: event.event.chars().take(40).collect(), fact: fact(event, at) })
    }
}

fn fact(event: WebhookEvent, at: Timestamp) -> Option<Fact> {
    if let Some(egress) = event.egress_info {
        let call = CallId::new(&egress.room_name).ok()?;
        return Some(Fact { call, at, what: What::Egress(Box::new(egress)) });
    }
    let call = CallId::new(event.room?.name).ok()?;
    let who = event.participant.as_ref().and_then(rooms::identity);
    let track = event.track.as_ref().and_then(|track| {
        let kinds = [TrackKind::Audio, TrackKind::Video, TrackKind::Screen];
        kinds.into_iter().find(|kind| rooms::is_of(track.source(), *kind))
    });
    let what = match (event.event.as_str(), who) {
        ("room_started", _) => What::RoomStarted,
        ("room_finished", _) => What::RoomFinished,
        ("participant_joined", Some(Identity { user, device })) => What::ParticipantJoined { user, device },
        ("participant_left" | "participant_connection_aborted", Some(Identity { user, device })) => {
            What::ParticipantLeft { user, device }
        }
        ("track_published", Some(Identity { user, device })) => What::TrackPublished { user, device, track },
        ("track_unpublished", Some(Identity { user, device })) => What::TrackUnpublished { user, device, track },
        _ => return None,
    };
    Some(Fact { call, at, what })
}
