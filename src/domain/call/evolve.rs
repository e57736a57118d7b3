//! How one event changes a call. Also how a call is rebuilt from its history, so it never refuses: an event that is
//! in the history has happened.

use super::{Audience, Call, CallMode, CallRecording, CallStatus, End, Escalation, Take, Transfer};
use crate::domain::{
    CallId, DeviceId, EndReason, Event, Participant, ParticipantStatus, Recorded, RecordingStatus, Role, Timestamp,
    UserId, event::Created,
};

impl Call {
    /// The call that its first event opens. `None` when that is no `Created`: then it is not the first.
    pub fn open(id: CallId, first: &Recorded) -> Option<(Self, Audience)> {
        let Event::Created(created) = &first.event else { return None };
        let mut call = Self::from_created(id, created, first.at);
        call.seq = first.seq;
        let audience = Audience::of(&mut call, first);
        Some((call, audience))
    }

    /// Folds a whole history. `None` when it is empty or does not begin at the beginning.
    pub fn rebuild<'a>(id: CallId, history: impl IntoIterator<Item = &'a Recorded>) -> Option<Self> {
        let mut history = history.into_iter();
        let (mut call, _) = Self::open(id, history.next()?)?;
        for recorded in history {
            evolve(&mut call, recorded);
        }
        Some(call)
    }

    fn from_created(id: CallId, created: &Created, at: Timestamp) -> Self {
        let mut initiator = Participant::new(created.initiator.clone(), Role::Host, ParticipantStatus::Joined, at);
        initiator.device = Some(created.device.clone());
        initiator.joined_at = Some(at);
        initiator.was_connected = true;
        let callees = created.callees.iter().map(|user| {
            let mut callee = Participant::new(user.clone(), Role::Participant, ParticipantStatus::Invited, at);
            callee.invited_by = Some(created.initiator.clone());
            callee.deadline = created.ring_deadline;
            callee
        });
        let rings = !created.callees.is_empty();
        Self {
            id,
            call_type: created.call_type,
            mode: created.mode,
            status: if rings { CallStatus::Ringing } else { CallStatus::Waiting },
            end: None,
            group: created.group.clone(),
            initiator: created.initiator.clone(),
            initiator_name: created.initiator_name.clone(),
            is_group: created.group.is_some() || created.callees.len() > 1,
            max_participants: created.max_participants,
            locked: false,
            lobby: false,
            transfer: None,
            recording: None,
            recordings: Vec::new(),
            escalates: created.escalates,
            escalation: None,
            no_escalation_before: None,
            created_at: at,
            ringing_at: rings.then_some(at),
            started_at: None,
            peak_participants: 1,
            offer: created.offer.clone(),
            metadata: created.metadata.clone(),
            seq: 0,
            group_seq: 0,
            participants: std::iter::once(initiator).chain(callees).collect(),
        }
    }

    fn enter(&mut self, user: &UserId, device: &DeviceId, deadline: Timestamp, at: Timestamp) {
        if self.participant(user).is_none() {
            let mut newcomer = Participant::new(user.clone(), Role::Participant, ParticipantStatus::Invited, at);
            newcomer.last_seq = self.group_seq;
            self.participants.push(newcomer);
        }
        if let Some(p) = self.participant_mut(user) {
            p.earlier_stays = p.duration(at);
            p.status = ParticipantStatus::Connecting;
            p.device = Some(device.clone());
            p.joined_at = Some(at);
            p.left_at = None;
            p.leave_reason = None;
            p.deadline = Some(deadline);
            p.unreachable = false;
            p.was_connected = false;
            p.in_room = false;
            // What was switched on in an earlier stay is not on now: the device says anew what it sends.
            (p.audio, p.video, p.screen, p.hand_raised, p.held) = (false, false, false, false, false);
        }
        self.started_at.get_or_insert(at);
        if matches!(self.status, CallStatus::Initiating | CallStatus::Waiting | CallStatus::Ringing) {
            self.status = CallStatus::Connecting;
        }
        // Between accepting a transfer and its completion there are three for no time at all.
        let transferred = self.transfer.as_ref().is_some_and(|transfer| transfer.to == *user);
        self.is_group |= self.engaged().count() > 2 && !transferred;
        self.peak_participants = self.peak_participants.max(u32::try_from(self.engaged().count()).unwrap_or(u32::MAX));
    }

    fn wait(&mut self, user: &UserId, device: &DeviceId, at: Timestamp) {
        if self.participant(user).is_none() {
            let mut newcomer = Participant::new(user.clone(), Role::Participant, ParticipantStatus::Lobby, at);
            newcomer.last_seq = self.group_seq;
            self.participants.push(newcomer);
        }
        if let Some(p) = self.participant_mut(user) {
            p.earlier_stays = p.duration(at);
            (p.joined_at, p.left_at, p.leave_reason) = (None, None, None);
            p.status = ParticipantStatus::Lobby;
            p.device = Some(device.clone());
        }
    }

    fn settle(&mut self, user: &UserId, status: ParticipantStatus, at: Timestamp) -> Option<&mut Participant> {
        let p = self.participant_mut(user)?;
        if p.status.is_engaged() {
            p.left_at = Some(at);
        }
        p.status = status;
        p.deadline = None;
        (p.hand_raised, p.held, p.in_room) = (false, false, false);
        self.transfer.take_if(|transfer| transfer.to == *user);
        self.participant_mut(user)
    }
}

