//! What may happen in a random walk, and how it is drawn. Shrinks to few, simple steps.

use std::{collections::BTreeSet, time::Duration};

use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::{select, subsequence},
};

use super::super::scenarios::{device_id, opaque, user_id};
use crate::domain::{
    BusyPolicy, CallId, CallMode, CallType, Command, DeviceId, EndReason, GroupId, Opaque, Prey, RecordingId,
    RecordingStatus, Role, Start, UserId, command::Track, recording::RecordingWish,
};

pub(super) const USERS: [&str; 5] = ["alice", "bob", "carol", "dave", "erin"];
const DEVICES: [&str; 3] = ["phone", "tablet", "laptop"];
pub(super) const GROUPS: [&str; 2] = ["team", "family"];

/// Who belongs to which group.
pub(super) type Members = BTreeSet<(GroupId, UserId)>;

#[derive(Debug, Clone)]
pub(super) enum Step {
    Start(Start),
    /// A user does something in one of the calls (counted over all that were ever opened).
    User {
        call: usize,
        user: UserId,
        device: DeviceId,
        command: Command,
    },
    /// The host of one of the calls does something, at the device they are in it with.
    Host {
        call: usize,
        command: Command,
    },
    /// One of those who were ever asked does something, at the device they were last at; and where the command is
    /// about somebody who waits, it is about one who does.
    Someone {
        call: usize,
        nth: usize,
        command: Command,
    },
    Server {
        call: usize,
        command: Command,
    },
    /// Somebody loses the connection of the device they are in a call with, or it is back.
    Connection {
        call: usize,
        user: UserId,
        back: bool,
    },
    /// The media server sees somebody come into a call's room with the device they are in the call with, or go.
    Room {
        call: usize,
        nth: usize,
        joined: bool,
    },
    /// The clock moves, also back: the next step may be taken by a node whose clock is behind.
    Clock {
        millis: i64,
    },
    /// The clock goes to the next deadline of a call, give or take, and the call is told.
    Deadline {
        call: usize,
        late_millis: i64,
    },
    /// Somebody is put into a group, or taken out.
    Membership {
        user: UserId,
        group: GroupId,
        member: bool,
    },
}

const RECORDINGS: [&str; 3] = ["r1", "r2", "r3"];
const STATUSES: [RecordingStatus; 4] =
    [RecordingStatus::Recording, RecordingStatus::Processing, RecordingStatus::Ready, RecordingStatus::Failed];

fn record(id: &str) -> Command {
    Command::StartRecording { recording: RecordingId::new(id).unwrap(), wish: RecordingWish::default() }
}

fn users() -> impl Strategy<Value = UserId> {
    select(&USERS[..]).prop_map(user_id)
}

fn devices() -> impl Strategy<Value = DeviceId> {
    select(&DEVICES[..]).prop_map(device_id)
}

fn groups() -> impl Strategy<Value = GroupId> {
    select(&GROUPS[..]).prop_map(|name| GroupId::new(name).unwrap())
}

/// Some of the users, also none, in any order.
fn several_users() -> impl Strategy<Value = Vec<UserId>> {
    let some = subsequence(&USERS[..], 0..=3).prop_shuffle();
    some.prop_map(|names| names.into_iter().map(user_id).collect())
}

