//! The actor of one user on one node: their sessions here, and how much of each call they have been sent.
//!
//! Hands events to every session of the user in order and once, finds holes and has them filled, and tells the owners
//! of calls when a device in them is gone. Never decides anything about a call; lives only while the user has a session
//! here. What it knows of calls is a copy: after its death the next one reads it from the store and the owners.

mod attach;
mod cut_off;
mod events;
mod operator;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use actix::{Actor, ActorContext, AsyncContext, Context, Handler};
use tokio::sync::oneshot;

pub use self::{
    cut_off::StillHere,
    operator::{ListSessions, SendAway},
};
use super::{
    Ask, Caller, NodeHandle, Outbox,
    degraded::Dependency,
    messages::{Delivery, Resume, SignalDelivery, Standing, ToUser},
    outbox::CloseCause,
};
use crate::{
    domain::{CallId, Command, DeviceId, NodeId, SessionId, Timestamp, UserId},
    wire::{Frame, Refusal},
};

/// Makes a session's first frame from the call objects of the user's open calls.
pub type Welcome = Box<dyn FnOnce(&[Frame]) -> Frame + Send>;

/// How soon, and until what pause between two tries, an owner is told again what was noticed: some 50 s in all. By
/// then a database that was away is back, or the call has a new owner, who asks which devices are there.
const TELL_FIRST_RETRY: Duration = Duration::from_millis(200);
const TELL_PATIENCE: Duration = Duration::from_secs(40);
/// The longest pause between two tries while the bus is down, for as long as it is: who has gone must not be shown in a
/// call for ever.
const TELL_WITHOUT_BUS: Duration = Duration::from_secs(5);

/// A session that wants to hear of its user's calls.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub struct Join {
    pub session: SessionId,
    pub device: DeviceId,
    pub outbox: Arc<dyn Outbox>,
    /// What the device says it has.
    pub resume: Vec<(CallId, Resume)>,
    /// Makes the session's first frame from the user's open calls.
    pub welcome: Welcome,
    /// Answered when the welcome and what was missed have been pushed. Dropped: the actor is gone, ask the next.
    pub joined: oneshot::Sender<Result<(), Refusal>>,
}

/// A session has ended.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub struct Leave {
    pub session: SessionId,
}

/// Events from the owner of a call.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub struct Deliver(pub Arc<Delivery>);

/// A signal from the owner of a call.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub struct DeliverSignal(pub SignalDelivery);

/// Something for every session that is no event of a call's state.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub struct Word(pub Frame);

/// On another node a session was opened for a device of the user.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub struct OpenedElsewhere {
    pub device: DeviceId,
    pub session: SessionId,
}

/// Messages may have been lost: compare with the owners.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub struct Compare;

/// The same of one call, whose owner is gone and which nobody has taken over.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub struct CompareOne(pub CallId);

/// The owner of a call says how far it has come.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub struct Digest {
    pub call: CallId,
    pub epoch: u64,
    pub seq: u64,
}

/// A call has a new owner.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub struct NewOwner {
    pub call: CallId,
    pub epoch: u64,
    pub owner: NodeId,
    /// How far the call had come then.
    pub seq: u64,
    /// What the sessions are told; `None`: nothing, the call was handed over and nothing was lost.
    pub frame: Option<Frame>,
}

/// How far a call has come, as the store says: its owner cannot.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub struct Stands {
    pub call: CallId,
    pub owner: NodeId,
    pub epoch: u64,
    pub seq: u64,
    pub open: bool,
}

/// A session of the user.
struct Member {
    session: SessionId,
    device: DeviceId,
    outbox: Arc<dyn Outbox>,
    /// When it was attached, or attached anew.
    since: Timestamp,
    /// While the session is being attached: what happened meanwhile.
    holding: Option<Vec<Held>>,
    /// The same for single calls, whose owners could not be asked when the session was attached.
    late: HashMap<CallId, Late>,
}

/// A call of which a session is attached later than the others.
#[derive(Default)]
struct Late {
    held: Vec<Held>,
    /// The session has been told where the call stands, as read from the store, and hears its events. Signals wait:
    /// those that were missed come first.
    signals_only: bool,
}

/// A frame that waits until a session is attached.
enum Held {
    Event { call: CallId, seq: u64, frame: Frame },
    Signal { call: CallId, epoch: u64, sig: u64, frame: Frame },
}

/// A call the user is told of.
struct Tracked {
    epoch: u64,
    /// The epoch that signals are counted in; older ones are from an owner that is no longer the owner.
    signal_epoch: u64,
    /// The last event handed on.
    seq: u64,
    /// How far the call had come when its owner was last asked: up to there nothing is missing.
    checked: u64,
    standing: Standing,
    /// It would ring while the user talks, and the policy is to refuse: their devices never hear of it.
    suppressed: bool,
    /// A hole is being filled: what arrives meanwhile.
    repairing: Option<Vec<Arc<Delivery>>>,
    /// Counts the questions for what is missing: only the last one is asked again when it fails.
    asked: u32,
}

