//! The headers that tell browsers what not to do, on every kind of answer.

use serde_json::json;

use super::{Answer, ask, get};
use crate::support::TestCluster;

fn assert_safe(answer: &Answer, what: &str) {
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("permissions-policy", "camera=(self), microphone=(self), display-capture=(self)"),
        ("cross-origin-opener-policy", "same-origin"),
    ] {
        assert_eq!(answer.header(name), value, "{what}: {name}");
    }
    let policy = answer.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{what}: {policy}");
    assert!(!policy.contains("unsafe"), "{what}: {policy}");
    assert!(matches!(answer.header("cache-control"), "no-store" | "no-cache"), "{what}");
    assert_eq!(answer.header("strict-transport-security"), "", "{what}: nobody said https");
}

#[tokio::test]
async fn every_kind_of_answer_has_them() {
    let cluster = TestCluster::embedded()
        .set("CARILLON_RATE_LIMITS", "write=20/60m,invite=1/60m")
        .set("CARILLON_ALLOWED_ORIGINS", "https://app.example")
        .start()
        .await;
    let bearer = format!("Bearer {}", cluster.token("alice"));
    let user = [("authorization", bearer.as_str())];
    let key = format!("Bearer {}", cluster.realm().service_key);
    let service = [("authorization", key.as_str())];
    let preflight = [("origin", "https://app.example"), ("access-control-request-method", "POST")];
    let foreign = [("origin", "https://evil.example"), ("access-control-request-method", "POST")];
    let tag = get(&cluster, "/", &[]).await.header("etag").to_owned();
    let large = json!({"metadata": "x".repeat(200 * 1024)});
    let start = json!({"calleeIds": ["nobody"]});
    let invite = json!({"userIds": ["nobody"]});
    for (method, path, headers, body, status) in [
        ("GET", "/", &[][..], None, 200),
        ("HEAD", "/", &[], None, 200),
        ("GET", "/", &[("if-none-match", tag.as_str())], None, 304),
        ("GET", "/softphone/app.js", &[], None, 200),
        ("GET", "/no-such-page", &[], None, 404),
        ("POST", "/", &[], None, 404),
        ("GET", "/livez", &[], None, 200),
        ("GET", "/readyz", &[], None, 200),
        ("GET", "/metrics", &[], None, 200),
        ("GET", "/ws", &[], None, 400),
        ("GET", "/ws", &[("origin", "https://evil.example")], None, 403),
        ("GET", "/api/v1/nothing", &[], None, 404),
        ("GET", "/api/v1/calls/none", &[], None, 401),
        ("GET", "/api/v1/calls/none", &user, None, 404),
        ("DELETE", "/api/v1/calls", &[], None, 405),
        ("POST", "/api/v1/calls", &user, Some(start), 201),
        ("POST", "/api/v1/calls", &user, Some(json!([])), 400),
        ("POST", "/api/v1/calls", &user, Some(large), 413),
        ("POST", "/api/v1/calls/none/invite", &user, Some(invite.clone()), 404),
        ("POST", "/api/v1/calls/none/invite", &user, Some(invite), 429),
        ("PUT", "/api/v1/groups/g", &service, Some(json!({})), 201),
        ("DELETE", "/api/v1/groups/g/members/nobody", &service, None, 204),
        ("OPTIONS", "/api/v1/calls", &preflight, None, 204),
        ("OPTIONS", "/api/v1/calls", &foreign, None, 403),
    ] {
        let what = format!("{method} {path} {status}");
        let answer = ask(&cluster, method, path, headers, body).await;
        assert_eq!(answer.status, status, "{what}: {}", answer.body);
        assert_safe(&answer, &what);
        if path.starts_with("/api/") {
            assert_eq!(answer.header("cache-control"), "no-store", "{what}");
        }
    }
}

#[tokio::test]
async fn the_page_runs_no_script_but_its_own_files() {
    let cluster = TestCluster::embedded().start().await;
    let page = get(&cluster, "/", &[]).await;
    let policy = page.header("content-security-policy");
    assert!(policy.contains("script-src 'self'") && policy.contains("style-src 'self'"), "{policy}");
    let html = page.body.as_str().unwrap();
    for script in html.split("<script").skip(1) {
        let (attributes, inside) = script.split_once('>').unwrap();
        assert!(attributes.contains("src=") && inside.starts_with("</script>"), "inline: {script}");
    }
    assert!(!html.contains("<style") && !html.contains(" style="), "inline styles are refused");
}

#[tokio::test]
async fn browsers_are_told_to_come_by_https_when_a_trusted_proxy_says_so_or_the_settings() {
    let hsts = async |cluster: &TestCluster, headers: &[(&str, &str)]| {
        get(cluster, "/", headers).await.header("strict-transport-security").to_owned()
    };
    let https = [("x-forwarded-proto", "https"), ("x-forwarded-for", "203.0.113.5")];
    let plain = TestCluster::embedded().start().await;
    assert_eq!(hsts(&plain, &https).await, "", "anybody can say so");
    let behind = TestCluster::embedded().set("CARILLON_TRUSTED_PROXIES", "127.0.0.1").start().await;
    assert_eq!(hsts(&behind, &https).await, "max-age=31536000");
    assert_eq!(hsts(&behind, &[("forwarded", "for=203.0.113.5;proto=https")]).await, "max-age=31536000");
    assert_eq!(hsts(&behind, &[("x-forwarded-proto", "http")]).await, "");
    let told = TestCluster::embedded().set("CARILLON_HSTS", "on").start().await;
    assert_eq!(hsts(&told, &[]).await, "max-age=31536000");
    let never =
        TestCluster::embedded().set("CARILLON_TRUSTED_PROXIES", "127.0.0.1").set("CARILLON_HSTS", "off").start().await;
    assert_eq!(hsts(&never, &https).await, "");
}
