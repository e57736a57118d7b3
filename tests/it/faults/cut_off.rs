//! One node is cut off from PostgreSQL alone, or from Redis alone, while everybody else reaches both.

use std::time::{Duration, Instant};

use rand::RngExt;
use serde_json::{Value, json};

use super::{
    LEASE, TAKEOVER, assert_reaches,
    checker::{History, PERSIST},
    nodes,
    roamer::{Balancer, Roamer, whole_call},
    rounds::{Round, repeat},
    talk,
};
use crate::support::{TestCluster, process::POLL, proxy::Mode};

/// How long after it is mended a node takes calls again: a new connection to the database, and an entry in it.
const MENDED: Duration = Duration::from_secs(20);

async fn until_ready(cluster: &TestCluster, number: usize) {
    let began = Instant::now();
    while cluster.http(number).status("/readyz").await != Some(200) {
        assert!(began.elapsed() < MENDED, "node {number} is not ready again\n{}", cluster.node(number).log_tail());
        tokio::time::sleep(POLL).await;
    }
}

/// alice is on the owner, which loses PostgreSQL for longer than its lease; bob is elsewhere. Both have a call in the
/// end as if nothing had been.
async fn the_owner_loses_postgresql(history: &History, round: Round, how: Mode) {
    let cluster = nodes(3).linked(0, round.seed).set("CARILLON_RECONNECT_GRACE_SECS", 15).start().await;
    let balancer = Balancer::of(&cluster);
    let (alice, bob, call) = talk(&cluster, 0).await;
    history.include(&call);
    let alice = Roamer::of(&balancer, 0, alice);
    let link = &cluster.links(0).database;
    link.set(how);
    let media = |screen: bool| json!({"callId": call, "screen": screen});
    // Whoever asks elsewhere finds another owner as soon as the lease has run out.
    history.must(&bob, "call:media", media(true)).await;
    let taken = bob.expect_within(TAKEOVER, "call:renegotiate", |e| e["callId"] == *call).await;
    assert!(taken.data["epoch"].as_u64() > Some(1), "{}", taken.data);
    // Who was on the node that is cut off goes on too: there or elsewhere.
    alice.must(history, "call:media", media(true)).await;
    let of_alice = |e: &Value| e["callId"] == *call && e["userId"] == "alice";
    let told = |e: &Value| of_alice(e) && e["changes"]["screen"] == true;
    bob.expect_within(TAKEOVER, "call:participant_updated", told).await;
    bob.expect_none_where("call:participant_left", LEASE, of_alice).await;
    println!("alice has moved {} times", alice.moves(0));

    link.mend();
    until_ready(&cluster, 0).await;
    // It owns nothing of before, and is a node like the others.
    for screen in [false, true] {
        alice.must(history, "call:media", media(screen)).await;
        history.must(&bob, "call:media", media(screen)).await;
    }
    let carol = Roamer::connect(&balancer, 0, "carol").await;
    let dave = Roamer::connect(&balancer, 1, "dave").await;
    whole_call(history, &carol, &dave).await;
    whole_call(history, &dave, &carol).await;
    alice.must(history, "call:end", json!({"callId": call})).await;
    bob.expect_end_within(PERSIST, &call, "completed").await;
    alice.hears("the end", |client| client.order().has_ended(&call)).await;
    history.check(&cluster, &[&alice.client(), &bob, &carol.client(), &dave.client()]).await;
}

#[tokio::test]
async fn an_owner_that_hears_nothing_of_postgresql_past_its_lease_is_replaced_and_its_clients_go_on() {
    repeat(1, async |history, round| the_owner_loses_postgresql(history, round, Mode::Stall).await).await;
}

#[tokio::test]
async fn an_owner_whose_connections_to_postgresql_are_reset_past_its_lease_is_replaced_and_its_clients_go_on() {
    repeat(1, async |history, round| the_owner_loses_postgresql(history, round, Mode::Reset).await).await;
}

/// bob's node, which owns nothing of his call, loses PostgreSQL for longer than its lease.
#[tokio::test]
async fn who_is_on_a_node_that_loses_postgresql_for_a_while_stays_in_the_call_of_another_node() {
    repeat(1, async |history, round| {
        let cluster = nodes(2).linked(1, round.seed).set("CARILLON_RECONNECT_GRACE_SECS", 8).start().await;
        let balancer = Balancer::of(&cluster);
        let (alice, bob, call) = talk(&cluster, 0).await;
        history.include(&call);
        let bob = Roamer::of(&balancer, 1, bob);
        let link = &cluster.links(1).database;
        link.set(Mode::Refuse);
        // Long enough to lose the lease, and well before the node would send bob elsewhere.
        tokio::time::sleep(LEASE * 3 / 2).await;
        link.mend();
        until_ready(&cluster, 1).await;
        // Also when nobody does anything: longer than the grace.
        let of_bob = |e: &Value| e["callId"] == *call && e["userId"] == "bob";
        alice.expect_none_where("call:participant_left", Duration::from_secs(10), of_bob).await;
        for screen in [true, false] {
            bob.must(history, "call:media", json!({"callId": call, "screen": screen})).await;
            history.must(&alice, "call:media", json!({"callId": call, "screen": screen})).await;
        }
        cluster.assert_no_takeovers();
        bob.must(history, "call:end", json!({"callId": call})).await;
        alice.expect_end_within(PERSIST, &call, "completed").await;
        bob.hears("the end", |client| client.order().has_ended(&call)).await;
        history.check(&cluster, &[&alice, &bob.client()]).await;
    })
    .await;
}

