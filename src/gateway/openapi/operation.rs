//! One operation of the OpenAPI document, put together from what is peculiar to it; what all have in common (who may
//! ask, refusals and their headers, the limits) is added here.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::schemas::Schemas;
use crate::{gateway::rest::Problem, wire::ErrorCode};

/// An idempotency key: bare, or a string as in RFC 8941.
const KEY: &str = r#"^([!#-~][!-~]*|"([!#-\[\]-~]|\\["\\])+")$"#;

/// The header by which a request goes on with a trace.
const TRACEPARENT: &str = "The trace that the request belongs to (W3C Trace Context). Without one, and with one that is not \
    as the standard says, the request begins a trace.";

/// Who may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// Anybody.
    Anybody,
    /// A user, with their token.
    User,
    /// The application, with a service key.
    Service,
    /// A user, with their token, or the application.
    UserOrService,
    /// The application, or a user who is an administrator.
    ServiceOrAdmin,
}

/// An operation in the making.
pub struct Operation {
    pub method: &'static str,
    /// As in the document: `/api/v1/calls/{callId}`.
    pub path: String,
    asker: Asker,
    fields: Map<String, Value>,
    parameters: Vec<Value>,
    replies: Map<String, Value>,
    refuses: Vec<ErrorCode>,
}

impl Operation {
    /// `id` names it in generated clients; `summary` says in a few words what it does.
    pub fn new(method: &'static str, path: impl Into<String>, id: &str, tag: &str, summary: &str) -> Self {
        let path = path.into();
        let mut fields = Map::new();
        fields.insert("operationId".to_owned(), id.into());
        fields.insert("tags".to_owned(), json!([tag]));
        fields.insert("summary".to_owned(), summary.into());
        let (parameters, replies, refuses) = (Vec::new(), Map::new(), Vec::new());
        Self { method, path, asker: Asker::Anybody, fields, parameters, replies, refuses }
    }

    /// More about it, in Markdown.
    pub fn says(mut self, text: impl Into<String>) -> Self {
        self.fields.insert("description".to_owned(), text.into().into());
        self
    }

    /// Who may ask. With it come the refusals that all such operations have.
    pub fn by(mut self, asker: Asker) -> Self {
        self.asker = asker;
        let common = [ErrorCode::RateLimited, ErrorCode::Unavailable, ErrorCode::Internal];
        self.refuses.extend(common);
        if asker != Asker::Anybody {
            self.refuses.push(ErrorCode::Unauthenticated);
        }
        match asker {
            Asker::User | Asker::UserOrService => self.refuses.push(ErrorCode::TokenExpired),
            Asker::ServiceOrAdmin => self.refuses.extend([ErrorCode::TokenExpired, ErrorCode::Forbidden]),
            Asker::Service | Asker::Anybody => {}
        }
        if matches!(asker, Asker::Service | Asker::ServiceOrAdmin) {
            self = self.header(
                "X-Request-Id",
                "Names the request in the audit log: 1 to 128 visible ASCII characters. Without such a one, one is made.",
                json!({"type": "string"}),
            );
        }
        self
    }

    /// A part of the path.
    pub fn path_part(self, name: &str, says: &str, schema: Value) -> Self {
        self.parameter("path", name, says, true, schema).refuses(&[ErrorCode::Invalid, ErrorCode::NotFound])
    }

    /// A parameter of the query, optional.
    pub fn query(self, name: &str, says: &str, schema: Value) -> Self {
        self.parameter("query", name, says, false, schema).refuses(&[ErrorCode::Invalid])
    }

    /// A header of the request, optional.
    pub fn header(self, name: &str, says: &str, schema: Value) -> Self {
        self.parameter("header", name, says, false, schema)
    }

    /// It may be repeated under a key.
    pub fn repeatable(self) -> Self {
        let says = "Names this request: repeated under the same key by the same asker it has its effect once, and is \
            answered alike. 1 to 255 visible ASCII characters, bare or as a string in quotes.";
        let key = json!({"type": "string", "minLength": 1, "maxLength": 255, "pattern": KEY});
        self.header("Idempotency-Key", says, key).refuses(&[ErrorCode::Invalid, ErrorCode::Conflict])
    }

    fn parameter(mut self, place: &str, name: &str, says: &str, required: bool, schema: Value) -> Self {
        self.parameters
            .push(json!({"in": place, "name": name, "description": says, "required": required, "schema": schema}));
        self
    }

    /// The body, JSON. One that is not required may be missing for no fields.
    pub fn body(self, says: &str, required: bool, schema: Value) -> Self {
        self.body_as("application/json", says, required, schema)
    }

    /// The body, in another media type.
    pub fn body_as(mut self, media_type: &str, says: &str, required: bool, schema: Value) -> Self {
        let content = json!({media_type: {"schema": schema}});
        let body = json!({"description": says, "required": required, "content": content});
        self.fields.insert("requestBody".to_owned(), body);
        self.refuses(&[ErrorCode::Invalid, ErrorCode::TooLarge])
    }

