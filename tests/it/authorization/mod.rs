//! Who may do what: every command about a call, by everybody who may stand to it in some way, over a socket and by REST.
//!
//! The tables below are the rule, as text. A cell is `ok`, or the code of the refusal. A command that has no row fails the
//! test; so does a route, in `routes.rs`. That one cannot tell what one may not see from what is not there: `unseen.rs`.

mod guide;
mod measured;
mod routes;
mod unseen;

use std::collections::{BTreeMap, BTreeSet};

use carillon::gateway::protocol::COMMANDS;
use futures_util::future::join_all;

use serde_json::{Value, json};

use crate::support::{
    Connect, Refused, TestClient, TestCluster,
    http::Answer,
    moves::{id_of, sdp},
    rest::RestUser,
};

/// Rows: commands, all there are. Columns: a stranger; a member of the call's group who is not in it, and an admin of the
/// group who is not; who waits in the lobby; who is rung; who has left; who was kicked; a participant; an admin of the
/// group who is a participant; a cohost; the host; who shows a service key.
const IN_A_GROUP_CALL: &str = "
                 stranger          member            admin_outside     lobby             rung              left              kicked            participant       admin_inside      cohost            host              service
call:get         not_found         ok                ok                ok                ok                ok                ok                ok                ok                ok                ok                unauthenticated
call:token       not_found         ok                ok                ok                ok                ok                ok                ok                ok                ok                ok                unauthenticated
call:ringing     not_found         wrong_state       wrong_state       wrong_state       ok                wrong_state       wrong_state       wrong_state       wrong_state       wrong_state       wrong_state       unauthenticated
call:accept      not_found         wrong_state       wrong_state       wrong_state       ok                wrong_state       forbidden         ok                ok                ok                wrong_state       unauthenticated
call:decline     not_found         wrong_state       wrong_state       wrong_state       ok                wrong_state       wrong_state       wrong_state       wrong_state       wrong_state       wrong_state       unauthenticated
call:busy        not_found         wrong_state       wrong_state       wrong_state       ok                wrong_state       wrong_state       wrong_state       wrong_state       wrong_state       wrong_state       unauthenticated
call:cancel      not_found         forbidden         forbidden         forbidden         forbidden         forbidden         forbidden         forbidden         forbidden         forbidden         wrong_state       unauthenticated
call:join        not_found         ok                ok                ok                ok                ok                forbidden         ok                ok                ok                ok                unauthenticated
call:leave       not_found         not_participant   not_participant   ok                ok                ok                ok                ok                ok                ok                ok                unauthenticated
call:end         not_found         not_participant   ok                not_participant   forbidden         not_participant   not_participant   forbidden         ok                ok                ok                unauthenticated
call:invite      not_found         not_participant   not_participant   not_participant   not_participant   not_participant   not_participant   ok                ok                ok                ok                unauthenticated
call:signal      not_found         not_found         not_found         not_participant   wrong_state       not_participant   not_participant   ok                ok                ok                ok                unauthenticated
call:media       not_found         not_participant   not_participant   not_participant   not_participant   not_participant   not_participant   ok                ok                ok                ok                unauthenticated
call:raise_hand  not_found         not_participant   not_participant   not_participant   not_participant   not_participant   not_participant   ok                ok                ok                ok                unauthenticated
call:hold        not_found         not_participant   not_participant   not_participant   not_participant   not_participant   not_participant   ok                ok                ok                ok                unauthenticated
call:resume      not_found         not_participant   not_participant   not_participant   not_participant   not_participant   not_participant   ok                ok                ok                ok                unauthenticated
call:transfer    not_found         not_participant   not_participant   not_participant   not_participant   not_participant   not_participant   wrong_state       wrong_state       wrong_state       wrong_state       unauthenticated
call:kick        not_found         not_participant   not_participant   not_participant   not_participant   not_participant   not_participant   forbidden         ok                ok                ok                unauthenticated
call:mute        not_found         not_participant   not_participant   not_participant   not_participant   not_participant   not_participant   forbidden         ok                ok                ok                unauthenticated
call:lock        not_found         not_participant   not_participant   not_participant   not_participant   not_participant   not_participant   forbidden         ok                ok                ok                unauthenticated
call:admit       not_found         not_participant   not_participant   not_participant   not_participant   not_participant   not_participant   forbidden         ok                ok                ok                unauthenticated
call:deny        not_found         not_participant   not_participant   not_participant   not_participant   not_participant   not_participant   forbidden         ok                ok                ok                unauthenticated
call:role        not_found         not_participant   not_participant   not_participant   not_participant   not_participant   not_participant   forbidden         forbidden         forbidden         ok                unauthenticated
call:start       not_found         ok                ok                ok                ok                ok                forbidden         ok                ok                ok                ok                unauthenticated
call:sync        not_found         ok                ok                ok                ok                ok                ok                ok                ok                ok                ok                unauthenticated
call:quality     not_found         not_found         not_found         ok                ok                ok                ok                ok                ok                ok                ok                unauthenticated
call:escalate    not_found         not_participant   not_participant   not_participant   not_participant   not_participant   not_participant   media_unavailable media_unavailable media_unavailable media_unavailable unauthenticated
recording:start  not_found         not_participant   not_participant   not_participant   not_participant   not_participant   not_participant   forbidden         forbidden         media_unavailable media_unavailable unauthenticated
recording:stop   not_found         not_participant   not_participant   not_participant   not_participant   not_participant   not_participant   forbidden         forbidden         wrong_state       wrong_state       unauthenticated
presence:get     ok                ok                ok                ok                ok                ok                ok                ok                ok                ok                ok                unauthenticated
session:hello    ok                ok                ok                ok                ok                ok                ok                ok                ok                ok                ok                unauthenticated
session:refresh  ok                ok                ok                ok                ok                ok                ok                ok                ok                ok                ok                unauthenticated
";

