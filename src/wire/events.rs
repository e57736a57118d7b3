//! What stands in the data of each event, field by field: what is sent is made of these, and so is the document of it.
//!
//! Owns the names of events and fields, and what is said of them to who writes a client. A state event of a call has
//! the fields of [`Head`] in front of its own.

use serde::Serialize;
use utoipa::{
    ToSchema,
    openapi::{Ref, RefOr, Schema},
};

use super::{
    CallObject, Frame, Refusal,
    call_object::{Escalating, ParticipantObject, RecordingObject},
};
use crate::domain::{
    AbortReason, CallId, CallMode, CallStatus, DeviceId, EndReason, EscalationCause, NodeId, Opaque, RecordingId,
    RecordingStatus, Role, SessionId, Timestamp, Track, UserId, recording::Layout,
};

/// The data of one kind of event.
pub trait EventData: Serialize {
    /// The event's name.
    const NAME: &'static str;
}

/// Schemas by their names, as types collect them.
pub type Found = Vec<(String, RefOr<Schema>)>;

/// What is known of one kind of event.
pub struct EventSpec {
    /// The event's name. Several kinds may have the same: their data tell them apart.
    pub name: &'static str,
    /// The name of its data's type.
    pub shape: &'static str,
    /// When it is sent, and to whom.
    pub says: &'static str,
    /// It is a state event: [`Head`] stands in front of its data.
    pub numbered: bool,
    /// The schema of its data without [`Head`], and the schemas which that refers to.
    pub schema: fn(&mut Found) -> RefOr<Schema>,
}

/// What every state event of a call begins with.
#[derive(Serialize, ToSchema)]
#[schema(as = StateEvent)]
#[serde(rename_all = "camelCase")]
pub struct Head<'a> {
    /// The call it happened to.
    pub call_id: &'a CallId,
    /// Counts the events of the call from 1.
    pub seq: u64,
    /// The `seq` of the state event before it that this user was sent; 0: there was none. Who has not seen that one has a hole.
    pub prev: u64,
    /// When it happened. Not in snapshots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

/// As the replies have it: its type is the media server's, which nothing here knows.
fn client_media() -> RefOr<Schema> {
    let says = "The way into the room; for the device that is in the call. The node it is connected to adds it.";
    RefOr::Ref(Ref::builder().ref_location_from_schema_name("Media").description(Some(says)).build())
}

fn schema_of<T: ToSchema>(others: &mut Found) -> RefOr<Schema> {
    T::schemas(others);
    T::schema()
}

