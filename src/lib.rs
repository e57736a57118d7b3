//! Carillon: the control plane for voice and video calls. See README.md and docs/architecture.md.

pub mod clock;
pub mod cluster;
pub mod domain;
pub mod secret;
pub mod store;
pub mod wire;
