//! What is to be committed, and what became of it.

use std::sync::Arc;

use super::{
    error::StoreError,
    invitations::{self, Answer, Invitation},
    outbox::{Outgoing, Subscriptions},
    recording_commits::CallRecordings,
    types::{CommandId, StoredId, is_keyed},
};
use crate::{
    domain::{Call, CallId, NodeId, Participant, Recorded, UserId, call::glare::Slot},
    trace::TraceContext,
};

/// One decision about one call, to be made durable.
#[derive(Debug, Clone)]
pub struct Commit {
    /// Made by the caller, and kept when it tries again; or of a user's key, see [`super::is_keyed`].
    pub command: CommandId,
    /// Who owns the call.
    pub node: NodeId,
    /// The epoch it owns the call by.
    pub epoch: u64,
    /// The `seq` of the state that it was decided on; 0: a new call.
    pub prev_seq: u64,
    /// That state; `None`: a new call.
    pub before: Option<Arc<Call>>,
    /// The state after all events.
    pub after: Arc<Call>,
    /// What happened, in order; at least one, numbered from `prev_seq + 1` to `after.seq`.
    pub events: Vec<Recorded>,
    /// To take; new calls only.
    pub slot: Option<Slot>,
    /// Short JSON kept beside the command's id.
    pub outcome: Option<String>,
    /// Who commanded it; `None`: the server.
    pub by: Option<UserId>,
    /// The command's name.
    pub kind: &'static str,
    /// What it is done for; its events bear the trace's id.
    pub trace: Option<TraceContext>,
}

/// What became of a commit. But for `Committed`, nothing was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitOutcome {
    /// Durable; also when it was already, by an earlier try with the same command id, unless that is made of a key.
    Committed,
    /// The command's id is made of a key, and something is on record under it.
    Repeated,
    /// Another open call has the slot.
    SlotTaken { holder: CallId },
    /// A new call whose id is in use.
    CallExists,
    /// The call has moved on: its epoch, its `seq`, its owner, or its end.
    Fenced,
}

/// A commit with all that the statements need, worked out before it enters the queue.
pub(super) struct Prepared {
    pub commit: Commit,
    /// Stands in the events: what this commit is known by when its outcome is in doubt. The command's id, but for one
    /// made of a key: that does not tell apart who carries the command out.
    pub attempt: CommandId,
    /// The events as JSON, in their order.
    pub payloads: Vec<String>,
    /// Places in `after.participants` of those who differ from `before`, with their devices that alert, as JSON.
    pub changed: Vec<(usize, String)>,
    pub invitations: Vec<Invitation>,
    pub answers: Vec<Answer>,
    pub recordings: CallRecordings,
    pub outgoing: Vec<Outgoing>,
    /// About what it adds to the batch's statements.
    pub bytes: usize,
}

impl Prepared {
    /// Checks and works out. Does no IO.
    pub fn new(commit: Commit, subscriptions: &Subscriptions) -> Result<Self, StoreError> {
        let first = commit.events.first().map_or(0, |r| r.seq);
        let last = commit.events.last().map_or(0, |r| r.seq);
        let fits = first == commit.prev_seq + 1
            && last == commit.after.seq
            && commit.events.windows(2).all(|pair| pair[1].seq == pair[0].seq + 1)
            && commit.before.is_some() == (commit.prev_seq > 0)
            && (commit.slot.is_none() || commit.prev_seq == 0);
        if !fits {
            return Err(StoreError::Permanent("a commit whose events do not follow its state".into()));
        }
        let unprintable = |_| StoreError::Permanent("a value has no JSON form".into());
        let payloads = commit.events.iter().map(|r| serde_json::to_string(&r.event)).collect::<Result<Vec<_>, _>>();
        let payloads = payloads.map_err(unprintable)?;
        let mut changed = Vec::new();
        for (place, p) in commit.after.participants.iter().enumerate() {
            let earlier = commit.before.as_ref().and_then(|call| call.participant(&p.user));
            if earlier.is_none_or(|earlier| differs(earlier, p)) {
                changed.push((place, serde_json::to_string(&p.ringing_devices).map_err(unprintable)?));
            }
        }
        let (invitations, answers) = invitations::derive(commit.before.as_deref(), &commit.events);
        let recordings = CallRecordings::of(commit.before.as_deref(), &commit.after, &commit.events);
        let outgoing = subscriptions.of_commit(commit.before.as_deref(), &commit.after, &commit.events);
        let bytes = payloads.iter().map(String::len).sum::<usize>()
            + commit.outcome.as_ref().map_or(0, String::len)
            + commit.after.metadata.as_ref().filter(|_| commit.prev_seq == 0).map_or(0, |m| m.len())
            + outgoing.iter().map(|row| row.payload.len()).sum::<usize>()
            + 256 * (1 + changed.len() + invitations.len() + recordings.rows() + outgoing.len());
        let attempt = if is_keyed(commit.command) { CommandId::now_v7() } else { commit.command };
        Ok(Self { commit, attempt, payloads, changed, invitations, answers, recordings, outgoing, bytes })
    }

    /// The call's id.
    pub fn call(&self) -> &CallId {
        &self.commit.after.id
    }

    /// What stands in its events.
    pub fn trace(&self) -> Option<StoredId> {
        self.commit.trace.map(|context| StoredId(context.trace.as_uuid()))
    }

    /// Opens a call.
    pub fn is_new(&self) -> bool {
        self.commit.prev_seq == 0
    }

    /// After it, the call goes on.
    pub fn is_open(&self) -> bool {
        !self.commit.after.status.is_final()
    }
}

/// In something that the participant's row shows. What is left out (deadlines, media, what was heard last) changes
/// often and is in the events.
fn differs(a: &Participant, b: &Participant) -> bool {
    a.status != b.status
        || a.role != b.role
        || a.device != b.device
        || a.ringing_devices != b.ringing_devices
        || a.invited_by != b.invited_by
        || a.invited_at != b.invited_at
        || a.joined_at != b.joined_at
        || a.left_at != b.left_at
        || a.leave_reason != b.leave_reason
        || a.earlier_stays != b.earlier_stays
}