/// Applies one event and says who hears of it.
pub fn evolve(call: &mut Call, recorded: &Recorded) -> Audience {
    call.seq = recorded.seq;
    let at = recorded.at;
    match &recorded.event {
        Event::Created(_) => {}
        Event::Ringing { user, device } => {
            if let Some(p) = call.participant_mut(user) {
                p.status = ParticipantStatus::Ringing;
                p.unreachable = false;
                if !p.ringing_devices.contains(device) {
                    p.ringing_devices.push(device.clone());
                }
            }
        }
        Event::Unreachable { user } => {
            if let Some(p) = call.participant_mut(user) {
                p.unreachable = true;
            }
        }
        Event::Accepted { user, device, deadline, .. } | Event::Joined { user, device, deadline } => {
            call.enter(user, device, *deadline, at);
        }
        Event::Declined { user, .. } => {
            call.settle(user, ParticipantStatus::Declined, at);
        }
        Event::Busy { user, .. } => {
            call.settle(user, ParticipantStatus::Busy, at);
        }
        Event::Missed { user } => {
            call.settle(user, ParticipantStatus::Missed, at);
        }
        Event::Invited { user, by, ring_deadline, transfer, guest } => {
            if *transfer {
                call.transfer = Some(Transfer { by: by.clone(), to: user.clone() });
            }
            invite(call, user, by, *ring_deadline, at);
            if let Some(p) = call.participant_mut(user) {
                p.guest = *guest;
            }
        }
        Event::Moved { user, device } => {
            if let Some(p) = call.participant_mut(user) {
                p.device = Some(device.clone());
                p.in_room = false;
                reconnect(p, None);
            }
        }
        Event::Connected { users } => {
            for user in users {
                if let Some(p) = call.participant_mut(user) {
                    p.was_connected = true;
                    if p.status == ParticipantStatus::Connecting {
                        p.status = ParticipantStatus::Joined;
                        p.deadline = None;
                    }
                }
            }
            if call.status == CallStatus::Connecting {
                call.status = CallStatus::Active;
            }
        }
        Event::MediaChanged { user, audio, video, screen } => {
            if let Some(p) = call.participant_mut(user) {
                p.audio = audio.unwrap_or(p.audio);
                p.video = video.unwrap_or(p.video);
                p.screen = screen.unwrap_or(p.screen);
            }
        }
        Event::Reconnecting { user, deadline } => {
            if let Some(p) = call.participant_mut(user) {
                p.status = ParticipantStatus::Reconnecting;
                p.deadline = Some(*deadline);
            }
        }
        Event::Reconnected { user, device, deadline } => {
            if let Some(p) = call.participant_mut(user) {
                p.device = Some(device.clone());
                reconnect(p, *deadline);
            }
        }
        Event::Left { user, reason } => {
            if let Some(p) = call.settle(user, ParticipantStatus::Left, at) {
                p.leave_reason = Some(*reason);
            }
        }
        Event::RoleChanged { user, role, .. } => {
            if *role == Role::Host {
                // One host at a time; who was it before stays in charge of all else.
                for p in call.participants.iter_mut().filter(|p| p.role == Role::Host) {
                    p.role = Role::Cohost;
                }
            }
            if let Some(p) = call.participant_mut(user) {
                p.role = *role;
            }
        }
        Event::Kicked { user, .. } => {
            if let Some(p) = call.settle(user, ParticipantStatus::Kicked, at) {
                p.leave_reason = Some(EndReason::Kicked);
                p.role = Role::Participant;
            }
        }
        Event::LockChanged { locked, lobby, .. } => (call.locked, call.lobby) = (*locked, *lobby),
        Event::LobbyWaiting { user, device } => call.wait(user, device, at),
        Event::Denied { user, .. } => {
            if let Some(p) = call.settle(user, ParticipantStatus::Left, at) {
                p.leave_reason = Some(EndReason::Declined);
            }
        }
        Event::HandRaised { user, raised } => {
            if let Some(p) = call.participant_mut(user) {
                p.hand_raised = *raised;
            }
        }
        Event::Held { user } | Event::Resumed { user } => {
            if let Some(p) = call.participant_mut(user) {
                p.held = matches!(recorded.event, Event::Held { .. });
            }
        }
        Event::Transferred { by, .. } => {
            call.transfer = None;
            if call.is_in(by, ParticipantStatus::is_engaged)
                && let Some(p) = call.settle(by, ParticipantStatus::Left, at)
            {
                p.leave_reason = Some(EndReason::Completed);
            }
        }
        Event::RecordingStarted { recording, options, by } => {
            call.recordings.push(Take { id: recording.clone(), since: at });
            call.recording = Some(CallRecording {
                id: recording.clone(),
                status: RecordingStatus::Starting,
                by: by.clone(),
                options: *options,
                since: at,
            });
        }
        Event::RecordingStopped { recording, .. } => call.on_recording(recording, RecordingStatus::Processing),
        Event::RecordingChanged { recording, status, .. } => call.on_recording(recording, *status),
        Event::Admitted { .. } | Event::MuteRequested { .. } | Event::Cancelled { .. } => {}
        Event::Escalating { cause, by, deadline } => {
            let open = call.escalation.as_ref().is_some_and(|escalation| escalation.open);
            call.escalation = Some(Escalation { cause: *cause, by: by.clone(), deadline: *deadline, open });
        }
        Event::RoomOpened {} => {
            if let Some(escalation) = &mut call.escalation {
                escalation.open = true;
            }
        }
        Event::RoomJoined { user } | Event::RoomLeft { user } => {
            if let Some(p) = call.participant_mut(user) {
                p.in_room = matches!(recorded.event, Event::RoomJoined { .. });
            }
        }
        Event::Escalated {} => {
            call.mode = CallMode::Sfu;
            call.escalation = None;
        }
        Event::EscalationAborted { not_before, .. } => {
            call.escalation = None;
            call.no_escalation_before = Some(*not_before);
            call.participants.iter_mut().for_each(|p| p.in_room = false);
        }
        Event::Ended { status, reason, by } => {
            call.status = *status;
            call.end = Some(End { reason: *reason, by: by.clone(), at });
            call.transfer = None;
            if let Some(recording) = call.recording.as_mut().filter(|recording| recording.status.is_running()) {
                recording.status = RecordingStatus::Processing;
            }
            call.escalation = None;
            for p in &mut call.participants {
                if p.status.is_present() {
                    p.left_at = p.status.is_engaged().then_some(at);
                    p.status = ParticipantStatus::Left;
                    p.leave_reason = Some(*reason);
                } else if !p.status.is_final() {
                    p.status = ParticipantStatus::Missed;
                }
                p.deadline = None;
                p.in_room = false;
            }
        }
    }
    Audience::of(call, recorded)
}