/// See the module.
pub struct UserActor {
    node: NodeHandle,
    user: UserId,
    members: Vec<Member>,
    calls: HashMap<CallId, Tracked>,
    /// Calls that ended lately: what still arrives of them, by another way, has been handed on.
    over: VecDeque<CallId>,
    /// Subscribed, and the open calls are known.
    loaded: bool,
    /// It is being found out whether this node is cut off from the database.
    in_doubt: bool,
}

impl UserActor {
    /// The actor of a user who is about to get a session here.
    pub fn new(node: NodeHandle, user: UserId) -> Self {
        Self {
            node,
            user,
            members: Vec::new(),
            calls: HashMap::new(),
            over: VecDeque::new(),
            loaded: false,
            in_doubt: false,
        }
    }

    fn caller(&self, session: &SessionId, device: &DeviceId) -> Caller {
        let (user, device, session) = (self.user.clone(), device.clone(), Some(session.clone()));
        Caller { user, device, session, node: self.node.id.clone() }
    }

    /// Takes a session out, and tells the owners of calls that its device is in.
    fn part(&mut self, session: &SessionId, ctx: &mut Context<Self>) {
        let Some(index) = self.members.iter().position(|member| member.session == *session) else { return };
        let member = self.members.swap_remove(index);
        let caller = self.caller(session, &member.device);
        for (call, tracked) in &self.calls {
            if tracked.standing == (Standing::Engaged { device: member.device.clone() }) {
                self.tell_connection_lost(call.clone(), caller.clone());
            }
        }
        self.end_if_alone(ctx);
    }

    /// Ends the actor when the user has no session here any more.
    fn end_if_alone(&mut self, ctx: &mut Context<Self>) {
        if !self.members.is_empty() {
            return;
        }
        // Before it leaves the directory: the next actor of this user, which may be made at once, subscribes anew.
        if let Some(bus) = self.node.bus() {
            bus.unsubscribe_user(&self.user);
        }
        for call in self.calls.keys() {
            self.node.directory.unfollow(call, &self.user);
        }
        self.node.directory.remove_user(&self.user, &ctx.address());
        ctx.stop();
    }

    fn tell_connection_lost(&self, call: CallId, caller: Caller) {
        fail::fail_point!("user-tell-lost", |_| ());
        let lost = Command::ConnectionLost { user: caller.user.clone(), device: caller.device.clone() };
        self.tell_owner(call, caller, lost);
    }

    /// If the caller is never told, the ring times out: they hear `missed` in place of `busy`.
    fn tell_busy(&self, call: CallId) {
        let Some(member) = self.members.first() else { return };
        let caller = self.caller(&member.session, &member.device);
        self.tell_owner(call, caller, Command::BusyElsewhere { user: self.user.clone() });
    }

    /// Tells a call's owner what was noticed here, again and again while it cannot be reached.
    fn tell_owner(&self, call: CallId, caller: Caller, noticed: Command) {
        let node = self.node.clone();
        self.node.spawn(async move {
            let mut wait = TELL_FIRST_RETRY;
            while wait < TELL_PATIENCE {
                match node.ask(&call, caller.clone(), Ask::Notice(noticed.clone())).await {
                    Ok(_) => return,
                    Err(refusal) if refusal.retryable => tokio::time::sleep(wait).await,
                    Err(_) => return,
                }
                // Without the bus nobody can tell how long it takes, and asking costs little.
                let longest =
                    if node.degraded.is_without(Dependency::Redis) { TELL_WITHOUT_BUS } else { TELL_PATIENCE };
                wait = (wait * 2).min(longest);
            }
            tracing::warn!(
                call.id = %call, user.id = %caller.user, node.id = %node.id, notice = noticed.name(),
                "the call's owner could not be told what was noticed"
            );
        });
    }

    fn announce(&self, device: &DeviceId, session: &SessionId) {
        let opened = ToUser::SessionOpened { device: device.clone(), session: session.clone() };
        self.node.tell_user(&self.user, &opened, &[]);
    }

    fn replace(&mut self, device: &DeviceId, newer: &SessionId) {
        self.members.retain(|member| {
            let replaced = member.device == *device && member.session != *newer;
            if replaced {
                tracing::debug!(user.id = %self.user, "session replaced by a newer one of the same device");
                member.outbox.close(CloseCause::Replaced);
            }
            !replaced
        });
    }
}

impl Actor for UserActor {
    type Context = Context<Self>;
}

impl Handler<Leave> for UserActor {
    type Result = ();

    fn handle(&mut self, Leave { session }: Leave, ctx: &mut Self::Context) {
        self.part(&session, ctx);
    }
}

impl Handler<Word> for UserActor {
    type Result = ();

    fn handle(&mut self, Word(frame): Word, _: &mut Self::Context) {
        for member in &self.members {
            member.outbox.push(frame.clone());
        }
    }
}

impl Handler<OpenedElsewhere> for UserActor {
    type Result = ();

    fn handle(&mut self, OpenedElsewhere { device, session }: OpenedElsewhere, ctx: &mut Self::Context) {
        self.replace(&device, &session);
        self.end_if_alone(ctx);
    }
}