/// The same for a call of two: a stranger; who is rung by it; either side of one that is answered; either side of one
/// that is over.
const IN_A_CALL_OF_TWO: &str = "
                 stranger   caller_waits     rung             callee           caller          over
call:get         not_found  ok               ok               ok               ok              ok
call:token       not_found  ok               ok               ok               ok              ok
call:ringing     not_found  wrong_state      ok               wrong_state      wrong_state     already_ended
call:accept      not_found  wrong_state      ok               ok               wrong_state     already_ended
call:decline     not_found  wrong_state      ok               wrong_state      wrong_state     already_ended
call:busy        not_found  wrong_state      ok               wrong_state      wrong_state     already_ended
call:cancel      not_found  ok               forbidden        forbidden        wrong_state     forbidden
call:join        not_found  ok               ok               ok               ok              already_ended
call:leave       not_found  ok               ok               ok               ok              ok
call:end         not_found  ok               ok               ok               ok              ok
call:invite      not_found  ok               not_participant  ok               ok              already_ended
call:signal      not_found  ok               wrong_state      ok               ok              already_ended
call:media       not_found  ok               not_participant  ok               ok              already_ended
call:hold        not_found  wrong_state      not_participant  ok               ok              already_ended
call:transfer    not_found  wrong_state      not_participant  ok               ok              already_ended
call:kick        not_found  ok               not_participant  forbidden        ok              already_ended
call:lock        not_found  ok               not_participant  forbidden        ok              already_ended
call:role        not_found  not_participant  not_participant  forbidden        ok              already_ended
";

/// The fields of a command besides the call; `target` is somebody it may be about.
fn data(command: &str, call: &str, target: &str, other: &str) -> Value {
    let fields = match command {
        "call:invite" => json!({"userIds": ["judy"]}),
        "call:signal" => json!({"type": "offer", "payload": sdp("offer"), "to": other}),
        "call:media" => json!({"screen": true}),
        "call:raise_hand" => json!({"raised": true}),
        "call:transfer" => json!({"toUserId": "judy"}),
        "call:kick" | "call:admit" | "call:deny" => json!({"userId": target}),
        "call:mute" => json!({"track": "audio"}),
        "call:lock" => json!({"locked": true}),
        "call:role" => json!({"userId": target, "role": "cohost"}),
        "call:start" => return json!({"groupId": "team", "ring": false}),
        // From a place that never was: answered with the call as it stands.
        "call:sync" => json!({"seq": 999}),
        "call:quality" => json!({"jitterMs": 5}),
        "presence:get" => return json!({"userIds": [target]}),
        _ => json!({}),
    };
    let mut data = fields;
    data["callId"] = json!(call);
    data
}

/// What each of them is told, for each command of a table.
type Told = BTreeMap<(String, String), String>;

