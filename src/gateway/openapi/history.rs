//! What has been, in the OpenAPI document: lists of calls, timelines, statistics, quality.

use serde_json::{Value, json};

use super::{
    calls::of_call,
    operation::{Asker, Operation},
    schemas::Schemas,
};
use crate::{
    domain::{CallStatus, GroupId, Timestamp, UserId},
    gateway::rest::{
        history::{Page, Timeline},
        quality::Quality,
        stats::Stats,
    },
    wire::ErrorCode,
};

const TAG: &str = "history";

fn flag() -> Value {
    json!({"type": "boolean"})
}

/// A number from `least` to `most`.
pub(super) fn number(least: u64, most: u64) -> Value {
    json!({"type": "integer", "minimum": least, "maximum": most})
}

/// What requests about the past may ask for.
pub fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let (time, user, group) = (schemas.read::<Timestamp>(), schemas.read::<UserId>(), schemas.read::<GroupId>());
    let status = schemas.read::<CallStatus>();
    let page = schemas.sent::<Page<'static>>();
    let list = Operation::new("get", "/api/v1/calls", "listCalls", TAG, "List calls")
        .says(
            "The calls that the user has or had a part in, or all calls of a group, newest first. All parameters hold \
             together. Pages do not shift when calls come.",
        )
        .by(Asker::User)
        .query("direction", "Whether the user started it.", json!({"type": "string", "enum": ["incoming", "outgoing"]}))
        .query("status", "Where the call stands.", status)
        .query("missed", "Whether the user's own status is `missed`.", flag())
        .query("groupId", "Calls of this group, for its members; also those the user had no part in.", group)
        .query("with", "Another user who had a part in it.", user)
        .query("since", "From this time on.", time.clone())
        .query("until", "Before this time.", time.clone())
        .query("limit", "How many; 20 without.", number(1, 100))
        .query(
            "cursor",
            "The `nextCursor` of the page before.",
            json!({"type": "string", "pattern": "^([0-9a-f]{2})+$"}),
        )
        .query("total", "Whether to count the whole list too, which costs as much as reading it.", flag())
        .answers(200, "A page of the list.", page.clone())
        .refuses(&[ErrorCode::NotFound]);
    let active = Operation::new("get", "/api/v1/calls/active", "listActiveCalls", TAG, "List open calls")
        .says("Those the user is rung or engaged in, at most 100.")
        .by(Asker::User)
        .answers(200, "The calls.", page);
    let stats = Operation::new("get", "/api/v1/calls/stats", "getStats", TAG, "Count calls")
        .says("The user's calls in a period of at most 366 days: without a word, the 30 days until now.")
        .by(Asker::User)
        .query("since", "The beginning of the period.", time.clone())
        .query("until", "Its end.", time)
        .answers(200, "The numbers.", schemas.sent::<Stats>());
    let reply = schemas.sent::<Timeline<'static>>();
    let path = "/api/v1/calls/{callId}/timeline";
    let timeline = of_call(Operation::new("get", path, "getTimeline", TAG, "Look at what happened to a call"), schemas)
        .says("For participants, also former ones, administrators and the application. Never in it: offers, answers, metadata.")
        .by(Asker::UserOrService)
        .query("after", "From behind this `seq`.", number(0, i64::MAX as u64))
        .query("limit", "How many; 500 without.", number(1, 500))
        .answers(200, "A page of the timeline.", reply);
    let reply = schemas.sent::<Quality<'static>>();
    let path = "/api/v1/calls/{callId}/quality";
    let quality = of_call(Operation::new("get", path, "getQuality", TAG, "Look at the quality of a call"), schemas)
        .says("What its participants have reported, for them, administrators and the application. Reports are kept for 7 days.")
        .by(Asker::UserOrService)
        .answers(200, "The reports, summed up.", reply);
    vec![list, active, stats, timeline, quality]
}
