//! What actors say to each other, in the process and (as JSON with blobs, see [`crate::cluster::envelope`]) between
//! nodes. Fields may be added; a node of the next version must understand this one.

use std::{sync::Arc, time::Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{
    Node, Outbox,
    directory::SignalSlot,
    handoff::Parcel,
    keyed::CommandKey,
    operator::{Order, Report},
};
use crate::{
    domain::{CallId, Command, DeviceId, NodeId, ParticipantStatus, SessionId, UserId, call::Call},
    trace::{Span, TraceContext},
    wire::{
        Frame, Refusal,
        render::{Item, RoomPass},
    },
};

/// A user at one device and session, somewhere in the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    pub user: UserId,
    pub device: DeviceId,
    /// `None`: a request that no session stands behind. Whether the device has one, and where, is not known by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// The node that holds the session: where what is meant for this device alone is sent.
    pub node: NodeId,
}

/// What is asked of a call.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// A command of the user.
    Do(Command),
    /// Something a node has noticed about this user and device: `ConnectionLost`, `BusyElsewhere`;
    /// or of the call: `Sweep`, `EndByOperator`.
    Notice(Command),
    /// The call as it stands.
    Get,
    /// What the user has not had since `seq` and `sig`.
    Sync(Resume),
    /// A device of the user has connected: it is back if it was away, rings if the user is rung, and has missed
    /// something if it says what it has.
    Attach { resume: Option<Resume> },
    /// The user began a call whose slot this one holds.
    Clash,
    /// The members of the call's group have changed: who is in the call or rung by it, and is none any more, is taken out.
    Members,
    /// A command that its user gave a key: carried out once under it, see [`super::keyed`].
    Keyed { key: CommandKey, ask: Box<Ask> },
}

impl Ask {
    /// Which question it is: the command's name, where it is one.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Do(command) | Self::Notice(command) => command.name(),
            Self::Get => "get",
            Self::Sync(_) => "sync",
            Self::Attach { .. } => "attach",
            Self::Clash => "clash",
            Self::Members => "members",
            Self::Keyed { ask, .. } => ask.name(),
        }
    }
}

/// What a client says it has of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    pub seq: u64,
    /// `None`: signals are not wanted.
    pub sig: Option<u64>,
}

/// The answer to an [`Ask`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    Done,
    /// The call object.
    Call(Frame),
    /// Waits to be let in.
    Lobby,
    Missed(Missed),
    Attached(Box<Attached>),
    /// The call was no glare: begin one of your own.
    Separate,
    /// To what an operator asks of a node.
    Report(Report),
    /// To a command with a key: the first answer, which is recorded.
    OnRecord(Box<Result<Answer, Refusal>>),
    /// The same, but it must be looked up.
    SeeRecord,
}

/// What a user has not had of a call.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Missed {
    pub seq: u64,
    pub epoch: u64,
    pub owner: NodeId,
    pub standing: Standing,
    pub items: Vec<Item>,
    /// In place of `items`, when the history asked for is gone or longer than the state.
    pub snapshot: Option<Frame>,
    /// With the snapshot: the user's device may come into the call's room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pass: Option<RoomPass>,
    pub signals: Vec<MissedSignal>,
    /// The epoch that they are counted in.
    #[serde(default)]
    pub signal_epoch: u64,
}

/// One signal out of the owner's memory.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MissedSignal {
    pub sig: u64,
    pub frame: Frame,
    /// The only device it is for.
    pub device: Option<DeviceId>,
}

impl Missed {
    /// The frames for one device, in order.
    pub fn for_device(&self, node: &Node, user: &UserId, device: &DeviceId) -> Vec<Frame> {
        let items = self.items.iter().map(|item| (item.for_device(device), item.pass.as_ref()));
        let snapshot = self.snapshot.iter().map(|frame| (frame, self.pass.as_ref()));
        snapshot
            .chain(items)
            .map(|(frame, pass)| node.with_media(frame, pass, user, device))
            .chain(self.signals_for(device))
            .collect()
    }

