//! What stands in the data of each command, as sent; nothing of it is judged here but the number of calls to resume.

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::MAX_RESUME;
use crate::{
    actors::{SignalKind, messages::Resume},
    domain::{
        CallId, CallType, DeviceId, GroupId, Opaque, Role, Track, UserId,
        recording::{FileFormat, Layout, Resolution},
    },
    wire::{Frame, Refusal},
};

/// Who speaks, and what they have. Its token never goes into a log.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Hello {
    /// The user's JWT, at most 8 KiB; may be left out if the upgrade carried one.
    pub token: Option<String>,
    /// Stable over reconnects, unique within the user; without it the device is a new one.
    pub device_id: Option<DeviceId>,
    /// Accepted, not used.
    pub device_name: Option<String>,
    /// What this device has of each call: at most 64.
    #[schema(max_items = 64)]
    #[serde(default)]
    pub resume: Option<Vec<ResumeData>>,
}

impl std::fmt::Debug for Hello {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hello").field("device_id", &self.device_id).finish_non_exhaustive()
    }
}

/// One entry of `resume`.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ResumedCall)]
#[serde(rename_all = "camelCase")]
pub struct ResumeData {
    /// The call.
    call_id: CallId,
    /// The last `seq` of it that was seen.
    seq: u64,
    /// The last `sig` of it that was seen; missing: 0.
    sig: Option<u64>,
}

/// Whom to call, and how.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StartData {
    /// Chosen by the client, so that the start can be repeated; missing: made by the server.
    pub call_id: Option<CallId>,
    /// Whom to ring.
    #[serde(default)]
    pub callee_ids: Option<Vec<UserId>>,
    /// The group to call in; without `calleeIds` all its members are rung.
    pub group_id: Option<GroupId>,
    /// What the call is for; missing: `audio`.
    #[serde(rename = "type")]
    pub call_type: Option<CallType>,
    /// How media is to flow; missing: `auto`. `sfu` needs a media server.
    pub mode: Option<StartMode>,
    /// In a group, false rings nobody; missing: true.
    pub ring: Option<bool>,
    /// How long to ring, in seconds; missing: as configured.
    #[schema(minimum = 1, maximum = 600)]
    pub ring_timeout_secs: Option<u64>,
    /// An offer that callees get with the ring; at most 64 KiB.
    pub offer: Option<Opaque>,
    /// What else callees are to know: an object, at most 8 KiB.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Opaque>,
}

/// The mode a client may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StartMode {
    Auto,
    P2p,
    Sfu,
}

/// `call:signal`, as sent.
#[derive(Debug)]
pub struct SignalData {
    pub call: CallId,
    pub kind: SignalKind,
    pub payload: Frame,
    pub to: Option<UserId>,
    pub to_device: Option<DeviceId>,
}

/// A signal, and whom it is for.
#[derive(Deserialize, ToSchema)]
#[schema(as = Signal)]
#[serde(rename_all = "camelCase")]
pub(super) struct SignalFields<'a> {
    /// The call.
    pub(super) call_id: CallId,
    /// What it is.
    #[serde(rename = "type")]
    pub(super) kind: SignalKind,
    /// Passed on unread; at most 64 KiB.
    #[schema(value_type = Opaque)]
    #[serde(borrow)]
    pub(super) payload: &'a RawValue,
    /// A participant who is engaged or rung; missing: all others.
    pub(super) to: Option<UserId>,
    /// One device of `to`.
    pub(super) to_device: Option<DeviceId>,
}

/// How a call is to be recorded.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RecordData {
    /// The call.
    pub(super) call_id: CallId,
    /// How the picture is put together; `grid` without.
    pub(super) layout: Option<Layout>,
    /// Its size; the setting's without.
    pub(super) resolution: Option<Resolution>,
    /// No picture; without, so for audio calls.
    pub(super) audio_only: Option<bool>,
    /// What the file is; `mp4` without.
    pub(super) format: Option<FileFormat>,
    /// Days for which the file is kept, 1 to 3650; the setting's without.
    #[schema(minimum = 1, maximum = 3650)]
    pub(super) retention_days: Option<u32>,
}

