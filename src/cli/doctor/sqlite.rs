//! The embedded database: its folder, its file, what stands in it, and whether somebody else has it.

use std::path::Path;

use super::{
    net::blocking,
    recordings::room,
    report::{Findings, Verdict},
    schema::{service_keys_judged, versions_judged},
};
use crate::{
    config::Settings,
    store::inspect::{known_in_sqlite, look_into_sqlite, try_wal_in},
};

/// A day of a busy node's calls; less, and it may soon have to refuse them.
const LITTLE_ROOM: u64 = 256 * 1024 * 1024;

/// All that has to do with SQLite.
pub(super) async fn check(found: &Findings, settings: &Settings, file: &Path) {
    const NAME: &str = "sqlite.folder";
    let folder = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => ".".into(),
    };
    let shown = folder.display().to_string();
    let mend = "let the user that the node runs as write there, or name another file in DATABASE_URL (sqlite:PATH)";
    let (one, other) = (folder.clone(), folder.clone());
    if !matches!(blocking(move || one.is_dir()).await, Some(true)) {
        return found.wrong(NAME, format!("{shown} is no directory"), format!("mkdir -p {shown}, and {mend}"));
    }
    match blocking(move || try_wal_in(&other)).await {
        Some(Ok(mode)) if mode == "wal" => {
            found.ok(NAME, format!("a database can be made in {shown}, with a write-ahead log"))
        }
        Some(Ok(mode)) => found.wrong(
            NAME,
            format!("in {shown} SQLite can keep no write-ahead log (it takes {mode})"),
            "it needs shared memory and locks: a local disk, not a network file system",
        ),
        Some(Err(why)) => return found.wrong(NAME, format!("no database can be made in {shown}: {why}"), mend),
        None => return found.wrong(NAME, format!("{shown} does not answer"), "look at the disk"),
    }
    file_system(found, &folder).await;
    room(found, "sqlite.room", &folder, LITTLE_ROOM).await;
    contents(found, settings, file).await;
}

async fn file_system(found: &Findings, folder: &Path) {
    const NAME: &str = "sqlite.file_system";
    let asked = folder.to_owned();
    let kind = blocking(move || rustix::fs::statfs(asked).map(|fs| u64::try_from(fs.f_type).unwrap_or(0))).await;
    let Some(Ok(kind)) = kind else { return found.not_checked(NAME, "its kind is not known") };
    // linux/magic.h. Locks that only this machine sees, or that come late, break the file.
    let remote = match kind & 0xffff_ffff {
        0x6969 => Some("NFS"),
        0xff53_4d42 | 0xfe53_4d42 | 0x517b => Some("SMB"),
        0x0102_1997 => Some("9p"),
        0x00c3_6400 => Some("Ceph"),
        0x5346_414f => Some("AFS"),
        _ => None,
    };
    match remote {
        None => found.ok(NAME, "no network file system that is known as one"),
        Some(name) => found.warning(
            NAME,
            format!("it is on {name}: locks over a network break SQLite files sooner or later"),
            "put it on a local disk or a block volume, or use PostgreSQL",
        ),
    }
}

async fn contents(found: &Findings, settings: &Settings, file: &Path) {
    const NAME: &str = "sqlite.file";
    let shown = file.display();
    if !file.exists() {
        found.ok(NAME, format!("{shown} is not there yet: the node makes it"));
        return service_keys_judged(found, settings, Some(0));
    }
    let Some(path) = file.to_str().map(str::to_owned) else {
        return found.wrong(NAME, "the path is not UTF-8", "give it another name");
    };
    let state = match blocking(move || look_into_sqlite(&path)).await {
        Some(Ok(state)) => state,
        Some(Err(why)) => {
            return found.wrong(
                NAME,
                format!("{shown} cannot be read: {why}"),
                "let the node's user read and write it; if it is no database any more, take a copy of before",
            );
        }
        None => return found.wrong(NAME, format!("{shown} does not answer"), "look who holds it (fuser)"),
    };
    if state.lockable {
        found.ok(NAME, format!("{shown} can be written to (journal: {})", state.journal_mode));
    } else {
        found.wrong(
            NAME,
            format!("{shown} cannot be locked for writing: another process holds it, or it may not be written to"),
            "end what holds it (fuser, lsof), or let the node's user write it",
        );
    }
    let run = "run `carillon migrate`, or start a node with CARILLON_MIGRATE=auto";
    match &state.applied {
        None => found.judged("sqlite.tables", Verdict::Warning, "there are none yet", run),
        Some(applied) => versions_judged(found, "sqlite.tables", &known_in_sqlite(), applied, run),
    }
    let living: Vec<_> = state.nodes.iter().map(|(id, version)| format!("{id} ({version})")).collect();
    match living.len() {
        0 => found.ok("sqlite.nodes", "no node runs on it now"),
        1 => found.ok("sqlite.nodes", format!("{} runs on it; a second one must not", living.join(", "))),
        _ => found.warning(
            "sqlite.nodes",
            format!("{} have leases on it: one file is for one node", living.join(", ")),
            "end all but one; one that was killed is gone in seconds",
        ),
    }
    service_keys_judged(found, settings, state.applied.is_some().then_some(state.service_keys));
}
