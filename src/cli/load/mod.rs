//! `carillon load`: drives a running cluster over its public protocol, and measures.

/// What to drive, and how hard.
#[derive(Debug, Clone, clap::Args)]
pub struct LoadArgs {}

/// Runs the load until it is done.
pub async fn run(_args: LoadArgs) -> anyhow::Result<()> {
    anyhow::bail!("not there yet")
}
