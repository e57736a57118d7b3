//! The AsyncAPI document of the socket: every command of the table, with its reply, and every event, from the types
//! that they are read into and written from.
//!
//! Owns how commands and events stand in the document. What is said of each stands where it is: commands in
//! `protocol/described.rs`, events in `wire/events.rs`.

#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::{
    openapi::schemas::Schemas,
    protocol::{COMMANDS, described},
};
use crate::wire::{
    ErrorCode, Refusal,
    events::{self, EventSpec, Head},
};

static TEXT: LazyLock<String> = LazyLock::new(|| document().to_string());

const ABOUT: &str = "Commands and events of calls as JSON over WebSocket. A command has an `id` of the client's choice, and \
    the reply names it. The first command is `session:hello`. Every state event of a call has `callId`, `seq`, `prev` and \
    `at`: who gets an event whose `prev` it has not seen has missed something, and asks with `call:sync`. Unknown fields \
    are ignored.";

/// The document as it is served.
pub fn text() -> &'static str {
    &TEXT
}

/// A name that AsyncAPI takes as a key: `call:raise_hand` is `call.raise_hand`.
fn key(event: &str) -> String {
    event.replace(':', ".")
}

/// The AsyncAPI document.
pub fn document() -> Value {
    let mut parts = Parts::default();
    for spec in COMMANDS {
        parts.command(spec.event, spec.takes_key);
    }
    for event in events::ALL {
        parts.event(event);
    }
    let Parts { schemas, messages, operations } = parts;
    let at_channel: Map<String, Value> =
        messages.keys().map(|name| (name.clone(), refers("components/messages", name))).collect();
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Carillon",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": {"name": "MIT OR Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {"node": {
            "host": "{host}",
            "protocol": "wss",
            "description": "Any node.",
            "variables": {"host": {"description": "Where nodes are reached.", "default": "localhost:8080"}},
            "security": [{"$ref": "#/components/securitySchemes/userToken"}],
        }},
        "channels": {"socket": {
            "address": "/ws",
            "title": "The socket",
            "description": "Subprotocol `carillon.v1`, text frames of JSON, each at most 128 KiB.",
            "messages": at_channel,
            "bindings": {"ws": {"method": "GET"}},
        }},
        "operations": operations,
        "components": {
            "messages": messages,
            "schemas": schemas.finish(),
            "securitySchemes": {"userToken": {
                "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
                "description": "A user's JWT: in the header `Authorization` of the upgrade, or in `session:hello`.",
            }},
        },
    })
}

fn refers(place: &str, name: &str) -> Value {
    json!({"$ref": format!("#/{place}/{name}")})
}

#[derive(Default)]
struct Parts {
    schemas: Schemas,
    messages: Map<String, Value>,
    operations: Map<String, Value>,
}

impl Parts {
    fn command(&mut self, event: &'static str, takes_key: bool) {
        // One that nothing is said of is missing in the document, and a test says so.
        let Some(described) = described::of(event) else { return };
        let name = key(event);
        let data = (described.data)(&mut self.schemas);
        let reply = (described.reply)(&mut self.schemas);
        let id = json!({"type": "string", "maxLength": 64, "description": "Chosen by the client; without it only a refusal is answered."});
        let mut properties = json!({
            "id": id,
            "event": {"const": event, "description": "The command."},
            "data": data,
        });
        if event != "call:signal" {
            properties["traceparent"] = json!({
                "type": "string",
                "description": "The trace that the command belongs to (W3C Trace Context). Without one, and with one that is \
                    not as the standard says, the command begins a trace.",
            });
        }
        if takes_key {
            properties["idempotencyKey"] = json!({
                "type": "string", "minLength": 1, "maxLength": 255,
                "description": "Names the command of this user: repeated it has its effect once.",
            });
        }
        let payload = json!({"type": "object", "required": ["event"], "properties": properties});
        let refused = self.refused(described.refuses);
        let message = json!({"name": event, "title": described.summary, "summary": described.says, "payload": payload});
        self.messages.insert(name.clone(), message);
        let answer = json!({
            "name": format!("reply to {event}"),
            "title": format!("Reply to {event}"),
            "summary": format!("Done; or refused.\n\n{}", causes(described.refuses)),
            "payload": {"oneOf": [
                {"type": "object", "required": ["reply", "ok", "data"], "properties": {
                    "reply": {"type": "string", "description": "The `id` of the command."},
                    "ok": {"const": true, "description": "Done; what changed is committed."},
                    "data": reply,
                }},
                refused,
            ]},
        });
        let answer_name = format!("{name}.reply");
        self.messages.insert(answer_name.clone(), answer);
        let at = |message: &str| refers("channels/socket/messages", message);
        self.operations.insert(
            name.clone(),
            json!({
                "action": "receive",
                "title": event,
                "summary": described.summary,
                "description": described.says,
                "channel": {"$ref": "#/channels/socket"},
                "messages": [at(&name)],
                "reply": {"channel": {"$ref": "#/channels/socket"}, "messages": [at(&answer_name)]},
            }),
        );
    }

    fn refused(&mut self, own: &[ErrorCode]) -> Value {
        let refusal = self.schemas.sent::<Refusal>();
        let codes: Vec<&str> = codes(own).map(ErrorCode::as_str).collect();
        json!({"type": "object", "required": ["reply", "ok", "error"], "properties": {
            "reply": {"type": "string", "description": "The `id` of the command."},
            "ok": {"const": false, "description": "Refused; nothing has changed."},
            "error": {"description": "Why.", "allOf": [refusal, {"properties": {"code": {"enum": codes}}}]},
        }})
    }

    fn event(&mut self, event: &EventSpec) {
        let mut found = Vec::new();
        let own = (event.schema)(&mut found);
        found.push((event.shape.to_owned(), own));
        self.schemas.add(found);
        let own = refers("components/schemas", event.shape);
        let data = if event.numbered { json!({"allOf": [self.schemas.sent::<Head<'static>>(), own]}) } else { own };
        let properties = json!({"event": {"const": event.name, "description": "The event."}, "data": data});
        let payload = json!({"type": "object", "required": ["event", "data"], "properties": properties});
        let message = json!({"name": event.name, "title": event.name, "summary": event.says, "payload": payload});
        self.messages.insert(event.shape.to_owned(), message);
        let name = format!("send.{}", event.shape);
        self.operations.insert(
            name,
            json!({
                "action": "send",
                "title": event.name,
                "summary": event.says,
                "channel": {"$ref": "#/channels/socket"},
                "messages": [refers("channels/socket/messages", event.shape)],
            }),
        );
    }
}

fn codes(own: &[ErrorCode]) -> impl Iterator<Item = ErrorCode> {
    ErrorCode::ALL.iter().copied().filter(move |code| own.contains(code) || described::COMMON.contains(code))
}

fn causes(own: &[ErrorCode]) -> String {
    codes(own).map(|code| format!("- `{}`: {}\n", code.as_str(), code.cause())).collect()
}
