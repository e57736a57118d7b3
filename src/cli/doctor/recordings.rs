//! Where recordings are kept: whether a file can be written there, read back and deleted, and whether there is room.

use std::path::{Path, PathBuf};

use super::{
    net::{STEP, blocking, reach},
    report::{Findings, Verdict},
};
use crate::{
    config::Settings,
    gateway::auth::Url,
    media::{
        Files, FilesConfig,
        files::S3Config,
        inspect::{FailedKind, FailedStep},
    },
};

/// An hour of video of good quality; less, and the next recording may not end well.
const LITTLE_ROOM: u64 = 2 * 1024 * 1024 * 1024;

/// A directory or a bucket, if recordings are kept.
pub(super) async fn check(found: &Findings, settings: &Settings) {
    match &settings.recordings.files {
        None => {}
        Some(FilesConfig::Directory { dir, .. }) => directory(found, settings, dir).await,
        Some(FilesConfig::S3(s3)) => bucket(found, settings, s3).await,
    }
    if settings.recordings.files.is_some() && settings.livekit.is_none() {
        found.warning(
            "recordings.media_server",
            "recordings have a place, and there is no media server to make them",
            "set LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET",
        );
    }
}

async fn directory(found: &Findings, settings: &Settings, dir: &Path) {
    const NAME: &str = "recordings.directory";
    let shown = dir.display();
    let mend = "let the user that nodes run as, and livekit-egress, write there (chown, or the volume's fsGroup); it must be the \
        same directory for both";
    let place: PathBuf = dir.to_owned();
    if !matches!(blocking(move || place.is_dir()).await, Some(true)) {
        return found.wrong(NAME, format!("{shown} is no directory here"), format!("mkdir -p {shown}, and {mend}"));
    }
    let Some(FilesConfig::Directory { .. }) = &settings.recordings.files else { return };
    match settings.recordings.files.as_ref().map(Files::open) {
        Some(Ok(files)) => match files.try_out(STEP).await {
            Ok(()) => found.ok(NAME, format!("a file was written to {shown}, read and deleted")),
            Err(failed) => found.wrong(NAME, format!("in {shown} no file can be {}", failed.step), mend),
        },
        Some(Err(why)) => found.wrong(NAME, why, mend),
        None => {}
    }
    room(found, "recordings.room", dir, LITTLE_ROOM).await;
}

/// Free space where this path is.
pub(super) async fn room(found: &Findings, name: &'static str, path: &Path, least: u64) {
    let asked = path.to_owned();
    let free = blocking(move || rustix::fs::statvfs(asked).map(|fs| fs.f_bavail.saturating_mul(fs.f_frsize))).await;
    let Some(Ok(free)) = free else { return found.not_checked(name, "it does not say how much is free") };
    let mib = free / 1024 / 1024;
    let verdict = match free {
        0..16_777_216 => Verdict::Wrong,
        free if free < least => Verdict::Warning,
        _ => Verdict::Ok,
    };
    let seen = if mib > 10 * 1024 { format!("{} GiB free", mib / 1024) } else { format!("{mib} MiB free") };
    found.judged(name, verdict, seen, "make room, or give it a larger volume");
}

async fn bucket(found: &Findings, settings: &Settings, s3: &S3Config) {
    const NAME: &str = "recordings.bucket";
    let bucket = &s3.bucket;
    if let Some(url) = s3.endpoint.as_deref().and_then(|endpoint| Url::parse(endpoint).ok()) {
        let port = url.port_or_known_default().unwrap_or(443);
        if let Err(trouble) = reach(url.host_str().unwrap_or_default(), port, "RECORDINGS_S3_ENDPOINT").await {
            return found.wrong(NAME, trouble.seen, trouble.mend);
        }
    }
    let files = match settings.recordings.files.as_ref().map(Files::open) {
        Some(Ok(files)) => files,
        Some(Err(why)) => return found.wrong(NAME, why, "correct the settings of the bucket"),
        None => return,
    };
    let Err(FailedStep { step, kind, code }) = files.try_out(STEP).await else {
        return found.ok(NAME, format!("a file was written to {bucket}, read and deleted"));
    };
    let code = code.map(|code| format!(" ({code})")).unwrap_or_default();
    match kind {
        FailedKind::Absent => found.wrong(
            NAME,
            format!("there is no bucket {bucket}{code}"),
            "make it, or correct RECORDINGS_S3_BUCKET and RECORDINGS_S3_REGION",
        ),
        FailedKind::Forbidden => found.wrong(
            NAME,
            format!("with these keys no file can be {step} in {bucket}{code}"),
            "correct RECORDINGS_S3_ACCESS_KEY and RECORDINGS_S3_SECRET_KEY, or let them put, get and delete objects there; a \
             clock that is minutes off is refused too",
        ),
        FailedKind::Different => found.wrong(
            NAME,
            format!("what was read back from {bucket} is not what was written"),
            "look whether a cache or a gateway stands in between",
        ),
        FailedKind::Unreachable => found.wrong(
            NAME,
            format!("no file can be {step} in {bucket}: the store does not answer, or not as S3{code}"),
            "correct RECORDINGS_S3_ENDPOINT, and see whether the store is there",
        ),
    }
}
