//! LiveKit's egress: asking for a recording, ending it, and what LiveKit says of it.
//!
//! Must never ask for an egress twice by itself: a start that timed out may have been taken, or may still be, and two would
//! record one call. Who asks settles that by [`Media::egresses`], once it cannot come any more. All the rest can be
//! repeated. What an egress is for is in the name of its file; the list of a room is enough to find it.

use std::{sync::Arc, time::Duration};

use livekit_api::services::{
    egress::{EgressClient, EgressListFilter, EgressListOptions, EgressOutput, RoomCompositeOptions, encoding},
    room::RoomClient,
};
use livekit_protocol::{
    AudioCodec, EgressInfo, EgressStatus, EncodedFileOutput, EncodedFileType, egress_info, encoded_file_output,
};

use super::{
    LiveKitConfig, Media, MediaError,
    livekit::{ATTEMPT_TIMEOUT, Once, TRIES},
};
use crate::domain::{
    CallId, RecordingId, Timestamp,
    recording::{EgressReport, EgressState, FileFormat, Layout, RecordingOptions, Resolution, START_PATIENCE},
};

/// How long LiveKit may take to say whether an egress was taken: without a recorder it looks for one for 21 s and then
/// says so. Shorter, and that answer is never heard; as long as [`START_PATIENCE`], and a start could come after it was
/// settled that it had not.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How long it may take to end one: for an egress that it cannot find it looks for 3 s.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
const _: () = assert!(START_TIMEOUT.as_secs() < START_PATIENCE.as_secs());

/// Why an egress was not started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartError {
    /// It was not, and will not be: with words for people.
    Refused(String),
    /// It was not, and may be another time.
    NotSent,
    /// It may have been, or may still be: to be settled by [`Media::egresses`].
    Unknown,
}

pub(super) fn client(livekit: &LiveKitConfig) -> EgressClient {
    EgressClient::with_api_key(&livekit.url, &livekit.api_key, livekit.api_secret.reveal())
        .with_failover(false)
        .with_request_timeout(START_TIMEOUT)
}

/// The name of the file of a recording's attempt: whose it is can be read from it.
pub fn file_name(recording: &RecordingId, attempt: u32, format: FileFormat) -> String {
    format!("{recording}-{attempt}.{}", format.as_str())
}

/// The recording that a file is of.
pub fn recording_of(file: &str) -> Option<RecordingId> {
    let name = file.rsplit('/').next()?;
    let (stem, _) = name.rsplit_once('.')?;
    let (id, attempt) = stem.rsplit_once('-')?;
    attempt.parse::<u32>().ok()?;
    RecordingId::new(id).ok()
}

impl Media {
    fn egress(&self) -> Result<Arc<EgressClient>, MediaError> {
        self.inner.egress.clone().ok_or(MediaError::NotConfigured)
    }

    /// Asks, once, for the call's room to be recorded into `file`.
    pub async fn start_egress(
        &self,
        call: &CallId,
        file: &str,
        options: &RecordingOptions,
    ) -> Result<EgressReport, StartError> {
        let refused = |why: &str| StartError::Refused(why.to_owned());
        let (Ok(livekit), Ok(client)) = (self.livekit(), self.egress()) else {
            return Err(refused("no media server is configured"));
        };
        let files = self.files().ok_or_else(|| refused("no store for recordings is configured"))?;
        let output = EncodedFileOutput {
            file_type: match options.format {
                FileFormat::Mp4 => EncodedFileType::Mp4,
                FileFormat::Ogg => EncodedFileType::Ogg,
            }
            .into(),
            filepath: files.path_for_egress(file),
            disable_manifest: true,
            output: files.upload().map(encoded_file_output::Output::S3),
        };
        let (room, composite) = (call.clone(), composite(options));
        let started = livekit.once("start_egress", START_TIMEOUT, async move {
            client.start_room_composite_egress(room.as_str(), vec![EgressOutput::File(output)], composite).await
        });
        match started.await {
            Ok(info) => Ok(report(&info)),
            Err(Once::NotSent) => Err(StartError::NotSent),
            Err(Once::Unknown) => Err(StartError::Unknown),
            Err(Once::Said { code, words }) => Err(said(&code, &words)),
        }
    }

