//! The edge: turns bytes into commands and events into bytes, and decides nothing about calls.

pub mod auth;
pub mod close_code;
pub mod dispatch;
pub mod edge;
pub mod heartbeat;
pub mod protocol;
pub mod quality;
pub mod rest;
pub mod session;
pub mod socket;
pub mod web;
pub mod ws;

pub use edge::Gateway;
