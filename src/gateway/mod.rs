//! The edge: turns bytes into commands and events into bytes, and decides nothing about calls.

pub mod auth;
