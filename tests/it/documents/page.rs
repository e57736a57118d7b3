//! The documents and the page to try the API, as a node serves them.

use carillon::gateway::{asyncapi, openapi};

use crate::support::TestCluster;

#[tokio::test]
async fn the_documents_and_the_page_are_served_with_headers_of_their_own() {
    let cluster = TestCluster::embedded().start().await;
    let http = cluster.http(0);
    assert_eq!(http.get("/api/v1/openapi.json").await.body, openapi::document());
    assert_eq!(http.get("/api/v1/asyncapi.json").await.body, asyncapi::document());
    assert_eq!(http.get("/docs/api").await.location.as_deref(), Some("/docs/api/"));
    for (file, kind) in [("", "text/html"), ("swagger-ui.css", "text/css"), ("swagger-ui-bundle.js", "text/javascript")]
    {
        let answer = http.get(&format!("/docs/api/{file}")).await;
        assert!(answer.status == 200 && answer.content_type.starts_with(kind), "{file}: {}", answer.content_type);
    }
    let config = http.get("/docs/api/swagger-initializer.js").await.body.as_str().unwrap().to_owned();
    assert!(config.contains("/api/v1/openapi.json"), "{config}");
    let missing = http.get("/docs/api/nothing.js").await;
    assert_eq!((missing.status, missing.code()), (404, "not_found"));
    let address = cluster.node(0).address;
    let page = reqwest::get(format!("http://{address}/docs/api/")).await.unwrap();
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("script-src 'self';") && policy.contains("connect-src 'self';"), "{policy}");
    let wrong = http.request("DELETE", "/api/v1/calls/active", None, None).await.unwrap();
    assert_eq!((wrong.status, wrong.code()), (405, "invalid"));
}
