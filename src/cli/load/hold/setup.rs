//! Setting up the calls that are then held: both users connect, one calls, the other accepts; some on two devices at once.
//!
//! Whatever fails is tried again as a new call by whoever asked; here nothing waits longer than the patience of a step.

use std::{cell::RefCell, rc::Rc};

use uuid::Uuid;

use super::{
    super::{
        client::{Broken, Client},
        frame as commands,
        pair::Pair,
        script::Side,
    },
    call::Call,
    connection::Hold,
    findings::Finding,
    frame::{self, Heard, StateEvent, What},
    leg::Leg,
};

/// Every so many-th call rings two devices that both accept at the same moment: only one may win. More of them test nothing new.
const TWO_DEVICES_EVERY: usize = 4;

/// A call that is set up: both sides with their connections and the targets that these go to.
pub struct HeldCall {
    /// What both sides share.
    pub call: Rc<RefCell<Call>>,
    /// Caller and callee.
    pub sides: Vec<(Leg, Client, usize)>,
}

/// One of the devices while the call is set up.
struct Device {
    leg: Leg,
    client: Client,
    node: usize,
}

impl Device {
    async fn connect(hold: &Hold, node: usize, leg: Leg, user: &str) -> Result<Device, Broken> {
        let (client, _) = hold.shared.connect(node, user, Some(leg.device())).await?;
        Ok(Device { leg, client, node })
    }

    async fn command(&mut self, id: &str, event: &str, data: &str) -> Result<(), Broken> {
        self.client.send(commands::command(id, event, data)).await
    }

    /// Reads until `wanted` finds what it looks for; all that comes is heard by the auditor, too.
    async fn hear<T>(
        &mut self,
        hold: &Hold,
        call: &RefCell<Call>,
        step: &str,
        wanted: impl Fn(&Heard<'_>) -> Option<T>,
    ) -> Result<T, Broken> {
        let deadline = hold.shared.clock.instant(hold.now() + hold.shared.patience);
        loop {
            let Ok(text) = tokio::time::timeout_at(deadline, self.client.next()).await else {
                return Err(Broken::new("timeout", format!("no {step} while a call was set up")));
            };
            let text = text?;
            let found = wanted(&frame::parse(&text));
            hold.with(call, |cx| self.leg.on_frame(&text, cx));
            if let Some(found) = found {
                return Ok(found);
            }
        }
    }

    /// The reply to the command `wanted`: the code if it was refused.
    async fn reply(&mut self, hold: &Hold, call: &RefCell<Call>, wanted: &str) -> Result<Option<String>, Broken> {
        self.hear(hold, call, wanted, |heard| match heard {
            Heard::Reply { id, refusal, .. } if id == wanted => Some(refusal.clone()),
            _ => None,
        })
        .await
    }
}

/// Sets up the `index`-th call: the caller on target `index`, the callee on the next one, or the same.
pub async fn set_up(hold: &Hold, index: usize) -> Result<HeldCall, Broken> {
    let shared = &hold.shared;
    let users = Side::BOTH.map(|side| Pair::user(shared, index, side));
    let call_id = Uuid::now_v7().to_string();
    let call = Rc::new(RefCell::new(Call::new(index, call_id.clone(), users.clone())));
    let leg = |side, device| Leg::new(side, device, hold.plan, &call.borrow());
    let count = shared.targets.len();
    let caller_node = index % count;
    let [callee_node, second_node] = callee_nodes(caller_node, count, shared.same_node);

    let mut callees = vec![Device::connect(hold, callee_node, leg(1, "load"), &users[1]).await?];
    if index.is_multiple_of(TWO_DEVICES_EVERY) {
        callees.push(Device::connect(hold, second_node, leg(1, "load-2"), &users[1]).await?);
    }
    let mut caller = Device::connect(hold, caller_node, leg(0, "load"), &users[0]).await?;

    let data = format!(r#"{{"callId":"{call_id}","calleeIds":[{}],"type":"audio"}}"#, commands::quoted(&users[1]));
    caller.command("start", "call:start", &data).await?;
    if let Some(code) = caller.reply(hold, &call, "start").await? {
        return Err(Broken::new(code.clone(), format!("call:start was refused: {code}")));
    }
    let is_ours = |heard: &Heard<'_>| match heard {
        Heard::State(StateEvent { call_id: id, what: What::Incoming, .. }) if *id == call_id => Some(()),
        _ => None,
    };
    for callee in &mut callees {
        callee.hear(hold, &call, "call:incoming", is_ours).await?;
    }
    // First all accepts, then the answers: they shall meet.
    let data = format!(r#"{{"callId":"{call_id}"}}"#);
    for callee in &mut callees {
        callee.command("accept", "call:accept", &data).await?;
    }
    let mut winners = Vec::new();
    let mut codes = Vec::new();
    for mut callee in callees {
        match callee.reply(hold, &call, "accept").await? {
            None => winners.push(callee),
            Some(code) => {
                codes.push(code);
                callee.client.close().await;
            }
        }
    }
    if winners.len() > 1 {
        let mut books = hold.books.borrow_mut();
        books.findings.add(Finding::DoubleWinner, &call_id, &format!("{} devices accepted", winners.len()));
    }
    let Some(callee) = winners.into_iter().next() else {
        return Err(Broken::new("refused", format!("call:accept was refused: {}", codes.join(", "))));
    };
    let sides = [caller, callee].into_iter().map(|device| (device.leg, device.client, device.node)).collect();
    Ok(HeldCall { call, sides })
}

/// Where the callee's devices go: not to the caller's node, and if there are enough of them to different ones.
fn callee_nodes(caller: usize, count: usize, same_node: bool) -> [usize; 2] {
    let first = if same_node { caller } else { (caller + 1) % count };
    let second = (first + 1) % count;
    [first, if same_node || second == caller { first } else { second }]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_devices_of_a_callee_are_on_other_nodes_than_the_caller_where_that_is_possible() {
        assert_eq!(callee_nodes(2, 3, false), [0, 1]);
        assert_eq!(callee_nodes(1, 2, false), [0, 0]);
        assert_eq!(callee_nodes(0, 1, false), [0, 0]);
        assert_eq!(callee_nodes(1, 3, true), [1, 1]);
    }
}
