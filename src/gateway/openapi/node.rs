//! A node itself in the OpenAPI document: health, metrics, the documents.

use serde_json::json;

use super::{
    operation::{Asker, Operation},
    schemas::Schemas,
};
use crate::gateway::rest::health::Readiness;

const TAG: &str = "node";

/// What anybody may ask a node.
pub fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let (text, document) = (json!({"type": "string"}), json!({"type": "object"}));
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
            .answers_as(200, "OpenMetrics text.", "application/openmetrics-text", text),
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
