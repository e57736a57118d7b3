//! The actors: one per call, one per connected user, and what carries messages between them.
//!
//! Owns who does what, where and in which order: decide, commit, evolve, publish. Never knows sockets or HTTP (that is
//! `gateway`), never writes except through the store, and never holds a truth that the store does not have, so that a
//! node, an actor or the bus may be lost at any moment.

pub mod call;
pub mod counts;
pub mod degraded;
pub mod directory;
mod group_calls;
pub mod handoff;
pub mod inbox;
pub mod keyed;
pub mod media_facts;
pub mod media_watch;
pub mod membership;
pub mod messages;
mod newer;
pub mod node;
pub mod operator;
pub mod outbox;
pub mod polling;
mod reader;
pub mod recordings;
mod room_pass;
pub mod router;
mod signals;
mod spans;
mod standing;
pub mod start;
pub mod sweepers;
pub mod user;

pub use messages::{Answer, Ask, Caller, SignalKind};
pub use node::{Node, NodeHandle};
pub use outbox::{CloseCause, Outbox};
