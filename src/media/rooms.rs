//! Rooms and the people in them. A room is named by its call's id; each request here can be repeated.

use livekit_api::services::room::{CreateRoomOptions, RemoveParticipantOptions, UpdateParticipantOptions};
use livekit_protocol::{ParticipantInfo, TrackSource, participant_info};

use super::{Identity, Media, MediaError, Permissions, livekit::TRIES};
use crate::{
    clock,
    domain::{CallId, DeviceId, Timestamp, Track, UserId},
};

/// How long LiveKit keeps a room that nobody has come into, in seconds: past any escalation's deadline.
const EMPTY_TIMEOUT_SECS: u32 = 300;
/// How long it keeps one that all have left: longer than a participant whose connection dropped is waited for, so that
/// the room is there when they are back. We close it ourselves when the call ends.
const DEPARTURE_TIMEOUT_SECS: u32 = 120;
/// Places in a room beyond the call's: who comes back is let in before LiveKit has noticed that they were gone, and a
/// recorder takes one.
const SPARE_PLACES: u32 = 8;

/// One kind of media, as the domain names them.
pub type TrackKind = Track;

/// A room, ours or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomInfo {
    pub name: String,
    pub created_at: Timestamp,
    pub participants: u32,
}

/// One device of a user in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomParticipant {
    pub identity: String,
    pub user: UserId,
    pub device: DeviceId,
    /// Their media can flow; until then they have only come to the door.
    pub joined: bool,
    /// They send something that is not muted.
    pub publishing: bool,
}

impl Media {
    /// Opens the call's room, or finds it open.
    ///
    /// # Errors
    /// As for all requests: see [`MediaError`].
    pub async fn open_room(&self, call: &CallId, max_participants: u32) -> Result<(), MediaError> {
        let name = call.clone();
        let options = CreateRoomOptions {
            empty_timeout: EMPTY_TIMEOUT_SECS,
            departure_timeout: DEPARTURE_TIMEOUT_SECS,
            max_participants: max_participants.saturating_add(SPARE_PLACES),
            ..CreateRoomOptions::default()
        };
        self.livekit()?
            .request("open_room", TRIES, move |rooms| {
                let (name, options) = (name.clone(), options.clone());
                Box::pin(async move { rooms.create_room(name.as_str(), options).await.map(drop) })
            })
            .await
    }

    /// Closes the call's room and puts out who is in it; one that is not there is closed.
    pub async fn close_room(&self, call: &CallId) -> Result<(), MediaError> {
        let name = call.clone();
        let closed = self.livekit()?.request("close_room", TRIES, move |rooms| {
            let name = name.clone();
            Box::pin(async move { rooms.delete_room(name.as_str()).await })
        });
        absent_is(closed.await, ())
    }

    /// All rooms of the server, also those of others that use it.
    pub async fn rooms(&self) -> Result<Vec<RoomInfo>, MediaError> {
        let listed = self
            .livekit()?
            .request("list_rooms", TRIES, |rooms| Box::pin(async move { rooms.list_rooms(Vec::new()).await }));
        let room = |room: livekit_protocol::Room| {
            let millis = if room.creation_time_ms > 0 { room.creation_time_ms } else { room.creation_time * 1000 };
            RoomInfo {
                name: room.name,
                created_at: Timestamp::from_millis(millis),
                participants: room.num_participants,
            }
        };
        Ok(listed.await?.into_iter().map(room).collect())
    }

    /// Who is in the call's room; nobody if there is none. Recorders and whoever else is not ours are left out.
    pub async fn room_participants(&self, call: &CallId) -> Result<Vec<RoomParticipant>, MediaError> {
        Ok(self.present(call).await?.iter().filter_map(participant).collect())
    }

