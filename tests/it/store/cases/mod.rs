//! The cases of the conformance suite; each is run on both databases.

pub mod batches;
pub mod commits;
pub mod groups;
pub mod keyed;
pub mod livekit_events;
pub mod migrations;
pub mod old;
pub mod ownership;
pub mod reads;
pub mod service_keys;
pub mod slots;
pub mod sweeps;
