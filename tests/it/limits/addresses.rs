//! Whose address counts: the peer's, unless a trusted proxy says otherwise.

use super::get;
use crate::support::TestCluster;

/// Three reads of anybody from one address.
const LIMIT: (&str, &str) = ("CARILLON_RATE_LIMITS", "read.address=3/60m");

async fn passes(cluster: &TestCluster, headers: &[(&str, &str)]) -> bool {
    let answer = get(cluster, "/api/v1/nothing", headers).await;
    if answer.status == 429 {
        answer.assert_limited();
    }
    answer.status == 404
}

#[tokio::test]
async fn a_forged_forwarding_header_changes_nothing() {
    let cluster = TestCluster::embedded().set(LIMIT.0, LIMIT.1).start().await;
    let mut passed = 0;
    for n in 0..6 {
        let made_up = format!("198.51.100.{n}");
        let standard = format!("for={made_up};proto=https");
        passed += usize::from(passes(&cluster, &[("x-forwarded-for", &made_up)]).await);
        passed += usize::from(passes(&cluster, &[("forwarded", &standard), ("x-real-ip", &made_up)]).await);
    }
    assert_eq!(passed, 3, "all of them are one address");
    assert_eq!(
        cluster.node(0).log_lines().iter().filter(|line| line.to_string().contains("TRUSTED_PROXIES")).count(),
        1
    );
}

#[tokio::test]
async fn a_proxy_that_is_not_the_trusted_one_is_a_client() {
    let cluster =
        TestCluster::embedded().set(LIMIT.0, LIMIT.1).set("CARILLON_TRUSTED_PROXIES", "10.0.0.0/8").start().await;
    let mut passed = 0;
    for n in 0..6 {
        passed += usize::from(passes(&cluster, &[("x-forwarded-for", &format!("198.51.100.{n}"))]).await);
    }
    assert_eq!(passed, 3);
}

#[tokio::test]
async fn clients_behind_a_trusted_proxy_are_told_apart_and_cannot_forge_another() {
    let cluster = TestCluster::embedded()
        .set(LIMIT.0, LIMIT.1)
        .set("CARILLON_TRUSTED_PROXIES", "127.0.0.0/8, 10.0.0.0/8")
        .start()
        .await;
    let usual = async |list: &str| passes(&cluster, &[("x-forwarded-for", list)]).await;
    for _ in 0..3 {
        assert!(usual("203.0.113.5").await);
    }
    assert!(!usual("203.0.113.5").await);
    assert!(!usual("198.51.100.9, 203.0.113.5").await, "what stands left of it the client made up");
    assert!(!usual("198.51.100.9, 203.0.113.5:4711, 10.1.2.3").await, "through a second proxy");
    assert!(!passes(&cluster, &[("forwarded", "for=203.0.113.5;proto=https")]).await, "by the other header");
    assert!(usual("203.0.113.6").await, "another client");
    // An IPv6 customer has a whole network.
    for host in ["1", "2", "3"] {
        assert!(usual(&format!("2001:db8:0:1::{host}")).await);
    }
    assert!(!usual("2001:db8:0:1:ffff::4").await);
    assert!(usual("2001:db8:0:2::1").await);
}
