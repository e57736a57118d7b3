//! The rules of calls: pure functions from state, time and command to events.
//!
//! Nothing here does IO, reads a clock, draws a random number or knows another module of this crate.

pub mod ids;
pub mod time;
