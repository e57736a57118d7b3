//! The backend developer's guide does what it says: its lines are run as they stand, in one shell, from top to bottom.
//!
//! Behind each curl line stands the status that its answer must have. What is fenced and is no shell would not be run, so
//! it fails the test.

use std::{fmt::Write, fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use crate::support::{TestCluster, process};

/// In place of curl: the same, and the status of the answer is noted with the number of the line.
const CURL: &str = r#"#!/bin/sh
headers="$GUIDE/headers.$$"
"$REAL_CURL" "$@" -D "$headers"
code=$?
echo "$LINE status $(sed -n 's/^HTTP[^ ]* \([0-9]*\).*/\1/p' "$headers" | tail -n 1)" >> "$GUIDE/outcomes"
exit $code
"#;

/// A command of the guide, with what it goes on with on the next lines, and the status that stands behind it.
#[derive(Debug)]
struct Line {
    text: String,
    status: Option<String>,
}

/// All commands of all fenced blocks.
fn lines(guide: &str) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    let (mut fenced, mut goes_on) = (false, false);
    for (number, line) in guide.lines().enumerate() {
        if let Some(language) = line.strip_prefix("```") {
            fenced = !fenced;
            assert!(!fenced || language == "sh", "line {}: only shell is run, and this is {language:?}", number + 1);
            continue;
        }
        if !fenced || line.trim().is_empty() {
            continue;
        }
        if goes_on {
            let last = lines.last_mut().unwrap();
            write!(last.text, "\n{line}").unwrap();
        } else {
            lines.push(Line { text: line.to_owned(), status: None });
        }
        goes_on = line.ends_with('\\');
    }
    assert!(!fenced, "a block is not closed");
    for line in &mut lines {
        let comment = line.text.rsplit_once(" # ").map_or("", |(_, comment)| comment);
        let status: String = comment.chars().take(3).collect();
        line.status = status.bytes().all(|byte| byte.is_ascii_digit()).then_some(status).filter(|s| s.len() == 3);
    }
    lines
}

fn program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Runs them; what was noted of each: `N status 200`, `N exit 0`.
fn run(lines: &[Line], address: &str, settings: &[(String, String)]) -> (Vec<String>, String) {
    let folder = process::new_folder("guide");
    let real = String::from_utf8(Command::new("which").arg("curl").output().unwrap().stdout).unwrap();
    program(&folder.join("curl"), CURL);
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_carillon"), folder.join("carillon")).unwrap();
    let mut script = String::new();
    for (number, line) in lines.iter().enumerate() {
        writeln!(script, "export LINE={number}\n{}\necho \"$LINE exit $?\" >> \"$GUIDE/outcomes\"", line.text).unwrap();
    }
    program(&folder.join("guide.sh"), &script);
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("bash");
    shell.args(["-o", "pipefail"]).arg(folder.join("guide.sh")).current_dir(&folder);
    shell.env_clear().env("PATH", path).env("GUIDE", &folder).env("REAL_CURL", real.trim());
    shell.envs(settings.iter().cloned()).env("CARILLON", format!("http://{address}"));
    let ran = shell.output().unwrap();
    let outcomes = fs::read_to_string(folder.join("outcomes")).unwrap_or_default();
    let said = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
    fs::remove_dir_all(&folder).unwrap();
    (outcomes.lines().map(str::to_owned).collect(), said)
}

#[tokio::test]
async fn every_line_of_the_backend_guide_does_what_stands_behind_it() {
    let guide = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/backend.md")).unwrap();
    let lines = lines(&guide);
    assert!(lines.iter().filter(|line| line.status.is_some()).count() > 30, "{lines:?}");
    // Nobody in it has a socket, and a busy machine is slow.
    let cluster = TestCluster::two_nodes().set("CARILLON_RECONNECT_GRACE_SECS", 300).start().await;
    let (address, settings) = (cluster.node(0).address.to_string(), cluster.settings().to_vec());
    let (outcomes, said, lines) = tokio::task::spawn_blocking(move || {
        let (outcomes, said) = run(&lines, &address, &settings);
        (outcomes, said, lines)
    })
    .await
    .unwrap();
    let mut wanted = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        assert_eq!(line.text.contains("curl "), line.status.is_some(), "no status behind it: {}", line.text);
        wanted.extend(line.status.as_ref().map(|status| format!("{number} status {status}")));
        wanted.push(format!("{number} exit 0"));
    }
    for (number, line) in lines.iter().enumerate() {
        let of = |noted: &[String]| -> Vec<String> {
            noted.iter().filter(|noted| noted.split(' ').next() == Some(&number.to_string())).cloned().collect()
        };
        assert_eq!(of(&outcomes), of(&wanted), "{}\n{said}", line.text);
    }
}

#[test]
fn what_is_fenced_and_is_no_shell_is_not_passed_over() {
    let refused = |guide: &str| std::panic::catch_unwind(|| lines(guide)).is_err();
    assert!(refused("```json\n{}\n```\n") && refused("```\ncurl x\n```\n") && refused("```sh\ncurl x\n"));
    let read = lines("text\n```sh\nA=1\ncurl -X PUT \\\n    x   # 201: made\n```\n");
    assert_eq!(read.len(), 2);
    assert_eq!((read[0].status.as_deref(), read[1].status.as_deref()), (None, Some("201")));
    assert_eq!(read[1].text, "curl -X PUT \\\n    x   # 201: made");
}