fn reconnect(p: &mut Participant, connect_deadline: Option<Timestamp>) {
    if p.was_connected {
        p.status = ParticipantStatus::Joined;
        p.deadline = None;
    } else {
        p.status = ParticipantStatus::Connecting;
        p.deadline = connect_deadline.or(p.deadline);
    }
}

fn invite(call: &mut Call, user: &UserId, by: &UserId, ring_deadline: Timestamp, at: Timestamp) {
    if call.participant(user).is_none() {
        let mut invitee = Participant::new(user.clone(), Role::Participant, ParticipantStatus::Invited, at);
        invitee.last_seq = call.group_seq;
        call.participants.push(invitee);
    }
    if let Some(p) = call.participant_mut(user) {
        // A user may be invited again after a stay: what they talked before goes on counting.
        p.earlier_stays = p.duration(at);
        p.joined_at = None;
        p.left_at = None;
        p.leave_reason = None;
        p.status = ParticipantStatus::Invited;
        p.invited_by = Some(by.clone());
        p.invited_at = at;
        p.ringing_devices.clear();
        p.deadline = Some(ring_deadline);
        p.unreachable = false;
    }
    let transferred = call.transfer.as_ref().is_some_and(|transfer| transfer.to == *user);
    call.is_group |= call.participants.iter().filter(|p| !p.status.is_final()).count() > 2 && !transferred;
}