fn rule(table: &str) -> (Vec<String>, Vec<String>, Told) {
    let mut lines = table.lines().filter(|line| !line.trim().is_empty());
    let columns: Vec<String> = lines.next().unwrap().split_whitespace().map(str::to_owned).collect();
    let (mut commands, mut told) = (Vec::new(), Told::new());
    for line in lines {
        let mut words = line.split_whitespace().map(str::to_owned);
        let command = words.next().unwrap();
        let codes: Vec<String> = words.collect();
        assert_eq!(codes.len(), columns.len(), "{line}");
        told.extend(columns.iter().cloned().zip(codes).map(|(column, code)| ((command.clone(), column), code)));
        commands.push(command);
    }
    (commands, columns, told)
}

/// A user by a socket and by REST, at one device.
struct User {
    socket: TestClient,
    rest: RestUser,
}

impl User {
    async fn of(cluster: &TestCluster, name: &str) -> Self {
        Self { socket: cluster.connect(0, name, "phone").await, rest: cluster.rest(0, name).at("phone") }
    }

    async fn says(&self, by_rest: bool, command: &str, data: Value) -> String {
        if by_rest {
            return said(&self.rest.send(command, None, data).await);
        }
        self.socket.call(command, data).await.map_or_else(|error| error.code, |_| "ok".to_owned())
    }
}

fn said(answer: &Answer) -> String {
    if answer.ok() { "ok".to_owned() } else { answer.code().to_owned() }
}

/// The same said with a service key: over a socket nothing can be said, since there is no session.
async fn service_says(cluster: &TestCluster, by_rest: bool, command: &str, data: Value) -> String {
    let key = &cluster.realm().service_key;
    if by_rest {
        return said(&RestUser::new(cluster.http(0), key.clone()).send(command, None, data).await);
    }
    match Connect::to(cluster.node(0), "service", "phone").token(key).go().await {
        Err(Refused::Hello(error, _)) => error.code,
        Err(refused) => panic!("{refused:?}"),
        Ok(_) => "ok".to_owned(),
    }
}

/// The command has a request of its own.
fn is_in_rest(command: &str) -> bool {
    let spec = COMMANDS.iter().find(|spec| spec.event == command);
    spec.is_some_and(|spec| spec.action.is_some()) || ["call:start", "call:get", "call:media"].contains(&command)
}

/// What comes of it depends on the call.
fn is_about_a_call(command: &str) -> bool {
    command != "presence:get" && !command.starts_with("session:")
}

/// Makes members of a group its admins.
async fn promote(cluster: &TestCluster, group: &str, users: &[&str]) {
    for user in users {
        let path = format!("/api/v1/groups/{group}/members/{user}");
        assert!(cluster.http(0).service("PUT", &path, Some(json!({"role": "admin"}))).await.ok());
    }
}

/// Compares every cell; all that differ are told at once.
fn assert_rule(wanted: &Told, seen: &Told, way: &str) {
    let differ: Vec<String> = (seen.iter().filter(|(cell, code)| wanted.get(*cell) != Some(code)))
        .map(|((command, who), code)| {
            format!("{command} by {who}: {code}, wanted {:?}", wanted[&(command.clone(), who.clone())])
        })
        .collect();
    assert!(differ.is_empty(), "{way}:\n{}", differ.join("\n"));
}