    /// The signals for one device, in order.
    pub fn signals_for<'a>(&'a self, device: &'a DeviceId) -> impl Iterator<Item = Frame> + 'a {
        self.signals.iter().filter(move |s| s.device.as_ref().is_none_or(|d| d == device)).map(|s| s.frame.clone())
    }
}

/// A call that a device has been attached to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Attached {
    /// The call object.
    pub call: Frame,
    pub missed: Missed,
    /// The owner has answered, and knows where the device is. Else this was read from the store: the owner is still to
    /// be told, and has the signals.
    #[serde(default = "yes")]
    pub owner_knows: bool,
}

const fn yes() -> bool {
    true
}

/// Where a user stands in a call, as far as their node must know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    Rung,
    /// In the call or its lobby, at this device.
    Engaged {
        device: DeviceId,
    },
    /// Not in it, but told of it.
    Bystander,
    /// The call has ended.
    Over,
}

impl Standing {
    /// Where `user` stands in `call`.
    pub fn of(call: &Call, user: &UserId) -> Self {
        if call.status.is_final() {
            return Self::Over;
        }
        match call.participant(user) {
            Some(p) if p.status.is_rung() => Self::Rung,
            Some(p) if p.status.is_present() => {
                p.device.clone().map_or(Self::Bystander, |device| Self::Engaged { device })
            }
            _ => Self::Bystander,
        }
    }

    /// The participant status this stands for, where it is one that lasts.
    pub const fn as_status(&self) -> Option<ParticipantStatus> {
        match self {
            Self::Rung => Some(ParticipantStatus::Ringing),
            Self::Engaged { .. } => Some(ParticipantStatus::Joined),
            Self::Bystander | Self::Over => None,
        }
    }
}

/// Events of one call for one user, from the call's owner.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub call: CallId,
    pub epoch: u64,
    pub owner: NodeId,
    pub items: Vec<Item>,
    /// Where the user stands after them.
    pub standing: Standing,
    /// The owner does not know which session the device in the call has: whoever holds one says so.
    pub unlinked: bool,
    /// What has caused it.
    pub trace: Option<TraceContext>,
    /// When it was committed here, or came by the bus.
    pub at: Instant,
}

/// A signal for one user, from the call's owner.
#[derive(Debug, Clone)]
pub struct SignalDelivery {
    pub call: CallId,
    pub epoch: u64,
    pub sig: u64,
    /// The only device it is for.
    pub device: Option<DeviceId>,
    pub frame: Frame,
}

/// What a relayed signal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SignalKind {
    Offer,
    Answer,
    IceCandidate,
    Renegotiate,
}

impl SignalKind {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Offer => "offer",
            Self::Answer => "answer",
            Self::IceCandidate => "ice_candidate",
            Self::Renegotiate => "renegotiate",
        }
    }
}

/// A signal on its way to the call's owner.
#[derive(Debug, Clone)]
pub struct SignalRequest {
    pub call: CallId,
    pub from: UserId,
    pub from_device: DeviceId,
    pub kind: SignalKind,
    /// To this user; `None`: to all others in the call.
    pub to: Option<UserId>,
    /// To this device of `to` alone.
    pub to_device: Option<DeviceId>,
    /// JSON, as it came.
    pub payload: Frame,
    pub receipt: Receipt,
    /// Relayed once under it, as far as the owner remembers.
    pub key: Option<CommandKey>,
}

/// Where the outcome of a signal goes.
#[derive(Clone)]
pub enum Receipt {
    /// To a session on this node: a reply if it has an id, else only a failure.
    Here { outbox: Arc<dyn Outbox>, session: SessionId, id: Option<String> },
    /// To another node: as the answer to its question, or, if it asked none, to the session if it fails.
    There { node: NodeId, session: SessionId, ask: Option<u64> },
}

