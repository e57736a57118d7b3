//! Access tokens for rooms, and what their holders may do there.
//!
//! Owns what a token says: one room, one identity, at most [`TOKEN_TTL`], never more than sending and receiving media.
//! Never the administration of a room, whatever the role: kicking and muting go through us, who ask the call. LiveKit
//! cannot take a token back; what a token is worth after its holder was put out of the call is said in docs/media.md.

use std::time::Duration;

use livekit_api::access_token::{AccessToken, VideoGrants};
use livekit_protocol::{ParticipantPermission, TrackSource};

use super::{ATTRIBUTE_DEVICE, ATTRIBUTE_USER, Identity, Media, MediaError};
use crate::{
    domain::{CallId, DeviceId, Role, Timestamp, UserId},
    secret::Secret,
};

/// How long a token opens its room. It matters only for coming in: LiveKit gives those who are in newer ones itself.
/// Longer, and what leaks is of use for longer; shorter than a client takes to come in on a bad line, and it cannot.
pub const TOKEN_TTL: Duration = Duration::from_secs(600);

/// What a participant may do in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permissions {
    /// Send microphone, camera, screen.
    pub audio: bool,
    pub video: bool,
    pub screen: bool,
    /// Receive what others send.
    pub subscribe: bool,
}

impl Permissions {
    /// May neither send nor receive.
    pub const NONE: Self = Self { audio: false, video: false, screen: false, subscribe: false };

    /// What the role needs: to LiveKit all roles are alike, since none of them may administer a room.
    pub const fn of(role: Role) -> Self {
        match role {
            Role::Host | Role::Cohost | Role::Participant => {
                Self { audio: true, video: true, screen: true, subscribe: true }
            }
        }
    }

    fn sources(self) -> Vec<TrackSource> {
        let mut sources = Vec::with_capacity(4);
        if self.audio {
            sources.push(TrackSource::Microphone);
        }
        if self.video {
            sources.push(TrackSource::Camera);
        }
        if self.screen {
            sources.extend([TrackSource::ScreenShare, TrackSource::ScreenShareAudio]);
        }
        sources
    }

    pub(super) fn to_livekit(self) -> ParticipantPermission {
        let sources = self.sources();
        ParticipantPermission {
            can_subscribe: self.subscribe,
            can_publish: !sources.is_empty(),
            can_publish_sources: sources.into_iter().map(i32::from).collect(),
            ..ParticipantPermission::default()
        }
    }

    fn to_grants(self, room: &CallId) -> VideoGrants {
        let sources = self.sources();
        VideoGrants {
            room_join: true,
            room: room.as_str().to_owned(),
            can_publish: Some(!sources.is_empty()),
            can_publish_sources: sources.into_iter().map(|source| name(source).to_owned()).collect(),
            can_subscribe: Some(self.subscribe),
            // Messages go through us, who know who may.
            can_publish_data: Some(false),
            // The attributes say who it is.
            can_update_own_metadata: Some(false),
            ..VideoGrants::default()
        }
    }
}

/// The name of a source in a token.
const fn name(source: TrackSource) -> &'static str {
    match source {
        TrackSource::Microphone => "microphone",
        TrackSource::Camera => "camera",
        TrackSource::ScreenShare => "screen_share",
        TrackSource::ScreenShareAudio => "screen_share_audio",
        TrackSource::Unknown => "unknown",
    }
}

/// What opens a room.
#[derive(Debug, Clone)]
pub struct MediaAccess {
    /// Where browsers reach LiveKit.
    pub url: String,
    pub token: Secret,
    pub room: CallId,
    pub expires_at: Timestamp,
}

