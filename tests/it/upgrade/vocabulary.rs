//! Events are stored and read by both releases: this one writes no kind of event, and in one no word, that the last one
//! cannot read. A new one is first read by a version, and written by the next: until then it stands in [`READ_ONLY`].

use std::{collections::BTreeSet, path::Path, process::Command};

/// What this version reads and does not write yet.
const READ_ONLY: [&str; 0] = [];

/// Where the kinds of events and the words in them are.
const FILES: [&str; 5] = [
    "src/domain/event.rs",
    "src/domain/call/mod.rs",
    "src/domain/participant.rs",
    "src/domain/recording.rs",
    "src/domain/command.rs",
];

/// The words of a source file that stand for something on the wire or in the database: `Variant = "word"`, `=> "word"`.
fn words(source: &str) -> BTreeSet<String> {
    let tests = source.find("#[cfg(test)]").unwrap_or(source.len());
    let after = source[..tests].split("= \"").chain(source[..tests].split("=> \"")).skip(1);
    let found = after.filter_map(|rest| rest.split('"').next());
    let word = |text: &&str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    found.filter(word).map(str::to_owned).collect()
}

/// The names of an enum's variants.
fn variants(source: &str, name: &str) -> BTreeSet<String> {
    let body = source.split(&format!("pub enum {name} {{\n")).nth(1).unwrap_or_default();
    let body = body.split("\n}").next().unwrap_or_default();
    let lines = body.lines().filter(|line| line.starts_with("    ") && !line.starts_with("     "));
    let names = lines.map(|line| line.trim().chars().take_while(|c| c.is_ascii_alphanumeric()).collect::<String>());
    names.filter(|name| name.starts_with(|c: char| c.is_ascii_uppercase())).collect()
}

/// A file of the last release, from its archive.
fn previous(path: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/previous");
    let archive = std::fs::read_dir(folder).expect("tests/previous").flatten().map(|file| file.path());
    let archive = archive.into_iter().find(|file| file.to_string_lossy().ends_with(".tar.gz")).expect("an archive");
    let name =
        archive.file_name().and_then(|name| name.to_str()).expect("a name").trim_end_matches(".tar.gz").to_owned();
    let output =
        Command::new("tar").arg("-xzOf").arg(&archive).arg(format!("{name}/{path}")).output().expect("run tar");
    assert!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn this_version_writes_no_event_that_the_last_cannot_read() {
    let mut compared = 0;
    for path in FILES {
        let now = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("a source file");
        let before = previous(path);
        // Of the commands only what events say of them: they themselves are sent, and may be refused.
        let of_events = |source| if path.ends_with("command.rs") { BTreeSet::new() } else { words(source) };
        let mut ours = of_events(&now);
        let mut theirs = of_events(&before);
        for name in ["Event", "Track"] {
            ours.extend(variants(&now, name));
            theirs.extend(variants(&before, name));
        }
        compared += ours.len();
        let new: Vec<&String> = ours.difference(&theirs).filter(|word| !READ_ONLY.contains(&word.as_str())).collect();
        assert!(new.is_empty(), "{path}: nodes of the last release cannot read {new:?}; see docs/upgrades.md");
    }
    assert!(compared > 100, "the words are found: {compared}");
}
