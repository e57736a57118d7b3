//! Two people on nodes of different releases: everything that passes between them, and between a device and itself.

use std::time::Duration;

use serde_json::{Value, json};

use super::{EITHER, assert_says_as_much, assert_talk, mixed};
use crate::{
    faults::move_to,
    support::{
        TestClient, TestCluster,
        moves::{id_of, is_in, participant, sdp},
    },
};

/// A whole call: rung, answered, connected, changed, held, and ended by the callee.
async fn whole_call(caller: &TestClient, callee: &TestClient) -> String {
    let call = caller.start(&[&callee.user]).await;
    let rung = callee.expect_of("call:incoming", &call).await;
    assert_eq!(rung["from"], caller.user, "{rung}");
    callee.act("call:ringing", &call).await;
    caller.expect_of("call:ringing", &call).await;
    callee.must("call:accept", json!({"callId": call, "answer": sdp("answer")})).await;
    caller.expect_of("call:accepted", &call).await;
    caller.negotiate(callee, &call).await;
    assert_talk(caller, callee, &call).await;
    for (from, to) in [(caller, callee), (callee, caller)] {
        from.must("call:media", json!({"callId": call, "video": true})).await;
        let told = |e: &Value| e["callId"] == *call && e["userId"] == *from.user && e["changes"]["video"] == true;
        to.expect("call:participant_updated", told).await;
        from.act("call:hold", &call).await;
        to.expect_of("call:held", &call).await;
        from.act("call:resume", &call).await;
        to.expect_of("call:resumed", &call).await;
    }
    let seen = [caller.get(&call).await, callee.get(&call).await];
    for call in &seen {
        assert!(is_in(call, &caller.user) && is_in(call, &callee.user), "{call}");
    }
    callee.act("call:end", &call).await;
    for side in [caller, callee] {
        side.expect_end(&call, "completed").await;
    }
    call
}

#[tokio::test]
async fn a_whole_call_passes_between_the_releases_whoever_calls() {
    let cluster = mixed(2, [0]).start().await;
    let old = cluster.connect(0, "olga", "phone").await;
    let new = cluster.connect(1, "nina", "phone").await;
    for (caller, callee) in [(&old, &new), (&new, &old)] {
        let call = whole_call(caller, callee).await;
        // Over: each node now rebuilds it from what is stored, and says the same of it.
        let [by_old, by_new] = [old.get(&call).await, new.get(&call).await];
        assert_says_as_much(&by_new, &by_old);
        let since = json!({"callId": call, "seq": 1});
        let [by_old, by_new] = [old.must("call:sync", since.clone()).await, new.must("call:sync", since).await];
        assert!(by_old["events"].as_array().is_some_and(|events| events.len() > 5), "{by_old}");
        // Each is told what they were sent, which differs: who acts is not told of what they did alone.
        assert!(by_new["events"].as_array().is_some_and(|events| events.len() > 5), "{by_new}");
    }
    for (caller, callee) in [(&old, &new), (&new, &old)] {
        let declined = caller.start(&[&callee.user]).await;
        callee.expect_of("call:incoming", &declined).await;
        callee.must("call:decline", json!({"callId": declined, "reason": "later"})).await;
        caller.expect_of("call:declined", &declined).await;
        let cancelled = caller.start(&[&callee.user]).await;
        callee.expect_of("call:incoming", &cancelled).await;
        caller.act("call:cancel", &cancelled).await;
        for side in [caller, callee] {
            side.expect_end(&declined, "declined").await;
            side.expect_end(&cancelled, "cancelled").await;
        }
    }
}

#[tokio::test]
async fn one_device_wins_though_the_others_are_on_another_release() {
    let cluster = mixed(2, [0]).start().await;
    let caller = cluster.connect(0, "carl", "phone").await;
    let devices = [cluster.connect(0, "dora", "old").await, cluster.connect(1, "dora", "new").await];
    for winner in EITHER {
        let call = caller.start(&["dora"]).await;
        for device in &devices {
            device.expect_of("call:incoming", &call).await;
        }
        devices[winner].act("call:accept", &call).await;
        let told = devices[1 - winner].expect_of("call:accepted_elsewhere", &call).await;
        assert_eq!(told["deviceId"], devices[winner].device, "{told}");
        let late = devices[1 - winner].refused("call:accept", json!({"callId": call})).await;
        assert_eq!(late.code, "accepted_elsewhere", "{late:?}");
        caller.act("call:end", &call).await;
        for device in &devices {
            device.expect_end(&call, "completed").await;
        }
    }
}

#[tokio::test]
async fn who_call_each_other_at_once_on_two_releases_are_in_one_call() {
    let cluster = mixed(2, [0]).start().await;
    let old = cluster.connect(0, "olga", "phone").await;
    let new = cluster.connect(1, "nina", "phone").await;
    let (first, second) = tokio::join!(old.start(&["nina"]), new.start(&["olga"]));
    assert_eq!(first, second, "two calls for one pair");
    let call = old.get(&first).await;
    assert!(is_in(&call, "olga") && is_in(&call, "nina"), "{call}");
    old.act("call:end", &first).await;
    for side in [&old, &new] {
        side.expect_end(&first, "completed").await;
    }
}

