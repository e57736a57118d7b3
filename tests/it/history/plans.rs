//! Every look back walks an index: what the database says of how it would read, beside twenty thousand calls.

use carillon::{
    domain::{CallStatus, GroupId},
    store::{Direction, HistoryOf, HistoryQuery, Place, Store, Viewer},
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

/// Who asks for the list.
pub fn viewer(list: &HistoryQuery) -> Viewer {
    Viewer::from(&list.user)
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

/// The line by which a table or an index would be read from end to end, if there is one.
fn scan(plan: &[String]) -> Option<&String> {
    plan.iter().enumerate().find_map(|(at, whole)| {
        let line = whole.trim_start_matches([' ', '-', '>']);
        // SQLite says SCAN of whatever it reads whole; `g` is the page itself, and what a page with filters looks at
        // stands before it as a co-routine.
        let looked_at =
            |name: &str| plan.iter().any(|line| line.trim_start().starts_with(&format!("CO-ROUTINE {name}")));
        let scans = line.starts_with("Seq Scan") || line.starts_with("Parallel Seq Scan");
        let scans = scans || line.strip_prefix("SCAN ").is_some_and(|name| name != "g" && !looked_at(name));
        // It skips from one value of a column to the next: through all of them.
        let scans = scans || line.contains("(ANY(");
        // What PostgreSQL walks without a condition it reads whole, index or not.
        let walks = line.contains(" Scan") && !line.contains(" Heap ") && line.contains("Index");
        let free = walks && !plan.get(at + 1).is_some_and(|next| next.contains("Cond"));
        // So it reads an index of whose first column it knows nothing.
        let ends = |key: &str, first: &str| {
            line.contains(key) && plan.get(at + 1).is_some_and(|next| next.contains("Cond") && !next.contains(first))
        };
        let whole_key = ends("participants_pkey", "call_id =") || ends("calls_pkey", "(id =");
        (scans || free || whole_key).then_some(whole)
    })
}

fn assert_no_scan(what: &str, plan: &[String]) {
    assert_eq!(scan(plan), None, "{what}:\n{}", plan.join("\n"));
}

/// Of no list, total, timeline or sum.
pub async fn assert_nothing_scans(store: &Store, calls: usize) {
    for (name, list) in every_list(calls) {
        for after in [None, Some(middle(calls))] {
            for limit in [2, 21, 101] {
                let plan = store.explain_history(&viewer(&list), &list, after.as_ref(), limit, false).await.unwrap();
                assert_no_scan(&format!("{name}, {limit} after {after:?}"), &plan);
                let index = if list.of == HistoryOf::User { "participants_by_user" } else { "calls_by_group" };
                assert!(plan.iter().any(|line| line.contains(index)), "{name}: {}", plan.join("\n"));
            }
        }
        let counted = store.explain_history(&viewer(&list), &list, None, 21, true).await.unwrap();
        assert_no_scan(&format!("{name}, counted"), &counted);
    }
    let (full, heavy) = (call_id(&id(100)), Viewer::from(&user("heavy")));
    assert_no_scan("active", &store.explain_active(&user("heavy")).await.unwrap());
    assert_no_scan("timeline", &store.explain_timeline(&heavy, &full, 500).await.unwrap());
    assert_no_scan("quality", &store.explain_quality(&heavy, &full).await.unwrap());
    for (name, until) in [("a17", calls), ("heavy", calls), ("heavy", calls / 100)] {
        assert_no_scan("statistics", &store.explain_tally(&user(name), begun(0), begun(until)).await.unwrap());
    }
}

async fn no_scans(backend: Backend) {
    let store = backend.store().await;
    seed(&backend, CALLS);
    assert_nothing_scans(&store, CALLS).await;
    // Without their indexes they do, or this proves nothing.
    backend.execute("DROP INDEX participants_by_user; DROP INDEX calls_by_group");
    // SQLite explains without looking whether others have changed the tables: on a new connection it has to.
    let store = backend.store().await;
    for list in [of("heavy"), of_group("a0")] {
        let plan = store.explain_history(&viewer(&list), &list, None, 21, false).await.unwrap();
        assert!(scan(&plan).is_some(), "{}", plan.join("\n"));
    }
}

#[test]
fn no_look_back_scans_a_table_in_postgres() {
    run(no_scans(Backend::postgres()));
}

#[test]
fn no_look_back_scans_a_table_in_sqlite() {
    run(no_scans(Backend::sqlite()));
}
