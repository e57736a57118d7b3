//! The owner dies at each step between deciding a command and answering it: whatever was committed is true and told,
//! whatever was not can be asked for again. Needs the feature `failpoints`.

#![cfg(feature = "failpoints")]

use std::time::Duration;

use serde_json::{Value, json};

use super::{TAKEOVER, checker::PERSIST, nodes, rounds::repeat};
use crate::support::{
    TestClient, TestCluster,
    client::call_of,
    moves::{id_of, participant},
};

/// How long the node may take to reach its fail point.
const DYING: Duration = Duration::from_secs(10);

/// A cluster whose node 0 dies at this fail point when it has been passed so many times, with bob on node 1.
async fn mortal(cluster: &mut Option<TestCluster>, point: &str, passes: u32) {
    let death = format!("{point}:{passes}");
    match cluster {
        None => *cluster = Some(nodes(2).set_on(0, "FAILPOINT_DEATH", death).start().await),
        Some(cluster) => {
            cluster.set_on(0, "FAILPOINT_DEATH", death);
            cluster.replace(0).await;
        }
    }
}

/// alice, whose node has died, at the other one.
async fn after_death(cluster: &mut TestCluster, alice: TestClient) -> TestClient {
    cluster.node_mut(0).expect_death(DYING).await;
    alice.resume(cluster.node(1)).await
}

fn of_call(call: &str) -> impl Fn(&Value) -> bool + '_ {
    move |data| call_of(data) == Some(call)
}

#[tokio::test]
async fn a_start_whose_node_dies_is_there_once_or_not_at_all_and_rings_if_it_is_there() {
    repeat(1, async |history, _| {
        // And whether the call is committed by then.
        const PLACES: [(&str, bool); 6] = [
            ("store-before-commit", false),
            ("store-after-commit", true),
            ("start-after-commit", true),
            ("start-before-publish", true),
            ("start-after-publish", true),
            ("start-before-reply", true),
        ];
        let (mut cluster, mut clients) = (None, Vec::new());
        for (point, committed) in PLACES {
            mortal(&mut cluster, point, 0).await;
            let cluster = cluster.as_mut().expect("a cluster");
            // Other users each time: nobody is busy with what another round has left.
            let bob = cluster.connect(1, &format!("bob-{point}"), "phone").await;
            let alice = cluster.connect(0, &format!("alice-{point}"), "phone").await;
            let call = format!("c-{:032x}", rand::random::<u128>());
            history.include(&call);
            let start = json!({"callId": call, "calleeIds": [bob.user], "type": "video"});
            let lost = history.once(&alice, "call:start", start.clone()).await;
            assert_eq!(lost.expect_err("nobody is left to answer").code, "closed", "{point}");
            if committed {
                // Without anybody asking for it again.
                bob.expect_within(TAKEOVER, "call:incoming", of_call(&call)).await;
            }
            let alice = after_death(cluster, alice).await;
            assert_eq!(id_of(&history.must(&alice, "call:start", start).await), call, "{point}");
            if !committed {
                bob.expect_within(PERSIST, "call:incoming", of_call(&call)).await;
            }
            history.must(&bob, "call:accept", json!({"callId": call})).await;
            alice.expect_within(TAKEOVER, "call:accepted", of_call(&call)).await;
            history.must(&alice, "call:end", json!({"callId": call})).await;
            for side in [&alice, &bob] {
                side.expect_end_within(TAKEOVER, &call, "completed").await;
            }
            clients.extend([alice, bob]);
        }
        history.check(cluster.as_ref().expect("a cluster"), &clients.iter().collect::<Vec<_>>()).await;
    })
    .await;
}

/// The steps of a command to a call that is there.
const STEPS: [&str; 6] = [
    "store-before-commit",
    "store-after-commit",
    "call-before-publish",
    "call-after-publish",
    "call-after-reply",
    "answer-before-send",
];

/// How often each step has been passed before the command: the start commits too, and is published in another way.
fn passed_before(point: &str, commands: u32) -> u32 {
    if point.starts_with("store-") { commands + 1 } else { commands }
}

#[tokio::test]
async fn an_accept_whose_owner_dies_is_settled_once_and_told_to_both() {
    repeat(1, async |history, _| {
        let (mut cluster, mut clients) = (None, Vec::new());
        for point in STEPS {
            mortal(&mut cluster, point, passed_before(point, 0)).await;
            let cluster = cluster.as_mut().expect("a cluster");
            let bob = cluster.connect(1, &format!("bob-{point}"), "phone").await;
            let alice = cluster.connect(0, &format!("alice-{point}"), "phone").await;
            let call = history.start(&alice, &[&bob.user]).await;
            bob.expect_of("call:incoming", &call).await;
            let accepted = async {
                history.must(&bob, "call:accept", json!({"callId": call})).await;
            };
            let (alice, ()) = tokio::join!(after_death(cluster, alice), accepted);
            let seen = history.must(&alice, "call:get", json!({"callId": call})).await["call"].clone();
            assert_eq!(participant(&seen, &bob.user)["deviceId"], "phone", "{point}");
            alice.negotiate(&bob, &call).await;
            history.must(&alice, "call:end", json!({"callId": call})).await;
            for side in [&alice, &bob] {
                side.expect_end_within(TAKEOVER, &call, "completed").await;
            }
            clients.extend([alice, bob]);
        }
        history.check(cluster.as_ref().expect("a cluster"), &clients.iter().collect::<Vec<_>>()).await;
    })
    .await;
}

#[tokio::test]
async fn an_end_whose_owner_dies_is_the_end_and_told_to_both() {
    repeat(1, async |history, _| {
        let (mut cluster, mut clients) = (None, Vec::new());
        for point in STEPS {
            mortal(&mut cluster, point, passed_before(point, 1)).await;
            let cluster = cluster.as_mut().expect("a cluster");
            let bob = cluster.connect(1, &format!("bob-{point}"), "phone").await;
            let alice = cluster.connect(0, &format!("alice-{point}"), "phone").await;
            let call = history.start(&alice, &[&bob.user]).await;
            bob.expect_of("call:incoming", &call).await;
            history.must(&bob, "call:accept", json!({"callId": call})).await;
            alice.expect_of("call:accepted", &call).await;
            let ended = async {
                history.must(&bob, "call:end", json!({"callId": call})).await;
            };
            let (alice, ()) = tokio::join!(after_death(cluster, alice), ended);
            for side in [&alice, &bob] {
                side.expect_end_within(TAKEOVER, &call, "completed").await;
            }
            clients.extend([alice, bob]);
        }
        history.check(cluster.as_ref().expect("a cluster"), &clients.iter().collect::<Vec<_>>()).await;
    })
    .await;
}
