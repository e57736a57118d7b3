//! Relaying signals between participants: ordered, numbered per recipient, kept for a while, never durable.

use std::collections::{HashMap, VecDeque};

use super::{CallActor, Job};
use crate::{
    actors::{
        handoff::KeptSignals,
        keyed::{self, CommandKey},
        messages::{MissedSignal, SignalDelivery, SignalKind, SignalRequest},
    },
    domain::{Call, Command, DeviceId, Participant, ParticipantStatus, Rejection, UserId},
    wire::{Frame, Refusal, render},
};

/// How many signals are kept for each recipient. An offer, an answer and forty candidates are one negotiation; fewer
/// would lose candidates of a device that comes back, more is memory.
pub(super) const KEPT_SIGNALS: usize = 128;
/// How many bytes of signals are kept for each recipient: a few of the largest.
const KEPT_BYTES: usize = 256 * 1024;

/// How many keys of signals are kept for a call. Fewer, and a signal that is sent again after a lost connection may come
/// twice, which harms little: more is memory.
const KEPT_KEYS: usize = 256;

/// Signals sent so far, by recipient.
pub(super) struct Relay {
    /// The epoch they are counted in. An owner that was handed the memory goes on counting where the one before stopped,
    /// so that nobody sees a difference; one that took over begins anew.
    pub(super) epoch: u64,
    rings: HashMap<UserId, Ring>,
    /// The keys of signals that were relayed, the newest last.
    keys: VecDeque<CommandKey>,
}

#[derive(Default)]
struct Ring {
    /// The number of the last signal; the first is 1.
    sig: u64,
    kept: VecDeque<MissedSignal>,
    bytes: usize,
}

impl Ring {
    fn keep(&mut self, signal: MissedSignal) {
        self.bytes += signal.frame.len();
        self.kept.push_back(signal);
        while self.kept.len() > KEPT_SIGNALS || self.bytes > KEPT_BYTES {
            let Some(oldest) = self.kept.pop_front() else { break };
            self.bytes -= oldest.frame.len();
        }
    }
}

impl Relay {
    pub(super) fn new(epoch: u64) -> Self {
        Self { epoch, rings: HashMap::new(), keys: VecDeque::new() }
    }

    /// A memory that was handed over.
    pub(super) fn unpack(kept: KeptSignals) -> Self {
        let mut relay = Self::new(kept.epoch);
        relay.keys = kept.keys.into();
        for (user, sig, signals) in kept.rings {
            let ring = relay.rings.entry(user).or_default();
            ring.sig = sig;
            signals.into_iter().for_each(|signal| ring.keep(signal));
        }
        relay
    }

    /// The memory, to be handed over.
    pub(super) fn pack(&self) -> KeptSignals {
        let ring = |(user, ring): (&UserId, &Ring)| (user.clone(), ring.sig, ring.kept.iter().cloned().collect());
        let keys = self.keys.iter().cloned().collect();
        KeptSignals { epoch: self.epoch, rings: self.rings.iter().map(ring).collect(), keys }
    }

    /// Whether a signal with this key was relayed; a conflict if that was another signal.
    fn knows(&self, key: &CommandKey) -> Result<bool, Refusal> {
        match self.keys.iter().find(|known| known.command == key.command) {
            Some(known) if known != key => Err(keyed::conflict()),
            known => Ok(known.is_some()),
        }
    }

    fn remember(&mut self, key: CommandKey) {
        if self.keys.len() >= KEPT_KEYS {
            self.keys.pop_front();
        }
        self.keys.push_back(key);
    }

    /// What was sent to `user` after `sig`. A `sig` that was never given is one of an owner before: then all.
    pub(super) fn since(&self, user: &UserId, sig: u64) -> Vec<MissedSignal> {
        let Some(ring) = self.rings.get(user) else { return Vec::new() };
        let from = if sig > ring.sig { 0 } else { sig };
        ring.kept.iter().filter(|signal| signal.sig > from).cloned().collect()
    }
}

