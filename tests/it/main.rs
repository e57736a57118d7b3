//! The integration tests: one binary that drives real server processes over their public protocol.
//!
//! One file per behaviour; `support` holds what they share.

#![allow(clippy::disallowed_methods, reason = "tests measure real time")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test that panics has failed, which is what it is for"
)]
#![allow(unsafe_code, reason = "signals to child processes, and what becomes of them with us")]

mod authorization;
mod balancer;
mod browser;
mod bus;
mod calls_one_node;
mod calls_two_nodes;
mod config;
mod console;
mod degraded;
mod deployment;
mod doctor;
mod documents;
mod drain;
mod escalation;
mod faults;
mod fixtures;
mod gateway;
mod groups;
mod history;
mod idempotency;
mod limits;
mod load;
mod log_lines;
mod media_degraded;
mod media_ice;
mod media_rooms;
mod media_sweeper;
mod media_webhooks;
mod metrics;
mod ownership_model;
mod panics;
mod recordings;
mod reminders;
mod rest_calls;
mod resume;
mod roles;
mod row_security;
mod scenarios;
mod slow_client;
mod store;
mod support;
mod sweepers;
mod traces;
mod upgrade;
mod webhooks;