/// JSON as clients write it: with spaces and breaks, numbers that do not survive a float, and nothing at all.
fn payloads() -> impl Strategy<Value = Opaque> {
    let some = [r#"{"type":"offer","sdp":"v=0\r\n"}"#, "null", "{ \"a\" :\n[1.50, 12345678901234567890123] }", "\"é\""];
    select(some.to_vec()).prop_map(opaque)
}

fn starts() -> impl Strategy<Value = Start> {
    let whom = prop_oneof![
        4 => users().prop_map(|user| (None, vec![user])),
        2 => (groups().prop_map(Some), several_users()),
        1 => several_users().prop_map(|callees| (None, callees)),
    ];
    let ring_timeout = option::weighted(0.3, (0..700u64).prop_map(Duration::from_secs));
    let opaques = (option::of(payloads()), option::weighted(0.2, payloads()));
    let modes = prop_oneof![
        2 => Just((CallMode::P2p, false)),
        3 => Just((CallMode::P2p, true)),
        1 => Just((CallMode::Sfu, false)),
    ];
    (users(), devices(), whom, ring_timeout, opaques, modes).prop_map(
        |(initiator, device, (group, callees), ring_timeout, (offer, metadata), (mode, escalates))| Start {
            call: CallId::new("replaced").unwrap(),
            call_type: CallType::Video,
            mode,
            escalates,
            initiator,
            initiator_name: None,
            device,
            group,
            callees,
            ring_timeout,
            offer,
            metadata,
        },
    )
}

fn user_commands() -> impl Strategy<Value = Command> {
    let reasons = [EndReason::Completed, EndReason::MediaFailed];
    prop_oneof![
        3 => Just(Command::Ringing),
        6 => option::of(payloads()).prop_map(|answer| Command::Accept { answer }),
        2 => option::of("[a-zé\"\\n]{0,8}").prop_map(|reason| Command::Decline { reason }),
        1 => Just(Command::Busy),
        1 => Just(Command::Cancel),
        5 => Just(Command::Join),
        3 => Just(Command::Leave),
        2 => option::of(select(reasons.to_vec())).prop_map(|reason| Command::End { reason }),
        3 => several_users().prop_map(|users| Command::Invite { users, guests: vec![] }),
        1 => any::<(Option<bool>, Option<bool>, Option<bool>)>()
            .prop_map(|(audio, video, screen)| Command::Media { audio, video, screen }),
        1 => Just(Command::Tick),
        4 => moderating_commands(),
    ]
}

fn moderating_commands() -> impl Strategy<Value = Command> {
    let roles = select(vec![Role::Host, Role::Cohost, Role::Participant]);
    let tracks = select(vec![Track::Audio, Track::Video, Track::Screen]);
    prop_oneof![
        1 => (users(), roles).prop_map(|(user, role)| Command::Role { user, role }),
        1 => users().prop_map(|user| Command::Kick { user }),
        1 => (option::of(users()), tracks).prop_map(|(user, track)| Command::Mute { user, track }),
        2 => any::<(bool, Option<bool>)>().prop_map(|(locked, lobby)| Command::Lock { locked, lobby }),
        4 => users().prop_map(|user| Command::Admit { user }),
        2 => users().prop_map(|user| Command::Deny { user }),
        1 => any::<bool>().prop_map(|raised| Command::RaiseHand { raised }),
        1 => Just(Command::Hold),
        1 => Just(Command::Resume),
        1 => users().prop_map(|to| Command::Transfer { to }),
        1 => Just(Command::Escalate),
        2 => select(&RECORDINGS[..]).prop_map(record),
        1 => Just(Command::StopRecording),
        1 => any::<Option<bool>>().prop_map(|audio| Command::Media { audio, video: audio, screen: audio }),
    ]
}

fn several_commands() -> impl Strategy<Value = Command> {
    let on = Command::Media { audio: Some(true), video: Some(true), screen: Some(true) };
    prop_oneof![
        3 => Just(Command::Accept { answer: None }),
        2 => Just(Command::Join),
        2 => Just(on),
        2 => Just(Command::Transfer { to: user_id("erin") }),
        2 => Just(Command::Escalate),
    ]
}

fn preys() -> impl Strategy<Value = Prey> {
    prop_oneof![
        1 => Just(Prey::StaleRinging),
        1 => Just(Prey::StaleConnecting),
        1 => Just(Prey::PastMaxDuration),
        2 => (users(), devices()).prop_map(|(user, device)| Prey::LeftBehind { user, device }),
    ]
}

fn server_commands() -> impl Strategy<Value = Command> {
    prop_oneof![
        2 => several_users().prop_map(|users| Command::Connected { users }),
        1 => users().prop_map(|user| Command::Unreachable { user }),
        1 => users().prop_map(|user| Command::BusyElsewhere { user }),
        1 => (users(), devices()).prop_map(|(user, device)| Command::ConnectionLost { user, device }),
        1 => (users(), devices()).prop_map(|(user, device)| Command::ConnectionBack { user, device }),
        2 => Just(Command::Tick),
        2 => Just(Command::RoomOpened),
        1 => (select(&RECORDINGS[..]), select(&STATUSES[..])).prop_map(|(id, status)| Command::RecordingChanged {
            recording: RecordingId::new(id).unwrap(),
            status,
            reason: None,
        }),
        1 => Just(Command::RoomUnavailable),
        1 => several_users().prop_map(|users| Command::Remove { users }),
        2 => preys().prop_map(Command::Sweep),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    let call = || 0..4usize;
    prop_oneof![
        3 => starts().prop_map(Step::Start),
        12 => (call(), users(), devices(), user_commands())
            .prop_map(|(call, user, device, command)| Step::User { call, user, device, command }),
        4 => (call(), moderating_commands()).prop_map(|(call, command)| Step::Host { call, command }),
        5 => (call(), 0..5usize, several_commands())
            .prop_map(|(call, nth, command)| Step::Someone { call, nth, command }),
        3 => (call(), server_commands()).prop_map(|(call, command)| Step::Server { call, command }),
        3 => (call(), users(), any::<bool>()).prop_map(|(call, user, back)| Step::Connection { call, user, back }),
        6 => (call(), 0..5usize, prop::bool::weighted(0.8))
            .prop_map(|(call, nth, joined)| Step::Room { call, nth, joined }),
        2 => (-5_000..20_000i64).prop_map(|millis| Step::Clock { millis }),
        1 => (20_000..1_000_000i64).prop_map(|millis| Step::Clock { millis }),
        2 => (call(), -1..3_000i64).prop_map(|(call, late_millis)| Step::Deadline { call, late_millis }),
        1 => (users(), groups(), any::<bool>())
            .prop_map(|(user, group, member)| Step::Membership { user, group, member }),
    ]
}

/// What a walk begins with: mostly nothing; else a call that has come to where few random walks would take it, a lobby
/// with people in it or a call of two who talk, or
/// move to the media server.
fn beginnings() -> impl Strategy<Value = Vec<Step>> {
    let user = |user, command| Step::User { call: 0, user: user_id(user), device: device_id("laptop"), command };
    let host = |command| Step::Host { call: 0, command };
    let media = Command::Media { audio: Some(true), video: None, screen: None };
    let lobby = vec![
        Step::Start(super::super::scenarios::start_of(&[], Some(GROUPS[0]))),
        user("bob", Command::Join),
        user("bob", media.clone()),
        host(Command::Lock { locked: false, lobby: Some(true) }),
        user("carol", Command::Join),
        user("dave", Command::Join),
    ];
    let pair = vec![
        Step::Start(super::super::scenarios::start_of(&["bob"], None)),
        user("bob", Command::Accept { answer: None }),
        user("bob", media),
    ];
    let moving = [pair.clone(), vec![host(Command::Escalate)]].concat();
    prop_oneof![6 => Just(vec![]), 2 => Just(lobby), 2 => Just(pair), 2 => Just(moving)]
}

/// A policy, who belongs to which group at first, and what happens then.
pub(super) fn walks() -> impl Strategy<Value = (BusyPolicy, Members, Vec<Step>)> {
    let everybody: Vec<(GroupId, UserId)> = GROUPS
        .iter()
        .flat_map(|group| USERS.iter().map(move |user| (GroupId::new(group).unwrap(), user_id(user))))
        .collect();
    let most = everybody.len();
    let members = subsequence(everybody, most / 2..=most).prop_map(|members| members.into_iter().collect());
    let steps = (beginnings(), vec(steps(), 1..60)).prop_map(|(beginning, rest)| [beginning, rest].concat());
    (select(vec![BusyPolicy::Reject, BusyPolicy::CallWaiting]), members, steps)
}
