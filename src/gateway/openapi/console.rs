//! What an operator sees and does, in the OpenAPI document.

use serde_json::{Value, json};

use super::{
    history::number,
    operation::{Asker, Operation},
    schemas::Schemas,
};
use crate::{
    actors::sweepers,
    domain::{CallId, CallStatus, GroupId, NodeId, UserId},
    gateway::rest::admin::{
        calls::{Calls, EndBody, Ended, Seen},
        nodes::{DrainBody, Drained, Nodes},
        sweeps::{Followed, Report, Requested, Runs, SweepBody, Sweeps},
        users::{SentAway, Shown},
    },
    wire::ErrorCode,
};

const TAG: &str = "operator";

fn operator(method: &'static str, path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation::new(method, format!("/api/v1/admin/{path}"), id, TAG, summary).by(Asker::ServiceOrAdmin)
}

fn uuid() -> Value {
    json!({"type": "string", "format": "uuid"})
}

fn cursor() -> Value {
    json!({"type": "string", "pattern": "^([0-9a-f]{2})+$"})
}

/// What an operator may ask for.
pub fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let mut all = nodes(schemas);
    all.extend(calls(schemas));
    all.extend(users(schemas));
    all.extend(sweeps(schemas));
    all
}

fn nodes(schemas: &mut Schemas) -> Vec<Operation> {
    let (list, drained) = (schemas.sent::<Nodes<'static>>(), schemas.sent::<Drained<'static>>());
    let (node, wish) = (schemas.read::<NodeId>(), schemas.read::<DrainBody>());
    vec![
        operator("get", "nodes", "listNodes", "List the nodes")
            .says("What a node says of itself is as old as the last renewal of its lease: a second or two.")
            .answers(200, "The nodes.", list),
        operator("post", "nodes/{nodeId}/drain", "drainNode", "Tell a node to leave")
            .says(
                "As at SIGTERM: it is no longer ready, hands its calls over, closes its sockets and ends. Where something \
                 starts processes that have ended, it is started again. The last living node is a `conflict`.",
            )
            .path_part("nodeId", "The node.", node)
            .body("How.", false, wish)
            .answers(202, "It leaves.", drained)
            .refuses(&[ErrorCode::Conflict]),
    ]
}

fn calls(schemas: &mut Schemas) -> Vec<Operation> {
    let (page, ended) = (schemas.sent::<Calls<'static>>(), schemas.sent::<Ended>());
    let seen = schemas.sent::<Seen>();
    let (status, node, user) = (schemas.read::<CallStatus>(), schemas.read::<NodeId>(), schemas.read::<UserId>());
    let (group, call, why) = (schemas.read::<GroupId>(), schemas.read::<CallId>(), schemas.read::<EndBody>());
    vec![
        operator("get", "calls", "listOpenCalls", "List the open calls of everybody")
            .query("status", "One that open calls have.", status)
            .query("node", "The node that owns it.", node)
            .query("user", "Somebody who is in it, rung, or waits to be let in.", user)
            .query("groupId", "The group that it is in.", group)
            .query("limit", "How many; 50 without.", number(1, 200))
            .query("cursor", "The `nextCursor` of the page before.", cursor())
            .answers(200, "A page of the list, newest first.", page),
        operator("get", "calls/{callId}", "getCallByOperator", "Look at any call")
            .path_part("callId", "The call.", call.clone())
            .answers(200, "The call.", seen),
        operator("post", "calls/{callId}/end", "endCallByOperator", "End a call from outside")
            .says(
                "For everybody in it, with the end reason `kicked` and without `by`: who it was is in the audit log alone. \
                 `unavailable`: its owner did not answer, and it may have ended.",
            )
            .path_part("callId", "The call.", call)
            .body("Why.", false, why)
            .answers(200, "It has ended.", ended)
            .refuses(&[ErrorCode::AlreadyEnded]),
    ]
}

fn users(schemas: &mut Schemas) -> Vec<Operation> {
    let (shown, away) = (schemas.sent::<Shown<'static>>(), schemas.sent::<SentAway<'static>>());
    let user = schemas.read::<UserId>();
    vec![
        operator("get", "users/{userId}", "getUser", "Look at a user")
            .says("Every node is asked for their sessions, for up to 2 s.")
            .path_part("userId", "The user.", user.clone())
            .answers(200, "The user, now.", shown),
        operator("post", "users/{userId}/disconnect", "disconnectUser", "Close a user's sockets on every node")
            .says(
                "With the close code 4010. Their calls wait for them as after any lost connection, and they may come back with \
                 a good token: to keep somebody out, see that they get none.",
            )
            .path_part("userId", "The user.", user)
            .answers(200, "What was closed.", away),
    ]
}

fn sweeps(schemas: &mut Schemas) -> Vec<Operation> {
    let (list, page) = (schemas.sent::<Sweeps<'static>>(), schemas.sent::<Runs<'static>>());
    let (report, followed) = (schemas.sent::<Report<'static>>(), schemas.sent::<Followed<'static>>());
    let (requested, wish) = (schemas.sent::<Requested<'static>>(), schemas.read::<SweepBody>());
    let name = || json!({"type": "string", "enum": sweepers::NAMES});
    vec![
        operator("get", "sweeps", "listSweepers", "List the sweepers").answers(200, "The sweepers.", list),
        operator("get", "sweeps/runs", "listSweepRuns", "List runs of sweepers")
            .query("sweep", "The sweeper.", name())
            .query("failed", "Whether it came to something else than `done`.", json!({"type": "boolean"}))
            .query("limit", "How many; 50 without.", number(1, 200))
            .query("cursor", "The `nextCursor` of the page before.", cursor())
            .answers(200, "A page of the runs; the one that began last comes first.", page),
        operator("get", "sweeps/runs/{runId}", "getSweepRun", "Look at a run and what it did")
            .path_part("runId", "The run.", uuid())
            .query("after", "The `nextAfter` of the answer before.", number(0, i64::MAX as u64))
            .answers(200, "The run.", report),
        operator("post", "sweeps/{name}", "requestSweep", "Ask for a run of a sweeper")
            .says("A living node takes it within a second or two. A dry run unless the request says otherwise.")
            .path_part("name", "The sweeper.", name())
            .repeatable()
            .body("How.", false, wish)
            .answers(202, "It was asked for.", requested)
            .links(202, "getSweepRequest", "How far it has come.", &[("requestId", "$response.body#/requestId")]),
        operator(
            "get",
            "sweeps/requests/{requestId}",
            "getSweepRequest",
            "Look how far a run has come that was asked for",
        )
        .path_part("requestId", "The request.", uuid())
        .answers(200, "How far it has come.", followed)
        .links(200, "getSweepRun", "The run.", &[("runId", "$response.body#/runId")]),
    ]
}