async fn in_a_group_call(by_rest: bool) -> Told {
    // There are more starts than anybody makes in that time.
    let cluster = TestCluster::embedded()
        .set("CARILLON_RECONNECT_GRACE_SECS", 60)
        .set("CARILLON_RATE_LIMITS", "off")
        .start()
        .await;
    let names = [
        ("stranger", "hank"),
        ("member", "gina"),
        ("admin_outside", "adam"),
        ("admin_inside", "anna"),
        ("lobby", "ivan"),
        ("rung", "dave"),
        ("left", "erin"),
        ("kicked", "frank"),
        ("participant", "carol"),
        ("cohost", "bob"),
        ("host", "alice"),
    ];
    let members: Vec<&str> = names.iter().skip(1).map(|(_, name)| *name).collect();
    cluster.group("team", &members).await;
    promote(&cluster, "team", &["adam", "anna"]).await;
    let mut users = BTreeMap::new();
    for (who, name) in names {
        users.insert(who.to_owned(), User::of(&cluster, name).await);
    }
    // Only members can be asked into a group's call.
    cluster.group("team", &["judy"]).await;
    let _judy = cluster.connect(0, "judy", "phone").await;
    let of = |who: &str| &users[who].socket;
    let (commands, columns, _) = rule(IN_A_GROUP_CALL);
    let mut seen = Told::new();
    for command in commands.iter().filter(|command| !by_rest || is_in_rest(command)) {
        for who in &columns {
            if who == "service" {
                let told = service_says(&cluster, by_rest, command, data(command, "any", "carol", "carol")).await;
                seen.insert((command.clone(), who.clone()), told);
                continue;
            }
            if !is_about_a_call(command) {
                let mut data = data(command, "any", "carol", "carol");
                if command == "session:refresh" {
                    data = json!({"token": cluster.token(&users[who].socket.user)});
                }
                seen.insert((command.clone(), who.clone()), users[who].says(by_rest, command, data).await);
                continue;
            }
            let host = of("host");
            let call = id_of(&host.start_group("team", false).await);
            let joining = ["cohost", "participant", "admin_inside", "left", "kicked"];
            join_all(joining.map(|who| of(who).act("call:join", &call))).await;
            of("left").act("call:leave", &call).await;
            host.must("call:role", json!({"callId": call, "userId": "bob", "role": "cohost"})).await;
            host.must("call:kick", json!({"callId": call, "userId": "frank"})).await;
            host.must("call:invite", json!({"callId": call, "userIds": ["dave"]})).await;
            host.must("call:lock", json!({"callId": call, "locked": false, "lobby": true})).await;
            of("lobby").act("call:join", &call).await;
            let target = match command.as_str() {
                "call:admit" | "call:deny" => "ivan",
                "call:kick" => "dave",
                _ => "carol",
            };
            let other = if who == "host" { "carol" } else { "alice" };
            let told = users[who].says(by_rest, command, data(command, &call, target, other)).await;
            seen.insert((command.clone(), who.clone()), told);
            // A host who has left has a successor.
            for in_charge in ["host", "cohost", "admin_inside"] {
                of(in_charge).try_act("call:end", &call).await.ok();
            }
        }
    }
    seen
}

async fn in_a_call_of_two(by_rest: bool) -> Told {
    let cluster = TestCluster::embedded().set("CARILLON_RECONNECT_GRACE_SECS", 60).start().await;
    let mut users = BTreeMap::new();
    for name in ["alice", "bob", "hank", "judy"] {
        users.insert(name, User::of(&cluster, name).await);
    }
    let (alice, bob) = (&users["alice"].socket, &users["bob"].socket);
    let (commands, columns, _) = rule(IN_A_CALL_OF_TWO);
    let mut seen = Told::new();
    for command in &commands {
        for who in &columns {
            let call = alice.start(&["bob"]).await;
            if !["caller_waits", "rung"].contains(&who.as_str()) {
                bob.act("call:accept", &call).await;
            }
            if who == "over" {
                alice.act("call:end", &call).await;
            }
            let name = match who.as_str() {
                "stranger" => "hank",
                "caller_waits" | "caller" => "alice",
                _ => "bob",
            };
            let other = if name == "alice" { "bob" } else { "alice" };
            let told = users[name].says(by_rest, command, data(command, &call, other, other)).await;
            seen.insert((command.clone(), who.clone()), told);
            // Whatever became of it, the next one begins anew.
            for client in [alice, bob] {
                client.try_act("call:end", &call).await.ok();
            }
            users["judy"].socket.try_act("call:leave", &call).await.ok();
        }
    }
    seen
}

#[tokio::test]
async fn each_may_do_in_a_group_call_what_the_table_says_over_a_socket() {
    assert_rule(&rule(IN_A_GROUP_CALL).2, &in_a_group_call(false).await, "socket");
}

#[tokio::test]
async fn each_may_do_in_a_group_call_what_the_table_says_by_rest() {
    assert_rule(&rule(IN_A_GROUP_CALL).2, &in_a_group_call(true).await, "REST");
}

#[tokio::test]
async fn each_may_do_in_a_call_of_two_what_the_table_says_over_a_socket() {
    assert_rule(&rule(IN_A_CALL_OF_TWO).2, &in_a_call_of_two(false).await, "socket");
}

#[tokio::test]
async fn each_may_do_in_a_call_of_two_what_the_table_says_by_rest() {
    assert_rule(&rule(IN_A_CALL_OF_TWO).2, &in_a_call_of_two(true).await, "REST");
}

#[test]
fn every_command_of_the_protocol_has_a_row() {
    let all: BTreeSet<&str> = COMMANDS.iter().map(|spec| spec.event).collect();
    let (rows, _, _) = rule(IN_A_GROUP_CALL);
    let rows: BTreeSet<&str> = rows.iter().map(String::as_str).collect();
    assert_eq!(all, rows, "who may do it? IN_A_GROUP_CALL is to say");
}
