//! Puts the parts together.

use crate::config::Settings;

/// Runs a node until it is told to stop.
pub async fn serve(_settings: Settings) -> anyhow::Result<()> {
    anyhow::bail!("not there yet")
}

/// Brings the database's tables up to date.
pub async fn migrate(_settings: Settings) -> anyhow::Result<()> {
    anyhow::bail!("not there yet")
}