/// The call that is meant.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct OnlyCall {
    /// The call.
    pub(super) call_id: CallId,
}

/// The call, and the answer.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AcceptData {
    /// The call.
    pub(super) call_id: CallId,
    /// The answer to the offer that the start carried; at most 64 KiB.
    pub(super) answer: Option<Opaque>,
}

/// The call, and why.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReasonData {
    /// The call.
    pub(super) call_id: CallId,
    /// Why, in the words of the user; to `call:end` also `completed`, `media_failed` or `error`.
    #[schema(max_length = 256, pattern = r"^[^\u0000]*$")]
    pub(super) reason: Option<String>,
}

/// The call, and whom to ring.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct InviteData {
    /// The call.
    pub(super) call_id: CallId,
    /// Whom to ring.
    #[schema(min_items = 1)]
    pub(super) user_ids: Vec<UserId>,
}

/// What is sent.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct MediaData {
    /// The call.
    pub(super) call_id: CallId,
    /// Whether audio is sent; missing: unchanged.
    pub(super) audio: Option<bool>,
    /// Whether video is sent; missing: unchanged.
    pub(super) video: Option<bool>,
    /// Whether a screen is shared; missing: unchanged.
    pub(super) screen: Option<bool>,
}

/// The call, and who in it is meant.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct OneUser {
    /// The call.
    pub(super) call_id: CallId,
    /// Who is meant.
    pub(super) user_id: UserId,
}

/// What to switch off, and who.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct MuteData {
    /// The call.
    pub(super) call_id: CallId,
    /// Who is to switch it off; missing: everybody else who sends it.
    pub(super) user_id: Option<UserId>,
    /// What to switch off.
    pub(super) track: Track,
}

/// Who may come in.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct LockData {
    /// The call.
    pub(super) call_id: CallId,
    /// Whether who is not invited is refused.
    pub(super) locked: bool,
    /// Whether they wait to be let in instead; missing: unchanged.
    pub(super) lobby: Option<bool>,
}

/// Who is given which role.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RoleData {
    /// The call.
    pub(super) call_id: CallId,
    /// Who is given the role.
    pub(super) user_id: UserId,
    /// The role.
    pub(super) role: Role,
}

/// Whether the hand is up.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct HandData {
    /// The call.
    pub(super) call_id: CallId,
    /// Whether the hand is up.
    pub(super) raised: bool,
}

/// Who is to take the asker's place.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TransferData {
    /// The call.
    pub(super) call_id: CallId,
    /// Who is to take the asker's place.
    pub(super) to_user_id: UserId,
}

/// What was seen of the call.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SyncData {
    /// The call.
    pub(super) call_id: CallId,
    /// The last `seq` that was seen.
    pub(super) seq: u64,
    /// The last `sig` that was seen; missing: 0.
    pub(super) sig: Option<u64>,
}

/// Who is asked about.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PresenceData {
    /// Who is asked about.
    #[schema(max_items = 100)]
    pub(super) user_ids: Vec<UserId>,
}

/// A newer token.
#[derive(Deserialize, ToSchema)]
pub(super) struct RefreshData {
    /// A newer token of the same user.
    pub(super) token: String,
}

impl Hello {
    /// The `resume` list, checked.
    pub fn resume(&self) -> Result<Vec<(CallId, Resume)>, Refusal> {
        let entries = self.resume.as_deref().unwrap_or_default();
        if entries.len() > MAX_RESUME {
            return Err(Refusal::invalid("data.resume must name at most 64 calls"));
        }
        let resume = |entry: &ResumeData| Resume { seq: entry.seq, sig: Some(entry.sig.unwrap_or(0)) };
        Ok(entries.iter().map(|entry| (entry.call_id.clone(), resume(entry))).collect())
    }
}

impl StartData {
    /// How long to ring, if the client says.
    pub fn ring_timeout(&self) -> Option<Duration> {
        self.ring_timeout_secs.map(Duration::from_secs)
    }
}
