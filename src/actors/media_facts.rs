//! What LiveKit has told of a call's room, brought to the call.
//!
//! Owns the order: is the call one of ours, is it open, is whoever came into the room in the call. Who is not is put out
//! again, whatever token they hold; a room of a call that is over is closed. Must never touch a room whose call this
//! cluster does not know, nor take "could not ask" for "not in the call". Facts may come late, twice, in any order or not
//! at all: each is judged by how the call stands now.

use super::{Answer, Ask, Caller, NodeHandle, recordings};
use crate::{
    domain::{CallId, Command, DeviceId, UserId},
    media::{
        MediaError, RoomParticipant, report,
        webhook::{Fact, What},
    },
    store::CallFate,
    wire::{CallView, ErrorCode, Refusal},
};

/// What became of a fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    Done,
    /// Who decides could not be asked: nothing was done, and it should be told again.
    Later,
}

/// Brings a fact to where it matters.
pub async fn hear(node: &NodeHandle, fact: Fact) -> Heard {
    if let What::Egress(info) = &fact.what {
        // Also of a call that is over: a recording ends after its call.
        return recordings::on_egress(node, &fact.call, &report(info)).await;
    }
    let outcome = match node.store.call_fates(std::slice::from_ref(&fact.call)).await {
        Err(error) => Err(error.into()),
        Ok(fates) => match fates.get(&fact.call) {
            None => {
                tracing::debug!(call.id = %fact.call, "livekit speaks of a room that is no call of ours");
                Ok(())
            }
            Some(CallFate::Over(_)) => on_room_of_the_past(node, &fact).await,
            Some(CallFate::Open) => on_room_of_a_call(node, &fact).await,
        },
    };
    match outcome {
        Ok(()) => Heard::Done,
        Err(refusal) if refusal.retryable || refusal.code == ErrorCode::MediaUnavailable => Heard::Later,
        Err(refusal) => {
            tracing::warn!(call.id = %fact.call, error = %refusal.message, "what livekit told could not be acted on");
            Heard::Done
        }
    }
}

/// A call that is over stays over: its room can be closed at once.
async fn on_room_of_the_past(node: &NodeHandle, fact: &Fact) -> Result<(), Refusal> {
    match fact.what {
        What::RoomStarted | What::ParticipantJoined { .. } => {
            tracing::info!(call.id = %fact.call, "the room of a call that is over is closed");
            node.media.close_room(&fact.call).await.map_err(unavailable)
        }
        _ => Ok(()),
    }
}

async fn on_room_of_a_call(node: &NodeHandle, fact: &Fact) -> Result<(), Refusal> {
    match &fact.what {
        What::ParticipantJoined { user, device } => {
            let seen = Command::RoomJoined { user: user.clone(), device: device.clone() };
            if is_in_call(node, &fact.call, user, device, seen).await? {
                return Ok(());
            }
            tracing::info!(call.id = %fact.call, user.id = %user, "put out of the room: not in the call");
            node.media.remove(&fact.call, user).await.map_err(unavailable)
        }
        What::ParticipantLeft { user, device } => {
            let gone = Command::RoomLeft { user: user.clone(), device: device.clone() };
            is_in_call(node, &fact.call, user, device, gone).await.map(drop)
        }
        _ => Ok(()),
    }
}

fn unavailable(error: MediaError) -> Refusal {
    Refusal::new(ErrorCode::MediaUnavailable, error.to_string())
}

/// As the call's owner says, once it has heard what was seen.
async fn is_in_call(
    node: &NodeHandle,
    call: &CallId,
    user: &UserId,
    device: &DeviceId,
    seen: Command,
) -> Result<bool, Refusal> {
    let caller = Caller { user: user.clone(), device: device.clone(), session: None, node: node.id.clone() };
    match node.ask(call, caller, Ask::Notice(seen)).await {
        Ok(Answer::Call(call)) => Ok(CallView::read(&call)?.role_of_engaged(user).is_some()),
        Ok(_) => Ok(false),
        // Never was in it.
        Err(refusal) if refusal.code == ErrorCode::NotFound => Ok(false),
        Err(refusal) => Err(refusal),
    }
}

/// Who is in the room and not in the call, each once: for whoever has just asked LiveKit who is there, and knows the call.
pub fn strangers(present: &[RoomParticipant], is_in_call: impl Fn(&UserId) -> bool) -> Vec<UserId> {
    let mut strangers: Vec<UserId> = Vec::new();
    for participant in present {
        if !is_in_call(&participant.user) && !strangers.contains(&participant.user) {
            strangers.push(participant.user.clone());
        }
    }
    strangers
}
