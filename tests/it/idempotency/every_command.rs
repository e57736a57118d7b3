//! Every command, carried out once and repeated everywhere.

use serde_json::{Value, json};

use super::{Everywhere, Said};
use crate::{
    scenarios::On,
    support::{
        TestCluster,
        moves::{id_of, participant, sdp},
    },
};

fn about(call: &str) -> Value {
    json!({"callId": call})
}

fn done(said: Said) -> Value {
    said.unwrap_or_else(|code| panic!("refused: {code}"))
}

async fn pair(cluster: &TestCluster) -> (Everywhere, Everywhere) {
    (Everywhere::of(cluster, "alice", 0).await, Everywhere::of(cluster, "bob", 1).await)
}

async fn a_call_from_start_to_end(on: On) {
    let cluster = on.cluster().start().await;
    let (alice, bob) = pair(&cluster).await;
    // There to be rung: else the call soon hears that nobody is.
    let _carol = cluster.connect(0, "carol", "phone").await;
    let started = done(alice.once("call:start", json!({"calleeIds": ["bob"], "type": "video"})).await);
    let call = id_of(&started);
    bob.near.expect_of("call:incoming", &call).await;
    done(bob.once("call:ringing", about(&call)).await);
    let accepted = done(bob.once("call:accept", json!({"callId": call, "answer": sdp("answer")})).await);
    assert_eq!(participant(&accepted["call"], "bob")["deviceId"], "phone", "{accepted}");
    done(alice.once("call:media", json!({"callId": call, "audio": true})).await);
    done(bob.once("call:token", about(&call)).await);
    let invited = done(alice.once("call:invite", json!({"callId": call, "userIds": ["carol"]})).await);
    assert_eq!(participant(&invited["call"], "carol")["status"], "invited", "{invited}");
    done(bob.once("call:leave", about(&call)).await);
    done(alice.once("call:end", json!({"callId": call, "reason": "completed"})).await);
    let accepts = alice.near.history_of(&call).iter().filter(|e| e.event == "call:accepted").count();
    assert_eq!(accepts, 1);
    // The first answer, also after all that has happened since.
    let late = done(bob.once("call:join", about(&call)).await.map_or_else(|code| Ok(json!(code)), Ok));
    assert_eq!(late, "already_ended");
}

async fn calls_that_are_not_taken(on: On) {
    let cluster = on.cluster().start().await;
    let (alice, bob) = pair(&cluster).await;
    for (who, command, reason) in
        [(&bob, "call:decline", "declined"), (&bob, "call:busy", "busy"), (&alice, "call:cancel", "cancelled")]
    {
        let call = alice.near.start(&["bob"]).await;
        bob.near.expect_of("call:incoming", &call).await;
        done(who.once(command, about(&call)).await);
        for side in [&alice, &bob] {
            side.near.expect_end(&call, reason).await;
        }
    }
}

async fn a_group_call(on: On) {
    let cluster = on.cluster().start().await;
    cluster.group("team", &["alice", "bob"]).await;
    let (alice, bob) = pair(&cluster).await;
    let call = id_of(&done(alice.once("call:start", json!({"groupId": "team", "ring": false})).await));
    let joined = done(bob.once("call:join", about(&call)).await);
    assert_eq!(participant(&joined["call"], "bob")["deviceId"], "phone", "{joined}");
    done(bob.once("call:leave", about(&call)).await);
    // Another key is another command: bob comes back with it.
    let back = done(bob.once("call:join", about(&call)).await);
    assert!(back["call"]["seq"].as_u64() > joined["call"]["seq"].as_u64(), "{back}");
    done(alice.once("call:end", about(&call)).await);
}

async fn what_a_host_does(on: On) {
    let cluster = on.cluster().start().await;
    cluster.group("team", &["alice", "bob", "carol"]).await;
    let (alice, bob) = pair(&cluster).await;
    let carol = Everywhere::of(&cluster, "carol", 0).await;
    let call = id_of(&done(alice.once("call:start", json!({"groupId": "team", "ring": false})).await));
    done(bob.once("call:join", about(&call)).await);
    done(bob.once("call:media", json!({"callId": call, "audio": true})).await);
    done(alice.once("call:mute", json!({"callId": call, "track": "audio"})).await);
    done(alice.once("call:lock", json!({"callId": call, "locked": false, "lobby": true})).await);
    for command in ["call:deny", "call:admit"] {
        assert_eq!(done(carol.once("call:join", about(&call)).await), json!({"lobby": true}));
        done(alice.once(command, json!({"callId": call, "userId": "carol"})).await);
    }
    done(alice.once("call:role", json!({"callId": call, "userId": "bob", "role": "cohost"})).await);
    done(carol.once("call:raise_hand", json!({"callId": call, "raised": true})).await);
    done(carol.once("call:hold", about(&call)).await);
    done(carol.once("call:resume", about(&call)).await);
    done(bob.once("call:kick", json!({"callId": call, "userId": "carol"})).await);
    let asked = bob.near.history_of(&call).iter().filter(|e| e.event == "call:mute_requested").count();
    assert_eq!(asked, 1);
    done(alice.once("call:end", about(&call)).await);
}

