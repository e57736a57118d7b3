//! What a node refuses for being too much, and what it tells browsers: limits, addresses, CORS, headers.

mod addresses;
mod commands;
mod cors;
mod credentials;
mod headers;
mod two_nodes;

use std::time::Duration;

use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use crate::support::{TestClient, TestCluster, inbox::WireError, moves::assert_code};

/// One answer, with its headers.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    /// A header as text; empty if there is none.
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn assert_limited(&self) {
        assert_eq!((self.status, &self.body["code"]), (429, &json!("rate_limited")), "{}", self.body);
        let wait: u64 = self.header("retry-after").parse().expect("Retry-After in seconds");
        assert!(wait >= 1, "{wait}");
    }
}

/// One request with these headers to a node.
async fn ask(cluster: &TestCluster, method: &str, path: &str, headers: &[(&str, &str)], body: Option<Value>) -> Answer {
    // Plain HTTP only, yet the client insists on a TLS provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().unwrap();
    let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
    let mut request = client.request(method, format!("http://{}{path}", cluster.node(0).address));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if let Some(body) = body {
        request = request.json(&body);
    }
    let response = request.send().await.expect("the node answers");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.unwrap();
    Answer { status, headers, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) }
}

async fn get(cluster: &TestCluster, path: &str, headers: &[(&str, &str)]) -> Answer {
    ask(cluster, "GET", path, headers, None).await
}

/// A refusal by a limit, with how long to wait.
fn assert_limited(refused: &WireError) {
    assert_code(refused, &["rate_limited"]);
    assert!(refused.retryable && refused.details["retryAfterMs"].as_u64() > Some(0), "{refused:?}");
}

/// Sends a cheap command; whether its limit let it through, whatever was answered.
async fn passes(client: &TestClient) -> bool {
    match client.call("call:get", json!({"callId": "no-such-call"})).await {
        Err(refused) if refused.code == "rate_limited" => {
            assert_limited(&refused);
            false
        }
        _ => true,
    }
}
