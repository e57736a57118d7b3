//! Calls between people on two nodes, on real PostgreSQL and Redis: the same scenarios, and the races in numbers.
//!
//! `CARILLON_TEST_ROUNDS` multiplies the rounds, for a longer hunt.

use std::collections::BTreeSet;

use futures_util::future::join;

use crate::{
    scenarios::{
        On,
        answering::{double_accept, glare},
        core_suite,
    },
    support::{
        TestClient, TestCluster,
        client::call_of,
        moves::{id_of, is_in},
    },
};

core_suite!(On::TwoNodes);

/// So many rounds, times `CARILLON_TEST_ROUNDS`.
fn rounds(usual: usize) -> usize {
    let times = std::env::var("CARILLON_TEST_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    usual * std::cmp::max(1usize, times)
}

fn calls_heard_of(client: &TestClient) -> BTreeSet<String> {
    client.history().iter().filter_map(|e| call_of(&e.data)).map(str::to_owned).collect()
}

#[tokio::test]
async fn of_two_hundred_simultaneous_double_accepts_each_has_exactly_one_winner() {
    let cluster = TestCluster::two_nodes().start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let devices = [cluster.connect(0, "bob", "phone").await, cluster.connect(1, "bob", "laptop").await];
    let mut wins = [0; 2];
    for _ in 0..rounds(200) {
        wins[double_accept(&alice, &devices).await] += 1;
    }
    println!("wins by node: {wins:?}");
    assert_eq!(calls_heard_of(&alice).len(), rounds(200));
}

#[tokio::test]
async fn a_hundred_pairs_who_call_each_other_from_two_nodes_at_once_are_in_one_call_each() {
    let cluster = TestCluster::two_nodes().start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    for _ in 0..rounds(100) {
        glare(&alice, &bob).await;
    }
    assert_eq!(calls_heard_of(&alice), calls_heard_of(&bob));
    assert_eq!(calls_heard_of(&alice).len(), rounds(100), "one call each");
}

#[tokio::test]
async fn two_members_who_open_a_group_call_on_two_nodes_at_once_are_in_one_call_a_hundred_times() {
    let cluster = TestCluster::two_nodes().start().await;
    cluster.group("team", &["alice", "bob", "carol"]).await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let bob = cluster.connect(1, "bob", "phone").await;
    let carol = cluster.connect(1, "carol", "phone").await;
    let mut calls = BTreeSet::new();
    for round in 0..rounds(100) {
        let ring = round % 2 == 0;
        let (to_alice, to_bob) = join(alice.start_group("team", ring), bob.start_group("team", ring)).await;
        let call = id_of(&to_alice);
        assert_eq!(id_of(&to_bob), call, "at most one open call per group");
        let seen = alice.get(&call).await;
        for user in ["alice", "bob"] {
            assert!(is_in(&seen, user), "{user} is in: {seen}");
        }
        let host = if seen["initiatorId"] == "alice" { &alice } else { &bob };
        host.act("call:end", &call).await;
        for member in [&alice, &bob, &carol] {
            member.expect_of("call:ended", &call).await;
        }
        assert!(calls.insert(call), "a new call every round");
    }
    assert_eq!(calls_heard_of(&carol), calls, "the third member hears of one call a round");
}

#[tokio::test]
async fn wherever_the_winner_sits_the_device_on_the_other_node_hears_that_it_lost() {
    // The owner is node 0: the winner sits beside it and the loser on the other node, then the other way round.
    let cluster = TestCluster::two_nodes().start().await;
    let alice = cluster.connect(0, "alice", "phone").await;
    let near = cluster.connect(0, "bob", "near").await;
    let far = cluster.connect(1, "bob", "far").await;
    for (winner, loser) in [(&near, &far), (&far, &near)] {
        let call = alice.start(&["bob"]).await;
        join(near.expect_of("call:incoming", &call), far.expect_of("call:incoming", &call)).await;
        winner.act("call:accept", &call).await;
        loser.expect_of("call:accepted_elsewhere", &call).await;
        alice.act("call:end", &call).await;
        winner.expect_of("call:ended", &call).await;
    }
}