/// The same for good: bob's device is sent to another node before he is taken to have left.
#[tokio::test]
async fn who_is_on_a_node_that_does_not_get_postgresql_back_goes_on_at_another() {
    repeat(1, async |history, round| {
        let cluster = nodes(2).linked(1, round.seed).set("CARILLON_RECONNECT_GRACE_SECS", 15).start().await;
        let balancer = Balancer::of(&cluster);
        let (alice, bob, call) = talk(&cluster, 0).await;
        history.include(&call);
        let bob = Roamer::of(&balancer, 1, bob);
        cluster.links(1).database.set(Mode::Stall);
        bob.hears("that he is to go elsewhere", |client| client.is_closed().is_none() && bob.moves(1) > 0).await;
        for screen in [true, false] {
            bob.must(history, "call:media", json!({"callId": call, "screen": screen})).await;
            history.must(&alice, "call:media", json!({"callId": call, "screen": screen})).await;
        }
        let of_bob = |e: &Value| e["callId"] == *call && e["userId"] == "bob";
        alice.expect_none_where("call:participant_left", Duration::ZERO, of_bob).await;
        history.must(&alice, "call:end", json!({"callId": call})).await;
        alice.expect_end_within(PERSIST, &call, "completed").await;
        bob.hears("the end", |client| client.order().has_ended(&call)).await;
        history.check(&cluster, &[&alice, &bob.client()]).await;
    })
    .await;
}

/// The owner loses Redis for a while. Its lease is good all along: nobody takes over.
async fn the_owner_loses_redis(history: &History, round: Round, how: fn(bool) -> Mode) {
    let cluster = nodes(2).linked(0, round.seed).start().await;
    let (alice, bob, call) = talk(&cluster, 0).await;
    history.include(&call);
    let mut random = round.random();
    for _ in 0..2 {
        cluster.links(0).redis.set(how(random.random()));
        let changes: Vec<bool> = (0..4).map(|number| number % 2 == 0).collect();
        for video in &changes {
            // The owner and its database are at hand.
            history.must(&alice, "call:media", json!({"callId": call, "video": video})).await;
        }
        // From elsewhere it can be asked, or not: then the refusal says that it may be tried again, and it works later.
        let asked = async {
            history.must(&bob, "call:media", json!({"callId": call, "screen": true})).await;
        };
        let mending = async {
            tokio::time::sleep(Duration::from_millis(random.random_range(3000..6000))).await;
            cluster.links(0).redis.mend();
        };
        tokio::join!(asked, mending);
        let of_alice = |e: &Value| e["callId"] == *call && e["userId"] == "alice" && e["changes"]["video"].is_boolean();
        for video in &changes {
            let told = bob.expect_within(PERSIST, "call:participant_updated", of_alice).await;
            assert_eq!(told.data["changes"]["video"], *video, "in order: {}", told.data);
        }
        assert_reaches(history, &alice, &bob, &call, true).await;
        history.must(&alice, "call:media", json!({"callId": call, "screen": false, "video": false})).await;
        history.must(&bob, "call:media", json!({"callId": call, "screen": false})).await;
        alice.expect_within(PERSIST, "call:participant_updated", |e| e["changes"]["screen"] == false).await;
        bob.expect_within(PERSIST, "call:participant_updated", of_alice).await;
        alice.discard_pending();
    }
    cluster.assert_no_takeovers();
    history.must(&bob, "call:end", json!({"callId": call})).await;
    for side in [&alice, &bob] {
        side.expect_end_within(PERSIST, &call, "completed").await;
    }
    history.check(&cluster, &[&alice, &bob]).await;
}

#[tokio::test]
async fn an_owner_that_hears_nothing_of_redis_for_a_while_loses_nobody_an_event() {
    repeat(1, async |history, round| the_owner_loses_redis(history, round, |_| Mode::Stall).await).await;
}

#[tokio::test]
async fn an_owner_whose_connections_to_redis_are_reset_or_refused_for_a_while_loses_nobody_an_event() {
    repeat(1, async |history, round| {
        the_owner_loses_redis(history, round, |refused| if refused { Mode::Refuse } else { Mode::Reset }).await
    })
    .await;
}
