//! Recordings, from what was decided to what is done: LiveKit is asked, the row is written, the call and its people are
//! told.
//!
//! Owns the order. An attempt at starting egress is written down before LiveKit is asked, over the version that was read,
//! so one node makes it; what is learned is written before anybody is told; who could not be told is told later. So
//! whoever dies in the middle leaves a row that says what is missing, and the sweeper does it. Must never start a second
//! egress while the first may still come, nor take "could not ask" for "gone". Never in the way of a call: all of it runs
//! beside the call's actor.

use std::sync::Arc;

use super::{Ask, Caller, Node, NodeHandle, media_facts::Heard};
use crate::{
    clock,
    domain::{
        CallId, CallMode, Command, DeviceId, Event, Recording, RecordingId, RecordingStatus, SessionId, UserId,
        recording::{CallStands, EgressReport, EgressState, Fact, Step},
    },
    media::{StartError, file_name, recording_of},
    store::Unsettled,
    wire::{
        ErrorCode, Frame, Refusal,
        events::{RecordingFailed, RecordingReady},
    },
};

/// Steps that may follow each other at once. More than there are between two waits, and something goes round in circles.
const MOST_STEPS: usize = 8;
/// How often a change is tried that others got ahead of. Each of them has changed something, and there are few facts.
const CONFLICTS: usize = 8;
/// How many people are told that a recording is there. More would make it a burst that holds up everything behind it.
const MOST_TOLD: usize = 10_000;
/// As whom the server speaks to a call: nobody that a client could be.
const SPEAKER: &str = "recordings";

/// Whether this event calls for something to be done about the call's recording.
pub(super) const fn is_concerned(event: &Event) -> bool {
    matches!(
        event,
        Event::RecordingStarted { .. } | Event::RecordingStopped { .. } | Event::Escalated { .. } | Event::Ended { .. }
    )
}

/// As [`drive`], beside whoever asks.
pub(super) fn drive_beside(node: &NodeHandle, id: RecordingId) {
    let driven = node.clone();
    node.spawn(async move {
        if let Err(refusal) = drive(&driven, &id).await {
            tracing::warn!(recording.id = %id, node.id = %driven.id, error = %refusal.message, "recording waits for the sweeper");
        }
    });
}

pub(super) fn stands(unsettled: &Unsettled) -> CallStands {
    let call = unsettled.call.as_ref();
    let on_server = call.is_some_and(|call| call.mode == CallMode::Sfu.as_str());
    CallStands { open: call.is_some_and(|call| call.open), on_server }
}

/// Does everything that can be done now about a recording.
///
/// # Errors
/// Somebody could not be asked: nothing is known to be wrong, and it is to be tried again.
pub async fn drive(node: &NodeHandle, id: &RecordingId) -> Result<(), Refusal> {
    for _ in 0..MOST_STEPS {
        let Some(unsettled) = node.store.recording(id).await? else { return Ok(()) };
        let recording = &unsettled.recording;
        let done = match recording.next(clock::now(), stands(&unsettled)) {
            Step::Wait | Step::Ask => None,
            Step::GiveUp(why) => note(node, id, &Fact::NothingToRecord(why)).await?,
            Step::Begin { settle: false } => begin(node, recording).await?,
            Step::Begin { settle: true } => match settle(node, recording).await? {
                Some(settled) => Some(settled),
                None => begin(node, recording).await?,
            },
            Step::Settle => settle(node, recording).await?,
            Step::Stop => stop(node, recording).await?,
            Step::LookForFile => match look_for_file(node, recording).await? {
                Some(fact) => {
                    let noted = note(node, id, &fact).await?;
                    if noted.is_none() {
                        tracing::debug!(recording.id = %id, node.id = %node.id, "file of a recording waited for");
                    }
                    noted
                }
                None => None,
            },
        };
        if done.is_none() {
            break;
        }
    }
    // What was written by one that could not tell it.
    match node.store.recording(id).await? {
        Some(unsettled) if !unsettled.recording.told => tell(node, &unsettled).await,
        _ => Ok(()),
    }
}

/// Asks for an egress, if nobody else does. `None`: nothing more can be done now.
async fn begin(node: &NodeHandle, recording: &Recording) -> Result<Option<Recording>, Refusal> {
    let file = file_name(&recording.id, recording.attempts + 1, recording.options.format);
    let Some(attempt) = recording.learn(clock::now(), &Fact::Attempt { file: file.clone() }) else { return Ok(None) };
    // Opened again if LiveKit has lost it: without a room there is nothing to record.
    let opened = node.media.open_room(&recording.call, node.rules.max_participants).await;
    if let Err(error) = opened {
        tracing::warn!(recording.id = %recording.id, call.id = %recording.call, %error, "room of a recording not opened");
    }
    if !node.store.save_recording(&attempt, None).await? {
        // Somebody was quicker, or it is not wanted any more.
        return Ok(Some(attempt));
    }
    fail::fail_point!("recording-before-egress");
    tracing::info!(
        recording.id = %recording.id, call.id = %recording.call, node.id = %node.id, attempt = attempt.attempts,
        "egress asked for"
    );
    match node.media.start_egress(&recording.call, &file, &recording.options).await {
        Ok(report) => note(node, &recording.id, &Fact::Egress(report)).await,
        Err(StartError::Refused(why)) => note(node, &recording.id, &Fact::Refused(why)).await,
        Err(StartError::NotSent | StartError::Unknown) => {
            tracing::warn!(
                recording.id = %recording.id, call.id = %recording.call, attempt = attempt.attempts,
                "whether egress runs is not known; livekit's list will say"
            );
            Ok(None)
        }
    }
}

