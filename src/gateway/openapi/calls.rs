//! Calls in the OpenAPI document: one operation for each command that REST has a name for, from the table that the
//! requests go through too.

use serde_json::json;

use super::{
    operation::{Asker, Operation},
    schemas::Schemas,
};
use crate::{
    domain::{CallId, UserId},
    gateway::{
        protocol::{
            COMMANDS,
            described::{self, CallAndMediaReply, CallReply, Described, LobbyReply},
        },
        rest::calls::{Change, Participants},
    },
    wire::ErrorCode,
};

const TAG: &str = "calls";
const FROM_START: &[(&str, &str)] = &[("callId", "$response.body#/call/callId")];
/// What can be done with a call that was just started, by who started it.
const NEXT: [&str; 13] = [
    "getCall",
    "getParticipants",
    "changeParticipant",
    "inviteToCall",
    "signalToCall",
    "lockCall",
    "muteInCall",
    "raiseHandInCall",
    "cancelCall",
    "leaveCall",
    "endCall",
    "reportQuality",
    "getTimeline",
];

/// What requests about calls may ask for.
pub fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let mut all = vec![start(schemas), get(schemas), participants(schemas), change(schemas)];
    for (event, action) in COMMANDS.iter().filter_map(|spec| Some((spec.event, spec.action?))) {
        // One that nothing is said of is missing in the document, and a test says so.
        all.extend(described::of(event).map(|described| act(described, action, schemas)));
    }
    all
}

/// The name of an action's operation: `call:raise_hand` is `raiseHandInCall`.
fn operation_id(action: &str) -> String {
    let known = match action {
        "signal" => Some("signalToCall"),
        "invite" => Some("inviteToCall"),
        "quality" => Some("reportQuality"),
        "token" => Some("getMedia"),
        "mute" => Some("muteInCall"),
        "raise_hand" => Some("raiseHandInCall"),
        "ringing" => Some("sayRinging"),
        "busy" => Some("sayBusy"),
        "kick" => Some("kickFromCall"),
        "admit" => Some("admitToCall"),
        "deny" => Some("denyToCall"),
        "role" => Some("giveRoleInCall"),
        _ => None,
    };
    known.map_or_else(|| format!("{action}Call"), str::to_owned)
}

/// The call in the path.
pub(super) fn of_call(operation: Operation, schemas: &mut Schemas) -> Operation {
    operation.path_part("callId", "The call.", schemas.read::<CallId>())
}

fn act(described: &Described, action: &str, schemas: &mut Schemas) -> Operation {
    let (path, id) = (format!("/api/v1/calls/{{callId}}/{action}"), operation_id(action));
    let body = schemas.body_of(described.data);
    let required = needs_body(&body);
    let reply = (described.reply)(schemas);
    let says = format!("The command `{}`. {}", described.event, described.says);
    of_call(Operation::new("post", path, &id, TAG, described.summary), schemas)
        .says(says)
        .by(Asker::User)
        .repeatable()
        .body("The data of the command.", required, body)
        .answers(200, "Done, and committed.", reply)
        .refuses(described.refuses)
}

/// Whether there is a field that must be given.
fn needs_body(body: &serde_json::Value) -> bool {
    ["required", "anyOf", "oneOf"].iter().any(|part| body.get(part).is_some())
}

fn start(schemas: &mut Schemas) -> Operation {
    let described = described::of("call:start");
    let mut body = schemas.body_of(described.map_or(Schemas::nothing, |described| described.data));
    // Of a start the id is the client's to choose.
    let call = schemas.read::<CallId>();
    body["properties"]["callId"] = json!({
        "oneOf": [{"type": "null"}, call],
        "description": "Chosen by the client, so that the start can be repeated; missing: made by the server.",
    });
    let listen = json!({
        "type": "object",
        "description": "Where the events of the call are heard.",
        "required": ["url", "protocol"],
        "properties": {
            "url": {"type": "string", "description": "The socket, relative to the node."},
            "protocol": {"type": "string", "description": "The subprotocol to ask for."},
        },
    });
    let listening = json!({"type": "object", "required": ["listen"], "properties": {"listen": listen}});
    let begun = json!({"allOf": [schemas.sent::<CallAndMediaReply>(), listening.clone()]});
    let other = json!({"oneOf": [begun.clone(), {"allOf": [schemas.sent::<LobbyReply>(), listening]}]});
    let says = described.map_or("", |described| described.says);
    let start = Operation::new("post", "/api/v1/calls", "startCall", TAG, "Start a call")
        .says(format!("The command `call:start`. {says}"))
        .by(Asker::User)
        .repeatable()
        .body("The data of the command.", true, body)
        .answers(201, "The call is begun.", begun)
        .with_header(201, "Location", "The call.")
        .answers(200, "The start has become another call, or waits in its lobby.", other)
        .refuses(described::COMMON)
        .refuses(described.map_or(&[], |described| described.refuses));
    NEXT.iter().fold(start, |start, next| {
        let from = [FROM_START, if *next == "changeParticipant" { &[("userId", "me")] } else { &[] }].concat();
        start.links(201, next, "The call that was begun.", &from)
    })
}

fn get(schemas: &mut Schemas) -> Operation {
    let reply = schemas.sent::<CallReply>();
    of_call(Operation::new("get", "/api/v1/calls/{callId}", "getCall", TAG, "Look at a call"), schemas)
        .says("The command `call:get`. Not for calls named `active` or `stats`.")
        .by(Asker::User)
        .answers(200, "The call.", reply)
}

fn participants(schemas: &mut Schemas) -> Operation {
    let reply = schemas.sent::<Participants>();
    let path = "/api/v1/calls/{callId}/participants";
    of_call(Operation::new("get", path, "getParticipants", TAG, "Look at the participants of a call"), schemas)
        .by(Asker::User)
        .answers(200, "Everybody who has, or had, a part in it.", reply)
}

fn change(schemas: &mut Schemas) -> Operation {
    let body = schemas.body_of(Schemas::read::<Change>);
    let whom = json!({"anyOf": [{"const": "me"}, schemas.read::<UserId>()]});
    let reply = schemas.nothing();
    let path = "/api/v1/calls/{callId}/participants/{userId}";
    of_call(Operation::new("patch", path, "changeParticipant", TAG, "Change a participant"), schemas)
        .says(
            "One thing at a time: `audio`, `video`, `screen` (the command `call:media`), `handRaised` \
             (`call:raise_hand`), `held` (`call:hold`, `call:resume`), which are everybody's own; or `role` (`call:role`).",
        )
        .path_part("userId", "Whom to change; `me`: the asker.", whom)
        .by(Asker::User)
        .repeatable()
        .body("What is to change.", true, body)
        .answers(200, "Done, and committed.", reply)
        .refuses(&[
            ErrorCode::Forbidden,
            ErrorCode::WrongState,
            ErrorCode::AlreadyEnded,
            ErrorCode::CallFull,
            ErrorCode::NotParticipant,
        ])
}
