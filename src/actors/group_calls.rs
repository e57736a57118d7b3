//! What the application changed about a group reaches the group's open call, wherever its owner is.
//!
//! Owns the search for that call and the tries until its owner has heard. Decides nothing: the call itself compares those
//! who are there with the members in the store, so that to ask it again, or late, does no harm. Survives an owner that
//! cannot be reached at the moment: the asker is told so, and the node goes on trying for a while by itself; an owner
//! that dies meanwhile leaves the comparison to the next, which makes it when it takes the call over.

use std::{sync::Arc, time::Duration};

use super::{Ask, Caller, Node};
use crate::{
    domain::{DeviceId, GroupId, UserId},
    wire::{ErrorCode, Refusal},
};

/// As whom the node asks; nobody is looked up by it.
const ASKER: &str = "group";
/// How often, and how many times, an owner that could not be reached is tried again: for half a minute, by when it is
/// either back or taken over. Longer serves nobody; shorter, and it depends on the application to repeat its request.
const TRY_EVERY: Duration = Duration::from_millis(500);
const TRIES: u32 = 60;

impl Node {
    /// Has the group's open call, if there is one, take those out who are members no more. `Err`: it could not be told
    /// yet; it is tried again in the background, and may be asked for again.
    pub async fn members_changed(self: &Arc<Self>, group: &GroupId) -> Result<(), Refusal> {
        let first = self.tell_group_call(group).await;
        if first.as_ref().is_err_and(|refusal| refusal.retryable) {
            let (node, group) = (self.clone(), group.clone());
            self.spawn(async move {
                for _ in 0..TRIES {
                    tokio::time::sleep(TRY_EVERY).await;
                    if !node.tell_group_call(&group).await.is_err_and(|refusal| refusal.retryable) {
                        return;
                    }
                }
                tracing::error!(group.id = %group, node.id = %node.id, "the group's call was not told that its members have changed");
            });
        }
        first
    }

    async fn tell_group_call(self: &Arc<Self>, group: &GroupId) -> Result<(), Refusal> {
        let Some(call) = self.store.open_call_of_group(group).await? else { return Ok(()) };
        let (Ok(user), Ok(device)) = (UserId::new(ASKER), DeviceId::new(ASKER)) else { return Ok(()) };
        let caller = Caller { user, device, session: None, node: self.id.clone() };
        match self.ask(&call, caller, Ask::Members).await {
            Err(refusal) if !matches!(refusal.code, ErrorCode::NotFound | ErrorCode::AlreadyEnded) => Err(refusal),
            _ => Ok(()),
        }
    }
}
