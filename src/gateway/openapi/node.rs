//! A node itself in the OpenAPI document: health, metrics, the documents.

use serde_json::json;

use super::{
    operation::{Asker, Operation},
    schemas::Schemas,
};
use crate::{
    gateway::rest::{health::Readiness, ice::IceServers},
    wire::ErrorCode,
};

const TAG: &str = "node";

/// What anybody may ask a node.
pub fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let (text, document) = (json!({"type": "string"}), json!({"type": "object"}));
    let ice = schemas.sent::<IceServers>();
    let readiness = schemas.sent::<Readiness<'static>>();
    vec![
        Operation::new("get", "/livez", "livez", TAG, "Whether the process answers").answers_as(
            200,
            "It does.",
            "text/plain",
            text.clone(),
        ),
        Operation::new("get", "/readyz", "readyz", TAG, "Whether the node takes new clients")
            .answers(200, "It does.", readiness.clone())
            .answers(503, "It does not: the database is away, or the node is about to leave.", readiness),
        Operation::new("get", "/metrics", "metrics", TAG, "The node's metrics")
            .says("For Prometheus. Names no user and no call.")
            .answers_as(200, "OpenMetrics text.", "application/openmetrics-text", text.clone()),
        Operation::new("get", "/api/v1/ice-servers", "getIceServers", TAG, "STUN and TURN for the asker")
            .says("Credentials are the user's own and run out; an answer may be kept for `maxAgeSecs`.")
            .by(Asker::User)
            .answers(200, "The servers.", ice),
        Operation::new("post", "/api/v1/livekit/webhook", "hearLiveKit", TAG, "What LiveKit tells of its rooms")
            .says("For LiveKit alone, which signs what it says.")
            .by(Asker::Anybody)
            .header("Authorization", "LiveKit's token, with the hash of the body.", text)
            .body_as("application/webhook+json", "An event of LiveKit.", true, json!({"type": "object"}))
            .answers_nothing(200, "Taken in.")
            .refuses(&[ErrorCode::Unauthenticated, ErrorCode::MediaUnavailable]),
        Operation::new("get", "/api/v1/openapi.json", "getOpenApi", TAG, "This document").by(Asker::Anybody).answers(
            200,
            "An OpenAPI 3.1 document.",
            document.clone(),
        ),
        Operation::new("get", "/api/v1/asyncapi.json", "getAsyncApi", TAG, "The document of commands and events")
            .by(Asker::Anybody)
            .answers(200, "An AsyncAPI 3 document.", document),
    ]
}
