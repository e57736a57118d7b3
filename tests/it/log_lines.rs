//! docs/log.md is what the program can write: every line with its level and fields, and nothing that it cannot.
//!
//! Reads the sources: a line is a call of `info!`, `warn!` or `error!` outside of tests. Its message must be constant.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

const LEVELS: [&str; 3] = ["info", "warn", "error"];
/// Where a file's own tests begin.
const TESTS: &str = "#[cfg(test)]\nmod tests {";

/// A level, and the names of its fields.
type Line = (String, BTreeSet<String>);
type Lines = BTreeMap<String, Line>;

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        match path.is_dir() {
            true if name != "tests" => sources(&path, found),
            false if name.ends_with(".rs") && name != "tests.rs" && !name.ends_with("_tests.rs") => found.push(path),
            _ => {}
        }
    }
}

/// The arguments of a macro, from behind its bracket.
fn arguments(text: &str) -> Vec<String> {
    let (mut arguments, mut current, mut depth) = (Vec::new(), String::new(), 1);
    let (mut quoted, mut escaped) = (false, false);
    for c in text.chars() {
        let outside = !quoted;
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '(' | '[' | '{' if outside => depth += 1,
            ')' | ']' | '}' if outside => depth -= 1,
            ',' if outside && depth == 1 => {
                arguments.push(std::mem::take(&mut current));
                continue;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
        current.push(c);
    }
    arguments.push(current);
    arguments.into_iter().map(|argument| argument.trim().to_owned()).filter(|argument| !argument.is_empty()).collect()
}

/// `name = value`, `%name`, `?name` or `name`.
fn field(argument: &str) -> String {
    let name = argument.split_once(" = ").map_or(argument, |(name, _)| name);
    name.trim_start_matches(['%', '?']).to_owned()
}

/// The message of a literal, with lines that go on joined.
fn message(literal: &str) -> Option<String> {
    let text = literal.strip_prefix('"')?.strip_suffix('"')?;
    let joined: Vec<&str> =
        text.split("\\\n").enumerate().map(|(n, line)| if n == 0 { line } else { line.trim_start() }).collect();
    let message = joined.concat();
    (!message.contains(['{', '\\'])).then_some(message)
}

fn lines_of(source: &str, lines: &mut Lines) -> Result<(), String> {
    let source = source.split(TESTS).next().unwrap_or_default();
    for level in LEVELS {
        let call = format!("{level}!(");
        for (at, _) in source.match_indices(&call) {
            let before = source[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_') || is_comment(&source[..at]) {
                continue;
            }
            let mut said = arguments(&source[at + call.len()..]);
            let literal = said.pop().unwrap_or_default();
            let Some(message) = message(&literal) else {
                return Err(format!("{level}!: not a constant message: {literal}"));
            };
            let fields =
                said.iter().filter(|argument| !argument.starts_with("target:")).map(|argument| field(argument));
            // The same message in two places may have what only one of them knows.
            let entry = lines.entry(message.clone()).or_insert_with(|| (level.to_owned(), BTreeSet::new()));
            if entry.0 != level {
                return Err(format!("{message:?} has two levels"));
            }
            entry.1.extend(fields);
        }
    }
    Ok(())
}

fn is_comment(before: &str) -> bool {
    before.rsplit('\n').next().is_some_and(|line| line.trim_start().starts_with("//"))
}

/// The rows of the tables whose second column is a level.
fn rows_of(page: &str) -> Lines {
    let rows = page.lines().filter_map(|line| {
        let cells: Vec<&str> = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").collect();
        let [message, level, fields, means, to_do] = cells[..] else { return None };
        let message = message.strip_prefix('`')?.strip_suffix('`')?;
        assert!(!means.is_empty() && !to_do.is_empty(), "{line}");
        let fields = fields.split_whitespace().filter(|field| *field != "-");
        let fields = fields.map(|field| field.trim_matches('`').to_owned()).collect();
        Some((message.to_owned(), (level.to_owned(), fields)))
    });
    let rows: Vec<_> = rows.collect();
    let lines: Lines = rows.iter().cloned().collect();
    assert_eq!(rows.len(), lines.len(), "a line stands there twice");
    lines
}

/// What is in one and not, or not like this, in the other.
fn differences(sources: &Lines, page: &Lines) -> Vec<String> {
    let lacks = |a: &Lines, b: &Lines, what: &str| -> Vec<String> {
        let other = a.iter().filter(|(message, line)| b.get(*message) != Some(line));
        other.map(|(message, (level, fields))| format!("{what}: `{message}` {level} {fields:?}")).collect()
    };
    [lacks(sources, page, "docs/log.md lacks"), lacks(page, sources, "no source writes")].concat()
}

#[test]
fn every_line_that_the_program_writes_is_in_the_guide_and_no_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    sources(&root.join("src"), &mut files);
    let mut written = Lines::new();
    for file in files {
        let source = fs::read_to_string(&file).unwrap();
        lines_of(&source, &mut written).unwrap_or_else(|fault| panic!("{}: {fault}", file.display()));
    }
    assert!(written.len() > 60, "{}", written.len());
    let told = rows_of(&fs::read_to_string(root.join("docs/log.md")).unwrap());
    let differences = differences(&written, &told);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn fields_are_named_in_small_letters_with_dots() {
    let told = rows_of(include_str!("../../docs/log.md"));
    for (message, (level, fields)) in told {
        assert!(LEVELS.contains(&level.as_str()), "{message}: {level}");
        for field in fields {
            let fine = field.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c == '.');
            assert!(fine && !field.is_empty(), "{message}: {field}");
        }
    }
}

#[test]
fn a_line_that_is_new_or_gone_or_has_changed_is_found() {
    let source = "fn f() {\n    tracing::warn!(\n        call.id = %g(a, \"b, c\"), %error, why,\n        \"first: \\\n         of two lines\"\n    );\n    \
        // warn!(\"not this\")\n    info!(n = 1, \"second\");\n}\n#[cfg(test)]\nmod tests {\n info!(\"nor this\") }";
    let mut lines = Lines::new();
    lines_of(source, &mut lines).unwrap();
    let page = "| `first: of two lines` | warn | `call.id` `error` `why` | m | d |\n| `second` | info | `n` | m | d |";
    assert_eq!(differences(&lines, &rows_of(page)), [""; 0]);
    for (wrong, faults) in [
        (page.replace("second", "third"), 2),
        (page.replace("info", "warn"), 2),
        (page.replace(" `why`", ""), 2),
        (page.lines().next().unwrap().to_owned(), 1),
    ] {
        assert_eq!(differences(&lines, &rows_of(&wrong)).len(), faults, "{wrong}");
    }
    assert!(lines_of("error!(\"it is {n}\")", &mut lines).is_err(), "a message is searched for");
}