/// Who may send now, and to whom it goes.
fn recipients<'a>(call: &'a Call, request: &SignalRequest) -> Result<Vec<&'a Participant>, Rejection> {
    if call.status.is_final() {
        let known = call.participant(&request.from).is_some();
        return Err(if known { Rejection::AlreadyEnded } else { Rejection::NotFound });
    }
    let sender = call.participant(&request.from).ok_or(Rejection::NotFound)?;
    if sender.status.is_rung() {
        return Err(Rejection::WrongState("accept it first"));
    }
    if !sender.status.is_engaged() {
        return Err(Rejection::NotParticipant);
    }
    if sender.device.as_ref() != Some(&request.from_device) {
        return Err(Rejection::AcceptedElsewhere);
    }
    let present = |p: &Participant| p.status.is_engaged() || p.status.is_rung();
    match &request.to {
        Some(to) => match call.participant(to) {
            Some(p) if present(p) && *to != request.from => Ok(vec![p]),
            _ => Err(Rejection::NotParticipant),
        },
        None => Ok(call.participants.iter().filter(|p| present(p) && p.user != request.from).collect()),
    }
}

impl CallActor {
    /// Relays a signal now, while a commit may be under way; unless it would be refused and what is under way may
    /// change that: then it waits its turn (`last`: it has waited).
    pub(super) fn perform_signal(&mut self, request: SignalRequest, last: bool) {
        if self.frozen {
            // For the next owner, with whatever else waits.
            if self.jobs.len() < super::MAX_WAITING {
                self.jobs.push_back(Job::Signal(request));
            } else {
                let refusal = Refusal::unavailable("the call is moving; send it again");
                self.node.settle(&request.receipt, Err(refusal));
            }
            return;
        }
        match request.key.map_or(Ok(false), |key| self.relay.knows(&key)) {
            Ok(false) => {}
            Ok(true) => return self.node.settle(&request.receipt, Ok(())),
            Err(refusal) => return self.node.settle(&request.receipt, Err(refusal)),
        }
        let call = self.call.clone();
        let targets = match recipients(&call, &request) {
            Ok(targets) => targets,
            Err(_) if !last && (self.busy || !self.jobs.is_empty()) && self.jobs.len() < super::MAX_WAITING => {
                self.jobs.push_back(Job::Signal(request));
                return;
            }
            Err(Rejection::NotFound) => return self.node.refuse_signal(request),
            Err(rejection) => return self.node.settle(&request.receipt, Err(rejection.into())),
        };
        for target in &targets {
            self.relay_to(&call, target, &request);
        }
        if request.kind == SignalKind::Answer {
            self.note_answer(&call, &request.from, &targets);
        }
        if let Some(key) = request.key {
            self.relay.remember(key);
        }
        self.node.settle(&request.receipt, Ok(()));
    }

    fn relay_to(&mut self, call: &Call, target: &Participant, request: &SignalRequest) {
        let device: Option<DeviceId> = match &request.to_device {
            Some(device) => Some(device.clone()),
            None if target.status.is_engaged() => target.device.clone(),
            None => None,
        };
        let epoch = self.relay.epoch;
        let ring = self.relay.rings.entry(target.user.clone()).or_default();
        ring.sig += 1;
        let frame: Frame = render::Signal {
            call,
            from: &request.from,
            from_device: &request.from_device,
            kind: request.kind.as_str(),
            payload: request.payload.text(),
            sig: ring.sig,
            epoch,
        }
        .frame();
        ring.keep(MissedSignal { sig: ring.sig, frame: frame.clone(), device: device.clone() });
        let at_its_node = device.is_some() && device == target.device;
        let node = self.links.get(&target.user).filter(|_| at_its_node).map(|link| &link.node);
        let signal = SignalDelivery { call: call.id.clone(), epoch, sig: ring.sig, device, frame };
        self.node.deliver_signal(&target.user, node, signal);
    }

    /// An answer has passed: the media of both is taken to work.
    fn note_answer(&mut self, call: &Call, from: &UserId, targets: &[&Participant]) {
        let users: Vec<UserId> = std::iter::once(from.clone()).chain(targets.iter().map(|p| p.user.clone())).collect();
        let connecting = |user| call.participant(user).is_some_and(|p| p.status == ParticipantStatus::Connecting);
        if users.iter().any(connecting) {
            self.jobs.push_back(Job::System(Command::Connected { users }));
        }
    }
}
