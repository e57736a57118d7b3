//! A user who sends the commands of the protocol by REST.

use serde_json::{Value, json};

use super::http::{Answer, Http};

/// See the module.
pub struct RestUser {
    http: Http,
    token: String,
    device: Option<String>,
}

impl RestUser {
    /// Who has this token, on the node of `http`.
    pub fn new(http: Http, token: String) -> Self {
        Self { http, token, device: None }
    }

    /// Acting as this device.
    pub fn at(mut self, device: &str) -> Self {
        self.device = Some(device.to_owned());
        self
    }

    /// The request that stands for this command of the socket.
    pub async fn send(&self, event: &str, key: Option<&str>, mut data: Value) -> Answer {
        let action = event.strip_prefix("call:").expect("a command about a call");
        let fields = data.as_object_mut().expect("an object");
        let call = if action == "start" { None } else { fields.remove("callId") };
        let call = call.as_ref().and_then(Value::as_str).unwrap_or_default();
        if let Some(device) = &self.device {
            fields.insert("deviceId".into(), json!(device));
        }
        let (method, path) = match action {
            "start" => ("POST", "/api/v1/calls".to_owned()),
            "get" => ("GET", format!("/api/v1/calls/{call}")),
            "media" => ("PATCH", format!("/api/v1/calls/{call}/participants/me")),
            action => ("POST", format!("/api/v1/calls/{call}/{action}")),
        };
        let body = (method != "GET").then_some(data);
        let sent = self.http.request_keyed(method, &path, Some(&self.token), key, body).await;
        sent.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// A command that must succeed; its answer.
    pub async fn must(&self, event: &str, data: Value) -> Value {
        let answer = self.send(event, None, data).await;
        assert!(answer.ok(), "{event}: {answer:?}");
        answer.body
    }

    /// A plain request with the user's token.
    pub async fn request(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.http.request(method, path, Some(&self.token), body).await.expect("the node answers")
    }
}
