//! Many nodes begin at once on a database with nothing in it.

use super::{
    nodes,
    roamer::{Balancer, Roamer, whole_call},
    rounds::repeat,
};

/// As many as a rollout that someone scales up in a hurry.
const NODES: usize = 10;

#[tokio::test]
async fn ten_nodes_that_boot_at_once_on_an_empty_database_all_take_calls() {
    repeat(1, async |history, _| {
        // Few connections each: PostgreSQL has some for all tests together. Started means ready.
        let cluster = nodes(NODES).set("CARILLON_DB_CONNECTIONS", 2).set("CARILLON_WORKERS", 1).start().await;
        let balancer = Balancer::of(&cluster);
        let mut roamers = Vec::new();
        for number in 0..NODES {
            roamers.push(Roamer::connect(&balancer, number, &format!("user-{number}")).await);
        }
        // Each calls the next: every node owns a call and takes part in another's.
        for number in 0..NODES {
            whole_call(history, &roamers[number], &roamers[(number + 1) % NODES]).await;
        }
        let applied = cluster.database().expect("a database").sql("SELECT version FROM __diesel_schema_migrations");
        let mut versions: Vec<_> = applied.into_iter().flatten().flatten().collect();
        let all = versions.len();
        versions.sort();
        versions.dedup();
        assert!(all > 0 && versions.len() == all, "each migration is applied once: {versions:?}");
        cluster.assert_no_takeovers();
        let clients: Vec<_> = roamers.iter().map(Roamer::client).collect();
        history.check(&cluster, &clients.iter().map(AsRef::as_ref).collect::<Vec<_>>()).await;
    })
    .await;
}
