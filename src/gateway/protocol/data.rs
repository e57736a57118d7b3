//! What stands in the data of each command, as sent; nothing of it is judged here but the number of calls to resume.

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::MAX_RESUME;
use crate::{
    actors::{SignalKind, messages::Resume},
    domain::{
        CallId, CallType, DeviceId, GroupId, Opaque, Role, Track, UserId,
        recording::{FileFormat, Layout, Resolution},
    },
    wire::{Frame, Refusal},
};

/// `session:hello`. Its token never goes into a log.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hello {
    pub token: Option<String>,
    pub device_id: Option<DeviceId>,
    pub device_name: Option<String>,
    #[serde(default)]
    pub resume: Option<Vec<ResumeData>>,
}

impl std::fmt::Debug for Hello {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hello").field("device_id", &self.device_id).finish_non_exhaustive()
    }
}

/// One entry of `resume`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResumeData {
    call_id: CallId,
    seq: u64,
    sig: Option<u64>,
}

/// `call:start`, as sent.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StartData {
    pub call_id: Option<CallId>,
    #[serde(default)]
    pub callee_ids: Option<Vec<UserId>>,
    pub group_id: Option<GroupId>,
    #[serde(rename = "type")]
    pub call_type: Option<CallType>,
    pub mode: Option<StartMode>,
    pub ring: Option<bool>,
    pub ring_timeout_secs: Option<u64>,
    pub offer: Option<Opaque>,
    pub metadata: Option<Opaque>,
}

/// The mode a client may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SignalFields<'a> {
    pub(super) call_id: CallId,
    #[serde(rename = "type")]
    pub(super) kind: SignalKind,
    #[serde(borrow)]
    pub(super) payload: &'a RawValue,
    pub(super) to: Option<UserId>,
    pub(super) to_device: Option<DeviceId>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RecordData {
    pub(super) call_id: CallId,
    pub(super) layout: Option<Layout>,
    pub(super) resolution: Option<Resolution>,
    pub(super) audio_only: Option<bool>,
    pub(super) format: Option<FileFormat>,
    pub(super) retention_days: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OnlyCall {
    pub(super) call_id: CallId,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AcceptData {
    pub(super) call_id: CallId,
    pub(super) answer: Option<Opaque>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReasonData {
    pub(super) call_id: CallId,
    pub(super) reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InviteData {
    pub(super) call_id: CallId,
    pub(super) user_ids: Vec<UserId>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MediaData {
    pub(super) call_id: CallId,
    pub(super) audio: Option<bool>,
    pub(super) video: Option<bool>,
    pub(super) screen: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OneUser {
    pub(super) call_id: CallId,
    pub(super) user_id: UserId,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MuteData {
    pub(super) call_id: CallId,
    /// Absent: everybody else.
    pub(super) user_id: Option<UserId>,
    pub(super) track: Track,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LockData {
    pub(super) call_id: CallId,
    pub(super) locked: bool,
    pub(super) lobby: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RoleData {
    pub(super) call_id: CallId,
    pub(super) user_id: UserId,
    pub(super) role: Role,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HandData {
    pub(super) call_id: CallId,
    pub(super) raised: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TransferData {
    pub(super) call_id: CallId,
    pub(super) to_user_id: UserId,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SyncData {
    pub(super) call_id: CallId,
    pub(super) seq: u64,
    pub(super) sig: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PresenceData {
    pub(super) user_ids: Vec<UserId>,
}

#[derive(Deserialize)]
pub(super) struct RefreshData {
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
