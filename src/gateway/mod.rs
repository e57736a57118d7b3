//! The edge: turns bytes into commands and events into bytes, and decides nothing about calls.

pub mod address;
pub mod asyncapi;
pub mod auth;
pub mod close_code;
pub mod cors;
pub mod counts;
pub mod dispatch;
pub mod edge;
pub mod headers;
pub mod heartbeat;
pub mod limits;
pub mod links;
pub mod openapi;
pub mod passwords;
pub mod protocol;
pub mod quality;
pub mod rest;
pub mod session;
pub mod socket;
pub mod web;
pub mod ws;

pub use edge::Gateway;
