//! Guessing: credentials that are not good, and sessions opened too often.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::{ask, assert_limited, get};
use crate::support::{Connect, Refused, TestCluster};

const LIMIT: (&str, &str) = ("CARILLON_RATE_LIMITS", "auth=3/60m");

async fn with_token(cluster: &TestCluster, token: &str) -> super::Answer {
    get(cluster, "/api/v1/calls/none", &[("authorization", &format!("Bearer {token}"))]).await
}

#[tokio::test]
async fn an_address_that_tries_too_many_tokens_is_not_heard_for_a_while() {
    let cluster = TestCluster::embedded().set(LIMIT.0, LIMIT.1).start().await;
    let here = cluster.connect(0, "alice", "phone").await;
    for _ in 0..2 {
        assert_eq!(with_token(&cluster, "garbage").await.status, 401);
    }
    let by_hello = Connect::to(cluster.node(0), "mallory", "x").token("garbage").go().await;
    assert!(matches!(by_hello, Err(Refused::Hello(ref error, _)) if error.code == "unauthenticated"), "the third");
    with_token(&cluster, "garbage").await.assert_limited();
    with_token(&cluster, &cluster.token("alice")).await.assert_limited();
    match Connect::to(cluster.node(0), "alice", "laptop").go().await {
        Err(Refused::Hello(error, Some(closed))) => {
            assert_limited(&error);
            assert_eq!(closed.code, Some(4029), "{closed:?}");
            assert!(closed.reason["retryAfterMs"].as_u64() > Some(0), "{closed:?}");
        }
        Err(other) => panic!("refused otherwise: {other:?}"),
        Ok(_) => panic!("heard"),
    }
    assert!(matches!(
        Connect::to(cluster.node(0), "alice", "laptop").by_header().go().await,
        Err(Refused::Upgrade(429))
    ));
    // Who is in stays in, and probes are answered.
    here.assert_alive().await;
    assert_eq!(get(&cluster, "/livez", &[]).await.status, 200);
}

#[tokio::test]
async fn keys_of_the_service_are_not_to_be_guessed_either() {
    let cluster = TestCluster::embedded().set(LIMIT.0, LIMIT.1).start().await;
    let put = async |key: &str| {
        ask(&cluster, "PUT", "/api/v1/groups/g", &[("authorization", &format!("Bearer {key}"))], Some(json!({}))).await
    };
    for n in 0..3 {
        assert_eq!(put(&format!("guess-{n}")).await.status, 401);
    }
    put(&cluster.realm().service_key).await.assert_limited();
}

#[tokio::test]
async fn no_credentials_and_tokens_that_have_run_out_are_no_guesses() {
    let cluster = TestCluster::embedded().set(LIMIT.0, LIMIT.1).start().await;
    let past = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() - Duration::from_secs(3600);
    let old = cluster.realm().token_with(&json!({"sub": "alice", "exp": past.as_secs()}));
    for _ in 0..5 {
        let answer = with_token(&cluster, &old).await;
        assert_eq!((answer.status, &answer.body["code"]), (401, &Value::from("token_expired")));
        assert_eq!(get(&cluster, "/api/v1/calls/none", &[]).await.status, 401);
    }
    assert_eq!(with_token(&cluster, &cluster.token("alice")).await.status, 404);
}

#[tokio::test]
async fn a_user_who_opens_sessions_too_often_is_told_when_to_come_back() {
    let cluster = TestCluster::embedded().set("CARILLON_RATE_LIMITS", "connect=2/60m").start().await;
    let first = cluster.connect(0, "alice", "one").await;
    let _second = Connect::to(cluster.node(0), "alice", "two").by_header().go().await.unwrap();
    match Connect::to(cluster.node(0), "alice", "three").go().await {
        Err(Refused::Hello(error, Some(closed))) => {
            assert_limited(&error);
            assert_eq!(closed.code, Some(4029), "{closed:?}");
        }
        Err(other) => panic!("refused otherwise: {other:?}"),
        Ok(_) => panic!("let in"),
    }
    let by_header = Connect::to(cluster.node(0), "alice", "four").by_header().go().await;
    assert!(matches!(by_header, Err(Refused::Upgrade(429))));
    first.assert_alive().await;
    cluster.connect(0, "bob", "phone").await.assert_alive().await;
}
