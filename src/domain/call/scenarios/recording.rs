//! Recording: by whom, one at a time, and heard by all.

use super::*;
use crate::domain::{
    RecordingId, RecordingStatus, Role,
    call::MAX_RECORDINGS,
    recording::{FileFormat, RecordingWish, Resolution},
};

fn wish() -> RecordingWish {
    RecordingWish { resolution: Some(Resolution::P720), ..RecordingWish::default() }
}

fn record(id: &str) -> Command {
    Command::StartRecording { recording: RecordingId::new(id).unwrap(), wish: wish() }
}

fn changed(id: &str, status: RecordingStatus) -> Command {
    Command::RecordingChanged { recording: RecordingId::new(id).unwrap(), status, reason: None }
}

/// alice and bob talk, on the media server; carol has been asked.
fn on_server() -> Scene {
    let start = Start { mode: CallMode::Sfu, ..start_of(&["bob", "carol"], None) };
    let rules = Rules { media_server: true, recordings: true, ..Rules::default() };
    let mut scene = Scene::open(&start, BEGINNING, rules).unwrap();
    scene.user("bob", "phone").accept().unwrap();
    scene.connected(&["bob"]);
    scene
}

fn status(scene: &Scene) -> Option<RecordingStatus> {
    scene.call.recording.as_ref().map(|recording| recording.status)
}

#[test]
fn the_host_records_and_everybody_in_the_call_hears_of_it() {
    let mut scene = on_server();
    assert_eq!(scene.user("alice", "laptop").does(record("r1")), Ok(vec!["recording_started"]));
    assert_eq!(status(&scene), Some(RecordingStatus::Starting));
    let heard: Vec<&str> = scene.audiences.last().unwrap().users.iter().map(|heard| heard.user.as_str()).collect();
    assert_eq!(heard, ["alice", "bob"], "carol is not in it");
}

#[test]
fn a_participant_may_not_and_a_cohost_may() {
    let mut scene = on_server();
    assert_eq!(scene.user("bob", "phone").does(record("r1")), Err(Rejection::Forbidden));
    assert_eq!(scene.user("carol", "phone").does(record("r1")), Err(Rejection::NotParticipant));
    scene.user("alice", "laptop").does(Command::Role { user: user_id("bob"), role: Role::Cohost }).unwrap();
    assert_eq!(scene.user("bob", "phone").does(record("r1")), Ok(vec!["recording_started"]));
    assert_eq!(scene.user("alice", "laptop").does(Command::StopRecording), Ok(vec!["recording_stopped"]));
}

#[test]
fn one_recording_runs_at_a_time_and_to_ask_again_changes_nothing() {
    let mut scene = on_server();
    scene.user("alice", "laptop").does(record("r1")).unwrap();
    assert_eq!(scene.user("alice", "laptop").does(record("r2")), Ok(vec![]));
    assert_eq!(scene.call.recordings.len(), 1);
    scene.user("alice", "laptop").does(Command::Role { user: user_id("bob"), role: Role::Cohost }).unwrap();
    let refused = Err(Rejection::WrongState("it is being recorded already"));
    assert_eq!(scene.user("bob", "phone").does(record("r3")), refused);
    scene.user("alice", "laptop").does(Command::StopRecording).unwrap();
    assert_eq!(scene.user("alice", "laptop").does(Command::StopRecording), Ok(vec![]), "again");
    assert_eq!(scene.user("bob", "phone").does(record("r4")), Ok(vec!["recording_started"]));
}

#[test]
fn a_recording_goes_one_way_whatever_is_said_of_it_and_when() {
    use RecordingStatus::{Processing, Ready, Recording};
    let mut scene = on_server();
    scene.user("alice", "laptop").does(record("r1")).unwrap();
    assert_eq!(scene.server(changed("r1", Recording)), ["recording_changed"]);
    assert_eq!(scene.server(changed("r1", Recording)), [""; 0], "known");
    assert_eq!(scene.server(changed("other", Ready)), [""; 0], "of another");
    scene.user("alice", "laptop").does(Command::StopRecording).unwrap();
    assert_eq!(scene.server(changed("r1", Recording)), [""; 0], "overtaken");
    assert_eq!(status(&scene), Some(Processing));
    assert_eq!(scene.server(changed("r1", Ready)), ["recording_changed"]);
}