impl Media {
    /// A token for one device to come into the call's room. Local, no network.
    ///
    /// # Errors
    /// [`MediaError::NotConfigured`].
    pub fn access_token(
        &self,
        call: &CallId,
        user: &UserId,
        device: &DeviceId,
        permissions: Permissions,
        now: Timestamp,
    ) -> Result<MediaAccess, MediaError> {
        let livekit = self.livekit_config()?;
        let identity = Identity { user: user.clone(), device: device.clone() };
        let token = AccessToken::with_api_key(&livekit.api_key, livekit.api_secret.reveal())
            .with_ttl(TOKEN_TTL)
            .with_identity(&identity.text())
            .with_attributes([(ATTRIBUTE_USER, user.as_str()), (ATTRIBUTE_DEVICE, device.as_str())])
            .with_grants(permissions.to_grants(call))
            .to_jwt()
            .map_err(|_| MediaError::Refused("the token cannot be signed".to_owned()))?;
        Ok(MediaAccess {
            url: livekit.public_url.clone(),
            token: Secret::new(token),
            room: call.clone(),
            expires_at: now + TOKEN_TTL,
        })
    }
}

#[cfg(test)]
mod tests {
    use livekit_api::access_token::{Claims, TokenVerifier};

    use super::*;
    use crate::media::{LiveKitConfig, MediaConfig};

    const SECRET: &str = "a-secret-of-thirty-two-characters";

    fn media() -> Media {
        let livekit = LiveKitConfig {
            url: "http://127.0.0.1:1".to_owned(),
            public_url: "wss://media.example".to_owned(),
            api_key: "key".to_owned(),
            api_secret: Secret::new(SECRET),
        };
        Media::start(MediaConfig { livekit: Some(livekit), ..MediaConfig::default() }).unwrap()
    }

    fn token(permissions: Permissions) -> (MediaAccess, Claims) {
        let (call, user, device) =
            (CallId::new("c1").unwrap(), UserId::new("al#ice").unwrap(), DeviceId::new("d").unwrap());
        let access = media().access_token(&call, &user, &device, permissions, crate::clock::now()).unwrap();
        let claims = TokenVerifier::with_api_key("key", SECRET).verify(access.token.reveal()).unwrap();
        (access, claims)
    }

    #[test]
    fn a_token_opens_one_room_for_one_identity_and_at_most_ten_minutes() {
        let (access, claims) = token(Permissions::of(Role::Participant));
        assert_eq!((claims.sub.as_str(), claims.video.room.as_str(), claims.iss.as_str()), ("al%23ice#d", "c1", "key"));
        assert_eq!(claims.attributes[ATTRIBUTE_USER], "al#ice");
        assert!(claims.exp - claims.nbf <= 600, "{} s", claims.exp - claims.nbf);
        assert_eq!((access.url.as_str(), access.room.as_str()), ("wss://media.example", "c1"));
        assert!(!format!("{access:?}").contains(access.token.reveal()));
    }

    #[test]
    fn no_role_may_do_more_than_send_and_receive_media() {
        for role in [Role::Host, Role::Cohost, Role::Participant] {
            let (_, claims) = token(Permissions::of(role));
            let grants = claims.video;
            assert_eq!(
                grants,
                VideoGrants {
                    room_join: true,
                    room: "c1".to_owned(),
                    can_publish: Some(true),
                    can_subscribe: Some(true),
                    can_publish_data: Some(false),
                    can_update_own_metadata: Some(false),
                    can_publish_sources: ["microphone", "camera", "screen_share", "screen_share_audio"]
                        .map(str::to_owned)
                        .to_vec(),
                    ..VideoGrants::default()
                },
                "{role:?}"
            );
            assert_eq!((claims.sip.admin, claims.agent.admin, claims.kind.as_str()), (false, false, ""));
        }
        let (_, nothing) = token(Permissions::NONE);
        assert_eq!((nothing.video.can_publish, nothing.video.can_subscribe), (Some(false), Some(false)));
    }

    #[test]
    fn without_a_media_server_there_is_no_token() {
        let (call, user, device) = (CallId::new("c").unwrap(), UserId::new("u").unwrap(), DeviceId::new("d").unwrap());
        let none = Media::none().access_token(&call, &user, &device, Permissions::NONE, Timestamp::default());
        assert_eq!(none.unwrap_err(), MediaError::NotConfigured);
    }
}
