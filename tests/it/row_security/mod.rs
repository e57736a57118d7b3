//! The second wall: what PostgreSQL itself shows to whom.
//!
//! The rest of the suite proves the other half: its nodes log in as the role that is held to the policies.

mod roles;
mod tables;
#[cfg(feature = "failpoints")]
mod viewers;
