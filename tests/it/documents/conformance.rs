//! The documents against the standards they follow.

use std::process::Command;

use carillon::gateway::{asyncapi, openapi};

use super::{folder, python_tool};
use crate::support::process::new_folder;

fn must(what: &str, command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{what}: {error}"));
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success(), "{what}: {said}");
}

#[test]
fn the_openapi_document_is_one_of_version_3_1() {
    let file = new_folder("documents").join("openapi.json");
    std::fs::write(&file, openapi::document().to_string()).unwrap();
    must(
        "openapi-spec-validator",
        Command::new(python_tool("openapi-spec-validator")).args(["--schema", "3.1"]).arg(file),
    );
}

#[test]
fn the_asyncapi_document_is_one_of_version_3() {
    let file = new_folder("documents").join("asyncapi.json");
    std::fs::write(&file, asyncapi::document().to_string()).unwrap();
    assert!(folder().join("node_modules").exists(), "`npm ci` was not run in tests/documents; `tests/run tools` does");
    must("@asyncapi/parser", Command::new("node").arg(folder().join("asyncapi.mjs")).arg(file));
}
