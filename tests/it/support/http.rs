//! The plain HTTP side of a node, as a backend or a probe uses it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use serde_json::Value;

use super::node::Realm;

/// No answer of a control plane may take longer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// An answer: status, content type and body (JSON where it is JSON, else text).
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub content_type: String,
    /// The header `Location`, where there is one.
    pub location: Option<String>,
    pub body: Value,
}

impl Answer {
    /// A status of 200 to 299.
    pub fn ok(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The error code in a problem body.
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// Status and body but for the trace, which is each request's own: what two refusals are compared by.
    pub fn untraced(&self) -> (u16, Value) {
        let mut body = self.body.clone();
        if let Some(fields) = body.as_object_mut() {
            fields.remove("traceId");
        }
        (self.status, body)
    }
}

/// Requests to one node.
pub struct Http {
    client: reqwest::Client,
    address: SocketAddr,
    realm: Arc<Realm>,
}

impl Http {
    /// A client without cookies, redirects or a proxy.
    pub fn new(address: SocketAddr, realm: Arc<Realm>) -> Self {
        // Plain HTTP only, yet the client insists on a TLS provider; the second install of a process is refused.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("an HTTP client");
        Self { client, address, realm }
    }

    /// One request; `bearer` goes into `Authorization`.
    pub async fn request(
        &self,
        method: &str,
        path: &str,
        bearer: Option<&str>,
        body: Option<Value>,
    ) -> Result<Answer, reqwest::Error> {
        self.request_keyed(method, path, bearer, None, body).await
    }

    /// The same with an `Idempotency-Key`.
    pub async fn request_keyed(
        &self,
        method: &str,
        path: &str,
        bearer: Option<&str>,
        key: Option<&str>,
        body: Option<Value>,
    ) -> Result<Answer, reqwest::Error> {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("an HTTP method");
        let mut request = self.client.request(method, format!("http://{}{path}", self.address));
        if let Some(bearer) = bearer {
            request = request.bearer_auth(bearer);
        }
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        let header = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let (content_type, location) = (header("content-type").unwrap_or_default(), header("location"));
        let text = response.text().await?;
        Ok(Answer { status, content_type, location, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) })
    }

    /// A request with the service key.
    pub async fn service(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let key = self.realm.service_key.clone();
        self.request(method, path, Some(&key), body).await.expect("the node answers")
    }

    /// A GET without credentials.
    pub async fn get(&self, path: &str) -> Answer {
        self.request("GET", path, None, None).await.expect("the node answers")
    }

    /// What the metrics say of a series, written as they write it; none: it is not there.
    pub async fn metric(&self, series: &str) -> Option<f64> {
        let page = self.get("/metrics").await.body;
        let of = |line: &str| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok();
        page.as_str().unwrap_or_default().lines().find_map(of)
    }

    /// The status of a GET, none when nothing answers.
    pub async fn status(&self, path: &str) -> Option<u16> {
        self.request("GET", path, None, None).await.ok().map(|answer| answer.status)
    }
}
