//! Recordings in the OpenAPI document.

use serde_json::json;

use super::{
    calls::of_call,
    history::number,
    operation::{Asker, Operation},
    schemas::Schemas,
};
use crate::{
    domain::{CallId, RecordingId, RecordingStatus},
    gateway::{
        protocol::described,
        rest::recordings::{Change, One, Page},
    },
    wire::ErrorCode,
};

const TAG: &str = "recordings";
const OF_CALL: &str = "/api/v1/calls/{callId}/recording";
const ONE: &str = "/api/v1/recordings/{recordingId}";

fn of_recording(operation: Operation, schemas: &mut Schemas) -> Operation {
    operation.path_part("recordingId", "The recording.", schemas.read::<RecordingId>())
}

/// The commands of the socket, by their other names.
fn command(event: &str, method: &'static str, id: &str, schemas: &mut Schemas) -> Option<Operation> {
    let described = described::of(event)?;
    let body = schemas.body_of(described.data);
    let reply = (described.reply)(schemas);
    let operation = of_call(Operation::new(method, OF_CALL, id, TAG, described.summary), schemas)
        .says(format!("The command `{event}`. {}", described.says))
        .by(Asker::User)
        .repeatable()
        .answers(200, "Done, and committed.", reply)
        .refuses(described::COMMON)
        .refuses(described.refuses);
    // Of DELETE the body means nothing.
    Some(if method == "post" { operation.body("The data of the command.", false, body) } else { operation })
}

/// What requests about recordings may ask for.
pub fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let (one, page) = (schemas.sent::<One<'static>>(), schemas.sent::<Page<'static>>());
    let (call, status) = (schemas.read::<CallId>(), schemas.read::<RecordingStatus>());
    let change = schemas.read::<Change>();
    let mut all: Vec<Operation> = Vec::new();
    all.extend(command("recording:start", "post", "startRecording", schemas));
    all.extend(command("recording:stop", "delete", "stopRecording", schemas));
    let newest = Operation::new("get", OF_CALL, "getRecordingOfCall", TAG, "Look at the newest recording of a call");
    all.push(of_call(newest, schemas).says("For who has been in the call.").by(Asker::User).answers(
        200,
        "The recording.",
        one.clone(),
    ));
    all.push(
        Operation::new("get", "/api/v1/recordings", "listRecordings", TAG, "List recordings")
            .says("Of the calls that the user has been in, newest first.")
            .by(Asker::User)
            .query("callId", "Of this call.", call)
            .query("status", "Where the recording stands.", status)
            .query("limit", "How many; 20 without.", number(1, 100))
            .query(
                "cursor",
                "The `nextCursor` of the page before.",
                json!({"type": "string", "pattern": "^([0-9a-f]{2})+$"}),
            )
            .answers(200, "A page of the list.", page),
    );
    let get = Operation::new("get", ONE, "getRecording", TAG, "Look at a recording");
    all.push(
        of_recording(get, schemas)
            .says("For who has been in the call; with a link to its file that is good for a while.")
            .by(Asker::User)
            .answers(200, "The recording.", one.clone()),
    );
    let patch = Operation::new("patch", ONE, "changeRecording", TAG, "Change what becomes of a recording");
    all.push(
        of_recording(patch, schemas)
            .says("By who began it, or led its call. A legal hold is an administrator's to set.")
            .by(Asker::User)
            .body("What is to be changed.", true, change)
            .answers(200, "The recording.", one)
            .refuses(&[ErrorCode::Forbidden, ErrorCode::WrongState]),
    );
    let delete = Operation::new("delete", ONE, "deleteRecording", TAG, "Take a recording away");
    all.push(
        of_recording(delete, schemas)
            .says("By who began it, or led its call. Its file goes with the next sweep.")
            .by(Asker::User)
            .answers_nothing(204, "It is taken away.")
            .refuses(&[ErrorCode::Forbidden, ErrorCode::WrongState]),
    );
    for method in ["get", "head"] {
        all.push(download(method, schemas));
    }
    all
}

fn download(method: &'static str, schemas: &mut Schemas) -> Operation {
    let id = if method == "get" { "downloadRecording" } else { "lookAtDownload" };
    let (text, file) = (json!({"type": "string"}), json!({"type": "string", "format": "binary"}));
    let path = format!("{ONE}/download");
    of_recording(Operation::new(method, path, id, TAG, "Fetch the file of a recording"), schemas)
        .says(
            "By a user's token, by a link that was given to a user, or by the public link, whose password is asked for by \
             HTTP Basic. By ranges as RFC 9110 says.",
        )
        .by(Asker::Anybody)
        .header("Authorization", "A user's token (Bearer), or the public link's password (Basic).", text.clone())
        .query("link", "Of the public link.", text.clone())
        .query("user", "Of a user's link.", text.clone())
        .query("expires", "Of a user's link: when it ends, in milliseconds since 1970.", number(0, i64::MAX as u64))
        .query("signature", "Of a user's link.", text.clone())
        .header("Range", "The part that is wanted.", text.clone())
        .header("If-Range", "Only if the file is still this one.", text.clone())
        .header("If-None-Match", "Only if the file is another one.", text.clone())
        .header("If-Modified-Since", "Only if the file is younger.", text)
        .answers_as(200, "The file.", "*/*", file.clone())
        .answers_as(206, "The part.", "*/*", file)
        .answers_nothing(304, "The asker has it already.")
        .answers_nothing(307, "The file is in a bucket: it is fetched there.")
        .answers_nothing(416, "The file has no such part.")
        .refuses(&[ErrorCode::Unauthenticated, ErrorCode::TokenExpired, ErrorCode::Forbidden, ErrorCode::WrongState])
}
