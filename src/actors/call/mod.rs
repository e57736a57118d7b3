//! The actor of one call: the only place in the cluster that changes it, while its epoch is the newest.
//!
//! Owns the call's state, its timers and the memory of relayed signals. It does what the domain decides, in one order:
//! decide, commit, evolve, publish, answer. It never writes without its epoch, never handles two commands at once, and
//! stops when the store says that somebody else owns the call. It survives a commit that fails (its state stays as it
//! was) and its own death (the next one is built from the store).

mod asks;
mod commit;
mod handing;
mod history;
pub(super) mod membership;
mod publish;
mod relay;
mod rooms;
mod timers;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, SpawnHandle};
use tokio::sync::oneshot;
use uuid::Uuid;

use self::relay::Relay;
pub(super) use self::{
    handing::{Freeze, HandedOver, Thaw},
    history::{History, Known, call_object},
    publish::{MAX_GROUP_AUDIENCE, Prepared},
};
use super::{
    Answer, Caller, NodeHandle,
    counts::Full,
    degraded::Dependency,
    handoff::Parcel,
    keyed::CommandKey,
    messages::{RelaySignal, Request, Resume, SignalRequest},
};
use crate::{
    clock,
    domain::{By, Call, CallId, Command, Membership, NodeId, Recorded, SessionId, UserId, call::decide},
    metrics::count,
    trace::{self, Kind, Span, TraceContext},
    wire::Refusal,
};

/// How many commands may wait for one call. Beyond it they are refused as `unavailable`: at a commit each, the last
/// would wait for longer than its client does.
const MAX_WAITING: usize = 256;
/// How long the actor of a call that has ended answers repetitions from memory before they must be read from the store.
const LINGER: Duration = Duration::from_secs(5);
/// When a ring that nobody has acknowledged is sent again, and how often. More costs messages for every client that never
/// says `call:ringing`; fewer leave a phone silent when Redis loses two in a row.
const REMIND_AFTER: Duration = Duration::from_secs(2);
const REMINDERS: u32 = 2;
/// How long after a takeover the nodes of participants may take to say where their devices are. Shorter than the time a
/// node needs to notice that Redis is back, and people who are there would be shown as reconnecting.
const LINK_PATIENCE: Duration = Duration::from_secs(4);
/// How long a device that was heard of counts as there, whatever a sweeper has seen: longer than a sweeper's question may
/// be under way, or who connects meanwhile is taken for gone; much longer, and who is gone is kept.
const LINK_FRESH: Duration = Duration::from_secs(12);
/// What is told to whom asks a node that could not renew its lease.
const LEASE_LOST: &str = "this node has lost its lease";
/// What is told to whom asks for what would have to be written, while nothing can be.
pub(super) const DATABASE_AWAY: &str = "the database is not available";
/// How long after a failed commit a timer is tried again.
const RETRY_TIMER: Duration = Duration::from_secs(1);

/// A device of a participant, and where it is connected.
#[derive(Clone)]
struct Link {
    node: NodeId,
    session: SessionId,
    heard_at: Instant,
}

/// Where the outcome of a command goes. Dropped: whoever asked looks for the call's next actor.
struct Reply {
    to: oneshot::Sender<Result<Answer, Refusal>>,
    /// The command's key: its answer is recorded in the commit.
    key: Option<CommandKey>,
    /// That answer.
    kept: Option<Answer>,
    /// From the question's arrival to the answer.
    span: Span,
}

impl Reply {
    fn send(mut self, outcome: Result<Answer, Refusal>) {
        if let Err(refusal) = &outcome {
            self.span.fail(refusal.code.as_str());
        }
        drop(self.span);
        // Who asked may have gone meanwhile; what it asked for is done all the same.
        let _ = self.to.send(outcome);
    }
}

/// What was looked up for a question before it has its turn.
#[derive(Default, Clone, Copy)]
struct LookedUp {
    /// How the asker belongs to the call's group, where that matters for the question.
    membership: Option<Membership>,
    /// Nothing is on record under the command's key.
    unheard: bool,
}

/// Something to be done, one after another.
enum Job {
    Ask(Request, LookedUp),
    Signal(SignalRequest),
    System(Command),
    /// Hold still: the call is to be handed over.
    Freeze(oneshot::Sender<Option<Parcel>>),
    /// Answer to an [`Ask::Attach`], once the participant is marked as back.
    Attached {
        caller: Caller,
        resume: Option<Resume>,
        reply: Reply,
    },
}

