//! Beginning a call: decide, take the slot, commit; then the call's actor publishes it.
//!
//! Runs detached from the session that asked: a client that goes away in the middle leaves a call that rings, times out
//! and is in the history, not half of one.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::sync::oneshot;
use uuid::Uuid;

use super::{
    Answer, Ask, Caller, Node,
    call::{CallActor, DATABASE_AWAY, Prepared, call_object},
    degraded::Dependency,
    keyed::{CommandKey, keyed},
};
use crate::{
    clock,
    domain::{
        Call, CallId, CallMode, Start, UserId,
        call::{glare::Slot, start},
    },
    store::{Commit, CommitOutcome},
    trace,
    wire::{ErrorCode, Frame, Refusal},
};

/// How often a start may find its slot taken by a call that has ended when it is asked. Each try is a commit; a group
/// whose calls come and go faster is asked to try later.
const MAX_CLASHES: usize = 8;
/// How long the starter of a call on the media server is kept waiting for its room. Shorter, and a client comes to a door
/// that is not there yet; longer, and a media server that hangs is what starting a call feels like.
const ROOM_PATIENCE: Duration = Duration::from_millis(1500);
/// The epoch of a call's first owner.
const FIRST_EPOCH: u64 = 1;

/// A call to begin.
#[derive(Debug, Clone)]
pub struct StartRequest {
    pub start: Start,
    /// Ring the callees, or the members of the group where none are named; else the group call waits for whoever joins.
    pub ring: bool,
    /// The client chose the call's id: to repeat the command is to ask for the same call.
    pub own_id: bool,
    pub caller: Caller,
    pub key: Option<CommandKey>,
}

impl Node {
    /// Begins a call, or finds the one that this start becomes. Answers with the call object.
    pub fn start_call_for(self: &Arc<Self>, request: StartRequest) -> oneshot::Receiver<Result<Answer, Refusal>> {
        let (reply, answer) = oneshot::channel();
        let node = self.clone();
        let begin = async move {
            let outcome = node.begin_once(request).await;
            fail::fail_point!("start-before-reply");
            // Who asked may have gone; the call is there all the same.
            let _ = reply.send(outcome);
        };
        self.spawn(trace::within(trace::current(), begin));
        answer
    }

    /// Looks first whether a start with this key was answered already.
    async fn begin_once(self: &Arc<Self>, request: StartRequest) -> Result<Answer, Refusal> {
        let Some(key) = request.key else { return self.begin(request).await };
        if let Some(first) = self.recall(&key).await? {
            if let Ok(Answer::Call(call)) = &first {
                self.look_after(call, request.caller);
            }
            return first;
        }
        let (call, user) = (request.start.call.clone(), request.start.initiator.clone());
        let outcome = self.begin(request).await;
        self.settle_keyed(&key, &call, &user, "start", outcome).await
    }

    async fn begin(self: &Arc<Self>, mut request: StartRequest) -> Result<Answer, Refusal> {
        if self.is_draining() {
            return Err(Refusal::unavailable("the node is leaving; try another"));
        }
        if self.degraded.is_away(Dependency::Database) {
            return Err(Refusal::unavailable(DATABASE_AWAY));
        }
        let members = self.members_for(&mut request).await?;
        let mut slot = Slot::of(&request.start);
        for _ in 0..MAX_CLASHES {
            let command = request.key.map_or_else(Uuid::now_v7, |key| key.command);
            let now = clock::now();
            let events = start(&request.start, now, &self.rules_now())?;
            let id = request.start.call.clone();
            let prepared = Prepared::open(id, events, now)
                .ok_or_else(|| Refusal::new(ErrorCode::Internal, "a call does not begin with its creation"))?;
            // Made before the commit, to be recorded with it.
            let first = request.key.map(|key| (key, Answer::Call(call_object(&prepared.after, now))));
            let commit = Commit {
                command,
                node: self.id.clone(),
                epoch: FIRST_EPOCH,
                prev_seq: 0,
                before: None,
                after: prepared.after.clone(),
                events: prepared.recorded.clone(),
                slot: slot.clone(),
                outcome: first.as_ref().and_then(|(key, answer)| key.record(&Ok(answer.clone()))),
                by: Some(request.start.initiator.clone()),
                kind: "start",
                trace: trace::current(),
            };
            // In one turn: once it is committed others find it by its slot and ask for it, and who finds no actor yet
            // would take it for a call whose owner is gone.
            let call = request.start.call.clone();
            let begun = self.in_turn(&call, async {
                let term = self.membership.term();
                let outcome = self.store.commit(commit).await?;
                fail::fail_point!("start-after-commit");
                if matches!(outcome, CommitOutcome::Committed) {
                    let caller = &request.caller;
                    let actor = CallActor::opened(self.clone(), prepared, FIRST_EPOCH, caller, members.clone());
                    self.start_call(actor, term)?;
                }
                Ok::<_, Refusal>(outcome)
            });
            match begun.await? {
                CommitOutcome::Committed => {
                    if request.start.mode == CallMode::Sfu {
                        self.await_room(&call).await;
                    }
                    return match first {
                        Some((_, answer)) => Ok(Answer::OnRecord(Box::new(Ok(answer)))),
                        None => self.ask(&call, request.caller.clone(), Ask::Get).await,
                    };
                }
                CommitOutcome::Repeated => return Ok(Answer::SeeRecord),
                CommitOutcome::CallExists => return self.repeated(&request).await,
                CommitOutcome::SlotTaken { holder } => match self.clash(&holder, &request).await? {
                    Some(answer) => return Ok(answer),
                    None if request.start.group.is_none() => slot = None,
                    // The holder has just ended: its slot is free, or another start has taken it.
                    None => {}
                },
                CommitOutcome::Fenced => return Err(Refusal::unavailable("the call could not be begun")),
            }
        }
        Err(Refusal::unavailable("too many calls of this group begin and end at once"))
    }

