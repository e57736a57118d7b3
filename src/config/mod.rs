//! The settings of a node: where they come from, what they may be, and what they are when nothing is said.
//!
//! Owns every setting; nothing else in the crate reads the environment. Must never print a secret, also not in the
//! message that refuses one. A wrong setting stops the start, with its name and what would be right: a node that runs
//! with a guess is worse than one that does not run.

mod dev;
mod raw;
mod settings;
#[cfg(test)]
mod tests;
mod validate;

pub use raw::RawSettings;
pub use settings::{BusyPolicy, Database, LiveKit, LogFormat, LogSettings, Settings, SettingsError, Turn};