/// Looks what came of the attempts made so far. `None`: none of them runs.
async fn settle(node: &NodeHandle, recording: &Recording) -> Result<Option<Recording>, Refusal> {
    let ours = egresses(node, recording).await?;
    // One that runs, if there is one; the others are too many.
    let taken = ours.iter().find(|report| report.state.is_running()).or(ours.first());
    for report in ours.iter().filter(|report| report.state.is_running() && Some(*report) != taken) {
        stop_surplus(node, &recording.call, report).await;
    }
    match taken {
        Some(report) => note(node, &recording.id, &Fact::Egress(report.clone())).await,
        None => note(node, &recording.id, &Fact::NoEgress).await,
    }
}

/// What LiveKit knows of egresses of this recording.
async fn egresses(node: &NodeHandle, recording: &Recording) -> Result<Vec<EgressReport>, Refusal> {
    let listed = node.media.egresses(&recording.call).await.map_err(unasked)?;
    let ours = |report: &EgressReport| {
        recording.egress.as_ref() == Some(&report.id)
            || report.file.as_deref().and_then(recording_of).as_ref() == Some(&recording.id)
    };
    Ok(listed.into_iter().filter(ours).collect())
}

/// What LiveKit says of a recording.
pub(super) struct Asked {
    pub fact: Fact,
    /// Egresses of it that are not to run: beside the one that is known, or told to stop and not having heard.
    pub to_stop: Vec<EgressReport>,
}

/// Asks LiveKit how a recording's egress stands; changes nothing.
///
/// # Errors
/// It could not be asked.
pub(super) async fn ask(node: &NodeHandle, recording: &Recording) -> Result<Asked, Refusal> {
    let ours = egresses(node, recording).await?;
    let is_mine = |report: &EgressReport| recording.egress.as_ref() == Some(&report.id);
    let fact = ours.iter().find(|report| is_mine(report)).map_or(Fact::NoEgress, |mine| Fact::Egress(mine.clone()));
    let ends = recording.status == RecordingStatus::Processing;
    let deaf = |report: &EgressReport| ends && matches!(report.state, EgressState::Starting | EgressState::Active);
    let unwanted = |report: &EgressReport| report.state.is_running() && (!is_mine(report) || deaf(report));
    Ok(Asked { fact, to_stop: ours.into_iter().filter(unwanted).collect() })
}

async fn stop(node: &NodeHandle, recording: &Recording) -> Result<Option<Recording>, Refusal> {
    let Some(egress) = &recording.egress else { return Ok(None) };
    node.media.stop_egress(egress).await.map_err(unasked)?;
    note(node, &recording.id, &Fact::Stopping).await
}

/// Whether the file is there. `None`: it cannot be said.
pub(super) async fn look_for_file(node: &NodeHandle, recording: &Recording) -> Result<Option<Fact>, Refusal> {
    let Some(file) = &recording.file else { return Ok(Some(Fact::File(None))) };
    let files = node.media.files().ok_or_else(|| Refusal::unavailable("no store for recordings is configured"))?;
    match files.look(file).await {
        Ok(meta) => Ok(Some(Fact::File(meta.map(|meta| meta.bytes)))),
        Err(error) => {
            tracing::debug!(recording.id = %recording.id, %error, "file of a recording not looked for");
            Ok(None)
        }
    }
}

/// An egress that is not to run.
pub(super) async fn stop_surplus(node: &NodeHandle, call: &CallId, report: &EgressReport) {
    tracing::warn!(call.id = %call, egress.id = report.id, "an egress that is not to run is stopped");
    if let Err(error) = node.media.stop_egress(&report.id).await {
        // It is found again by the next look.
        tracing::warn!(call.id = %call, egress.id = report.id, %error, "an egress that is not to run could not be stopped");
    }
}

fn unasked(error: crate::media::MediaError) -> Refusal {
    let mut refusal = Refusal::new(ErrorCode::MediaUnavailable, error.to_string());
    refusal.retryable = true;
    refusal
}

