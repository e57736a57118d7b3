//! How the nodes of a cluster speak with one another.
//!
//! Imports only `domain` and `secret`. What travels is opaque here: nothing in this folder decides anything about a call.

pub mod bus;
pub mod bus_memory;
pub mod bus_redis;
pub mod envelope;
mod frame;
mod outbox;
