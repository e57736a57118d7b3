//! The rules of calls: pure functions from state, time and command to events.
//!
//! Owns what a call is and what may happen to it. Nothing here does IO, reads a clock, draws a random number or
//! knows another module of this crate; so it survives every failure by having none.

pub mod busy;
pub mod call;
pub mod command;
pub mod event;
pub mod ids;
pub mod opaque;
pub mod participant;
pub mod quality;
pub mod recording;
pub mod rejection;
pub mod time;
pub mod webhook;

pub use busy::BusyPolicy;
pub use call::{AbortReason, Call, CallMode, CallStatus, CallType, End, EndReason, Escalation, EscalationCause};
pub use command::{By, Command, Membership, Prey, Rules, Start, Track};
pub use event::{Event, Recorded};
pub use ids::{CallId, DeviceId, GroupId, NodeId, RecordingId, SessionId, UserId};
pub use opaque::Opaque;
pub use participant::{Participant, ParticipantStatus, Role};
pub use recording::{Recording, RecordingStatus};
pub use rejection::Rejection;
pub use time::Timestamp;
pub use webhook::{EventFilter, Notice, WebhookEvent};