    /// A call that begins on the media server: its starter gets a token with the answer, and comes at once. The call's
    /// actor opens the room too, and again until it is there: what is not done here in time is done.
    async fn await_room(&self, call: &CallId) {
        let opening = self.media.open_room(call, self.rules.max_participants);
        if let Ok(Err(error)) = tokio::time::timeout(ROOM_PATIENCE, opening).await {
            tracing::debug!(call.id = %call, %error, "room not open yet");
        }
    }

    /// A call that was committed and then lost its node or its actor before anybody was told of it rings nobody until it
    /// is asked for something.
    fn look_after(self: &Arc<Self>, call: &Frame, caller: Caller) {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Named {
            call_id: CallId,
        }
        let Ok(Named { call_id }) = serde_json::from_str(call.text()) else { return };
        let asked = self.ask(&call_id, caller, Ask::Get);
        self.spawn(async move { drop(asked.await) });
    }

    /// Checks the starter's membership, and names the members to ring.
    async fn members_for(self: &Arc<Self>, request: &mut StartRequest) -> Result<Option<Arc<[UserId]>>, Refusal> {
        let Some(group) = request.start.group.clone() else { return Ok(None) };
        let initiator = &request.start.initiator;
        // Nobody's for who is no member: a group that is not theirs takes no longer than one that is not there.
        let members = self.store.members_for(&group, initiator, super::call::MAX_GROUP_AUDIENCE).await?;
        if members.is_empty() {
            // A group one does not belong to is as good as none.
            return Err(Refusal::new(ErrorCode::NotFound, "there is no such group"));
        }
        let callees = if request.ring { request.start.callees.as_slice() } else { &[] };
        // Beyond those that are told of the call there may be more.
        let known: HashSet<&UserId> = members.iter().collect();
        let others = callees.iter().take(self.rules.max_participants as usize);
        let mut others: Vec<UserId> = others.filter(|user| !known.contains(user)).cloned().collect();
        if !others.is_empty() && members.len() >= super::call::MAX_GROUP_AUDIENCE {
            let more = self.store.members_among(&group, &others).await?;
            others.retain(|user| !more.contains(user));
        }
        if !others.is_empty() {
            return Err(Refusal::new(ErrorCode::Forbidden, "only members of the group can be called in it"));
        }
        if !request.ring {
            request.start.callees.clear();
        } else if request.start.callees.is_empty() {
            let room = (self.rules.max_participants as usize).saturating_sub(1);
            request.start.callees = members.iter().filter(|user| *user != initiator).take(room).cloned().collect();
        }
        Ok(Some(members.into()))
    }

    /// The id is taken: by this very command, sent again, or by something else.
    async fn repeated(self: &Arc<Self>, request: &StartRequest) -> Result<Answer, Refusal> {
        if let Some(key) = &request.key
            && let Some(first) = self.recall(key).await?
        {
            return Ok(Answer::OnRecord(Box::new(first)));
        }
        let taken = || Refusal::new(ErrorCode::Conflict, "this callId is taken by another call");
        if !request.own_id {
            return Err(taken());
        }
        let stored = self.store.load_call(&request.start.call).await?.ok_or_else(taken)?;
        let call = Call::rebuild(request.start.call.clone(), &stored.history).ok_or_else(taken)?;
        if call.initiator != request.start.initiator {
            return Err(taken());
        }
        self.ask(&request.start.call, request.caller.clone(), Ask::Get).await
    }

    /// What the holder of the slot makes of this start; `None`: it is to be a call of its own, or to be tried again.
    async fn clash(self: &Arc<Self>, holder: &CallId, request: &StartRequest) -> Result<Option<Answer>, Refusal> {
        match self.ask(holder, request.caller.clone(), keyed(Ask::Clash, request.key)).await {
            Ok(Answer::Separate) => Ok(None),
            Ok(answer) => Ok(Some(answer)),
            Err(refusal) if gone(&refusal) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }
}

/// The holder ended between the look and the question.
fn gone(refusal: &Refusal) -> bool {
    matches!(refusal.code, ErrorCode::AlreadyEnded | ErrorCode::NotFound)
}
