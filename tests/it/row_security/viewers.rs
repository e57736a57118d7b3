//! What a user's statement gets when it forgets to say whose rows it wants, and what is left of the user afterwards.

use std::time::Duration;

use carillon::{
    domain::{CallId, GroupId, UserId},
    store::{Act, Actor, ActorKind, CommitOutcome, HistoryOf, HistoryQuery, MemberRole, Store, StoreOptions, Viewer},
};

use crate::{
    history::plans::{of, of_group},
    store::{
        backend::Backend,
        run,
        scene::{begin, call_id, group_opening, node, now, opening, user},
    },
};

/// Every table that a user may see rows of, without a condition; and whose rows they are.
const ALL_ROWS: [&str; 8] = [
    "SELECT DISTINCT id AS line FROM calls ORDER BY 1",
    "SELECT DISTINCT call_id AS line FROM participants ORDER BY 1",
    "SELECT DISTINCT call_id AS line FROM call_events ORDER BY 1",
    "SELECT DISTINCT call_id AS line FROM invitations ORDER BY 1",
    "SELECT DISTINCT call_id AS line FROM quality_reports ORDER BY 1",
    "SELECT DISTINCT call_id AS line FROM command_results ORDER BY 1",
    "SELECT group_id || ':' || user_id AS line FROM group_members ORDER BY 1",
    "SELECT id AS line FROM groups ORDER BY 1",
];

/// Those who no user sees any row of.
const OF_THE_NODE: [&str; 3] =
    ["SELECT slot AS line FROM slots", "SELECT actor AS line FROM audit_log", "SELECT name AS line FROM sweepers"];

fn act() -> Act {
    let actor = Actor { kind: ActorKind::CommandLine, id: "test".into(), name: None };
    Act::new(&actor, now(), "test", "group", "team")
}

/// `ab`: alice calls bob. `bc`: bob calls carol. `team`: carol opens a call in the group of carol and dora.
async fn three_calls(store: &Store) {
    let team = GroupId::new("team").unwrap();
    store.put_group(&team, None, None, &act()).await.unwrap();
    store.put_group(&GroupId::new("others").unwrap(), None, None, &act()).await.unwrap();
    for member in ["carol", "dora"] {
        store.put_member(&team, &user(member), MemberRole::Member, &act()).await.unwrap();
    }
    for start in
        [opening("ab", "alice", &["bob"]), opening("bc", "bob", &["carol"]), group_opening("team", "carol", "team")]
    {
        let (commit, _) = begin(&start, &node("n1"));
        assert_eq!(store.commit(commit).await, Ok(CommitOutcome::Committed));
    }
    store.enter_sweeper("stale_ringing", Duration::from_secs(60)).await.unwrap();
    for (call, who) in [("ab", "alice"), ("bc", "bob"), ("team", "carol")] {
        let measured = carillon::domain::quality::Measured { jitter_ms: Some(3.0), ..Default::default() };
        let device = carillon::domain::DeviceId::new("phone").unwrap();
        let report = carillon::store::QualityReport { id: uuid::Uuid::now_v7(), device, at: now(), measured };
        store.record_quality(&call_id(call), &user(who), vec![report]).await.unwrap();
    }
}

async fn seen(store: &Store, viewer: Option<&Viewer>) -> Vec<Vec<String>> {
    let mut seen = Vec::new();
    for sql in ALL_ROWS {
        seen.push(store.probe(viewer, sql).await.unwrap());
    }
    seen
}

