//! Which pages may read answers, and which may open a socket.

use super::{Answer, ask, get};
use crate::support::TestCluster;

const LISTED: &str = "https://app.example";
/// Origins that are not on the list, however near they come.
const FOREIGN: [&str; 9] = [
    "null",
    "https://app.example.evil.example",
    "https://evilapp.example",
    "https://evil.app.example",
    "http://app.example",
    "https://app.example:8443",
    "https://app.example@evil.example",
    "file://",
    "*",
];

async fn cluster() -> TestCluster {
    TestCluster::embedded().set("CARILLON_ALLOWED_ORIGINS", "https://app.example,http://localhost:3000").start().await
}

async fn preflight(cluster: &TestCluster, origin: &str, method: &str, path: &str) -> Answer {
    let headers = [
        ("origin", origin),
        ("access-control-request-method", method),
        ("access-control-request-headers", "authorization,content-type,idempotency-key"),
    ];
    ask(cluster, "OPTIONS", path, &headers, None).await
}

fn assert_no_cors(answer: &Answer, why: &str) {
    let marks: Vec<_> = answer.headers.keys().filter(|name| name.as_str().starts_with("access-control-")).collect();
    assert!(marks.is_empty(), "{why}: {marks:?}");
}

#[tokio::test]
async fn a_listed_page_may_ask_and_read_answers_and_refusals() {
    let cluster = cluster().await;
    for origin in [LISTED, "http://localhost:3000"] {
        for (method, path) in
            [("POST", "/api/v1/calls"), ("PATCH", "/api/v1/calls/c/participants/me"), ("PUT", "/api/v1/groups/g")]
        {
            let answer = preflight(&cluster, origin, method, path).await;
            assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, origin));
            assert!(answer.header("access-control-allow-methods").contains(method), "{method}");
            for header in ["authorization", "content-type", "idempotency-key"] {
                assert!(answer.header("access-control-allow-headers").contains(header), "{header}");
            }
        }
        let bearer = format!("Bearer {}", cluster.token("alice"));
        for headers in [&[("origin", origin)][..], &[("origin", origin), ("authorization", &bearer)]] {
            let answer = get(&cluster, "/api/v1/calls/none", headers).await;
            assert!(matches!(answer.status, 401 | 404), "{}", answer.status);
            assert_eq!(answer.header("access-control-allow-origin"), origin);
            assert!(answer.header("access-control-expose-headers").contains("retry-after"));
            assert!(!answer.headers.contains_key("access-control-allow-credentials"));
            assert!(answer.header("vary").contains("origin"), "caches keep them apart");
        }
    }
}

#[tokio::test]
async fn a_page_that_is_not_listed_exactly_may_read_nothing() {
    let cluster = cluster().await;
    for origin in FOREIGN {
        let answer = preflight(&cluster, origin, "POST", "/api/v1/calls").await;
        assert_eq!(answer.status, 403, "{origin}");
        assert_no_cors(&answer, origin);
        assert_no_cors(&get(&cluster, "/api/v1/calls/none", &[("origin", origin)]).await, origin);
    }
    assert_no_cors(&get(&cluster, "/api/v1/calls/none", &[]).await, "no page");
    assert_no_cors(&get(&cluster, "/", &[("origin", LISTED)]).await, "the page itself");
    assert_no_cors(&get(&cluster, "/metrics", &[("origin", LISTED)]).await, "metrics");
}

#[tokio::test]
async fn without_a_list_no_other_page_may_read() {
    let cluster = TestCluster::embedded().start().await;
    let answer = preflight(&cluster, LISTED, "POST", "/api/v1/calls").await;
    assert_eq!(answer.status, 403);
    assert_no_cors(&answer, "no list");
}

#[tokio::test]
async fn a_socket_is_opened_to_listed_pages_and_the_nodes_own_only() {
    let cluster = cluster().await;
    let own = format!("http://{}", cluster.node(0).address);
    let upgrade = [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-protocol", "carillon.v1"),
    ];
    for (origin, status) in FOREIGN.iter().map(|origin| (*origin, 403)).chain([(LISTED, 101), (&own, 101)]) {
        let headers: Vec<_> = upgrade.iter().copied().chain([("origin", origin)]).collect();
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut request = client.get(format!("http://{}/ws", cluster.node(0).address));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        assert_eq!(request.send().await.unwrap().status().as_u16(), status, "{origin}");
    }
}
