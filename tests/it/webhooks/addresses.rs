//! Where webhooks may not go: nothing within the network is asked, whatever it is called.

use serde_json::json;

use super::{expect_delivery, hook_at, post, receiver::Receiver, try_hook};
use crate::support::TestCluster;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_https_to_a_public_address_is_taken() {
    let cluster = TestCluster::embedded().start().await;
    for url in [
        "http://hooks.example/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://0x7f000001/",
        "https://169.254.169.254/latest",
        "https://user:pass@hooks.example/",
        "https://10.1.2.3:8443/",
        "ftp://x/",
        "hooks",
        "",
    ] {
        let refused = post(&cluster, "/api/v1/webhooks", json!({"url": url})).await;
        assert_eq!((refused.status, refused.code()), (400, "invalid"), "{url}: {refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_leads_into_the_network_is_not_connected_to() {
    let receiver = Receiver::start().await;
    let cluster = TestCluster::embedded().set("CARILLON_WEBHOOK_RETRY_SECS", 1).start().await;
    let hook = hook_at(&cluster, &format!("https://localhost:{}/hook", receiver.port()), &[]).await;
    try_hook(&cluster, &hook).await;
    let dead = expect_delivery(&cluster, &hook, "dead", |delivery| delivery["state"] == "dead").await;
    assert_eq!((&dead["lastError"], &dead["attempts"]), (&json!("address_refused"), &json!(2)));
    assert!(receiver.all().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_nobodys_is_refused_and_an_address_that_is_allowed_no_more_is_too() {
    let receiver = Receiver::start().await;
    let database = std::sync::Arc::new(crate::support::postgres::Database::create());
    let builder = || TestCluster::of(1).on_database(database.clone()).set("CARILLON_WEBHOOK_RETRY_SECS", 1);
    let cluster = builder().set("CARILLON_WEBHOOK_ALLOW_PRIVATE", "on").start().await;
    let hook = hook_at(&cluster, &receiver.url(), &[]).await;
    try_hook(&cluster, &hook).await;
    receiver.expect("test", |received| received.kind() == "webhook.test").await;
    drop(cluster);
    // The same webhook, on a node that may not.
    let cluster = builder().start().await;
    let id = try_hook(&cluster, &hook).await;
    let is_it = |delivery: &serde_json::Value| delivery["deliveryId"] == id.as_str() && delivery["state"] == "dead";
    let dead = expect_delivery(&cluster, &hook, "dead", is_it).await;
    assert_eq!(dead["lastError"], json!("address_refused"));
    assert_eq!(receiver.all().len(), 1);
}