macro_rules! events {
    ($(
        $numbered:literal $event:literal $(#[doc = $doc:literal])* $name:ident {
            $( $(#[$meta:meta])* $field:ident: $type:ty ),* $(,)?
        }
    )*) => {
        $(
            $(#[doc = $doc])*
            #[derive(Serialize, ToSchema)]
            #[serde(rename_all = "camelCase")]
            pub struct $name<'a> {
                $( $(#[$meta])* pub $field: $type ),*
            }

            impl EventData for $name<'_> {
                const NAME: &'static str = $event;
            }
        )*

        /// Every event there is.
        pub static ALL: &[EventSpec] = &[$(
            EventSpec {
                name: $event,
                shape: stringify!($name),
                says: concat!($($doc),*).trim_ascii(),
                numbered: $numbered,
                schema: schema_of::<$name<'static>>,
            }
        ),*];
    };
}

events! {
    true "call:state"
    /// The call was opened; to the initiator.
    CallOpened {
        /// Where the call stands.
        status: CallStatus,
        /// The call.
        call: CallObject<'a>,
    }

    true "call:state"
    /// Media of these participants works, or is taken to.
    CallConnected {
        /// Where the call stands.
        status: CallStatus,
        /// Whose media works.
        connected: &'a [UserId],
    }

    true "call:state"
    /// The call is about to move to the media server: its room is being opened.
    CallMoving {
        /// Where the call stands.
        status: CallStatus,
        /// The move; missing: it was given up meanwhile.
        #[serde(skip_serializing_if = "Option::is_none")]
        escalating: Option<Escalating<'a>>,
    }

    true "call:state"
    /// The call's recording has come further.
    RecordingMoved {
        /// Where the call stands.
        status: CallStatus,
        /// The recording.
        #[serde(skip_serializing_if = "Option::is_none")]
        recording: Option<RecordingObject<'a>>,
    }

    true "recording:started"
    /// The call is to be recorded: everybody hears of it before the media server is asked.
    RecordingStarted {
        /// The recording.
        recording_id: &'a RecordingId,
        /// Who wished for it.
        by: &'a UserId,
        /// Where it stands: `starting`.
        status: RecordingStatus,
        /// How the picture is put together.
        layout: Layout,
        /// There is no picture.
        audio_only: bool,
    }

    true "recording:stopped"
    /// It has been stopped, and its file is on the way; or it failed.
    RecordingStopped {
        /// The recording.
        recording_id: &'a RecordingId,
        /// Who stopped it; missing if it was the server.
        #[serde(skip_serializing_if = "Option::is_none")]
        by: Option<&'a UserId>,
        /// Where it stands: `processing` or `failed`.
        status: RecordingStatus,
        /// Why, if nobody stopped it.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'a str>,
    }

    false "recording:ready"
    /// A file is there; to everybody who has been in the call, also when it is over. May come twice, or not at all.
    RecordingReady {
        /// The call.
        call_id: &'a CallId,
        /// The recording.
        recording_id: &'a RecordingId,
        /// Where it stands: `ready`.
        status: RecordingStatus,
        /// The size of the file.
        #[serde(skip_serializing_if = "Option::is_none")]
        size_bytes: Option<u64>,
        /// How long it plays.
        #[serde(skip_serializing_if = "Option::is_none")]
        duration_secs: Option<u64>,
        /// When the file is deleted.
        #[serde(skip_serializing_if = "Option::is_none")]
        expires_at: Option<Timestamp>,
    }

    false "recording:stopped"
    /// It failed after its call had ended; to everybody who was in it.
    RecordingFailed {
        /// The call.
        call_id: &'a CallId,
        /// The recording.
        recording_id: &'a RecordingId,
        /// Where it stands: `failed`.
        status: RecordingStatus,
        /// How long it played.
        #[serde(skip_serializing_if = "Option::is_none")]
        duration_secs: Option<u64>,
        /// Why.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'a str>,
    }

    true "call:state"
    /// The call was locked or unlocked, the lobby opened or closed.
    CallLockChanged {
        /// Where the call stands.
        status: CallStatus,
        /// Who is not invited is refused.
        locked: bool,
        /// Who is not invited waits to be let in.
        lobby: bool,
        /// Who did it.
        by: &'a UserId,
    }

    true "call:state"
    /// The whole call at once, in place of missed events; `prev` is 0, and there is no `at`.
    CallSnapshot {
        /// Where the call stands.
        status: CallStatus,
        /// Always true.
        snapshot: bool,
        /// The call.
        call: CallObject<'a>,
    }

    true "call:incoming"
    /// A start or an invite rings this user.
    CallIncoming {
        /// Who rings.
        from: &'a UserId,
        /// Until when.
        #[serde(skip_serializing_if = "Option::is_none")]
        ring_deadline: Option<Timestamp>,
        /// The offer that the start carried.
        #[serde(skip_serializing_if = "Option::is_none")]
        offer: Option<&'a Opaque>,
        /// The call.
        call: CallObject<'a>,
    }

    true "call:created"
    /// A call was opened in a group; to its members who have no part in it.
    CallCreated {
        /// The call.
        call: CallObject<'a>,
    }

    true "call:participant_invited"
    /// Somebody is rung who was not from the start.
    ParticipantInvited {
        /// Who is rung.
        user_id: &'a UserId,
        /// Who invited them.
        by: &'a UserId,
        /// Until when they are rung.
        ring_deadline: Timestamp,
        /// To take the place of `by`; there only if true.
        #[serde(skip_serializing_if = "Option::is_none")]
        transfer: Option<bool>,
    }

    true "call:ringing"
    /// A device of a callee alerts.
    CallRinging {
        /// The callee.
        user_id: &'a UserId,
        /// Their devices that alert; at most 16 are noted.
        devices: &'a [DeviceId],
    }

    true "call:unreachable"
    /// No device of the callee is connected; they are rung until the deadline all the same.
    CallUnreachable {
        /// The callee.
        user_id: &'a UserId,
    }

    true "call:accepted"
    /// A callee has accepted.
    CallAccepted {
        /// The callee.
        user_id: &'a UserId,
        /// The device that is in the call now.
        device_id: &'a DeviceId,
        /// The answer to the offer that the start carried.
        #[serde(skip_serializing_if = "Option::is_none")]
        answer: Option<&'a Opaque>,
    }

    true "call:accepted_elsewhere"
    /// In place of `call:accepted`, to the user's other devices; also when the call moves to another device.
    CallAcceptedElsewhere {
        /// The device that is in the call now.
        device_id: &'a DeviceId,
    }

    true "call:declined"
    /// A callee has declined.
    CallDeclined {
        /// The callee.
        user_id: &'a UserId,
        /// The device that said so.
        #[serde(skip_serializing_if = "Option::is_none")]
        device_id: Option<&'a DeviceId>,
        /// In their own words.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'a str>,
    }

    true "call:declined_elsewhere"
    /// In place of `call:declined`, to the user's other devices.
    CallDeclinedElsewhere {
        /// The device that declined.
        device_id: &'a DeviceId,
    }

    true "call:busy"
    /// A callee is in another call.
    CallBusy {
        /// The callee.
        user_id: &'a UserId,
    }

    true "call:missed"
    /// A callee's ring ran out; one event for each.
    CallMissed {
        /// The callee.
        user_id: &'a UserId,
    }

    true "call:participant_joined"
    /// Somebody came in without being rung, or came back.
    ParticipantJoined {
        /// Who.
        user_id: &'a UserId,
        /// Their device that is in the call.
        device_id: &'a DeviceId,
        /// Where they stand.
        #[serde(skip_serializing_if = "Option::is_none")]
        participant: Option<ParticipantObject<'a>>,
    }

    true "call:participant_updated"
    /// Something about a participant has changed: media flags; the device (moved); status and device (back after a lost connection); the role.
    ParticipantUpdated {
        /// Who.
        user_id: &'a UserId,
        /// What has changed, and no more.
        changes: Changes<'a>,
        /// With a role: who gave it. Missing: the host has left, and somebody must be.
        #[serde(skip_serializing_if = "Option::is_none")]
        by: Option<&'a UserId>,
    }

    true "call:participant_reconnecting"
    /// The connection of a participant's device was lost.
    ParticipantReconnecting {
        /// Who.
        user_id: &'a UserId,
        /// Until when they are waited for.
        deadline: Timestamp,
    }

    true "call:participant_left"
    /// Somebody has left: `completed`; `connection_lost` when the grace was over; `kicked` when taken out of the call's group.
    ParticipantLeft {
        /// Who.
        user_id: &'a UserId,
        /// Why.
        reason: EndReason,
    }

    true "call:kicked"
    /// A host or cohost has sent somebody away.
    CallKicked {
        /// Who is out.
        user_id: &'a UserId,
        /// Who did it.
        by: &'a UserId,
    }

    true "call:mute_requested"
    /// A host or cohost asks these participants to switch something off.
    MuteRequested {
        /// Who is asked.
        user_ids: &'a [UserId],
        /// What to switch off.
        track: Track,
        /// Who asks.
        by: &'a UserId,
    }

    true "call:lobby_waiting"
    /// Somebody waits to be let in.
    LobbyWaiting {
        /// Who.
        user_id: &'a UserId,
    }

    true "call:admitted"
    /// Somebody is let in; `call:participant_joined` follows.
    CallAdmitted {
        /// Who.
        user_id: &'a UserId,
        /// By whom.
        by: &'a UserId,
    }

    true "call:denied"
    /// Somebody is not let in.
    CallDenied {
        /// Who.
        user_id: &'a UserId,
        /// By whom.
        by: &'a UserId,
    }

    true "call:hand_raised"
    /// A hand went up or down.
    HandRaised {
        /// Whose.
        user_id: &'a UserId,
        /// Up.
        raised: bool,
    }

    true "call:held"
    /// A participant has put the call on hold.
    CallHeld {
        /// Who.
        user_id: &'a UserId,
    }

    true "call:resumed"
    /// A participant goes on with the call.
    CallResumed {
        /// Who.
        user_id: &'a UserId,
    }

    true "call:transferred"
    /// Somebody has taken another's place. The other side makes the offer.
    CallTransferred {
        /// Who is out.
        user_id: &'a UserId,
        /// Who has taken their place.
        to_user_id: &'a UserId,
    }

    true "call:escalating"
    /// The call moves to the media server: come into its room, and keep the peer connections until `call:escalated`.
    CallEscalating {
        /// Why the call moves.
        cause: EscalationCause,
        /// Who asked for it, or came as the third.
        #[serde(skip_serializing_if = "Option::is_none")]
        by: Option<&'a UserId>,
        /// Until when everybody in the call must be in the room.
        deadline: Timestamp,
        /// The way into the room; for the device that is in the call. The node it is connected to adds it.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(schema_with = client_media, required = false)]
        media: Option<&'a Opaque>,
    }

    true "call:escalated"
    /// The call is on the media server: peer connections may be closed.
    CallEscalated {
        /// How media flows: `sfu`.
        mode: &'a CallMode,
        /// Where the call stands.
        status: CallStatus,
    }

    true "call:escalation_aborted"
    /// The call stays peer to peer: leave the room.
    EscalationAborted {
        /// Why.
        reason: AbortReason,
        /// The next attempt does not begin before.
        not_before: Timestamp,
        /// How media flows: `p2p`.
        mode: &'a CallMode,
        /// Where the call stands.
        status: CallStatus,
    }

    true "call:cancelled"
    /// The caller has given up; to everybody who ever had a part in the call.
    CallCancelled {
        /// Who.
        by: &'a UserId,
    }

    true "call:ended"
    /// The call is over: exactly once, always the last; to everybody who ever had a part in it.
    CallEnded {
        /// Why.
        reason: EndReason,
        /// Who ended it; missing if it was the server.
        #[serde(skip_serializing_if = "Option::is_none")]
        by: Option<&'a UserId>,
        /// How: one of the ends.
        status: CallStatus,
        /// Seconds from the second person's coming in; 0: nobody came.
        duration_secs: u64,
    }

    false "call:signal"
    /// A relayed signal.
    CallSignal {
        /// The call.
        call_id: &'a CallId,
        /// Whose it is.
        from: &'a UserId,
        /// The device that sent it.
        from_device: &'a DeviceId,
        /// `offer`, `answer`, `ice_candidate` or `renegotiate`.
        #[serde(rename = "type")]
        kind: &'a str,
        /// Counts from 1 per call and recipient, anew in each epoch.
        sig: u64,
        /// Rises when the memory of signals was lost with a node. Signals of a lower one are to be dropped.
        epoch: u64,
        /// What the sender gave, as it came.
        payload: &'a Opaque,
    }

    false "call:renegotiate"
    /// Signals under way may be lost: restart ICE if the media broke.
    CallRenegotiate {
        /// The call.
        call_id: &'a CallId,
        /// The epoch that begins.
        epoch: u64,
    }

    false "session:welcome"
    /// The session is ready: with a token on the upgrade, unasked; the reply to `session:hello` has the same data.
    SessionWelcome {
        /// This connection.
        session_id: &'a SessionId,
        /// The user of the token.
        user_id: &'a UserId,
        /// The device, made here if the client named none.
        device_id: &'a DeviceId,
        /// The node that the session is on.
        node_id: &'a NodeId,
        /// The node's time.
        server_time: Timestamp,
        /// After so many seconds without a frame from the node it pings.
        ping_interval_secs: u64,
        /// There is a media server: calls can move to it and be recorded.
        media_server: bool,
        /// The open calls in which the user is rung or engaged.
        #[schema(value_type = Vec<CallObject>)]
        active_calls: &'a [Frame],
    }

    false "session:expiring"
    /// The token ends in 60 s; `session:refresh` extends the session.
    SessionExpiring {
        /// When it ends.
        expires_at: &'a Timestamp,
    }

    false "error"
    /// A command without an `id` was refused, or a frame was none.
    CommandRefused {
        /// The command's name; null if the frame was none.
        #[schema(required = true)]
        event: Option<&'a str>,
        /// Why.
        error: &'a Refusal,
    }
}

/// What has changed about a participant.
#[derive(Serialize, ToSchema, Default)]
#[schema(as = ParticipantChanges)]
#[serde(rename_all = "camelCase")]
pub struct Changes<'a> {
    /// Whether they send audio.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio: Option<bool>,
    /// Whether they send video.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub video: Option<bool>,
    /// Whether they share a screen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub screen: Option<bool>,
    /// Where they stand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<crate::domain::ParticipantStatus>,
    /// Their device that is in the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_id: Option<&'a DeviceId>,
    /// What they may do to others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Whether the media server has seen them in the call's room.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_room: Option<bool>,
}