    /// Puts every device of the user out of the room. They may come back with a token they hold: see docs/media.md.
    pub async fn remove(&self, call: &CallId, user: &UserId) -> Result<(), MediaError> {
        for participant in self.devices_of(call, user).await? {
            let (room, identity) = (call.clone(), participant.identity);
            // LiveKit's cloud refuses tokens made before this; its server ignores the field.
            let before = clock::now().as_millis();
            let removed = self.livekit()?.request("remove", TRIES, move |rooms| {
                let (room, identity) = (room.clone(), identity.clone());
                let options = RemoveParticipantOptions { revoke_token_ts: before };
                Box::pin(async move { rooms.remove_participant_with_options(room.as_str(), &identity, options).await })
            });
            absent_is(removed.await, ())?;
        }
        Ok(())
    }

    /// Mutes what the user sends of this kind, at every device. `muted: false` needs LiveKit's `enable_remote_unmute`.
    pub async fn mute(&self, call: &CallId, user: &UserId, track: TrackKind, muted: bool) -> Result<(), MediaError> {
        for participant in self.devices_of(call, user).await? {
            let tracks =
                participant.tracks.into_iter().filter(|sent| is_of(sent.source(), track) && sent.muted != muted);
            for sent in tracks {
                let (room, identity) = (call.clone(), participant.identity.clone());
                let done = self.livekit()?.request("mute", TRIES, move |rooms| {
                    let (room, identity, sid) = (room.clone(), identity.clone(), sent.sid.clone());
                    Box::pin(async move {
                        rooms.mute_published_track(room.as_str(), &identity, &sid, muted).await.map(drop)
                    })
                });
                absent_is(done.await, ())?;
            }
        }
        Ok(())
    }

    /// Sets what the user may do in the room, at every device that is there now. Devices that come later have what
    /// their token says.
    pub async fn set_permissions(
        &self,
        call: &CallId,
        user: &UserId,
        permissions: Permissions,
    ) -> Result<(), MediaError> {
        for participant in self.devices_of(call, user).await? {
            let (room, identity) = (call.clone(), participant.identity);
            let set = self.livekit()?.request("set_permissions", TRIES, move |rooms| {
                let (room, identity) = (room.clone(), identity.clone());
                let permission = Some(permissions.to_livekit());
                let options = UpdateParticipantOptions { permission, ..UpdateParticipantOptions::default() };
                Box::pin(async move { rooms.update_participant(room.as_str(), &identity, options).await.map(drop) })
            });
            absent_is(set.await, ())?;
        }
        Ok(())
    }

    async fn present(&self, call: &CallId) -> Result<Vec<ParticipantInfo>, MediaError> {
        let room = call.clone();
        let present = self.livekit()?.request("list_participants", TRIES, move |rooms| {
            let room = room.clone();
            Box::pin(async move { rooms.list_participants(room.as_str()).await })
        });
        absent_is(present.await, Vec::new())
    }

    async fn devices_of(&self, call: &CallId, user: &UserId) -> Result<Vec<ParticipantInfo>, MediaError> {
        let mut present = self.present(call).await?;
        present.retain(|participant| Identity::is_of(&participant.identity, user));
        Ok(present)
    }
}

/// What is not there is as it should be.
fn absent_is<T>(outcome: Result<T, MediaError>, value: T) -> Result<T, MediaError> {
    match outcome {
        Err(MediaError::Refused(code)) if code == "not_found" => Ok(value),
        outcome => outcome,
    }
}

fn participant(info: &ParticipantInfo) -> Option<RoomParticipant> {
    let Identity { user, device } = identity(info)?;
    Some(RoomParticipant {
        identity: info.identity.clone(),
        user,
        device,
        joined: info.state() == participant_info::State::Active,
        publishing: info.tracks.iter().any(|track| !track.muted),
    })
}

/// Whose it is. `None`: not one of ours.
pub(super) fn identity(info: &ParticipantInfo) -> Option<Identity> {
    Identity::parse(&info.identity, |name| info.attributes.get(name).map(String::as_str))
}

pub(super) const fn is_of(source: TrackSource, track: TrackKind) -> bool {
    match track {
        Track::Audio => matches!(source, TrackSource::Microphone),
        Track::Video => matches!(source, TrackSource::Camera),
        Track::Screen => matches!(source, TrackSource::ScreenShare | TrackSource::ScreenShareAudio),
    }
}
