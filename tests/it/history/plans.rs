//! Every look back walks an index: what the database says of how it would read, beside twenty thousand calls.

use carillon::{
    domain::{CallStatus, GroupId},
    store::{Direction, HistoryOf, HistoryQuery, Place, Store},
};

use super::seed::{begun, id, seed};
use crate::store::{
    backend::Backend,
    run,
    scene::{call_id, user},
};

const CALLS: usize = 20_000;

/// The list of all of a user's calls.
pub fn of(name: &str) -> HistoryQuery {
    HistoryQuery {
        user: user(name),
        of: HistoryOf::User,
        direction: None,
        status: None,
        missed: None,
        with: None,
        since: None,
        until: None,
    }
}

/// The list of all calls of the group `big`.
pub fn of_group(name: &str) -> HistoryQuery {
    HistoryQuery { of: HistoryOf::Group(GroupId::new("big").unwrap()), ..of(name) }
}

/// Every kind of list there is, with each filter alone and all together.
pub fn every_list(calls: usize) -> Vec<(String, HistoryQuery)> {
    let bases = [("user", of("a17")), ("heavy user", of("heavy")), ("group", of_group("a0"))];
    let all = |base: HistoryQuery| HistoryQuery {
        direction: Some(Direction::Incoming),
        status: Some(CallStatus::Ended),
        missed: Some(false),
        with: Some(user("a10")),
        since: Some(begun(calls / 10)),
        until: Some(begun(calls)),
        ..base
    };
    let mut lists = Vec::new();
    for (name, base) in bases {
        let b = || base.clone();
        lists.extend([
            (name.to_owned(), b()),
            (format!("{name}, incoming"), HistoryQuery { direction: Some(Direction::Incoming), ..b() }),
            (format!("{name}, outgoing"), HistoryQuery { direction: Some(Direction::Outgoing), ..b() }),
            (format!("{name}, status failed"), HistoryQuery { status: Some(CallStatus::Failed), ..b() }),
            (format!("{name}, missed"), HistoryQuery { missed: Some(true), ..b() }),
            (format!("{name}, with another"), HistoryQuery { with: Some(user("a10")), ..b() }),
            (
                format!("{name}, a period"),
                HistoryQuery { since: Some(begun(calls / 2)), until: Some(begun(calls / 2 + 5000)), ..b() },
            ),
            (format!("{name}, all filters"), all(b())),
        ]);
    }
    lists
}

/// A place in the middle of every list.
pub fn middle(calls: usize) -> Place {
    Place { at: begun(calls / 2), call: call_id(&id(calls / 2)) }
}

fn assert_no_scan(what: &str, plan: &[String]) {
    let text = plan.join("\n");
    for line in plan {
        let line = line.trim_start_matches([' ', '-', '>']);
        // SQLite says SCAN of a table or an index that it reads from end to end; `g` is the page itself.
        let scans = line.starts_with("Seq Scan") || line.starts_with("Parallel Seq Scan");
        let scans = scans || line.starts_with("SCAN ") && line != "SCAN g";
        assert!(!scans, "{what}:\n{text}");
    }
    // What PostgreSQL walks without a condition it reads from end to end, index or not.
    for (at, line) in plan.iter().enumerate().filter(|(_, line)| line.contains("Index") && line.contains(" Scan")) {
        let next = plan.get(at + 1).map(String::as_str).unwrap_or_default();
        assert!(next.contains("Cond"), "{what}, {line}:\n{text}");
    }
}

async fn no_scans(backend: Backend) {
    let store: Store = backend.store().await;
    seed(&backend, CALLS);
    for (name, list) in every_list(CALLS) {
        for after in [None, Some(middle(CALLS))] {
            for limit in [2, 21, 101] {
                let plan = store.explain_history(&list, after.as_ref(), limit, false).await.unwrap();
                assert_no_scan(&format!("{name}, {limit} after {after:?}"), &plan);
                let index = if list.of == HistoryOf::User { "participants_by_user" } else { "calls_by_group" };
                assert!(plan.iter().any(|line| line.contains(index)), "{name}: {}", plan.join("\n"));
            }
        }
        assert_no_scan(&format!("{name}, counted"), &store.explain_history(&list, None, 21, true).await.unwrap());
    }
    let full = call_id(&id(100));
    assert_no_scan("active", &store.explain_active(&user("heavy")).await.unwrap());
    assert_no_scan("timeline", &store.explain_timeline(&full, 500).await.unwrap());
    assert_no_scan("quality", &store.explain_quality(&full).await.unwrap());
    for (name, until) in [("a17", CALLS), ("heavy", CALLS), ("heavy", CALLS / 100)] {
        assert_no_scan("statistics", &store.explain_tally(&user(name), begun(0), begun(until)).await.unwrap());
    }
    store.close().await;
}

#[test]
fn no_look_back_scans_a_table_in_postgres() {
    run(no_scans(Backend::postgres()));
}

#[test]
fn no_look_back_scans_a_table_in_sqlite() {
    run(no_scans(Backend::sqlite()));
}