async fn a_transfer(on: On) {
    let cluster = on.cluster().start().await;
    let (alice, bob) = pair(&cluster).await;
    let carol = cluster.connect(0, "carol", "phone").await;
    let call = alice.near.call_through(&bob.near).await;
    let asked = done(bob.once("call:transfer", json!({"callId": call, "toUserId": "carol"})).await);
    assert_eq!(participant(&asked["call"], "carol")["status"], "invited", "{asked}");
    carol.expect_of("call:incoming", &call).await;
    carol.act("call:accept", &call).await;
    alice.near.expect_of("call:transferred", &call).await;
}

/// The first try by REST, its repetitions by sockets too.
async fn a_call_begun_by_rest(on: On) {
    let cluster = on.cluster().start().await;
    let (alice, bob) = pair(&cluster).await;
    // There to be rung: else the call soon hears that nobody is.
    let _carol = cluster.connect(0, "carol", "phone").await;
    let call = id_of(&done(alice.once_by_rest("call:start", json!({"calleeIds": ["bob"]})).await));
    bob.near.expect_of("call:incoming", &call).await;
    let accepted = done(bob.once_by_rest("call:accept", about(&call)).await);
    assert_eq!(participant(&accepted["call"], "bob")["deviceId"], "phone", "{accepted}");
    done(alice.once_by_rest("call:media", json!({"callId": call, "video": true})).await);
    done(alice.once_by_rest("call:invite", json!({"callId": call, "userIds": ["carol"]})).await);
    done(bob.once_by_rest("call:leave", about(&call)).await);
    done(alice.once_by_rest("call:end", about(&call)).await);
}

/// A signal is remembered by the call's owner alone, and relayed once.
async fn a_signal(on: On) {
    let cluster = on.cluster().start().await;
    let (alice, bob) = pair(&cluster).await;
    let call = alice.near.call_through(&bob.near).await;
    let signal = json!({"callId": call, "to": "bob", "type": "ice_candidate", "payload": {"candidate": "c"}});
    let mut other = signal.clone();
    other["payload"] = json!({"candidate": "d"});
    for _ in 0..2 {
        for (way, again) in alice.repeat("call:signal", "the-signal", &signal).await.into_iter().enumerate() {
            assert_eq!(again, Ok(json!({})), "by way {way}");
        }
    }
    assert_eq!(alice.repeat("call:signal", "the-signal", &other).await[0], Err("conflict".to_owned()));
    // What is sent after it comes after it: no repetition is on its way any more.
    alice.near.must("call:signal", other).await;
    bob.near.expect("call:signal", |s| s["payload"]["candidate"] == "d").await;
    let relayed = bob.near.history_of(&call).into_iter().filter(|e| e.data["payload"]["candidate"] == "c").count();
    assert_eq!(relayed, 1);
    alice.near.act("call:end", &call).await;
}

/// The start of one of two who call each other becomes an accept in the other's call; that is its first answer.
async fn a_start_that_becomes_another_call(on: On) {
    let cluster = on.cluster().start().await;
    let (alice, bob) = pair(&cluster).await;
    let call = alice.near.start(&["bob"]).await;
    bob.near.expect_of("call:incoming", &call).await;
    let merged = done(bob.once("call:start", json!({"calleeIds": ["alice"]})).await);
    assert_eq!(id_of(&merged), call, "{merged}");
    alice.near.expect_of("call:accepted", &call).await;
    alice.near.act("call:end", &call).await;
    bob.near.expect_end(&call, "completed").await;
}

async fn keys_belong_to_their_user(on: On) {
    let cluster = on.cluster().start().await;
    let (alice, bob) = pair(&cluster).await;
    let start = |callee: &str| json!({"calleeIds": [callee], "type": "audio"});
    let mine = super::by_socket(&alice.near, "call:start", "same-key", &start("carol")).await;
    let theirs = super::by_socket(&bob.near, "call:start", "same-key", &start("dave")).await;
    assert_ne!(id_of(&done(mine)), id_of(&done(theirs)));
}

macro_rules! everywhere {
    ($($name:ident as $test:ident;)*) => {
        mod on_one_node { $(#[tokio::test] async fn $test() { super::$name(super::On::Embedded).await; })* }
        mod on_two_nodes { $(#[tokio::test] async fn $test() { super::$name(super::On::TwoNodes).await; })* }
    };
}

everywhere! {
    a_call_from_start_to_end as every_command_of_a_call_has_its_effect_once_and_its_first_answer;
    calls_that_are_not_taken as a_decline_a_busy_and_a_cancel_have_their_effect_once;
    a_group_call as a_join_and_a_leave_have_their_effect_once;
    what_a_host_does as what_a_host_does_has_its_effect_once;
    a_transfer as a_transfer_has_its_effect_once;
    a_call_begun_by_rest as commands_sent_by_rest_first_are_repeated_by_sockets;
    a_signal as a_signal_with_a_key_is_relayed_once;
    a_start_that_becomes_another_call as a_start_that_became_another_call_is_answered_so_again;
    keys_belong_to_their_user as a_key_of_another_user_is_another_key;
}
