//! The number of series does not grow with what clients send.

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::Shown;
use crate::support::{Connect, TestCluster};

/// So many series may a node have at most, whatever happens: commands by outcome are the most of them.
const MOST: usize = 1_500;

/// Whatever a client may come up with. `salt` makes each name a new one.
async fn odd_traffic(cluster: &TestCluster, salt: &str) {
    let user = format!("user-{salt}");
    let client = cluster.connect(0, &user, &format!("device-{salt}")).await;
    for command in [format!("call:{salt}"), salt.to_owned(), "Call:Start".to_owned(), format!("x\"}} 1\n{salt}")] {
        let refused = client.call(&command, json!({"callId": salt})).await.expect_err("no such command");
        assert_eq!(refused.code, "invalid", "{command}");
    }
    for command in ["call:accept", "call:end", "call:get", "call:raise_hand"] {
        let refused = client
            .call(command, json!({"callId": format!("call-{salt}"), "raised": true}))
            .await
            .expect_err("no such call");
        assert_eq!(refused.code, "not_found", "{command}");
    }
    client.cast("call:signal", json!({"callId": salt, "type": "offer", "payload": {"sdp": salt}}));
    client.call("call:end", json!({"callId": 7})).await.expect_err("no id");
    client.send_raw(Message::Text(format!("{salt} is no frame").into()));
    client.send_raw(Message::Binary(salt.as_bytes().to_vec().into()));
    let call = client.start(&[&format!("callee-{salt}")]).await;
    client.get(&call).await;
    client.assert_alive().await;
    client.close().await;
    let http = cluster.http(0);
    for (method, path) in [
        ("GET", format!("/{salt}")),
        ("GET", format!("/api/v1/{salt}")),
        ("POST", format!("/api/v1/calls/{salt}/{salt}")),
        ("BREW", format!("/api/v1/calls/{salt}")),
        ("GET", format!("/api/v1/calls/{salt}")),
    ] {
        let answer = http.request(method, &path, Some(salt), None).await.expect("an answer");
        assert!(answer.status >= 400, "{method} {path}: {answer:?}");
    }
    let token = cluster.token(&user);
    let answer = http.request("POST", &format!("/api/v1/calls/{salt}/accept"), Some(&token), None).await;
    assert_eq!(answer.expect("an answer").status, 404);
    let refused = Connect::to(cluster.node(0), &user, "tablet").token(&format!("no token {salt}")).go().await;
    assert!(refused.is_err(), "no token");
}

#[tokio::test]
async fn series_do_not_grow_with_unknown_commands_users_calls_and_routes() {
    let cluster = TestCluster::embedded().start().await;
    odd_traffic(&cluster, "first").await;
    let before = Shown::by(&cluster, 0).await.series;
    for n in 0..5 {
        odd_traffic(&cluster, &format!("salt{n}x{:x}", rand::random::<u64>())).await;
    }
    let after = Shown::by(&cluster, 0).await.series;
    let new: Vec<&String> = after.difference(&before).collect();
    assert!(new.is_empty(), "{new:?}");
    assert!(after.len() < MOST, "{} series", after.len());
    assert!(!after.iter().any(|series| series.contains("salt") || series.contains("first")), "{after:?}");
}
