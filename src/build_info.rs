//! Which build this is, for `carillon --version`, the log and whoever asks a running node.
//!
//! The commit is told at compile time by the environment variable `CARILLON_BUILD_COMMIT` (the Dockerfile sets it from
//! its build argument): sources in an image's build have no `.git` to ask. A build that was not told says so rather than
//! guess: a wrong commit is worse than none to whoever looks for a bug.

use std::sync::LazyLock;

/// The version of the release, as in Cargo.toml.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that was built, as it was told; `None` in builds that were not told.
pub const COMMIT: Option<&str> = match option_env!("CARILLON_BUILD_COMMIT") {
    Some(commit) if !commit.is_empty() => Some(commit),
    _ => None,
};

/// Both in one line, such as `0.2.0 (4be1d2c)`.
pub fn described() -> &'static str {
    static LINE: LazyLock<String> = LazyLock::new(|| format!("{VERSION} ({})", COMMIT.unwrap_or("commit unknown")));
    &LINE
}