#[test]
fn a_query_that_leaves_out_whose_rows_it_wants_gets_no_foreign_row() {
    run(async {
        let backend = Backend::postgres();
        let store = backend.store().await;
        three_calls(&store).await;
        let of = async |name: &str| seen(&store, Some(&Viewer::from(&user(name)))).await;
        // calls, participants, events, invitations, reports, results, memberships, groups
        let of_calls = |calls: &[&str], invited: &[&str], own: &[&str]| -> Vec<Vec<String>> {
            [calls, calls, calls, invited, calls, own]
                .iter()
                .map(|ids| ids.iter().map(|id| (*id).into()).collect())
                .collect()
        };
        let with = |mut seen: Vec<Vec<String>>, members: &[&str], groups: &[&str]| {
            seen.push(members.iter().map(|id| (*id).into()).collect());
            seen.push(groups.iter().map(|id| (*id).into()).collect());
            seen
        };
        assert_eq!(of("alice").await, with(of_calls(&["ab"], &["ab"], &["ab"]), &[], &[]));
        assert_eq!(of("bob").await, with(of_calls(&["ab", "bc"], &["ab", "bc"], &["bc"]), &[], &[]));
        assert_eq!(of("carol").await, with(of_calls(&["bc", "team"], &["bc"], &["team"]), &["team:carol"], &["team"]));
        // Without a part in it: by being in the group.
        assert_eq!(of("dora").await, with(of_calls(&["team"], &[], &[]), &["team:dora"], &["team"]));
        let nothing = vec![Vec::<String>::new(); 8];
        assert_eq!(of("mallory").await, nothing);
        assert_eq!(of("alice' OR 'a' = 'a").await, nothing);
        assert_eq!(seen(&store, None).await, nothing, "nobody said on whose behalf");
        let all = seen(&store, Some(&Viewer::Admin)).await;
        assert_eq!(all[0], ["ab", "bc", "team"]);
        assert_eq!((all[6].len(), all[7].len()), (2, 2));
        for sql in OF_THE_NODE {
            for viewer in [Viewer::from(&user("alice")), Viewer::from(&user("carol")), Viewer::Admin] {
                assert_eq!(store.probe(Some(&viewer), sql).await, Ok(vec![]), "{sql}");
            }
        }
        // Every participant of a call is seen by each, and nothing else of them.
        let people = "SELECT call_id || ':' || user_id AS line FROM participants ORDER BY 1";
        assert_eq!(store.probe(Some(&Viewer::from(&user("alice"))), people).await.unwrap(), ["ab:alice", "ab:bob"]);
        // Who leaves the group no longer sees what they had no part in.
        store.remove_member(&GroupId::new("team").unwrap(), &user("dora"), &act()).await.unwrap();
        assert_eq!(of("dora").await, nothing);
    });
}

#[test]
fn what_the_store_is_asked_about_another_user_is_not_there() {
    run(async {
        let backend = Backend::postgres();
        let store = backend.store().await;
        three_calls(&store).await;
        let (alice, mallory) = (Viewer::from(&user("alice")), Viewer::from(&user("mallory")));
        let about = |list: HistoryQuery, viewer: Viewer| {
            let store = &store;
            async move {
                let page = store.history(&viewer, &list, None, 100).await.unwrap();
                (page.len() as u64, store.history_count(&viewer, &list).await.unwrap())
            }
        };
        assert_eq!(about(of("alice"), alice.clone()).await, (1, 1));
        assert_eq!(about(of("alice"), mallory.clone()).await, (0, 0), "alice's history, for mallory");
        let of_team = |name| HistoryQuery { of: HistoryOf::Group(GroupId::new("team").unwrap()), ..of_group(name) };
        assert_eq!(about(of_team("dora"), Viewer::from(&user("dora"))).await, (1, 1));
        assert_eq!(about(of_team("dora"), mallory.clone()).await, (0, 0), "the group's history, for mallory");
        assert_eq!(about(of_team("mallory"), Viewer::Admin).await, (1, 1));
        let call: CallId = call_id("ab");
        assert_eq!(store.timeline(&alice, &call, 0, 100).await.unwrap().len(), 1);
        assert!(store.timeline(&mallory, &call, 0, 100).await.unwrap().is_empty());
        assert_eq!(store.quality_of(&alice, &call).await.unwrap().len(), 1);
        assert!(store.quality_of(&mallory, &call).await.unwrap().is_empty());
        let own = store.load_call_for(&alice, &call).await.unwrap().unwrap();
        assert_eq!(Some(own), store.load_call(&call).await.unwrap());
        assert_eq!(store.load_call_for(&mallory, &call).await, Ok(None));
    });
}

/// A store with one connection for viewers.
async fn with_one_connection(backend: &Backend) -> Store {
    drop(backend.store().await);
    Store::open(&backend.url(), StoreOptions { connections: 1 }).await.unwrap()
}