    /// An answer, JSON.
    pub fn answers(self, status: u16, says: &str, schema: Value) -> Self {
        self.answers_as(status, says, "application/json", schema)
    }

    /// An answer of another media type.
    pub fn answers_as(mut self, status: u16, says: &str, media_type: &str, schema: Value) -> Self {
        let reply = json!({"description": says, "content": {media_type: {"schema": schema}}});
        self.replies.insert(status.to_string(), reply);
        self
    }

    /// An answer without a body.
    pub fn answers_nothing(mut self, status: u16, says: &str) -> Self {
        self.replies.insert(status.to_string(), json!({"description": says}));
        self
    }

    /// A header of the answer with this status.
    pub fn with_header(mut self, status: u16, name: &str, says: &str) -> Self {
        let header = json!({"description": says, "required": true, "schema": {"type": "string"}});
        if let Some(reply) = self.replies.get_mut(&status.to_string()) {
            reply["headers"][name] = header;
        }
        self
    }

    /// What can be done next with what the answer holds; `from` is where the answer has the path's parameters.
    pub fn links(mut self, status: u16, to: &str, says: &str, from: &[(&str, &str)]) -> Self {
        let parameters: Map<String, Value> =
            from.iter().map(|(name, expression)| ((*name).to_owned(), (*expression).into())).collect();
        if let Some(reply) = self.replies.get_mut(&status.to_string()) {
            reply["links"][to] = json!({"operationId": to, "description": says, "parameters": parameters});
        }
        self
    }

    /// Refusals that it has besides those that come with the rest.
    pub fn refuses(mut self, codes: &[ErrorCode]) -> Self {
        self.refuses.extend(codes);
        self
    }

    /// The Operation Object.
    pub fn finish(self, schemas: &mut Schemas) -> Value {
        let traced = self.path.starts_with("/api/v1/");
        let this = if traced { self.header("traceparent", TRACEPARENT, json!({"type": "string"})) } else { self };
        let Self { asker, mut fields, parameters, mut replies, refuses, .. } = this;
        if !parameters.is_empty() {
            fields.insert("parameters".to_owned(), parameters.into());
        }
        let security = match asker {
            Asker::Anybody => json!([]),
            Asker::User => json!([{"userToken": []}]),
            Asker::Service => json!([{"serviceKey": []}]),
            Asker::UserOrService => json!([{"userToken": []}, {"serviceKey": []}]),
            Asker::ServiceOrAdmin => json!([{"serviceKey": []}, {"userToken": []}]),
        };
        fields.insert("security".to_owned(), security);
        if matches!(asker, Asker::Service | Asker::ServiceOrAdmin) {
            let named = json!({"description": "Names the request in the audit log.", "required": true,
                "schema": {"type": "string"}});
            replies.values_mut().for_each(|reply| reply["headers"]["X-Request-Id"] = named.clone());
        }
        let problem = schemas.sent::<Problem<'static>>();
        let mut by_status: BTreeMap<u16, Vec<ErrorCode>> = BTreeMap::new();
        for code in ErrorCode::ALL.iter().filter(|code| refuses.contains(code)) {
            by_status.entry(code.http_status()).or_default().push(*code);
        }
        for (status, codes) in by_status {
            replies.entry(status.to_string()).or_insert_with(|| refusal(status, &codes, &problem));
        }
        if traced {
            let id = json!({"description": "The trace id of the request.", "required": true,
                "schema": {"type": "string", "pattern": "^[0-9a-f]{32}$"}});
            replies.values_mut().for_each(|reply| reply["headers"]["X-Trace-Id"] = id.clone());
        }
        fields.insert("responses".to_owned(), replies.into());
        fields.into()
    }
}

fn refusal(status: u16, codes: &[ErrorCode], problem: &Value) -> Value {
    let causes: Vec<String> = codes.iter().map(|code| format!("`{}`: {}.", code.as_str(), code.cause())).collect();
    let names: Vec<&str> = codes.iter().map(|code| code.as_str()).collect();
    let narrowed = json!({"properties": {"code": {"enum": names}, "status": {"const": status}}});
    let mut reply = json!({
        "description": causes.join("\n\n"),
        "content": {"application/problem+json": {"schema": {"allOf": [problem, narrowed]}}},
    });
    let header = match status {
        401 => Some(("WWW-Authenticate", "`Bearer`.", json!({"type": "string"}))),
        429 => Some(("Retry-After", "Seconds to wait.", json!({"type": "integer", "minimum": 1}))),
        _ => None,
    };
    if let Some((name, says, schema)) = header {
        reply["headers"] = json!({name: {"description": says, "required": true, "schema": schema}});
    }
    reply
}