/// See the module.
pub struct CallActor {
    node: NodeHandle,
    call: Arc<Call>,
    epoch: u64,
    history: History,
    jobs: VecDeque<Job>,
    /// A commit or look-up is under way: jobs wait, signals pass.
    busy: bool,
    relay: Relay,
    links: HashMap<UserId, Link>,
    /// The members of the call's group when it was begun just now. Anything later reads them anew.
    members: Option<Arc<[UserId]>>,
    timer: Option<SpawnHandle>,
    /// What the call's first events are, to be published when the actor runs, and the trace that they are of.
    opening: Option<(Prepared, Option<TraceContext>)>,
    /// Participants are to be told that signals under way were lost; these were.
    rebuilt: bool,
    told_of_owner: HashSet<UserId>,
    /// A commit was given up on whose outcome is unknown: what is remembered here may be behind what is stored.
    in_doubt: bool,
    /// The call is being handed over: nothing is done here until that has succeeded or failed.
    frozen: bool,
    /// Handed over to this owner: nothing was lost on the way.
    moved: bool,
    /// Since the takeover every node has had time to say which devices are there.
    all_have_spoken: bool,
    /// Participants whose device came in without a session, and until when one may still be named for it.
    awaited: HashMap<UserId, Instant>,
    /// The call's room on the media server.
    room: rooms::Room,
}

impl CallActor {
    /// The actor of a call that was committed just now.
    pub(super) fn opened(
        node: NodeHandle,
        opening: Prepared,
        epoch: u64,
        caller: &Caller,
        members: Option<Arc<[UserId]>>,
    ) -> Self {
        let mut actor = Self::new(node, opening.after.clone(), History::of(opening.recorded.clone()), epoch);
        actor.link(caller);
        // Nobody is in it whose device is not known, but for those who are awaited.
        actor.all_have_spoken = true;
        actor.members = members;
        actor.opening = Some((opening, trace::current()));
        actor
    }

    /// The actor of a call read from the store.
    pub(super) fn rebuilt(node: NodeHandle, call: Call, history: Vec<Recorded>, epoch: u64) -> Self {
        let mut actor = Self::new(node, Arc::new(call), History::of(history), epoch);
        actor.rebuilt = true;
        actor
    }

    fn new(node: NodeHandle, call: Arc<Call>, history: History, epoch: u64) -> Self {
        Self {
            node,
            call,
            epoch,
            history,
            jobs: VecDeque::new(),
            busy: false,
            relay: Relay::new(epoch),
            links: HashMap::new(),
            members: None,
            timer: None,
            opening: None,
            rebuilt: false,
            told_of_owner: HashSet::new(),
            in_doubt: false,
            frozen: false,
            moved: false,
            all_have_spoken: false,
            awaited: HashMap::new(),
            room: rooms::Room::default(),
        }
    }

    /// The call it is the actor of.
    pub fn call_id(&self) -> &CallId {
        &self.call.id
    }

    fn link(&mut self, caller: &Caller) {
        let Some(session) = caller.session.clone() else { return };
        self.links
            .insert(caller.user.clone(), Link { node: caller.node.clone(), session, heard_at: clock::monotonic() });
        self.awaited.remove(&caller.user);
    }

    fn pump(&mut self, ctx: &mut Context<Self>) {
        while !self.busy && !self.frozen {
            let Some(job) = self.jobs.pop_front() else { break };
            let _within = trace::enter(match &job {
                Job::Ask(request, _) => request.span.context().or(request.trace),
                // A signal is in no trace, and what the call does by itself begins one if anything comes of it.
                _ => None,
            });
            match job {
                Job::Ask(request, found) => self.perform_ask(request, found, ctx),
                Job::Signal(request) => self.perform_signal(request, true),
                Job::System(command) => self.perform(&By::System, &command, None, None, None, ctx),
                Job::Freeze(reply) => self.freeze(reply),
                Job::Attached { caller, resume, reply } => {
                    let answer = self.attached(&caller, resume);
                    reply.send(Ok(answer));
                }
            }
        }
    }

    /// Decide; then, if anything happens, commit and go on in [`Self::on_committed`].
    fn perform(
        &mut self,
        by: &By,
        command: &Command,
        id: Option<Uuid>,
        caller: Option<Caller>,
        reply: Option<Reply>,
        ctx: &mut Context<Self>,
    ) {
        fail::fail_point!("call-perform");
        if !self.node.membership.may_own() {
            // Another node may own the call by now: nothing is decided here until the lease is renewed.
            if let Some(reply) = reply {
                reply.send(Err(Refusal::unavailable(LEASE_LOST)));
            }
            return self.arm_timer(ctx, RETRY_TIMER);
        }
        if self.node.degraded.is_away(Dependency::Database) {
            if let Some(reply) = reply {
                reply.send(Err(Refusal::unavailable(DATABASE_AWAY)));
            }
            return self.arm_timer(ctx, RETRY_TIMER);
        }
        if self.in_doubt {
            // The next actor reads what is stored; the dropped reply sends the asker there.
            drop(reply);
            return self.stop_to_be_revived(ctx);
        }
        let now = clock::now();
        match decide(&self.call, now, &self.node.rules_now(), by, command) {
            Ok(events) if events.is_empty() => {
                let asker = caller.as_ref().map(|caller| caller.user.clone());
                if let Some(caller) = caller.filter(|c| self.is_at(c)) {
                    self.link(&caller);
                }
                if let Some(reply) = reply {
                    reply.send(Ok(self.answer_to(asker.as_ref())));
                }
                if matches!(command, Command::Tick) {
                    // The clock was put back since the timer was armed: the deadline is still to come.
                    self.arm_timer(ctx, Duration::ZERO);
                }
            }
            Ok(events) => self.commit(events, command.name(), id, caller, reply, now, ctx),
            Err(rejection) => {
                if let Some(reply) = reply {
                    reply.send(Err(rejection.into()));
                }
            }
        }
    }

