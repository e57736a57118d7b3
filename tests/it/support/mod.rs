//! What the scenarios stand on: real processes, real sockets, and fixtures that prove when they are dropped that
//! nothing went wrong on the way.
//!
//! - [`TestCluster`] starts `carillon serve` processes: `TestCluster::embedded()` (SQLite, one node),
//!   `TestCluster::two_nodes()` or `TestCluster::of(n)` (a fresh PostgreSQL database, the shared Redis), with
//!   `.set("CARILLON_…", value)` before `.start().await`.
//! - [`TestClient`] is one device: `cluster.connect(node, user, device)`; commands by `must`, `refused`, `call`, `cast`;
//!   events by `expect…`; the moves of a call in `moves`.
//! - `.linked(node, seed)` puts a [`proxy`] before each server of that node, `.set_on(node, …)` is a setting of it alone.
//! - [`postgres`] and [`redis`] hold the private servers; a test that breaks one makes an `Instance` of its own.
//! - [`prometheus`] starts a Prometheus that reads the nodes, and asks it.
//! - [`livekit`] and [`coturn`] start media servers, each test its own; LiveKit's tests do nothing where it is not there.
//!
//! Dropping a client asserts the order of everything it received. Dropping a node asserts that it still ran, did not
//! panic, and that no secret stands in its log. Helpers wait for conditions; none sleeps for luck.

#![allow(dead_code, reason = "a fixture offers whole gestures; not every scenario needs every one")]

pub mod canary;
pub mod client;
pub mod cluster;
pub mod coturn;
pub mod http;
pub mod inbox;
pub mod livekit;
pub mod moves;
pub mod node;
pub mod postgres;
pub mod process;
pub mod prometheus;
pub mod proxy;
pub mod redis;
pub mod rest;

pub use client::{Connect, Refused, TestClient};
pub use cluster::TestCluster;
