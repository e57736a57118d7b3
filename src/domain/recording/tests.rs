//! Recordings, told one scene at a time.

use super::*;

const T0: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const LIVE: CallStands = CallStands { open: true, on_server: true };
const OVER: CallStands = CallStands { open: false, on_server: true };

fn secs(secs: u64) -> Timestamp {
    T0 + Duration::from_secs(secs)
}

fn wished() -> Recording {
    let options = RecordingOptions {
        layout: Layout::Grid,
        resolution: Resolution::P1080,
        audio_only: false,
        format: FileFormat::Mp4,
        retention_days: 30,
    };
    let id = RecordingId::new("rec-1").unwrap();
    Recording::new(id, CallId::new("call-1").unwrap(), UserId::new("alice").unwrap(), options, T0)
}

fn report(id: &str, state: EgressState) -> Fact {
    let file = Some("rec-1-1.mp4".to_owned());
    Fact::Egress(EgressReport { id: id.into(), state, started_at: None, ended_at: None, duration: None, file })
}

/// Learns them one after another; what is no news is passed over.
fn after(recording: &Recording, facts: &[(u64, Fact)]) -> Recording {
    facts.iter().fold(recording.clone(), |recording, (at, fact)| recording.learn(secs(*at), fact).unwrap_or(recording))
}

fn attempt() -> Fact {
    Fact::Attempt { file: "rec-1-1.mp4".into() }
}

#[test]
fn it_goes_from_the_wish_to_the_file_and_is_told_at_each_step() {
    let wished = wished();
    assert_eq!(wished.next(secs(0), LIVE), Step::Begin { settle: false });
    let running = after(&wished, &[(0, attempt()), (1, report("E", EgressState::Starting))]);
    assert_eq!((running.status, running.told), (RecordingStatus::Starting, true));
    let running = after(&running, &[(3, report("E", EgressState::Active))]);
    assert_eq!(
        (running.status, running.told, running.next(secs(4), LIVE)),
        (RecordingStatus::Recording, false, Step::Ask)
    );
    assert_eq!(running.next(secs(4), OVER), Step::Stop);
    let stopped = after(&running, &[(60, Fact::Stopping)]);
    assert_eq!((stopped.status, stopped.next(secs(60), OVER)), (RecordingStatus::Processing, Step::Ask));
    let written = after(&stopped, &[(70, report("E", EgressState::Complete))]);
    assert_eq!((written.status, written.next(secs(70), OVER)), (RecordingStatus::Processing, Step::LookForFile));
    let ready = after(&written, &[(71, Fact::File(Some(42)))]);
    assert_eq!((ready.status, ready.bytes), (RecordingStatus::Ready, Some(42)));
    assert_eq!(ready.expires_at, Some(secs(71 + 30 * 86_400)));
    assert!(ready.is_fetchable(secs(72)) && !ready.is_fetchable(secs(72 + 30 * 86_400)));
}

#[test]
fn what_livekit_says_may_come_in_any_order_and_twice() {
    use EgressState::{Active, Complete, Ending, Starting};
    let begun = after(&wished(), &[(0, attempt())]);
    let said = [Starting, Active, Ending, Complete].map(|state| (5, report("E", state)));
    for a in 0..4 {
        for b in 0..4 {
            for c in 0..4 {
                let mut facts: Vec<_> = [a, b, c].map(|i: usize| said[i].clone()).to_vec();
                facts.extend(said.iter().rev().cloned());
                let end = after(&begun, &facts);
                assert_eq!(end.status, RecordingStatus::Processing, "{a} {b} {c}");
                assert_eq!(end.next(secs(6), OVER), Step::LookForFile, "{a} {b} {c}");
            }
        }
    }
}

#[test]
fn nothing_leads_out_of_an_end() {
    let begun = after(&wished(), &[(0, attempt()), (1, report("E", EgressState::Active))]);
    let failed = after(&begun, &[(2, report("E", EgressState::Failed("no disk".into())))]);
    assert_eq!((failed.status, failed.reason.as_deref()), (RecordingStatus::Failed, Some("no disk")));
    for fact in [
        attempt(),
        report("E", EgressState::Active),
        report("E", EgressState::Complete),
        Fact::NoEgress,
        Fact::File(Some(1)),
        Fact::Refused("x".into()),
        Fact::Stopping,
    ] {
        assert_eq!(failed.learn(secs(9), &fact), None, "{fact:?}");
    }
    assert_eq!(failed.next(secs(9), LIVE), Step::Wait);
}