#[test]
fn a_recording_that_failed_leaves_the_call_and_makes_room_for_another() {
    let mut scene = on_server();
    scene.user("alice", "laptop").does(record("r1")).unwrap();
    scene.server(changed("r1", RecordingStatus::Failed));
    assert_eq!((scene.end(), status(&scene)), (None, Some(RecordingStatus::Failed)));
    assert_eq!(scene.user("alice", "laptop").does(record("r2")), Ok(vec!["recording_started"]));
}

#[test]
fn it_ends_with_its_call_and_to_stop_it_then_is_no_mistake() {
    let mut scene = on_server();
    scene.user("alice", "laptop").does(record("r1")).unwrap();
    scene.user("alice", "laptop").end().unwrap();
    assert_eq!(status(&scene), Some(RecordingStatus::Processing));
    assert_eq!(scene.user("alice", "laptop").does(Command::StopRecording), Ok(vec![]));
    assert_eq!(scene.user("alice", "laptop").does(record("r2")), Err(Rejection::AlreadyEnded));
    assert_eq!(scene.server(changed("r1", RecordingStatus::Ready)), [""; 0], "nothing follows the end");
}

#[test]
fn a_call_without_a_picture_is_recorded_without_one_and_ogg_holds_none() {
    let mut scene = on_server();
    let wishes = |wish| Command::StartRecording { recording: RecordingId::new("r").unwrap(), wish };
    let ogg = RecordingWish { audio_only: Some(false), format: Some(FileFormat::Ogg), ..wish() };
    assert!(matches!(scene.user("alice", "laptop").does(wishes(ogg)), Err(Rejection::Invalid(_))));
    for days in [0, 3651] {
        let wish = RecordingWish { retention_days: Some(days), ..wish() };
        assert!(matches!(scene.user("alice", "laptop").does(wishes(wish)), Err(Rejection::Invalid(_))), "{days}");
    }
    scene.user("alice", "laptop").does(wishes(wish())).unwrap();
    let options = scene.call.recording.as_ref().unwrap().options;
    assert_eq!((options.audio_only, options.format, options.retention_days), (true, FileFormat::Mp4, 30));
}

#[test]
fn a_call_between_peers_moves_to_the_media_server_first() {
    let rules = Rules { media_server: true, recordings: true, ..Rules::default() };
    let mut scene = Scene::open(&start_of(&["bob"], None), BEGINNING, rules).unwrap();
    scene.user("bob", "phone").accept().unwrap();
    scene.connected(&["bob"]);
    assert_eq!(scene.user("alice", "laptop").does(record("r1")), Ok(vec!["recording_started", "escalating"]));
    assert_eq!(scene.server(Command::RoomUnavailable), ["escalation_aborted", "recording_stopped"]);
    assert_eq!(status(&scene), Some(RecordingStatus::Processing));
    let refused = scene.user("alice", "laptop").does(record("r2"));
    assert!(matches!(refused, Err(Rejection::MediaUnavailable(_))), "not again at once: {refused:?}");
}

#[test]
fn without_a_media_server_there_is_no_recording() {
    let mut scene = Scene::talking();
    let refused = scene.user("alice", "laptop").does(record("r1"));
    assert!(matches!(refused, Err(Rejection::MediaUnavailable(_))), "{refused:?}");
    assert!(matches!(scene.user("alice", "laptop").does(Command::StopRecording), Err(Rejection::WrongState(_))));
}

#[test]
fn who_is_alone_has_nothing_to_record_and_there_is_a_most() {
    let rules = Rules { media_server: true, recordings: true, ..Rules::default() };
    let start = Start { mode: CallMode::Sfu, ..start_of(&["bob"], None) };
    let mut scene = Scene::open(&start, BEGINNING, rules).unwrap();
    assert!(matches!(scene.user("alice", "laptop").does(record("r0")), Err(Rejection::WrongState(_))));
    scene.user("bob", "phone").accept().unwrap();
    for n in 0..MAX_RECORDINGS {
        scene.user("alice", "laptop").does(record(&format!("r{n}"))).unwrap();
        scene.user("alice", "laptop").does(Command::StopRecording).unwrap();
    }
    assert!(matches!(scene.user("alice", "laptop").does(record("more")), Err(Rejection::WrongState(_))));
}