/// Who the connection thinks it serves, how many calls it sees, and which it is.
const WHO: &str = "SELECT coalesce(current_setting('carillon.user', true), '') || ',' || \
    coalesce(current_setting('carillon.scope', true), '') || ',' || (SELECT count(*) FROM calls) || ',' || \
    pg_backend_pid() AS line";

#[test]
fn a_pooled_connection_keeps_nothing_of_the_user_it_served() {
    run(async {
        let backend = Backend::postgres();
        let store = with_one_connection(&backend).await;
        three_calls(&store).await;
        let alice = Viewer::from(&user("alice"));
        let nobody = async || {
            let who = store.probe(None, WHO).await.unwrap().remove(0);
            let pid = who.strip_prefix(",,0,").unwrap_or_else(|| panic!("somebody is left: {who}")).to_owned();
            pid
        };
        let first = nobody().await;
        let as_alice = store.probe(Some(&alice), WHO).await.unwrap().remove(0);
        assert_eq!(as_alice, format!("alice,user,1,{first}"), "it is that connection");
        assert_eq!(nobody().await, first, "after a read");

        assert!(
            store.probe(Some(&alice), "SELECT (1 / (SELECT count(*) - 1 FROM calls))::text AS line").await.is_err()
        );
        assert_eq!(nobody().await, first, "after an error");
        assert!(store.probe(Some(&alice), "DELETE FROM calls RETURNING id AS line").await.is_err(), "read-only");
        // Taken for a server that has become a standby: the connection is another then.
        let first = nobody().await;
        assert!(store.probe(Some(&alice), "no SQL at all").await.is_err());
        assert_eq!(nobody().await, first, "after nonsense");

        // Their caller gives up in the middle; the statement runs on.
        let slow = store.probe(Some(&alice), "SELECT pg_sleep(1)::text AS line FROM calls");
        assert!(tokio::time::timeout(Duration::from_millis(300), slow).await.is_err());
        assert_eq!(nobody().await, first, "after a read that nobody waited for");
        assert!(store.probe(Some(&alice), "SELECT pg_sleep(6)::text AS line FROM calls").await.is_err());
        assert_eq!(nobody().await, first, "after one that was cut off for its time");

        // One that ends its own transaction leaves the rest of the work to nobody.
        let _ = store.probe(Some(&alice), "COMMIT").await;
        nobody().await;

        // The connection dies under it. The next one is nobody's too.
        let killed = "SELECT pg_terminate_backend(pg_backend_pid())::text AS line";
        assert!(store.probe(Some(&alice), killed).await.is_err());
        assert_ne!(nobody().await, first, "another connection");

        // The next user is that one, and an administrator is no user.
        let bob = store.probe(Some(&Viewer::from(&user("bob"))), WHO).await.unwrap().remove(0);
        assert!(bob.starts_with("bob,user,2,"), "{bob}");
        let admin = store.probe(Some(&Viewer::Admin), WHO).await.unwrap().remove(0);
        assert!(admin.starts_with(",admin,3,"), "{admin}");
        let alice = store.probe(Some(&alice), WHO).await.unwrap().remove(0);
        assert!(alice.starts_with("alice,user,1,"), "{alice}");
        nobody().await;
    });
}

#[test]
fn many_users_at_once_over_few_connections_each_see_their_own() {
    run(async {
        let backend = Backend::postgres();
        let store = backend.store().await;
        for n in 0..20 {
            let (commit, _) = begin(&opening(&format!("c{n}"), &format!("u{n}"), &["callee"]), &node("n1"));
            store.commit(commit).await.unwrap();
        }
        let ask = |n: usize| {
            let store = store.clone();
            async move {
                let name: UserId = user(&format!("u{}", n % 20));
                let sql = match n % 3 {
                    0 => "SELECT id AS line FROM calls",
                    1 => "SELECT call_id AS line FROM participants WHERE user_id <> 'callee'",
                    _ => "SELECT (1 / (SELECT count(*) - 1 FROM calls))::text AS line",
                };
                (n, store.probe(Some(&Viewer::from(&name)), sql).await)
            }
        };
        for (n, seen) in futures_util::future::join_all((0..300).map(ask)).await {
            match n % 3 {
                2 => assert!(seen.is_err()),
                _ => assert_eq!(seen, Ok(vec![format!("c{}", n % 20)])),
            }
        }
    });
}
