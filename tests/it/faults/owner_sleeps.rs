//! The node that owns a call is stopped for a while (SIGSTOP) and goes on as if nothing had been.

use std::time::Duration;

use serde_json::{Value, json};

use super::{LEASE, TAKEOVER, assert_reaches, nodes, rounds::repeat, talk};

#[tokio::test]
async fn an_owner_that_slept_past_its_lease_decides_nothing_when_it_wakes() {
    repeat(1, async |history, _| {
        let cluster = nodes(2).start().await;
        let alice = cluster.connect(0, "alice", "phone").await;
        let near = cluster.connect(0, "bob", "near").await;
        let far = cluster.connect(1, "bob", "far").await;
        let call = history.start(&alice, &["bob"]).await;
        for device in [&near, &far] {
            device.expect_of("call:incoming", &call).await;
        }
        let about = json!({"callId": call});
        cluster.node(0).freeze().await;
        // All three act: two at the sleeping owner, one at the node that will take over.
        let sleeping = async {
            let asked = async {
                tokio::join!(
                    history.once(&near, "call:accept", about.clone()),
                    history.once(&alice, "call:cancel", about.clone()),
                    alice.call("call:get", about.clone()),
                )
            };
            let wake = async {
                far.expect_within(TAKEOVER, "call:accepted", |e| e["callId"] == *call).await;
                // The lease has run out, since the call was accepted elsewhere.
                cluster.node(0).signal(libc::SIGCONT);
            };
            tokio::join!(asked, wake).0
        };
        let ((accepted, cancelled, seen), won) =
            tokio::join!(sleeping, history.persist(&far, "call:accept", about.clone()));
        won.expect("the accept at the node that lives wins");
        assert!(accepted.is_err(), "the sleeper's accept comes too late: {accepted:?}");
        assert!(cancelled.is_err(), "the sleeper's cancel comes too late: {cancelled:?}");
        if let Ok(seen) = seen {
            assert_eq!(seen["call"]["status"], "connecting", "what the sleeper remembers is not told: {seen}");
        }
        alice.expect_within(TAKEOVER, "call:accepted", |e| e["callId"] == *call && e["deviceId"] == "far").await;
        near.expect_of("call:accepted_elsewhere", &call).await;
        history.must(&far, "call:end", about.clone()).await;
        for device in [&alice, &near, &far] {
            device.expect_within(TAKEOVER, "call:ended", |e| e["callId"] == *call).await;
        }
        history.check(&cluster, &[&alice, &near, &far]).await;
    })
    .await;
}

#[tokio::test]
async fn a_talk_goes_on_after_its_owner_has_slept_past_its_lease() {
    repeat(1, async |history, _| {
        let cluster = nodes(3).start().await;
        let (alice, bob, call) = talk(&cluster, 2).await;
        history.include(&call);
        cluster.node(0).freeze().await;
        for side in [&alice, &bob] {
            side.expect_within(TAKEOVER, "call:renegotiate", |e| e["callId"] == *call).await;
        }
        cluster.node(0).signal(libc::SIGCONT);
        for screen in [true, false, true, false] {
            assert_reaches(history, &alice, &bob, &call, screen).await;
            assert_reaches(history, &bob, &alice, &call, screen).await;
        }
        let again = |e: &Value| e["callId"] == *call;
        alice.expect_none_where("call:renegotiate", LEASE, again).await;
        history.must(&alice, "call:end", json!({"callId": call})).await;
        for side in [&alice, &bob] {
            side.expect_end(&call, "completed").await;
        }
        history.check(&cluster, &[&alice, &bob]).await;
    })
    .await;
}

#[tokio::test]
async fn an_owner_that_slept_for_less_than_its_lease_is_still_the_owner() {
    repeat(1, async |history, _| {
        // What is left of a lease when the node falls asleep is at least 0.7 of it.
        let cluster = nodes(2).set("CARILLON_NODE_LEASE_SECS", 5).start().await;
        let (alice, bob, call) = talk(&cluster, 0).await;
        history.include(&call);
        cluster.node(0).freeze().await;
        let media = json!({"callId": call, "screen": true});
        let asked = history.once(&bob, "call:media", media);
        let wake = async {
            tokio::time::sleep(Duration::from_millis(1500)).await;
            cluster.node(0).signal(libc::SIGCONT);
        };
        tokio::join!(asked, wake).0.expect("it waits until the owner wakes");
        alice.expect("call:participant_updated", |e| e["callId"] == *call && e["userId"] == "bob").await;
        assert_reaches(history, &alice, &bob, &call, true).await;
        assert_reaches(history, &bob, &alice, &call, false).await;
        assert_reaches(history, &alice, &bob, &call, false).await;
        for side in [&alice, &bob] {
            side.expect_none("call:renegotiate", Duration::ZERO).await;
            side.expect_none("call:participant_reconnecting", Duration::ZERO).await;
        }
        cluster.assert_no_takeovers();
        history.must(&alice, "call:end", json!({"callId": call})).await;
        bob.expect_end(&call, "completed").await;
        history.check(&cluster, &[&alice, &bob]).await;
    })
    .await;
}
