//! Prey: rooms on LiveKit that have the name of a call that is over, both for longer than [`GRACE`].
//!
//! The room is closed, which puts out who is still in it. A call that is over stays over, so closing can be repeated, and
//! one that succeeds late harms nobody.
//!
//! Leaves alone rooms of open calls, rooms that are no call of ours (others may use the same LiveKit, another cluster
//! too), rooms and ends that are younger than the grace, and everything when LiveKit or the store could not be asked.

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;

use super::{
    ActionOutcome, Deed, Halt, Sweeper,
    run::{Found, Run},
};
use crate::{
    actors::NodeHandle,
    clock,
    domain::CallId,
    media::{MediaError, RoomInfo},
    store::{BATCH_ROOMS, CallFate},
};

pub(super) const NAME: &str = "orphan_rooms";

/// For how long a call must have been over, and its room have been there. Less, and the sweeper does the work of the
/// owner, who closes the room when the call ends; more, and people without a call go on talking.
const GRACE: Duration = Duration::from_secs(60);

pub(super) struct OrphanRooms;

#[async_trait(?Send)]
impl Sweeper for OrphanRooms {
    fn name(&self) -> &'static str {
        NAME
    }

    fn what(&self) -> &'static str {
        "rooms on LiveKit whose call has been over for a minute are closed"
    }

    async fn sweep(&self, run: &mut Run) -> Result<(), Halt> {
        if !run.node.media.is_configured() {
            return Ok(());
        }
        let rooms = run.node.media.rooms().await.map_err(|error| Halt::CouldNotAsk(error.to_string()))?;
        let (now, grace) = (clock::now(), grace());
        let old: Vec<CallId> = rooms
            .into_iter()
            .filter(|room: &RoomInfo| now.since(room.created_at) >= grace)
            .filter_map(|room| CallId::new(room.name).ok())
            .collect();
        for names in old.chunks(BATCH_ROOMS) {
            let fates = run.node.store.call_fates(names).await?;
            run.act(Deed::CloseRoom, "its call is over", prey(names, &fates, grace), close).await?;
        }
        Ok(())
    }
}

fn prey(names: &[CallId], fates: &HashMap<CallId, CallFate>, grace: Duration) -> Vec<(Found, CallId)> {
    let over = names.iter().filter_map(|call| match fates.get(call) {
        Some(CallFate::Over(age)) if *age >= grace => {
            Some((Found { call: call.clone(), user: None, age: Some(*age), recording: None }, call.clone()))
        }
        // Open, over a moment ago, or unknown.
        _ => None,
    });
    over.collect()
}

async fn close(node: NodeHandle, call: CallId) -> ActionOutcome {
    match node.media.close_room(&call).await {
        Ok(()) => ActionOutcome::Done,
        Err(MediaError::Refused(_) | MediaError::NotConfigured) => ActionOutcome::Failed,
        // It may have been closed nevertheless; the next run sees.
        Err(MediaError::Unavailable) => ActionOutcome::CouldNotAsk,
    }
}

/// [`GRACE`], but in tests.
fn grace() -> Duration {
    fail::fail_point!("orphan-rooms-grace", |secs| Duration::from_secs(
        secs.and_then(|secs| secs.parse().ok()).unwrap_or(GRACE.as_secs())
    ));
    GRACE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rooms_of_calls_that_have_been_over_for_the_grace_are_prey() {
        let call = |name: &str| CallId::new(name).unwrap();
        let names = ["open", "just-over", "over", "unknown"].map(call);
        let fates = HashMap::from([
            (call("open"), CallFate::Open),
            (call("just-over"), CallFate::Over(GRACE - Duration::from_secs(1))),
            (call("over"), CallFate::Over(GRACE)),
        ]);
        let found: Vec<CallId> = prey(&names, &fates, GRACE).into_iter().map(|(_, call)| call).collect();
        assert_eq!(found, [call("over")]);
    }
}
