//! Carillon: the control plane for voice and video calls. See README.md and docs/architecture.md.

pub mod actors;
pub mod app;
pub mod build_info;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod domain;
pub mod gateway;
pub mod media;
pub mod metrics;
pub mod secret;
pub mod shutdown;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod trace;
pub mod webhooks;
pub mod wire;