#[test]
fn an_attempt_of_unknown_outcome_is_looked_for_before_the_next_and_there_are_three() {
    let mut recording = wished();
    for attempt_no in 1..=MAX_ATTEMPTS {
        let begun_at = u64::from(attempt_no) * 100;
        recording = after(&recording, &[(begun_at, attempt())]);
        assert_eq!(recording.next(secs(begun_at + 44), LIVE), Step::Wait, "it may still come");
        let then = secs(begun_at + 45);
        let wanted = if attempt_no < MAX_ATTEMPTS { Step::Begin { settle: true } } else { Step::Settle };
        assert_eq!(recording.next(then, LIVE), wanted);
        assert_eq!(recording.next(then, OVER), Step::Settle, "a call that is over begins none");
    }
    let failed = after(&recording, &[(445, Fact::NoEgress)]);
    assert_eq!((failed.status, failed.attempts), (RecordingStatus::Failed, 3));
}

#[test]
fn an_attempt_that_came_late_is_taken_and_a_second_egress_is_not() {
    let begun = after(&wished(), &[(0, attempt()), (20, attempt())]);
    let taken = after(&begun, &[(21, report("late", EgressState::Active))]);
    assert_eq!(taken.egress.as_deref(), Some("late"));
    assert_eq!(taken.learn(secs(22), &report("second", EgressState::Failed("x".into()))), None);
}

#[test]
fn an_egress_that_livekit_knows_nothing_of_has_failed_but_not_before_it_can_be_in_its_list() {
    let running = after(&wished(), &[(0, attempt()), (1, report("E", EgressState::Active))]);
    assert_eq!(running.learn(secs(29), &Fact::NoEgress), None);
    assert_eq!(after(&running, &[(30, Fact::NoEgress)]).status, RecordingStatus::Failed);
}

#[test]
fn an_egress_that_was_forgotten_while_it_ended_is_judged_by_its_file() {
    let ended = after(&wished(), &[(0, attempt()), (1, report("E", EgressState::Active)), (60, Fact::Stopping)]);
    let forgotten = after(&ended, &[(90, Fact::NoEgress)]);
    assert_eq!(forgotten.next(secs(90), OVER), Step::LookForFile);
    assert_eq!(after(&forgotten, &[(91, Fact::File(Some(7)))]).status, RecordingStatus::Ready);
    assert_eq!(forgotten.learn(secs(600), &Fact::File(None)), None, "it may be on its way");
    assert_eq!(after(&forgotten, &[(690, Fact::File(None))]).status, RecordingStatus::Failed);
}

#[test]
fn who_stops_before_it_began_has_no_recording() {
    let mut stopped = wished();
    stopped.stop_at = Some(secs(1));
    assert_eq!(stopped.next(secs(1), LIVE), Step::GiveUp(STOPPED_BEFORE));
    assert_eq!(after(&stopped, &[(1, Fact::NothingToRecord(STOPPED_BEFORE))]).status, RecordingStatus::Failed);
    // With an attempt under way nothing is given up: it may have begun.
    let begun = after(&wished(), &[(0, attempt())]);
    assert_eq!(begun.learn(secs(1), &Fact::NothingToRecord(CALL_OVER)), None);
    assert_eq!(begun.next(secs(1), OVER), Step::Wait);
}

#[test]
fn it_waits_for_its_call_to_come_to_the_media_server() {
    let moving = CallStands { open: true, on_server: false };
    assert_eq!(wished().next(secs(5), moving), Step::Wait);
    let given_up = Recording { stop_at: Some(secs(6)), ..wished() };
    assert_eq!(given_up.next(secs(6), moving), Step::GiveUp(NOT_ON_SERVER));
}

#[test]
fn an_egress_that_does_not_get_to_recording_is_stopped() {
    let accepted = after(&wished(), &[(0, attempt()), (1, report("E", EgressState::Starting))]);
    assert_eq!(accepted.next(secs(119), LIVE), Step::Ask);
    assert_eq!(accepted.next(secs(120), LIVE), Step::Stop);
}

#[test]
fn an_egress_that_never_comes_to_its_end_is_judged_by_its_file() {
    let ending = after(&wished(), &[(0, attempt()), (1, report("E", EgressState::Ending))]);
    assert_eq!(after(&ending, &[(3600, report("E", EgressState::Ending))]).next(secs(3600), OVER), Step::Ask);
    assert_eq!(after(&ending, &[(3601, report("E", EgressState::Ending))]).next(secs(3601), OVER), Step::LookForFile);
}

#[test]
fn retention_counts_from_when_the_file_was_there_and_a_hold_stops_it() {
    let facts = [(0, attempt()), (1, report("E", EgressState::Complete)), (10, Fact::File(Some(1)))];
    let mut ready = after(&wished(), &facts);
    ready.retain(1);
    assert_eq!(ready.expires_at, Some(secs(10 + 86_400)));
    assert!(ready.is_past(secs(10 + 86_400)));
    ready.legal_hold = true;
    assert!(!ready.is_past(secs(10 + 86_400)));
    ready.retain(2);
    ready.legal_hold = false;
    assert_eq!(ready.expires_at, Some(secs(10 + 2 * 86_400)));
}