/// Writes down a fact, over whatever is known by now, and tells of what has changed. `None`: it was no news.
///
/// # Errors
/// The store is away; or it was written, and somebody could not be told.
pub(super) async fn note(node: &NodeHandle, id: &RecordingId, fact: &Fact) -> Result<Option<Recording>, Refusal> {
    for _ in 0..CONFLICTS {
        let Some(unsettled) = node.store.recording(id).await? else { return Ok(None) };
        let before = unsettled.recording.status;
        let Some(next) = unsettled.recording.learn(clock::now(), fact) else { return Ok(None) };
        if !node.store.save_recording(&next, None).await? {
            continue;
        }
        fail::fail_point!("recording-before-telling");
        let next = Recording { version: next.version + 1, ..next };
        if next.status != before {
            tracing::info!(
                recording.id = %next.id, call.id = %next.call, node.id = %node.id, status = next.status.as_str(),
                reason = next.reason.as_deref(), "recording changed"
            );
        }
        if !next.told {
            tell(node, &Unsettled { recording: next.clone(), call: unsettled.call }).await?;
        }
        return Ok(Some(next));
    }
    Err(Refusal::unavailable("the recording changes too fast"))
}

/// Tells the call, while it is open, and everybody who was in it when the recording is there; then notes that they have
/// been told. A repetition does no harm: the call knows how far it has come, and a client sees the same id again.
pub(super) async fn tell(node: &NodeHandle, unsettled: &Unsettled) -> Result<(), Refusal> {
    let recording = &unsettled.recording;
    let open = unsettled.call.as_ref().is_some_and(|call| call.open);
    if open {
        tell_call(node, recording).await?;
    }
    if recording.status == RecordingStatus::Ready || (recording.status == RecordingStatus::Failed && !open) {
        let word = word(recording);
        for user in node.store.recording_audience(&recording.id, MOST_TOLD).await? {
            node.tell_word(&user, &word);
        }
    }
    // If it has changed since, it is to be told again.
    node.store.save_recording(&Recording { told: true, ..recording.clone() }, None).await?;
    Ok(())
}

async fn tell_call(node: &Arc<Node>, recording: &Recording) -> Result<(), Refusal> {
    let (Ok(user), Ok(device), Ok(session)) = (UserId::new(SPEAKER), DeviceId::new(SPEAKER), SessionId::new(SPEAKER))
    else {
        return Ok(());
    };
    let caller = Caller { user, device, session: Some(session), node: node.id.clone() };
    let changed = Command::RecordingChanged {
        recording: recording.id.clone(),
        status: recording.status,
        reason: recording.reason.clone(),
    };
    match node.ask(&recording.call, caller, Ask::Notice(changed)).await {
        Ok(_) => Ok(()),
        Err(refusal) if matches!(refusal.code, ErrorCode::NotFound | ErrorCode::AlreadyEnded) => Ok(()),
        Err(refusal) => Err(refusal),
    }
}

/// What everybody who was in the call is told, also when it is over: no event of its state, so without a number.
fn word(recording: &Recording) -> Frame {
    let (call_id, recording_id, status) = (&recording.call, &recording.id, recording.status);
    let duration_secs = recording.duration.map(|duration| duration.as_secs());
    if status == RecordingStatus::Ready {
        let (size_bytes, expires_at) = (recording.bytes, recording.expires_at);
        return Frame::of(&RecordingReady { call_id, recording_id, status, size_bytes, duration_secs, expires_at });
    }
    let reason = recording.reason.as_deref();
    Frame::of(&RecordingFailed { call_id, recording_id, status, duration_secs, reason })
}

/// LiveKit speaks of an egress.
pub(super) async fn on_egress(node: &NodeHandle, call: &CallId, report: &EgressReport) -> Heard {
    match heard_of_egress(node, call, report).await {
        Ok(()) => Heard::Done,
        Err(refusal) if refusal.retryable => Heard::Later,
        Err(refusal) => {
            tracing::warn!(call.id = %call, error = %refusal.message, "what livekit told of an egress could not be noted");
            Heard::Done
        }
    }
}

async fn heard_of_egress(node: &NodeHandle, call: &CallId, report: &EgressReport) -> Result<(), Refusal> {
    let Some(id) = report.file.as_deref().and_then(recording_of) else { return Ok(()) };
    let Some(unsettled) = node.store.recording(&id).await? else { return Ok(()) };
    let recording = unsettled.recording;
    if recording.call != *call {
        tracing::warn!(call.id = %call, recording.id = %id, "an egress of another room names this recording");
        return Ok(());
    }
    let is_other = recording.egress.as_ref().is_some_and(|known| *known != report.id);
    if (is_other || recording.status.is_settled()) && report.state.is_running() {
        // Came after it was given up, or beside another.
        stop_surplus(node, call, report).await;
        return Ok(());
    }
    if note(node, &id, &Fact::Egress(report.clone())).await?.is_some() {
        // What follows waits for nobody who told us: LiveKit would send it again.
        drive_beside(node, id);
    }
    Ok(())
}
