//! Gives a device `media` of its own in an event that asks it into a call's room.
//!
//! Done by the node that has the session, at the last moment: so a token is as fresh as it can be, also in an event that
//! is told again, and none ever travels between nodes or is kept. Must never give a token to a device that the call's
//! owner has not named for it.

use super::Node;
use crate::{
    clock,
    domain::{DeviceId, UserId},
    media::Permissions,
    wire::{Frame, render::RoomPass},
};

impl Node {
    /// The frame for this device: with its `media` if the pass is for it. Without, a client asks `call:token`.
    pub(crate) fn with_media(&self, frame: &Frame, pass: Option<&RoomPass>, user: &UserId, device: &DeviceId) -> Frame {
        let Some(pass) = pass.filter(|pass| pass.device == *device) else { return frame.clone() };
        let permissions = Permissions::of(pass.role);
        match self.media.for_room(&pass.call, user, device, permissions, clock::now()).map(|m| m.of_mode(pass.mode)) {
            Ok(media) => frame.with_data_field("media", &media),
            Err(error) => {
                tracing::warn!(call.id = %pass.call, user.id = %user, %error, "no media for a device asked into the room");
                frame.clone()
            }
        }
    }
}