impl std::fmt::Debug for Receipt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Here { .. } => "Here",
            Self::There { .. } => "There",
        })
    }
}

/// An [`Ask`] on its way to the actor of a call. A dropped `reply` means that the actor is gone.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub struct Request {
    /// Names the command in the store, so that its outcome can be looked up when it is unknown.
    pub command: Uuid,
    /// `None`: the node itself, for its own use.
    pub caller: Option<Caller>,
    pub ask: Ask,
    pub reply: oneshot::Sender<Result<Answer, Refusal>>,
    /// What it is asked for. `None`: nothing that had one; what comes of it is then a trace of its own.
    pub trace: Option<TraceContext>,
    /// From its arrival at the actor to its answer.
    pub span: Span,
}

/// A signal for the actor of a call to relay.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub struct RelaySignal {
    pub request: SignalRequest,
    /// Given back when the signal has been handled.
    pub slot: SignalSlot,
}

/// What one node tells another.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToNode {
    Ask {
        id: u64,
        command: Uuid,
        call: CallId,
        caller: Caller,
        ask: Ask,
        hops: u8,
    },
    Answer {
        id: u64,
        result: Result<Answer, Refusal>,
    },
    /// Blob: the payload.
    Signal {
        call: CallId,
        from: UserId,
        from_device: DeviceId,
        kind: SignalKind,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<UserId>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to_device: Option<DeviceId>,
        session: SessionId,
        /// An [`ToNode::Answer`] of this id is waited for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ask: Option<u64>,
        /// The node of the sender's session, where that is not the node that sends this: the call has moved meanwhile.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        origin: Option<NodeId>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<CommandKey>,
    },
    /// A signal that nobody waits for was refused; for the session that sent it.
    SignalRefused {
        session: SessionId,
        refusal: Refusal,
    },
    /// The sender leaves, and would hand this call over to the receiver. Answered as a question is.
    HandOver {
        id: u64,
        call: CallId,
        parcel: Parcel,
    },
    /// What an operator asks of the receiver. Answered as a question is; not sent to nodes of a version that does not know
    /// it.
    Order {
        id: u64,
        order: Order,
    },
    /// How far calls of the sender have come, with their epochs: who follows one and is behind has lost something.
    Digest {
        calls: Vec<(CallId, u64, u64)>,
    },
    /// To the sender itself, so that it knows how long the bus takes; by its own clock, since its start.
    Echo {
        sent_nanos: u64,
    },
    /// Blob: the frame.
    SignalDelivery {
        user: UserId,
        head: SignalHead,
    },
}

/// What every node with sessions of a user hears.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToUser {
    /// Blobs: for each item its frame, then the one for `device` if it has one.
    Delivery {
        call: CallId,
        epoch: u64,
        items: Vec<ItemHead>,
        standing: Standing,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        unlinked: bool,
    },
    /// Blob: the frame.
    Signal { head: SignalHead },
    /// The call has a new owner, the sender. Blob: the frame for the device in it; none: it was handed over, at this
    /// `seq`, and nothing was lost.
    NewOwner {
        call: CallId,
        epoch: u64,
        #[serde(default)]
        seq: u64,
    },
    /// Something that is no event of a call's state: it may be lost. Blob: the frame.
    Word {},
    /// A session was opened; an older one of the same device is replaced.
    SessionOpened { device: DeviceId, session: SessionId },
}

/// An [`Item`] without its frames.
#[derive(Debug, Serialize, Deserialize)]
pub struct ItemHead {
    pub seq: u64,
    pub prev: u64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rings: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pass: Option<RoomPass>,
}

/// A [`SignalDelivery`] without its frame.
#[derive(Debug, Serialize, Deserialize)]
pub struct SignalHead {
    pub call: CallId,
    pub epoch: u64,
    pub sig: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceId>,
}
