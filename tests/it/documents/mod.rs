//! The documents of the API: whether they are what the standards want, and whether a node does what they say. Needs the
//! tools of `tests/run tools` in target/tools/documents and tests/documents/node_modules; run by `tests/run schema`.

mod conformance;
mod live;
pub mod observed;
mod page;

use std::path::{Path, PathBuf};

/// Where the tools are described, and those of npm installed.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/documents")
}

/// A program of the Python tools.
fn python_tool(name: &str) -> PathBuf {
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/documents/bin").join(name);
    assert!(tool.exists(), "{} is not there; `tests/run tools` installs it", tool.display());
    tool
}