    fn note_position(&self) {
        let (node, call) = (&self.node, &self.call);
        node.directory.set_position(&call.id, self.epoch, call.seq, clock::now(), call.status);
    }

    /// Ends the actor; whoever still asks rebuilds the call from the store.
    fn retire(&mut self, ctx: &mut Context<Self>) {
        self.node.directory.remove_call(&self.call.id, &ctx.address());
        ctx.stop();
    }

    /// Ends the actor of a call that may still be this node's. It stays listed, so that the sweeper finds it dead and has
    /// the call rebuilt, also if nobody asks for it: else its timers would stop, and what was committed but not told
    /// would stay so.
    fn stop_to_be_revived(&mut self, ctx: &mut Context<Self>) {
        self.jobs.clear();
        ctx.stop();
    }
}

impl Actor for CallActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some((opening, trace)) = self.opening.take() {
            let _within = trace::enter(trace);
            self.await_sessions(ctx);
            tracing::info!(
                call.id = %self.call.id, user.id = %self.call.initiator, node.id = %self.node.id,
                callees = self.call.participants.len().saturating_sub(1), "call started"
            );
            self.node.metrics.on_started(self.call.status);
            fail::fail_point!("start-before-publish");
            self.publish(opening, ctx);
            fail::fail_point!("start-after-publish");
            self.remind_later(ctx, REMINDERS);
        }
        if (self.rebuilt || self.moved) && !self.call.status.is_final() {
            if self.moved {
                self.tell_moved();
                self.await_sessions(ctx);
            } else {
                self.tell_new_owner();
            }
            // The ring may have been committed and not told when the owner before died.
            self.remind_later(ctx, REMINDERS);
            if self.rebuilt && !self.all_have_spoken {
                ctx.run_later(LINK_PATIENCE, |actor, ctx| actor.miss_the_silent(ctx));
            }
        }
        if (self.rebuilt || self.moved) && self.call.running_recording().is_some() {
            // The owner before may have died between the wish and the deed.
            self.record();
        }
        self.look_for_former_members(ctx);
        self.note_position();
        self.arm_timer(ctx, Duration::ZERO);
        self.tend_room(ctx);
    }
}

impl Handler<Request> for CallActor {
    type Result = ();

    fn handle(&mut self, mut request: Request, ctx: &mut Self::Context) {
        fail::fail_point!("call-handle");
        request.span = Span::below(request.trace, "owner", Kind::Internal);
        request.span.note(|span| {
            span.set("carillon.call.id", self.call.id.as_str()).set("carillon.command", request.ask.name());
        });
        self.node.metrics.call_commands.observe(count(self.jobs.len()));
        if self.jobs.len() >= MAX_WAITING {
            self.node.metrics.on_full(Full::CallCommands);
            let refusal = Refusal::unavailable("too many commands wait for this call");
            let _ = request.reply.send(Err(refusal));
            return;
        }
        self.jobs.push_back(Job::Ask(request, LookedUp::default()));
        self.pump(ctx);
    }
}

impl Handler<RelaySignal> for CallActor {
    type Result = ();

    fn handle(&mut self, RelaySignal { request, slot }: RelaySignal, ctx: &mut Self::Context) {
        self.perform_signal(request, false);
        drop(slot);
        self.pump(ctx);
    }
}

/// Nodes are gone, with the sessions on them.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub struct NodesGone;

impl Handler<NodesGone> for CallActor {
    type Result = ();

    fn handle(&mut self, NodesGone: NodesGone, ctx: &mut Self::Context) {
        self.miss_the_gone(ctx);
    }
}

/// The node has lost its lease: whoever still asks finds the call's owner in the store.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub struct LetGo;

impl Handler<LetGo> for CallActor {
    type Result = ();

    fn handle(&mut self, LetGo: LetGo, ctx: &mut Self::Context) {
        self.stop_to_be_revived(ctx);
    }
}
