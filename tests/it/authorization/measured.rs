//! How long it takes to be told that there is no such call: of one that is not there, and of one that is none of the
//! asker's business. Not part of the suite:
//! `cargo test --release --test it -- --ignored --nocapture time_of_what_one_may_not_see`.

use std::time::{Duration, Instant};

use rand::seq::SliceRandom;

use super::unseen::{Scene, asked_by_rest, asked_by_socket};
use crate::support::Connect;

/// Enough for a 99th percentile that is not the worst one.
const TIMES: usize = 300;

fn at(sorted: &[Duration], part: usize) -> f64 {
    sorted[(sorted.len() - 1) * part / 100].as_secs_f64() * 1000.0
}

/// Asks for all in a new order each round, so that whatever else the machine does meets all alike.
async fn compare(what: &str, targets: &[(&str, String)], mut ask: impl AsyncFnMut(&str)) {
    let mut took: Vec<Vec<Duration>> = vec![Vec::with_capacity(TIMES); targets.len()];
    for round in 0..TIMES + 20 {
        let mut order: Vec<usize> = (0..targets.len()).collect();
        order.shuffle(&mut rand::rng());
        for nth in order {
            let began = Instant::now();
            ask(&targets[nth].1).await;
            // The first rounds open connections.
            if round >= 20 {
                took[nth].push(began.elapsed());
            }
        }
    }
    took.iter_mut().for_each(|took| took.sort());
    let absent = (at(&took[0], 50), at(&took[0], 99));
    for ((target, _), took) in targets.iter().zip(&took) {
        let (p50, p99) = (at(took, 50), at(took, 99));
        println!(
            "{what:<44} {target:<22} p50 {p50:>7.3} ms ({:>5.3})   p90 {:>7.3} ms   p99 {p99:>7.3} ms ({:>5.3})",
            p50 / absent.0,
            at(took, 90),
            p99 / absent.1
        );
    }
}

#[tokio::test]
#[ignore = "a measurement"]
async fn time_of_what_one_may_not_see() {
    let scene = Scene::begin().await;
    // Two of what is not there: between these the difference is noise.
    let mut targets = vec![("not there", "none".to_owned()), ("not there, again", "nothing".to_owned())];
    targets.extend(scene.forbidden.iter().cloned());
    for node in [0, 1] {
        let hank = scene.cluster.rest(node, "hank");
        for (method, path, body) in asked_by_rest().into_iter().filter(|(method, ..)| *method == "GET") {
            let ask = async |call: &str| {
                let answer = hank.request(method, &path.replace("{}", call), body.clone()).await;
                assert_eq!(answer.status, 404);
            };
            compare(&format!("node {node}: {method} {path}"), &targets, ask).await;
        }
        let session = Connect::to(scene.cluster.node(node), "hank", "phone").go().await.unwrap();
        for nth in [0, 2, 3] {
            let ask = async |call: &str| {
                let (command, data) = asked_by_socket(call).swap_remove(nth);
                session.refused(command, data).await;
            };
            compare(&format!("node {node}: {}", asked_by_socket("")[nth].0), &targets, ask).await;
        }
        let groups = [("not there", "none"), ("not there, again", "nothing"), ("others'", "team")];
        let groups = groups.map(|(what, group)| (what, group.to_owned()));
        let ask = async |group: &str| {
            let answer = hank.request("GET", &format!("/api/v1/calls?groupId={group}"), None).await;
            assert_eq!(answer.status, 404);
        };
        compare(&format!("node {node}: GET /api/v1/calls?groupId="), &groups, ask).await;
    }
}
