//! Carillon: the control plane for voice and video calls. See README.md and docs/architecture.md.

pub mod cli;
pub mod domain;
pub mod secret;
