//! Prey: recordings whose file is still there by what is known, and (1) whose time is over by the database's clock, unless
//! they are on legal hold, or (2) which somebody has deleted.
//!
//! In this order: the row says that its file is being deleted, over the version that was read, so nobody puts it on hold
//! or keeps it for longer from then on; the files of all its attempts are deleted, also those that were never written;
//! the row says that they are gone, and (1) becomes `expired`. Who dies in between leaves the first; the next run deletes
//! again, which is done when nothing is there, and writes the last. Rows are kept.
//!
//! Leaves alone what has been put on hold, or kept for longer, since it was looked at; and every row whose file could not
//! be deleted: it stays as it is, is counted as failed and tried again in the next run.

use async_trait::async_trait;

use super::{
    ActionOutcome, BATCH, Deed, Halt, Sweeper,
    run::{Found, Run},
};
use crate::{
    actors::NodeHandle,
    clock,
    domain::{Recording, RecordingStatus},
    media::{Files, file_name},
};

pub(super) const NAME: &str = "expired_recordings";

pub(super) struct ExpiredRecordings;

#[async_trait(?Send)]
impl Sweeper for ExpiredRecordings {
    fn name(&self) -> &'static str {
        NAME
    }

    fn what(&self) -> &'static str {
        "files of recordings past their retention, or deleted by somebody, are deleted; their rows are kept"
    }

    async fn sweep(&self, run: &mut Run) -> Result<(), Halt> {
        let mut after = None;
        loop {
            let batch = run.node.store.purgeable_recordings(after.as_ref(), BATCH).await?;
            let Some((last, _)) = batch.last() else { return Ok(()) };
            if run.node.media.files().is_none() {
                return Err(Halt::CouldNotAsk("no store for recordings is configured".into()));
            }
            after = Some(last.id.clone());
            let (deleted, expired): (Vec<_>, Vec<_>) =
                batch.into_iter().partition(|(recording, _)| recording.status == RecordingStatus::Deleted);
            for (why, these) in [("its time is over", expired), ("it was deleted", deleted)] {
                let these = these.into_iter().map(|(recording, age)| {
                    let (call, id) = (recording.call.clone(), recording.id.clone());
                    (Found { call, user: None, age: Some(age), recording: Some(id) }, recording)
                });
                run.act(Deed::DeleteFile, why, these.collect(), purge).await?;
            }
        }
    }
}

async fn purge(node: NodeHandle, recording: Recording) -> ActionOutcome {
    let Some(files) = node.media.files() else { return ActionOutcome::CouldNotAsk };
    let mut recording = recording;
    if recording.purge_since.is_none() {
        recording.purge_since = Some(clock::now());
        if let Some(outcome) = save(&node, &mut recording).await {
            return outcome;
        }
    }
    fail::fail_point!("purge-before-delete");
    if !delete(files, &recording).await {
        recording.purge_failures += 1;
        tracing::warn!(
            recording.id = %recording.id, call.id = %recording.call, failures = recording.purge_failures,
            "file of a recording not deleted; it is tried again"
        );
        // If this is not written the count is one behind, and no more.
        let _ = save(&node, &mut recording).await;
        return ActionOutcome::Failed;
    }
    fail::fail_point!("purge-after-delete");
    recording.file_gone_at = Some(clock::now());
    if recording.status == RecordingStatus::Ready {
        recording.status = RecordingStatus::Expired;
    }
    save(&node, &mut recording).await.unwrap_or(ActionOutcome::Done)
}

/// The files of every attempt: one that was taken for lost may have written late.
async fn delete(files: &Files, recording: &Recording) -> bool {
    let attempts = (1..=recording.attempts).map(|n| file_name(&recording.id, n, recording.options.format));
    let mut names: Vec<String> = attempts.chain(recording.file.clone()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        if files.delete(&name).await.is_err() {
            return false;
        }
    }
    true
}

/// `None`: written, over the version that was read.
async fn save(node: &NodeHandle, recording: &mut Recording) -> Option<ActionOutcome> {
    match node.store.save_recording(recording, None).await {
        Ok(true) => {
            recording.version += 1;
            None
        }
        Ok(false) => Some(ActionOutcome::LeftAlone),
        Err(error) if error.is_retryable() => Some(ActionOutcome::CouldNotAsk),
        Err(_) => Some(ActionOutcome::Failed),
    }
}
