//! Prey: recordings of which more is to come (`starting`, `recording`, `processing`), untouched for [`LOOK_MARGIN`], where
//! something differs: LiveKit has not been asked to begin or to stop, though it should have; it says something else of
//! the egress than is known, or knows none of it; the file is there, or has not come in time. And recordings whose call
//! has not been told how far they have come.
//!
//! What was missed is made good: LiveKit asked, told to stop, what it says noted (`failed` when it was asked and knows no
//! egress), the call told. An attempt whose outcome is not known is looked for in LiveKit's list before the next.
//!
//! Leaves alone what goes on as it is known to; what nobody could be asked about (LiveKit, the files); and attempts that
//! may still be under way.

use async_trait::async_trait;

use super::{
    ActionOutcome, BATCH, Deed, Halt, LOOK_MARGIN, Sweeper,
    run::{Found, Run},
};
use crate::{
    actors::{NodeHandle, recordings},
    clock,
    domain::{
        Recording, RecordingStatus, Timestamp,
        recording::{EgressReport, Fact, Step},
    },
    store::Unsettled,
    wire::Refusal,
};

pub(super) const NAME: &str = "stuck_recordings";

pub(super) struct StuckRecordings;

/// What is to be made good.
enum Mend {
    /// The next step was not taken.
    Drive,
    Note(Fact),
    Stop(Vec<EgressReport>),
    Tell,
}

#[async_trait(?Send)]
impl Sweeper for StuckRecordings {
    fn name(&self) -> &'static str {
        NAME
    }

    fn what(&self) -> &'static str {
        "recordings that should have begun, stopped or become ready are asked about and taken further"
    }

    async fn sweep(&self, run: &mut Run) -> Result<(), Halt> {
        let (mut after, mut unasked) = (None, None);
        loop {
            let batch = run.node.store.unsettled_recordings(after.as_ref(), BATCH).await?;
            let Some(last) = batch.last() else { break };
            after = Some(last.recording.id.clone());
            for unsettled in batch {
                match look(&run.node, &unsettled).await {
                    Ok(None) => {}
                    Ok(Some((what, why, mend))) => {
                        let found = found(&unsettled.recording, clock::now());
                        run.act(what, why, vec![(found, (unsettled, mend))], make_good).await?;
                    }
                    Err(refusal) => unasked = Some(refusal.message.into_owned()),
                }
            }
        }
        unasked.map_or(Ok(()), |why| Err(Halt::CouldNotAsk(why)))
    }
}

/// When something last happened to it that whoever did it may still be at work on.
fn touched(recording: &Recording) -> Timestamp {
    let times = [recording.attempt_at, recording.stop_at, recording.ended_at];
    times.into_iter().flatten().fold(recording.created_at, Timestamp::max)
}

fn found(recording: &Recording, now: Timestamp) -> Found {
    let age = Some(now.since(touched(recording)));
    Found { call: recording.call.clone(), user: None, age, recording: Some(recording.id.clone()) }
}

/// What differs, if anything does; nothing is changed by looking.
async fn look(node: &NodeHandle, unsettled: &Unsettled) -> Result<Option<(Deed, &'static str, Mend)>, Refusal> {
    let (recording, now) = (&unsettled.recording, clock::now());
    if touched(recording) + LOOK_MARGIN > now {
        return Ok(None);
    }
    let fact = match recording.next(now, recordings::stands(unsettled)) {
        Step::Wait => None,
        Step::Begin { settle: false } => {
            return Ok(Some((Deed::Begin, "nobody has asked LiveKit for it", Mend::Drive)));
        }
        Step::Begin { settle: true } | Step::Settle => {
            return Ok(Some((Deed::Settle, "what came of an attempt is not known", Mend::Drive)));
        }
        Step::Stop => return Ok(Some((Deed::Stop, "it is not to run any more", Mend::Drive))),
        Step::GiveUp(why) => return Ok(Some((Deed::Fail, why, Mend::Drive))),
        Step::Ask => {
            let asked = recordings::ask(node, recording).await?;
            if !asked.to_stop.is_empty() {
                return Ok(Some((Deed::Stop, "an egress runs that is not to", Mend::Stop(asked.to_stop))));
            }
            Some(asked.fact)
        }
        Step::LookForFile => {
            let fact = recordings::look_for_file(node, recording).await?;
            Some(fact.ok_or_else(|| Refusal::unavailable("the store of recordings is not available"))?)
        }
    };
    let after = fact.as_ref().and_then(|fact| recording.learn(now, fact));
    Ok(match (fact, after) {
        (Some(fact @ Fact::NoEgress), Some(after)) if after.status == RecordingStatus::Failed => {
            Some((Deed::Fail, "LiveKit knows no egress of it", Mend::Note(fact)))
        }
        (Some(fact @ Fact::File(None)), Some(_)) => {
            Some((Deed::Fail, "its file has not come in time", Mend::Note(fact)))
        }
        (Some(fact @ Fact::File(Some(_))), Some(_)) => Some((Deed::Ready, "its file is there", Mend::Note(fact))),
        (Some(fact), Some(_)) => Some((Deed::Note, "LiveKit says more than was known", Mend::Note(fact))),
        _ if !recording.told => Some((Deed::Tell, "its call has not been told", Mend::Tell)),
        _ => None,
    })
}

async fn make_good(node: NodeHandle, (unsettled, mend): (Unsettled, Mend)) -> ActionOutcome {
    let id = &unsettled.recording.id;
    let mended = match mend {
        Mend::Drive => recordings::drive(&node, id).await.map(|()| true),
        Mend::Note(fact) => recordings::note(&node, id, &fact).await.map(|noted| noted.is_some()),
        Mend::Stop(egresses) => {
            for egress in &egresses {
                recordings::stop_surplus(&node, &unsettled.recording.call, egress).await;
            }
            Ok(true)
        }
        Mend::Tell => recordings::tell(&node, &unsettled).await.map(|()| true),
    };
    match mended {
        Ok(true) => ActionOutcome::Done,
        Ok(false) => ActionOutcome::LeftAlone,
        Err(refusal) => {
            tracing::debug!(recording.id = %id, error = %refusal.message, "a recording could not be seen after");
            if refusal.retryable { ActionOutcome::CouldNotAsk } else { ActionOutcome::Failed }
        }
    }
}
