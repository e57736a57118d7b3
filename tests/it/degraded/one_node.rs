//! One node of three is cut off from Redis: what concerns it goes through the database, the others notice nothing else.

use serde_json::json;

use super::{
    BY_DATABASE, assert_refused_at_once, change, expect_changes, expect_loss, expect_whole, forwarder::Forwarder, gauge,
};
use crate::{
    faults::{assert_reaches, checker::History, nodes},
    support::{client::call_of, redis},
};

/// The node that is cut off.
const LONELY: usize = 1;

#[tokio::test]
async fn a_node_cut_off_from_redis_is_heard_and_hears_by_the_database() {
    let way = Forwarder::to(redis::shared().address()).await;
    let cluster = nodes(3).set_on(LONELY, "REDIS_URL", way.redis_url()).start().await;
    let history = History::default();
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(LONELY, "bob", "phone").await;
    let carol = cluster.connect(2, "carol", "phone").await;
    let dave = cluster.connect(LONELY, "dave", "phone").await;
    // One call is owned by the node that will be cut off, one by another.
    let to_lonely = alice.call_through(&bob).await;
    let of_lonely = dave.call_through(&carol).await;
    for call in [&to_lonely, &of_lonely] {
        history.include(call);
    }

    way.cut();
    for node in 0..3 {
        let (status, loss) = expect_loss(&cluster, node, "redis").await;
        assert_eq!((status, loss["fault"] == "other_node"), (200, node != LONELY), "node {node}: {loss}");
        let up = if node == LONELY { 0.0 } else { 1.0 };
        assert_eq!(gauge(&cluster, node, "carillon_bus_up").await, up);
    }
    change(&history, &dave, &of_lonely, &[true, false]).await;
    expect_changes(&carol, &of_lonely, "dave", &[true, false]).await;
    change(&history, &alice, &to_lonely, &[true, false]).await;
    expect_changes(&bob, &to_lonely, "alice", &[true, false]).await;
    assert_refused_at_once(&history, &carol, "call:media", json!({"callId": of_lonely, "screen": true})).await;
    assert_refused_at_once(&history, &bob, "call:media", json!({"callId": to_lonely, "screen": true})).await;
    for (looker, call) in [(&carol, &of_lonely), (&bob, &to_lonely)] {
        assert_eq!(looker.get(call).await["status"], "active");
    }
    let erin = cluster.connect(2, "erin", "phone").await;
    let frank = cluster.connect(LONELY, "frank", "phone").await;
    let ring = history.start(&frank, &["erin"]).await;
    erin.expect_within(BY_DATABASE, "call:incoming", |e| call_of(e) == Some(&ring)).await;
    history.must(&frank, "call:cancel", json!({"callId": ring})).await;
    erin.expect_end_within(BY_DATABASE, &ring, "cancelled").await;
    // The other two do without nothing.
    let gina = cluster.connect(0, "gina", "phone").await;
    history.whole_call(&gina, &erin).await;

    way.mend();
    for node in 0..3 {
        expect_whole(&cluster, node, "redis").await;
    }
    for (near, far, call) in [(&alice, &bob, &to_lonely), (&dave, &carol, &of_lonely)] {
        assert_reaches(&history, near, far, call, true).await;
        assert_reaches(&history, far, near, call, true).await;
        history.must(far, "call:end", json!({"callId": call})).await;
        for side in [near, far] {
            side.expect_end(call, "completed").await;
        }
    }
    history.check(&cluster, &[&alice, &bob, &carol, &dave, &erin, &frank, &gina]).await;
    cluster.assert_no_takeovers();
}