    /// Ends an egress. One that has ended, or that LiveKit does not know, is ended.
    ///
    /// # Errors
    /// It could not be asked, or did not say: it may run on.
    pub async fn stop_egress(&self, egress: &str) -> Result<(), MediaError> {
        let (client, egress) = (self.egress()?, egress.to_owned());
        let stopped =
            self.livekit()?.once("stop_egress", STOP_TIMEOUT, async move { client.stop_egress(&egress).await });
        match stopped.await {
            Ok(_) => Ok(()),
            Err(Once::Said { code, .. }) if matches!(code.as_str(), "not_found" | "failed_precondition") => Ok(()),
            Err(_) => Err(MediaError::Unavailable),
        }
    }

    /// Every egress of the call's room that LiveKit knows: those that run, and those that ended within the last day.
    pub async fn egresses(&self, call: &CallId) -> Result<Vec<EgressReport>, MediaError> {
        let (client, room) = (self.egress()?, call.clone());
        let listed = self.livekit()?.request("list_egress", TRIES, move |_: std::rc::Rc<RoomClient>| {
            let (client, room) = (client.clone(), room.clone());
            Box::pin(async move {
                let filter = EgressListFilter::Room(room.as_str().to_owned());
                client.list_egress(EgressListOptions { filter, ..EgressListOptions::default() }).await
            })
        });
        // Longer than an attempt may take, the client's own timeout does not count.
        const _: () = assert!(ATTEMPT_TIMEOUT.as_secs() < START_TIMEOUT.as_secs());
        Ok(listed.await?.iter().map(report).collect())
    }
}

/// What LiveKit's answer to a start means.
fn said(code: &str, words: &str) -> StartError {
    let refused = |why: String| StartError::Refused(why);
    match code {
        // Nobody took the request, so nobody will.
        "unavailable" if words.contains("no response from servers") => {
            refused("the media server has no recorder (LiveKit's egress service)".to_owned())
        }
        "internal" if words.contains("egress not connected") => {
            refused("the media server has no recorder (LiveKit needs Redis for egress)".to_owned())
        }
        "not_found" => refused("the media server has no such room".to_owned()),
        "resource_exhausted" => refused("the media server has no recorder free".to_owned()),
        "invalid_argument"
        | "malformed"
        | "permission_denied"
        | "unauthenticated"
        | "unimplemented"
        | "failed_precondition"
        | "out_of_range"
        | "bad_route"
        | "settings"
        | "already_exists" => refused(format!("the media server refused to record ({code})")),
        _ => StartError::Unknown,
    }
}

fn composite(options: &RecordingOptions) -> RoomCompositeOptions {
    let layout = match options.layout {
        Layout::Grid => "grid",
        Layout::Speaker => "speaker",
        Layout::Single => "single-speaker",
    };
    let encoding = match options.resolution {
        Resolution::P720 => encoding::H264_720P_30,
        Resolution::P1080 => encoding::H264_1080P_30,
        // YouTube's advice for 2160p at 30 frames is 35 to 45 Mbit/s for upload; half of it for what is screens and faces.
        Resolution::Uhd => {
            encoding::EncodingOptions { width: 3840, height: 2160, video_bitrate: 18_000, ..encoding::H264_1080P_30 }
        }
    };
    let audio_codec = match options.format {
        FileFormat::Mp4 => AudioCodec::Aac,
        FileFormat::Ogg => AudioCodec::Opus,
    };
    RoomCompositeOptions {
        layout: layout.to_owned(),
        encoding: encoding::EncodingOptions { audio_codec, ..encoding },
        audio_only: options.audio_only,
        ..RoomCompositeOptions::default()
    }
}