#[tokio::test]
async fn a_groups_call_has_its_people_on_both_releases() {
    for previous in EITHER {
        let cluster = mixed(2, [previous]).start().await;
        // Made on node 0, and known to the other.
        cluster.group("team", &["gil", "hal", "ida"]).await;
        let host = cluster.connect(0, "gil", "phone").await;
        let hal = cluster.connect(1, "hal", "phone").await;
        let ida = cluster.connect(0, "ida", "phone").await;
        let call = id_of(&host.start_group("team", true).await);
        for guest in [&hal, &ida] {
            guest.expect_of("call:incoming", &call).await;
        }
        hal.act("call:accept", &call).await;
        host.expect_of("call:accepted", &call).await;
        ida.act("call:decline", &call).await;
        host.expect_of("call:declined", &call).await;
        // Whoever starts one more is in this one.
        assert_eq!(id_of(&ida.start_group("team", false).await), call);
        for other in [&host, &hal] {
            other.expect("call:participant_joined", |e| e["callId"] == *call && e["userId"] == "ida").await;
        }
        hal.must("call:raise_hand", json!({"callId": call, "raised": true})).await;
        host.expect_of("call:hand_raised", &call).await;
        host.must("call:role", json!({"callId": call, "userId": "hal", "role": "cohost"})).await;
        ida.must("call:media", json!({"callId": call, "audio": true})).await;
        hal.must("call:mute", json!({"callId": call, "userId": "ida", "track": "audio"})).await;
        ida.expect_of("call:mute_requested", &call).await;
        hal.must("call:kick", json!({"callId": call, "userId": "ida"})).await;
        ida.expect_of("call:kicked", &call).await;
        assert_eq!(participant(&host.get(&call).await, "ida")["status"], "kicked");
        host.act("call:leave", &call).await;
        hal.expect("call:participant_left", |e| e["callId"] == *call && e["userId"] == "gil").await;
        hal.act("call:end", &call).await;
        hal.expect_end(&call, "completed").await;
    }
}

/// One of a talk loses the socket at a node and comes back at the other, with what happened meanwhile; and back again.
async fn moves_over_and_back(cluster: &TestCluster, owner: usize) {
    let stays = cluster.connect(owner, "stella", "phone").await;
    let mut moves = cluster.connect(owner, "milo", "phone").await;
    let call = stays.call_through(&moves).await;
    for (turn, to) in [1 - owner, owner, 1 - owner].into_iter().enumerate() {
        moves.drop_connection().await;
        stays.expect_of("call:participant_reconnecting", &call).await;
        let video = turn % 2 == 0;
        stays.must("call:media", json!({"callId": call, "video": video})).await;
        let sent = crate::support::moves::candidate(90 + turn as u64);
        stays.signal(&call, "milo", "ice_candidate", sent.clone()).await;
        moves = moves.resume(cluster.node(to)).await;
        assert_eq!(moves.welcome["activeCalls"][0]["callId"], *call, "{}", moves.welcome);
        let missed = |e: &Value| e["callId"] == *call && e["userId"] == "stella" && e["changes"]["video"] == video;
        moves.expect("call:participant_updated", missed).await;
        moves.expect("call:signal", |s| s["callId"] == *call && s["payload"] == sent).await;
        let back = |e: &Value| e["callId"] == *call && e["userId"] == "milo" && e["changes"]["deviceId"].is_string();
        stays.expect("call:participant_updated", back).await;
        assert_talk(&stays, &moves, &call).await;
    }
    let moves = move_to(cluster, owner, moves, &stays, &call).await;
    moves.act("call:end", &call).await;
    for side in [&stays, &moves] {
        side.expect_end(&call, "completed").await;
        let renegotiated = side.history().iter().any(|r| r.event == "call:renegotiate");
        assert!(!renegotiated, "the owner has not changed");
    }
}

#[tokio::test]
async fn a_device_resumes_on_the_other_release_with_all_it_missed_and_goes_back() {
    for previous in EITHER {
        let cluster = mixed(2, [previous]).start().await;
        moves_over_and_back(&cluster, 0).await;
        cluster.assert_no_takeovers();
    }
}

#[tokio::test]
async fn a_ring_that_nobody_answers_ends_for_both_releases_alike() {
    let cluster = mixed(2, [0]).set("CARILLON_RING_TIMEOUT_SECS", 2).start().await;
    let old = cluster.connect(0, "olga", "phone").await;
    let new = cluster.connect(1, "nina", "phone").await;
    for (caller, callee) in [(&old, &new), (&new, &old)] {
        let call = caller.start(&[&callee.user]).await;
        callee.expect_of("call:incoming", &call).await;
        let patience = Duration::from_secs(15);
        for side in [caller, callee] {
            side.expect_within(patience, "call:missed", |e| e["callId"] == *call).await;
            side.expect_end(&call, "no_answer").await;
        }
    }
}