/// What LiveKit says, in our words.
pub fn report(info: &EgressInfo) -> EgressReport {
    let result = info.file_results.first();
    let asked = match &info.request {
        Some(egress_info::Request::RoomComposite(request)) => {
            request.file_outputs.first().map(|output| output.filepath.as_str())
        }
        _ => None,
    };
    let file = asked.or_else(|| result.map(|result| result.filename.as_str()));
    let file = file.and_then(|file| file.rsplit('/').next()).filter(|file| recording_of(file).is_some());
    let state = match info.status() {
        EgressStatus::EgressStarting => EgressState::Starting,
        EgressStatus::EgressActive => EgressState::Active,
        EgressStatus::EgressEnding => EgressState::Ending,
        EgressStatus::EgressComplete | EgressStatus::EgressLimitReached => EgressState::Complete,
        EgressStatus::EgressFailed | EgressStatus::EgressAborted => {
            let why = if info.error.is_empty() { "the recorder gave up" } else { &info.error };
            EgressState::Failed(why.to_owned())
        }
    };
    let duration = result.map_or(0, |result| result.duration);
    EgressReport {
        id: info.egress_id.clone(),
        state,
        started_at: at(info.started_at),
        ended_at: at(info.ended_at),
        duration: u64::try_from(duration).ok().filter(|nanos| *nanos > 0).map(Duration::from_nanos),
        file: file.map(str::to_owned),
    }
}

/// LiveKit counts nanoseconds; 0: not yet.
fn at(nanos: i64) -> Option<Timestamp> {
    (nanos > 0).then(|| Timestamp::from_millis(nanos / 1_000_000))
}

#[cfg(test)]
mod tests {
    use livekit_protocol::{FileInfo, RoomCompositeEgressRequest};

    use super::*;

    #[test]
    fn a_file_s_name_says_whose_it_is() {
        let id = RecordingId::new("0190-a-b").unwrap();
        let name = file_name(&id, 2, FileFormat::Mp4);
        assert_eq!(name, "0190-a-b-2.mp4");
        assert_eq!(recording_of(&name), Some(id.clone()));
        assert_eq!(recording_of(&format!("/out/recordings/{name}")), Some(id));
        for other in ["x.mp4", "x-y.mp4", "x-1", "", "-1.mp4", "a b-1.mp4"] {
            assert_eq!(recording_of(other), None, "{other}");
        }
    }

    #[test]
    fn the_file_is_the_one_asked_for_or_the_one_written() {
        let output = EncodedFileOutput { filepath: "/out/r-1.mp4".into(), ..EncodedFileOutput::default() };
        let request = RoomCompositeEgressRequest { file_outputs: vec![output], ..Default::default() };
        let asked = EgressInfo {
            egress_id: "EG_1".into(),
            status: EgressStatus::EgressActive.into(),
            request: Some(egress_info::Request::RoomComposite(request)),
            ..EgressInfo::default()
        };
        assert_eq!(report(&asked).file.as_deref(), Some("r-1.mp4"));
        let written = FileInfo { filename: "/out/r-2.mp4".into(), duration: 3_000_000_000, ..FileInfo::default() };
        let done = EgressInfo {
            status: EgressStatus::EgressLimitReached.into(),
            file_results: vec![written],
            ended_at: 1_700_000_000_000_000_000,
            ..EgressInfo::default()
        };
        let done = report(&done);
        assert_eq!((done.state, done.file.as_deref()), (EgressState::Complete, Some("r-2.mp4")));
        assert_eq!(done.duration, Some(Duration::from_secs(3)));
        assert_eq!(done.ended_at, Some(Timestamp::from_millis(1_700_000_000_000)));
    }

    #[test]
    fn only_an_answer_that_nobody_records_is_a_no() {
        assert!(matches!(said("unavailable", "twirp error unknown: no response from servers"), StartError::Refused(_)));
        assert!(matches!(said("not_found", ""), StartError::Refused(_)));
        for code in ["unavailable", "internal", "deadline_exceeded", "unknown", "canceled", "whatever"] {
            assert_eq!(said(code, "request timed out"), StartError::Unknown, "{code}");
        }
    }
}
